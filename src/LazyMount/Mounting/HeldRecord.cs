using LazyMount.Blobs.Files;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Mounting;

/// <summary>
/// The record of this process's own mount. It is locked until the process ends, however it ends: by that others know whether the daemon
/// lives.
/// </summary>
internal sealed class HeldRecord
{
    private readonly string _path;

    // Never closed: the kernel does that when the process is gone, and whoever waits for the lock waits for the process.
    private readonly SafeFileHandle _file;

    private HeldRecord(string path, SafeFileHandle file) => (_path, _file) = (path, file);

    /// <summary>Writes a record beside its final name, locks it, and renames it.</summary>
    /// <exception cref="IOException">It cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be written.</exception>
    public static HeldRecord Write(string path, ReadOnlySpan<byte> content)
    {
        string staged = $"{path}.{Environment.ProcessId}.tmp";
        SafeFileHandle file = File.OpenHandle(staged, FileMode.Create, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
        try
        {
            RandomAccess.Write(file, content, 0);
            // A file system without locks: whether the daemon lives is then told by the mount alone.
            _ = Interop.TryLock(file);
            File.Move(staged, path, overwrite: true);
            return new HeldRecord(path, file);
        }
        catch
        {
            file.Dispose();
            File.Delete(staged);
            throw;
        }
    }

    /// <summary>Removes the record, unless another mount of the same directory has written its own meanwhile. The lock stays.</summary>
    public void Remove()
    {
        try
        {
            using SafeFileHandle there = File.OpenHandle(_path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            if (FileIdentity.TryOf(there) == FileIdentity.TryOf(_file))
            {
                File.Delete(_path);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Gone already, or to be swept by `list`.
        }
    }
}
