using System.Runtime.InteropServices;

namespace LazyMount.TestKit;

/// <summary>The libc calls that show a tree as the kernel has it. Paths are bytes with a terminating zero.</summary>
internal static unsafe partial class Interop
{
    public const int AtFdCwd = -100, AtSymlinkNoFollow = 0x100, StatxBasicStats = 0x7ff;

    /// <summary>struct statx: the same on every architecture.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Statx
    {
        public uint Mask, BlockSize;
        public ulong Attributes;
        public uint LinkCount, Uid, Gid;
        public ushort Mode, Spare0;
        public ulong Inode, Size, Blocks, AttributesMask;
        public Timestamp AccessTime, BirthTime, ChangeTime, ModificationTime;
        public uint RdevMajor, RdevMinor, DevMajor, DevMinor;
        public fixed ulong Spare[14];
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct Timestamp
    {
        public long Seconds;
        public uint Nanoseconds;
        public int Reserved;
    }

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true)]
    public static partial int GetStatx(int directory, byte[] path, int flags, uint mask, out Statx result);

    [LibraryImport("libc", EntryPoint = "readlink", SetLastError = true)]
    public static partial nint ReadLink(byte[] path, byte[] buffer, nint size);

    [LibraryImport("libc", EntryPoint = "llistxattr", SetLastError = true)]
    public static partial nint ListXattr(byte[] path, byte[] list, nint size);

    [LibraryImport("libc", EntryPoint = "lgetxattr", SetLastError = true)]
    public static partial nint GetXattr(byte[] path, byte[] name, byte[] value, nint size);

    [LibraryImport("libc", EntryPoint = "lsetxattr", SetLastError = true)]
    public static partial int SetXattr(byte[] path, byte[] name, byte[] value, nint size, int flags);

    [LibraryImport("libc", EntryPoint = "mknod", SetLastError = true)]
    public static partial int MakeNode(byte[] path, uint mode, ulong device);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true)]
    public static partial int Open(byte[] path, int flags);

    [LibraryImport("libc", EntryPoint = "opendir", SetLastError = true)]
    public static partial nint OpenDirectory(byte[] path);

    [LibraryImport("libc", EntryPoint = "readdir", SetLastError = true)]
    public static partial byte* ReadDirectory(nint directory);

    [LibraryImport("libc", EntryPoint = "closedir")]
    public static partial int CloseDirectory(nint directory);

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    public static partial int Kill(int process, int signal);
}
