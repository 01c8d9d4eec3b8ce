using System.Runtime.InteropServices;

namespace LazyMount.Fuse;

internal static unsafe partial class Interop
{
    internal const int LOCK_EX = 2;
    internal const int LOCK_NB = 4;

    [LibraryImport(Libc, EntryPoint = "flock", SetLastError = true)]
    internal static partial int FLock(SafeHandle fd, int operation);
}
