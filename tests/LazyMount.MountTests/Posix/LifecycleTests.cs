using LazyMount.Fuse;
using LazyMount.TestKit;
using Xunit;
using static LazyMount.MountTests.Posix.Libc;

namespace LazyMount.MountTests.Posix;

public sealed class LifecycleTests : IAsyncLifetime
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(30);
    private readonly TemporaryDirectory _directory = new();
    private readonly List<FuseMount> _mounts = [];
    private TestImage _image = null!;
    private string _root = null!;

    public async ValueTask InitializeAsync()
    {
        _image = await TestImage.CreateAsync(_directory, new TarBytes().File("file", "content\n"));
        _root = _directory.CreateDirectory("mnt");
    }

    public async ValueTask DisposeAsync()
    {
        foreach (FuseMount mount in _mounts)
        {
            await mount.DisposeAsync();
        }
        await _image.DisposeAsync();
        _directory.Dispose();
    }

    [Fact]
    public async Task Unmounting_CompletesAndLeavesTheDirectory()
    {
        FuseMount mount = Mount();
        Assert.False(mount.Completion.IsCompleted);
        Assert.True(mount.TryUnmount(lazy: false));
        await mount.Completion.WaitAsync(s_limit, TestContext.Current.CancellationToken);
        Assert.Empty(Directory.GetFileSystemEntries(_root));
        Assert.True(mount.TryUnmount(lazy: false)); // again: nothing to do
        Mount(); // and the directory can be used again
    }

    [Fact]
    public async Task UnmountingFromOutside_Completes()
    {
        FuseMount mount = Mount();
        Tool.Run("umount", _root).EnsureSuccess();
        await mount.Completion.WaitAsync(s_limit, TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task WhileBusy_UnmountingIsRefused_DetachingWaitsForTheLastUser()
    {
        FuseMount mount = Mount();
        int fd = Open(_root + "/file");
        Assert.False(mount.TryUnmount(lazy: false));
        Assert.Equal($"cannot unmount '{_root}': it is busy; end the processes that fuser -vm '{_root}' shows, or detach it with lazymount umount -l '{_root}'",
            Assert.Throws<FuseException>(() => MountPoint.Unmount(_root, lazy: false)).Message);

        Assert.True(mount.TryUnmount(lazy: true));
        Assert.Empty(Directory.GetFileSystemEntries(_root));
        Assert.Equal("content\n"u8.ToArray(), PRead(fd, 0, 100));
        Assert.False(mount.Completion.IsCompleted);
        Close(fd);
        await mount.Completion.WaitAsync(s_limit, TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task Disposing_DetachesEvenWhileBusy()
    {
        FuseMount mount = Mount();
        int fd = Open(_root + "/file");
        await mount.DisposeAsync().AsTask().WaitAsync(s_limit, TestContext.Current.CancellationToken);
        Assert.Equal(107, Error(pread(fd, new byte[1], 1, 0))); // ENOTCONN
        Close(fd);
        Assert.Empty(Directory.GetFileSystemEntries(_root));
    }

    [Fact]
    public void UidAndGid_OwnEverything()
    {
        Mount(new FuseMountOptions { Source = "test:image", Uid = 1000, Gid = 1001 });
        Statx stat = Stat(_root + "/file");
        Assert.Equal((1000u, 1001u), (stat.Uid, stat.Gid));
    }

    [Fact]
    public void ReadAhead_IsTheLargestRead()
    {
        Mount();
        string device = Tool.Run("mountpoint", "-d", _root).EnsureSuccess().Output.Trim();
        Assert.Equal("1024", File.ReadAllText($"/sys/class/bdi/{device}/read_ahead_kb").Trim());
    }

    [Fact]
    public void NoExec_RefusesPrograms()
    {
        Mount(new FuseMountOptions { Source = "test:image", NoExec = true, Suid = true, Dev = true });
        string options = Tool.Run("findmnt", "-no", "OPTIONS", _root).EnsureSuccess().Output;
        Assert.Contains("noexec", options);
        Assert.DoesNotContain("nosuid", options);
        Assert.DoesNotContain("nodev", options);
    }

    [Fact]
    public void WithoutXattrs_TheyAreNotSupported()
    {
        Mount();
        Assert.Equal(EOPNOTSUPP, Error(lgetxattr(Z(_root + "/file"), Z("user.a"), null, 0)));
        Assert.Equal(EOPNOTSUPP, Error(llistxattr(Z(_root + "/file"), null, 0)));
    }

    [Fact]
    public void List_ShowsMountsWithTheirSource_EvenInStrangeDirectories()
    {
        _root = _directory.CreateDirectory("a b\\c\tkäse");
        Mount(new FuseMountOptions { Source = "oci:/a b,c:tag" });
        Assert.Contains(MountPoint.List(), mount => mount.Directory == _root && mount.Source == "oci:/a b,c:tag" && !mount.IsDead());
        MountPoint.Unmount(_root, lazy: false);
        Assert.DoesNotContain(MountPoint.List(), mount => mount.Directory == _root);
    }

    [Fact]
    public void SymbolicLinkToTheDirectory_IsTheDirectory()
    {
        File.CreateSymbolicLink(_directory["link"], _root);
        _mounts.Add(_image.Mount(_directory["link"]));
        Assert.Contains(MountPoint.List(), mount => mount.Directory == _root);
        MountPoint.Unmount(_directory["link"], lazy: false);
    }

    [Fact]
    public void UnusableDirectories_AreRefusedInOneSentence()
    {
        string missing = _directory["missing"], file = _directory["file"], full = _directory.CreateDirectory("full");
        File.WriteAllText(file, "");
        File.WriteAllText(full + "/x", "");
        Refused(missing, $"cannot mount on '{missing}': it does not exist; make it first with mkdir -p '{missing}'");
        Refused(file, $"cannot mount on '{file}': it is not a directory; name an empty directory");
        Refused(file + "/x", $"cannot mount on '{file}/x': it is not a directory; name an empty directory");
        Refused(full, $"cannot mount on '{full}': it is not empty; name an empty directory");
        Mount();
        Refused(_root, $"cannot mount on '{_root}': 'test:image' is mounted there; unmount it with lazymount umount '{_root}'");
        Assert.Equal($"cannot unmount '{full}': no image is mounted there; run lazymount list to see all mounts",
            Assert.Throws<FuseException>(() => MountPoint.Unmount(full, lazy: false)).Message);
    }

    [Fact]
    public void DeadMount_IsShownRefusedAndCleaned()
    {
        MountAndDie("fuse.lazymount", "test:dead");
        Assert.Contains(MountPoint.List(), mount => mount.Directory == _root && mount.Source == "test:dead" && mount.IsDead());
        Refused(_root, $"cannot mount on '{_root}': it has a dead mount, whose process is gone; clean up with lazymount umount '{_root}'");
        MountPoint.Unmount(_root, lazy: false);
        MountDirectory.Open(_root).Dispose();
    }

    [Fact]
    public void DeadMountOfOthers_IsRefused()
    {
        MountAndDie("fuse.other", "other");
        Refused(_root, $"cannot mount on '{_root}': it has a dead mount of another FUSE program; clean up with fusermount3 -u '{_root}'");
        Assert.Throws<FuseException>(() => MountPoint.Unmount(_root, lazy: false));
        Tool.Run("umount", _root).EnsureSuccess();
    }

    [Fact]
    public void DaemonThatDoesNotAnswer_HangsNobody()
    {
        using FuseDevice device = MountOnly("fuse.lazymount", "test:stuck");
        Assert.Contains(MountPoint.List(), mount => mount.Directory == _root && mount.Source == "test:stuck" && !mount.IsDead());
        Refused(_root, $"cannot mount on '{_root}': 'test:stuck' is mounted there; unmount it with lazymount umount '{_root}'");
        Assert.True(MountPoint.TryUnmount(_root, lazy: true, out _));
    }

    private FuseMount Mount(FuseMountOptions? options = null)
    {
        FuseMount mount = _image.Mount(_root, options);
        _mounts.Add(mount);
        return mount;
    }

    private static void Refused(string directory, string sentence)
        => Assert.Equal(sentence, Assert.Throws<FuseException>(() => MountDirectory.Open(directory)).Message);

    /// <summary>A connection whose only device is closed: what a killed daemon leaves.</summary>
    private void MountAndDie(string type, string source) => MountOnly(type, source).Dispose();

    private FuseDevice MountOnly(string type, string source)
    {
        FuseDevice device = FuseDevice.Open();
        Assert.Equal(0, Interop.Mount(source, _root, type, Interop.MS_RDONLY, $"fd={device.Descriptor},rootmode=40000,user_id=0,group_id=0"));
        return device;
    }
}
