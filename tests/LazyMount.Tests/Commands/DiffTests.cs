using System.Globalization;
using System.Text;
using System.Text.Json;
using LazyMount.Cli;
using LazyMount.Comparing;
using LazyMount.FileSystem;
using LazyMount.Output;
using LazyMount.TestKit;
using LazyMount.Tests.Published;
using LazyMount.Trees;
using Xunit;

namespace LazyMount.Tests.Commands;

/// <summary>`diff` between images, against the files that umoci unpacks, diff(1) and patch(1), and by the bytes that a registry gives.</summary>
public sealed class DiffTests : IDisposable
{
    private const long Mtime = 1577836800; // what TarBytes writes

    private readonly TemporaryDirectory _directory = new();
    private int _made;

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task EveryChange_HasItsLine()
    {
        string before = Image(new TarBytes().Directory("./").Directory("d").File("d/gone", "x").File("d/mode", "x").File("d/size", "1234567890").File("d/content", "before")
            .File("d/owner", "x").Symlink("d/target", "a").CharacterDevice("d/device", 1, 3).File("d/same", "x").Pax(("SCHILY.xattr.user.a", "1"), ("SCHILY.xattr.user.b", "1")).File("d/attributes", "x")
            .Directory("d/type").File("d/type/below", "x").File("d/time", "x").File("d/old-name", "unlike any other"));
        string after = Image(new TarBytes().Directory("./").Directory("d").File("d/new", "x").File("d/mode", "x", 0x9ED).File("d/size", "123456789012").File("d/content", "AFTER.")
            .File("d/owner", "x", 0x1A4, TarBytes.OwnedBy(1000, 100)).Symlink("d/target", "b").CharacterDevice("d/device", 1, 5).File("d/same", "x").Pax(("SCHILY.xattr.user.a", "2"), ("SCHILY.xattr.user.c", "1")).File("d/attributes", "x")
            .Symlink("d/type", "e").Pax(("mtime", "1577836800.5")).File("d/time", "x").Directory("e").File("e/old-name", "unlike any other", 0x180));
        CommandRun run = await RunAsync("diff", before, after);
        Assert.Equal((1, ""), (run.ExitCode, run.Error));
        Assert.Equal(
            """
            M /d/attributes  (xattrs user.a +user.c -user.b)
            M /d/content  (content)
            M /d/device  (device 1:3 -> 1:5)
            D /d/gone
            M /d/mode  (mode 0644 -> 4755)
            A /d/new
            M /d/owner  (owner 0:0 -> 1000:100)
            M /d/size  (size 10 -> 12)
            M /d/target  (target a -> b)
            M /d/time  (time 2020-01-01T00:00:00Z -> 2020-01-01T00:00:00.5Z)
            M /d/type  (type directory -> symlink)
            D /d/type/below
            A /e
            R /d/old-name -> /e/old-name  (mode 0644 -> 0600)

            """, run.Output);
        Assert.Equal(["/e", "/e/old-name"], (await RunAsync("diff", "--name-only", "--ignore", "time,mode", before, after, "/e")).Output.Split('\n')[..^1]);
        Assert.Equal(["/d/device", "/d/gone", "/d/new", "/d/old-name", "/d/size", "/d/target", "/d/type", "/d/type/below", "/e", "/e/old-name"],
            (await RunAsync("diff", "--name-only", "--ignore", "time,mode,owner,xattrs", "--ignore=content", before, after)).Output.Split('\n')[..^1]);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public async Task RandomImages_DifferWhereTheirUnpackedFilesDo(int seed)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "owners and devices need root");
        var random = new Random(seed);
        string[] images = new string[2];
        TreeSnapshot[] trees = new TreeSnapshot[2];
        TarBytes shared = RandomTar(new Random(seed + 1000), 60);
        for (int i = 0; i < 2; i++)
        {
            var layout = new OciLayoutBuilder(_directory[$"random{i}"]);
            layout.AddLayer(shared);
            for (int layer = random.Next(1, 3); layer > 0; layer--)
            {
                layout.AddLayer(RandomTar(random, 25));
            }
            layout.WriteImage("v1");
            images[i] = layout.Reference("v1");
            trees[i] = TreeSnapshot.Take(Umoci.Unpack(images[i], _directory[$"bundle{i}"]));
        }
        // A directory that no layer lists has the time of its unpacking there.
        string[] expected = [.. trees[0].Nodes.Keys.Union(trees[1].Nodes.Keys).Where(path => path != "/" && !Equals(Seen(trees[0], path), Seen(trees[1], path))).Order(StringComparer.Ordinal)];
        CommandRun run = await RunAsync("diff", "--name-only", "--no-renames", images[0], images[1]);
        Assert.Equal(expected, run.Output.Split('\n')[..^1].Where(path => path != "/").Order(StringComparer.Ordinal));
        Assert.Equal((1, ""), (run.ExitCode, run.Error));
        Assert.NotEmpty(expected);
        CommandRun same = await RunAsync("diff", images[0], images[0]);
        Assert.Equal((0, "", ""), (same.ExitCode, same.Output, same.Error));

