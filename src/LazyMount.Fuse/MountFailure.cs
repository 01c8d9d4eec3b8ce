using System.Runtime.InteropServices;

namespace LazyMount.Fuse;

/// <summary>All error messages of mounting and unmounting: the directory, the reason, the next step.</summary>
internal static class MountFailure
{
    private const string Container = "or run the container with --device /dev/fuse --cap-add SYS_ADMIN";

    public static FuseException Device(int errno) => new(errno switch
    {
        Interop.ENOENT or Interop.ENODEV or Interop.ENXIO
            => $"cannot open '/dev/fuse': there is no such device; load the kernel module with modprobe fuse, {Container}",
        Interop.EACCES or Interop.EPERM
            => $"cannot open '/dev/fuse': permission denied; run as root, {Container}",
        _ => $"cannot open '/dev/fuse': {Describe(errno)}; see dmesg",
    });

    public static FuseException Mount(string directory, int errno) => new(errno switch
    {
        Interop.EPERM or Interop.EACCES
            => $"cannot mount on '{directory}': the system does not permit it; run as root, {Container}",
        Interop.ENODEV => $"cannot mount on '{directory}': the kernel has no FUSE; load it with modprobe fuse",
        Interop.ENOENT => $"cannot mount on '{directory}': it was removed, or the file system that it stands in was unmounted; make it again with mkdir -p '{directory}'",
        Interop.EBUSY => $"cannot mount on '{directory}': it is busy; choose another directory",
        Interop.ENOSPC => $"cannot mount on '{directory}': there are too many mounts; raise the limit of a mount namespace with sysctl fs.mount-max=N",
        _ => $"cannot mount on '{directory}': {Describe(errno)}; see dmesg",
    });

    /// <param name="reason">A clause.</param>
    public static FuseException NoErofs(string reason)
        => new($"cannot mount as EROFS: {reason}; mount with --as fuse") { IsWithoutErofs = true };

    /// <summary>
    /// A mount without a place is not given one. Security modules and system call filters may refuse move_mount(2) where they allow
    /// mount(2), so FUSE may be had then; what else is in the way is in the way of both.
    /// </summary>
    public static FuseException ErofsPlace(string directory, int errno) => errno switch
    {
        Interop.EPERM or Interop.EACCES or Interop.ENOSYS
            => NoErofs($"the system refuses to give the mount its place at '{directory}' ({Describe(errno)})"),
        // The directory is in no mount of this namespace any more: nothing else is invalid about a mount that never had a place. Linux 6.18
        // says ENOENT then, as for a directory that was removed.
        Interop.EINVAL => Mount(directory, Interop.ENOENT),
        _ => Mount(directory, errno),
    };

    public static FuseException Missing(string directory)
        => new($"cannot mount on '{directory}': it does not exist; make it first with mkdir -p '{directory}'");

    public static FuseException NotDirectory(string directory)
        => new($"cannot mount on '{directory}': it is not a directory; name an empty directory");

    public static FuseException NotEmpty(string directory)
        => new($"cannot mount on '{directory}': it is not empty; name an empty directory");

    public static FuseException Unreadable(string directory, int errno)
        => new($"cannot mount on '{directory}': {Describe(errno)}; name a directory that you own");

    public static FuseException Unreadable(string directory, string reason)
        => new($"cannot mount on '{directory}': {reason}; name an empty directory");

    public static FuseException BeingMounted(string directory)
        => new($"cannot mount on '{directory}': another process is mounting an image there; wait for it, or choose another directory");

    public static FuseException Replaced(string directory)
        => new($"cannot mount on '{directory}': the directory was moved while it was being mounted on; try again");

    public static FuseException AlreadyMounted(string directory, string source)
        => new($"cannot mount on '{directory}': '{source}' is mounted there; unmount it with lazymount umount '{directory}'");

    public static FuseException Dead(string directory)
        => new($"cannot mount on '{directory}': it has a dead mount, whose process is gone; clean up with lazymount umount '{directory}'");

    public static FuseException DeadForeign(string directory)
        => new($"cannot mount on '{directory}': it has a dead mount of another FUSE program; clean up with fusermount3 -u '{directory}'");

    public static FuseException Threads(int errno)
        => new($"cannot serve a mount: {Describe(errno)}; raise the limit of open files with ulimit -n");

    public static FuseException KernelTooOld(uint oldestMinor)
        => new($"cannot mount: the kernel's FUSE protocol is older than 7.{oldestMinor}; Linux 3.15 or later is needed");

