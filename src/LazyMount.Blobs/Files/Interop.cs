using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Files;

/// <summary>
/// The system calls on files that .NET does not offer: paths as bytes, modes at creation, locks, the sync of a directory. All
/// paths are the bytes that <see cref="PathText.ToNative"/> gives.
/// </summary>
internal static partial class Interop
{
    public const int NotPermitted = 1, NoEntry = 2, Interrupted = 4, Failed = 5, BadFile = 9, TryAgain = 11, NoAccess = 13, Exists = 17, NoDirectory = 20, TooLarge = 27; // EPERM … EEXIST
    public const int NoSpace = 28, ReadOnlyFileSystem = 30, QuotaExceeded = 122;                                             // ENOSPC, EROFS, EDQUOT

    public const int ReadOnly = 0, ReadWrite = 2, Create = 0x40, CreateNew = 0x40 | 0x80, Append = 0x400, CloseOnExec = 0x80000, PathOnly = 0x200000; // O_RDONLY … O_PATH

    private const int Exclusive = 2, NonBlocking = 4;                 // LOCK_EX, LOCK_NB
    private const int SetRangeLock = 37;                              // F_OFD_SETLK
    private const short WriteLock = 1, Unlock = 2;                    // F_WRLCK, F_UNLCK

    /// <summary>Opens a file or a directory.</summary>
    /// <exception cref="IOException">It cannot be opened; <see cref="Exception.HResult"/> is the error number.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be opened.</exception>
    public static SafeFileHandle Open(string path, int flags, int mode = 0)
    {
        byte[] native = PathText.ToNative(path);
        int file;
        while ((file = Open(native, flags | CloseOnExec, mode)) < 0)
        {
            if (Marshal.GetLastPInvokeError() != Interrupted)
                throw LastError(path);
        }
        return new SafeFileHandle(file, ownsHandle: true);
    }

    /// <summary>Opens a file for reading; null when there is none.</summary>
    /// <exception cref="IOException">It cannot be opened.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be opened.</exception>
    public static SafeFileHandle? TryOpenToRead(string path)
    {
        int file = Open(PathText.ToNative(path), ReadOnly | CloseOnExec, 0);
        if (file >= 0)
            return new SafeFileHandle(file, ownsHandle: true);
        return Marshal.GetLastPInvokeError() is NoEntry or NoDirectory ? null : throw LastError(path);
    }

    /// <summary>Makes a directory, of exactly this mode if one is given, else of the umask's. Does nothing when something of that name is there.</summary>
    /// <exception cref="IOException">It cannot be made.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be made.</exception>
    public static void MakeDirectory(string path, int? mode = null)
    {
        byte[] native = PathText.ToNative(path);
        bool isMade = MakeDirectory(native, mode ?? 0x1FF) == 0;
        if (!isMade && Marshal.GetLastPInvokeError() != Exists)
            throw LastError(path);
        if (isMade && mode is { } exactly && ChangeMode(native, exactly) != 0)
            throw LastError(path);
    }

    /// <summary>Whether this process may make files in a directory: neither its mode nor a read-only file system forbids it.</summary>
    public static bool MayWrite(string directory)
    {
        const int Write = 2, Search = 1; // W_OK, X_OK
        return Access(PathText.ToNative(directory), Write | Search) == 0;
    }

    public static bool TrySetMode(string path, int mode) => ChangeMode(PathText.ToNative(path), mode) == 0;

    /// <summary>False when another open file has the lock.</summary>
    /// <param name="file">The file.</param>
    /// <param name="error">Why the lock was not taken; 0 when it was.</param>
    public static bool TryLock(SafeFileHandle file, out int error)
    {
        do
        {
            error = FileLock(file, Exclusive | NonBlocking) == 0 ? 0 : Marshal.GetLastPInvokeError();
        }
        while (error == Interrupted);
        return error == 0;
    }

    /// <summary>False when another open file has a lock on a part of the range.</summary>
    /// <param name="file">A file that is open for writing.</param>
    /// <param name="offset">Where the range begins.</param>
    /// <param name="length">Bytes of it.</param>
    /// <param name="unlocks">The lock is given back instead.</param>
    /// <param name="error">Why the lock was not taken; 0 when it was.</param>
    public static bool TryLockRange(SafeFileHandle file, long offset, long length, bool unlocks, out int error)
    {
        var range = new RangeLock { Type = unlocks ? Unlock : WriteLock, Start = offset, Length = length };
        do
        {
            error = ControlFile(file, SetRangeLock, ref range) == 0 ? 0 : Marshal.GetLastPInvokeError();
        }
        while (error == Interrupted);
        return error == 0;
    }

