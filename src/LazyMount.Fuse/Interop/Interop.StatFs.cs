using System.Runtime.InteropServices;

namespace LazyMount.Fuse;

internal static unsafe partial class Interop
{
    /// <summary>Room for struct statfs (120 bytes), of which only the error is of use to us.</summary>
    internal const int StatFsSize = 256;

    [LibraryImport(Libc, EntryPoint = "statfs", SetLastError = true)]
    internal static partial int StatFs(byte[] path, byte* result);
}
