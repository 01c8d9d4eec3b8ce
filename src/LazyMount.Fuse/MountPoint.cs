using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using LazyMount.Blobs.Files;

namespace LazyMount.Fuse;

/// <summary>A place where a file system of ours is mounted, from /proc/self/mountinfo.</summary>
/// <param name="Directory">Absolute path.</param>
/// <param name="Source">What it shows, as given when mounting.</param>
/// <param name="Device">Device number of the file system, major:minor: the same for all its places.</param>
public sealed record MountPoint(string Directory, string Source, string Device)
{
    /// <summary>The file system type is fuse, this its subtype.</summary>
    internal const string Subtype = "lazymount";

    internal const string FuseType = "fuse." + Subtype;

    /// <summary>Which file system of the kernel shows it.</summary>
    public MountFace Face => Server is null ? MountFace.Fuse : MountFace.Erofs;

    /// <summary>The process that serves it, where the mount table tells.</summary>
    public int? Pid => Server?.OurPid;

    /// <summary>Of an EROFS mount: who serves it.</summary>
    internal ServingProcess? Server { get; init; }

    /// <summary>A daemon that lives answers statfs from memory; one that takes this long is stuck, but not gone.</summary>
    private static readonly TimeSpan s_probeTime = TimeSpan.FromSeconds(1);

    /// <summary>All LazyMount mounts of this mount namespace. Of several on one directory the uppermost is the last.</summary>
    public static IReadOnlyList<MountPoint> List()
        => [.. MountInfo.ReadAll().Where(mount => mount.Face is not null).GroupBy(mount => mount.Path).SelectMany(there => MountInfo.FromBelow([.. there]))
            .Select(mount => new MountPoint(mount.MountPoint, mount.Image, mount.Device) { Server = mount.Server })];

    /// <summary>The mount that a directory shows, when it is one of ours; else null.</summary>
    public static MountPoint? At(string directory)
        => MountInfo.Find(PathOf(directory)) is { Face: not null } mount && mount.IsReachable() ? new(mount.MountPoint, mount.Image, mount.Device) { Server = mount.Server } : null;

    /// <summary>Whether it shows this image. The mount table has long references of EROFS mounts in a shorter form.</summary>
    public bool Shows(string image) => Server is null ? Source == image : new ErofsSource(Server, Source).ToString() == new ErofsSource(Server, image).ToString();

    /// <summary>Changes what the kernel allows on this mount: programs, setuid bits, devices. It stays read-only.</summary>
    /// <exception cref="FuseException">They may not be changed.</exception>
    public void SetFlags(FuseMountOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (Interop.Mount("none", Directory, "none", Interop.MS_REMOUNT | Interop.MS_BIND | options.MountFlags, "") < 0)
        {
            throw MountFailure.Remount(Directory, Marshal.GetLastPInvokeError());
        }
    }

    /// <summary>
    /// Nobody serves the mount any more: every access to a FUSE mount gives ENOTCONN, and an EROFS mount fails where the kernel has nothing
    /// in its caches. Waits up to a second for a FUSE mount that does not answer, and counts it as alive.
    /// </summary>
    public bool IsDead() => Server?.HasEnded() ?? Probe(Directory) == Interop.ENOTCONN;

    /// <summary>As <see cref="IsDead()"/>, when it was asked already by <see cref="ProbeAll"/>.</summary>
    public bool IsDead(int? answer) => Server?.HasEnded() ?? answer == Interop.ENOTCONN;

    /// <summary>
    /// Unmounts one place from outside the daemon: umount2 as root, else fusermount3 -u. Cleans a dead mount. Throws
    /// <see cref="FuseException"/> when busy (naming the next step), covered by another mount or not a LazyMount mount.
    /// </summary>
    public static void Unmount(string directory, bool lazy)
    {
        string path = PathOf(directory);
        List<MountInfo> there = MountInfo.ReadAll().FindAll(mount => mount.MountPoint == path);
        if (!there.Exists(mount => mount.Face is not null))
        {
            throw MountFailure.NotMounted(directory);
        }
        if (MountInfo.FromBelow(there).Last() is not { Face: not null } uppermost || !uppermost.IsReachable())
        {
            throw MountFailure.Covered(directory);
        }
        if (!TryUnmount(uppermost, lazy, out FuseException? failure))
        {
            throw failure!;
        }
    }

    /// <summary>
    /// Unmounts a file system of ours from all its places in this mount namespace; as <see cref="Unmount"/>.
    /// </summary>
    /// <param name="device">Its device number, major:minor.</param>
    /// <param name="lazy">Detach the places now although they are in use.</param>
    public static void UnmountAll(string device, bool lazy)
    {
        List<MountInfo> left = MountPlaces.Unmount(device, lazy, out FuseException? failure);
        if (failure is not null)
        {
            throw failure;
        }
        if (left.Count > 0)
        {
            throw MountFailure.Covered(left[0].MountPoint);
        }
    }

