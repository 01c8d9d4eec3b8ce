using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Node;

/// <summary>podman runs a container over a mount, as docs/containerd.md says: what it writes is its own and ends with it.</summary>
public sealed class PodmanRootTests : IDisposable
{
    private readonly LazyMountCli _lazymount = new();

    public void Dispose() => _lazymount.Dispose();

    [Theory]
    [InlineData("erofs")]
    [InlineData("fuse")]
    public void AContainer_RunsOverAMount_AndWritesBesideIt(string face)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "EROFS is for root");
        string mount = _lazymount.Mount(NodeImage.Write(_lazymount.Directory.CreateDirectory("layout"), NodeImage.Layers), "--as", face);
        // Limits that a root without CAP_SYS_RESOURCE may set.
        ToolResult run = Tool.Run("podman", "--root", _lazymount.Directory["root"], "--runroot", _lazymount.Directory["run"], "--storage-driver", "overlay", "--cgroup-manager", "cgroupfs", "--events-backend", "file",
            "run", "--rm", "--runtime", "runc", "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000", "--security-opt", "apparmor=unconfined",
            "--rootfs", $"{mount}:O", "/bin/sh", "-c", "cat /data/top && echo new >/data/top && cat /data/top");
        Assert.Equal("topnew\n", run.EnsureSuccess().Output);
        Assert.Equal("top", File.ReadAllText($"{mount}/data/top"));
        _lazymount.Run("umount", mount).EnsureSuccess();
    }
}
