using System.Runtime.InteropServices;

namespace LazyMount.Fuse;

internal static unsafe partial class Interop
{
    /// <param name="path">The link, zero-terminated.</param>
    /// <param name="target">Room for the target, which gets no zero.</param>
    /// <param name="size">Bytes of room.</param>
    /// <returns>Bytes of the target, or -1.</returns>
    [LibraryImport(Libc, EntryPoint = "readlink", SetLastError = true)]
    internal static partial nint ReadLink(byte[] path, byte* target, nuint size);
}
