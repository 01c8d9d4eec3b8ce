using System.Runtime.InteropServices;

namespace LazyMount.Fuse;

internal static unsafe partial class Interop
{
    internal struct IoVec
    {
        public void* Base;
        public nuint Length;
    }

    [LibraryImport(Libc, EntryPoint = "writev", SetLastError = true)]
    internal static partial nint WriteV(SafeHandle fd, IoVec* vectors, int count);
}
