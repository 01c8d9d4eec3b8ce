using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Store;
using Microsoft.Extensions.Logging;

namespace LazyMount.Layers;

/// <summary>Opens the layers of an image for reading at random, and compares an index that others made with the layer.</summary>
/// <param name="store">Where the indexes come from.</param>
/// <param name="cache">Where chunks are kept.</param>
/// <param name="loggers">For the readers.</param>
public sealed class LayerReaders(LayerStore store, BlobCache cache, ILoggerFactory loggers)
{
    // Four spans of 2 MiB for each side of a comparison.
    private const long ComparisonSpans = 16 << 20;

    /// <summary>
    /// Opens all layers of an image, lowest first in the result. The indexes are for merging: a layer itself keeps only what
    /// reading needs, so the rest may go afterwards.
    /// </summary>
    /// <exception cref="ImageException">The first layer that failed; the others are given up.</exception>
    public async Task<(Layer Layer, LayerIndex Index)[]> OpenAsync(Image image, SpanCache spans, IProgress<LayerProgress>? progress, CancellationToken cancellationToken)
    {
        LayerIndex[] indexes = await store.GetAsync(image, progress, cancellationToken).ConfigureAwait(false);
        var layers = new (Layer, LayerIndex)[indexes.Length];
        for (int i = 0; i < layers.Length; i++)
        {
            layers[i] = (Open(image.Layers[i], image, indexes[i], spans), indexes[i]);
        }
        return layers;
    }

    /// <summary>
    /// Streams a layer whole and holds the index that is in use against it: null when they agree, and then the one built now is
    /// stored in its place; else the difference, as a sentence. What cannot be streamed throws.
    /// </summary>
    /// <param name="blob">The layer.</param>
    /// <param name="image">The image that it is of.</param>
    /// <param name="believed">The index in use.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task<string?> FindDifferenceAsync(Descriptor blob, Image image, LayerIndex believed, CancellationToken cancellationToken)
    {
        if (believed.Origin == IndexOrigin.Built)
        {
            return null;
        }
        LayerIndex built;
        try
        {
            built = await store.PassAsync(blob, image.Source, cancellationToken).ConfigureAwait(false);
        }
        catch (ImageException e) when (e.Error is ImageError.Verification or ImageError.Invalid or ImageError.Unsupported)
        {
            return e.Message;
        }
        using var spans = new SpanCache(ComparisonSpans);
        using Layer builtLayer = Open(blob, image, built, spans), believedLayer = Open(blob, image, believed, spans);
        string? difference;
        try
        {
            difference = await new IndexComparison(believed, believedLayer, built, builtLayer).FindDifferenceAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is InvalidDataException or ImageException { Error: ImageError.Verification })
        {
            difference = e.Message;
        }
        if (difference is null)
        {
            store.Save(built, image);
            return null;
        }
        return $"The index of layer {blob.Digest} ({believed.Origin}) is not what the layer holds: {difference}.";
    }

    private Layer Open(Descriptor layer, Image image, LayerIndex index, SpanCache spans)
        => new(index, TranscodedSource.OpenSpans(layer, index, image.Source, () => store.PassAsync(layer, image.Source, CancellationToken.None), cache, loggers), spans);
}
