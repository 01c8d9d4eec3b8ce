using System.Text;
using LazyMount.FileSystem;
using Xunit;

namespace LazyMount.Tests.FileSystem;

public sealed class PathResolverTests
{
    private static readonly ImageTree s_tree = TreeBuilder.Build(
    [
        new LayerBuilder()
            .File("usr/bin/dash").Symlink("bin", "usr/bin").Symlink("usr/bin/sh", "dash")
            .File("etc/conf").Symlink("etc/abs", "/usr/bin/sh").Symlink("etc/up", "../../../../usr").Symlink("etc/slash", "/usr/bin/")
            .Symlink("etc/root", "/").Symlink("etc/dangling", "nowhere").Symlink("etc/file-slash", "conf/")
            .Symlink("loop", "loop").Symlink("ping", "pong").Symlink("pong", "ping")
            .File("caf\u00e9")
            .Build(),
    ]);

    [Theory]
    [InlineData("/", "/")]
    [InlineData("//", "/")]
    [InlineData(".", "/")]
    [InlineData("..", "/")]
    [InlineData("/../../etc/../etc/./conf", "/etc/conf")]
    [InlineData("etc/conf", "/etc/conf")]
    [InlineData("/etc/", "/etc")]
    [InlineData("/bin", "/usr/bin")]
    [InlineData("/bin/", "/usr/bin")]
    [InlineData("/bin/sh", "/usr/bin/dash")]
    [InlineData("/bin/../bin/dash", "/usr/bin/dash")]
    [InlineData("/bin/..", "/usr")]
    [InlineData("/etc/abs", "/usr/bin/dash")]
    [InlineData("/etc/up/bin/dash", "/usr/bin/dash")]
    [InlineData("/etc/slash", "/usr/bin")]
    [InlineData("/etc/root/etc/conf", "/etc/conf")]
    [InlineData("/etc/root", "/")]
    [InlineData("caf\u00e9", "/caf\u00e9")]
    public void Path_LeadsTo(string path, string expected) => Assert.Equal(expected, Follow(path));

    [Theory]
    [InlineData("/bin", "/bin")]
    [InlineData("/bin/", "/usr/bin")] // a slash behind a link means what it points at
    [InlineData("/bin/sh", "/usr/bin/sh")]
    [InlineData("/etc/dangling", "/etc/dangling")]
    [InlineData("/loop", "/loop")]
    public void WithoutFollowing_TheLinkItselfIsFound(string path, string expected) => Assert.Equal(expected, Follow(path, followFinal: false));

    [Theory]
    [InlineData("", "ENOENT")]
    [InlineData("/nope", "ENOENT")]
    [InlineData("/nope/..", "ENOENT")]
    [InlineData("/etc/dangling", "ENOENT")]
    [InlineData("/etc/conf/", "ENOTDIR")]
    [InlineData("/etc/conf/x", "ENOTDIR")]
    [InlineData("/etc/conf/..", "ENOTDIR")]
    [InlineData("/etc/file-slash", "ENOTDIR")]
    [InlineData("/loop", "ELOOP")]
    [InlineData("/ping/x", "ELOOP")]
    public void BadPath_GivesAnErrno(string path, string errno) => Assert.Equal(errno, Follow(path));

    [Fact]
    public void FortyLinks_AreFollowed_AndNotOneMore()
    {
        var layer = new LayerBuilder().File("l0");
        for (int i = 1; i <= PathResolver.MaxLinks + 1; i++)
        {
            layer.Symlink($"l{i}", $"l{i - 1}");
        }
        ImageTree tree = TreeBuilder.Build([layer.Build()]);
        Assert.Equal(Errno.None, PathResolver.Resolve(tree, "l40"u8, followFinal: true, out _));
        Assert.Equal(Errno.ELOOP, PathResolver.Resolve(tree, "l41"u8, followFinal: true, out _));
    }

    [Fact]
    public void TargetsThatGrowWithoutEnd_AreRefused()
    {
        string longPath = string.Concat(Enumerable.Repeat("a/", 50_000));
        ImageTree tree = TreeBuilder.Build([new LayerBuilder().Symlink("a", longPath).Build()]);
        Assert.Equal(Errno.ENAMETOOLONG, PathResolver.Resolve(tree, "a"u8, followFinal: true, out _));
    }

    private static string Follow(string path, bool followFinal = true)
    {
        Errno errno = PathResolver.Resolve(s_tree, Encoding.Latin1.GetBytes(path), followFinal, out ResolvedPath resolved);
        return errno == Errno.None ? Encoding.Latin1.GetString(resolved.Path) : errno.ToString();
    }
}
