using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using LazyMount.Indexes.Model;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Layers;

/// <summary>Opens the bytes that a layer's (or an archive's) spans are decoded from: its own blob, or its transcoding.</summary>
/// <param name="source">Where the layer's own blob comes from.</param>
/// <param name="cache">Where chunks and transcodings are kept.</param>
/// <param name="loggers">For the readers.</param>
internal sealed class SpanSource(IBlobSource source, BlobCache cache, ILoggerFactory loggers)
{
    /// <summary>Opens a reader.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="index">Its index.</param>
    /// <param name="scope">Where its chunks are kept: what the index's proof allows.</param>
    /// <param name="rebuild">Indexes it once more, which puts the transcoding into the cache.</param>
    public BlobReader Open(Descriptor layer, LayerHead index, ChunkScope scope, Func<Task> rebuild)
    {
        ILogger<BlobReader> logger = loggers.CreateLogger<BlobReader>();
        if (index.Transcoding is not { } transcoding)
            return new BlobReader(layer, index.Proof.Chunks, source, cache, logger, scope);
        var transcoded = new TranscodedSource(transcoding, cache, RebuildAsync);
        return new BlobReader(transcoding, index.Proof.Chunks, transcoded, cache, logger, owned: transcoded);

        async Task<SafeFileHandle> RebuildAsync()
        {
            loggers.CreateLogger<SpanSource>().TranscodingRebuilt(layer.Digest.ToString());
            await rebuild().ConfigureAwait(false);
            return TranscodedSource.TryOpen(transcoding, cache)
                ?? throw new ImageException(ImageError.Local, $"cannot read layer {layer.Digest}: its transcoded form is missing in the cache '{cache.Root}' and could not be made again; mount the image again");
        }
    }
}
