using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Cache;

/// <summary>
/// A blob on its way into the cache. <see cref="Append"/> in order, then <see cref="Commit()"/>; disposing without
/// commit removes the staged file. The caller has hashed the bytes itself and commits only what it verified.
/// <para>The file is <c>HEX.PID.RANDOM.staging</c> beside its final name and locked (flock) while it grows, so that
/// <see cref="Sweep"/> can tell what a killed process left behind from what another is writing.</para>
/// </summary>
public sealed class BlobStaging : IDisposable
{
    internal const string Suffix = ".staging";

    // Covers the moments when a living process's file is not locked: between open and flock, and between close and rename.
    private static readonly TimeSpan s_abandonedAge = TimeSpan.FromSeconds(10);

    private readonly BlobCache _cache;
    private string _path;
    private readonly string _stagingPath;
    private readonly long _size;
    private readonly SafeFileHandle _file;
    private long _length;
    private bool _ended;

    internal BlobStaging(BlobCache cache, string path, long size)
    {
        _cache = cache;
        _path = path;
        _size = size;
        _stagingPath = $"{path}.{Environment.ProcessId}.{Guid.NewGuid():N}{Suffix}";
        try
        {
            // Space is reserved first: a disk that cannot hold the blob says so before it is fetched.
            _file = File.OpenHandle(_stagingPath, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, preallocationSize: Math.Max(0, size));
            if (!OperatingSystem.IsWindows())
                File.SetUnixFileMode(_file, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _file?.Dispose();
            TryDelete(_stagingPath);
            throw cache.Failure(What, e);
        }
    }

    /// <summary>Appends bytes. A full or failing disk throws <see cref="ImageException"/> (<see cref="ImageError.Local"/>).</summary>
    public void Append(ReadOnlySpan<byte> bytes)
    {
        ObjectDisposedException.ThrowIf(_ended, this);
        if (_size >= 0 && bytes.Length > _size - _length)
            throw new InvalidOperationException("more bytes than the blob has");
        try
        {
            RandomAccess.Write(_file, bytes, _length);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw _cache.Failure(What, e);
        }
        _length += bytes.Length;
    }

    private string What => _size < 0 ? "keep a transcoded layer" : $"keep {_size} bytes";

    /// <summary>The same, for a blob whose digest and size have come out only now.</summary>
    public void Commit(Descriptor blob)
    {
        _path = _cache.PathOf(blob.Digest);
        Commit();
    }

    /// <summary>
    /// Publishes the file under its final name, atomically. When the cache was deleted meanwhile the blob is lost with
    /// it, which is what deleting a cache means: no error.
    /// </summary>
    public void Commit()
    {
        ObjectDisposedException.ThrowIf(_ended, this);
        if (_size >= 0 && _length != _size)
            throw new InvalidOperationException("fewer bytes than the blob has");
        try
        {
            RandomAccess.FlushToDisk(_file);
            _file.Dispose(); // gives up the lock: a reader of the final name must not find it locked
            File.Move(_stagingPath, _path, overwrite: true);
            _cache.Account(_length);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw _cache.Failure(What, e);
        }
        _ended = true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_ended)
            return;
        _ended = true;
        TryDelete(_stagingPath);
        _file.Dispose();
    }

    /// <summary>Removes what killed processes left: staged files that are old and that nobody holds the lock of.</summary>
    internal static void Sweep(string directory, string prefix = "")
    {
        try
        {
            foreach (string path in Directory.EnumerateFiles(directory, prefix + "*" + Suffix))
            {
                if (DateTime.UtcNow - File.GetLastWriteTimeUtc(path) < s_abandonedAge)
                    continue;
                try
                {
                    using SafeFileHandle unlocked = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
                    File.Delete(path);
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                {
                    // Locked: another process is writing it.
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The directory is gone or unreadable; staging will say so if it matters.
        }
    }

    private static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Left for Sweep.
        }
    }
}
