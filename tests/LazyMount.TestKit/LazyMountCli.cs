using System.Text.Json;

namespace LazyMount.TestKit;

/// <summary>
/// The lazymount binary as a user runs it, with a cache, a state directory and mount points of its own. Disposing
/// unmounts everything. Binary: $LAZYMOUNT_BINARY, else artifacts/bin/lazymount of the repository.
/// </summary>
public sealed class LazyMountCli : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly List<string> _mountPoints = [];

    public LazyMountCli()
    {
        Environment = new Dictionary<string, string?>
        {
            ["LAZYMOUNT_CACHE"] = _directory["cache"],
            ["LAZYMOUNT_STATE"] = _directory.CreateDirectory("state"),
            ["DOCKER_CONFIG"] = _directory.CreateDirectory("docker"),
        };
    }

    public static string Binary { get; } = FindBinary();

    /// <summary>What its runs have in their environment besides ours.</summary>
    public Dictionary<string, string?> Environment { get; }

    public string CacheDirectory { get => Environment["LAZYMOUNT_CACHE"]!; set => Environment["LAZYMOUNT_CACHE"] = value; }

    public string StateDirectory => Environment["LAZYMOUNT_STATE"]!;

    public string DockerConfigDirectory => Environment["DOCKER_CONFIG"]!;

    /// <summary>A directory for the test's files, gone with this object.</summary>
    public TemporaryDirectory Directory => _directory;

    public ToolResult Run(params string[] arguments)
    {
        using Tool tool = Start(arguments);
        return tool.WaitForExit();
    }

    public Tool Start(params string[] arguments) => Tool.Start(Binary, arguments, Environment);

    /// <summary>An empty directory; unmounted at the end.</summary>
    public string NewMountPoint()
    {
        string directory = _directory.CreateDirectory($"mnt{_mountPoints.Count}");
        _mountPoints.Add(directory);
        return directory;
    }

    /// <summary>Mounts in the background; returns the mount point.</summary>
    public string Mount(string image, params string[] options)
    {
        string directory = NewMountPoint();
        Run(["mount", .. options, image, directory]).EnsureSuccess();
        return directory;
    }

    /// <summary>Whether the kernel has a mount there.</summary>
    public static bool IsMounted(string directory) => File.ReadLines("/proc/self/mounts").Any(line => line.Split(' ')[1] == directory);

    /// <summary>The keepers of what is mounted on <paramref name="directory"/>: the processes that stand for mounts. Found without any tool's help.</summary>
    public static int[] DaemonsOf(string directory) => ProcessesOf(directory, isKeeper: true);

    /// <summary>The processes that serve what is mounted on a directory.</summary>
    public static int[] WorkersOf(string directory) => ProcessesOf(directory, isKeeper: false);

    /// <summary>What `list --json` says of each mount.</summary>
    public JsonElement[] Listed() => [.. JsonDocument.Parse(Run("list", "--json").EnsureSuccess().Output).RootElement.EnumerateArray()];

    /// <summary>What it says of one.</summary>
    public JsonElement Listed(string directory) => Listed().Single(mount => mount.GetProperty("mountPoint").GetString() == directory);

    /// <summary>Sends a signal by its name without SIG.</summary>
    public static void Kill(int process, string signal) => Tool.Run("kill", "-" + signal, $"{process}");

    /// <summary>Kills the processes that serve what is mounted on a directory, not the keeper.</summary>
    public static void KillWorkersOf(string directory) => Array.ForEach(WorkersOf(directory), worker => Kill(worker, "KILL"));

    /// <summary>Kills all processes of a mount, the keeper first.</summary>
    public static void KillAllOf(string directory)
    {
        // Again and again: one may begin just now.
        while ((int[])[.. DaemonsOf(directory), .. WorkersOf(directory)] is { Length: > 0 } processes)
        {
            Array.ForEach(processes, process => _ = Interop.Kill(process, 9));
            Thread.Sleep(5);
        }
    }

    private static int[] ProcessesOf(string directory, bool isKeeper)
    {
        var processes = new List<int>();
        foreach (string process in System.IO.Directory.EnumerateDirectories("/proc"))
        {
            try
            {
                if (int.TryParse(Path.GetFileName(process), out int id)
                    && Path.GetFileName(File.ReadAllText($"{process}/cmdline").Split('\0')[0]) == "lazymount"
                    && File.ReadAllText($"{process}/cmdline").Split('\0') is [_, "daemon", ..] words && words.Contains(directory) && words.Contains("keep") == isKeeper)
                {
                    processes.Add(id);
                }
            }
            catch (IOException)
            {
                // It has ended meanwhile.
            }
        }
        return [.. processes];
    }

    public void Dispose()
    {
        foreach (string directory in _mountPoints.Where(IsMounted))
        {
            if (Run("umount", directory).ExitCode != 0)
            {
                Tool.Run("umount", "--lazy", directory);
            }
        }
        _directory.Dispose();
    }

    private static string FindBinary()
    {
        if (System.Environment.GetEnvironmentVariable("LAZYMOUNT_BINARY") is { Length: > 0 } binary)
        {
            return Path.GetFullPath(binary);
        }
        return Path.Combine(RepositoryRoot.Path, "artifacts", "bin", "lazymount");
    }
}
