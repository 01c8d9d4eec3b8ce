using System.Text;
using System.Text.Json;
using LazyMount.Commands;
using LazyMount.FileSystem;
using LazyMount.Listing;
using LazyMount.Output;
using LazyMount.Tests.FileSystem;
using Xunit;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Tests.Commands;

/// <summary>What ls, tree and stat print of a tree made by hand.</summary>
public sealed class TreeOutputTests
{
    private static readonly ImageTree s_tree = TreeBuilder.Build(
    [
        new LayerBuilder()
            .Directory("bin").File("bin/busybox", 1_000_000, Octal("4755"), uid: 0, mtime: 1_700_000_000).HardLink("bin/sh", "bin/busybox", Octal("4755"), mtime: 1_700_000_000)
            .Directory("dev").Device("dev/null", 1, 3).Fifo("dev/pipe")
            .Directory("etc").File("etc/.hidden", 5).Symlink("etc/mtab", "/proc/mounts")
            .Directory("tmp", Octal("1777"), uid: 1000)
            .Build(),
        new LayerBuilder().File("etc/odd\u00ff\n", 3, xattrs: [("user.a", "text"), ("user.b", "\u0001")]).Build(),
    ]);

    [Fact]
    public void Ls_HidesDotNames()
        => Assert.Equal("mtab\nodd\u00ff\n\n", Ls("/etc", default));

    [Fact]
    public void LsAll_ShowsThemAndTheTwoDots()
        => Assert.Equal(".\n..\n.hidden\nmtab\nodd\u00ff\n\n", Ls("/etc", new ListingStyle { ShowsHidden = true, ShowsDots = true }));

    [Fact]
    public void LsOnATerminal_ShowsNothingThatCouldDriveIt()
        => Assert.Equal("mtab\nodd??\n", Ls("/etc", default, isTerminal: true));

    [Fact]
    public void LsLong_HasTheColumnsOfLs()
        => Assert.Equal(
            """
            total 1954
            -rwsr-xr-x 2 0 0 1000000 2023-11-14 22:13 busybox
            -rwsr-xr-x 2 0 0 1000000 2023-11-14 22:13 sh

            """,
            Ls("/bin", new ListingStyle { IsLong = true }));

    [Fact]
    public void LsLong_ShowsDevicesLinksAndTheStickyBit()
    {
        Assert.Equal(
            """
            total 0
            crw------- 1 0 0 1, 3 1970-01-01 00:00 null
            prw------- 1 0 0    0 1970-01-01 00:00 pipe

            """,
            Ls("/dev", new ListingStyle { IsLong = true }));
        Assert.Contains("lrwxrwxrwx 1 0 0 12 1970-01-01 00:00 mtab -> /proc/mounts\n", Ls("/etc", new ListingStyle { IsLong = true }));
        Assert.Contains("drwxrwxrwt 2 1000 0 0 1970-01-01 00:00 tmp\n", Ls("/", new ListingStyle { IsLong = true }));
    }

    [Fact]
    public void LsRecursive_HeadsEveryDirectory()
        => Assert.Equal(
            "/:\nbin\ndev\netc\ntmp\n\n/bin:\nbusybox\nsh\n\n/dev:\nnull\npipe\n\n/etc:\nmtab\nodd\u00ff\n\n\n/tmp:\n",
            Ls("/", new ListingStyle { IsRecursive = true }));

    [Fact]
    public void LsJson_HasTheDocumentedShape()
    {
        JsonElement[] entries = LsJson("/bin");
        Assert.Equal(
            """{"path":"/bin/busybox","name":"busybox","type":"file","mode":"4755","uid":0,"gid":0,"size":1000000,"mtime":"2023-11-14T22:13:20Z","links":2,"inode":17,"layer":0}""",
            entries[0].GetRawText());
        Assert.Equal(entries[0].GetProperty("inode").GetInt64(), entries[1].GetProperty("inode").GetInt64());
    }

    [Fact]
    public void LsJson_GivesExactBytesOfANameThatIsNotUtf8()
    {
        JsonElement odd = LsJson("/etc").Last();
        Assert.Equal("odd\uFFFD\n", odd.GetProperty("name").GetString());
        Assert.Equal("odd\u00ff\n", Encoding.Latin1.GetString(odd.GetProperty("nameBase64").GetBytesFromBase64()));
        Assert.Equal("/etc/odd\u00ff\n", Encoding.Latin1.GetString(odd.GetProperty("pathBase64").GetBytesFromBase64()));
        Assert.Equal(1, odd.GetProperty("layer").GetInt32());
    }

