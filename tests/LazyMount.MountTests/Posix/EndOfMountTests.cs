using LazyMount.Fuse;
using LazyMount.TestKit;
using Xunit;
using static LazyMount.MountTests.Posix.Libc;

namespace LazyMount.MountTests.Posix;

/// <summary>A mount ends when it is told to, wherever it is mounted and whoever uses it.</summary>
public sealed class EndOfMountTests : IAsyncLifetime
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(30);
    private readonly TemporaryDirectory _directory = new();
    private TestImage _image = null!;
    private FuseMount _mount = null!;
    private string _parent = null!, _root = null!;

    public async ValueTask InitializeAsync()
    {
        _image = await TestImage.CreateAsync(_directory, new TarBytes().Directory("dir").File("dir/file", "content\n"));
        _parent = _directory.CreateDirectory("parent");
        _root = Directory.CreateDirectory(_parent + "/mnt").FullName;
        _mount = _image.Mount(_root);
    }

    public async ValueTask DisposeAsync()
    {
        await _mount.DisposeAsync();
        await _image.DisposeAsync();
        _directory.Dispose();
    }

    private Task EndedAsync() => _mount.Completion.WaitAsync(s_limit, TestContext.Current.CancellationToken);

    // Other tests may have been given the number meanwhile.
    private void AssertNowhereMounted()
        => Assert.DoesNotContain(MountPoint.List(), mount => mount.Device == _mount.Device && mount.Directory.StartsWith(_directory.Path, StringComparison.Ordinal));

    /// <summary>The kernel gives the device number of a file system that is gone to the next one.</summary>
    [Fact]
    public async Task NextMountWithTheSameNumber_StaysMounted()
    {
        FuseMount? next = null;
        string root = _directory.CreateDirectory("next");
        for (int i = 0; i < 200; i++)
        {
            MountPoint.Unmount(_root, lazy: false);
            await EndedAsync();
            next = _image.Mount(root);
            if (next.Device == _mount.Device)
            {
                break;
            }
            await next.DisposeAsync(); // another test was faster
            next = null;
            await _mount.DisposeAsync();
            _mount = _image.Mount(_root);
        }
        Assert.NotNull(next);
        await using (next)
        {
            Assert.True(_mount.TryUnmount(lazy: true));
            await _mount.DisposeAsync();
            Assert.Equal("content\n", await File.ReadAllTextAsync(root + "/dir/file", TestContext.Current.CancellationToken));
        }
    }

    [Fact]
    public void Device_IsThatOfTheMountTable()
        => Assert.Equal(_mount.Device, Tool.Run("mountpoint", "-d", _root).EnsureSuccess().Output.Trim());

    [Fact]
    public async Task MovedWithItsParent_ItIsUnmountedWhereItIsNow()
    {
        Directory.Move(_parent, _directory["moved"]);
        Assert.True(_mount.TryUnmount(lazy: false));
        await EndedAsync();
        AssertNowhereMounted();
    }

    [Fact]
    public async Task MovedToANameThatIsNotUtf8_ItIsUnmountedAllTheSame()
    {
        Tool.Shell("mv \"$1\" \"$2\"/caf$'\\xe9'", _parent, _directory.Path).EnsureSuccess();
        Assert.True(_mount.TryUnmount(lazy: false));
        await EndedAsync();
        AssertNowhereMounted();
        Tool.Shell("rm -r \"$1\"/caf$'\\xe9'", _directory.Path).EnsureSuccess();
    }

    [Theory]
    [InlineData("")]
    [InlineData("/dir")]
    public async Task BindMounts_GoWithIt(string part)
    {
        string bind = _directory.CreateDirectory("bind");
        Tool.Run("mount", "--bind", _root + part, bind).EnsureSuccess();
        Assert.True(_mount.TryUnmount(lazy: false));
        await EndedAsync();
        AssertNowhereMounted();
    }

    [Fact]
    public async Task BindMountOnItself_IsUnmountedBeforeWhatItCovers()
    {
        Tool.Run("mount", "--bind", _root, _root).EnsureSuccess();
        Assert.True(_mount.TryUnmount(lazy: false));
        await EndedAsync();
        AssertNowhereMounted();
    }

    [Fact]
    public async Task MovedByMount_ItIsUnmountedWhereItIsNow()
    {
        string place = _directory.CreateDirectory("place");
        Tool.Shell("mount -t tmpfs none \"$1\" && mount --make-private \"$1\" && mkdir \"$1/a\" \"$1/b\"", place).EnsureSuccess();
        try
        {
            await using FuseMount mount = _image.Mount(place + "/a");
            Tool.Run("mount", "--move", place + "/a", place + "/b").EnsureSuccess();
            Assert.True(mount.TryUnmount(lazy: false));
            await mount.Completion.WaitAsync(s_limit, TestContext.Current.CancellationToken);
            Assert.DoesNotContain(MountPoint.List(), one => one.Device == mount.Device);
        }
        finally
        {
            Tool.Run("umount", place).EnsureSuccess();
        }
    }

    [Fact]
    public async Task CoveredByAnotherMount_TheConnectionEnds_AndTheOtherMountStays()
    {
        Tool.Run("mount", "-t", "tmpfs", "none", _root).EnsureSuccess();
        try
        {
            File.WriteAllText(_root + "/theirs", "theirs\n");
            Assert.StartsWith("cannot unmount", Assert.Throws<FuseException>(() => MountPoint.Unmount(_root, lazy: false)).Message, StringComparison.Ordinal);
            await _mount.DisposeAsync().AsTask().WaitAsync(s_limit, TestContext.Current.CancellationToken);
            Assert.Equal("theirs\n", await File.ReadAllTextAsync(_root + "/theirs", TestContext.Current.CancellationToken));
        }
        finally
        {
            Tool.Run("umount", _root).EnsureSuccess();
        }
        Assert.True(MountPoint.List().Single(mount => mount.Directory == _root).IsDead());
        MountPoint.Unmount(_root, lazy: false);
        AssertNowhereMounted();
    }

    [Fact]
    public async Task HeldByAnotherMountNamespace_UnmountingLeavesItThere_DisposingEndsIt()
    {
        using Tool container = Tool.Start("unshare", ["--mount", "--propagation", "private", "bash", "-c", "cd /; echo ready; exec sleep 300"]);
        string ours = Directory.ResolveLinkTarget("/proc/self/ns/mnt", false)!.Name;
        while (Directory.ResolveLinkTarget($"/proc/{container.ProcessId}/ns/mnt", false)?.Name == ours)
        {
            await Task.Delay(20, TestContext.Current.CancellationToken);
        }
        Assert.True(_mount.TryUnmount(lazy: false));
        AssertNowhereMounted();
        Assert.Equal("content\n", Tool.Run("nsenter", "-t", $"{container.ProcessId}", "-m", "cat", _root + "/dir/file").EnsureSuccess().Output);
        Assert.False(_mount.Completion.IsCompleted);
        Assert.NotNull(MountPoint.FindElsewhere(_mount.Device!));

        await _mount.DisposeAsync().AsTask().WaitAsync(s_limit, TestContext.Current.CancellationToken);
        Assert.Contains("not connected", Tool.Run("nsenter", "-t", $"{container.ProcessId}", "-m", "stat", "-f", _root).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task BusyPlace_KeepsAllPlaces_UntilTheyAreDetached()
    {
        string bind = _directory.CreateDirectory("bind");
        Tool.Run("mount", "--bind", _root, bind).EnsureSuccess();
        int fd = Open(bind + "/dir/file");
        Assert.False(_mount.TryUnmount(lazy: false));
        Assert.Equal("content\n", await File.ReadAllTextAsync(_root + "/dir/file", TestContext.Current.CancellationToken));
        Assert.True(_mount.TryUnmount(lazy: true));
        AssertNowhereMounted();
        Close(fd);
        await EndedAsync();
    }

    [Fact]
    public async Task Refused_NothingThatTheKernelHasIsGivenAnyMore()
    {
        // What the kernel keeps: pages, attributes, names, names that are not there, a listing, a link's target, an open directory.
        int file = Open(_root + "/dir/file"), directory = Open(_root + "/dir");
        Assert.Equal("content\n"u8.ToArray(), PRead(file, 0, 100));
        Tool.Run("ls", "-lR", _root).EnsureSuccess();
        Assert.Equal(ENOENT, Error(open(Z(_root + "/missing"), ReadOnly, 0)));
        using Tool inside = Tool.Start("bash", ["-c", "cd \"$1\" && cat file && touch \"$3\" && while [ ! -e \"$2\" ]; do sleep 0.02; done; stat file; cat file; exit 0", "bash", _root + "/dir", _directory["go"], _directory["ready"]]);
        while (!File.Exists(_directory["ready"]))
        {
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }

        _mount.Refuse();

        const int EIO = 5;
        Assert.Equal(EIO, Error(pread(file, new byte[1], 1, 0)));
        Assert.Equal(EIO, Error(statx(file, Z(""), 0x1000 /* AT_EMPTY_PATH */, BasicStats, out _)));
        Assert.Equal(EIO, Error(getdents64(directory, new byte[1000], 1000)));
        foreach (string path in (string[])["", "/dir", "/dir/file", "/missing"])
        {
            Assert.Equal(EIO, Error(statx(AtFdCwd, Z(_root + path), NoFollow, BasicStats, out _)));
            Assert.Equal(EIO, Error(open(Z(_root + path), ReadOnly, 0)));
        }
        Assert.Equal(EIO, Error(statfs(Z(_root), new byte[256])));
        File.WriteAllText(_directory["go"], "");
        ToolResult result = inside.WaitForExit();
        Assert.Equal("content\n", result.Output);
        Assert.Equal(2, result.Error.Split("Input/output error").Length - 1);
        Close(file);
        Close(directory);
        Assert.True(_mount.TryUnmount(lazy: false));
    }

    [Fact]
    public void ForgettingEach_DropsNamesAttributesAndPages_WithoutAnEpoch()
    {
        Tool.Run("ls", "-lR", _root).EnsureSuccess();
        int file = Open(_root + "/dir/file"), directory = Open(_root + "/dir");
        Assert.Equal("content\n"u8.ToArray(), PRead(file, 0, 100));
        _image.FileSystem.Refuse();
        Assert.Equal("content\n"u8.ToArray(), PRead(file, 0, 100)); // still the kernel's
        _mount.ForgetEach();

        const int EIO = 5;
        Assert.Equal(EIO, Error(pread(file, new byte[1], 1, 0)));
        Assert.Equal(EIO, Error(getdents64(directory, new byte[1000], 1000)));
        foreach (string path in (string[])["", "/dir", "/dir/file"])
        {
            Assert.Equal(EIO, Error(statx(AtFdCwd, Z(_root + path), NoFollow, BasicStats, out _)));
        }
        Close(file);
        Close(directory);
    }

    [Fact]
    public async Task Refused_ReadsThatWaitFail()
    {
        using IDisposable held = _image.HoldBlobs();
        using Tool reader = Tool.Start("cat", [_root + "/dir/file"]);
        await _image.SomebodyWaits.WaitAsync(s_limit, TestContext.Current.CancellationToken);
        await Task.Run(_mount.Refuse, TestContext.Current.CancellationToken).WaitAsync(s_limit, TestContext.Current.CancellationToken);
        Assert.Contains("Input/output error", reader.WaitForExit().Error, StringComparison.Ordinal);
    }
}
