using System.Text.RegularExpressions;

namespace LazyMount.TestKit;

/// <summary>How a <see cref="NodeMachine"/> is set up.</summary>
public sealed record NodeSettings
{
    /// <summary>Lines for the configuration of lazymount-node, before and in its tables.</summary>
    public string Configuration { get; init; } = "";

    /// <summary>The CRI plugin of containerd, with a pause image of this reference; null: there is none.</summary>
    public string? PauseImage { get; init; }

    /// <summary>Puts the root of lazymount-node on a file system in memory of this size ("2m"); null: it is a directory.</summary>
    public string? RootSize { get; init; }

    /// <summary>lazymount-node is a CSI driver, too.</summary>
    public bool HasVolumes { get; init; }

    /// <summary>lazymount-node passes the CRI image service on to containerd.</summary>
    public bool PassesImageService { get; init; }
}

/// <summary>
/// A node: a private containerd whose snapshotter "lazymount" is a lazymount-node of our own, each with its own root, state and socket, and a cache and a state
/// directory of lazymount. Disposing kills it all, its containers too, and unmounts what is left.
/// Binaries: $LAZYMOUNT_NODE_BINARY and $LAZYMOUNT_BINARY, else those in artifacts/bin of the repository.
/// </summary>
public sealed partial class NodeMachine : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly NodeSettings _settings;
    private ServerLog? _node;
    private ServerLog? _containerd;

    public NodeMachine(NodeSettings? settings = null)
    {
        _settings = settings ?? new NodeSettings();
        // Root of a user namespace passes through it.
        Tool.Run("chmod", "711", _directory.Path).EnsureSuccess();
        Environment = new Dictionary<string, string?>
        {
            ["LAZYMOUNT_STATE"] = _directory.CreateDirectory("state"),
            ["LAZYMOUNT_CACHE"] = Cache,
            ["DOCKER_CONFIG"] = _directory.CreateDirectory("docker"),
        };
        if (_settings.RootSize is { } size)
        {
            Tool.Run("mount", "-t", "tmpfs", "-o", $"size={size}", "tmpfs", _directory.CreateDirectory("node")).EnsureSuccess();
        }
        WriteNodeConfiguration(_settings.Configuration);
        WriteContainerdConfiguration();
        StartNode();
        StartContainerd();
    }

    /// <summary>lazymount-node.</summary>
    public static string Binary { get; } = System.Environment.GetEnvironmentVariable("LAZYMOUNT_NODE_BINARY") is { Length: > 0 } binary
        ? Path.GetFullPath(binary)
        : Path.Combine(RepositoryRoot.Path, "artifacts", "bin", "lazymount-node");

    /// <summary>What lazymount-node and lazymount have in their environment besides ours.</summary>
    public Dictionary<string, string?> Environment { get; }

    /// <summary>Where all of it is.</summary>
    public string Directory => _directory.Path;

    public string Cache => _directory["cache"];

    public string Root => _directory["node"];

    public string Socket => _directory["node.sock"];

    public string ContainerdSocket => _directory["containerd.sock"];

    public string NodeConfiguration => _directory["node.toml"];

    public string DockerConfigDirectory => Environment["DOCKER_CONFIG"]!;

    /// <summary>What lazymount-node has logged.</summary>
    public string Log => _directory["node.log"] is var log && File.Exists(log) ? File.ReadAllText(log) : "";

    public string ContainerdLog => File.ReadAllText(_directory["containerd.log"]);

    /// <summary>The socket of the CSI driver, and that by which it registers with a kubelet.</summary>
    public string CsiSocket => _directory["csi.sock"];

    public string CsiRegistration => _directory["reg.sock"];

    /// <summary>Where volumes of pods are.</summary>
    public string KubeletDirectory => _directory["kubelet"];

    /// <summary>A directory for the test's files.</summary>
    public string NewDirectory(string name) => _directory.CreateDirectory(name);

    /// <summary>Process numbers, for tests that kill.</summary>
    public int NodeProcess => _node!.ProcessId;

    public int ContainerdProcess => _containerd!.ProcessId;

    public void WriteNodeConfiguration(string more) => File.WriteAllText(NodeConfiguration, $"""
        socket = "{Socket}"
        root = "{Root}"
        program = "{LazyMountCli.Binary}"
        verbose = true
        {more}
        {(_settings.HasVolumes ? $"[csi]\nsocket = \"{CsiSocket}\"\nregistration = \"{CsiRegistration}\"\nkubelet_dir = \"{KubeletDirectory}\"\nnode_id = \"node-7\"" : "")}
        {(_settings.PassesImageService ? $"[cri]\nimage_service = \"{ContainerdSocket}\"" : "")}
        """);

    /// <summary>Starts lazymount-node and waits until it serves.</summary>
    public void StartNode()
    {
        _node = ServerLog.Start(Binary, ["serve", "--config", NodeConfiguration], Environment, _directory["node.log"]);
        Wait(() => File.Exists(Socket) && CanConnect(Socket), _node);
        if (_containerd is not null)
        {
            // Its connection is made again a moment later.
            WaitFor(() => Ctr("snapshots", "--snapshotter", "lazymount", "ls").ExitCode == 0, "containerd reaches lazymount-node");
        }
    }

    public void StartContainerd()
    {
        _containerd = ServerLog.Start("containerd", ["--config", _directory["containerd.toml"]], Environment, _directory["containerd.log"]);
        Wait(() => Ctr("version").ExitCode == 0, _containerd);
    }

    /// <summary>SIGKILL, and waits for the end.</summary>
    public void KillNode() => Kill(ref _node, 9);

    /// <summary>SIGTERM, and waits for the end.</summary>
    public void StopNode() => Kill(ref _node, 15);

    /// <summary>Kills containerd, and lets it forget all images and snapshots; their content stays.</summary>
    public void MakeContainerdForget()
    {
        KillContainerd();
        System.IO.Directory.Delete(_directory["containerd/io.containerd.metadata.v1.bolt"], recursive: true);
        StartContainerd();
    }

    public void KillContainerd() => Kill(ref _containerd, 9);

    public ToolResult Ctr(params string[] arguments) => Tool.Run("ctr", ["--address", ContainerdSocket, .. arguments]);

    /// <summary>Pulls without the layers, as a client that speaks to remote snapshotters does.</summary>
    public ToolResult PullLazily(string image, string ns = "default", string? user = null)
        => Tool.Run("ctr-remote", ["--address", ContainerdSocket, "--namespace", ns, "images", "rpull", "--plain-http", "--snapshotter", "lazymount", .. user is null ? (string[])[] : ["--user", user], image]);

    /// <summary>Pulls as usual, into our snapshotter.</summary>
    public ToolResult Pull(string image, string ns = "default")
        => Ctr("--namespace", ns, "images", "pull", "--plain-http", "--snapshotter", "lazymount", image);

    /// <summary>What a container of this machine is called: runc keeps all containers of all machines in one directory.</summary>
    public string Name(string id) => $"{id}-{System.IO.Path.GetFileName(_directory.Path)[^6..]}";

    /// <summary>Runs a container to its end.</summary>
    public ToolResult Run(string image, string id, params string[] command) => RunIn("default", image, id, command);

    public ToolResult RunIn(string ns, string image, string id, params string[] command)
        => Ctr(["--namespace", ns, "run", "--rm", "--snapshotter", "lazymount", image, Name(id), .. command]);

    /// <summary>Starts a container that goes on.</summary>
    public void Start(string image, string id, params string[] command)
        => Ctr(["run", "--detach", "--snapshotter", "lazymount", image, Name(id), .. command]).EnsureSuccess();

    /// <summary>Runs a command in a container that goes on.</summary>
    public ToolResult Exec(string id, params string[] command) => Ctr(["task", "exec", "--exec-id", $"e{Guid.NewGuid():N}"[..12], Name(id), .. command]);

    /// <summary>Kills a container and removes it.</summary>
    public void Remove(string id)
    {
        id = Name(id);
        Ctr("task", "kill", "--signal", "9", id);
        for (int attempt = 0; attempt < 200 && Ctr("task", "rm", id).ExitCode != 0 && Ctr("task", "ls", "-q").Output.Split('\n').Contains(id); attempt++)
        {
            Thread.Sleep(25);
        }
        Ctr("container", "rm", id);
    }

    /// <summary>The directories on which images are mounted for containers.</summary>
    public IReadOnlyList<string> ImageMounts => [.. Mounts().Where(mount => mount.StartsWith(Root + "/", StringComparison.Ordinal) && mount.EndsWith("/image", StringComparison.Ordinal))];

    /// <summary>Waits for something that comes soon.</summary>
    public static void WaitFor(Func<bool> condition, string what)
    {
        for (int attempt = 0; !condition(); attempt++)
        {
            if (attempt > 600)
            {
                throw new TimeoutException($"not after 30 s: {what}");
            }
            Thread.Sleep(50);
        }
    }

    public void Dispose()
    {
        foreach (string ns in Ctr("namespace", "ls", "-q").Output.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            foreach (string task in Ctr("--namespace", ns, "task", "ls", "-q").Output.Split('\n', StringSplitOptions.RemoveEmptyEntries))
            {
                Ctr("--namespace", ns, "task", "rm", "--force", task);
            }
        }
        Kill(ref _containerd, 9);
        Kill(ref _node, 9);
        foreach (string process in System.IO.Directory.EnumerateDirectories("/proc"))
        {
            // Shims of containers that could not be ended.
            if (int.TryParse(System.IO.Path.GetFileName(process), out int id) && TryRead($"{process}/cmdline") is { } command && command.Contains("containerd-shim", StringComparison.Ordinal) && command.Contains(ContainerdSocket, StringComparison.Ordinal))
            {
                _ = Interop.Kill(id, 9);
            }
        }
        foreach (string mount in Mounts().Where(mount => mount.StartsWith(_directory.Path + "/", StringComparison.Ordinal)).Reverse())
        {
            Tool.Run("umount", "--lazy", mount);
        }
        _directory.Dispose();
    }

    private void WriteContainerdConfiguration()
    {
        string cri = _settings.PauseImage is null ? """disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.devmapper"]""" : "";
        string criTable = _settings.PauseImage is not { } pause ? "" : $"""
            [plugins."io.containerd.grpc.v1.cri"]
              sandbox_image = "{pause}"
              disable_apparmor = true
              restrict_oom_score_adj = true
              [plugins."io.containerd.grpc.v1.cri".cni]
                bin_dir = "/usr/lib/cni"
                conf_dir = "{_directory["cni"]}"
              [plugins."io.containerd.grpc.v1.cri".containerd]
                snapshotter = "lazymount"
                disable_snapshot_annotations = false
                [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
                  runtime_type = "io.containerd.runc.v2"
            """;
        File.WriteAllText(_directory["containerd.toml"], $"""
            version = 2
            root = "{_directory["containerd"]}"
            state = "{_directory["run"]}"
            {cri}
            [grpc]
              address = "{ContainerdSocket}"
            [ttrpc]
              address = "{_directory["ttrpc.sock"]}"
            [plugins."io.containerd.internal.v1.opt"]
              path = "{_directory["opt"]}"
            [plugins."io.containerd.gc.v1.scheduler"]
              mutation_threshold = 1
              schedule_delay = "0ms"
              startup_delay = "100ms"
            {criTable}
            [proxy_plugins]
              [proxy_plugins.lazymount]
                type = "snapshot"
                address = "{Socket}"
            """);
    }

    private static void Kill(ref ServerLog? server, int signal)
    {
        server?.End(signal);
        server = null;
    }

    private static void Wait(Func<bool> isReady, ServerLog server)
    {
        for (int attempt = 0; !isReady(); attempt++)
        {
            if (server.HasExited || attempt > 400)
            {
                throw new InvalidOperationException($"a server does not start:\n{server.Text}");
            }
            Thread.Sleep(25);
        }
    }

    private static bool CanConnect(string path)
    {
        using var socket = new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.Unix, System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Unspecified);
        try
        {
            socket.Connect(new System.Net.Sockets.UnixDomainSocketEndPoint(path));
            return true;
        }
        catch (System.Net.Sockets.SocketException)
        {
            return false;
        }
    }

    private static string? TryRead(string file)
    {
        try
        {
            return File.ReadAllText(file);
        }
        catch (IOException)
        {
            return null; // it has ended
        }
    }

    private static List<string> Mounts() => [.. File.ReadLines("/proc/self/mounts").Select(line => Octal().Replace(line.Split(' ')[1], match => $"{(char)Convert.ToInt32(match.Groups[1].Value, 8)}"))];

    [GeneratedRegex(@"\\(\d{3})")]
    private static partial Regex Octal();

    /// <summary>A server whose output goes to a file.</summary>
    private sealed class ServerLog(Tool tool, string log)
    {
        public int ProcessId => tool.ProcessId;

        public bool HasExited => tool.HasExited;

        public string Text => File.Exists(log) ? File.ReadAllText(log) : "";

        public static ServerLog Start(string program, string[] arguments, IReadOnlyDictionary<string, string?> environment, string log)
            => new(Tool.Start("bash", ["-c", "exec \"$@\" >>\"$0\" 2>&1", log, program, .. arguments], environment), log);

        public void End(int signal)
        {
            tool.Signal(signal);
            for (int attempt = 0; attempt < 400 && !tool.HasExited; attempt++)
            {
                Thread.Sleep(25);
            }
            tool.Dispose();
        }
    }
}