    /// <summary>
    /// A directory's path as the mount table has it. On a dead mount every look at the directory itself may fail, so that only the
    /// symbolic links above it can be followed.
    /// </summary>
    public static string PathOf(string directory)
    {
        // Nobody may answer for the mount just now.
        if (InTime<string?>([() => RealPath(directory, out _)], null)[0] is { } real)
        {
            return real;
        }
        string full = Path.TrimEndingDirectorySeparator(PathText.FullPath(directory));
        return Path.GetDirectoryName(full) is { } parent && RealPath(parent, out _) is { } realParent ? Path.Combine(realParent, Path.GetFileName(full)) : full;
    }

    /// <summary>A process of another mount namespace in which a file system of ours is mounted, or null when there is none that we may see.</summary>
    /// <param name="device">Device number of the file system, major:minor.</param>
    public static int? FindElsewhere(string device)
    {
        foreach (string process in System.IO.Directory.EnumerateDirectories("/proc"))
        {
            try
            {
                if (int.TryParse(Path.GetFileName(process), out int id)
                    && MountInfo.Parse(File.ReadAllBytes($"{process}/mountinfo")).Exists(mount => mount.Device == device && mount.Face is not null))
                {
                    return id;
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It has ended, or is another user's.
            }
        }
        return null;
    }

    internal static bool TryUnmount(MountInfo place, bool lazy, out FuseException? failure) => TryUnmount(place.MountPoint, place.PathBytes, lazy, out failure);

    internal static bool TryUnmount(string path, bool lazy, out FuseException? failure) => TryUnmount(path, PathText.ToNative(path), lazy, out failure);

    private static bool TryUnmount(string path, byte[] bytes, bool lazy, out FuseException? failure)
    {
        failure = null;
        if (Interop.GetEffectiveUserId() == 0)
        {
            if (Interop.Unmount(bytes, Interop.UMOUNT_NOFOLLOW | (lazy ? Interop.MNT_DETACH : 0)) < 0)
            {
                failure = MountFailure.Unmount(path, Marshal.GetLastPInvokeError());
            }
        }
        else if (!Fusermount.TryUnmount(bytes, lazy, out string stderr))
        {
            failure = MountFailure.FusermountUnmount(path, stderr);
        }
        return failure is null;
    }

    /// <summary>
    /// The error of statfs(2), which always asks the daemon: ENOTCONN from the kernel at once when it is gone. In a thread
    /// of its own that may stay behind, because a daemon that is stuck would hold us as long as it likes.
    /// </summary>
    internal static int Probe(string directory) => InTime([() => StatFs(directory)], 0)[0];

    /// <summary>Asks all mounts at once, and waits no longer than for one.</summary>
    /// <returns>The error number of statfs(2) of each, null for one that did not answer.</returns>
    public static int?[] ProbeAll(IEnumerable<MountPoint> mounts) => InTime<int?>([.. mounts.Select(mount => (Func<int?>)(() => StatFs(mount.Directory)))], null);

    private static unsafe int StatFs(string directory)
    {
        byte* result = stackalloc byte[Interop.StatFsSize];
        return Interop.StatFs(PathText.ToNative(directory), result) < 0 ? Marshal.GetLastPInvokeError() : 0;
    }

    // Each in a thread of its own that may stay behind.
    private static T[] InTime<T>(Func<T>[] questions, T otherwise)
    {
        var answers = new StrongBox<T>?[questions.Length];
        Thread[] threads = [.. questions.Select((ask, i) => new Thread(() => Volatile.Write(ref answers[i], new StrongBox<T>(ask()))) { IsBackground = true, Name = "mount-probe" })];
        Array.ForEach(threads, static thread => thread.Start());
        long began = Stopwatch.GetTimestamp();
        foreach (Thread thread in threads)
        {
            TimeSpan left = s_probeTime - Stopwatch.GetElapsedTime(began);
            thread.Join(left > TimeSpan.Zero ? left : TimeSpan.Zero);
        }
        return [.. answers.Select((_, i) => Volatile.Read(ref answers[i]) is { } answer ? answer.Value! : otherwise)];
    }

    internal static unsafe string? RealPath(string path, out int errno)
    {
        byte* resolved = stackalloc byte[Interop.PathMax];
        bool found = Interop.RealPath(PathText.ToNative(path), resolved) != null;
        errno = found ? 0 : Marshal.GetLastPInvokeError();
        return found ? PathText.Decode(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(resolved)) : null;
    }
}
