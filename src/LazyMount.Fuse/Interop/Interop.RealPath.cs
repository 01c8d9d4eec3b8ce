using System.Runtime.InteropServices;

namespace LazyMount.Fuse;

internal static unsafe partial class Interop
{
    internal const int PathMax = 4096;

    /// <param name="path">Any path, zero-terminated.</param>
    /// <param name="resolved"><see cref="PathMax"/> bytes for the result.</param>
    [LibraryImport(Libc, EntryPoint = "realpath", SetLastError = true)]
    internal static partial byte* RealPath(byte[] path, byte* resolved);
}
