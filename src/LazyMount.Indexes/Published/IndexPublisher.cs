using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Published.Soci;

namespace LazyMount.Indexes.Published;

/// <summary>One layer of a pushed index.</summary>
/// <param name="Layer">The layer.</param>
/// <param name="Blob">The blob that holds its index; null when none was made.</param>
/// <param name="Reason">Why none was made; else null.</param>
public sealed record PushedLayer(Descriptor Layer, Descriptor? Blob, string? Reason);

/// <summary>The indexes of one image's layers, as they were pushed.</summary>
/// <param name="Manifest">The artifact's manifest; null when no layer has an index to push.</param>
/// <param name="Layers">The image's layers, lowest first.</param>
public sealed record PushedIndexes(Descriptor? Manifest, IReadOnlyList<PushedLayer> Layers);

/// <summary>In which form the indexes of an image's layers are published.</summary>
public enum PublishedFormat
{
    /// <summary>Our own artifact, whose subject is the image's manifest.</summary>
    LazyMount,

    /// <summary>A SOCI index of version 1, whose subject is the image's manifest.</summary>
    Soci,

    /// <summary>A SOCI index of version 2, which the image's manifest and the image index name.</summary>
    Soci2,
}

/// <summary>Pushes the indexes of an image's layers into the image's repository or layout.</summary>
/// <param name="target">The image's source.</param>
/// <param name="openBlob">Opens a layer's whole blob: a ztoc takes one more pass over it.</param>
public sealed class IndexPublisher(IArtifactTarget target, Func<Descriptor, Image, CancellationToken, Task<Stream>> openBlob)
{
    private const int LargestShare = 8;

    /// <summary>
    /// Pushes the artifact that holds an image's indexes. Only indexes that were built from the whole blob, whose digest was verified,
    /// are published: a layer with a table of contents of its own needs none, and one that has to be transcoded has to be streamed
    /// whole in any case. A layer has no ztoc when SOCI cannot express it, or when the ztoc would take more than an eighth of the
    /// layer's bytes: such a small layer is fetched whole as soon.
    /// </summary>
    /// <param name="image">The image.</param>
    /// <param name="indexes">The indexes of all layers, lowest first.</param>
    /// <param name="format">The artifact's form.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="ImageException">The target refuses, or a layer cannot be read.</exception>
    public async Task<PushedIndexes> PushAsync(Image image, IReadOnlyList<LayerIndex> indexes, PublishedFormat format, CancellationToken cancellationToken)
    {
        var layers = new List<PushedLayer>();
        foreach (LayerIndex index in indexes)
        {
            Descriptor layer = image.Layers[layers.Count];
            layers.Add(layers.Find(each => each.Layer.Digest == layer.Digest)
                ?? await PushLayerAsync(image, layer, index, format, cancellationToken).ConfigureAwait(false));
        }
        Descriptor[] blobs = [.. layers.Select(each => each.Blob).OfType<Descriptor>().DistinctBy(each => each.Digest)];
        if (blobs.Length == 0)
        {
            return new PushedIndexes(null, layers);
        }
        await target.PushBlobAsync(new Descriptor("", Digest.OfSha256(ArtifactManifest.EmptyConfig.Span), ArtifactManifest.EmptyConfig.Length), ArtifactManifest.EmptyConfig, cancellationToken).ConfigureAwait(false);
        RawManifest manifest = format switch
        {
            PublishedFormat.LazyMount => LayerIndexArtifact.CreateManifest(blobs, image.ManifestDescriptor),
            PublishedFormat.Soci => SociIndex.CreateManifest(SociIndex.Version1, blobs, image.ManifestDescriptor),
            _ => SociIndex.CreateManifest(SociIndex.Version2, blobs, null),
        };
        await (format == PublishedFormat.Soci2
            ? target.PushManifestAsync(manifest, null, cancellationToken)
            : target.PushReferrerAsync(manifest, image.ManifestDescriptor.Digest, cancellationToken)).ConfigureAwait(false);
        return new PushedIndexes(manifest.Descriptor, layers);
    }

    private async Task<PushedLayer> PushLayerAsync(Image image, Descriptor layer, LayerIndex index, PublishedFormat format, CancellationToken cancellationToken)
    {
        string? reason = ReasonAgainst(index);
        if (reason is not null)
        {
            return new PushedLayer(layer, null, reason);
        }
        (Descriptor? blob, byte[]? bytes) = format == PublishedFormat.LazyMount ? LayerIndexArtifact.Encode(index) : (null, null);
        if (blob is null)
        {
            (blob, bytes, reason) = await MakeZtocAsync(image, layer, index, changesManifest: format == PublishedFormat.Soci2, cancellationToken).ConfigureAwait(false);
        }
        if (blob is not null)
        {
            await target.PushBlobAsync(blob, bytes, cancellationToken).ConfigureAwait(false);
        }
        return new PushedLayer(layer, blob, reason);
    }

    private async Task<(Descriptor? Blob, byte[]? Bytes, string? Reason)> MakeZtocAsync(Image image, Descriptor layer, LayerIndex index, bool changesManifest, CancellationToken cancellationToken)
    {
        if (ZtocBuilder.ReasonAgainst(index) is { } reason)
        {
            return (null, null, reason);
        }
        Stream blob = await openBlob(layer, image, cancellationToken).ConfigureAwait(false);
        await using (blob.ConfigureAwait(false))
        {
            (byte[]? ztoc, string? lack) = await ZtocBuilder.BuildAsync(index, blob, cancellationToken).ConfigureAwait(false);
            return ztoc is null ? (null, null, lack)
                : ztoc.Length > layer.Size / LargestShare ? (null, null, $"its ztoc would take {ztoc.Length} bytes, more than an eighth of it")
                : (SociIndex.DescribeZtoc(ztoc, changesManifest ? layer with { MediaType = MediaTypes.ToOci(layer.MediaType) } : layer), ztoc, null);
        }
    }

    private static string? ReasonAgainst(LayerIndex index)
        => index.Origin != IndexOrigin.Built ? "it has a table of contents of its own"
            : index.Transcoding is not null ? "it can only be read from its start, so it is streamed whole in any case"
            : null;
}
