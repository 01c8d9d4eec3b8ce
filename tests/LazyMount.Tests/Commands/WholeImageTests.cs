using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Cli;
using LazyMount.Exporting;
using LazyMount.Images;
using LazyMount.TestKit;
using LazyMount.Trees;
using LazyMount.Unpacking;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Commands;

/// <summary>`unpack` and `export` on images that nobody's tools write, and on ones that were made to get out of their directory.</summary>
public sealed class WholeImageTests : IDisposable
{
    private const string RootOnly = "owners and devices need root";

    private readonly TemporaryDirectory _directory = new();
    private readonly string _outside;
    private int _made;

    public WholeImageTests()
    {
        _outside = _directory.CreateDirectory("outside");
        File.WriteAllText(Path.Combine(_outside, "file"), "untouched");
    }

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task FilesBelowLowerSymlinks_StayInside()
        => await AssertInside(["/", "/link", "/link/file", "/link/new"],
            new TarBytes().Symlink("link", _outside),
            new TarBytes().File("link/file", "evil").File("link/new", "evil"));

    [Fact]
    public async Task FilesBelowSymlinksOfTheirOwnLayer_StayInside()
    {
        // The link is followed as in a directory that is the root, and what it leads to is made there.
        TreeSnapshot tree = await AssertInside(null,
            new TarBytes().Symlink("up", "../../../../../..").File("up/above", "evil").Symlink("abs", _outside).File("abs/file", "evil"));
        Assert.Contains("/above", tree.Nodes.Keys);
        Assert.Contains(_outside + "/file", tree.Nodes.Keys);
    }

    [Fact]
    public async Task SymlinksReplacedByDirectoriesAndBack_StayInside()
        => await AssertInside(["/", "/a", "/a/file", "/b", "/c", "/c/new"],
            new TarBytes().Symlink("a", _outside).Directory("a").File("a/file", "in a").Directory("b").File("b/file", "gone").Symlink("b", _outside),
            new TarBytes().HardLink("c", "b"),
            new TarBytes().File("c/new", "evil"));

    [Fact]
    public async Task HardLinksToSymlinks_AreNotFollowed()
    {
        TreeSnapshot tree = await AssertInside(["/", "/h", "/l"], new TarBytes().Symlink("l", Path.Combine(_outside, "file")).HardLink("h", "l"));
        Assert.Equal(('l', "/h"), (tree["/l"].Type, tree["/l"].FirstName));
    }

    [Fact]
    public async Task DotDotAndAbsolutePaths_StayInside()
        => await AssertInside(["/", "/also", "/d", "/escaped", "/tmp", "/tmp/absolute"],
            new TarBytes().File("../../escaped", "x").File("/tmp/absolute", "x").Directory("d").File("d/../../also", "x"));

    [Fact]
    public async Task PathsLongerThanPathMax_AreUnpackedAndRemoved()
    {
        string deep = string.Join('/', Enumerable.Repeat(new string('n', 250), 40));
        string image = Image(new TarBytes().Pax(("path", deep + "/file")).File("file", "deep"));
        string tree = await UnpackAsync(image);
        Assert.Equal("deep", Tool.Shell("cd \"$1\"; while cd n*; do :; done 2>/dev/null; cat file", tree).Output);
        Assert.Equal(0, (await RunAsync("export", "-o", "/dev/null", image)).ExitCode);
        Assert.True(Tool.Run("test", "-c", "/dev/null").ExitCode == 0, "/dev/null was replaced");
    }

