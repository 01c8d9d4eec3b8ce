using System.Globalization;

namespace LazyMount.TestKit;

/// <summary>A containerd of a test's own, root's only: nothing but its content store and `ctr` are wanted of it.</summary>
public sealed class Containerd : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);
    private readonly TemporaryDirectory _directory = new();
    private readonly Tool _server;

    public Containerd()
    {
        string configuration = _directory["config.toml"];
        File.WriteAllText(configuration, string.Create(CultureInfo.InvariantCulture, $"""
            version = 2
            root = "{_directory["root"]}"
            state = "{_directory["state"]}"
            disabled_plugins = ["io.containerd.grpc.v1.cri"]
            [grpc]
              address = "{Socket}"
            """));
        _server = Tool.Start("containerd", ["--config", configuration, "--log-level", "error"]);
        var clock = System.Diagnostics.Stopwatch.StartNew();
        while (Tool.Run("ctr", "--address", Socket, "version").ExitCode != 0)
        {
            if (_server.HasExited || clock.Elapsed > s_patience)
            {
                throw new InvalidOperationException("containerd does not start");
            }
            Thread.Sleep(50);
        }
    }

    private string Socket => _directory["s"]; // short: socket paths are bounded

    public ToolResult Ctr(params string[] arguments) => Tool.Run("ctr", ["--address", Socket, .. arguments]).EnsureSuccess();

    public void Dispose()
    {
        _server.Signal(15);
        _server.WaitForExit();
        _server.Dispose();
        _directory.Dispose();
    }
}
