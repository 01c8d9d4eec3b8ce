using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>Mount points that cannot be used or left, and systems without FUSE.</summary>
public sealed class MountPointTests : IDisposable
{
    private const string RootOnly = "needs root, to change what the system looks like in a mount namespace of its own";

    private readonly LazyMountCli _lazymount = new();
    private readonly string _image;

    public MountPointTests()
    {
        OciLayoutBuilder layout = new OciLayoutBuilder(_lazymount.Directory["layout"])
            .AddLayer(new TarBytes().Directory("./").File("file", "content\n"));
        layout.WriteImage("v1");
        _image = layout.Reference("v1");
    }

    public void Dispose() => _lazymount.Dispose();

    [Fact]
    public void Missing_IsNamed() => Sentence.AssertOne(Mount(_lazymount.Directory["missing"]), 1, _lazymount.Directory["missing"], "does not exist");

    [Fact]
    public void File_IsNoDirectory()
    {
        File.WriteAllText(_lazymount.Directory["plain"], "");
        Sentence.AssertOne(Mount(_lazymount.Directory["plain"]), 1, "not a directory");
    }

    [Fact]
    public void NotEmpty_IsRefused()
    {
        string directory = _lazymount.NewMountPoint();
        File.WriteAllText(Path.Combine(directory, "something"), "");
        Sentence.AssertOne(Mount(directory), 1, directory, "not empty");
    }

    [Fact]
    public void AlreadyAMount_IsRefusedWithItsImage()
    {
        string directory = _lazymount.Mount(_image);
        Sentence.AssertOne(Mount(directory), 1, directory, "umount");
        Assert.Equal("content\n", File.ReadAllText(Path.Combine(directory, "file")));
    }

    [Fact]
    public void Busy_IsNotUnmountedButCanBeDetached()
    {
        string directory = _lazymount.Mount(_image);
        using (File.OpenRead(Path.Combine(directory, "file")))
        {
            Sentence.AssertOne(_lazymount.Run("umount", directory), 1, directory, "busy");
            Assert.True(LazyMountCli.IsMounted(directory));
        }
        _lazymount.Run("umount", directory).EnsureSuccess();
        Assert.False(LazyMountCli.IsMounted(directory));

        _lazymount.Run("mount", _image, directory).EnsureSuccess();
        using (FileStream file = File.OpenRead(Path.Combine(directory, "file")))
        {
            _lazymount.Run("umount", "-l", directory).EnsureSuccess();
            Assert.False(LazyMountCli.IsMounted(directory));
            Assert.Equal('c', file.ReadByte());
        }
    }

    [Fact]
    public void Unmounted_LeavesNoDaemonAndNoRecord()
    {
        string directory = _lazymount.Mount(_image);
        Assert.NotEmpty(LazyMountCli.DaemonsOf(directory));
        _lazymount.Run("umount", directory).EnsureSuccess();
        Assert.Empty(LazyMountCli.DaemonsOf(directory));
        Assert.DoesNotContain(directory, _lazymount.Run("list").EnsureSuccess().Output, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(_lazymount.StateDirectory, "*.json"));
    }

    [Fact]
    public void NotMounted_CannotBeUnmounted()
    {
        string directory = _lazymount.NewMountPoint();
        Sentence.AssertOne(_lazymount.Run("umount", directory), 1, directory);
        Sentence.AssertOne(_lazymount.Run("umount", "/proc"), 1, "/proc");
    }

    [Fact]
    public void KilledDaemon_IsListedAsDeadAndCleaned()
    {
        string directory = _lazymount.Mount(_image);
        Kill(directory);

        Assert.Contains("dead", _lazymount.Run("list").EnsureSuccess().Output.Split('\n').Single(line => line.Contains(directory, StringComparison.Ordinal)), StringComparison.Ordinal);
        Sentence.AssertOne(Mount(directory), 1, directory, "dead", "umount");
        _lazymount.Run("umount", directory).EnsureSuccess();
        Assert.False(LazyMountCli.IsMounted(directory));
        Assert.DoesNotContain(directory, _lazymount.Run("list").EnsureSuccess().Output, StringComparison.Ordinal);

        _lazymount.Run("mount", _image, directory).EnsureSuccess();
        Assert.Equal("content\n", File.ReadAllText(Path.Combine(directory, "file")));
    }

    [Fact]
    public void KilledDaemonOfALayerStillInUse_LeavesTheCacheWhole()
    {
        Kill(_lazymount.Mount(_image));
        Assert.Empty(CacheFiles.Unfinished(_lazymount));
        Assert.Equal("content\n", _lazymount.Run("cat", _image, "/file").EnsureSuccess().Output);
    }

