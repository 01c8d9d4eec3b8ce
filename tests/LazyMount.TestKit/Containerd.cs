namespace LazyMount.TestKit;

/// <summary>
/// A private containerd with its own root, state and socket: what its overlayfs snapshotter mounts is what containers
/// see. The "native" snapshotter, which copies and applies layers in place, is there as well.
/// </summary>
public sealed class Containerd : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly List<string> _mounted = [];
    private readonly Tool _daemon;
    private int _images;

    public Containerd()
    {
        string configuration = _directory["config.toml"];
        File.WriteAllText(configuration, $"""
            version = 2
            root = "{_directory["root"]}"
            state = "{_directory["state"]}"
            disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.devmapper"]
            [grpc]
              address = "{Socket}"
            [ttrpc]
              address = "{_directory["ttrpc.sock"]}"
            # No garbage collection: what a refused image has left may be what another, imported now, begins with.
            [plugins."io.containerd.gc.v1.scheduler"]
              mutation_threshold = 0
              startup_delay = "24h"
            """);
        _daemon = Tool.Start("containerd", ["--config", configuration, "--log-level", "error"]);
        for (int attempt = 0; Ctr("version").ExitCode != 0; attempt++)
        {
            if (attempt == 200 || _daemon.HasExited)
            {
                throw new InvalidOperationException("containerd does not start");
            }
            Thread.Sleep(50);
        }
    }

    private string Socket => _directory["containerd.sock"];

    /// <summary>Imports the image "v1" of a layout and mounts it; returns its root. Throws when containerd refuses the image.</summary>
    public string Mount(string layoutDirectory, string snapshotter = "overlayfs")
    {
        int number = Interlocked.Increment(ref _images);
        string archive = _directory[$"{number}.tar"];
        Tool.Run("tar", "-C", layoutDirectory, "-cf", archive, "oci-layout", "index.json", "blobs").EnsureSuccess();
        string name = $"localhost/test/image{number}";
        Ctr("image", "import", "--snapshotter", snapshotter, "--base-name", name, archive).EnsureSuccess();
        string target = _directory.CreateDirectory($"mnt{number}");
        Ctr("image", "mount", "--snapshotter", snapshotter, $"{name}:v1", target).EnsureSuccess();
        lock (_mounted)
        {
            _mounted.Add(target);
        }
        return target;
    }

    /// <summary>
    /// Converts the image "v1" of a layout with stargz-snapshotter's tool, to eStargz or zstd:chunked as the options say; the result is the image "v1" of the layout
    /// that is made in <paramref name="targetDirectory"/>.
    /// </summary>
    public void Convert(string layoutDirectory, string targetDirectory, params string[] options)
    {
        int number = Interlocked.Increment(ref _images);
        string archive = _directory[$"{number}.tar"];
        string name = $"localhost/test/image{number}";
        Tool.Run("tar", "-C", layoutDirectory, "-cf", archive, "oci-layout", "index.json", "blobs").EnsureSuccess();
        Ctr("image", "import", "--no-unpack", "--base-name", name, archive).EnsureSuccess();
        Tool.Run("ctr-remote", ["--address", Socket, "images", "convert", "--oci", .. options, $"{name}:v1", $"{name}-converted:v1"]).EnsureSuccess();
        Ctr("image", "export", archive, $"{name}-converted:v1").EnsureSuccess();
        Directory.CreateDirectory(targetDirectory);
        Tool.Run("tar", "-C", targetDirectory, "-xf", archive).EnsureSuccess();
    }

    public void Dispose()
    {
        foreach (string target in _mounted)
        {
            Tool.Run("umount", target);
        }
        _daemon.Dispose();
        _directory.Dispose();
    }

    /// <summary>ctr(1) against this containerd.</summary>
    public ToolResult Ctr(params string[] arguments) => Tool.Run("ctr", ["--address", Socket, .. arguments]);
}
