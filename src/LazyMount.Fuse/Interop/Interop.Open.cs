using System.Runtime.InteropServices;
using LazyMount.Blobs.Files;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Fuse;

internal static unsafe partial class Interop
{
    internal const int O_RDWR = 2;
    internal const int O_CLOEXEC = 0x80000;
    internal const int O_PATH = 0x200000;

    /// <summary>O_DIRECTORY and O_NOFOLLOW have other values on some architectures.</summary>
    internal static int O_DIRECTORY => RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 0x4000 : 0x10000;
    internal static int O_NOFOLLOW => RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 0x8000 : 0x20000;

    /// <summary>As the other, with a path as <see cref="PathText"/> has it.</summary>
    internal static SafeFileHandle Open(string path, int flags) => Open(PathText.ToNative(path), flags);

    /// <param name="path">Zero-terminated.</param>
    /// <param name="flags">As of open(2).</param>
    [LibraryImport(Libc, EntryPoint = "open", SetLastError = true)]
    internal static partial SafeFileHandle Open(byte[] path, int flags);
}
