using System.Globalization;
using System.Text;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Toc;
using Xunit;

namespace LazyMount.Tests.Layers.Toc;

/// <summary>Tables written by hand: what is taken, and what is refused.</summary>
public sealed class TocJsonTests
{
    private const int DataEnd = 100_000;
    private const string Hash = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    private static LayerIndex Read(string json, IndexLimits? limits = null)
    {
        using var builder = new TocIndexBuilder(new IndexBudget(limits ?? IndexLimits.Default), DataEnd);
        TocJson.Read(Encoding.UTF8.GetBytes(json), builder);
        return builder.Build(new Descriptor("", Digest.OfSha256([]), DataEnd + 1000), CompressionFormat.Gzip, IndexOrigin.Estargz);
    }

    private static LayerIndex ReadEntries(params string[] entries) => Read($$"""{"version":1,"entries":[{{string.Join(',', entries)}}]}""".Replace("HASH", Hash, StringComparison.Ordinal));

    private static string File(string name, int size, long offset, string more = "")
        => $$"""{"name":"{{name}}","type":"reg","size":{{size}},"offset":{{offset}},"digest":"HASH"{{more}}}""";

    [Fact]
    public void ChunksOfSeveralFilesInOneMember_ShareASpan()
    {
        LayerIndex index = ReadEntries(
            File("a", 10, 200),
            File("b", 20, 200, ""","innerOffset":1024"""),
            File("c", 3000, 200, ""","innerOffset":2048,"chunkSize":1000,"chunkDigest":"HASH" """),
            """{"name":"c","type":"chunk","offset":900,"chunkOffset":1000,"chunkSize":1500,"chunkDigest":"HASH"}""",
            """{"name":"c","type":"chunk","offset":900,"innerOffset":1500,"chunkOffset":2500,"chunkDigest":"HASH"}""");
        Assert.Equal([0L, 1024L, 2048L], index.Entries.Select(entry => entry.DataOffset));
        Assert.Equal(2048 + 3000, index.UncompressedSize);
        // Before the content, the two members, and what comes after them.
        Assert.Equal([(0, 0), (200, 0), (900, 3048), (900 + 2000 + 2000 / 8 + 1024, 5048)],
            Enumerable.Range(0, index.Checkpoints.Count).Select(i => ((int)index.Checkpoints.CompressedOffset(i), (int)index.Checkpoints.UncompressedOffset(i))));
        Assert.Equal([(0L, 10), (1024L, 20), (2048L, 1000), (3048L, 1500), (4548L, 500)], Enumerable.Range(0, index.Proof.Ranges!.Count).Select(i => index.Proof.Ranges[i]));
    }

    [Fact]
    public void Holes_AreNotStored()
    {
        LayerIndex index = ReadEntries(
            File("a", 100, 200, ""","chunkSize":30,"chunkDigest":"HASH" """),
            """{"name":"a","type":"chunk","offset":300,"chunkOffset":30,"chunkSize":20,"chunkType":"zeros"}""",
            """{"name":"a","type":"chunk","offset":400,"chunkOffset":50,"chunkSize":10,"chunkDigest":"HASH"}""",
            """{"name":"a","type":"chunk","offset":500,"chunkOffset":60,"chunkSize":15,"chunkDigest":"HASH"}""",
            """{"name":"a","type":"chunk","offset":600,"chunkOffset":75,"chunkSize":25,"chunkType":"zeros"}""",
            File("b", 5, 700));
        SparseMap map = Assert.Single(index.SparseMaps);
        Assert.Equal((2, 55L), (map.Count, map.StoredSize));
        Assert.Equal((new SparseExtent(0, 0), new SparseExtent(50, 30), 75L), (map[0], map[1], map.End(1)));
        Assert.Equal(55, index.Entries[1].DataOffset);
    }

    [Fact]
    public void LayerWithoutContent_HasOneEmptySpan()
    {
        LayerIndex index = ReadEntries("""{"name":"d/","type":"dir","mode":493}""", """{"name":"d/e","type":"reg"}""");
        Assert.Equal((1, 0L, 2), (index.Checkpoints.Count, index.UncompressedSize, index.Entries.Length));
        Assert.NotNull(LayerIndexFile.TryDecode(LayerIndexFile.Encode(index), index.Digest));
    }

    [Fact]
    public void OwnFiles_AreHidden_AndTheLandmarkIsTold()
    {
        LayerIndex index = ReadEntries(File("first", 10, 200), File(".prefetch.landmark", 1, 300), File("./stargz.index.json", 5, 400), File("sub/.prefetch.landmark", 1, 500));
        Assert.Equal(4, index.Entries.Length);
        Assert.Equal(index, TocFiles.Hide(index, new byte[TocFiles.TailSize])); // no footer, no files of ours
        byte[] footer = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, .. "SG\u0016\00000000000001234STARGZ"u8, 1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
        index = TocFiles.Hide(index, footer);
        Assert.Equal([new PrefetchRange(0, 10)], index.Prefetch);
        Assert.Equal(2, index.Entries.Length);
        Assert.Equal(index.Prefetch, LayerIndexFile.TryDecode(LayerIndexFile.Encode(index), index.Digest)!.Prefetch);
    }

