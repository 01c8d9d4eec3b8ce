using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Cli;
using LazyMount.Images;
using LazyMount.Output;
using LazyMount.TestKit;
using LazyMount.Tests.Published;
using LazyMount.Trees;
using LazyMount.Unpacking;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Commands;

/// <summary>`cp` against cp(1) on the files that umoci unpacks, and GNU tar; into directories that were made to get out of them.</summary>
public sealed class CpTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private int _made;

    public void Dispose() => _directory.Dispose();

    /// <summary>Words before the destination, which is made as each case says, and for cp(1) relative to the unpacked tree.</summary>
    public static TheoryData<string, string, string> Copies => new()
    {
        { "", "d/file", "out" },
        { "", "d/file", "out/name" },
        { "", "d", "new" },
        { "", "d", "out" },
        { "", "d/", "out" },
        { "", "d/.", "out" },
        { "", "d/.", "new" },
        { "", "d", "new/" },
        { "", "link", "out" },
        { "-L", "link", "out" },
        { "-L", "link", "out/name" },
        { "", "link/", "new" },
        { "", "d/file d/other e fifo null", "out" },
        { "", "e/link-to-file d/file", "out" },
        { "", "d/sparse d/closed", "out" },
        { "", "d/deep/../file", "out" },
        { "", "d/deep/..", "out" },
        { "", "d/deep/..", "new" },
    };

    [Theory]
    [MemberData(nameof(Copies))]
    public async Task Copies_AreThoseOfCp(string options, string paths, string destination)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "owners and devices need root");
        string image = SampleImage(), tree = Umoci.Unpack(image, _directory["bundle"]);
        string[] sources = paths.Split(' ');
        string ours = _directory.CreateDirectory("ours"), theirs = _directory.CreateDirectory("theirs");
        foreach (string directory in (string[])[ours, theirs])
        {
            Tool.Shell("mkdir \"$1\"/out && echo old > \"$1\"/out/kept && touch -d @5 \"$1\"/out/kept", directory).EnsureSuccess();
        }
        string flags = options == "-L" ? "-aH" : "-a"; // GNU cp: of links in a tree, -L would follow all
        Tool.Shell($"cd \"$1\" && shift && cp {flags} --sparse=always \"$@\"", [tree, .. sources, $"{theirs}/{destination}"]).EnsureSuccess();

        CommandRun run = await RunAsync(["cp", .. options.Length == 0 ? (string[])[] : [options], image, .. sources, $"{ours}/{destination}"]);
        Assert.Equal((0, "", ""), (run.ExitCode, run.Output, run.Error));
        AssertSame(theirs, ours);
    }

    [Fact]
    public async Task CopiesIntoAFilledDirectory_MergeAsThoseOfCp()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "owners and devices need root");
        string image = SampleImage(), tree = Umoci.Unpack(image, _directory["bundle"]);
        string ours = _directory.CreateDirectory("ours"), theirs = _directory.CreateDirectory("theirs");
        foreach (string directory in (string[])[ours, theirs])
        {
            Tool.Shell("cd \"$1\" && mkdir -p out/d/deep/mine out/d/closed && echo old > out/d/file && ln -s nowhere out/d/l && echo mine > out/d/deep/mine/f && chmod 700 out/d && touch -d @5 out/d/deep/mine/f out/d/deep/mine", directory).EnsureSuccess();
        }
        Tool.Run("cp", "-a", "--remove-destination", Path.Combine(tree, "d"), $"{theirs}/out").EnsureSuccess();
        CommandRun run = await RunAsync("cp", image, "/d", $"{ours}/out");
        Assert.Equal((0, "", ""), (run.ExitCode, run.Output, run.Error));
        AssertSame(theirs, ours);
    }

    [Theory]
    [InlineData("/d", "d")]
    [InlineData("/d/file /e", "d/file e")]
    [InlineData("/d/.", ".")]
    [InlineData("/link", "link")]
    public async Task Tars_HaveTheLastComponentFirst(string paths, string members)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "owners and devices need root");
        string image = SampleImage(), tree = Umoci.Unpack(image, _directory["bundle"]), tar = _directory["out.tar"];
        string expected = _directory.CreateDirectory("expected"), actual = _directory.CreateDirectory("actual");
        string source = members == "." ? Path.Combine(tree, "d") : tree;
        Tool.Shell($"cd \"$1\" && cp -a {members} \"$2\"", source, expected).EnsureSuccess();
        await WriteTarAsync(tar, ["cp", image, .. paths.Split(' '), "-"]);
        Tool.Run("tar", "--extract", "--preserve-permissions", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--file", tar, "--directory", actual).EnsureSuccess();
        if (members != ".")
        {
            Tool.Run("touch", "-d", "@1", expected, actual).EnsureSuccess();
        }
        string difference = TreeSnapshot.Take(expected).Difference(TreeSnapshot.Take(actual));
        Assert.True(difference.Length == 0, difference);
        string first = Tool.Run("tar", "--list", "--file", tar).Output.Split('\n')[0];
        Assert.StartsWith(paths == "/d/." ? "" : Path.GetFileName(paths.Split(' ')[0]), first, StringComparison.Ordinal);
    }

    [Fact]
    public async Task OnlyWhatIsCopied_IsFetched()
    {
        using var registry = new RegistryServer();
        await using var recording = new RecordingRegistry(registry.Host);
        byte[] noise = new byte[4 << 20];
        new Random(1).NextBytes(noise);
        var layout = new OciLayoutBuilder(_directory["layout"]);
        var tar = new TarBytes();
        for (int i = 0; i < 8; i++)
        {
            tar.File($"f{i}", noise);
        }
        string layer = layout.AddLayer(tar).WriteImage("v1")[0];
        Skopeo.Push(layout.Reference("v1"), registry, "a/b:v1");
        Assert.Equal((0, ""), await IndexAsync($"{recording.Host}/a/b:v1"));
        recording.Answers.Clear();
        Assert.Equal(0, (await RunAsync("cp", $"{recording.Host}/a/b:v1", "/f5", _directory["copy"])).ExitCode);
        Assert.Equal(noise, File.ReadAllBytes(_directory["copy"]));
        Assert.InRange(recording.BytesOf(layer), noise.Length, noise.Length + (6 << 20));
    }

    [Fact]
    public async Task WhatIsThere_IsReplacedOrRefusedBeforeAnythingIsWritten()
    {
        string image = Image(new TarBytes().Directory("d").File("d/file", "x").File("f", "new").Symlink("l", "f").File("z", "x")), outside = _directory.CreateDirectory("outside"), target = _directory.CreateDirectory("target");
        string At(string name) => Path.Combine(target, name);
        File.WriteAllText(At("f"), "old");
        File.WriteAllText(Path.Combine(outside, "file"), "untouched");
        Assert.Equal(0, (await RunAsync("cp", image, "/f", At("f"))).ExitCode);
        Assert.Equal("new", File.ReadAllText(At("f")));

        File.CreateSymbolicLink(At("d"), outside);
        await AssertRefused($"cannot copy into '{target}': 'd' is there and is not a directory; remove it first", "/d", target);
        await AssertRefused($"cannot copy into '{target}': 'd' is there and is not a directory; remove it first", "/f", "/d", target);
        File.Delete(At("d"));
        File.WriteAllText(At("d"), "a file");
        await AssertRefused($"cannot copy into '{target}': 'd' is there and is not a directory; remove it first", "/.", target);
        File.Delete(At("d"));
        Directory.CreateDirectory(At("d"));
        Directory.CreateDirectory(At("d/file"));
        await AssertRefused($"cannot copy into '{target}': 'd/file' is there and is a directory; remove it first", "/d", target);
        Directory.Delete(At("d/file"));
        File.CreateSymbolicLink(At("d/file"), Path.Combine(outside, "file"));
        Assert.Equal(0, (await RunAsync("cp", image, "/d", target)).ExitCode);
        Assert.Null(new FileInfo(At("d/file")).LinkTarget);
        Assert.Equal(["d", "f"], Directory.EnumerateFileSystemEntries(target).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.Equal("untouched", File.ReadAllText(Path.Combine(outside, "file")));

        async Task AssertRefused(string sentence, params string[] words)
        {
            string[] names = [.. Directory.EnumerateFileSystemEntries(target).Order(StringComparer.Ordinal)];
            CommandRun run = await RunAsync(["cp", image, .. words]);
            Assert.Equal((1, "", $"lazymount: {sentence}\n"), (run.ExitCode, run.Output, run.Error));
            Assert.Equal(names, Directory.EnumerateFileSystemEntries(target).Order(StringComparer.Ordinal));
        }
    }

    [Theory]
    [InlineData(1, "cannot copy to '/dev/null': it is not a regular file; name another one, or - for a tar archive on standard output", "/f", "/dev/null")]
    [InlineData(1, "cannot copy to '/dev/stdout': it is a symbolic link; remove it, or name the file that it leads to", "/f", "/dev/stdout")]
    [InlineData(1, "cannot copy into '/proc': No such file or directory; name a directory that you can write to", "/f", "/proc/such")]
    [InlineData(1, "cannot copy to '/proc/no/such': there is no directory '/proc/no'; make it first with mkdir -p '/proc/no'", "/f", "/proc/no/such")]
    [InlineData(1, "cannot copy to '/tmp/no-such-name/': there is no directory '/tmp/no-such-name/'; make it first with mkdir -p '/tmp/no-such-name/'", "/f", "/tmp/no-such-name/")]
    [InlineData(1, "cannot copy to '/tmp/no-such-name': there is no directory '/tmp/no-such-name'; make it first with mkdir -p '/tmp/no-such-name'", "/f", "/d", "/tmp/no-such-name")]
    [InlineData(1, "cannot copy '/d/f': it is in '/d', which is copied too; copy them one after the other", "/d", "/d/f", "/tmp")]
    [InlineData(1, "cannot copy '/d': it is '/l', which is copied too; copy them one after the other", "-L", "/l", "/d", "/tmp")]
    [InlineData(1, "cannot copy '/f': another path has the name 'f' too; copy them one after the other", "/d/f", "/f", "/tmp")]
    [InlineData(2, "cp needs a destination behind the paths: a directory, a new name, or - for a tar archive on standard output", "/f")]
    [InlineData(2, "cp needs a destination behind the paths: a directory, a new name, or - for a tar archive on standard output", "/f", "")]
    public async Task WhatCannotBeCopied_IsSaid(int exitCode, string sentence, params string[] words)
    {
        CommandRun run = await RunAsync(["cp", Image(new TarBytes().Directory("d").File("d/f", "x").File("f", "x").Symlink("l", "d")), .. words]);
        Assert.Equal((exitCode, "", $"lazymount: {sentence}\n"), (run.ExitCode, run.Output, run.Error));
    }

    [Fact]
    public async Task PathsThatAreMissing_CopyNothing()
    {
        string image = Image(new TarBytes().File("f", "x")), target = _directory.CreateDirectory("target");
        CommandRun run = await RunAsync("cp", image, "/f", "/no", target);
        Assert.Equal((1, $"lazymount: cannot find '/no' in '{image}': no such file or directory\n"), (run.ExitCode, run.Error));
        Assert.Empty(Directory.EnumerateFileSystemEntries(target));
    }

    [Fact]
    public async Task WhatFails_LeavesTheDirectoryAsItWas()
    {
        var layout = new OciLayoutBuilder(_directory["damaged"]);
        byte[] noise = new byte[3 << 20];
        new Random(1).NextBytes(noise);
        string digest = layout.AddLayer(new TarBytes().Directory("d", 0x140).File("d/a", noise).File("d/b", noise).Symlink("l", "d").HardLink("h", "d/a")).WriteImage("v1")[0];
        string image = layout.Reference("v1"), target = _directory.CreateDirectory("target");
        Directory.CreateDirectory(Path.Combine(target, "d"));
        File.WriteAllText(Path.Combine(target, "d/a"), "before");
        Assert.Equal(0, (await RunAsync("ls", image)).ExitCode);
        using (FileStream blob = File.OpenWrite(layout.BlobFile(digest)))
        {
            blob.Position = blob.Length - 100_000;
            blob.Write(new byte[1000]);
        }
        CommandRun run = await RunAsync("cp", image, "/d", "/l", "/h", target);
        Assert.Equal(1, run.ExitCode);
        Assert.StartsWith($"lazymount: cannot copy '{image}' into '{target}': ", run.Error, StringComparison.Ordinal);
        Assert.EndsWith("; what had been written is removed again\n", run.Error, StringComparison.Ordinal);
        Assert.Equal(["d"], Directory.EnumerateFileSystemEntries(target).Select(Path.GetFileName));
        Assert.Equal("before", File.ReadAllText(Path.Combine(target, "d/a")));
    }

    [Fact]
    public async Task Tars_AreNothingForATerminal()
    {
        using var bytes = new MemoryStream();
        using var output = new Output.CommandOutput(bytes, isTerminal: true);
        var error = new StringWriter();
        int exitCode = await CommandLine.RunAsync(new CommandHost { Arguments = ["cp", "debian", "/etc", "-"], Output = output, Error = error });
        Assert.Equal((2, 0, "lazymount: cp does not write a tar archive to a terminal: redirect the output, or name a file or a directory\n"), (exitCode, bytes.Length, error.ToString()));
    }

    [Fact]
    public async Task FilesOfTheCaller_DoNotRunAsTheCaller()
    {
        string image = Image(new TarBytes().File("program", "x", 0xFFF).Directory("d", 0xFED).Fifo("fifo"));
        await using OpenedImage opened = await OpenedImage.OpenAsync(
            ImageReference.Parse(image), new OpeningOptions { Cache = new BlobCache(_directory["cache"]) }, OpeningObserver.None, NullLoggerFactory.Instance, TestContext.Current.CancellationToken);
        string path = _directory.CreateDirectory("out");
        using UnpackDirectory directory = UnpackDirectory.OpenFilled(path);
        using var unpacker = new TreeUnpacker(opened, new TreePaths(opened.Tree), directory, FileOwners.OfCaller);
        await unpacker.UnpackAsync(_ => { }, TestContext.Current.CancellationToken);
        TreeSnapshot tree = TreeSnapshot.Take(path);
        Assert.Equal(["1777", "1755"], ((string[])["/program", "/d"]).Select(name => EntryFormat.Octal(tree[name].Mode)));
    }

    /// <summary>As with cp -a: one file lacks the attribute, the others are there, and the exit code is 1.</summary>
    [Fact]
    public async Task InvalidAccessList_CostsItsFileTheAttributeAlone()
    {
        string image = Image(new TarBytes().Pax(("SCHILY.xattr.system.posix_acl_access", "\u0002\0\0\0\u0001\0\u0007\0\0\0\0\0")).File("bad", "x").File("good", "y")), target = _directory.CreateDirectory("target");
        CommandRun run = await RunAsync("cp", image, "/bad", "/good", target);
        Assert.Equal((1, "lazymount: cannot set the attribute 'system.posix_acl_access' of '/bad' of the image: Invalid argument\n"), (run.ExitCode, run.Error));
        Assert.Equal("xy", File.ReadAllText(Path.Combine(target, "bad")) + File.ReadAllText(Path.Combine(target, "good")));
        Assert.Equal(1577836800, new DateTimeOffset(File.GetLastWriteTimeUtc(Path.Combine(target, "bad"))).ToUnixTimeSeconds());
    }

    [Fact]
    public async Task OneLayerAlone_IsCopiedWithItsWhiteouts()
    {
        string image = Image(new TarBytes().File("d/gone", "x").File("d/kept", "x"), new TarBytes().Whiteout("d/gone").File("d/new", "x")), target = _directory.CreateDirectory("target");
        Assert.Equal(0, (await RunAsync("cp", "--layer", "-1", image, "d", target)).ExitCode);
        Assert.Equal([".wh.gone", "new"], Directory.EnumerateFileSystemEntries(Path.Combine(target, "d")).Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    // Hard links within what is copied and out of it, and all that makes a copy hard.
    private string SampleImage()
    {
        byte[] end = [4, 5];
        return Image(
            new TarBytes().Directory("./").Directory("d", 0x1E8).File("d/file", "x", 0x9ED, TarBytes.OwnedBy(1000, 100)).File("d/other", "y").HardLink("d/second", "d/other").Symlink("d/l", "../no/where")
                .Directory("d/deep").Directory("d/deep/er", 0x3FF).File("d/deep/er/f", "deep").Directory("d/closed", 0).File("d/closed/f", "x").Pax(("SCHILY.xattr.user.a", "1")).File("d/attributed", "x"),
            new TarBytes().Directory("e").HardLink("e/link-to-file", "d/file", 0x9ED, TarBytes.OwnedBy(1000, 100)).File("e/own", new string('e', 5000)).Fifo("fifo").CharacterDevice("null", 1, 3).Symlink("link", "e")
                .Version1("d/sparse", 3 << 20, [.. System.Text.Encoding.ASCII.GetBytes($"1\n{(3 << 20) - 2}\n2\n".PadRight(512, '\0')), .. end]));
    }

    private static void AssertSame(string expected, string actual)
    {
        TreeSnapshot theirs = TreeSnapshot.Take(expected), ours = TreeSnapshot.Take(actual);
        foreach (string made in theirs.Nodes.Keys.Intersect(["/", "/out"]).ToArray())
        {
            theirs.Replace(made, node => node with { Mtime = ours[made].Mtime });
        }
        // Of the two, cp(1) alone changes the directory that it copies the contents of another one into.
        theirs.Replace("/out", node => node with { Mode = ours["/out"].Mode });
        string difference = theirs.Difference(ours);
        Assert.True(difference.Length == 0, difference);
    }

    private async Task WriteTarAsync(string file, string[] arguments)
    {
        using FileStream bytes = File.Create(file);
        using var output = new Output.CommandOutput(bytes, isTerminal: false);
        var error = new StringWriter();
        int exitCode = await CommandLine.RunAsync(new CommandHost { Arguments = [.. arguments, "--cache-dir", _directory["cache"]], Output = output, Error = error });
        Assert.Equal((0, ""), (exitCode, error.ToString()));
    }

    private string Image(params TarBytes[] layers)
    {
        var layout = new OciLayoutBuilder(_directory[$"image{_made++}"]);
        layers.ToList().ForEach(layer => layout.AddLayer(layer));
        layout.WriteImage("v1");
        return layout.Reference("v1");
    }

    // Afterwards the cache has the indexes of the layers, and not their bytes.
    private async Task<(int, string)> IndexAsync(string image)
    {
        CommandRun run = await RunAsync("ls", "--no-keep", image);
        return (run.ExitCode, run.Error);
    }

    private Task<CommandRun> RunAsync(params string[] arguments) => CommandRun.RunAsync([.. arguments, "--cache-dir", _directory["cache"]]);
}
