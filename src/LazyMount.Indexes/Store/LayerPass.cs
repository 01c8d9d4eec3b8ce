using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using Microsoft.Extensions.Logging;

namespace LazyMount.Indexes.Store;

/// <summary>
/// Reads a layer whole: over what the cache has of it, and over the rest as it is fetched and kept. The index that comes out is
/// proved by the layer's digest, and so are the bytes from then on. Puts a transcoding into the cache where one is needed.
/// </summary>
/// <param name="cache">The cache.</param>
/// <param name="keepsBlobs">Whether the compressed bytes that pass are kept.</param>
/// <param name="logger">Told what was indexed, and of damage.</param>
/// <param name="memory">What the indexes of the image's layers take together; null for a layer that is indexed alone.</param>
internal sealed class LayerPass(BlobCache cache, bool keepsBlobs, ILogger logger, ImageBudget? memory = null)
{
    /// <summary>The layer's bytes, not verified.</summary>
    public Task<Stream> OpenAsync(Descriptor layer, Image image, CancellationToken cancellationToken)
        => new BlobPass(cache, keepsBlobs, logger).OpenAsync(layer, image.Source, Proof.ImageScope(image, image.Source.IsVerified), cancellationToken);

    /// <summary>Makes one pass over the layer, also when an index is stored.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="image">The image that it is of.</param>
    /// <param name="believed">The proof by which parts of the layer were read already: their bytes are not fetched again.</param>
    /// <param name="progress">Told how many bytes of the layer have passed.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="ImageException">The layer cannot be had, or is not what its digest says.</exception>
    public async Task<LayerIndex> RunAsync(Descriptor layer, Image image, Proof? believed, Action<long>? progress, CancellationToken cancellationToken)
    {
        // :: Step 3: nobody has it: one pass over the blob.
        (ChunkScope scope, ChunkScope? document) = Proof.ScopesOfPass(image, believed);
        try
        {
            return await RunAsync(transcodesGzip: false).ConfigureAwait(false);
        }
        catch (NeedsTranscodingException)
        {
            return await RunAsync(transcodesGzip: true).ConfigureAwait(false);
        }

        Task<LayerIndex> RunAsync(bool transcodesGzip)
        {
            var indexer = new LayerIndexer(logger)
            {
                DiffId = image.Source.DiffIdOf(layer.Digest),
                StageTranscoding = () => cache.StageDerived(layer.Digest),
                TranscodesGzip = transcodesGzip,
                Memory = memory,
            };
            return new BlobPass(cache, keepsBlobs, logger) { Document = document }.RunAsync(
                layer, image.Source, scope,
                stream => indexer.IndexAsync(layer, stream, progress, cancellationToken),
                index => index.Transcoding is not null, // that is what is read from now on
                cancellationToken);
        }
    }
}
