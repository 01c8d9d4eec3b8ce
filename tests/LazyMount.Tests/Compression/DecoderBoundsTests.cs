using System.Diagnostics;
using LazyMount.Compression;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Compression;

/// <summary>What decoders take of the process, memory and threads: nothing else runs meanwhile.</summary>
[CollectionDefinition(nameof(DecoderBoundsTests), DisableParallelization = true)]
[Collection(nameof(DecoderBoundsTests))]
public sealed class DecoderBoundsTests
{
    [Theory]
    [InlineData(CompressionFormat.Zstd, "head -c 300M /dev/zero | zstd -c -19 --long=27")]
    [InlineData(CompressionFormat.Bzip2, "head -c 40M /dev/zero | bzip2 -c")]
    [InlineData(CompressionFormat.Xz, "head -c 60M /dev/zero | xz -0 -c")]
    public void ABomb_TakesNoMoreMemoryThanItsWindow(CompressionFormat format, string line)
    {
        byte[] compressed = Tool.Shell(line).EnsureSuccess().OutputBytes;
        long before = Environment.WorkingSet;
        long most = 0, length = 0;
        using Decompressor decompressor = Decompressor.Start(format, 1 << 20);
        decompressor.Push(compressed);
        for (int i = 0; decompressor.TryRead(out ReadOnlySpan<byte> run); i++)
        {
            length += run.Length;
            if (i % 100 == 0)
                most = Math.Max(most, Environment.WorkingSet - before);
        }

        Assert.True(length > compressed.Length * 1000L);
        Assert.True(most < 200 << 20, $"{most >> 20} MiB");
    }

    [Fact]
    public void ADecoderInItsThread_EndsWhenItIsLeft()
    {
        byte[] compressed = Tool.Shell("head -c 700000 /dev/urandom | xz -c").EnsureSuccess().OutputBytes;
        int before = Process.GetCurrentProcess().Threads.Count;
        for (int i = 0; i < 50; i++)
        {
            using Decompressor decompressor = Decompressor.Start(CompressionFormat.Xz);
            decompressor.Push(compressed.AsMemory(0, Math.Min(compressed.Length, 10_000 * i)));
            decompressor.TryRead(out _);
        }

        Assert.True(Process.GetCurrentProcess().Threads.Count < before + 25);
    }
}