    /// <summary>Reserves the first bytes of a file on the disk. False only when the disk has not that many, with the error of <see cref="LastError"/>.</summary>
    public static bool TryReserve(SafeFileHandle file, long size)
        => size <= 0 || Allocate(file, 0, 0, size) == 0 || Marshal.GetLastPInvokeError() is not (NoSpace or QuotaExceeded or TooLarge);

    /// <summary>Writes a file's bytes, or a directory's names, to the disk (fsync). Errors are ignored: some file systems cannot do it.</summary>
    public static void Sync(SafeFileHandle file) => _ = SyncFile(file);

    /// <summary>Another handle of the same open file.</summary>
    public static SafeFileHandle Duplicate(SafeFileHandle file)
    {
        const int DuplicateCloseOnExec = 1030; // F_DUPFD_CLOEXEC
        int copy = ControlFile(file, DuplicateCloseOnExec, 0);
        return copy >= 0 ? new SafeFileHandle(copy, ownsHandle: true) : throw LastError("a file");
    }

    /// <summary>A variable of the environment that this process was started with, as bytes, or null.</summary>
    public static byte[]? StartEnvironment(string name)
    {
        nint value = GetEnvironment(name);
        if (value == 0)
            return null;
        int length = 0;
        while (Marshal.ReadByte(value, length) != 0)
            length++;
        byte[] bytes = new byte[length];
        Marshal.Copy(value, bytes, 0, length);
        return bytes;
    }

    /// <summary>The current directory as bytes, or null.</summary>
    public static byte[]? CurrentDirectory()
    {
        byte[] buffer = new byte[32 << 10];
        return GetCurrentDirectory(buffer, buffer.Length) == 0 ? null : buffer[..buffer.IndexOf((byte)0)];
    }

    /// <summary>The error of the last call that failed.</summary>
    public static Exception LastError(string path)
    {
        int error = Marshal.GetLastPInvokeError();
        string message = $"{Marshal.GetPInvokeErrorMessage(error)} : '{path}'";
        return error switch
        {
            NoEntry => new FileNotFoundException(message, path),
            NotPermitted or NoAccess => new UnauthorizedAccessException(message, new IOException(message, error)),
            _ => new IOException(message, error),
        };
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct RangeLock // struct flock of 64-bit systems
    {
        public short Type, Whence;
        public long Start, Length;
        public int Process;
    }

    /// <summary>
    /// Lets this process have as many files open as it may (the soft limit becomes the hard one), and says how many. The runtime does so by itself
    /// only where it is not compiled into the program.
    /// </summary>
    public static int AllowOpenFiles()
    {
        const int OpenFiles = 7, Usual = 1024; // RLIMIT_NOFILE
        Span<ulong> limits = stackalloc ulong[2]; // soft, hard
        if (GetLimit(OpenFiles, ref limits[0]) != 0)
            return Usual;
        ulong soft = limits[0];
        limits[0] = limits[1];
        return (int)Math.Min(SetLimit(OpenFiles, ref limits[0]) == 0 ? limits[1] : soft, int.MaxValue);
    }

    [LibraryImport("libc", EntryPoint = "getrlimit", SetLastError = true)]
    private static partial int GetLimit(int resource, ref ulong limits);

    [LibraryImport("libc", EntryPoint = "setrlimit", SetLastError = true)]
    private static partial int SetLimit(int resource, ref ulong limits);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true)]
    private static partial int Open(byte[] path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "mkdir", SetLastError = true)]
    private static partial int MakeDirectory(byte[] path, int mode);

    [LibraryImport("libc", EntryPoint = "access", SetLastError = true)]
    private static partial int Access(byte[] path, int mode);

    [LibraryImport("libc", EntryPoint = "chmod", SetLastError = true)]
    private static partial int ChangeMode(byte[] path, int mode);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    private static partial int FileLock(SafeFileHandle file, int operation);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int ControlFile(SafeFileHandle file, int command, ref RangeLock range);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int ControlFile(SafeFileHandle file, int command, int argument);

    [LibraryImport("libc", EntryPoint = "fallocate", SetLastError = true)]
    private static partial int Allocate(SafeFileHandle file, int mode, long offset, long size);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int SyncFile(SafeFileHandle file);

    [LibraryImport("libc", EntryPoint = "getenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint GetEnvironment(string name);

    [LibraryImport("libc", EntryPoint = "getcwd", SetLastError = true)]
    private static partial nint GetCurrentDirectory(byte[] buffer, nint size);

    [LibraryImport("libc", EntryPoint = "geteuid")]
    public static partial uint EffectiveUser();

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true)]
    public static partial int Status(int directory, byte[] path, int flags, uint mask, ref byte answer);
}
