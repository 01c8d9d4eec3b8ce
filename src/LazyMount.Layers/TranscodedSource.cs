using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Layout;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Layers;

/// <summary>
/// A transcoding as a source: the file in the cache, and when the cache has lost or damaged it another pass over the layer,
/// which gives the same bytes. The file is held open, so that it goes on serving when the cache is deleted.
/// </summary>
internal sealed class TranscodedSource : IBlobSource
{
    // Readers that all found the same file damaged tell so one after the other.
    private static readonly TimeSpan s_rebuiltIsTrusted = TimeSpan.FromSeconds(10);

    private readonly Func<Task<SafeFileHandle>> _rebuild;
    private readonly Lock _lock = new();
    private Task<SafeFileHandle>? _file;
    private DateTime _rebuilt;

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
        Task<SafeFileHandle> opened;
        lock (_lock)
        {
            // One that has failed may go well the next time.
            if (_file is null or { IsFaulted: true } or { IsCanceled: true })
            {
                _file = Task.Run(RebuildAsync);
            }
            opened = _file;
        }
        SafeFileHandle file = await opened.WaitAsync(cancellationToken).ConfigureAwait(false);
        BlobCache.NoteUse(file);
        return new FileRangeStream(file, $"The transcoded layer {blob.Digest}", offset, length, leaveOpen: true);
    }

    public void Distrust(Descriptor blob)
    {
        lock (_lock)
        {
            if (_file is { IsCompletedSuccessfully: true } && DateTime.UtcNow - _rebuilt > s_rebuiltIsTrusted)
            {
                _file = null; // whoever reads it keeps its handle alive; the last one's finalizer closes it
            }
        }
    }

    private async Task<SafeFileHandle> RebuildAsync()
    {
        SafeFileHandle file = await _rebuild().ConfigureAwait(false);
        _rebuilt = DateTime.UtcNow;
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
