using System.Runtime.InteropServices;

namespace LazyMount.Fuse;

/// <summary>What stands at a mount point of ours, from /proc/self/mountinfo.</summary>
/// <param name="Directory">Absolute path.</param>
/// <param name="Source">The source given when mounting.</param>
/// <param name="IsDead">The daemon is gone: every access gives ENOTCONN.</param>
public sealed record MountPoint(string Directory, string Source, bool IsDead)
{
    /// <summary>The file system type is fuse, this its subtype.</summary>
    internal const string Subtype = "lazymount";

    internal const string Type = "fuse." + Subtype;

    /// <summary>A daemon that lives answers statfs from memory; one that takes this long is stuck, but not gone.</summary>
    private static readonly TimeSpan s_probeTime = TimeSpan.FromSeconds(1);

    /// <summary>All LazyMount mounts of this mount namespace.</summary>
    public static IReadOnlyList<MountPoint> List()
        => [.. MountInfo.ReadAll().FindAll(mount => mount.Type == Type).Select(mount => new MountPoint(mount.MountPoint, mount.Source, Probe(mount.MountPoint) == Interop.ENOTCONN))];

    /// <summary>Checks that a directory can be mounted on, or throws <see cref="FuseException"/> with the reason: missing, not a directory, not empty, already a mount (alive or dead).</summary>
    public static void EnsureUsable(string directory) => Resolve(directory);

    /// <summary>
    /// Unmounts from outside the daemon: umount2 as root, else fusermount3 -u. Cleans a dead mount. Throws
    /// <see cref="FuseException"/> when busy (naming the next step) or not a LazyMount mount.
    /// </summary>
    public static void Unmount(string directory, bool lazy)
    {
        string path = RealPath(directory, out _) ?? Path.GetFullPath(directory);
        if (MountInfo.Find(path)?.Type != Type)
        {
            throw MountFailure.NotMounted(directory);
        }
        if (!TryUnmount(path, lazy, out FuseException? failure))
        {
            throw failure!;
        }
    }

    /// <summary><see cref="EnsureUsable"/>, returning the path without symbolic links, as mountinfo will show it.</summary>
    internal static string Resolve(string directory)
    {
        string? path = RealPath(directory, out int errno);
        // A mount that does not answer must not be touched: mountinfo and the probe come first.
        MountInfo? mount = MountInfo.Find(path ?? Path.GetFullPath(directory));
        bool dead = mount is not null && Probe(mount.MountPoint) == Interop.ENOTCONN;
        if (mount?.Type == Type)
        {
            throw dead ? MountFailure.Dead(directory) : MountFailure.AlreadyMounted(directory, mount.Source);
        }
        if (dead || errno == Interop.ENOTCONN)
        {
            throw MountFailure.DeadForeign(directory);
        }
        if (path is null)
        {
            throw errno switch
            {
                Interop.ENOENT => MountFailure.Missing(directory),
                Interop.ENOTDIR => MountFailure.NotDirectory(directory),
                _ => MountFailure.Unreadable(directory, errno),
            };
        }
        if (!System.IO.Directory.Exists(path))
        {
            throw MountFailure.NotDirectory(directory);
        }
        bool empty;
        try
        {
            empty = !System.IO.Directory.EnumerateFileSystemEntries(path).Any();
        }
        catch (UnauthorizedAccessException)
        {
            throw MountFailure.Unreadable(directory, Interop.EACCES);
        }
        return empty ? path : throw MountFailure.NotEmpty(directory);
    }

    internal static bool TryUnmount(string path, bool lazy, out FuseException? failure)
    {
        failure = null;
        if (Interop.GetEffectiveUserId() == 0)
        {
            if (Interop.Unmount(path, Interop.UMOUNT_NOFOLLOW | (lazy ? Interop.MNT_DETACH : 0)) < 0)
            {
                failure = MountFailure.Unmount(path, Marshal.GetLastPInvokeError());
            }
        }
        else if (!Fusermount.TryUnmount(path, lazy, out string stderr))
        {
            failure = MountFailure.FusermountUnmount(path, stderr);
        }
        return failure is null;
    }

    /// <summary>Takes our own mount away whoever uses it; as root the connection is aborted too, so that nobody waits.</summary>
    internal static bool TryDetach(string path) => Interop.GetEffectiveUserId() == 0
        ? Interop.Unmount(path, Interop.UMOUNT_NOFOLLOW | Interop.MNT_FORCE | Interop.MNT_DETACH) == 0
        : Fusermount.TryUnmount(path, lazy: true, out _);

    /// <summary>
    /// The error of statfs(2), which always asks the daemon: ENOTCONN from the kernel at once when it is gone. In a thread
    /// of its own that may stay behind, because a daemon that is stuck would hold us as long as it likes.
    /// </summary>
    private static unsafe int Probe(string directory)
    {
        int errno = 0;
        var thread = new Thread(() =>
        {
            byte* result = stackalloc byte[Interop.StatFsSize];
            errno = Interop.StatFs(directory, result) < 0 ? Marshal.GetLastPInvokeError() : 0;
        })
        { IsBackground = true, Name = "mount-probe" };
        thread.Start();
        return thread.Join(s_probeTime) ? errno : 0;
    }

    private static unsafe string? RealPath(string path, out int errno)
    {
        byte* resolved = stackalloc byte[Interop.PathMax];
        bool found = Interop.RealPath(path, resolved) != null;
        errno = found ? 0 : Marshal.GetLastPInvokeError();
        return found ? Marshal.PtrToStringUTF8((nint)resolved) : null;
    }
}
