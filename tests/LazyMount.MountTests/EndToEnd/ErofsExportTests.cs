using System.Globalization;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>EROFS images that `export` writes: at the limits of the format the kernel shows what our own mount shows, or the image is refused.</summary>
public sealed class ErofsExportTests : IDisposable
{
    private readonly LazyMountCli _lazymount = new();

    public void Dispose() => _lazymount.Dispose();

    private string Write(params TarBytes[] layers)
    {
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        foreach (TarBytes layer in layers)
            layout.AddLayer(layer);
        layout.WriteImage("v1");
        return layout.Reference("v1");
    }

    private void AssertSame(params TarBytes[] layers)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root can mount a file system image");
        string image = Write(layers);
        string difference = TreeSnapshot.Take(_lazymount.Mount(image)).Difference(ExportedErofs.Take(_lazymount, image));
        Assert.True(difference.Length == 0, difference);
    }

    private static string Number(long value) => value.ToString(CultureInfo.InvariantCulture);

    [Fact]
    public void TimesOwnersAndDevices_AreThoseOfTheMount()
    {
        var tar = new TarBytes().Directory("./");
        string[] times = ["-62135596800", "-1.5", "-0.000000001", "0", "0.999999999", "2147483648", "4294967296.5", "253402300799", "9000000000000"];
        for (int i = 0; i < times.Length; i++)
            tar.Pax(("mtime", times[i])).File($"time{i}", "x").Pax(("mtime", times[i])).Directory($"directory{i}").Pax(("mtime", times[i])).Symlink($"link{i}", "x");
        foreach (uint id in (uint[])[0, 65535, 65536, 4294967294])
            tar.Pax(("uid", Number(id)), ("gid", Number(id))).File($"owner{id}", "x");
        tar.CharacterDevice("null", 1, 3).CharacterDevice("large", 4095, 1048575).Fifo("pipe");
        AssertSame(tar);
    }

    [Fact]
    public void LongNamesTargetsAndLinkCounts_AreThoseOfTheMount()
    {
        var tar = new TarBytes().Directory("./");
        foreach (int length in (int[])[1, 99, 254, 255])
            tar.Pax(("path", new string('n', length))).File("x", "x");
        foreach (int length in (int[])[1, 3000, 3072, 3073, 4000, 4095])
            tar.Pax(("linkpath", new string('t', length))).Symlink($"link{length}", "x");
        tar.File("file", "content");
        for (int i = 0; i < 70_000; i++)
            tar.HardLink($"hard{i}", "file");
        AssertSame(tar);
    }

    // Directories whose names fill blocks to the last byte, and names around "." and ".." in the order of bytes.
    [Fact]
    public void Directories_OfEverySize_AreThoseOfTheMount()
    {
        var tar = new TarBytes().Directory("./");
        foreach (string name in (string[])["!", "-", ".a", "..a", ".-", "...", "/a".TrimStart('/'), "0", "~", "\u00e4"])
            tar.File(name, name);
        foreach (int count in (int[])[1, 10, 60, 100, 119, 120, 121, 200, 240, 241, 1000])
        {
            for (int i = 0; i < count; i++)
                tar.File($"d{count}/{new string('f', 20)}{i:D4}", "");
        }
        for (int i = 0; i < 50_000; i++)
            tar.File($"many/{i}", "");
        for (int i = 0; i < 600; i++)
            tar.Directory($"deep{i % 30}/{new string('d', i % 70)}x");
        AssertSame(tar);
    }

    [Fact]
    public void Attributes_SharedAndNot_AreThoseOfTheMount()
    {
        var tar = new TarBytes().Directory("./");
        for (int i = 0; i < 40; i++)
            tar.Pax(("SCHILY.xattr.user.shared", "the same"), ("SCHILY.xattr.trusted.shared", "too")).File($"shared{i}", "x");
        for (int i = 0; i < 40; i++)
            tar.Pax(("SCHILY.xattr.user.own", new string('v', i * 97)), ($"SCHILY.xattr.user.name{i}", "")).File($"own{i}", "x");
        tar.Pax(("SCHILY.xattr.security.capability", "\u0001\0\0\u0002\0 \0\0\0\0\0\0\0\0\0\0\0\0\0\0")).File("capable", "x");
        tar.Pax(("SCHILY.xattr.user.large", new string('v', 60_000))).File("large", "x");
        tar.Pax(("SCHILY.xattr.user.d", "directory")).Directory("directory").File("directory/x", "x");
        tar.Pax([.. Enumerable.Range(0, 300).Select(i => ($"SCHILY.xattr.user.{i}", "v"))]).File("many1", "x");
        tar.Pax([.. Enumerable.Range(0, 300).Select(i => ($"SCHILY.xattr.user.{i}", "v"))]).File("many2", "x");
        AssertSame(tar);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(4095)]
    [InlineData(4096)]
    [InlineData(4097)]
    [InlineData(5_000_000)]
    public void Files_OfEverySize_AreThoseOfTheMount(int size)
    {
        byte[] content = new byte[size];
        new Random(size).NextBytes(content);
        AssertSame(new TarBytes().File("a", content).File("b", "b").File("c", content), new TarBytes().File("b", content).File("d", "d"));
    }

    [Fact]
    public void SparseFiles_AreThoseOfTheMount_AndTakeNoRoom()
    {
        byte[] stored = new byte[10_000];
        new Random(1).NextBytes(stored);
        var tar = new TarBytes().Directory("./")
            .Sparse(SparseFormat.Pax10, "begin", 100_000, [(0, 10_000)], stored)
            .Sparse(SparseFormat.Pax10, "end", 100_001, [(90_001, 10_000)], stored)
            .Sparse(SparseFormat.Pax10, "middle", 200_000_000, [(512, 1000), (5000, 4000), (150_000_000, 5000)], stored)
            .Sparse(SparseFormat.Pax10, "hole", 70_000, [], [])
            .Sparse(SparseFormat.Old, "dense", 20_000, [(0, 5000), (10_000, 5000)], stored);
        AssertSame(tar);
    }

    [Fact]
    public void SparseFileOfATebibyte_IsASmallImage()
    {
        string image = Write(new TarBytes().Sparse(SparseFormat.Pax10, "huge", 1L << 40, [(1L << 39, 512)], new byte[512]));
        string file = _lazymount.Directory["image"];
        _lazymount.Run("export", "--format", "erofs", "-o", file, image).EnsureSuccess();
        Tool.Run("fsck.erofs", file).EnsureSuccess();
        Assert.InRange(long.Parse(Tool.Run("stat", "-c", "%b", file).EnsureSuccess().Output, CultureInfo.InvariantCulture) * 512, 1, 1 << 20);
    }

    [Fact]
    public void TheSameImage_GivesTheSameBytes()
    {
        string image = Write(new TarBytes().File("a", "a").Pax(("SCHILY.xattr.user.x", "y")).File("b", "b"), new TarBytes().File("c/d", "d"));
        foreach (string name in (string[])["one", "two"])
            _lazymount.Run("export", "--format", "erofs", "-o", _lazymount.Directory[name], image).EnsureSuccess();
        Assert.Equal(File.ReadAllBytes(_lazymount.Directory["one"]), File.ReadAllBytes(_lazymount.Directory["two"]));
    }

    [Fact]
    public void KernelMountsTheFileItself()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root can mount a file system image");
        string image = Write(new TarBytes().File("a", "content"));
        string file = _lazymount.Directory["image"], directory = _lazymount.Directory.CreateDirectory("mnt");
        _lazymount.Run("export", "--format", "erofs", "-o", file, image).EnsureSuccess();
        // mount(8) would make a loop device.
        ToolResult mounted = Tool.Run("perl", "-e", "syscall(165, $ARGV[0], $ARGV[1], my $type = 'erofs', 1, my $data = '') == 0 or die \"$!\"", file, directory);
        Assert.SkipUnless(mounted.ExitCode == 0, $"this kernel mounts no plain file: {mounted.Error}"); // before Linux 6.12
        Assert.Equal(file, Tool.Run("findmnt", "-n", "-o", "SOURCE", directory).EnsureSuccess().Output.Trim());
        Assert.Equal("content", File.ReadAllText(Path.Combine(directory, "a")));
        Assert.Equal("1\n", Tool.Run("stat", "-c", "%i", directory).EnsureSuccess().Output);
        Tool.Run("umount", directory).EnsureSuccess();
    }

    public static TheoryData<string, string> Refused() => new()
    {
        { "user.large", "an attribute of more than 65535 bytes" },
        { "system.other", "an attribute of a namespace that EROFS does not know (system.other)" },
        { "many", "more than 262148 bytes of attributes" },
    };

    [Theory]
    [MemberData(nameof(Refused))]
    public void WhatErofsCannotHold_IsRefusedByName(string attribute, string says)
    {
        (string, string)[] records = attribute == "many" ? [.. Enumerable.Range(0, 5).Select(i => ($"SCHILY.xattr.user.{i}", new string('v', 60_000)))]
            : [($"SCHILY.xattr.{attribute}", new string('v', attribute == "user.large" ? 65_536 : 1))];
        string image = Write(new TarBytes().Directory("d").Pax(records).File("d/file", "x"));
        ToolResult result = _lazymount.Run("export", "--format", "erofs", "-o", _lazymount.Directory["image"], image);
        Assert.Equal(1, result.ExitCode);
        Assert.Equal($"lazymount: cannot export '{image}': '/d/file' has {says}, which EROFS cannot hold\n", result.Error);
        Assert.False(File.Exists(_lazymount.Directory["image"]));
        Assert.Contains("file", _lazymount.Run("ls", image, "/d").EnsureSuccess().Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--format erofs", "--format erofs does not write to standard output")]
    [InlineData("--format erofs -o -", "--format erofs does not write to standard output")]
    [InlineData("--format squashfs", "--format 'squashfs' is neither tar nor erofs")]
    public void WrongUse_IsOneSentence(string options, string says)
    {
        ToolResult result = _lazymount.Run(["export", .. options.Split(' '), Write(new TarBytes().File("a", "a"))]);
        Assert.Equal(2, result.ExitCode);
        Assert.Contains(says, result.Error, StringComparison.Ordinal);
    }

    public static TheoryData<string, string, string> NoFilesOfTheirOwn() => new()
    {
        { "/dev/full", "it is not a regular file", "" },
        { "pipe", "it is not a regular file", "" },
        { "link", "it is not a regular file", "" },
        { "/dev/stdout", "it is a file that is open already", "" },
        { "/dev/stdout", "it is a file that is open already", ">file" },
        { "/dev/fd/9", "it is a file that is open already", "9>>file" },
        { "/dev/fd/9", "it is a file that is open already", "9<>pipe" },
    };

    /// <summary>What is not written in order needs a regular file of its own; nothing is fetched to find that out.</summary>
    [Theory]
    [MemberData(nameof(NoFilesOfTheirOwn))]
    public void WhatIsNoRegularFile_IsRefusedBeforeTheImageIsOpened(string output, string reason, string redirection)
    {
        string directory = _lazymount.Directory.CreateDirectory("out");
        Tool.Shell("cd \"$1\"; mkfifo pipe; ln -s pipe link; echo before > file", directory).EnsureSuccess();
        ToolResult result = Tool.Shell($"cd \"$1\"; exec \"$2\" export --format erofs -o {output} registry.invalid/never/asked:v1 {redirection}", directory, LazyMountCli.Binary);
        Assert.Equal((1, $"lazymount: cannot write '{output}': {reason}, and a file system image is not written in order; name another file\n"), (result.ExitCode, result.Error));
        Assert.Equal(["file", "link", "pipe"], Directory.EnumerateFileSystemEntries(directory).Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }
}