    [Fact]
    public async Task DirectoriesInUse_AreRefused()
    {
        string image = Image(new TarBytes().File("a", "x"));
        CommandRun run = await RunAsync("unpack", image, _outside);
        Assert.Equal((1, $"lazymount: cannot unpack into '{_outside}': it is not empty; name an empty directory or one that does not exist\n"), (run.ExitCode, run.Error));
        Assert.Equal((1, $"lazymount: cannot unpack into '{_outside}/file': it is not a directory; name another one\n"), await ErrorOf(Path.Combine(_outside, "file")));
        Assert.Equal((1, "lazymount: cannot unpack into '/proc/such': No such file or directory; name a directory that you can write to\n"), await ErrorOf("/proc/such"));
        Assert.Equal((1, $"lazymount: cannot unpack into '{_outside}/file/such': Not a directory; name a directory that you can write to\n"), await ErrorOf(Path.Combine(_outside, "file/such")));

        async Task<(int, string)> ErrorOf(string directory)
        {
            CommandRun run = await RunAsync("unpack", image, directory);
            return (run.ExitCode, run.Error);
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task WhatFails_IsRemovedAgain(bool isThere)
    {
        var layout = new OciLayoutBuilder(_directory["damaged"]);
        byte[] noise = new byte[3 << 20];
        new Random(1).NextBytes(noise);
        string digest = layout.AddLayer(new TarBytes().Directory("d", 0x140).File("d/a", noise).File("d/b", noise).Symlink("l", "d").HardLink("h", "d/a")).WriteImage("v1")[0];
        string image = layout.Reference("v1"), target = _directory["target"];
        Assert.Equal(0, (await RunAsync("ls", image)).ExitCode);
        using (FileStream blob = File.OpenWrite(layout.BlobFile(digest)))
        {
            blob.Position = blob.Length - 100_000;
            blob.Write(new byte[1000]);
        }
        if (isThere)
        {
            Directory.CreateDirectory(target);
        }
        CommandRun run = await RunAsync("unpack", image, target);
        Assert.Equal(1, run.ExitCode);
        Assert.EndsWith("; what had been written is removed again\n", run.Error);
        Assert.Equal(isThere, Directory.Exists(target));
        Assert.Empty(isThere ? Directory.EnumerateFileSystemEntries(target) : []);

        string tar = _directory["damaged.tar"];
        File.WriteAllText(tar, "before");
        Assert.Equal(1, (await RunAsync("export", "-o", tar, image)).ExitCode);
        Assert.Equal(["before"], Directory.EnumerateFiles(_directory.Path).Select(File.ReadAllText));
    }

    [Fact]
    public async Task DirectoryThatIsMissing_IsMade_AndWithoutItsParentRefused()
    {
        string image = Image(new TarBytes().Directory("./", 0x1C0).File("a", "x")), parent = _directory["no/such"], target = Path.Combine(parent, "directory/");
        CommandRun refused = await RunAsync("unpack", image, target);
        Assert.Equal((1, $"lazymount: cannot unpack into '{target}': there is no directory '{parent}'; make it first with mkdir -p '{parent}'\n"), (refused.ExitCode, refused.Error));
        Assert.False(Directory.Exists(_directory["no"]));

        Tool.Run("sh", "-c", refused.Error[refused.Error.IndexOf("mkdir", StringComparison.Ordinal)..]).EnsureSuccess(); // the advice works
        Assert.Equal(0, (await RunAsync("unpack", image, target)).ExitCode);
        Assert.Equal(["a"], Directory.EnumerateFileSystemEntries(target).Select(Path.GetFileName));
        Assert.Equal("700\n", Tool.Run("stat", "--format=%a", target).Output);
    }

    [Fact]
    public async Task NamesThatAnotherUserExchanges_ChangeNothingOutside()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        const int Directories = 200, Pipes = 3000;
        var tar = new TarBytes();
        for (int i = 0; i < Directories; i++)
        {
            tar.Directory($"d{i:D4}", 0x1FF).File($"d{i:D4}/new", "x");
        }
        for (int i = 0; i < Pipes; i++)
        {
            tar.Fifo($"pipe{i:D4}");
        }
        string image = Image(tar), target = _directory.CreateDirectory("shared"), secret = Path.Combine(_outside, "file");
        Tool.Run("chmod", "600", _outside, secret).EnsureSuccess();
        // Whoever may write to the directory puts a link in the place of every name, as soon as it is there.
        string taken = _directory.CreateDirectory("taken");
        using var ended = new CancellationTokenSource();
        Task attack = Task.Run(() =>
        {
            for (int i = 0; i < Directories + Pipes && !ended.IsCancellationRequested;)
            {
                string name = Path.Combine(target, i < Directories ? $"d{i:D4}" : $"pipe{i - Directories:D4}");
                if (Path.Exists(name))
                {
                    Directory.Move(name, Path.Combine(taken, i.ToString(System.Globalization.CultureInfo.InvariantCulture)));
                    File.CreateSymbolicLink(name, i < Directories ? _outside : secret);
                    i++;
                }
            }
        }, TestContext.Current.CancellationToken);
        await RunAsync("unpack", image, target);
        await ended.CancelAsync();
        await attack;
        Assert.Equal("600\n600\n", Tool.Run("stat", "--format=%a", _outside, secret).Output);
        Assert.Equal([secret], Directory.EnumerateFileSystemEntries(_outside));
    }

    [Fact]
    public async Task Rootless_IsWhatUmociMakes()
    {
        string image = Image(new TarBytes().Directory("./").Directory("d", 0x1C0).File("d/owned", "x", 0x1A0, TarBytes.OwnedBy(1000, 100)).File("d/of-root", "x")
            .CharacterDevice("null", 1, 3).Fifo("fifo").File("setuid", "x", 0x9ED).Symlink("l", "d").HardLink("h", "d/owned", 0x1A0, TarBytes.OwnedBy(1000, 100)));
        Tool.Run("umoci", "unpack", "--rootless", "--image", image["oci:".Length..], _directory["bundle"]).EnsureSuccess();
        TreeSnapshot expected = TreeSnapshot.Take(Path.Combine(_directory["bundle"], "rootfs"));
        CommandRun run = await RunAsync("unpack", "--rootless", image, _directory["rootless"]);
        Assert.Equal((0, "lazymount: note: 1 device(s) became empty files, for only root can make devices\n"), (run.ExitCode, run.Error));
        AssertSame(expected, TreeSnapshot.Take(_directory["rootless"]));
    }

    [Fact]
    public async Task SparseFiles_StaySparse()
    {
        string tar = _directory["sparse.tar"], source = _directory.CreateDirectory("source");
        Tool.Shell("cd \"$1\"; truncate -s 1G hole; truncate -s 100M ends; printf begin | dd of=ends conv=notrunc status=none; printf end | dd of=ends bs=1 seek=99999990 conv=notrunc status=none; touch -d @1 *", source).EnsureSuccess();
        Tool.Run("tar", "--create", "--sparse", "--format=pax", "--file", tar, "--directory", source, ".").EnsureSuccess();
        var layout = new OciLayoutBuilder(_directory["sparse"]);
        layout.AddLayer(File.ReadAllBytes(tar)).WriteImage("v1");
        string tree = await UnpackAsync(layout.Reference("v1"));
        AssertSame(TreeSnapshot.Take(source), TreeSnapshot.Take(tree), exceptMtimeOf: "/");
        Assert.True(long.Parse(Tool.Shell("du -s -B1 \"$1\" | cut -f1", tree).Output, System.Globalization.CultureInfo.InvariantCulture) < 1 << 20, "holes are on disk");
        string exported = _directory["exported.tar"];
        Assert.Equal(0, (await RunAsync("export", "-o", exported, layout.Reference("v1"))).ExitCode);
        Assert.True(new FileInfo(exported).Length < 100_000, "holes are in the tar");
        AssertSame(TreeSnapshot.Take(tree), Extract(exported));
        AssertSame(TreeSnapshot.Take(tree), UnpackWithUmoci(exported));
    }

    [Fact]
    public async Task ExportedTars_AreTheSameForGnuTarAndGoAndUs()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        string name = new('n', 120), umlauts = string.Concat(Enumerable.Repeat("\u00e4\u00ff", 70));
        string image = Image(new TarBytes().Directory("./")
            .Pax(("path", name)).File("x", "long name").Pax(("path", umlauts)).File("x", "long and not UTF-8").File("\u00e4", "short and not UTF-8")
            .Pax(("path", $"{name}.d/{name}")).File("x", "splits").Pax(("path", $"{new string('d', 150)}/{new string('f', 100)}")).File("x", "fits")
            .Pax(("linkpath", new string('t', 200))).Symlink("long-target", "x").Pax(("linkpath", name)).HardLink("long-link", "x")
            .Pax(("mtime", "1600000000.123456789")).File("ns", "x").Pax(("mtime", "-1.5")).File("before", "x").Pax(("mtime", "9999999999")).File("late", "x")
            .Pax(("uid", "3000000000"), ("gid", "2097152")).File("big-ids", "x").Pax(("SCHILY.xattr.user.color", "blue\n\u00ff"), ("SCHILY.xattr.user.empty", "")).File("attributed", "x")
            .CharacterDevice("device", 4095, 1048575).Fifo("fifo").HardLink("fifo2", "fifo").HardLink("a-link", "long-target")
            .Directory("closed", 0).File("closed/x", "x").Directory("sticky", 0x3FF).Symlink("sticky/absolute", "/etc").File("empty").File("setuid", "x", 0x9ED, TarBytes.OwnedBy(7, 8)));
        TreeSnapshot expected = TreeSnapshot.Take(await UnpackAsync(image));
        string first = _directory["first.tar"], second = _directory["second.tar"];
        Assert.Equal(0, (await RunAsync("export", "-o", first, image)).ExitCode);
        Assert.Equal(0, (await RunAsync("export", "-o", second, image)).ExitCode);
        Assert.Equal(File.ReadAllBytes(first), File.ReadAllBytes(second));
        AssertSame(expected, Extract(first));
        AssertSame(expected, TreeSnapshot.Take(await UnpackAsync(ImageOf(first))));
        // umoci loses attributes that are empty, and times after 2262.
        expected.Replace("/late", node => node with { Mtime = "-2147483648.000000000" });
        expected.Replace("/attributed", node => node with { Xattrs = string.Join(' ', node.Xattrs.Split(' ').Where(each => !each.EndsWith('='))) });
        AssertSame(expected, UnpackWithUmoci(first));
    }

