using System.Runtime.InteropServices;
using System.Text;

namespace LazyMount.MountTests.Posix;

/// <summary>
/// System calls as programs make them, with the error number as the result of what fails. Their waits leave the runtime
/// free, so a test may call into a mount that its own process serves.
/// </summary>
internal static unsafe partial class Libc
{
    public const int ReadOnly = 0, WriteOnly = 1, ReadWrite = 2, Create = 0x40, Truncate = 0x200, Append = 0x400, CloseOnExec = 0x80000;
    public const int AtFdCwd = -100, NoFollow = 0x100, ForceSync = 0x2000, BasicStats = 0x7ff;
    public const int ENOENT = 2, EINTR = 4, EIO = 5, EACCES = 13, EFAULT = 14, ENOTDIR = 20, EISDIR = 21, EINVAL = 22, ENOTTY = 25, EROFS = 30, ERANGE = 34, ENAMETOOLONG = 36, ENODATA = 61, EOPNOTSUPP = 95;

    /// <summary>O_DIRECT has no page cache between a read and the server; its value is the architecture's.</summary>
    public static int Direct => RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 0x10000 : 0x4000;

    [StructLayout(LayoutKind.Sequential)]
    public struct Statx
    {
        public uint Mask, BlockSize;
        public ulong Attributes;
        public uint LinkCount, Uid, Gid;
        public ushort Mode, Spare0;
        public ulong Inode, Size, Blocks, AttributesMask;
        public Time AccessTime, BirthTime, ChangeTime, ModificationTime;
        public uint RdevMajor, RdevMinor, DevMajor, DevMinor;
        public fixed ulong Spare[14];
    }

    public struct Time
    {
        public long Seconds;
        public uint Nanoseconds;
        public int Reserved;
    }

    public const int DontNeed = 4; // POSIX_FADV_DONTNEED

    /// <summary>A path's bytes (Latin-1 characters) with their terminating zero.</summary>
    public static byte[] Z(string path) => Encoding.Latin1.GetBytes(path + "\0");

    public static Statx Stat(string path, int flags = NoFollow)
    {
        Assert(statx(AtFdCwd, Z(path), flags, BasicStats, out Statx result) == 0, path);
        return result;
    }

    public static int Open(string path, int flags = ReadOnly)
    {
        int fd = open(Z(path), flags | CloseOnExec, 0x1a4);
        Assert(fd >= 0, path);
        return fd;
    }

    /// <summary>Opens a file so that reads of it go past the kernel's page cache, or find little in it where O_DIRECT is not known.</summary>
    public static int OpenUncached(string path)
    {
        int fd = open(Z(path), Direct | CloseOnExec, 0);
        if (fd < 0 && Marshal.GetLastPInvokeError() == EINVAL)
        {
            fd = Open(path);
            Assert(posix_fadvise(fd, 0, 0, DontNeed) == 0, path);
        }
        Assert(fd >= 0, path);
        return fd;
    }

    public static void Close(int fd) => close(fd);

    public static byte[] PRead(int fd, long offset, int length)
    {
        var buffer = new byte[length];
        nint read = pread(fd, buffer, length, offset);
        Assert(read >= 0, "pread");
        return buffer[..(int)read];
    }

    /// <summary>The error number of a call that gave a negative result, 0 for success.</summary>
    public static int Error(nint result) => result < 0 ? Marshal.GetLastPInvokeError() : 0;

    /// <summary>Names, types and offsets of raw directory entries, asking with a buffer of the given size.</summary>
    public static List<(string Name, byte Type, ulong Inode, long Next)> GetDents(int fd, int bufferSize)
    {
        var entries = new List<(string, byte, ulong, long)>();
        var buffer = new byte[bufferSize];
        while (true)
        {
            nint length = getdents64(fd, buffer, bufferSize);
            Assert(length >= 0, "getdents64");
            if (length == 0)
            {
                return entries;
            }
            for (int at = 0; at < length; at += BitConverter.ToUInt16(buffer, at + 16))
            {
                int name = at + 19;
                int end = Array.IndexOf(buffer, (byte)0, name);
                entries.Add((Encoding.Latin1.GetString(buffer, name, end - name), buffer[at + 18], BitConverter.ToUInt64(buffer, at), BitConverter.ToInt64(buffer, at + 8)));
            }
        }
    }

