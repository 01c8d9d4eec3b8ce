using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace LazyMount.Files;

/// <summary>What a file is, and whose: the part of statx(2) that is asked for here.</summary>
/// <param name="Mode">Type (S_IFMT) and permission bits.</param>
/// <param name="Owner">The user.</param>
/// <param name="Inode">Number of the inode.</param>
/// <param name="Device">Number of the file system, as makedev(3) has it.</param>
internal readonly record struct FileStatus(uint Mode, uint Owner, ulong Inode, ulong Device)
{
    /// <summary>One of the types of S_IFMT.</summary>
    public uint Type => Mode & 0xF000;
}

/// <summary>
/// The calls that make files relative to an open directory (openat(2) and its kin), which .NET does not offer. Names are bytes that end
/// with a zero byte. All answer -1 on failure, with errno as the last P/Invoke error.
/// </summary>
internal static partial class FileCalls
{
    // x86-64 and arm64 differ in these two: fcntl.h of each.
    private static readonly bool s_isArm = RuntimeInformation.ProcessArchitecture == Architecture.Arm64;
    private static readonly int s_directory = s_isArm ? 0x4000 : 0x10000;
    private static readonly int s_noFollow = s_isArm ? 0x8000 : 0x20000;

    private const int WriteOnly = 1, CreateNew = 0x40 | 0x80, NonBlocking = 0x800, CloseOnExec = 0x80000, PathOnly = 0x200000;

    public const int RemoveDirectory = 0x200, NoFollow = 0x100, EmptyPath = 0x1000; // AT_REMOVEDIR, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH
    public const uint Fifo = 0x1000, Directory = 0x4000, RegularFile = 0x8000, SymbolicLink = 0xA000, Socket = 0xC000; // of S_IFMT
    public const int CurrentDirectory = -100; // AT_FDCWD
    /// <summary>Bytes of the longest name with its zero byte.</summary>
    public const int NameSize = 256;

    public const int EPERM = 1, ENOENT = 2, ENXIO = 6, EEXIST = 17, ENOTDIR = 20, EINVAL = 22, ENOSYS = 38, ENOTSUP = 95;

    /// <summary>A name in a directory, or a path, itself: a symbolic link is not followed. For looking at it and naming it only.</summary>
    public static int OpenPath(int directory, ReadOnlySpan<byte> name) => OpenAt(directory, name, PathOnly | s_noFollow | CloseOnExec, 0);

    /// <summary>A directory that a path leads to, over symbolic links too. For reaching what is in it only.</summary>
    public static int OpenDirectoryBehind(int directory, ReadOnlySpan<byte> path) => OpenAt(directory, path, PathOnly | s_directory | CloseOnExec, 0);

    /// <summary>A file that is there, for writing, over symbolic links too.</summary>
    /// <param name="directory">Where it is.</param>
    /// <param name="name">Its name.</param>
    /// <param name="waits">Whether the call, and later those that write, wait for the reader of a pipe. A pipe without one is ENXIO otherwise.</param>
    public static int OpenToWrite(int directory, ReadOnlySpan<byte> name, bool waits = true)
        => OpenAt(directory, name, WriteOnly | CloseOnExec | (waits ? 0 : NonBlocking), 0);

    /// <summary>For reaching what is in it only.</summary>
    public static int OpenDirectoryPath(int directory, ReadOnlySpan<byte> name) => OpenAt(directory, name, PathOnly | s_directory | s_noFollow | CloseOnExec, 0);

    /// <summary>For changing its attributes.</summary>
    public static int OpenDirectory(int directory, ReadOnlySpan<byte> name) => OpenAt(directory, name, s_directory | s_noFollow | CloseOnExec, 0);

    /// <summary>The one directory whose path may lead over symbolic links: the user gave it.</summary>
    public static int OpenRoot(ReadOnlySpan<byte> path) => OpenAt(CurrentDirectory, path, s_directory | CloseOnExec, 0);

    /// <summary>A file that is not there yet.</summary>
    public static int CreateFile(int directory, ReadOnlySpan<byte> name, uint mode = 0x180 /* 0600 */)
        => OpenAt(directory, name, WriteOnly | CreateNew | s_noFollow | CloseOnExec, mode);

