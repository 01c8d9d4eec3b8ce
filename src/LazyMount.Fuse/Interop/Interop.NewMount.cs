using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Fuse;

/// <summary>
/// The mount calls of Linux 5.2, which make a mount before it has a place. By number, the same on all architectures: glibc has names for
/// them since 2.36 only.
/// </summary>
internal static unsafe partial class Interop
{
    internal const int FSOPEN_CLOEXEC = 1;
    internal const int FSMOUNT_CLOEXEC = 1;
    internal const uint FSCONFIG_SET_FLAG = 0;
    internal const uint FSCONFIG_SET_STRING = 1;
    internal const uint FSCONFIG_CMD_CREATE = 6;

    internal const int MOUNT_ATTR_RDONLY = 1;
    internal const int MOUNT_ATTR_NOSUID = 2;
    internal const int MOUNT_ATTR_NODEV = 4;
    internal const int MOUNT_ATTR_NOEXEC = 8;

    internal const int CLONE_FS = 0x200;

    private const int MOVE_MOUNT_F_EMPTY_PATH = 0x4;
    private const int MOVE_MOUNT_T_EMPTY_PATH = 0x40;
    private const nint SYS_move_mount = 429;
    private const nint SYS_fsopen = 430;
    private const nint SYS_fsconfig = 431;
    private const nint SYS_fsmount = 432;

    internal static SafeFileHandle FsOpen(string type, int flags)
    {
        fixed (byte* name = System.Text.Encoding.UTF8.GetBytes(type + '\0'))
        {
            return new SafeFileHandle(SystemCall(SYS_fsopen, (nint)name, flags, 0, 0, 0), ownsHandle: true);
        }
    }

    /// <param name="context">What <see cref="FsOpen"/> returned.</param>
    /// <param name="command">FSCONFIG_*.</param>
    /// <param name="key">Zero-terminated, or null.</param>
    /// <param name="value">Zero-terminated and at most 256 bytes, or null.</param>
    internal static int FsConfig(SafeFileHandle context, uint command, byte[]? key, byte[]? value)
    {
        fixed (byte* keyBytes = key, valueBytes = value)
        {
            return (int)SystemCall(SYS_fsconfig, context.DangerousGetHandle(), (nint)command, (nint)keyBytes, (nint)valueBytes, 0);
        }
    }

    internal static SafeFileHandle FsMount(SafeFileHandle context, int flags, int attributes)
        => new(SystemCall(SYS_fsmount, context.DangerousGetHandle(), flags, attributes, 0, 0), ownsHandle: true);

    /// <summary>Gives a mount that has no place yet a place.</summary>
    /// <param name="mount">What <see cref="FsMount"/> returned.</param>
    /// <param name="target">The open directory.</param>
    internal static int MoveMount(SafeFileHandle mount, SafeFileHandle target)
    {
        byte empty = 0;
        return (int)SystemCall(
            SYS_move_mount, mount.DangerousGetHandle(), (nint)(&empty), target.DangerousGetHandle(), (nint)(&empty), MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    }

    /// <summary>Takes the calling thread's current directory and root out of what the process's threads share.</summary>
    [LibraryImport(Libc, EntryPoint = "unshare", SetLastError = true)]
    internal static partial int Unshare(int flags);

    [LibraryImport(Libc, EntryPoint = "fchdir", SetLastError = true)]
    internal static partial int ChangeDirectory(SafeHandle directory);

    [LibraryImport(Libc, EntryPoint = "syscall", SetLastError = true)]
    private static partial nint SystemCall(nint number, nint a, nint b, nint c, nint d, nint e);
}
