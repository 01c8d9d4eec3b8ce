using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Store;
using Microsoft.Extensions.Logging;

namespace LazyMount.Layers;

/// <summary>Opens the layers of an image for reading at random, and compares an index that others made with the layer.</summary>
/// <param name="finder">Where the indexes come from.</param>
/// <param name="cache">Where chunks are kept.</param>
/// <param name="loggers">For the readers.</param>
public sealed class LayerReaders(IndexFinder finder, BlobCache cache, ILoggerFactory loggers)
{
    // Four spans of 2 MiB for each side of a comparison.
    private const long ComparisonSpans = 16 << 20;

    /// <summary>
    /// Opens all layers of an image, lowest first in the result; a digest that stands in the image twice is one layer, at both
    /// places. The indexes are for merging: a layer itself keeps only what reading needs, so the rest may go afterwards.
    /// </summary>
    /// <exception cref="ImageException">The first layer that failed; the others are given up.</exception>
    public async Task<(Layer Layer, LayerIndex Index)[]> OpenAsync(Image image, SpanCache spans, IProgress<LayerProgress>? progress, CancellationToken cancellationToken)
    {
        LayerIndex[] indexes = await finder.GetAsync(image, progress, cancellationToken).ConfigureAwait(false);
        return [.. Open(image, indexes, spans).Zip(indexes)];
    }

    /// <summary>Opens all layers of an image by what is known of them already; a digest that stands in the image twice is one layer, at both places.</summary>
    /// <param name="image">The image.</param>
    /// <param name="heads">Of each layer, lowest first. A layer owns its head.</param>
    /// <param name="spans">Where decoded spans are kept.</param>
    public Layer[] Open(Image image, IReadOnlyList<LayerHead> heads, SpanCache spans)
    {
        var layers = new Layer[heads.Count];
        var opened = new Dictionary<Digest, Layer>();
        for (int i = 0; i < layers.Length; i++)
        {
            if (!opened.TryGetValue(image.Layers[i].Digest, out Layer? layer))
            {
                opened[image.Layers[i].Digest] = layer = Open(image.Layers[i], image, heads[i], spans);
            }
            layers[i] = layer;
        }
        return layers;
    }

    /// <summary>
    /// Streams a layer whole and holds the index that is in use against it: null when they agree, and then the layer is proved from
    /// then on, here and for every image: the index built now is stored. Else the difference, as a sentence. What cannot be streamed throws.
    /// </summary>
    /// <param name="blob">The layer.</param>
    /// <param name="image">The image that it is of.</param>
    /// <param name="believed">The index in use.</param>
    /// <param name="inUse">The layer as it is read by that.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task<string?> FindDifferenceAsync(Descriptor blob, Image image, LayerIndex believed, Layer inUse, CancellationToken cancellationToken)
    {
        if (believed.Proof.By == Voucher.Layer)
        {
            return null;
        }
        LayerIndex built;
        try
        {
            built = await finder.PassAsync(blob, image, believed.Proof, cancellationToken).ConfigureAwait(false);
        }
        catch (ImageException e) when (e is not RegistryException && e.Error is (ImageError.Verification or ImageError.Invalid or ImageError.Unsupported))
        {
            return e.Message; // of the layer; an odd answer of a registry says nothing about it
        }
        using var spans = new SpanCache(ComparisonSpans);
        using Layer builtLayer = Open(blob, image, built, spans), believedLayer = Open(blob, image, believed, spans, ownsHead: false);
        believedLayer.Prove(built); // reads the bytes that have just passed
        inUse.Prove(built);
        string? difference = FindOtherDigest(believed, built);
        try
        {
            difference ??= await new IndexComparison(believed, believedLayer, built, builtLayer).FindDifferenceAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is InvalidDataException or ImageException { Error: ImageError.Verification })
        {
            difference = e.Message;
        }
        if (difference is null)
        {
            finder.Save(built, image);
            return null;
        }
        return $"the index of layer {blob.Digest} ({believed.Origin}) does not match the layer: {difference}";
    }

    private static string? FindOtherDigest(LayerIndex believed, LayerIndex built)
    {
        if (built.Transcoding is not null || (believed.Proof.Chunks, built.Proof.Chunks) is not ({ } theirs, { } ours))
        {
            return null;
        }
        int same = 0;
        while (same < Math.Min(theirs.Count, ours.Count) && theirs[same].SequenceEqual(ours[same]))
        {
            same++;
        }
        return same == ours.Count && theirs.Count == same ? null : $"its SHA-256 of chunk {same} does not match";
    }

    private Layer Open(Descriptor layer, Image image, LayerHead head, SpanCache spans, bool ownsHead = true)
    {
        Proof proof = head.Proof;
        return new Layer(head, new SpanSource(image.Source, cache, loggers).Open(layer, head, proof.ScopeFor(image), () => finder.PassAsync(layer, image, proof, CancellationToken.None)), spans, ownsHead);
    }
}
