using LazyMount.Indexes.Tar;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Layers;

/// <summary>What a hostile layer may take of a builder, each bound with its sentence. Single headers are in <see cref="TarScannerTests"/>.</summary>
public sealed class TarLimitsTests
{
    private static void Refused(string reason, TarLimits limits, TarBytes tar)
    {
        byte[] bytes = tar.ToArray();
        ScannedTar.Collect(bytes);
        Assert.Contains(reason, Assert.Throws<InvalidDataException>(() => ScannedTar.Collect(bytes, limits)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void NamesTogether_AreBounded()
        => Refused("the names of its paths have more than 10 bytes together", new TarLimits { NameBytes = 10 }, new TarBytes().File("12345").File("12345/67890").File("x"));

    [Fact]
    public void LinkTargetsTogether_AreBounded()
        => Refused("the targets of its symbolic links have more than 10 bytes together", new TarLimits { LinkTargetBytes = 10 }, new TarBytes().Symlink("a", "12345").Symlink("b", "123456"));

    [Fact]
    public void DistinctAttributesTogether_AreBounded()
    {
        var limits = new TarLimits { XattrMemory = 1000 };
        var equal = new TarBytes();
        var different = new TarBytes();
        for (int i = 0; i < 100; i++)
        {
            equal.Pax(("SCHILY.xattr.user.a", "value")).File($"{i}");
            different.Pax(("SCHILY.xattr.user.a", $"{i}")).File($"{i}");
        }
        Assert.Single(ScannedTar.Collect(equal.ToArray(), limits).BuildXattrSets());
        Refused("its extended attributes take more than 1000 bytes together, equal ones counted once", limits, different);
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
        Refused("the extended attributes of its entries take more than 5000 bytes together", new TarLimits { XattrBytes = 5000 }, tar);
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
        var limits = new TarLimits { PaxHeaderSize = 1 << 16 };
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