    [Fact]
    public void LsJson_Recursive_IsOneFlatListInTreeOrder()
        => Assert.Equal(
            ["/bin", "/bin/busybox", "/bin/sh", "/dev", "/dev/null", "/dev/pipe", "/etc", "/etc/.hidden", "/etc/mtab", "/etc/odd\uFFFD\n", "/tmp"],
            LsJson("/", isRecursive: true).Select(entry => entry.GetProperty("path").GetString()));

    [Fact]
    public void LsJson_OfOneThing_ShowsDeviceNumbersAndTargets()
    {
        JsonElement device = LsJson("/dev/null")[0];
        Assert.Equal((1, 3), (device.GetProperty("major").GetInt32(), device.GetProperty("minor").GetInt32()));
        JsonElement link = LsJson("/etc/mtab")[0];
        Assert.Equal("/proc/mounts", link.GetProperty("target").GetString());
    }

    [Fact]
    public void Tree_DrawsAndCounts()
        => Assert.Equal(
            """
            /
            ├── bin
            │   ├── busybox
            │   └── sh
            ├── dev
            │   ├── null
            │   └── pipe
            ├── etc
            │   ├── .hidden
            │   ├── mtab -> /proc/mounts
            │   └── odd??
            └── tmp

            4 directories, 7 files

            """,
            Encoding.UTF8.GetString(Encoding.Latin1.GetBytes(CommandRun.Written(
                output => TreeCommand.Write(output, s_tree, "/", Find("/"), int.MaxValue, all: true, default), isTerminal: true))));

    [Fact]
    public void Tree_StopsAtItsDepth()
        => Assert.EndsWith("── tmp\n\n4 directories, 0 files\n", Encoding.UTF8.GetString(Encoding.Latin1.GetBytes(CommandRun.Written(
            output => TreeCommand.Write(output, s_tree, "/", Find("/"), 1, all: false, default)))));

    [Fact]
    public void TreeJson_Nests()
    {
        JsonElement root = Json(output => TreeCommand.WriteJson(output, s_tree, Find("/"), 1, default));
        Assert.Equal("/", root.GetProperty("path").GetString());
        Assert.Equal(["bin", "dev", "etc", "tmp"], root.GetProperty("children").EnumerateArray().Select(child => child.GetProperty("name").GetString()));
        Assert.False(root.GetProperty("children")[0].TryGetProperty("children", out _));
    }

    /// <summary>The deepest tree that there is, on a stack that recursion of so many levels would overflow.</summary>
    [Fact]
    public void DeepestTree_IsWrittenByLoops()
    {
        const int Levels = 2048;
        ImageTree deep = TreeBuilder.Build([new LayerBuilder().File(string.Concat(Enumerable.Repeat("d/", Levels - 1)) + "f").File("z").Build()]);
        var root = new ResolvedPath(ImageTree.RootId, "/"u8.ToArray());
        string[] written = [];
        var thread = new Thread(() => written =
        [
            CommandRun.Written(output => new Lister(output, deep, new ListingStyle { IsRecursive = true }).List([Named(root)], hasHeadings: false, default)),
            CommandRun.Written(output => new Lister(output, deep, new ListingStyle { IsRecursive = true }).ListJson([Named(root)], default)),
            CommandRun.Written(output => TreeCommand.Write(output, deep, "/", root, int.MaxValue, all: true, default)),
            CommandRun.Written(output => TreeCommand.WriteJson(output, deep, root, int.MaxValue, default)),
        ], maxStackSize: 256 << 10);
        thread.Start();
        thread.Join();
        Assert.Equal(Levels, written[0].Split(":\n").Length - 1);
        Assert.Equal(Levels + 1, written[1].Split("\"path\"").Length - 1);
        Assert.Contains("2047 directories, 2 files", written[2], StringComparison.Ordinal);
        Assert.Equal(Levels, written[3].Split("\"children\"").Length - 1);
        Assert.EndsWith("\"name\":\"z\",", written[3][..(written[3].LastIndexOf("\"type\"", StringComparison.Ordinal))], StringComparison.Ordinal);
    }

    [Fact]
    public void Stat_SaysWhichLayerAnEntryCameFrom()
    {
        string text = CommandRun.Written(output => StatCommand.Write(output, s_tree, "etc/odd\u00ff", Find("/etc/odd\u00ff\n"), layer => ($"sha256:{layer}", "layer")));
        Assert.Contains(" Layer: 1 sha256:1\n", text);
        Assert.Contains("  Mode: 0644 (-rw-r--r--)\n", text);
        Assert.Contains(" Xattr: user.a = \"text\"\n", text);
        Assert.Contains(" Xattr: user.b = 0sAQ==\n", text);
    }

