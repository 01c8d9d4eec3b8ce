using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Layout;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Layers;

/// <summary>
/// A transcoding as a source: the file in the cache, and when the cache has lost or damaged it another pass over the layer,
/// which gives the same bytes. The file is held open, so that it goes on serving when the cache is deleted. A stream has a handle
/// of its own: it goes on when the source is disposed, or has found the file to be damaged.
/// </summary>
internal sealed class TranscodedSource : IBlobSource, IDisposable
{
    // Readers that all found the same file damaged tell so one after the other.
    private static readonly TimeSpan s_rebuiltIsTrusted = TimeSpan.FromSeconds(10);

    private readonly Func<Task<SafeFileHandle>> _rebuild;
    private readonly Lock _lock = new();
    private Task<SafeFileHandle>? _file;
    private DateTime _rebuilt;
    private bool _disposed;

    /// <param name="transcoding">The transcoding.</param>
    /// <param name="cache">Where it is.</param>
    /// <param name="rebuild">Makes it once more and opens it.</param>
    public TranscodedSource(Descriptor transcoding, BlobCache cache, Func<Task<SafeFileHandle>> rebuild)
    {
        _rebuild = rebuild;
        _file = TryOpen(transcoding, cache) is { } file ? Task.FromResult(file) : null;
    }

    public bool IsLocal => true;

    public bool IsVerified => true;

    public async Task<Stream> OpenBlobAsync(Descriptor blob, long offset, long length, CancellationToken cancellationToken)
    {
        while (true)
        {
            Task<SafeFileHandle> opened;
            lock (_lock)
            {
                ObjectDisposedException.ThrowIf(_disposed, this);
                // One that has failed may go well the next time.
                if (_file is null or { IsFaulted: true } or { IsCanceled: true })
                {
                    _file = Task.Run(RebuildAsync);
                }
                opened = _file;
            }
            SafeFileHandle file = await opened.WaitAsync(cancellationToken).ConfigureAwait(false);
            lock (_lock)
            {
                if (file.IsClosed)
                {
                    continue; // distrusted meanwhile
                }
                BlobCache.NoteUse(file);
                return new FileRangeStream(SharedFile.Duplicate(file), $"the transcoded layer {blob.Digest}", offset, length);
            }
        }
    }

    public bool Distrust(Descriptor blob)
    {
        lock (_lock)
        {
            bool isMadeAgain = DateTime.UtcNow - _rebuilt > s_rebuiltIsTrusted;
            if (isMadeAgain)
            {
                Close();
            }
            return isMadeAgain;
        }
    }

    /// <summary>Closes the file. Streams that are open go on.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _disposed = true;
            Close();
        }
    }

    // A file that is being made again stays, unless this is the end: then it is closed when it comes.
    private void Close()
    {
        if (_file is { IsCompletedSuccessfully: true })
        {
            _file.Result.Dispose();
            _file = null;
        }
    }

    private async Task<SafeFileHandle> RebuildAsync()
    {
        SafeFileHandle file = await _rebuild().ConfigureAwait(false);
        lock (_lock)
        {
            _rebuilt = DateTime.UtcNow;
            if (_disposed)
            {
                file.Dispose();
            }
        }
        return file;
    }

    /// <summary>The transcoding's file, if the cache has all of it.</summary>
    public static SafeFileHandle? TryOpen(Descriptor transcoding, BlobCache cache)
    {
        SafeFileHandle? file = cache.TryOpen(transcoding.Digest);
        if (file is not null && RandomAccess.GetLength(file) != transcoding.Size)
        {
            file.Dispose();
            return null;
        }
        return file;
    }
}
