using System.IO.Compression;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>
/// Layers made to hurt: each is refused with one sentence, or read, by a process that may have little memory.
/// <para>The limits of docs/decisions.md and the tests that hold them. Here: PAX header 1 MiB, PAX record, long name
/// 64 KiB, path 32 KiB and 2,048 components, name 255, link target 4,095, sizes up to 2^63, ten million entries, streams
/// of gigabytes, members by the ten thousand. HostileImageTests: manifest 4 MiB, config 8 MiB, 1000 layers, JSON nested
/// deeply, lies about sizes, made-up index files. LazyMount.Tests: redirects 5, error bodies 64 KiB, token 1 MiB
/// (RegistryFaultTests), distinct paths 20 million (LayerPathsBuilderTests, with a smaller bound).</para>
/// </summary>
public sealed class HostileLayerTests : IDisposable
{
    private const long Huge = long.MaxValue;
    private const int GiB = 1 << 30;

    private readonly LazyMountCli _lazymount = new();
    private readonly OciLayoutBuilder _layout;

    public HostileLayerTests() => _layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);

    public void Dispose() => _lazymount.Dispose();

    private static readonly Dictionary<string, (Func<TarBytes> Tar, string Says)> s_refused = new()
    {
        ["PAX header that claims 4 GiB"] = (() => new TarBytes().Raw(TarBytes.Header("x", 'x', 4L * GiB, 0)).File("file"), "a PAX header of 4294967296 bytes"),
        ["PAX header of 64 MiB"] = (() => new TarBytes().Raw(TarBytes.Header("x", 'x', 64 << 20, 0)).Data(new byte[64 << 20]).File("file"), "a PAX header of 67108864 bytes"),
        ["PAX record that claims 4 GiB"] = (() => new TarBytes().Raw(TarBytes.Header("x", 'x', 22, 0)).Data("4294967296 path=abcde\n"u8).File("file"), "malformed record"),
        ["PAX record whose length overflows"] = (() => new TarBytes().Raw(TarBytes.Header("x", 'x', 32, 0)).Data("18446744073709551635 path=abcde\n"u8).File("file"), "malformed record"),
        ["long name that claims 1 GiB"] = (() => new TarBytes().Raw(TarBytes.Header("L", 'L', GiB, 0)).File("file"), "a long name of 1073741824 bytes"),
        ["path of 100,000 levels"] = (() => new TarBytes().Pax(("path", string.Concat(Enumerable.Repeat("a/", 100_000)) + "file")).File("file"), "longer than the limit of 32768"),
        ["levels added one by one"] = (() => Enumerable.Range(2040, 20).Aggregate(new TarBytes(), (tar, levels) => tar.Pax(("path", string.Concat(Enumerable.Repeat("a/", levels)))).Directory("d")), "more than 2048 components"),
        ["name of 1 MiB"] = (() => new TarBytes().Pax(("path", new string('n', 1_000_000))).File("file"), "longer than the limit of 32768"),
        ["name of 256 bytes"] = (() => new TarBytes().Pax(("path", new string('n', 256))).File("file"), "longer than the 255 that Linux allows"),
        ["symbolic link to 1 MiB"] = (() => new TarBytes().Pax(("linkpath", new string('t', 1_000_000))).Symlink("link", "t"), "more than the 4095 that Linux allows"),
        ["hard link to itself"] = (() => new TarBytes().HardLink("a", "a"), "'/a' to '/a', which does not exist"),
        ["cycle of hard links"] = (() => new TarBytes().HardLink("a", "b").HardLink("b", "c").HardLink("c", "a"), "which does not exist"),
        ["path of 2,048 levels in a sentence"] = (() => new TarBytes().Pax(("path", string.Concat(Enumerable.Repeat("a/", 2047)) + "link")).HardLink("link", "none"), "…' to '/none', which does not exist"),
        ["entry below a link to itself"] = (() => new TarBytes().Symlink("loop", "loop").File("loop/file"), "leads to itself"),
        ["links that multiply, each leading over the one before 600 times"] = (LinksThatMultiply, "symbolic link"),
        ["entries below a link of a thousand names"] = (EntriesBelowLongLink, "names together"),
        ["hard links that wait for each other, the last first"] = (HardLinksBackwards, "in chains too long to follow"),
        ["octal size of 64 GiB"] = (() => new TarBytes().File("file", edit: header => header.AsSpan(124, 12).Fill((byte)'7')), "bytes are missing"),
        ["size of 2^63-1"] = (() => new TarBytes().File("file", edit: header => TarBytes.Base256(header, 124, 12, Huge)), "9223372036854775807 of \"file\" is impossible"),
        ["size of 2^63-1024"] = (() => new TarBytes().File("file", edit: header => TarBytes.Base256(header, 124, 12, Huge - 1023)), "of \"file\" is impossible"),
        ["size near 2^63 that fits"] = (() => new TarBytes().File("file", edit: header => TarBytes.Base256(header, 124, 12, Huge - 4095)), "bytes are missing"),
        ["negative size"] = (() => new TarBytes().File("file", edit: header => TarBytes.Base256(header, 124, 12, -1)), "the size -1 of"),
        ["size beyond 64 bits"] = (() => new TarBytes().File("file", edit: header => header.AsSpan(124, 12).Fill(0xBF)), "is not a number"),
        ["PAX size of 2^63-1"] = (() => new TarBytes().Pax(("size", "9223372036854775807")).File("file"), "is impossible"),
        ["PAX size beyond 64 bits"] = (() => new TarBytes().Pax(("size", "18446744073709551617")).File("file"), "PAX size"),
        ["negative PAX size"] = (() => new TarBytes().Pax(("size", "-512")).File("file"), "is impossible"),
        ["unreadable names"] = (() => new TarBytes().HardLink("\n\x1b[2J", new string('b', 90)), "'/??[2J'"),
    };

    public static TheoryData<string> Refused => [.. s_refused.Keys];

    [Theory]
    [MemberData(nameof(Refused))]
    public void HostileTar_IsRefusedInOneSentence(string what)
    {
        (Func<TarBytes> tar, string says) = s_refused[what];
        AssertRefused(OciLayoutBuilder.Gzip(tar().ToArray()), says);
    }

    [Fact]
    public void MoreThanTenMillionEntries_AreRefused()
    {
        // Of a type that is not known, so that they cost no memory: that is what ten million entries may.
        byte[] hundredThousand = Compressed(stream =>
        {
            byte[] header = TarBytes.Header("entry", 'Z', 0, 0);
            for (int i = 0; i < 100_000; i++)
            {
                stream.Write(header);
            }
        });
        AssertRefused(Members(hundredThousand, 100, new TarBytes().File("one more").ToArray()), "more than 10000000 entries");
    }

    [Fact]
    public void GigabytesOfZeros_TakeNoMemory()
    {
        byte[] zeros = Compressed(stream => stream.Write(new byte[128 << 20]));
        byte[] head = OciLayoutBuilder.Gzip(TarBytes.Header("zeros", '0', 4L * GiB, 0x1A4));
        ToolResult result = List([.. head, .. Members(zeros, 32, new TarBytes().File("after").ToArray())]);
        Assert.Contains(" 4294967296 ", result.EnsureSuccess().Output, StringComparison.Ordinal);
        Assert.Contains("after", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void GzipInGzip_IsNoTar() => AssertRefused(OciLayoutBuilder.Gzip(OciLayoutBuilder.Gzip(OciLayoutBuilder.Gzip(new byte[10 << 20]))), "not a tar archive");

    [Fact]
    public void EmptyMembersByTheTenThousand_AreRead()
    {
        byte[] empty = Convert.FromHexString("1f8b08000000000000030300" + "0000000000000000");
        ToolResult result = List([.. OciLayoutBuilder.Gzip(new TarBytes().File("first").ToArray(end: false)), .. Members(empty, 50_000, new TarBytes().File("second").ToArray())]);
        Assert.Contains("first", result.EnsureSuccess().Output, StringComparison.Ordinal);
        Assert.Contains("second", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void DeepestTreeThatIsAccepted_IsListed()
    {
        string path = string.Concat(Enumerable.Repeat("a/", 2047)) + "file";
        TarBytes tar = new();
        for (int i = 0; i < 200; i++)
        {
            tar.Pax(("path", path + i)).File("file");
        }
        Assert.Contains(" a", List(OciLayoutBuilder.Gzip(tar.ToArray())).EnsureSuccess().Output, StringComparison.Ordinal);
    }

    private static TarBytes LinksThatMultiply()
    {
        TarBytes tar = new TarBytes().Directory("d").Symlink("s0", "d");
        for (int i = 1; i < 6; i++)
        {
            tar.Pax(("linkpath", string.Concat(Enumerable.Repeat($"s{i - 1}/../", 600)) + "d")).Symlink($"s{i}", "long");
        }
        return tar.File("s5/file");
    }

    private static TarBytes EntriesBelowLongLink()
    {
        TarBytes tar = new TarBytes().Directory("d").Pax(("linkpath", string.Concat(Enumerable.Repeat("d/../", 800)) + "d")).Symlink("s", "long");
        for (int i = 0; i < 20_000; i++)
        {
            tar.File($"s/{i}");
        }
        return tar;
    }

    private static TarBytes HardLinksBackwards()
    {
        const int Count = 20_000;
        TarBytes tar = new();
        for (int i = 0; i < Count; i++)
        {
            tar.HardLink($"link{i}", $"link{i + 1}");
        }
        return tar.File($"link{Count}");
    }

    private ToolResult List(byte[] blob)
    {
        _layout.AddLayer(blob, OciLayoutBuilder.GzipLayer, OciLayoutBuilder.DigestOf(blob)).WriteImage("v1");
        return BoundedRun.Ls(_lazymount, _layout.Reference("v1"));
    }

    private void AssertRefused(byte[] blob, string says)
    {
        ToolResult result = List(blob);
        Sentence.AssertOne(result, 1, says);
        Assert.InRange(result.Error.Length, 50, 2000);
    }

    private static byte[] Compressed(Action<GZipStream> write)
    {
        var compressed = new MemoryStream();
        using (var gzip = new GZipStream(compressed, CompressionLevel.Fastest))
        {
            write(gzip);
        }
        return compressed.ToArray();
    }

    /// <summary>One gzip member many times over, and a last one.</summary>
    private static byte[] Members(byte[] member, int times, byte[] last)
        => [.. Enumerable.Repeat(member, times).SelectMany(bytes => bytes), .. OciLayoutBuilder.Gzip(last)];
}