    [Fact]
    public void StatJson_HasLayerDigestAndXattrs()
    {
        JsonElement one = JsonLines(output => StatCommand.WriteJson(output, s_tree, [Find("/etc/odd\u00ff\n")], layer => ($"sha256:{layer}", "layer")))[0];
        Assert.Equal("sha256:1", one.GetProperty("layerDigest").GetString());
        Assert.Equal("""[{"key":"user.a","valueBase64":"dGV4dA=="},{"key":"user.b","valueBase64":"AQ=="}]""", one.GetProperty("xattrs").GetRawText());
    }

    [Fact]
    public void Stat_OfADirectoryThatNoLayerLists_SaysSo()
    {
        ImageTree tree = TreeBuilder.Build([new LayerBuilder().File("a/b").Build()]);
        Assert.Equal(Errno.None, PathResolver.Resolve(tree, "/a"u8, true, out ResolvedPath found));
        Assert.Contains(" Layer: none", CommandRun.Written(output => StatCommand.Write(output, tree, "/a", found, _ => ("?", "layer"))));
        Assert.False(JsonLines(output => StatCommand.WriteJson(output, tree, [found], _ => ("?", "layer")))[0].TryGetProperty("layer", out _));
    }

    [Theory]
    [InlineData(FileMode.Regular | 0x1FFu, "-rwxrwxrwx")]
    [InlineData(FileMode.Regular | 0xE00u, "---S--S--T")]
    [InlineData(FileMode.Directory | 0x3EDu, "drwxr-xr-t")]
    [InlineData(FileMode.Symlink | 0x1FFu, "lrwxrwxrwx")]
    [InlineData(FileMode.BlockDevice | 0x1B0u, "brw-rw----")]
    [InlineData(FileMode.Fifo, "p---------")]
    public void ModeString_IsAsLsHasIt(uint mode, string text) => Assert.Equal(text, EntryFormat.ModeString(mode));

    [Theory]
    [InlineData(0, 0, "1970-01-01T00:00:00Z", "1970-01-01 00:00")]
    [InlineData(-1, 500_000_000, "1969-12-31T23:59:59.5Z", "1969-12-31 23:59")]
    [InlineData(1_700_000_000, 1, "2023-11-14T22:13:20.000000001Z", "2023-11-14 22:13")]
    [InlineData(long.MaxValue, 0, "@9223372036854775807", "@9223372036854775807")]
    [InlineData(long.MinValue, 0, "@-9223372036854775808", "@-9223372036854775808")]
    public void Times_AreUtcOrSeconds(long seconds, uint nanoseconds, string full, string brief)
        => Assert.Equal((full, brief), (EntryFormat.FullTime(seconds, nanoseconds), EntryFormat.ShortTime(seconds)));

    [Theory]
    [InlineData("plain", "plain")]
    [InlineData("caf\u00c3\u00a9", "café")] // the bytes of UTF-8
    [InlineData("a\u001b[2Jb\u007f", "a?[2Jb?")]
    [InlineData("\u00c2\u009b", "?")] // C1 control, in UTF-8
    [InlineData("\u00ff\u00fe", "??")]
    public void Displayable_HoldsNoControls(string latin1, string shown) => Assert.Equal(shown, CommandOutput.Displayable(Encoding.Latin1.GetBytes(latin1)));

    private static string Ls(string path, ListingStyle style, bool isTerminal = false)
        => CommandRun.Written(output => new Lister(output, s_tree, style).List([Named(Find(path))], hasHeadings: false, default), isTerminal);

    private static JsonElement[] LsJson(string path, bool isRecursive = false)
        => JsonLines(output => new Lister(output, s_tree, new ListingStyle { ShowsHidden = true, IsRecursive = isRecursive }).ListJson([Named(Find(path))], default));

    private static NamedNode Named(ResolvedPath path) => new(path.Path, path.Path, path.Node);

    private static ResolvedPath Find(string path)
    {
        Assert.Equal(Errno.None, PathResolver.Resolve(s_tree, Encoding.Latin1.GetBytes(path), followFinal: false, out ResolvedPath found));
        return found;
    }

    private static JsonElement Json(Action<CommandOutput> write)
        => JsonDocument.Parse(Encoding.Latin1.GetBytes(CommandRun.Written(write)), new JsonDocumentOptions { MaxDepth = 100 }).RootElement;

    private static JsonElement[] JsonLines(Action<CommandOutput> write)
        => [.. CommandRun.Written(write).TrimEnd('\n').Split('\n').Select(line => JsonDocument.Parse(Encoding.Latin1.GetBytes(line)).RootElement)];

    private static ushort Octal(string digits) => Convert.ToUInt16(digits, 8);
}
