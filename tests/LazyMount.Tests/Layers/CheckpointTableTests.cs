using LazyMount.Compression;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using Xunit;

namespace LazyMount.Tests.Layers;

public sealed class CheckpointTableTests
{
    private static CheckpointTable Table(long uncompressedSize, long compressedSize, params (long Uncompressed, long Compressed, byte Bit)[] checkpoints)
    {
        using var builder = new CheckpointTableBuilder(new IndexBudget(IndexLimits.Default));
        foreach ((long uncompressed, long compressed, byte bit) in checkpoints)
        {
            builder.Add(new Checkpoint(compressed, bit, uncompressed, bit == 0, default));
        }
        return builder.Build(uncompressedSize, compressedSize);
    }

    [Fact]
    public void Find_GivesTheSpanOfEveryByte()
    {
        CheckpointTable table = Table(35, 100, (0, 0, 0), (10, 20, 3), (10, 25, 0), (30, 60, 0));
        for (long offset = 0; offset < 35; offset++)
        {
            int span = table.Find(offset);
            Assert.InRange(offset, table.UncompressedOffset(span), table.UncompressedOffset(span + 1) - 1);
        }
        Assert.Throws<ArgumentOutOfRangeException>(() => table.Find(35));
        Assert.Throws<ArgumentOutOfRangeException>(() => table.Find(-1));
        Assert.Throws<ArgumentOutOfRangeException>(() => Table(0, 0, (0, 0, 0)).Find(0));
    }

    [Fact]
    public void CompressedEnd_TakesInTheByteThatIsShared()
    {
        CheckpointTable table = Table(35, 100, (0, 0, 0), (10, 20, 3), (30, 60, 0));
        Assert.Equal([21, 60, 100], Enumerable.Range(0, 3).Select(table.CompressedEnd));
    }

    [Fact]
    public void SpanWithoutAPlaceToStartInAGibibyte_IsRefused()
    {
        Table(1L << 30, 10, (0, 0, 0));
        Assert.Throws<NotSupportedException>(() => Table((1L << 30) + 1, 10, (0, 0, 0)));
        Assert.Throws<NotSupportedException>(() => Table(10, (1L << 30) + 1, (0, 0, 0)));
    }
}
