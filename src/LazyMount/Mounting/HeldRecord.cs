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
        SafeFileHandle file = System.IO.File.OpenHandle(staged, FileMode.Create, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
        try
        {
            RandomAccess.Write(file, content, 0);
            // A file system without locks: whether the daemon lives is then told by the mount alone.
            _ = Interop.TryLock(file);
            System.IO.File.Move(staged, path, overwrite: true);
            return new HeldRecord(path, file);
        }
        catch
        {
            file.Dispose();
            System.IO.File.Delete(staged);
            throw;
        }
    }

    /// <summary>A record that another process has written and locked; this one has its open file.</summary>
    public static HeldRecord Inherited(string path, SafeFileHandle file) => new(path, file);

    /// <summary>The open file, with its lock. Owned by this object.</summary>
    public SafeFileHandle File => _file;

    /// <summary>The file of the mount's <see cref="MountStatus"/>.</summary>
    public string StatusPath => StateDirectory.StatusFileBeside(_path);

    /// <summary>Removes the record and the status, unless another mount of the same directory has written its own meanwhile. The lock stays.</summary>
    public void Remove()
    {
        try
        {
            using SafeFileHandle there = System.IO.File.OpenHandle(_path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            if (FileIdentity.TryOf(there) == FileIdentity.TryOf(_file))
            {
                System.IO.File.Delete(StatusPath);
                System.IO.File.Delete(_path);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Gone already, or to be swept by `list`.
        }
    }
}
