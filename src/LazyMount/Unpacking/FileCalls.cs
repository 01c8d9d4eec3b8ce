using System.Runtime.InteropServices;

namespace LazyMount.Unpacking;

/// <summary>
/// The calls that make files relative to an open directory (openat(2) and its kin). Names are bytes that end with a zero
/// byte. All answer -1 on failure, with errno as the last P/Invoke error.
/// </summary>
internal static partial class FileCalls
{
    // x86-64 and arm64 differ in these two: fcntl.h of each.
    private static readonly bool s_isArm = RuntimeInformation.ProcessArchitecture == Architecture.Arm64;
    private static readonly int s_directory = s_isArm ? 0x4000 : 0x10000;
    private static readonly int s_noFollow = s_isArm ? 0x8000 : 0x20000;

    private const int WriteOnly = 1, CreateNew = 0x40 | 0x80, CloseOnExec = 0x80000, PathOnly = 0x200000;

    public const int RemoveDirectory = 0x200, NoFollow = 0x100; // AT_REMOVEDIR, AT_SYMLINK_NOFOLLOW
    public const int CurrentDirectory = -100; // AT_FDCWD
    /// <summary>Bytes of the longest name with its zero byte.</summary>
    public const int NameSize = 256;

    public const int EPERM = 1, ENOENT = 2, EEXIST = 17, ENOTSUP = 95;

    /// <summary>For reaching what is in it only.</summary>
    public static int OpenDirectoryPath(int directory, ReadOnlySpan<byte> name) => OpenAt(directory, name, PathOnly | s_directory | s_noFollow | CloseOnExec, 0);

    /// <summary>For changing its attributes.</summary>
    public static int OpenDirectory(int directory, ReadOnlySpan<byte> name) => OpenAt(directory, name, s_directory | s_noFollow | CloseOnExec, 0);

    /// <summary>The one directory whose path may lead over symbolic links: the user gave it.</summary>
    public static int OpenRoot(ReadOnlySpan<byte> path) => OpenAt(CurrentDirectory, path, s_directory | CloseOnExec, 0);

    /// <summary>A file that is not there yet, 0600.</summary>
    public static int CreateFile(int directory, ReadOnlySpan<byte> name) => OpenAt(directory, name, WriteOnly | CreateNew | s_noFollow | CloseOnExec, 0x180);

    [StructLayout(LayoutKind.Sequential)]
    public struct TimeSpec
    {
        public long Seconds;
        public long Nanoseconds;
    }

    [LibraryImport("libc", EntryPoint = "openat", SetLastError = true)]
    private static partial int OpenAt(int directory, ReadOnlySpan<byte> name, int flags, uint mode);

    [LibraryImport("libc", EntryPoint = "close")]
    public static partial int Close(int file);

    [LibraryImport("libc", EntryPoint = "mkdirat", SetLastError = true)]
    public static partial int MakeDirectory(int directory, ReadOnlySpan<byte> name, uint mode);

    [LibraryImport("libc", EntryPoint = "mknodat", SetLastError = true)]
    public static partial int MakeNode(int directory, ReadOnlySpan<byte> name, uint mode, ulong device);

    [LibraryImport("libc", EntryPoint = "symlinkat", SetLastError = true)]
    public static partial int MakeSymlink(ReadOnlySpan<byte> target, int directory, ReadOnlySpan<byte> name);

    [LibraryImport("libc", EntryPoint = "linkat", SetLastError = true)]
    public static partial int Link(int fromDirectory, ReadOnlySpan<byte> from, int directory, ReadOnlySpan<byte> name, int flags);

    [LibraryImport("libc", EntryPoint = "unlinkat", SetLastError = true)]
    public static partial int Unlink(int directory, ReadOnlySpan<byte> name, int flags);

    [LibraryImport("libc", EntryPoint = "pwrite", SetLastError = true)]
    public static partial nint Write(int file, ReadOnlySpan<byte> bytes, nint count, long offset);

    [LibraryImport("libc", EntryPoint = "ftruncate", SetLastError = true)]
    public static partial int SetSize(int file, long size);

    [LibraryImport("libc", EntryPoint = "fchown", SetLastError = true)]
    public static partial int SetOwner(int file, uint uid, uint gid);

    [LibraryImport("libc", EntryPoint = "fchownat", SetLastError = true)]
    public static partial int SetOwnerAt(int directory, ReadOnlySpan<byte> name, uint uid, uint gid, int flags);

    [LibraryImport("libc", EntryPoint = "fchmod", SetLastError = true)]
    public static partial int SetMode(int file, uint mode);

    [LibraryImport("libc", EntryPoint = "fchmodat", SetLastError = true)]
    public static partial int SetModeAt(int directory, ReadOnlySpan<byte> name, uint mode, int flags);

    [LibraryImport("libc", EntryPoint = "futimens", SetLastError = true)]
    public static partial int SetTimes(int file, ReadOnlySpan<TimeSpec> accessAndModification);

    [LibraryImport("libc", EntryPoint = "utimensat", SetLastError = true)]
    public static partial int SetTimesAt(int directory, ReadOnlySpan<byte> name, ReadOnlySpan<TimeSpec> accessAndModification, int flags);

    [LibraryImport("libc", EntryPoint = "fsetxattr", SetLastError = true)]
    public static partial int SetXattr(int file, ReadOnlySpan<byte> name, ReadOnlySpan<byte> value, nint size, int flags);

    [LibraryImport("libc", EntryPoint = "lsetxattr", SetLastError = true)]
    public static partial int SetXattrOfPath(ReadOnlySpan<byte> path, ReadOnlySpan<byte> name, ReadOnlySpan<byte> value, nint size, int flags);

    [LibraryImport("libc", EntryPoint = "fremovexattr", SetLastError = true)]
    public static partial int RemoveXattr(int file, ReadOnlySpan<byte> name);

    [LibraryImport("libc", EntryPoint = "faccessat", SetLastError = true)]
    private static partial int Access(int directory, ReadOnlySpan<byte> path, int mode, int flags);

    /// <summary>Whether names may be made in a directory; else errno says why not.</summary>
    public static bool IsWritable(int directory) => Access(directory, ".\0"u8, 2 | 1 /* W_OK | X_OK */, 0) == 0;

    /// <summary>A name with a zero byte behind it, in the caller's buffer.</summary>
    public static ReadOnlySpan<byte> ZeroEnded(ReadOnlySpan<byte> name, Span<byte> buffer)
    {
        name.CopyTo(buffer);
        buffer[name.Length] = 0;
        return buffer[..(name.Length + 1)];
    }

    /// <summary>makedev(3).</summary>
    public static ulong DeviceNumber(uint major, uint minor)
        => ((ulong)(major & 0xFFFFF000) << 32) | ((ulong)(major & 0xFFF) << 8) | ((ulong)(minor & 0xFFFFFF00) << 12) | (minor & 0xFF);
}
