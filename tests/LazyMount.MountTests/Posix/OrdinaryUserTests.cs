using LazyMount.Fuse;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Posix;

/// <summary>
/// Mounting without privileges, through fusermount3. The tests run this same program once more: as nobody, in a mount
/// namespace of its own whose /dev/fuse is open to all, as on usual systems. What runs there are the explicit tests of
/// <see cref="OrdinaryUser"/>.
/// </summary>
public sealed class OrdinaryUserTests
{
    private const string OpenDevice = "mknod -m 666 $DIR/fuse c 10 229; mount --bind $DIR/fuse /dev/fuse; echo > $DIR/conf; mount --bind $DIR/conf /etc/fuse.conf; ";
    private const string AsNobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";

    [Theory]
    [InlineData(OpenDevice, AsNobody, nameof(OrdinaryUser.Mounts_ReadsAndUnmounts))]
    [InlineData(OpenDevice, AsNobody, nameof(OrdinaryUser.AllowOther_IsRefused))]
    [InlineData(OpenDevice + "mkdir $DIR/others; ", AsNobody, nameof(OrdinaryUser.DirectoryOfOthers_IsRefused))]
    [InlineData(OpenDevice + "mkdir $DIR/bin; ln -s /usr/bin/* $DIR/bin; rm $DIR/bin/fusermount3; ", AsNobody + " env PATH=$DIR/bin", nameof(OrdinaryUser.WithoutFusermount_SaysSo))]
    [InlineData("mknod -m 600 $DIR/fuse c 10 229; mount --bind $DIR/fuse /dev/fuse; ", AsNobody, nameof(OrdinaryUser.ClosedDevice_IsRefused))]
    [InlineData("mkdir $DIR/dev; mknod -m 666 $DIR/dev/null c 1 3; mknod -m 666 $DIR/dev/urandom c 1 9; mount --bind $DIR/dev /dev; ", "", nameof(OrdinaryUser.WithoutDevice_SaysSo))]
    [InlineData(OpenDevice, "setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin", nameof(OrdinaryUser.RootWithoutSysAdmin_IsRefused))]
    public void InAnOwnNamespace(string preparation, string prefix, string test)
    {
        using var directory = new TemporaryDirectory();
        Tool.Run("chmod", "a+rwxt", directory.Path).EnsureSuccess();
        string program = Path.Combine(AppContext.BaseDirectory, "LazyMount.MountTests");
        string script = $"DIR=$1; {preparation} HOME=$1 TMPDIR=$1 exec {prefix} \"$2\" -explicit only -method \"$3\"";
        ToolResult result = Tool.Run("unshare", "--mount", "--propagation", "private", "bash", "-ec", script, "bash", directory.Path, program, $"{typeof(OrdinaryUser).FullName}.{test}");
        Assert.True(result.ExitCode == 0 && result.Output.Contains("Total: 1, Errors: 0, Failed: 0", StringComparison.Ordinal), result.Output + result.Error);
    }
}

/// <summary>Run by <see cref="OrdinaryUserTests"/> only, as the user and in the surroundings that each needs.</summary>
public sealed class OrdinaryUser : IAsyncLifetime
{
    private readonly TemporaryDirectory _directory = new();
    private TestImage _image = null!;
    private string _root = null!;

    public async ValueTask InitializeAsync()
    {
        _image = await TestImage.CreateAsync(_directory, new TarBytes().File("file", "content\n"));
        _root = _directory.CreateDirectory("mnt");
    }

    public async ValueTask DisposeAsync()
    {
        await _image.DisposeAsync();
        _directory.Dispose();
    }

    [Fact(Explicit = true)]
    public async Task Mounts_ReadsAndUnmounts()
    {
        Assert.NotEqual(0u, Libc.geteuid());
        await using (FuseMount mount = _image.Mount(_root, new FuseMountOptions { Source = "oci:/a,b:tag" }))
        {
            Assert.Equal("content\n", Tool.Run("cat", _root + "/file").EnsureSuccess().Output);
            Assert.Contains(MountPoint.List(), mount => mount.Directory == _root && mount.Source == "oci:/a,b:tag" && !mount.IsDead());
            using (Tool user = Tool.Start("bash", ["-c", "cd \"$1\" && echo in && exec sleep 60", "bash", _root]))
            {
                while (Directory.ResolveLinkTarget($"/proc/{user.ProcessId}/cwd", false)?.FullName != _root)
                {
                    await Task.Delay(10, TestContext.Current.CancellationToken);
                }
                Assert.False(mount.TryUnmount(lazy: false));
            }
            Assert.True(mount.TryUnmount(lazy: false));
            await mount.Completion.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        }
        await using (FuseMount mount = _image.Mount(_root))
        {
            MountPoint.Unmount(_root, lazy: false);
        }
        await using (FuseMount mount = _image.Mount(_root))
        {
            // disposing unmounts
        }
        Assert.DoesNotContain(MountPoint.List(), mount => mount.Directory == _root);
    }

    [Fact(Explicit = true)]
    public void AllowOther_IsRefused() => Refused(_root, new FuseMountOptions { Source = "x", AllowOther = true },
        $"cannot mount on '{_root}': allow_other is refused; add the line user_allow_other to '/etc/fuse.conf', or mount without allow_other");

    [Fact(Explicit = true)]
    public void DirectoryOfOthers_IsRefused()
    {
        string others = Environment.GetEnvironmentVariable("HOME") + "/others";
        Refused(others, new FuseMountOptions { Source = "x" }, $"cannot mount on '{others}': you may not write to it; name a directory that you own");
    }

    [Fact(Explicit = true)]
    public void WithoutFusermount_SaysSo() => Refused(_root, new FuseMountOptions { Source = "x" },
        "cannot run fusermount3: it is not installed; install it with apt install fuse3, or run as root");

    [Fact(Explicit = true)]
    public void ClosedDevice_IsRefused() => Refused(_root, new FuseMountOptions { Source = "x" },
        "cannot open '/dev/fuse': permission denied; run as root, or run the container with --device /dev/fuse --cap-add SYS_ADMIN");

    [Fact(Explicit = true)]
    public void WithoutDevice_SaysSo() => Refused(_root, new FuseMountOptions { Source = "x" },
        "cannot open '/dev/fuse': there is no such device; load the kernel module with modprobe fuse, or run the container with --device /dev/fuse --cap-add SYS_ADMIN");

    [Fact(Explicit = true)]
    public void RootWithoutSysAdmin_IsRefused() => Refused(_root, new FuseMountOptions { Source = "x" },
        $"cannot mount on '{_root}': the system does not permit it; run as root, or run the container with --device /dev/fuse --cap-add SYS_ADMIN");

    private void Refused(string directory, FuseMountOptions options, string sentence)
        => Assert.Equal(sentence, Assert.Throws<FuseException>(() => _image.Mount(directory, options)).Message);
}