    [Fact]
    public void PathsAndIds_FollowTheRulesOfATar()
    {
        LayerIndex index = ReadEntries(
            """{"name":"../../up/./a","type":"symlink","linkName":"x","uid":-2,"gid":4294967295,"mode":41471}""",
            """{"name":"up/b","type":"char","devMajor":5,"devMinor":1048577,"uid":7}""",
            """{"name":"up/c","type":"hardlink","linkName":"/up/b","size":99,"xattrs":{"user.a":"AAE=","user.b":""},"unknown":{"a":[1,{}]}}""");
        Assert.Equal([(uint.MaxValue - 1, 0u, (ushort)0xFFF & 0x1FF, 0u), (7u, 0u, 0, 1u), (0u, 0u, 0, 0u)], index.Entries.Select(each => (each.Uid, each.Gid, each.Mode & 0xFFF, each.DeviceMinor)));
        Assert.Equal(index.Entries[1].Path, index.Entries[2].LinkPath);
        Assert.Equal([0, 1], index.XattrSets.Single()[0].Value.ToArray());
        Assert.Equal(0, index.Paths.Parent(index.Paths.Parent(index.Entries[0].Path)));
    }

    [Theory]
    [InlineData("2001-02-03T04:05:06Z", 981173106L, 0)]
    [InlineData("2001-02-03T04:05:06.5+02:00", 981165906L, 500_000_000)]
    [InlineData("1969-12-31T23:59:59.000000001-00:30", 1799L, 1)]
    [InlineData("0001-01-01T00:00:00Z", -62135596800, 0)]
    [InlineData("", 0L, 0)]
    [InlineData("2001-02-30T04:05:06Z", null, 0)]
    [InlineData("2001-02-03T04:05:60Z", null, 0)]
    [InlineData("0000-02-03T04:05:06Z", null, 0)]
    [InlineData("2001-02-03T04:05:06", null, 0)]
    [InlineData("2001-02-03T04:05:06.", null, 0)]
    [InlineData("2001-02-03T04:05:06.1234567890Z", null, 0)]
    [InlineData("2001-02-03T04:05:06+2:00", null, 0)]
    [InlineData("yesterday at noon, or so", null, 0)]
    public void Times(string text, long? seconds, int nanoseconds)
        => Assert.Equal(seconds is null ? null : (seconds.Value, (uint)nanoseconds), TocJson.ParseTime(Encoding.ASCII.GetBytes(text)));

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("null")]
    [InlineData("{}")]
    [InlineData("""{"version":1}""")]
    [InlineData("""{"version":2,"entries":[]}""")]
    [InlineData("""{"version":1.5,"entries":[]}""")]
    [InlineData("""{"version":1,"entries":{}}""")]
    [InlineData("""{"version":1,"entries":[1]}""")]
    [InlineData("""{"version":1,"entries":[{}]}""")]
    [InlineData("""{"version":1,"entries":[{"name":"a","type":"socket"}]}""")]
    [InlineData("""{"version":1,"entries":[{"name":1,"type":"dir"}]}""")]
    [InlineData("""{"version":1,"entries":[{"name":"a","type":"dir","uid":"1"}]}""")]
    [InlineData("""{"version":1,"entries":[{"name":"a","type":"dir","uid":99999999999}]}""")]
    [InlineData("""{"version":1,"entries":[{"name":"a","type":"dir","size":1e300}]}""")]
    [InlineData("""{"version":1,"entries":[{"name":"a","type":"dir","xattrs":[]}]}""")]
    [InlineData("""{"version":1,"entries":[{"name":"a","type":"dir","xattrs":{"a":"?"}}]}""")]
    [InlineData("""{"version":1,"entries":[{"name":"a\u0000b","type":"dir"}]}""")]
    [InlineData("""{"version":1,"entries":[{"name":"a\ud800b","type":"dir"}]}""")]
    [InlineData("""{"version":1,"entries":[{"name":"a\ufffdb","type":"dir"}]}""")]
    [InlineData("""{"version":1,"entries":[{"name":"a","type":"symlink"}]}""")]
    [InlineData("""{"version":1,"entries":[{"name":"a","type":"dir","modtime":"noon"}]}""")]
    [InlineData("""{"version":1,"entries":[]}x""")]
    [InlineData("""{"version":1,"entries":[]""")]
    [InlineData("""{"version":1,"entries":[],"x":[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}""")]
    public void MalformedJson_IsRefused(string json) => Assert.Throws<InvalidDataException>(() => Read(json));

    public static TheoryData<string[]> Unsound => new(
        [File("a", -1, 200)],
        [File("a", 10, 0)],
        [File("a", 10, -200)],
        [File("a", 10, -1)],
        [File("a", 10, 200), File("b", 10, -1)],
        [File("a", 10, DataEnd)],
        [File("a", 10, long.MaxValue)],
        [File("a", 10, 200, ""","innerOffset":-1""")],
        [File("a", 10, 200, ""","innerOffset":9223372036854775807""")],
        [File("a", 10, 200, ""","chunkSize":-5""")],
        [File("a", 10, 200, ""","chunkSize":5""")],
        [File("a", 10, 200, ""","chunkSize":11""")],
        [File("a", 10, 200, ""","chunkOffset":1""")],
        [File("a", 10, 200, ""","chunkType":"ones" """)],
        [File("a", 10, 200, ""","chunkDigest":"sha256:00" """)],
        [File("a", 10, 200, ""","chunkDigest":"sha512:00" """)],
        [File("a", CheckpointTable.LongestSpan + 1, 200)],
        [File("a", 10, 200), File("b", 10, 200)],
        [File("a", 10, 200), File("b", 10, 200, ""","innerOffset":9""")],
        [File("a", 10, 200), File("b", 10, 100)],
        ["""{"name":"a","type":"reg","size":10,"offset":200}"""],
        ["""{"name":"a","type":"chunk","offset":200,"chunkDigest":"HASH"}"""],
        [File("a", 10, 200), """{"name":"a","type":"chunk","offset":300,"chunkOffset":10,"chunkDigest":"HASH"}"""],
        [File("a", 10, 200, ""","chunkSize":5"""), """{"name":"a","type":"chunk","offset":300,"chunkOffset":5,"chunkDigest":"HASH"}"""], // the first has no digest of its own
        [File("a", 10, 200, ""","chunkSize":5,"chunkDigest":"HASH" """), """{"name":"b","type":"chunk","offset":300,"chunkOffset":5,"chunkDigest":"HASH"}"""],
        [File("a", 10, 200, ""","chunkSize":5,"chunkDigest":"HASH" """), """{"name":"a","type":"chunk","offset":300,"innerOffset":1,"chunkOffset":5,"chunkDigest":"HASH"}"""],
        [File("a", 10, 200, ""","chunkSize":5,"chunkDigest":"HASH" """), """{"name":"d","type":"dir"}""", """{"name":"a","type":"chunk","offset":300,"chunkOffset":5,"chunkDigest":"HASH"}"""]);

    [Theory]
    [MemberData(nameof(Unsound))]
    public void UnsoundContent_IsRefused(string[] entries) => Assert.Throws<InvalidDataException>(() => ReadEntries(entries));

    [Fact]
    public void Limits_AreThoseOfATar()
    {
        string[] directories = [.. Enumerable.Range(0, 5).Select(i => $$"""{"name":"d{{i.ToString(CultureInfo.InvariantCulture)}}","type":"dir"}""")];
        string json = $$"""{"version":1,"entries":[{{string.Join(',', directories)}}]}""";
        Assert.Equal(5, Read(json, IndexLimits.Default with { Entries = 5 }).Entries.Length);
        Assert.Throws<InvalidDataException>(() => Read(json, IndexLimits.Default with { Entries = 4 }));
        Assert.Throws<InvalidDataException>(() => Read(json, IndexLimits.Default with { Memory = 400, SmallestMemory = 400 }));
        Assert.Throws<InvalidDataException>(() => ReadEntries($$"""{"name":"{{new string('n', 256)}}","type":"dir"}"""));
    }

    [Fact]
    public void MutatedTables_AreRefusedOrRead_ButNothingElse()
    {
        byte[] sound = Encoding.UTF8.GetBytes($$"""{"version":1,"entries":[{{string.Join(',',
            """{"name":"d","type":"dir","mode":493,"modtime":"2001-02-03T04:05:06.5+02:00","xattrs":{"user.a":"AAE="}}""",
            File("a", 100, 200, ""","chunkSize":30,"chunkDigest":"HASH" """),
            """{"name":"a","type":"chunk","offset":300,"chunkOffset":30,"chunkSize":20,"chunkType":"zeros"}""",
            """{"name":"a","type":"chunk","offset":400,"chunkOffset":50,"chunkDigest":"HASH"}""",
            File("b", 20, 400, ""","innerOffset":1024"""),
            """{"name":"l","type":"symlink","linkName":"a"}""")}}]}""".Replace("HASH", Hash, StringComparison.Ordinal));
        var random = new Random(3);
        int read = 0;
        for (int i = 0; i < 20_000; i++)
        {
            byte[] mutated = [.. sound];
            for (int edits = random.Next(1, 4); edits > 0; edits--)
            {
                mutated[random.Next(mutated.Length)] = (byte)"0123456789-\"{}[],:\\ aeu\u00ff"[random.Next(24)];
            }
            try
            {
                using var builder = new TocIndexBuilder(new IndexBudget(IndexLimits.Default), DataEnd);
                TocJson.Read(mutated, builder);
                LayerIndex index = builder.Build(new Descriptor("", Digest.OfSha256([]), DataEnd + 1000), CompressionFormat.Gzip, IndexOrigin.Estargz);
                Assert.NotNull(LayerIndexFile.TryDecode(LayerIndexFile.Encode(index), index.Digest));
                read++;
            }
            catch (InvalidDataException)
            {
            }
        }
        Assert.InRange(read, 100, 19_000);
    }
}
