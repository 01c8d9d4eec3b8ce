using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs.Cache;

/// <summary>
/// A blob on its way into the cache. <see cref="Append"/> in order, then <see cref="Commit()"/>; disposing without
/// commit removes the staged file. The caller has hashed the bytes itself and commits only what it verified. What is staged counts
/// against the cache's limit as it grows.
/// </summary>
public sealed class BlobStaging : IDisposable
{
    private readonly BlobCache _cache;
    private string _path;
    private readonly long _size;
    private readonly AtomicFile _file;
    private long _length;
    private bool _ended;

    internal BlobStaging(BlobCache cache, string path, long size)
    {
        _cache = cache;
        _path = path;
        _size = size;
        try
        {
            _file = AtomicFile.Create(Path.GetDirectoryName(path)!, AtomicFile.Private, Math.Max(0, size));
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            throw cache.Failure(What, e);
        }
    }

    /// <summary>Appends bytes.</summary>
    /// <exception cref="ImageException"><see cref="ImageError.Local"/>: the disk is full or fails, or the cache may not hold so much.</exception>
    public void Append(ReadOnlySpan<byte> bytes)
    {
        ObjectDisposedException.ThrowIf(_ended, this);
        if (_size >= 0 && bytes.Length > _size - _length)
            throw new InvalidOperationException("more bytes than the blob has");
        try
        {
            RandomAccess.Write(_file.Handle, bytes, _length);
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            throw _cache.Failure(What, e);
        }
        _length += bytes.Length;
        // A manifest is small, and bounded by others; what is encoded again may have any size.
        if (_size >= 0)
            _cache.Account(bytes.Length);
        else if (!_cache.AccountStaged(bytes.Length, _length))
            throw _cache.TooLarge(What);
    }

    private string What => _size < 0 ? "keep a transcoded layer" : $"keep {_size} bytes";

    /// <summary>As <see cref="Commit()"/>, for a blob whose digest and size became known only while it was written.</summary>
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
            _file.Commit(_path, durable: true);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            throw _cache.Failure(What, e);
        }
        Dispose();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _ended = true;
        _file.Dispose();
    }
}
