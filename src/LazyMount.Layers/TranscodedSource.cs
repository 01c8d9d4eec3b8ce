using LazyMount.Blobs;
using LazyMount.Blobs.Layout;
using LazyMount.Blobs.Oci;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Layers;

/// <summary>
/// Where a transcoding comes from when the cache has lost or damaged it: from another pass over the layer, which gives the
/// same bytes. Readers look into the cache first.
/// </summary>
/// <param name="rebuild">Makes the pass, and opens what it has put into the cache.</param>
internal sealed class TranscodedSource(Func<Task<SafeFileHandle>> rebuild) : IImageSource
{
    /// <summary>Opens what a layer's (or archive's) spans are read from: its own blob, or its transcoding, which is held open.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="index">Its index.</param>
    /// <param name="source">Where its own blob comes from.</param>
    /// <param name="rebuild">Indexes it once more, which puts the transcoding into the cache.</param>
    /// <param name="cache">The cache.</param>
    /// <param name="loggers">For the reader.</param>
    public static BlobReader OpenSpans(Descriptor layer, LayerIndex index, IImageSource source, Func<Task> rebuild, BlobCache cache, ILoggerFactory loggers)
    {
        ILogger<BlobReader> logger = loggers.CreateLogger<BlobReader>();
        if (index.Transcoding is not { } transcoding)
        {
            return new BlobReader(layer, index.Chunks, source, cache, logger);
        }
        var reader = new BlobReader(transcoding, index.Chunks, new TranscodedSource(RebuildAsync), cache, logger);
        reader.TryHold();
        return reader;

        async Task<SafeFileHandle> RebuildAsync()
        {
            loggers.CreateLogger<TranscodedSource>().TranscodingRebuilt(layer.Digest.ToString());
            await rebuild().ConfigureAwait(false);
            return cache.TryOpen(transcoding.Digest)
                ?? throw new ImageException(ImageError.Local, $"The transcoded form of layer {layer.Digest} is gone from the cache {cache.Root} and could not be made again: mount the image again.");
        }
    }

    /// <summary>Whether an index can be used: its transcoding, if it has one, is in the cache.</summary>
    public static bool IsThere(LayerIndex index, BlobCache cache)
    {
        if (index.Transcoding is not { } transcoding)
        {
            return true;
        }
        using SafeFileHandle? file = cache.TryOpen(transcoding.Digest);
        return file is not null && RandomAccess.GetLength(file) == transcoding.Size;
    }

    private readonly Lock _lock = new();
    private Task<SafeFileHandle>? _rebuilt;

    public bool IsLocal => false;

    public Task<RawManifest> GetRootAsync(CancellationToken cancellationToken) => throw new NotSupportedException();

    public Task<RawManifest> GetManifestAsync(Descriptor descriptor, CancellationToken cancellationToken) => throw new NotSupportedException();

    public async Task<Stream> OpenBlobAsync(Descriptor blob, long offset, long length, CancellationToken cancellationToken)
    {
        Task<SafeFileHandle> rebuilt;
        lock (_lock)
        {
            // One that has failed may go well the next time.
            if (_rebuilt is null or { IsFaulted: true } or { IsCanceled: true })
            {
                _rebuilt = Task.Run(rebuild);
            }
            rebuilt = _rebuilt;
        }
        SafeFileHandle file = await rebuilt.WaitAsync(cancellationToken).ConfigureAwait(false);
        return new FileRangeStream(file, $"The transcoded layer {blob.Digest}", offset, length, leaveOpen: true);
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