    [Fact]
    public void SparseMapsThatGoWouldRefuse_LoseTheirSmallestHoles()
    {
        // Holes of 1 and of 1000 bytes in turn: the small ones go.
        var extents = Enumerable.Range(0, 100_000).Select(i => (Offset: i / 2 * 2001L + i % 2 * 501, At: i * 500L, Length: 500L)).ToList();
        SparseLayout layout = SparseLayout.Of(extents, extents[^1].Offset + 500);
        Assert.True(layout.Map.Length <= 1 << 20);
        Assert.Equal(0, layout.Map.Length % 512);
        Assert.Equal(50_000, layout.Runs.Count);
        Assert.All(layout.Runs, run => Assert.Equal(1001, run.Length));
        Assert.Equal(100_000, SparseLayout.Of(extents.Take(1000).ToList(), 1 << 30).Runs.Count * 100);
    }

    [Fact]
    public async Task ExportToAFile_ReplacesItWhenTheTarIsComplete()
    {
        string image = Image(new TarBytes().Directory("./").File("a", "x")), directory = _directory.CreateDirectory("tars");
        CommandRun toOutput = await RunAsync("export", "-o", "-", image);
        Assert.Equal(0, toOutput.ExitCode);

        // What the caller's own link leads to is written, as by a shell, and what was there gives its mode.
        File.WriteAllText(Path.Combine(directory, "private"), "before");
        Tool.Run("chmod", "600", Path.Combine(directory, "private")).EnsureSuccess();
        File.CreateSymbolicLink(Path.Combine(directory, "link"), "private");
        File.CreateSymbolicLink(Path.Combine(directory, "dangling"), "made");
        string longest = new('n', 255);
        foreach (string name in new[] { "link", "dangling", longest })
        {
            CommandRun run = await RunAsync("export", "-o", Path.Combine(directory, name), image);
            Assert.Equal((0, "", ""), (run.ExitCode, run.Output, run.Error));
        }
        Assert.Equal("private", new FileInfo(Path.Combine(directory, "link")).LinkTarget);
        Assert.Equal("600\n", Tool.Run("stat", "--format=%a", Path.Combine(directory, "private")).Output);
        Assert.Equal(["dangling", "link", "made", longest, "private"], Directory.EnumerateFiles(directory).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.All(Directory.EnumerateFiles(directory), file => Assert.Equal(toOutput.Output, File.ReadAllText(file)));
    }

    [Fact]
    public async Task ExportToAnotherUsersLink_ReplacesTheLink()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        string image = Image(new TarBytes().File("a", "x")), directory = _directory.CreateDirectory("sticky"), victim = Path.Combine(_outside, "file");
        string link = Path.Combine(directory, "out.tar"), ours = Path.Combine(directory, "ours.tar");
        Tool.Shell("chmod 1777 \"$1\"; ln -s \"$2\" \"$3\" && chown -h 65534 \"$3\" && ln -s out.tar \"$4\"", directory, victim, link, ours).EnsureSuccess();
        foreach (string output in new[] { link, ours })
        {
            CommandRun run = await RunAsync("export", "-o", output, image);
            Assert.Equal((0, "", ""), (run.ExitCode, run.Output, run.Error));
            Assert.Equal("untouched", File.ReadAllText(victim));
            Assert.Null(new FileInfo(link).LinkTarget);
            Assert.Equal(["ours.tar", "out.tar"], Directory.EnumerateFileSystemEntries(directory).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        }
    }

    [Theory]
    [InlineData("600", "600", "600")]
    [InlineData("4755", "600", "755")]
    [InlineData(null, "644", "644")]
    public void ExportedFiles_AreNeverMoreOpenThanWhatTheyReplace(string? mode, string whileWritten, string afterwards)
    {
        string directory = _directory.CreateDirectory("private"), file = Path.Combine(directory, "out.tar");
        Tool.Shell("umask 022; [ -z \"$2\" ] || { echo before > \"$1\"; chmod \"$2\" \"$1\"; }", file, mode ?? "").EnsureSuccess();
        using (OutputFile output = OutputFile.Open(file, inAnyOrder: false, TestContext.Current.CancellationToken))
        {
            string staged = Directory.EnumerateFiles(directory, ".*").Single();
            Assert.Equal(whileWritten, Tool.Run("stat", "--format=%a", staged).Output.Trim());
            output.Complete();
        }
        Assert.Equal(afterwards, Tool.Run("stat", "--format=%a", file).Output.Trim());
        Assert.Equal([file], Directory.EnumerateFileSystemEntries(directory));
    }

    [Theory]
    [InlineData(2, "-o needs a file name", "")]
    [InlineData(1, "cannot write '/proc/': it is a directory; name a file in it", "/proc/")]
    [InlineData(1, "cannot write '..': it is a directory; name a file in it", "..")]
    [InlineData(1, "cannot write '/proc': it is a directory; name a file in it", "/proc")]
    [InlineData(1, "cannot write '/proc/no/such': there is no directory '/proc/no'; make it first with mkdir -p '/proc/no'", "/proc/no/such")]
    [InlineData(1, "cannot write '/dev/fd/4321': no file is open under this number", "/dev/fd/4321")]
    [InlineData(1, "cannot write '/dev/full': No space left on device", "/dev/full")]
    public async Task ExportToWhatCannotBeWritten_IsSaid(int exitCode, string sentence, string file)
    {
        CommandRun run = await RunAsync("export", "-o", file, Image(new TarBytes().File("a", "x")));
        Assert.Equal((exitCode, "", $"lazymount: {sentence}\n"), (run.ExitCode, run.Output, run.Error));
    }

    [Fact]
    public async Task APipeWithoutAReader_IsWaitedFor_UntilThatIsCancelled()
    {
        string pipe = _directory["pipe"];
        Tool.Run("mkfifo", pipe).EnsureSuccess();
        using var cancelled = new CancellationTokenSource(TimeSpan.FromMilliseconds(200));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => Task.Run(() => OutputFile.Open(pipe, inAnyOrder: false, cancelled.Token), CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task AccessListsOfWhereItIsUnpacked_AreNotInherited()
    {
        string parent = _directory.CreateDirectory("listed"), image = Image(new TarBytes().Directory("./").Directory("d").File("d/a", "x").Fifo("fifo"));
        Assert.SkipUnless(Tool.Run("setfacl", "-d", "-m", "u:1234:rwx", parent).ExitCode == 0, "the file system has no access lists");
        TreeSnapshot expected = TreeSnapshot.Take(await UnpackAsync(image));
        foreach (string directory in new[] { Path.Combine(parent, "new"), Directory.CreateDirectory(Path.Combine(parent, "there")).FullName })
        {
            Assert.Equal(0, (await RunAsync("unpack", image, directory)).ExitCode);
            AssertSame(expected, TreeSnapshot.Take(directory));
        }
    }

    [Fact]
    public async Task DirectoriesThatCannotBeWritten_AreSaid()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "mounting needs root");
        string directory = _directory.CreateDirectory("read-only");
        Tool.Run("mount", "-t", "tmpfs", "-o", "ro", "none", directory).EnsureSuccess();
        try
        {
            CommandRun run = await RunAsync("unpack", Image(new TarBytes().File("a", "x")), directory);
            Assert.Equal((1, $"lazymount: cannot unpack into '{directory}': Read-only file system; name a directory that you can write to\n"), (run.ExitCode, run.Error));
        }
        finally
        {
            Tool.Run("umount", directory).EnsureSuccess();
        }
    }

    /// <summary>Looking for the path to name reads the tree, which must not change the reason to name.</summary>
    [Fact]
    public async Task TheReasonOfAFailure_IsThatOfTheCallThatFailed()
    {
        // More blocks of links than are kept in memory, so that the directory has to be read again.
        var tar = new TarBytes().File("a/first", "x").File("z", "x").HardLink("a/second", "z");
        for (int i = 0; i < 1200; i++)
        {
            tar.Pax(("linkpath", new string('t', 3000))).Symlink($"link{i}", "x");
        }
        await using OpenedImage image = await OpenedImage.OpenAsync(
            ImageReference.Parse(Image(tar)), new OpeningOptions { Cache = new BlobCache(_directory["cache"]) }, OpeningObserver.None, NullLoggerFactory.Instance, TestContext.Current.CancellationToken);
        string path = _directory["target"];
        using UnpackDirectory target = UnpackDirectory.Open(path);
        using var unpacker = new TreeUnpacker(image, new TreePaths(image.Tree), target, FileOwners.OfCallerRecorded);
        string unfinished = Assert.Single(Directory.EnumerateDirectories(path));
        IOException failure = await Assert.ThrowsAsync<IOException>(
            () => unpacker.UnpackAsync(_ => File.WriteAllText(Path.Combine(unfinished, "a/second"), "in its way"), TestContext.Current.CancellationToken));
        Assert.Equal("cannot make the hard link '/a/second' of the image: File exists", failure.Message);
    }

    [Fact]
    public async Task OneLayerAlone_IsUnpackedWithItsWhiteouts()
    {
        string image = Image(new TarBytes().File("gone", "x").File("kept", "x"), new TarBytes().Whiteout("gone").HardLink("link", "kept"));
        CommandRun run = await RunAsync("unpack", "--layer", "-1", image, _directory["alone"]);
        Assert.Equal(0, run.ExitCode);
        TreeSnapshot tree = TreeSnapshot.Take(_directory["alone"]);
        Assert.Equal(["/", "/.wh.gone", "/link"], tree.Nodes.Keys);
        Assert.Equal("kept", tree["/link"].LinkTarget);
    }

    [Fact]
    public async Task Export_IsNothingForATerminal()
    {
        using var bytes = new MemoryStream();
        using var output = new Output.CommandOutput(bytes, isTerminal: true);
        var error = new StringWriter();
        int exitCode = await CommandLine.RunAsync(new CommandHost { Arguments = ["export", "debian"], Output = output, Error = error });
        Assert.Equal((2, 0, "lazymount: export does not write a tar archive to a terminal: redirect the output, or name a file with -o\n"), (exitCode, bytes.Length, error.ToString()));
    }

    private async Task<TreeSnapshot> AssertInside(string[]? paths, params TarBytes[] layers)
    {
        TreeSnapshot tree = TreeSnapshot.Take(await UnpackAsync(Image(layers)));
        Assert.Equal(["file"], Directory.EnumerateFileSystemEntries(_outside).Select(Path.GetFileName));
        Assert.Equal("untouched", File.ReadAllText(Path.Combine(_outside, "file")));
        if (paths is not null)
        {
            Assert.Equal(paths, tree.Nodes.Keys);
        }
        return tree;
    }

    private string Image(params TarBytes[] layers)
    {
        var layout = new OciLayoutBuilder(_directory[$"image{_made++}"]);
        layers.ToList().ForEach(layer => layout.AddLayer(layer));
        layout.WriteImage("v1");
        return layout.Reference("v1");
    }

    private string ImageOf(string tar)
    {
        var layout = new OciLayoutBuilder(_directory[$"image{_made++}"]);
        layout.AddLayer(File.ReadAllBytes(tar)).WriteImage("v1");
        return layout.Reference("v1");
    }

    private async Task<string> UnpackAsync(string image)
    {
        string directory = _directory[$"tree{_made++}"];
        CommandRun run = await RunAsync("unpack", image, directory);
        Assert.Equal((0, "", ""), (run.ExitCode, run.Output, run.Error));
        return directory;
    }

    private TreeSnapshot UnpackWithUmoci(string tar) => TreeSnapshot.Take(Umoci.Unpack(ImageOf(tar), _directory[$"bundle{_made++}"]));

    private TreeSnapshot Extract(string tar)
    {
        string directory = _directory.CreateDirectory($"tree{_made++}");
        ToolResult result = Tool.Run("tar", "--extract", "--preserve-permissions", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--warning=no-timestamp", "--file", tar, "--directory", directory).EnsureSuccess();
        Assert.Equal("", result.Error);
        return TreeSnapshot.Take(directory);
    }

    private static void AssertSame(TreeSnapshot expected, TreeSnapshot actual, string? exceptMtimeOf = null)
    {
        if (exceptMtimeOf is not null)
        {
            expected.Replace(exceptMtimeOf, node => node with { Mtime = actual[exceptMtimeOf].Mtime });
        }
        string difference = expected.Difference(actual);
        Assert.True(difference.Length == 0, difference);
    }

    private Task<CommandRun> RunAsync(params string[] arguments) => CommandRun.RunAsync([.. arguments, "--cache-dir", _directory["cache"]]);
}
