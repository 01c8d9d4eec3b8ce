using System.Runtime.InteropServices;

namespace LazyMount.Fuse;

internal static unsafe partial class Interop
{
    /// <summary>Joins a fresh /dev/fuse fd to the connection of another one.</summary>
    internal const nuint FUSE_DEV_IOC_CLONE = 0x8004E500;

    /// <summary>Makes a file's reads return EAGAIN instead of waiting, or wait again.</summary>
    internal const nuint FIONBIO = 0x5421;

    [LibraryImport(Libc, EntryPoint = "ioctl", SetLastError = true)]
    internal static partial int IoCtl(SafeHandle fd, nuint request, uint* argument);
}
