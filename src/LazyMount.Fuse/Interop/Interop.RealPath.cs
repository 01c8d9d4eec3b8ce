using System.Runtime.InteropServices;

namespace LazyMount.Fuse;

internal static unsafe partial class Interop
{
    internal const int PathMax = 4096;

    /// <param name="path">Any path.</param>
    /// <param name="resolved"><see cref="PathMax"/> bytes for the result.</param>
    [LibraryImport(Libc, EntryPoint = "realpath", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial byte* RealPath(string path, byte* resolved);
}
