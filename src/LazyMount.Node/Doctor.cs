using LazyMount.Node.Configuration;
using LazyMount.Node.Mounting;

namespace LazyMount.Node;

/// <summary>`lazymount-node doctor`: what this machine lacks, and how to get it.</summary>
internal static class Doctor
{
    /// <summary>Writes a line for each check.</summary>
    /// <returns>False when the service cannot work.</returns>
    public static async Task<bool> RunAsync(NodeConfiguration configuration, TextWriter output)
    {
        bool works = true;
        void Say(bool? good, string what)
        {
            output.WriteLine($"{(good switch { true => "ok     ", false => "missing", _ => "note   " })} {what}");
            works &= good != false;
        }

        Say(Environment.IsPrivilegedProcess, "root: the service mounts images for containerd");
        string program = new ImageMounts(configuration, new([], Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance), new(), Microsoft.Extensions.Logging.Abstractions.NullLogger<ImageMounts>.Instance).Program;
        try
        {
            (int exitCode, string version, _) = await Helper.RunAsync(program, ["--version"], null, CancellationToken.None);
            Say(exitCode == 0, $"the program '{program}': {version.Trim()}");
            (exitCode, string report, _) = await Helper.RunAsync(program, ["doctor"], null, CancellationToken.None);
            Say(exitCode == 0, exitCode == 0 ? $"'{program} doctor' finds nothing that is missing" : $"'{program} doctor' says:\n{report}");
        }
        catch (IOException)
        {
            Say(false, $"the program '{program}': install lazymount, or set program");
        }
        Say(File.ReadLines("/proc/filesystems").Any(line => line.EndsWith("\toverlay", StringComparison.Ordinal)) ? true : null, "overlayfs in the kernel (modprobe overlay)");
        string parent = configuration.Root;
        while (!Directory.Exists(parent))
        {
            parent = Path.GetDirectoryName(parent)!;
        }
        Say(Blobs.Files.OwnedDirectory.MayWrite(parent), $"the root '{configuration.Root}' can be written");
        string type = new DriveInfo(parent).DriveFormat;
        Say(type is not ("overlay" or "overlayfs" or "nfs" or "fuse"), $"the file system of the root is {type}: overlayfs writes to ext4, xfs, btrfs and tmpfs");
        Say(File.Exists(configuration.Socket) ? true : null, $"the socket '{configuration.Socket}'{(File.Exists(configuration.Socket) ? " is there" : ": nobody serves; systemctl start lazymount-node")}");
        CheckContainerd(configuration, Say);
        return works;
    }

    private static void CheckContainerd(NodeConfiguration configuration, Action<bool?, string> say)
    {
        const string File = "/etc/containerd/config.toml";
        if (!System.IO.File.Exists(File))
        {
            say(null, $"containerd's configuration '{File}' is not there: the plugin must be in the one that is used");
            return;
        }
        string text = System.IO.File.ReadAllText(File);
        bool hasPlugin = text.Contains(configuration.Socket, StringComparison.Ordinal);
        say(hasPlugin ? true : null, hasPlugin ? $"'{File}' names the socket" : $"'{File}' does not name the socket '{configuration.Socket}': add [proxy_plugins.lazymount] (docs/containerd.md)");
        if (hasPlugin && text.Contains("disable_snapshot_annotations = true", StringComparison.Ordinal))
        {
            say(false, $"'{File}' says disable_snapshot_annotations = true: containerd then does not tell which image a layer is of; set it to false");
        }
    }
}
