using LazyMount.Blobs;
using LazyMount.Blobs.Oci;
using Microsoft.Extensions.Logging;

namespace LazyMount.Layers;

/// <summary>How far one layer's indexing has come; reported often, from any thread.</summary>
/// <param name="Layer">Position in the image, lowest 0.</param>
/// <param name="Digest">Its digest.</param>
/// <param name="CompressedBytes">Bytes of the blob that have passed.</param>
/// <param name="CompressedSize">Bytes of the blob in all.</param>
/// <param name="Done">The layer's index is there (at once when it was cached).</param>
public readonly record struct LayerProgress(int Layer, Digest Digest, long CompressedBytes, long CompressedSize, bool Done);

/// <summary>
/// Gets every layer's <see cref="LayerIndex"/>: from the store in the cache, else by one streaming pass over the blob
/// that also keeps the blob. Stored indexes are versioned; a corrupt or older one is rebuilt, never trusted, never fatal.
/// </summary>
public sealed class LayerStore(BlobCache cache, ILoggerFactory loggers)
{
    /// <summary>The stored index of a layer, or null when there is none that can be used. Touches neither network nor blob.</summary>
    public LayerIndex? TryLoadIndex(Descriptor layer) => throw new NotImplementedException($"{cache}{loggers}");

    /// <summary>Opens all layers of an image, in parallel, lowest first in the result. Nothing half-written stays when cancelled or failed.</summary>
    public Task<Layer[]> OpenAsync(Image image, SpanCache spans, IProgress<LayerProgress>? progress, CancellationToken cancellationToken)
        => throw new NotImplementedException($"{cache}{loggers}");
}
