using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Files;

/// <summary>One open file with several owners.</summary>
public static class SharedFile
{
    /// <summary>Another handle of the same open file, which stays open when the first is closed. For reading at given offsets.</summary>
    /// <exception cref="IOException">The process has too many files open.</exception>
    public static SafeFileHandle Duplicate(SafeFileHandle file) => Interop.Duplicate(file);
}
