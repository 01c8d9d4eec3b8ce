using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Compression;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using LazyMount.TestKit;
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

    /// <summary>What was found last is known without its block: that it is damaged now costs the bytes of that block, and no others.</summary>
    [Fact]
    public void BlockThatIsDamagedLater_CostsNoBytesOfOthers()
    {
        const long Step = 2 << 20;
        const int Count = 1000, OfBlock = 256;
        using var directory = new TemporaryDirectory();
        string path = Path.Combine(directory.Path, "table"), other = Path.Combine(directory.Path, "other");
        CheckpointTable memory = Table(Count * Step, Count, [.. Enumerable.Range(0, Count).Select(i => (i * Step, (long)i, (byte)0))]);
        Write(path, memory.Encode(0));
        Write(other, new byte[2 * 4096]);
        var cache = new CheckedFile.BlockCache(2);
        using CheckedFile file = CheckedFile.TryOpen(path, cache)!, another = CheckedFile.TryOpen(other, cache)!;
        var table = new CheckpointTable(file, new CheckpointTable.Layout(0, Count, memory.SpanCount, 0), Count * Step, Count);
        Assert.Equal(OfBlock - 1, table.Find((OfBlock - 1) * Step));
        using (FileStream bad = File.OpenWrite(path))
        {
            bad.Position = 4096;
            bad.WriteByte(1);
        }
        another.Read(0, new byte[1]);
        another.Read(4096, new byte[1]); // none of the table's blocks are in memory any more

        Assert.Equal(900, table.Find(900 * Step));
        Assert.Equal(0, table.Find(0));
        Assert.Throws<ImageException>(() => table.Find(300 * Step));

        static void Write(string path, byte[] data)
        {
            using FileStream stream = File.Create(path);
            using var writer = new CheckedFile.Writer(stream);
            writer.Write(data);
            writer.Finish();
        }
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
