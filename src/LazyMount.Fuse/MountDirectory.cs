using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using LazyMount.Blobs.Files;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Fuse;

/// <summary>
/// The directory that a mount is to cover. It is opened once; the checks, the lock and the mount itself go through the open file, so
/// that a directory or link that is put in the place of its path meanwhile is never covered. The lock keeps two processes from mounting
/// on it at once; it goes with the last descriptor, and the descriptor may be handed to a child process.
/// </summary>
public sealed class MountDirectory : IDisposable
{
    // A mount command that was killed ends a moment after its end is seen; one that has just mounted lets go soon.
    private static readonly TimeSpan s_othersLetGo = TimeSpan.FromSeconds(2);

    private MountDirectory(SafeFileHandle handle) => Handle = handle;

    /// <summary>The open directory. Belongs to this object.</summary>
    public SafeFileHandle Handle { get; }

    /// <summary>A path that leads to the open directory whatever happens to its name.</summary>
    internal string DescriptorPath => string.Create(CultureInfo.InvariantCulture, $"/proc/self/fd/{Handle.DangerousGetHandle()}");

    /// <summary>Absolute, without symbolic links, as the mount table shows it: the directory's path of this moment.</summary>
    public unsafe string Path
    {
        get
        {
            byte* target = stackalloc byte[Interop.PathMax];
            nint length = Interop.ReadLink(PathText.ToNative(DescriptorPath), target, Interop.PathMax);
            return length > 0 ? PathText.Decode(new ReadOnlySpan<byte>(target, (int)length)) : DescriptorPath;
        }
    }

    /// <summary>
    /// Opens, checks and locks a directory. Throws <see cref="FuseException"/> with the reason when it cannot be mounted on: it is
    /// missing, not a directory, not empty, or a mount already (alive or dead), or another process is about to mount on it.
    /// </summary>
    public static MountDirectory Open(string directory)
    {
        string? path = MountPoint.RealPath(directory, out int errno);
        if (path is null)
        {
            // The path of a dead mount cannot be resolved on every system.
            Check(MountInfo.Find(MountPoint.PathOf(directory)), directory);
            throw errno switch
            {
                Interop.ENOTCONN => MountFailure.DeadForeign(directory),
                Interop.ENOENT => MountFailure.Missing(directory),
                Interop.ENOTDIR => MountFailure.NotDirectory(directory),
                _ => MountFailure.Unreadable(directory, errno),
            };
        }

        // Not yet for reading: a mount that does not answer must not be asked for anything.
        using SafeFileHandle place = Interop.Open(path, Interop.O_PATH | Interop.O_DIRECTORY | Interop.O_NOFOLLOW | Interop.O_CLOEXEC);
        errno = Marshal.GetLastPInvokeError();
        if (place.IsInvalid)
        {
            throw errno switch
            {
                Interop.ENOENT => MountFailure.Missing(directory),
                Interop.ENOTDIR or Interop.ELOOP => MountFailure.NotDirectory(directory),
                _ => MountFailure.Unreadable(directory, errno),
            };
        }
        int? id = MountInfo.IdOf(place);
        Check(MountInfo.ReadAll().Find(mount => mount.Id == id && mount.MountPoint == path), directory);

        SafeFileHandle handle = Interop.Open(
            string.Create(CultureInfo.InvariantCulture, $"/proc/self/fd/{place.DangerousGetHandle()}"), Interop.O_DIRECTORY | Interop.O_CLOEXEC);
        errno = Marshal.GetLastPInvokeError();
        if (handle.IsInvalid)
        {
            throw MountFailure.Unreadable(directory, errno);
        }
        var opened = new MountDirectory(handle);
        try
        {
            if (opened.LockAfterOthers(directory))
            {
                Check(MountInfo.Find(path), directory);
            }
            opened.EnsureEmpty(directory);
            return opened;
        }
        catch
        {
            opened.Dispose();
            throw;
        }
    }

    /// <summary>The directory that the process which started this one has opened, checked and locked.</summary>
    public static MountDirectory Inherited(int descriptor) => new(new SafeFileHandle(descriptor, ownsHandle: true));

    /// <summary>Checks once more, before mounting: opening an image takes time. Throws <see cref="FuseException"/>.</summary>
    internal void EnsureUsable()
    {
        string path = Path;
        Check(MountInfo.Find(path), path);
        EnsureEmpty(path);
    }

    /// <summary>Unlocks, when no other process has the descriptor.</summary>
    public void Dispose() => Handle.Dispose();

    // Where a mount of ours, or a dead one of others, stands at the directory itself.
    private static void Check(MountInfo? mount, string directory)
    {
        if (mount is null)
        {
            return;
        }
        bool dead = mount.Server?.HasEnded() ?? MountPoint.Probe(mount.MountPoint) == Interop.ENOTCONN;
        if (mount.Face is not null)
        {
            throw dead ? MountFailure.Dead(directory) : MountFailure.AlreadyMounted(directory, mount.Image);
        }
        if (dead)
        {
            throw MountFailure.DeadForeign(directory);
        }
    }

    // True when another process had the lock first.
    private bool LockAfterOthers(string directory)
    {
        // File systems that know no locks, or none of directories, are mounted on without one.
        bool hasWaited = false;
        long began = Stopwatch.GetTimestamp();
        while (Interop.FLock(Handle, Interop.LOCK_EX | Interop.LOCK_NB) < 0 && Marshal.GetLastPInvokeError() == Interop.EAGAIN)
        {
            if (Stopwatch.GetElapsedTime(began) > s_othersLetGo)
            {
                throw MountFailure.BeingMounted(directory);
            }
            hasWaited = true;
            Thread.Sleep(20);
        }
        return hasWaited;
    }

    private void EnsureEmpty(string directory)
    {
        bool empty;
        try
        {
            empty = !Directory.EnumerateFileSystemEntries(DescriptorPath).Any();
        }
        catch (UnauthorizedAccessException)
        {
            throw MountFailure.Unreadable(directory, Interop.EACCES);
        }
        catch (IOException e) when (e.HResult != Interop.EMFILE)
        {
            throw MountFailure.Unreadable(directory, e.Message);
        }
        if (!empty)
        {
            throw MountFailure.NotEmpty(directory);
        }
    }
}
