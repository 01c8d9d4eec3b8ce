using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Layout;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using LazyMount.Indexes.Model;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Layers;

/// <summary>
/// A transcoding as a source: the file in the cache, and when the cache has lost or damaged it another pass over the layer,
/// which gives the same bytes. The file is held open, so that it goes on serving when the cache is deleted. A stream has a handle
/// of its own: it goes on when the source is disposed, or has found the file to be damaged.
/// </summary>
internal sealed class TranscodedSource : IImageSource
{
    // Readers that all found the same file damaged tell so one after the other.
    private static readonly TimeSpan s_rebuiltIsTrusted = TimeSpan.FromSeconds(10);

    private readonly Func<Task<SafeFileHandle>> _rebuild;
    private readonly Lock _lock = new();
    private Task<SafeFileHandle>? _file;
    private DateTime _rebuilt;
    private bool _disposed;

    private TranscodedSource(BlobCache cache, Descriptor transcoding, Func<Task<SafeFileHandle>> rebuild)
    {
        _rebuild = rebuild;
        _file = TryOpen(transcoding, cache) is { } file ? Task.FromResult(file) : null;
    }

    /// <summary>Opens what a layer's (or archive's) spans are read from: its own blob, or its transcoding.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="index">Its index.</param>
    /// <param name="source">Where its own blob comes from.</param>
    /// <param name="rebuild">Indexes it once more, which puts the transcoding into the cache.</param>
    /// <param name="cache">The cache.</param>
    /// <param name="loggers">For the reader.</param>
    public static BlobReader OpenSpans(Descriptor layer, LayerIndex index, IImageSource source, Func<Task> rebuild, BlobCache cache, ILoggerFactory loggers)
    {
        ILogger<BlobReader> logger = loggers.CreateLogger<BlobReader>();
        return index.Transcoding is { } transcoding
            ? new BlobReader(transcoding, index.Chunks, new TranscodedSource(cache, transcoding, RebuildAsync), cache, logger, ownsSource: true)
            : new BlobReader(layer, index.Chunks, source, cache, logger);

        async Task<SafeFileHandle> RebuildAsync()
        {
            loggers.CreateLogger<TranscodedSource>().TranscodingRebuilt(layer.Digest.ToString());
            await rebuild().ConfigureAwait(false);
            return TryOpen(index.Transcoding, cache)
                ?? throw new ImageException(ImageError.Local, $"The transcoded form of layer {layer.Digest} is gone from the cache {cache.Root} and could not be made again: mount the image again.");
        }
    }

    public bool IsLocal => true;

    public Task<RawManifest> GetRootAsync(CancellationToken cancellationToken) => throw new NotSupportedException();

    public Task<RawManifest> GetManifestAsync(Descriptor descriptor, CancellationToken cancellationToken) => throw new NotSupportedException();

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
                return new FileRangeStream(SharedFile.Duplicate(file), $"The transcoded layer {blob.Digest}", offset, length);
            }
        }
    }

    public void Distrust(Descriptor blob)
    {
        lock (_lock)
        {
            if (DateTime.UtcNow - _rebuilt > s_rebuiltIsTrusted)
            {
                Close();
            }
        }
    }

    public ValueTask DisposeAsync()
    {
        lock (_lock)
        {
            _disposed = true;
            Close();
        }
        return ValueTask.CompletedTask;
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

    private static SafeFileHandle? TryOpen(Descriptor transcoding, BlobCache cache)
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