    private static void Assert(bool succeeded, string what)
    {
        if (!succeeded)
        {
            int error = Marshal.GetLastPInvokeError();
            throw new IOException($"{what}: {Marshal.GetPInvokeErrorMessage(error)}");
        }
    }

    [LibraryImport("libc", SetLastError = true)] public static partial int statx(int directory, byte[] path, int flags, uint mask, out Statx result);
    [LibraryImport("libc")] public static partial int posix_fadvise(int fd, long offset, long length, int advice);
    [LibraryImport("libc", SetLastError = true)] public static partial int open(byte[] path, int flags, int mode);
    [LibraryImport("libc", SetLastError = true)] public static partial int close(int fd);
    [LibraryImport("libc", SetLastError = true)] public static partial nint pread(int fd, byte[] buffer, nint count, long offset);
    [LibraryImport("libc", SetLastError = true)] public static partial nint read(int fd, byte[] buffer, nint count);
    [LibraryImport("libc", SetLastError = true)] public static partial nint write(int fd, void* buffer, nint count);
    [LibraryImport("libc", SetLastError = true)] public static partial long lseek(int fd, long offset, int whence);
    [LibraryImport("libc", SetLastError = true)] public static partial nint getdents64(int fd, byte[] buffer, nint count);
    [LibraryImport("libc", SetLastError = true)] public static partial nint readlink(byte[] path, byte[] buffer, nint size);
    [LibraryImport("libc", SetLastError = true)] public static partial nint lgetxattr(byte[] path, byte[] name, byte[]? value, nint size);
    [LibraryImport("libc", SetLastError = true)] public static partial nint llistxattr(byte[] path, byte[]? list, nint size);
    [LibraryImport("libc", SetLastError = true)] public static partial int lsetxattr(byte[] path, byte[] name, byte[] value, nint size, int flags);
    [LibraryImport("libc", SetLastError = true)] public static partial int lremovexattr(byte[] path, byte[] name);
    [LibraryImport("libc", SetLastError = true)] public static partial int mkdir(byte[] path, uint mode);
    [LibraryImport("libc", SetLastError = true)] public static partial int rmdir(byte[] path);
    [LibraryImport("libc", SetLastError = true)] public static partial int unlink(byte[] path);
    [LibraryImport("libc", SetLastError = true)] public static partial int rename(byte[] from, byte[] to);
    [LibraryImport("libc", SetLastError = true)] public static partial int link(byte[] from, byte[] to);
    [LibraryImport("libc", SetLastError = true)] public static partial int symlink(byte[] target, byte[] path);
    [LibraryImport("libc", SetLastError = true)] public static partial int chmod(byte[] path, uint mode);
    [LibraryImport("libc", SetLastError = true)] public static partial int lchown(byte[] path, uint uid, uint gid);
    [LibraryImport("libc", SetLastError = true)] public static partial int utimensat(int directory, byte[] path, void* times, int flags);
    [LibraryImport("libc", SetLastError = true)] public static partial int truncate(byte[] path, long length);
    [LibraryImport("libc", SetLastError = true)] public static partial int mknod(byte[] path, uint mode, ulong device);
    [LibraryImport("libc", SetLastError = true)] public static partial int mkfifo(byte[] path, uint mode);
    [LibraryImport("libc", SetLastError = true)] public static partial int access(byte[] path, int mode);
    [LibraryImport("libc", SetLastError = true)] public static partial int statfs(byte[] path, byte[] result);
    [LibraryImport("libc", SetLastError = true)] public static partial int ioctl(int fd, nuint request, byte[] argument);
    [LibraryImport("libc", SetLastError = true)] public static partial void* mmap(void* address, nint length, int protection, int flags, int fd, long offset);
    [LibraryImport("libc", SetLastError = true)] public static partial int munmap(void* address, nint length);
    [LibraryImport("libc", SetLastError = true)] public static partial int pipe(int* fds);
    [LibraryImport("libc", SetLastError = true)] public static partial int kill(int process, int signal);
    [LibraryImport("libc")] public static partial uint geteuid();
}
