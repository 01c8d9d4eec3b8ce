using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Layers;

/// <summary>What a hostile layer may take of a builder, each bound with its sentence. Single headers are in <see cref="TarScannerTests"/>.</summary>
public sealed class IndexLimitsTests
{
    private static void Refused(string reason, IndexLimits limits, TarBytes tar)
    {
        byte[] bytes = tar.ToArray();
        ScannedTar.Collect(bytes);
        Assert.Contains(reason, Assert.Throws<InvalidDataException>(() => ScannedTar.Collect(bytes, limits)).Message, StringComparison.Ordinal);
    }

    private static IndexLimits Of(long memory) => new() { SmallestMemory = memory, Memory = memory };

    private static string TooMuch(long memory) => $"its index takes more than {memory} bytes of memory, the maximum for a layer of its size";

    [Fact]
    public void NamesTogether_AreCountedAsMemory()
        => Refused(TooMuch(600), Of(600), new TarBytes().Pax(("path", new string('a', 200))).File("").Pax(("path", new string('b', 200))).File("").Pax(("path", new string('c', 200))).File(""));

    [Fact]
    public void LinkTargetsTogether_AreCountedAsMemory()
        => Refused(TooMuch(3000), Of(3000), new TarBytes().Pax(("linkpath", new string('t', 2000))).Symlink("a", "").Pax(("linkpath", new string('u', 2000))).Symlink("b", ""));

    [Fact]
    public void SparseExtentsTogether_AreCountedAsMemory()
    {
        List<(long, long)> map = [.. Enumerable.Range(0, 100).Select(i => (i * 10L, 1L))];
        Refused(TooMuch(3000), Of(3000), new TarBytes().Sparse(SparseFormat.Pax10, "a", 1000, map, new byte[100]).Sparse(SparseFormat.Pax10, "b", 1000, map, new byte[100]));
    }

    [Fact]
    public void DistinctAttributesTogether_AreCountedAsMemory()
    {
        IndexLimits limits = Of(15_000);
        var equal = new TarBytes();
        var different = new TarBytes();
        for (int i = 0; i < 100; i++)
        {
            equal.Pax(("SCHILY.xattr.user.a", "value")).File($"{i}");
            different.Pax(("SCHILY.xattr.user.a", $"{i}")).File($"{i}");
        }
        Assert.Single(ScannedTar.Collect(equal.ToArray(), limits).BuildXattrSets());
        Refused(TooMuch(15_000), limits, different);
    }

    [Fact]
    public void AttributesOfAGlobalHeader_AreCountedForEveryEntry()
    {
        byte[] record = "25 SCHILY.xattr.user.a=x\n"u8.ToArray();
        TarBytes tar = new TarBytes().Raw(TarBytes.Header("g", 'g', record.Length, 0)).Data(record);
        for (int i = 0; i < 100; i++)
        {
            tar.File($"{i}");
        }
        Refused("the extended attributes of its entries take more than 5000 bytes together", new IndexLimits { XattrBytes = 5000 }, tar);
    }

    [Fact]
    public void AttributesOfOneEntry_AreBoundedOverAllItsHeaders()
    {
        string reason = "PAX headers give one entry more than 1024 extended attributes, or more than 1048576 bytes of them";
        var many = new TarBytes();
        for (int i = 0; i < 1025; i++)
        {
            many.GlobalPax(($"SCHILY.xattr.user.{i}", ""));
        }
        Assert.Contains(reason, Assert.Throws<InvalidDataException>(() => ScannedTar.Collect(many.File("f").ToArray())).Message, StringComparison.Ordinal);

        var large = new TarBytes();
        for (int i = 0; i < 3; i++)
        {
            large.GlobalPax(("SCHILY.xattr.user.a", new string('x', 400_000))); // the same name again and again
        }
        Assert.Contains(reason, Assert.Throws<InvalidDataException>(() => ScannedTar.Collect(large.File("f").ToArray())).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void HugeClaims_TakeNoMemory()
    {
        byte[] tar = new TarBytes()
            .Raw(TarBytes.Header("f", '0', 0, 0x1A4, edit: header => TarBytes.Base256(header, 124, 12, 1L << 62)))
            .ToArray(end: false);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Contains("bytes are missing", Assert.Throws<InvalidDataException>(() => ScannedTar.Collect(tar)).Message, StringComparison.Ordinal);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
    }

    [Fact]
    public void ManyHeadersWithoutAnEntry_TakeNoMoreMemoryThanOne()
    {
        var limits = new IndexLimits { PaxHeaderSize = 1 << 16 };
        byte[] header = new TarBytes().Pax(("path", new string('p', 30_000)), ("linkpath", new string('l', 30_000)), ("comment", "c")).ToArray(end: false);
        var scanner = new TarScanner(limits);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++)
        {
            ReadOnlySpan<byte> piece = header;
            Assert.False(scanner.TryRead(ref piece));
        }
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
    }
}
