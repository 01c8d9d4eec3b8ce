namespace LazyMount.TestKit;

/// <summary>podman(1) with storage of its own.</summary>
public sealed class Podman : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    /// <summary>Runs one command.</summary>
    public ToolResult Run(params string[] arguments)
        => Tool.Run("podman", ["--root", _directory["root"], "--runroot", _directory["run"], "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file", .. arguments]);

    public void Dispose()
    {
        Run("image", "umount", "--all");
        _directory.Dispose();
    }
}
