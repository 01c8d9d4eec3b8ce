namespace LazyMount.Fuse;

/// <summary>What stands at a mount point of ours, from /proc/self/mountinfo.</summary>
/// <param name="Directory">Absolute path.</param>
/// <param name="Source">The source given when mounting.</param>
/// <param name="IsDead">The daemon is gone: every access gives ENOTCONN.</param>
public sealed record MountPoint(string Directory, string Source, bool IsDead)
{
    /// <summary>All LazyMount mounts of this mount namespace.</summary>
    public static IReadOnlyList<MountPoint> List() => throw new NotImplementedException();

    /// <summary>Checks that a directory can be mounted on, or throws <see cref="FuseException"/> with the reason: missing, not a directory, not empty, already a mount (alive or dead).</summary>
    public static void EnsureUsable(string directory) => throw new NotImplementedException();

    /// <summary>
    /// Unmounts from outside the daemon: umount2 as root, else fusermount3 -u. Cleans a dead mount. Throws
    /// <see cref="FuseException"/> when busy (naming the next step) or not a LazyMount mount.
    /// </summary>
    public static void Unmount(string directory, bool lazy) => throw new NotImplementedException();
}
