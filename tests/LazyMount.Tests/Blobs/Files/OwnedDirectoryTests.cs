using System.Runtime.Versioning;
using LazyMount.Blobs.Files;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Blobs.Files;

[SupportedOSPlatform("linux")]
public sealed class OwnedDirectoryTests : IDisposable
{
    private const UnixFileMode Mine = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void EachLevelThatIsMissing_IsMadeForItsOwnerOnly()
    {
        Assert.Null(OwnedDirectory.Ensure(_directory["a/b/c"], "else"));
        Assert.Null(OwnedDirectory.Ensure(_directory["a/b/c/"], "else"));
        foreach (string level in (string[])["a", "a/b", "a/b/c"])
            Assert.Equal(Mine, File.GetUnixFileMode(_directory[level]));
    }

    [Theory]
    [InlineData("700", null)]
    [InlineData("755", null)]
    [InlineData("775", "others may write to it (mode 775)")]
    [InlineData("1777", null)] // as the root of a file system in memory
    public void DirectoryThatIsThere_IsRefusedWhenOthersMayWrite(string mode, string? problem)
    {
        string path = _directory.CreateDirectory("d");
        Tool.Run("chmod", mode, path).EnsureSuccess();
        Assert.Equal(problem is null ? null : $"{problem}; run chmod go-w '{path}', or else", OwnedDirectory.Ensure(path, "else"));
        Tool.Run("chmod", "1777", path).EnsureSuccess();
        Assert.Null(OwnedDirectory.Ensure(Path.Combine(path, "below"), "else")); // as /tmp is
    }

    [Fact]
    public void PrivateDirectory_IsClosedToOthers()
    {
        string path = _directory.CreateDirectory("d");
        Tool.Run("chmod", "755", path).EnsureSuccess();
        Assert.Null(OwnedDirectory.Ensure(path, "else", isPrivate: true));
        Assert.Equal(Mine, File.GetUnixFileMode(path));
        Tool.Run("chmod", "1777", path).EnsureSuccess();
        Assert.StartsWith("others may write to it (mode 1777)", OwnedDirectory.Ensure(path, "else", isPrivate: true));
    }

    [Fact]
    public void DirectoryOrLinkOfAnotherUser_IsRefused_AndOnesOwnLinkIsNot()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "needs root to give directories away");
        string mine = _directory.CreateDirectory("mine"), theirs = _directory.CreateDirectory("theirs");
        Tool.Shell("chown 65534 \"$1/theirs\"; ln -s mine \"$1/link\"; ln -s theirs \"$1/to-theirs\"; ln -s mine \"$1/their-link\"; chown -h 65534 \"$1/their-link\"; : > \"$1/file\"", _directory.Path).EnsureSuccess();
        Assert.Null(OwnedDirectory.Ensure(mine, "else"));
        Assert.Null(OwnedDirectory.Ensure(_directory["link"], "else"));
        Assert.StartsWith("it belongs to user 65534", OwnedDirectory.Ensure(theirs, "else"));
        Assert.StartsWith("it belongs to user 65534", OwnedDirectory.Ensure(_directory["to-theirs"], "else"));
        Assert.StartsWith("it is a symbolic link of user 65534", OwnedDirectory.Ensure(_directory["their-link"], "else"));
        Assert.Equal("it is not a directory; else", OwnedDirectory.Ensure(_directory["file"], "else"));
        Assert.Throws<IOException>(() => OwnedDirectory.Ensure(_directory["file/below"], "else"));
        var e = Assert.Throws<FileNotFoundException>(() => OwnedDirectory.Ensure("/proc/lazymount-test", "else"));
        Assert.Equal("No such file or directory", FileProblem.Reason(e));
    }
}