        static TreeNode? Seen(TreeSnapshot tree, string path) => tree.Nodes.TryGetValue(path, out TreeNode? node) ? node with { FirstName = "", LinkCount = 0 } : null;
    }

    [Fact]
    public async Task LayersThatBothHave_AreNotRead()
    {
        using var registry = new RegistryServer();
        await using var recording = new RecordingRegistry(registry.Host);
        byte[] noise = Noise(1, 3 << 20), other = [.. noise];
        other[^1] ^= 1;
        var layout = new OciLayoutBuilder(_directory["layout"]);
        string shared = layout.AddLayer(new TarBytes().File("a", noise).File("b", "x")).WriteImage("one")[0];
        string[] two = layout.AddLayer(new TarBytes().File("a", noise).File("b", "x")).AddLayer(new TarBytes().File("c", noise).Whiteout("b")).WriteImage("two");
        string[] three = layout.AddLayer(new TarBytes().File("a", noise).File("b", "x")).AddLayer(new TarBytes().File("a", other)).WriteImage("three");
        foreach (string tag in (string[])["one", "two", "three"])
        {
            Skopeo.Push(layout.Reference(tag), registry, $"a/b:{tag}");
            Assert.Equal((0, ""), await IndexAsync($"{recording.Host}/a/b:{tag}"));
        }
        recording.Answers.Clear();
        CommandRun run = await RunAsync("diff", $"{recording.Host}/a/b:one", $"{recording.Host}/a/b:two");
        Assert.Equal((1, "D /b\nA /c\n", ""), (run.ExitCode, run.Output, run.Error));
        Assert.Equal((0, 0), (recording.BytesOf(shared), recording.BytesOf(two[1])));

        // A file of the same size in another layer is read on both sides, and only that.
        run = await RunAsync("diff", $"{recording.Host}/a/b:two", $"{recording.Host}/a/b:three");
        Assert.Equal("M /a  (content)\nA /b\nD /c\n", run.Output);
        Assert.InRange(recording.BytesOf(three[1]), noise.Length, noise.Length * 2);
        Assert.Equal(0, recording.BytesOf(two[1]));
    }

    [Fact]
    public async Task LargeFiles_AreReadUpToTheFirstDifference()
    {
        using var registry = new RegistryServer();
        await using var recording = new RecordingRegistry(registry.Host);
        byte[] noise = Noise(2, 24 << 20), other = [.. noise];
        other[5 << 20] ^= 1;
        var layout = new OciLayoutBuilder(_directory["layout"]);
        List<string> digests = [];
        foreach ((string tag, byte[] content) in ((string, byte[])[])[("one", noise), ("two", other)])
        {
            digests.Add(layout.AddLayer(new TarBytes().File("a", content)).WriteImage(tag)[0]);
            Skopeo.Push(layout.Reference(tag), registry, $"a/b:{tag}");
            Assert.Equal((0, ""), await IndexAsync($"{recording.Host}/a/b:{tag}"));
        }
        recording.Answers.Clear();
        Assert.Equal("M /a  (content)\n", (await RunAsync("diff", $"{recording.Host}/a/b:one", $"{recording.Host}/a/b:two")).Output);
        Assert.All(digests, digest => Assert.InRange(recording.BytesOf(digest), 1, 16 << 20));
    }

    [Fact]
    public async Task FilesOfTablesOfContents_AreComparedByTheirDigests()
    {
        using var registry = new RegistryServer();
        await using var recording = new RecordingRegistry(registry.Host);
        byte[] noise = Noise(3, 2 << 20), other = [.. noise];
        other[100] ^= 1;
        var layout = new OciLayoutBuilder(_directory["layout"]);
        foreach ((string tag, byte[] content) in ((string, byte[])[])[("one", noise), ("two", other)])
        {
            layout.AddLayer(new TarBytes().File("changed", content).File("kept", Noise(4, 2 << 20)).File(tag, "x")).WriteImage(tag);
            Skopeo.ConvertToZstdChunked(layout.Directory, _directory["chunked"], tag);
            Skopeo.Push($"oci:{_directory["chunked"]}:{tag}", registry, $"a/b:{tag}");
        }
        CommandRun run = await RunAsync("diff", "--index-trust", "registry", $"{recording.Host}/a/b:one", $"{recording.Host}/a/b:two");
        Assert.Equal((1, "M /changed  (content)\nD /one\nA /two\n", ""), (run.ExitCode, run.Output, run.Error));
        Assert.InRange(recording.Answers.Sum(answer => answer.Bytes), 1, 1 << 20);
    }

    [Fact]
    public async Task ContentsInOtherLayers_AreCompared()
    {
        // Small files and large ones, sorted in one tar as in the other, and not.
        byte[] large = Noise(5, (int)ContentComparison.LargeFile + 1000), otherLarge = [.. large];
        otherLarge[^1] ^= 1;
        List<(string Name, byte[] Content)> files = [.. Enumerable.Range(0, 50).Select(i => ($"f{i:D2}", Noise(i, 1000 * i))), ("large-same", large), ("large-other", large)];
        TarBytes before = new(), after = new();
        files.ForEach(file => before.File(file.Name, file.Content));
        before.HardLink("link", "f20");
        files.Reverse();
        files.ForEach(file => after.File(file.Name, file.Name == "large-other" ? otherLarge : file.Name is "f20" or "f31" ? [.. file.Content[..^1], (byte)(file.Content[^1] ^ 1)] : file.Content));
        after.HardLink("link", "f20");
        CommandRun run = await RunAsync("diff", Image(before), Image(after));
        Assert.Equal("M /f20  (content)\nM /f31  (content)\nM /large-other  (content)\nM /link  (content)\n", run.Output);
    }

    [Fact]
    public async Task FilesWithHoles_AreComparedByWhatTheyShow()
    {
        // The same content, stored with other holes; and a hole of a terabyte, which nobody reads.
        (long, byte[]) begin = (0, [1, 2, 3]), zeros = (4096, new byte[512]), end = ((1L << 40) - 2, [4, 5]);
        string before = Image(Sparse(new TarBytes(), "same", 1L << 40, begin, end).File("short", [1, 0, 0, 0, 2]));
        string same = Image(Sparse(Sparse(new TarBytes(), "same", 1L << 40, begin, zeros, end), "short", 5, (0, [1]), (4, [2])));
        string other = Image(Sparse(new TarBytes(), "same", 1L << 40, begin, (4096, [1]), end).File("short", [1, 0, 0, 0, 3]));
        Assert.Equal((0, "", ""), await OutcomeOf("diff", before, same));
        Assert.Equal((1, "M /same  (content)\nM /short  (content)\n", ""), await OutcomeOf("diff", before, other));

        static TarBytes Sparse(TarBytes tar, string name, long size, params (long Offset, byte[] Bytes)[] extents)
        {
            string map = string.Concat(extents.SelectMany(extent => (long[])[extent.Offset, extent.Bytes.Length]).Prepend(extents.Length).Select(number => number.ToString(CultureInfo.InvariantCulture) + "\n"));
            return tar.Version1(name, size, [.. Encoding.ASCII.GetBytes(map.PadRight(512, '\0')), .. extents.SelectMany(extent => extent.Bytes)]);
        }
    }

    [Fact]
    public async Task Renames_AreTakenOnlyWhenTheyArePlain()
    {
        string before = Image(new TarBytes().File("a/one", "content of one").File("a/two", "the same size!").File("b/twin", "twins").File("c/twin", "twins").File("a/empty").File("a/other-name", "moved and named"));
        string after = Image(new TarBytes().File("x/one", "content of one").File("x/two", "The same size!").File("y/twin", "twins").File("x/empty").File("x/another-name", "moved and named"));
        Assert.Equal(
            "D /a\nD /a/empty\nD /a/other-name\nD /a/two\nD /b\nD /b/twin\nD /c\nD /c/twin\nA /x\nA /x/another-name\nA /x/empty\nR /a/one -> /x/one\nA /x/two\nA /y\nA /y/twin\n",
            (await RunAsync("diff", before, after)).Output);
        Assert.DoesNotContain("R ", (await RunAsync("diff", "--no-renames", before, after)).Output, StringComparison.Ordinal);

        // Bytes of a layer that both have are a file's own, whatever it is called; here nobody copied them.
        TarBytes shared = new TarBytes().File("first", "bytes of the layer");
        Assert.Equal("R /first -> /second\n", (await RunAsync("diff", Image(shared), Image(shared, new TarBytes().HardLink("second", "first").Whiteout("first")))).Output);
    }

    [Fact]
    public async Task Path_MayBeInOneImageOnly()
    {
        string before = Image(new TarBytes().Directory("d").File("d/a", "x").Symlink("l", "d")), after = Image(new TarBytes().File("other", "x").Symlink("l", "e"));
        Assert.Equal((1, "D /d\nD /d/a\n", ""), await OutcomeOf("diff", before, after, "d/"));
        Assert.Equal((1, "A /d\nA /d/a\n", ""), await OutcomeOf("diff", after, before, "/d"));
        Assert.Equal((1, "M /l  (target d -> e)\n", ""), await OutcomeOf("diff", before, after, "/l"));
        Assert.Equal((2, "", $"lazymount: cannot find '/no' in '{before}': no such file or directory\n"), await OutcomeOf("diff", before, after, "/no"));
    }

    /// <summary>The tag moves to an image whose layers are equal as soon as it has been resolved.</summary>
    [Fact]
    public async Task TwoLayers_AreOfOneImage_ThoughTheTagMoves()
    {
        using var registry = new RegistryServer();
        await using var recording = new RecordingRegistry(registry.Host);
        var layout = new OciLayoutBuilder(_directory["layout"]);
        layout.AddLayer(new TarBytes().File("a", "x")).AddLayer(new TarBytes().File("a", "y")).WriteImage("v1");
        Skopeo.Push(layout.Reference("v1"), registry, "a/b:v1");
        layout.AddLayer(new TarBytes().File("a", "x")).AddLayer(new TarBytes().File("a", "x")).WriteImage("v2");
        bool hasMoved = false;
        recording.Instead = path =>
        {
            if (!hasMoved && path.Contains("/blobs/", StringComparison.Ordinal))
            {
                hasMoved = true;
                Skopeo.Push(layout.Reference("v2"), registry, "a/b:v1");
            }
            return null;
        };
        Assert.Equal((1, "M /a  (content)\n", ""), await OutcomeOf("diff", "--layer", "0,1", $"{recording.Host}/a/b:v1"));
        Assert.True(hasMoved);
        Assert.Single(recording.Answers, answer => answer.Path.EndsWith("/manifests/v1", StringComparison.Ordinal) && answer.Method == "GET");
    }

    [Fact]
    public async Task TwoLayersOfAnImage_AreCompared()
    {
        string image = Image(new TarBytes().File("a", "x").File("b", "x"), new TarBytes().File("a", "y").Whiteout("b").File("c", "x"));
        Assert.Equal((1, "A /.wh.b\nM /a  (content)\nD /b\nA /c\n", ""), await OutcomeOf("diff", "--layer", "0,-1", image));
        Assert.Equal((1, "M /a  (content)\n", ""), await OutcomeOf("diff", "--layer", "0,1", image, "/a"));
        Assert.Equal((2, "", "lazymount: --layer '0' does not name two layers, such as 0,1 or -2,-1\n"), await OutcomeOf("diff", "--layer", "0", image));
        Assert.Equal((2, "", "lazymount: --layer compares two layers of one image, and then '/b' is one word too many\n"), await OutcomeOf("diff", "--layer", "0,1", image, "/a", "/b"));
        Assert.Equal(2, (await RunAsync("diff", "--layer", "0,5", image)).ExitCode);
    }

    [Fact]
    public async Task Json_IsOneObjectALine()
    {
        string before = Image(new TarBytes().File("a\u00ff", "x").File("d/moved", "moved")), after = Image(new TarBytes().File("a\u00ff", "x", 0x180).File("e/moved", "moved"));
        CommandRun run = await RunAsync("diff", "--json", before, after);
        JsonElement[] lines = [.. run.Output.Split('\n')[..^1].Select(line => JsonDocument.Parse(line).RootElement)];
        Assert.Equal(["changed", "deleted", "added", "renamed"], lines.Select(line => line.GetProperty("action").GetString()));
        Assert.Equal(["/a\ufffd", "/d", "/e", "/e/moved"], lines.Select(line => line.GetProperty("path").GetString()));
        Assert.Equal("/a\u00ff", Encoding.Latin1.GetString(lines[0].GetProperty("pathBase64").GetBytesFromBase64()));
        Assert.Equal("""["mode"]""", lines[0].GetProperty("changes").GetRawText());
        Assert.Equal(("0644", "0600"), (lines[0].GetProperty("before").GetProperty("mode").GetString(), lines[0].GetProperty("after").GetProperty("mode").GetString()));
        Assert.Equal("/d/moved", lines[3].GetProperty("from").GetString());
        Assert.Equal("/d/moved", lines[3].GetProperty("before").GetProperty("path").GetString());
        Assert.StartsWith("sha256:", lines[3].GetProperty("after").GetProperty("layerDigest").GetString(), StringComparison.Ordinal);
        Assert.False(lines[1].TryGetProperty("after", out _));
        Assert.False(lines[2].TryGetProperty("before", out _));
    }

    [Fact]
    public async Task Stat_SumsUpByTopDirectory()
    {
        string before = Image(new TarBytes().Directory("etc").File("etc/a", "12345").File("etc/gone", "123").File("top", "1"));
        string after = Image(new TarBytes().Directory("etc").File("etc/a", "1234567").File("top", "12").Directory("usr").File("usr/bin/b", "1234"));
        Assert.Equal(
            """
            DIRECTORY  ADDED  SIZE  DELETED  SIZE  CHANGED  SIZE  RENAMED
            /              0     0        0     0        1     2        0
            /etc           0     0        1     3        1     7        0
            /usr           3     4        0     0        0     0        0
            total          3     4        1     3        2     9        0

            """, (await RunAsync("diff", "--stat", before, after)).Output);
        JsonElement json = JsonDocument.Parse((await RunAsync("diff", "--stat", "--json", before, after)).Output).RootElement;
        JsonElement deleted = json.GetProperty("total").GetProperty("deleted");
        Assert.Equal((1, 3), (deleted.GetProperty("names").GetInt32(), deleted.GetProperty("size").GetInt32()));
        Assert.Equal(["/", "/etc", "/usr"], json.GetProperty("directories").EnumerateArray().Select(each => each.GetProperty("path").GetString()));
        Assert.Equal((0, "", ""), await OutcomeOf("diff", "--stat", before, before));
    }

    public static TheoryData<string, string> Texts => new()
    {
        { "a\nb\nc\n", "a\nB\nc\n" },
        { "a\nb\nc\n", "a\nb\nc" },
        { "a", "b" },
        { "", "a\nb\n" },
        { "a\n", "" },
        { "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n", "1\nx\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\ny\n" },
        { "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "x\n2\n3\n4\n5\n6\n7\ny\n9\n" },
        { "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n", "x\n2\n3\n4\n5\n6\n7\n8\ny\n10\n" },
        { "\u00e4\r\nb\r\n", "\u00e4\nb\r\n" },
        { "new\n\u00ff\n", "\u00fe\n" },
        { "a\nx\nb\ny\nc", "b\nz\na\nb\nw\nc\n" },
        { Numbered("a", 300_000) + "same\nend", Numbered("b", 300_000) + "same\n" },
    };

    private static string Numbered(string word, int count) => string.Concat(Enumerable.Range(0, count).Select(line => $"{word}{line}\n"));

    [Theory]
    [MemberData(nameof(Texts))]
    public async Task Unified_IsWhatDiffWrites(string before, string after)
    {
        File.WriteAllBytes(_directory["before"], Encoding.Latin1.GetBytes(before));
        File.WriteAllBytes(_directory["after"], Encoding.Latin1.GetBytes(after));
        ToolResult expected = Tool.Run("diff", "-u", "--label", "a/f\t2020-01-01 00:00:00.000000000 +0000", "--label", "b/f\t2020-01-01 00:00:00.000000000 +0000", _directory["before"], _directory["after"]);
        CommandRun run = await RunAsync("diff", "-u", Image(new TarBytes().File("f", before)), Image(new TarBytes().File("f", after)), "/f");
        Assert.Equal((1, expected.Output, ""), (run.ExitCode, run.Output, run.Error));
    }

    [Fact]
    public async Task Unified_MakesTheOtherFileWithPatch()
    {
        var random = new Random(7);
        for (int round = 0; round < 8; round++)
        {
            List<string> lines = [.. Enumerable.Range(0, 200).Select(_ => random.Next(20).ToString(CultureInfo.InvariantCulture) + "\n")];
            string before = string.Concat(lines);
            for (int edit = random.Next(1, 40); edit > 0; edit--)
            {
                int at = random.Next(lines.Count);
                if (random.Next(2) == 0)
                {
                    lines.RemoveAt(at);
                }
                else
                {
                    lines.Insert(at, random.Next(20).ToString(CultureInfo.InvariantCulture) + "\n");
                }
            }
            string after = string.Concat(lines) + (random.Next(2) == 0 ? "end" : "");
            CommandRun run = await RunAsync("diff", "-u", Image(new TarBytes().File("etc/f", before)), Image(new TarBytes().File("etc/f", after)), "etc/f");
            string work = _directory.CreateDirectory($"patched{round}/etc");
            File.WriteAllText(Path.Combine(work, "f"), before);
            File.WriteAllText(_directory["the.patch"], run.Output);
            Tool.Run("patch", "--quiet", "-p1", "--directory", Path.GetDirectoryName(work)!, "--input", _directory["the.patch"]).EnsureSuccess();
            Assert.Equal(after, File.ReadAllText(Path.Combine(work, "f")));
        }
    }

    [Theory]
    [InlineData("sp ace")]
    [InlineData("new\nline\t\\\"quote\"")]
    [InlineData("\u0001\u007f")]
    public async Task Unified_QuotesNames_AsPatchReadsThem(string name)
    {
        CommandRun run = await RunAsync("diff", "-u", Image(new TarBytes().File(name, "a\n")), Image(new TarBytes().File(name, "b\n")), name);
        File.WriteAllText(_directory[name], "a\n");
        File.WriteAllText(_directory["the.patch"], run.Output);
        Tool.Run("patch", "--quiet", "-p1", "--directory", _directory.Path, "--input", _directory["the.patch"]).EnsureSuccess();
        Assert.Equal("b\n", File.ReadAllText(_directory[name]));
    }

    [Fact]
    public async Task Unified_SaysWhatIsNoText()
    {
        string before = Image(new TarBytes().File("f", "a\0b").File("same", "a\0b").Directory("d").Symlink("l", "f")), after = Image(new TarBytes().File("f", "a\0c").File("same", "a\0b").File("new", "x\n"));
        Assert.Equal((1, "binary files a/f and b/f differ\n", ""), await OutcomeOf("diff", "-u", before, after, "/f"));
        Assert.Equal((0, "", ""), await OutcomeOf("diff", "-u", before, after, "/same"));
        Assert.Equal((1, "--- /dev/null\t1970-01-01 00:00:00.000000000 +0000\n+++ b/new\t2020-01-01 00:00:00.000000000 +0000\n@@ -0,0 +1 @@\n+x\n", ""), await OutcomeOf("diff", "-u", before, after, "/new"));
        Assert.Equal((2, "", $"lazymount: cannot compare the text of '/d': it is a directory in '{before}'; name a file\n"), await OutcomeOf("diff", "-u", before, after, "/d"));
        Assert.Equal((2, "", "lazymount: --unified needs the PATH of a file\n"), await OutcomeOf("diff", "-u", before, after));
    }

    [Fact]
    public async Task Unified_IsForTextsThatFitMemory()
    {
        string image = Image(new TarBytes().Version1("f", (16 << 20) + 1, Encoding.ASCII.GetBytes("0\n".PadRight(512, '\0'))));
        Assert.Equal((2, "", $"lazymount: cannot compare the text of '/f': it has 16.0 MiB in '{image}', more than 16.0 MiB; copy both out with 'lazymount cp' and use diff\n"), await OutcomeOf("diff", "-u", image, image, "/f"));
    }

    [Fact]
    public void RenamesOfTooManyFiles_AreNotLookedFor()
    {
        var file = new NodeAttributes { Inode = 1, Mode = 0x81A4, LinkCount = 1, Uid = 0, Gid = 0, Size = 1, Blocks = 1, MtimeSeconds = 0, MtimeNanoseconds = 0, DeviceMajor = 0, DeviceMinor = 0 };
        var search = new RenameSearch();
        for (int i = 0; i < RenameSearch.MaxFiles; i++)
        {
            search.AddDeleted(file, 1, "name"u8, null);
        }
        search.AddAdded(file, 1, "name"u8, null);
        Assert.False(search.IsGivenUp);
        search.AddDeleted(file, 1, "name"u8, null);
        Assert.True(search.IsGivenUp);
    }

    [Fact]
    public async Task RenamesThatMustBeRead_AreReadWithinABound()
    {
        CancellationToken cancellationToken = TestContext.Current.CancellationToken;
        using var output = new CommandOutput(Stream.Null, isTerminal: false);
        var host = new CommandHost { Arguments = [], Output = output, Error = TextWriter.Null };
        var settings = new CommandSettings { CacheDirectory = _directory["cache"] };
        await using OpenedTree before = await OpenedTree.OpenAsync(Image(new TarBytes().File("a/one", "123456").File("a/two", "1234567")), settings, host, cancellationToken);
        await using OpenedTree after = await OpenedTree.OpenAsync(Image(new TarBytes().File("b/one", "123456").File("b/two", "1234567")), settings, host, cancellationToken);
        ComparedTree old = new(before, ImageTree.RootId, [(byte)'/']), current = new(after, ImageTree.RootId, [(byte)'/']);
        foreach ((long bound, long read) in ((long, long)[])[(5, 0), (6, 12), (12, 12), (13, 26)])
        {
            var search = new RenameSearch();
            var contents = new ContentComparison(old, current);
            foreach ((ComparedTree side, string directory) in ((ComparedTree, string)[])[(old, "/a"), (current, "/b")])
            {
                ulong at = side.Opened.Find(Encoding.ASCII.GetBytes(directory), follow: false).Node;
                foreach (TreeName name in side.Opened.Tree.NamesIn(at))
                {
                    NodeAttributes attributes = side.Opened.Tree.Attributes(name.Node);
                    if (side == old)
                    {
                        search.AddDeleted(attributes, at, name.Name, null);
                    }
                    else
                    {
                        search.AddAdded(attributes, at, name.Name, null);
                    }
                }
            }
            search.Match(new KnownContent(before.Image, after.Image), old, current, contents, bound);
            Assert.Equal(read, contents.ContentSize);
        }
    }

    [Theory]
    [InlineData(2, "diff needs a second image, or --layer N,M for two layers of one", "a")]
    [InlineData(2, "--ignore 'size' is none of time, owner, mode, xattrs, content", "a", "b", "--ignore", "time,size")]
    [InlineData(2, "--name-only, --unified and --stat or --json exclude each other", "a", "b", "--stat", "--name-only")]
    [InlineData(2, "credentials on the command line are for one registry, and the images are in one.example and two.example: use docker login, podman login or --authfile", "one.example/a", "two.example/a", "--creds", "u:p")]
    public async Task WrongUsage_IsSaid(int exitCode, string sentence, params string[] words)
        => Assert.Equal((exitCode, "", $"lazymount: {sentence}\n"), await OutcomeOf(["diff", .. words]));

    [Fact]
    public async Task WhatFails_IsTwo_AndASourceIsThree()
    {
        var layout = new OciLayoutBuilder(_directory["damaged"]);
        string[] digests = [.. ((byte[][])[Noise(1, 3 << 20), Noise(2, 3 << 20)]).Select((noise, i) => layout.AddLayer(new TarBytes().File("a", noise)).WriteImage($"v{i}")[0])];
        Assert.Equal((0, "", ""), await OutcomeOf("diff", "--ignore", "content", "--no-keep", layout.Reference("v0"), layout.Reference("v1")));
        File.WriteAllBytes(layout.BlobFile(digests[1]), new byte[new FileInfo(layout.BlobFile(digests[1])).Length]);
        CommandRun run = await RunAsync("diff", layout.Reference("v0"), layout.Reference("v1"));
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.StartsWith($"lazymount: cannot read '/a' in '{layout.Reference("v1")}': ", run.Error, StringComparison.Ordinal);
        Assert.Equal(2, (await RunAsync("diff", layout.Reference("v0"), layout.Reference("v7"))).ExitCode);
        Assert.Equal(3, (await RunAsync("diff", layout.Reference("v0"), "127.0.0.1:1/a")).ExitCode);
    }

    private static byte[] Noise(int seed, int length)
    {
        byte[] noise = new byte[length];
        new Random(seed).NextBytes(noise);
        return noise;
    }

    // Few names, so that much meets the same place.
    private static TarBytes RandomTar(Random random, int entries)
    {
        var tar = new TarBytes().Directory("./");
        string[] directories = ["a", "b", "a/c", "b/d", "b/d/e"];
        foreach (string directory in directories)
        {
            tar.Directory(directory, random.Next(4) == 0 ? 0x1C0 : 0x1ED);
        }
        for (int i = 0; i < entries; i++)
        {
            string path = $"{directories[random.Next(directories.Length)]}/{(char)('p' + random.Next(8))}";
            Action<byte[]>? owner = random.Next(5) == 0 ? TarBytes.OwnedBy(random.Next(3), random.Next(3)) : null;
            string content = new((char)('0' + random.Next(3)), random.Next(1, 4));
            switch (random.Next(8))
            {
                case 0:
                    tar.Symlink(path, random.Next(2) == 0 ? "x" : "y");
                    break;
                case 1:
                    tar.CharacterDevice(path, 1, random.Next(3, 5));
                    break;
                case 2:
                    tar.Pax(("mtime", (Mtime + random.Next(2)).ToString(CultureInfo.InvariantCulture))).File(path, content);
                    break;
                case 3:
                    tar.Pax(("SCHILY.xattr.user.x", random.Next(2) == 0 ? "1" : "2")).File(path, content);
                    break;
                default:
                    tar.File(path, content, random.Next(4) == 0 ? 0x1C0 : 0x1A4, owner);
                    break;
            }
        }
        return tar;
    }

    private string Image(params TarBytes[] layers)
    {
        var layout = new OciLayoutBuilder(_directory[$"image{_made++}"]);
        layers.ToList().ForEach(layer => layout.AddLayer(layer));
        layout.WriteImage("v1");
        return layout.Reference("v1");
    }

    private async Task<(int, string, string)> OutcomeOf(params string[] arguments)
    {
        CommandRun run = await RunAsync(arguments);
        return (run.ExitCode, run.Output, run.Error);
    }

    // Afterwards the cache has the indexes of the layers, and not their bytes.
    private async Task<(int, string)> IndexAsync(string image)
    {
        CommandRun run = await RunAsync("ls", "--no-keep", image);
        return (run.ExitCode, run.Error);
    }

    private Task<CommandRun> RunAsync(params string[] arguments) => CommandRun.RunAsync([.. arguments, "--cache-dir", _directory["cache"]]);
}
