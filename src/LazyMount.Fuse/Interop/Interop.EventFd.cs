using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Fuse;

internal static unsafe partial class Interop
{
    internal const int EFD_CLOEXEC = O_CLOEXEC;

    [LibraryImport(Libc, EntryPoint = "eventfd", SetLastError = true)]
    internal static partial SafeFileHandle EventFd(uint value, int flags);
}
