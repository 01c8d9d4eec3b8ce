using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using LazyMount.Node.Snapshots;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Node.Mounting;

/// <summary>Which ids of an image are which of the host, in a container that has a user namespace: lines of uid_map and gid_map (user_namespaces(7)).</summary>
internal sealed record IdMapping(string Users, string Groups)
{
    private const string UserLabel = "containerd.io/snapshot/uidmapping", GroupLabel = "containerd.io/snapshot/gidmapping";

    private const int MostRanges = 340; // the kernel's

    private static readonly TimeSpan s_namespaceComes = TimeSpan.FromSeconds(10);

    /// <summary>What labels ask for: "CONTAINER:HOST:COUNT", several divided by commas. Null when they ask for nothing.</summary>
    /// <exception cref="SnapshotException">They cannot be understood. They are never ignored: all files would be nobody's.</exception>
    public static IdMapping? Of(IReadOnlyDictionary<string, string> labels)
    {
        string? users = labels.GetValueOrDefault(UserLabel), groups = labels.GetValueOrDefault(GroupLabel);
        return users is null && groups is null ? null : new IdMapping(Lines(UserLabel, users), Lines(GroupLabel, groups));
    }

    /// <summary>Mounts a directory, with whatever is mounted on it, on another with these ids.</summary>
    /// <exception cref="SnapshotException">It cannot be done here; says why in a sentence.</exception>
    public async Task MountAsync(string directory, string target, CancellationToken cancellationToken)
    {
        // A user namespace is made by a process that begins in it. Only its descriptor is needed.
        using var process = Start();
        try
        {
            using SafeFileHandle space = await EnterAsync(process, cancellationToken);
            if (Interop.MountIdMapped(directory, space, target) is { } error)
            {
                throw Cannot(directory, new Win32Exception(error).Message);
            }
        }
        finally
        {
            process.Kill();
            await process.WaitForExitAsync(CancellationToken.None);
        }
    }

    private static Process Start()
    {
        try
        {
            return Process.Start(new ProcessStartInfo("unshare", ["--user", "cat"]) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        }
        catch (Win32Exception e)
        {
            throw new SnapshotException(Grpc.Core.StatusCode.FailedPrecondition, $"cannot map the ids of a container: 'unshare' cannot be started: {e.Message}; install util-linux", e);
        }
    }

    private async Task<SafeFileHandle> EnterAsync(Process process, CancellationToken cancellationToken)
    {
        string place = string.Create(CultureInfo.InvariantCulture, $"/proc/{process.Id}");
        string? ours = File.ResolveLinkTarget("/proc/self/ns/user", false)?.Name;
        long began = Stopwatch.GetTimestamp();
        try
        {
            while (File.ResolveLinkTarget($"{place}/ns/user", false)?.Name == ours)
            {
                if (process.HasExited || Stopwatch.GetElapsedTime(began) > s_namespaceComes)
                {
                    throw new SnapshotException(Grpc.Core.StatusCode.FailedPrecondition, "cannot map the ids of a container: this kernel makes no user namespaces; see user.max_user_namespaces");
                }
                await Task.Delay(2, cancellationToken);
            }
            await File.WriteAllTextAsync($"{place}/uid_map", Users, cancellationToken);
            await File.WriteAllTextAsync($"{place}/gid_map", Groups, cancellationToken);
            return File.OpenHandle($"{place}/ns/user");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SnapshotException(Grpc.Core.StatusCode.FailedPrecondition, $"cannot map the ids of a container: the kernel refuses the ranges {Users.ReplaceLineEndings(", ")}: {e.Message}", e);
        }
    }

    private static SnapshotException Cannot(string directory, string reason)
        => new(Grpc.Core.StatusCode.FailedPrecondition, $"cannot map the ids of '{directory}': {reason}; run the container without a user namespace, or on Linux 6.12 or later");

    private static string Lines(string label, string? text)
    {
        string[] ranges = text?.Split(',') ?? [];
        foreach (string range in ranges)
        {
            if (range.Split(':') is not [var inside, var outside, var count] || !IsId(inside) || !IsId(outside) || !IsId(count) || count == "0")
            {
                ranges = [];
                break;
            }
        }
        return ranges.Length is > 0 and <= MostRanges
            ? string.Join('\n', ranges.Select(range => range.Replace(':', ' ')))
            : throw SnapshotException.Invalid($"cannot map the ids of a container: the label {label} is '{text}', and not CONTAINER:HOST:COUNT");

        static bool IsId(string text) => uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out _);
    }
}
