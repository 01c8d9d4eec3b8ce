using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Node;

/// <summary>System calls that .NET has no name for.</summary>
internal static unsafe partial class Interop
{
    private const string Libc = "libc";

    private const int AtFdCwd = -100, AtEmptyPath = 0x1000;

    // struct statx: stx_mask, stx_blksize, stx_attributes (8 bytes), stx_nlink, stx_uid, stx_gid.
    private const int StatXWords = 64, AttributesAt = 2, UserAt = 5;

    private const uint WantsOwner = 0x18;

    private const uint IsMountRoot = 0x2000;

    /// <summary>Gives a directory the owner and group of another. It stays as it is where that cannot be read.</summary>
    public static void CopyOwner(string from, string to)
    {
        uint* result = stackalloc uint[StatXWords];
        if (StatX(AtFdCwd, from, 0, WantsOwner, result) == 0)
        {
            _ = ChangeOwner(to, result[UserAt], result[UserAt + 1]);
        }
    }

    /// <summary>Whether something is mounted on a directory. Asks a FUSE file system for its root's attributes, so that one that is dead does not count.</summary>
    public static bool IsMounted(string directory)
    {
        uint* result = stackalloc uint[StatXWords];
        return StatX(AtFdCwd, directory, 0, WantsOwner, result) == 0 && (result[AttributesAt] & IsMountRoot) != 0;
    }

    /// <summary>Mounts a directory on another with the ids of a user namespace. Null, or the error number.</summary>
    public static int? MountIdMapped(string directory, SafeFileHandle userNamespace, string target)
    {
        // The same numbers on all architectures. struct mount_attr: attr_set, attr_clr, propagation, userns_fd.
        const nint OpenTree = 428, MoveMount = 429, MountSetAttributes = 442;
        const int Clone = 1, CloseOnExec = 0x80000, FromEmptyPath = 4, AttributesSize = 32;
        const ulong IdMap = 0x100000;
        byte[] path = System.Text.Encoding.UTF8.GetBytes(directory + '\0'), to = System.Text.Encoding.UTF8.GetBytes(target + '\0');
        byte empty = 0;
        fixed (byte* pathBytes = path, toBytes = to)
        {
            using var tree = new SafeFileHandle(SystemCall(OpenTree, AtFdCwd, (nint)pathBytes, Clone | CloseOnExec, 0, 0), ownsHandle: true);
            if (tree.IsInvalid)
            {
                return Marshal.GetLastPInvokeError();
            }
            ulong* attributes = stackalloc ulong[AttributesSize / sizeof(ulong)];
            (attributes[0], attributes[1], attributes[2], attributes[3]) = (IdMap, 0, 0, (ulong)userNamespace.DangerousGetHandle());
            return SystemCall(MountSetAttributes, tree.DangerousGetHandle(), (nint)(&empty), AtEmptyPath, (nint)attributes, AttributesSize) < 0
                || SystemCall(MoveMount, tree.DangerousGetHandle(), (nint)(&empty), AtFdCwd, (nint)toBytes, FromEmptyPath) < 0 ? Marshal.GetLastPInvokeError() : null;
        }
    }

    /// <summary>Mounts a directory on another, too.</summary>
    /// <returns>Null, or the error number.</returns>
    public static int? Bind(string directory, string target, bool isReadOnly)
    {
        const nuint BindFlag = 4096, Recursive = 16384, Remount = 32, ReadOnly = 1;
        return Mount(directory, target, "none", BindFlag | Recursive, "") < 0 || (isReadOnly && Mount("none", target, "none", BindFlag | Remount | ReadOnly, "") < 0)
            ? Marshal.GetLastPInvokeError() : null;
    }

    /// <summary>Mounts an overlay.</summary>
    /// <returns>Null, or the error number.</returns>
    public static int? MountOverlay(string target, string options) => Mount("overlay", target, "overlay", 0, options) < 0 ? Marshal.GetLastPInvokeError() : null;

    /// <summary>Takes the uppermost mount off a directory; programs that use it go on.</summary>
    /// <returns>False when there is none.</returns>
    public static bool Detach(string directory)
    {
        const int DetachFlag = 2, NoFollow = 8;
        return UnmountCall(directory, DetachFlag | NoFollow) == 0;
    }

    /// <summary>Sizes of the file system that a directory is of; null when it does not tell.</summary>
    public static (long Bytes, long FreeBytes, long Files, long FreeFiles)? UsageOf(string directory)
    {
        // struct statfs on 64 bits: f_type, f_bsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree.
        long* result = stackalloc long[32];
        if (StatFs(directory, result) < 0)
        {
            return null;
        }
        // EROFS says that it has as many free inodes as a number can tell.
        (long files, long freeFiles) = result[5] < 0 ? (result[5] - result[6], 0) : (result[5], result[6]);
        return (result[2] * result[1], result[4] * result[1], files, freeFiles);
    }

    /// <summary>What a file mask takes from everybody but the owner, and execution: 0177.</summary>
    public const int OwnerOnlyMask = 0x7F;

    /// <summary>umask(2); returns the one before.</summary>
    [LibraryImport(Libc, EntryPoint = "umask")]
    public static partial int SetFileMask(int mask);

    [LibraryImport(Libc, EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int StatX(int directory, string path, int flags, uint mask, uint* result);

    [LibraryImport(Libc, EntryPoint = "statfs", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int StatFs(string path, long* result);

    [LibraryImport(Libc, EntryPoint = "lchown", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ChangeOwner(string path, uint user, uint group);

    [LibraryImport(Libc, EntryPoint = "mount", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Mount(string source, string target, string type, nuint flags, string data);

    [LibraryImport(Libc, EntryPoint = "umount2", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int UnmountCall(string target, int flags);

    [LibraryImport(Libc, EntryPoint = "syscall", SetLastError = true)]
    private static partial nint SystemCall(nint number, nint a, nint b, nint c, nint d, nint e);
}
