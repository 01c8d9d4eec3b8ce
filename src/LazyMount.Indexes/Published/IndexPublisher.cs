using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Published.Soci;

namespace LazyMount.Indexes.Published;

/// <summary>One layer of a pushed index.</summary>
/// <param name="Layer">The layer.</param>
/// <param name="Blob">What holds its index; null when none was made.</param>
/// <param name="Sent">The blob was not there before.</param>
/// <param name="Reason">Why none was made; else null.</param>
public sealed record PushedLayer(Descriptor Layer, Descriptor? Blob, bool Sent, string? Reason);

/// <summary>What was pushed.</summary>
/// <param name="Manifest">The artifact's manifest; null when there was nothing to push.</param>
/// <param name="Layers">The image's layers, lowest first.</param>
public sealed record PushedIndexes(Descriptor? Manifest, IReadOnlyList<PushedLayer> Layers);

/// <summary>Puts the indexes of an image's layers beside it, where others find them.</summary>
public static class IndexPublisher
{
    private const int LargestShare = 8;

    /// <summary>
    /// As an artifact of ours. Only what was built from the whole blob, whose digest was verified, is published: a layer with
    /// a table of contents of its own needs none, and one that has to be transcoded has to be streamed whole in any case.
    /// </summary>
    /// <param name="image">The image.</param>
    /// <param name="indexes">Of all layers, lowest first.</param>
    /// <param name="target">The image's source.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public static async Task<PushedIndexes> PushAsync(Image image, IReadOnlyList<LayerIndex> indexes, IArtifactTarget target, CancellationToken cancellationToken)
    {
        var layers = new List<PushedLayer>();
        for (int i = 0; i < indexes.Count; i++)
        {
            Descriptor layer = image.Layers[i];
            if (ReasonAgainst(indexes[i]) is { } reason)
            {
                layers.Add(new PushedLayer(layer, null, false, reason));
                continue;
            }
            (Descriptor blob, byte[] bytes) = LayerIndexArtifact.Encode(indexes[i]);
            layers.Add(new PushedLayer(layer, blob, await target.PushBlobAsync(blob, bytes, cancellationToken).ConfigureAwait(false), null));
        }
        return await FinishAsync(image, layers, blobs => LayerIndexArtifact.CreateManifest(blobs, image.ManifestDescriptor), MediaTypes.Empty, target, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>
    /// As a SOCI index, version 1. A layer has no ztoc when SOCI cannot express it, or when its ztoc would take more than an eighth
    /// of its bytes: such a small layer is fetched whole as soon.
    /// </summary>
    /// <param name="image">The image.</param>
    /// <param name="indexes">Of all layers, lowest first.</param>
    /// <param name="openBlob">Opens a layer's whole blob.</param>
    /// <param name="target">The image's source.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public static async Task<PushedIndexes> PushSociAsync(
        Image image, IReadOnlyList<LayerIndex> indexes, Func<Descriptor, CancellationToken, Task<Stream>> openBlob, IArtifactTarget target, CancellationToken cancellationToken)
    {
        var layers = new List<PushedLayer>();
        foreach (LayerIndex index in indexes)
        {
            Descriptor layer = image.Layers[layers.Count];
            layers.Add(layers.Find(each => each.Layer.Digest == layer.Digest)
                ?? await PushZtocAsync(layer, index, openBlob, target, cancellationToken).ConfigureAwait(false));
        }
        return await FinishAsync(image, layers, blobs => SociIndex.CreateManifest(blobs, image.ManifestDescriptor), SociIndex.Version1, target, cancellationToken).ConfigureAwait(false);
    }

    private static async Task<PushedLayer> PushZtocAsync(
        Descriptor layer, LayerIndex index, Func<Descriptor, CancellationToken, Task<Stream>> openBlob, IArtifactTarget target, CancellationToken cancellationToken)
    {
        string? reason = ReasonAgainst(index) ?? ZtocBuilder.ReasonAgainst(index);
        byte[]? ztoc = null;
        if (reason is null)
        {
            Stream blob = await openBlob(layer, cancellationToken).ConfigureAwait(false);
            await using (blob.ConfigureAwait(false))
            {
                (ztoc, reason) = await ZtocBuilder.BuildAsync(index, blob, cancellationToken).ConfigureAwait(false);
            }
        }
        if (ztoc is not null && ztoc.Length > layer.Size / LargestShare)
        {
            reason = $"its ztoc would take {ztoc.Length} bytes, more than an eighth of it";
            ztoc = null;
        }
        if (ztoc is null)
        {
            return new PushedLayer(layer, null, false, reason);
        }
        Descriptor descriptor = SociIndex.DescribeZtoc(ztoc, layer);
        return new PushedLayer(layer, descriptor, await target.PushBlobAsync(descriptor, ztoc, cancellationToken).ConfigureAwait(false), null);
    }

    private static async Task<PushedIndexes> FinishAsync(
        Image image, List<PushedLayer> layers, Func<IEnumerable<Descriptor>, RawManifest> createManifest, string configType, IArtifactTarget target, CancellationToken cancellationToken)
    {
        // A layer that stands in the image twice has one index.
        Descriptor[] blobs = [.. layers.Select(each => each.Blob).OfType<Descriptor>().DistinctBy(each => each.Digest)];
        if (blobs.Length == 0)
        {
            return new PushedIndexes(null, layers);
        }
        var config = new Descriptor(configType, Digest.OfSha256(ArtifactManifest.EmptyConfig.Span), ArtifactManifest.EmptyConfig.Length);
        await target.PushBlobAsync(config, ArtifactManifest.EmptyConfig, cancellationToken).ConfigureAwait(false);
        RawManifest manifest = createManifest(blobs);
        await target.PushReferrerAsync(manifest, image.ManifestDescriptor.Digest, cancellationToken).ConfigureAwait(false);
        return new PushedIndexes(manifest.Descriptor, layers);
    }

    private static string? ReasonAgainst(LayerIndex index)
        => index.Origin != IndexOrigin.Built ? "it has a table of contents of its own"
            : index.Transcoding is not null ? "it can only be read from its start, so it is streamed whole in any case"
            : null;
}
