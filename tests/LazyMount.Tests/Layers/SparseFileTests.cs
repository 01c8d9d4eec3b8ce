using System.Text;
using CsCheck;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;
using LazyMount.TestKit;
using Xunit;
using Map = (long Offset, long Length)[];

namespace LazyMount.Tests.Layers;

public sealed class SparseFileTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public static TheoryData<SparseFormat> Formats { get; } = [.. Enum.GetValues<SparseFormat>()];

    public void Dispose() => _directory.Dispose();

    // GNU tar finds the holes itself, so the file system's idea of the holes is what the map must say.
    [Theory]
    [InlineData("--format=gnu")]
    [InlineData("--format=posix --sparse-version=0.0")]
    [InlineData("--format=posix --sparse-version=0.1")]
    [InlineData("--format=posix --sparse-version=1.0")]
    public void FilesWrittenByGnuTar_HaveTheirBytesAndHoles(string options)
    {
        string files = _directory.CreateDirectory("files");
        var random = new Random(5);
        Write("one", 1 << 20, (200 << 10, 5000));
        Write("leading", 100_000, (90_000, 10_000));
        Write("trailing", 1 << 20, (0, 4096));
        Write("dense", 20_000, (0, 20_000));
        Write("hole", 1L << 40);
        Write("huge", (10L << 30) + 5, (9L << 30, 100), (10L << 30, 5));
        Write("many", 4000 * 16384, [.. Enumerable.Range(0, 400).Select(i => (i * 163_840L + 4096, 3000 + i))]);
        Write(new string('n', 120), 50_000, (8192, 10));
        Tool.Shell($"tar -C \"$1\" -S {options} --sort=name -cf \"$2\" .", files, _directory["tar"]).EnsureSuccess();

        byte[] tar = File.ReadAllBytes(_directory["tar"]);
        Assert.True(tar.Length < 4 << 20, "tar has left the holes out");
        foreach (int pieceSize in (int[])[1, 700, int.MaxValue])
        {
            int found = 0;
            ScannedTar.Scan(tar, member =>
            {
                if (member.Type != EntryType.File)
                {
                    return;
                }
                found++;
                using FileStream file = File.OpenRead(Path.Combine(files, Encoding.UTF8.GetString(member.Path)));
                Assert.Equal(file.Length, member.Size);
                AssertSame(file, tar, member);
            }, pieceSize);
            Assert.Equal(8, found);
        }

        void Write(string name, long size, params (long Offset, int Length)[] extents)
        {
            using FileStream file = File.Create(Path.Combine(files, name));
            file.SetLength(size);
            foreach ((long offset, int length) in extents)
            {
                var bytes = new byte[length];
                random.NextBytes(bytes);
                file.Position = offset;
                file.Write(bytes);
            }
        }
    }

    // Every stored extent is what the file has there, and what lies between is not data for the file system either.
    private static void AssertSame(FileStream file, byte[] tar, TarMember member)
    {
        SparseMap map = member.SparseMap ?? new SparseMap([new SparseExtent(0, 0)], member.Size);
        long end = 0;
        for (int i = 0; i < map.Count; i++)
        {
            AssertHole(end, map[i].Offset);
            var bytes = new byte[map.End(i) - map[i].Offset];
            file.Position = map[i].Offset;
            file.ReadExactly(bytes);
            Assert.True(bytes.AsSpan().SequenceEqual(tar.AsSpan((int)(member.DataOffset + map[i].Stored), bytes.Length)));
            end = map.End(i);
        }
        AssertHole(end, member.Size);

        void AssertHole(long from, long to)
        {
            if (to - from is > 0 and < 1 << 20)
            {
                var bytes = new byte[to - from];
                file.Position = from;
                file.ReadExactly(bytes);
                Assert.True(bytes.AsSpan().IndexOfAnyExcept((byte)0) < 0);
            }
        }
    }

    [Fact]
    public void AnyMapInAnyForm_GivesTheFile()
    {
        Gen<(long Hole, long Length)> extent = Gen.Select(Gen.OneOf(Gen.Long[0, 3], Gen.Long[0, 5000], Gen.Long[0, 1L << 50]), Gen.OneOf(Gen.Long[0, 2], Gen.Long[1, 3000]));
        Gen.Select(extent.Array[0, 60], Gen.Long[0, 5000], Gen.Enum<SparseFormat>(), Gen.Int[0, 2].Select(i => i switch { 0 => 1, 1 => 333, _ => int.MaxValue })).Sample((holes, tail, format, pieceSize) =>
        {
            var map = new (long Offset, long Length)[holes.Length];
            long end = 0;
            for (int i = 0; i < map.Length; i++)
            {
                map[i] = (end + holes[i].Hole, holes[i].Length);
                end = map[i].Offset + map[i].Length;
            }
            byte[] stored = Bytes(map.Sum(each => each.Length));
            byte[] tar = new TarBytes().Sparse(format, "dir/file", end + tail, map, stored).File("next", "text").ToArray();
            var names = new List<string>();
            ScannedTar.Scan(tar, member =>
            {
                names.Add(Encoding.UTF8.GetString(member.Path));
                if (names.Count == 1)
                {
                    AssertIs(member, end + tail, map, tar, stored);
                }
            }, pieceSize);
            Assert.Equal(["dir/file", "next"], names);
        }, iter: 500);
    }

    private static void AssertIs(TarMember member, long size, Map map, byte[] tar, byte[] stored)
    {
        Assert.Equal(size, member.Size);
        Assert.True(tar.AsSpan((int)member.DataOffset, stored.Length).SequenceEqual(stored));
        if (member.SparseMap is not { } read)
        {
            Assert.Equal(size, stored.Length);
            return;
        }
        Assert.Equal(stored.Length, read.StoredSize);
        // Extent by extent of the given map, at both ends and just outside.
        long before = 0;
        foreach ((long offset, long length) in map.Where(each => each.Length > 0))
        {
            Assert.Equal(before, read.Find(offset).Stored);
            Assert.Equal(before + length - 1, read.Find(offset + length - 1).Stored);
            Assert.InRange(read.Find(offset).End, offset + length, long.MaxValue);
            before += length;
        }
        HashSet<long> ends = [.. map.Where(each => each.Length > 0).SelectMany(each => (long[])[each.Offset, each.Offset + each.Length])];
        foreach (long at in ends.SelectMany(each => (long[])[each - 1, each]).Where(at => at >= 0 && at < size))
        {
            Assert.Equal(map.Any(each => at >= each.Offset && at < each.Offset + each.Length), read.Find(at).Stored >= 0);
        }
        for (int i = 0; i < read.Count; i++)
        {
            Assert.True(read.End(i) > read[i].Offset && (i == 0 || read[i].Offset > read.End(i - 1)));
        }
        Assert.InRange(read.Blocks, (read.StoredSize + 511) / 512, (size + 511) / 512);
    }

    [Fact]
    public void Blocks_AreThoseThatHoldAStoredByte()
    {
        Assert.Equal(0, new SparseMap([], 0).Blocks);
        Assert.Equal(1, new SparseMap([new(10, 0), new(500, 1)], 2).Blocks);
        Assert.Equal(2, new SparseMap([new(511, 0)], 2).Blocks);
        Assert.Equal(3, new SparseMap([new(0, 0), new(1024, 512)], 1536).Blocks);
        Assert.Equal(4, new SparseMap([new(0, 0), new(700, 1), new(1023, 2)], 1027).Blocks);
    }

    public static TheoryData<string, Map, long, int> BadMaps { get; } = new()
    {
        { "is not in order", [(1000, 10), (500, 10)], 2000, 20 },
        { "is not in order", [(0, 10), (9, 10)], 2000, 20 },
        { "is not in order", [(1000, 0), (999, 1)], 2000, 1 },
        { "goes beyond the file's size of 100", [(90, 11)], 100, 11 },
        { "goes beyond the file's size of 100", [(101, 0)], 100, 0 },
        { "goes beyond what a file can hold", [(long.MaxValue - 5, 10)], long.MaxValue, 10 },
        { "goes beyond what a file can hold", [(0, 5), (10, long.MaxValue)], long.MaxValue, 10 },
        { "has 10 bytes where 11 are stored", [(0, 10)], 100, 11 },
        { "has 10 bytes where 9 are stored", [(0, 10)], 100, 9 },
        { "has 0 bytes where 1 are stored", [], 100, 1 },
    };

    [Theory]
    [MemberData(nameof(BadMaps))]
    public void MapThatCannotBe_IsRefused(string reason, Map map, long size, int stored)
    {
        foreach (SparseFormat format in Enum.GetValues<SparseFormat>())
        {
            AssertRefused($"the sparse map of \"f\" {reason}", new TarBytes().Sparse(format, "f", size, map, Bytes(stored)));
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void NegativeNumbers_AreRefused(SparseFormat format)
    {
        foreach ((Map map, long size) in ((Map, long)[])[([(-1, 1)], 5), ([(0, -1)], 5), ([(0, 3), (3, -2)], 5)])
        {
            AssertRefused("the sparse map of \"f\"", new TarBytes().Sparse(format, "f", size, map, Bytes(1)));
        }
        AssertRefused("the sparse map of \"f\"", new TarBytes().Sparse(format, "f", -1, [], []));
    }

    public static TheoryData<string, byte[]> BadContents { get; } = new()
    {
        { "does not end", [] },
        { "does not end", "1\n0\n5\n"u8.ToArray() },
        { "does not end", Block("200\n" + string.Concat(Enumerable.Repeat("0\n", 254))) },
        { "holds something that is not a number", Block("2\n0\n5\n7\n") },
        { "holds something that is not a number", Block("") },
        { "holds something that is not a number", Block("x\n") },
        { "holds something that is not a number", Block("1\n0x10\n5\n") },
        { "holds something that is not a number", Block("1\n+0\n5\n") },
        { "holds something that is not a number", Block("1\n9223372036854775808\n5\n") },
        { "holds something that is not a number", Block("1\n" + new string('0', 20) + "\n5\n") },
        { "holds an empty number", Block("1\n\n5\n") },
        { "holds an empty number", Block("\n") },
        { "has more than 262144 extents", Block("262145\n") },
        { "has more than 262144 extents", Block("9223372036854775807\n") },
    };

    [Theory]
    [MemberData(nameof(BadContents))]
    public void MapInContentThatIsNone_IsRefused(string reason, byte[] content)
        => AssertRefused($"the sparse map of \"f\" {reason}", new TarBytes().Version1("f", 100, content));

    public static TheoryData<string, TarBytes> BadRecords { get; } = new()
    {
        { "does not have as many extents as it says", Records(("size", "9"), ("numblocks", "2"), ("map", "0,1")) },
        { "does not have as many extents as it says", Records(("size", "9"), ("numblocks", "1"), ("map", "0,1,2,3")) },
        { "does not have as many extents as it says", Records(("size", "9"), ("numblocks", "-1"), ("map", "0,1")) },
        { "does not say how many extents", Records(("size", "9"), ("map", "0,1")) },
        { "does not have the file's size", Records(("numblocks", "1"), ("map", "0,1")) },
        { "holds something that is not a number", Records(("size", "9"), ("numblocks", "1"), ("map", "0;1")) },
        { "holds something that is not a number", Records(("size", "9"), ("numblocks", "1"), ("map", "0,")) },
        { "holds something that is not a number", Records(("size", "9"), ("numblocks", "1"), ("map", ",1")) },
        { "holds something that is not a number", Records(("size", "9"), ("numblocks", "1"), ("map", "0,99999999999999999999")) },
        { "not in turn", Records(("size", "9"), ("numblocks", "1"), ("numbytes", "1"), ("offset", "1")) },
        { "not in turn", Records(("size", "9"), ("numblocks", "1"), ("offset", "1"), ("offset", "1")) },
        { "not in turn", Records(("size", "9"), ("numblocks", "1"), ("offset", "1,2"), ("numbytes", "1")) },
        { "\"many\" is not a number", Records(("size", "many"), ("numblocks", "1"), ("map", "0,1")) },
        { "has a sparse map but is not a file", new TarBytes().Pax(("GNU.sparse.size", "9"), ("GNU.sparse.numblocks", "0")).Directory("f") },
        { "has a sparse map but is not a file", new TarBytes().Pax(("GNU.sparse.size", "9"), ("GNU.sparse.numblocks", "0")).Symlink("f", "g") },
        { "has two sparse maps", new TarBytes().Pax(("GNU.sparse.size", "9"), ("GNU.sparse.numblocks", "0")).Sparse(SparseFormat.Old, "f", 9, [], []) },
    };

    [Theory]
    [MemberData(nameof(BadRecords))]
    public void RecordsThatContradict_AreRefused(string reason, TarBytes tar) => AssertRefused(reason, tar);

    [Fact]
    public void RecordsInAGlobalHeader_AreRefused()
    {
        byte[] records = "22 GNU.sparse.major=1\n"u8.ToArray();
        AssertRefused("a global PAX header", new TarBytes().Raw(TarBytes.Header("g", 'g', records.Length, 0)).Data(records).File("f"));
    }

    [Fact]
    public void UnknownForms_AreToldAsThat()
    {
        foreach (TarBytes tar in (TarBytes[])
            [
                new TarBytes().Raw(TarBytes.Header("f", 'S', 0, 0)), // star's
                Records(("major", "1"), ("size", "9")),
                Records(("major", "1"), ("minor", "1"), ("size", "9")),
                Records(("major", "2"), ("minor", "0"), ("size", "9")),
                Records(("size", "9")),
            ])
        {
            Assert.Contains("\"f\" is a", Assert.Throws<NotSupportedException>(() => ScannedTar.List(tar.ToArray())).Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void ExtentsOfOneFile_AreBounded(SparseFormat format)
    {
        Map map = [.. Enumerable.Range(0, 10).Select(i => (i * 10L, 1L))];
        byte[] tar = new TarBytes().Sparse(format, "a", 100, map, Bytes(10)).Sparse(format, "b", 100, map, Bytes(10)).ToArray();
        Assert.Equal(2, ScannedTar.Collect(tar, new IndexLimits { SparseExtentsOfFile = 10 }).BuildSparseMaps().Length);
        Assert.Contains("has more than 9 extents", Assert.Throws<InvalidDataException>(() => ScannedTar.Collect(tar, new IndexLimits { SparseExtentsOfFile = 9 })).Message, StringComparison.Ordinal);
    }

    // An old map goes on for as long as its blocks say so.
    [Fact]
    public void OldMapOfEmptyBlocks_EndsWithTheTar()
    {
        byte[] block = new byte[512];
        block[504] = 1;
        var tar = new TarBytes().Raw(TarBytes.Header("f", 'S', 0, 0, edit: header =>
        {
            "ustar  \0"u8.CopyTo(header.AsSpan(257));
            header[482] = 1;
        }));
        for (int i = 0; i < 100; i++)
        {
            tar.Raw(block);
        }
        Assert.Contains("inside the sparse map of \"f\"", Assert.Throws<InvalidDataException>(() => ScannedTar.List(tar.ToArray(end: false))).Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void TruncatedAtEveryLength_IsRefusedAsThat(SparseFormat format)
    {
        Map map = [.. Enumerable.Range(0, 30).Select(i => (i * 100L, 10L))];
        byte[] tar = new TarBytes().Sparse(format, "f", 5000, map, Bytes(300)).ToArray(end: false);
        for (int length = 1; length < tar.Length - (512 - 300); length += 13)
        {
            Assert.Throws<InvalidDataException>(() => ScannedTar.List(tar[..length]));
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void Damaged_NeverFailsWithAnythingElse(SparseFormat format)
    {
        byte[] tar = new TarBytes().Sparse(format, "f", 5000, [.. Enumerable.Range(0, 30).Select(i => (i * 100L, 10L))], Bytes(300)).ToArray();
        Gen.Select(Gen.Int[0, tar.Length - 1], Gen.OneOf(Gen.Byte, Gen.Int[0, 3].Select(i => "9\n\0\u0080"[i]).Select(c => (byte)c))).Array[1, 3].Sample(damages =>
        {
            byte[] damaged = [.. tar];
            foreach ((int at, byte value) in damages)
            {
                damaged[at] = value;
            }
            try
            {
                ScannedTar.Collect(damaged);
            }
            catch (Exception e) when (e is InvalidDataException or NotSupportedException)
            {
            }
        }, iter: 2000);
    }

    private static void AssertRefused(string reason, TarBytes tar)
    {
        foreach (int pieceSize in (int[])[1, int.MaxValue])
        {
            Assert.Contains(reason, Assert.Throws<InvalidDataException>(() => ScannedTar.List(tar.ToArray(), pieceSize)).Message, StringComparison.Ordinal);
        }
    }

    private static TarBytes Records(params (string Key, string Value)[] records)
        => new TarBytes().Pax([.. records.Select(record => ("GNU.sparse." + record.Key, record.Value))]).File("f", "x");

    private static byte[] Block(string map) => [.. Encoding.Latin1.GetBytes(map), .. new byte[512 - map.Length]];

    // No zero among them.
    private static byte[] Bytes(long count) => [.. Enumerable.Range(0, (int)count).Select(i => (byte)(i % 255 + 1))];
}