    [Fact]
    public void Foreground_EndsAtCtrlCAndUnmounts()
    {
        string directory = _lazymount.NewMountPoint();
        using Tool foreground = _lazymount.Start("mount", "-f", _image, directory);
        WaitUntil(() => LazyMountCli.IsMounted(directory) && File.Exists(Path.Combine(directory, "file")), "the mount to answer");
        foreground.Signal(2);
        foreground.WaitForExit();
        Assert.False(LazyMountCli.IsMounted(directory));
    }

    [Fact]
    public void NoFuseDevice_IsSaid()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        string directory = _lazymount.NewMountPoint();
        ToolResult result = InNamespace("mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9 && exec \"$@\"", LazyMountCli.Binary, "mount", _image, directory);
        Sentence.AssertOne(result, 1, "/dev/fuse");
    }

    [Fact]
    public void OtherUsersWithoutFusermount_AreToldWhatToInstall()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        Sentence.AssertOne(MountAsNobody("export PATH=/nonexistent", OwnedByNobody()), 1, "fusermount3", "fuse3");
    }

    [Fact]
    public void OtherUsersMayNotMountWhereTheyMayNotWrite()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        string directory = _lazymount.NewMountPoint();
        Sentence.AssertOne(MountAsNobody("", directory), 1, directory);
    }

    [Fact]
    public void OtherUsersWithoutRightsOnTheDevice_AreTold()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        Sentence.AssertOne(MountAsNobody("", OwnedByNobody(), deviceMode: "600"), 1, "/dev/fuse", "permission");
    }

    [Fact]
    public void OtherUsers_MountReadAndUnmount()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        string directory = OwnedByNobody();
        ToolResult result = MountAsNobody("", directory, then: "cat \"$directory/file\" && \"$lazymount\" list && \"$lazymount\" umount \"$directory\" && ! mountpoint -q \"$directory\"");
        result.EnsureSuccess();
        Assert.StartsWith("content\n", result.Output, StringComparison.Ordinal);
        Assert.Contains(directory, result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void CacheThatMayNotBeWritten_IsNamed()
    {
        string file = _lazymount.Directory["file-in-the-way"];
        File.WriteAllText(file, "");
        Sentence.AssertOne(_lazymount.Run("mount", "--cache-dir", $"{file}/cache", _image, _lazymount.NewMountPoint()), 1, file);
    }

    private ToolResult Mount(string directory) => _lazymount.Run("mount", _image, directory);

    private static void Kill(string directory)
    {
        int daemon = Assert.Single(LazyMountCli.DaemonsOf(directory));
        Tool.Run("kill", "-KILL", $"{daemon}").EnsureSuccess();
        WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length == 0, "the killed daemon to end");
    }

    private static void WaitUntil(Func<bool> condition, string what)
    {
        for (int attempt = 0; !condition(); attempt++)
        {
            Assert.True(attempt < 1200, $"waited a minute for {what}");
            Thread.Sleep(50);
        }
    }

    private ToolResult InNamespace(string line, params string[] command)
    {
        using Tool tool = Tool.Start("unshare", ["--mount", "--propagation", "private", "bash", "-c", line, "bash", .. command], _lazymount.Environment);
        return tool.WaitForExit();
    }

    private string OwnedByNobody()
    {
        string directory = _lazymount.NewMountPoint();
        Tool.Run("chown", "65534:65534", directory).EnsureSuccess();
        return directory;
    }

    /// <summary>
    /// Mounts as user nobody, in a mount namespace in which /dev/fuse has the mode that it has on usual systems, with
    /// a cache and a state directory of the user's own.
    /// </summary>
    private ToolResult MountAsNobody(string before, string directory, string deviceMode = "666", string then = "true")
    {
        string home = _lazymount.Directory.CreateDirectory("home");
        Tool.Run("chown", "65534:65534", home).EnsureSuccess();
        Tool.Run("cp", LazyMountCli.Binary, _lazymount.Directory["lazymount"]).EnsureSuccess();
        _lazymount.Directory.OpenToAll();
        return InNamespace($$"""
            set -e
            mknod -m {{deviceMode}} "$1/fuse" c 10 229
            mount --bind "$1/fuse" /dev/fuse
            export LAZYMOUNT_CACHE="$1/home/cache" LAZYMOUNT_STATE="$1/home/state" directory="$3" lazymount="$1/lazymount"
            cd /
            exec setpriv --reuid 65534 --regid 65534 --clear-groups bash -c '
              {{before}}
              "$lazymount" mount "$1" "$directory" && {{then}}' bash "$2"
            """, _lazymount.Directory.Path, _image, directory);
    }
}