    /// <summary>What a name in a directory is; a symbolic link itself unless <paramref name="flags"/> is 0. Opens nothing.</summary>
    public static int GetStatus(int directory, ReadOnlySpan<byte> name, int flags, out FileStatus status)
    {
        const uint Wanted = 1 | 2 | 8 | 0x100; // STATX_TYPE, STATX_MODE, STATX_UID, STATX_INO
        Span<byte> answer = stackalloc byte[256]; // struct statx, the same on every architecture
        int result = Statx(directory, name, flags, Wanted, answer);
        status = result < 0 ? default : new FileStatus(
            BinaryPrimitives.ReadUInt16LittleEndian(answer[28..]),
            BinaryPrimitives.ReadUInt32LittleEndian(answer[20..]),
            BinaryPrimitives.ReadUInt64LittleEndian(answer[32..]),
            DeviceNumber(BinaryPrimitives.ReadUInt32LittleEndian(answer[136..]), BinaryPrimitives.ReadUInt32LittleEndian(answer[140..])));
        return result;
    }

    /// <summary>What an open file is.</summary>
    public static int GetStatus(int file, out FileStatus status) => GetStatus(file, "\0"u8, EmptyPath, out status);

    /// <summary>Where a symbolic link leads that <see cref="OpenPath"/> has opened; null with errno set when it is none.</summary>
    public static byte[]? ReadLink(int link)
    {
        byte[] target = new byte[4096 + 1]; // PATH_MAX
        nint length = ReadLinkAt(link, "\0"u8, target, target.Length - 1);
        return length < 0 ? null : target[..((int)length + 1)];
    }

    /// <summary>
    /// Sets the mode of what is neither regular file nor directory, which cannot be opened without effects. A symbolic link in its place
    /// is not followed, and what is not of the given type stays as it is (-1).
    /// </summary>
    public static int SetModeUnopened(int directory, ReadOnlySpan<byte> name, uint type, uint mode)
    {
        int file = OpenPath(directory, name);
        if (file < 0)
        {
            return -1;
        }
        bool isIt = GetStatus(file, out FileStatus status) == 0 && status.Type == type;
        int result = isIt ? SetModeAt(CurrentDirectory, DescriptorPath(file), mode, 0) : -1;
        int errno = Marshal.GetLastPInvokeError();
        _ = Close(file);
        Marshal.SetLastPInvokeError(isIt ? errno : EINVAL);
        return result;
    }

    /// <summary>A path that leads to an open file, whatever its name is by now. Ends with a zero byte.</summary>
    public static ReadOnlySpan<byte> DescriptorPath(int file) => Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"/proc/self/fd/{file}\0"));

    /// <summary>Moves a name to where none is. File systems that cannot promise this move it nevertheless.</summary>
    public static int Move(int fromDirectory, ReadOnlySpan<byte> from, int directory, ReadOnlySpan<byte> name)
    {
        const uint NoReplace = 1; // RENAME_NOREPLACE
        int result = RenameAt(fromDirectory, from, directory, name, NoReplace);
        return result < 0 && Marshal.GetLastPInvokeError() is EINVAL or ENOSYS ? Rename(fromDirectory, from, directory, name) : result;
    }

    /// <summary>Gives a file another name, in the place of what has that name.</summary>
    public static int Rename(int fromDirectory, ReadOnlySpan<byte> from, int directory, ReadOnlySpan<byte> name) => RenameAt(fromDirectory, from, directory, name, 0);

    /// <summary>Another descriptor of an open file.</summary>
    public static int Duplicate(int file) => ControlFile(file, 1030 /* F_DUPFD_CLOEXEC */, 3);

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true)]
    private static partial int Statx(int directory, ReadOnlySpan<byte> name, int flags, uint mask, Span<byte> answer);

    [LibraryImport("libc", EntryPoint = "readlinkat", SetLastError = true)]
    private static partial nint ReadLinkAt(int directory, ReadOnlySpan<byte> name, Span<byte> target, nint size);

    [LibraryImport("libc", EntryPoint = "renameat2", SetLastError = true)]
    private static partial int RenameAt(int fromDirectory, ReadOnlySpan<byte> from, int directory, ReadOnlySpan<byte> name, uint flags);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int ControlFile(int file, int command, int argument);

    [LibraryImport("libc", EntryPoint = "geteuid")]
    public static partial uint EffectiveUser();

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
    private static partial int SetModeAt(int directory, ReadOnlySpan<byte> name, uint mode, int flags);

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
