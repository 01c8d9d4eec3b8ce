using LazyMount.Compression;
using Xunit;

namespace LazyMount.Tests.Compression;

public sealed class PlainDecompressorTests
{
    [Theory]
    [InlineData(0, 1)]
    [InlineData(1, 1)]
    [InlineData(999, 1)]
    [InlineData(1000, 1)]
    [InlineData(1001, 2)]
    [InlineData(10_000, 10)]
    public void Checkpoints_StandAtEveryMultipleThatHasBytesAfterIt(int size, int count)
    {
        byte[] data = Streams.MakeData(1, size);
        var checkpoints = new List<Checkpoint>();
        using Decompressor decompressor = Decompressor.Start(CompressionFormat.None, 1000);

        Assert.Equal(data, Streams.Run(decompressor, data, 1, 700, checkpoints).Output);
        Assert.Equal(Enumerable.Range(0, count).Select(i => new Checkpoint(i * 1000, 0, i * 1000, true, default)), checkpoints);
        Assert.Equal(size, decompressor.CompressedOffset);
    }

    [Fact]
    public void Resumed_GivesTheRest()
    {
        byte[] data = Streams.MakeData(2, 5000);
        using Decompressor decompressor = Decompressor.Resume(CompressionFormat.None, new Checkpoint(3000, 0, 3000, true, default));

        Assert.Equal(data[3000..], Streams.Run(decompressor, data.AsMemory(3000), 1, 700).Output);
        Assert.Equal(5000, decompressor.UncompressedOffset);
    }

    [Theory]
    [InlineData(new byte[] { 0x1F, 0x8B, 8, 0 }, CompressionFormat.Gzip)]
    [InlineData(new byte[] { 0x1F, 0x8B }, CompressionFormat.Gzip)]
    [InlineData(new byte[] { 0x28, 0xB5, 0x2F, 0xFD }, CompressionFormat.Zstd)]
    [InlineData(new byte[] { 0x5A, 0x2A, 0x4D, 0x18, 1 }, CompressionFormat.Zstd)]
    [InlineData(new byte[] { 0x60, 0x2A, 0x4D, 0x18, 1 }, CompressionFormat.None)]
    [InlineData(new byte[] { (byte)'B', (byte)'Z', (byte)'h', (byte)'9' }, CompressionFormat.Bzip2)]
    [InlineData(new byte[] { (byte)'B', (byte)'Z', (byte)'h', (byte)'0' }, CompressionFormat.None)]
    [InlineData(new byte[] { 0xFD, (byte)'7', (byte)'z', (byte)'X', (byte)'Z', 0 }, CompressionFormat.Xz)]
    [InlineData(new byte[] { 0xFD, (byte)'7', (byte)'z', (byte)'X', (byte)'Z' }, CompressionFormat.None)]
    [InlineData(new byte[] { 0x1F }, CompressionFormat.None)]
    [InlineData(new byte[] { }, CompressionFormat.None)]
    [InlineData(new byte[] { (byte)'.', (byte)'/', 0, 0 }, CompressionFormat.None)]
    public void Format_IsToldByTheFirstBytes(byte[] head, CompressionFormat format)
        => Assert.Equal(format, Decompressor.Detect(head));
}