    public static FuseException NoInit(string directory, int errno)
        => new($"cannot mount on '{directory}': the kernel did not begin the session ({Describe(errno)}); see dmesg");

    public static FuseException NotResumed(string directory, int errno)
        => new($"cannot go on serving the mount on '{directory}': the kernel refuses to send its requests again ({Describe(errno)}); mount the image again");

    public static FuseException NoFusermount()
        => new("cannot run fusermount3: it is not installed; install it with apt install fuse3, or run as root");

    public static FuseException AllowOtherRefused(string directory)
        => new($"cannot mount on '{directory}': allow_other is refused; add the line user_allow_other to '/etc/fuse.conf', or mount without allow_other");

    /// <summary>The sentence for what fusermount3 wrote when mounting failed.</summary>
    public static FuseException Fusermount(string directory, string stderr)
    {
        if (stderr.Contains("user_allow_other", StringComparison.Ordinal))
        {
            return AllowOtherRefused(directory);
        }
        if (stderr.Contains("device not found", StringComparison.Ordinal))
        {
            return Device(Interop.ENOENT);
        }
        if (stderr.Contains("/dev/fuse: Permission denied", StringComparison.Ordinal))
        {
            return Device(Interop.EACCES);
        }
        if (stderr.Contains("no write access", StringComparison.Ordinal))
        {
            return new($"cannot mount on '{directory}': you may not write to it; name a directory that you own");
        }
        if (stderr.Contains("mount failed: Operation not permitted", StringComparison.Ordinal))
        {
            return Mount(directory, Interop.EPERM);
        }
        return new($"cannot mount on '{directory}': {Reason(stderr)}; run as root, or see fusermount3(1)");
    }

    public static FuseException Busy(string directory)
        => new($"cannot unmount '{directory}': it is busy; end the processes {UsersOf(directory)}, or detach it with lazymount umount -l '{directory}'") { IsBusy = true };

    private static string UsersOf(string directory)
    {
        const int Most = 4;
        string otherwise = $"that fuser -vm '{directory}' shows";
        try
        {
            IReadOnlyList<string> users = MountUsers.Find(directory, Most);
            return users.Count == 0 ? otherwise : $"that use it, {string.Join(", ", users.Take(Most - 1))}{(users.Count == Most ? " and others" : "")}";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return otherwise; // no /proc
        }
    }

    public static FuseException NotMounted(string directory)
        => new($"cannot unmount '{directory}': no image is mounted there; run lazymount list to see all mounts");

    public static FuseException Covered(string directory)
        => new($"cannot unmount '{directory}': another mount covers it; unmount that one first, findmnt shows all");

    public static FuseException Unmount(string directory, int errno) => errno switch
    {
        Interop.EBUSY => Busy(directory),
        Interop.EPERM or Interop.EACCES => new($"cannot unmount '{directory}': permission denied; run as root"),
        _ => new($"cannot unmount '{directory}': {Describe(errno)}; run lazymount list to see all mounts"),
    };

    /// <summary>The sentence for what fusermount3 -u wrote.</summary>
    public static FuseException FusermountUnmount(string directory, string stderr)
    {
        if (stderr.Contains("busy", StringComparison.OrdinalIgnoreCase))
        {
            return Busy(directory);
        }
        return stderr.Contains("not permitted", StringComparison.Ordinal) || stderr.Contains("not found in", StringComparison.Ordinal)
            ? new($"cannot unmount '{directory}': another user mounted it; run as that user or as root")
            : new($"cannot unmount '{directory}': {Reason(stderr)}; run as root, or see fusermount3(1)");
    }

    public static FuseException Remount(string directory, int errno) => new(errno switch
    {
        Interop.EPERM or Interop.EACCES => $"cannot remount '{directory}': permission denied; run as root",
        _ => $"cannot remount '{directory}': {Describe(errno)}; unmount it with lazymount umount '{directory}', and mount it again",
    });

    private static string Reason(string stderr)
    {
        string line = stderr.AsSpan().Trim().ToString();
        int end = line.IndexOf('\n', StringComparison.Ordinal);
        line = end < 0 ? line : line[..end];
        const string Prefix = "fusermount3: ";
        line = line.StartsWith(Prefix, StringComparison.Ordinal) ? line[Prefix.Length..] : line;
        return line.Length == 0 ? "fusermount3 failed without a message" : line;
    }

    private static string Describe(int errno) => Marshal.GetPInvokeErrorMessage(errno);
}
