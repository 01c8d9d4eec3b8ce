using System.Runtime.InteropServices;

namespace LazyMount.Fuse;

internal static unsafe partial class Interop
{
    /// <summary>For FUSE: aborts the connection first, so that nobody waits for answers any more.</summary>
    internal const int MNT_FORCE = 1;
    internal const int MNT_DETACH = 2;
    internal const int UMOUNT_NOFOLLOW = 8;

    /// <param name="target">Zero-terminated.</param>
    /// <param name="flags">As of umount2(2).</param>
    [LibraryImport(Libc, EntryPoint = "umount2", SetLastError = true)]
    internal static partial int Unmount(byte[] target, int flags);
}
