using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Published.Soci;
using LazyMount.Indexes.Toc;
using Microsoft.Extensions.Logging;

namespace LazyMount.Indexes.Published;

/// <summary>One layer's index as somebody published it.</summary>
/// <param name="Blob">The blob that holds it.</param>
/// <param name="Origin">Ours or SOCI's.</param>
/// <param name="IsBound">The manifest names it, or the image index that led to the manifest does.</param>
/// <param name="Prefetch">The blob that says what to fetch first, if there is one.</param>
public sealed record PublishedIndex(Descriptor Blob, IndexOrigin Origin, bool IsBound, Descriptor? Prefetch = null);

/// <summary>
/// The indexes that were published for one image, as far as they are trusted: first those whose digest the image index or the
/// manifest holds, then those that the registry lists as the manifest's referrers. The registry is asked when the first layer needs it, and
/// once; what it gives is bounded, checked, and when it is of no use as good as nothing. Thread-safe.
/// </summary>
internal sealed class PublishedIndexes(Image image, IndexTrust trust, ILogger logger) : IDisposable
{
    private const int MaxManifests = 4; // looked at, of those that are listed

    // No index of a layer is half as large, but for tiny layers: then it is not worth having.
    private const long SmallIndex = 1 << 20;
    private const long MaxIndex = 512 << 20;

    private static readonly Dictionary<Digest, PublishedIndex> s_none = [];

    private readonly SemaphoreSlim _asking = new(1, 1);
    private Dictionary<Digest, PublishedIndex>? _bound;
    private Dictionary<Digest, PublishedIndex>? _listed;

    /// <summary>
    /// The artifacts that the reference vouches for besides the image's manifest. Another reference to the same manifest may vouch for others, or for
    /// none.
    /// </summary>
    public static IEnumerable<Digest> BoundTo(Image image)
    {
        IEnumerable<Digest> bound = LayerIndexArtifact.NamedBy(image).Take(MaxManifests).Select(each => each.Digest);
        return SociIndex.NamedBy(image) is { } soci ? bound.Append(soci) : bound;
    }

    /// <summary>What there is for a layer, or null.</summary>
    public async Task<PublishedIndex?> FindAsync(Descriptor layer, CancellationToken cancellationToken)
    {
        if (trust == IndexTrust.None)
        {
            return null;
        }
        await _asking.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            _bound ??= await ReadBoundAsync(cancellationToken).ConfigureAwait(false);
            if (_bound.TryGetValue(layer.Digest, out PublishedIndex? index) || trust == IndexTrust.Bound)
            {
                return index;
            }
            _listed ??= await ReadListedAsync(cancellationToken).ConfigureAwait(false);
            return _listed.GetValueOrDefault(layer.Digest);
        }
        finally
        {
            _asking.Release();
        }
    }

    /// <summary>A layer's index, or null when there is none that can be used.</summary>
    public async Task<LayerIndex?> TryGetAsync(Descriptor layer, CancellationToken cancellationToken)
    {
        if (await FindAsync(layer, cancellationToken).ConfigureAwait(false) is not { } published)
        {
            return null;
        }
        try
        {
            byte[] bytes = await ReadAsync(published.Blob, layer, cancellationToken).ConfigureAwait(false);
            LayerIndex index = published.Origin == IndexOrigin.Published
                ? LayerIndexArtifact.Decode(bytes, layer)
                : await ReadZtocAsync(bytes, layer, cancellationToken).ConfigureAwait(false);
            index = index with { IsBound = published.IsBound };
            if (published.Prefetch is { } list)
            {
                index = index with { Prefetch = await ReadPrefetchAsync(list, layer, index, cancellationToken).ConfigureAwait(false) };
            }
            logger.PublishedIndexUsed(layer.Digest.ToString(), index.Origin, published.Blob.Digest.ToString(), bytes.Length);
            return index;
        }
        catch (Exception e) when (IsUnusable(e) || e is OverflowException or EndOfStreamException)
        {
            logger.PublishedIndexUnusable(layer.Digest.ToString(), published.Blob.Digest.ToString(), e.Message);
            return null;
        }
    }

    public void Dispose() => _asking.Dispose();

    private static bool IsUnusable(Exception e) => e is ImageException or InvalidDataException;

    private async Task<LayerIndex> ReadZtocAsync(byte[] bytes, Descriptor layer, CancellationToken cancellationToken)
    {
        (LayerIndex index, bool assumesPlainHeader) = ZtocReader.Read(bytes, layer);
        if (assumesPlainHeader && await ReadRangeAsync(layer, 4, cancellationToken).ConfigureAwait(false) is not [0x1F, 0x8B, 8, 0])
        {
            throw new InvalidDataException("it takes the layer's gzip header for one without a name or other options");
        }
        return await TocFiles.HideAsync(index, new BlobRanges(image.Source, layer), cancellationToken).ConfigureAwait(false);
    }

    // The index is as good without it.
    private async Task<PrefetchRange[]> ReadPrefetchAsync(Descriptor list, Descriptor layer, LayerIndex index, CancellationToken cancellationToken)
    {
        try
        {
            if (list.Size > SociPrefetch.MaxSize)
            {
                throw new InvalidDataException($"its list of spans to fetch first has {list.Size} bytes, more than {SociPrefetch.MaxSize}");
            }
            byte[] json = await ReadRangeAsync(list with { Urls = null }, (int)list.Size, cancellationToken).ConfigureAwait(false);
            return list.Digest.Verifies(json) ? SociPrefetch.Read(json, index) : throw new InvalidDataException("its list of spans to fetch first does not match its digest");
        }
        catch (Exception e) when (IsUnusable(e) || e is EndOfStreamException)
        {
            logger.PublishedIndexUnusable(layer.Digest.ToString(), list.Digest.ToString(), e.Message);
            return [];
        }
    }

    private async Task<Dictionary<Digest, PublishedIndex>> ReadBoundAsync(CancellationToken cancellationToken)
    {
        // Ours first; of a layer that it does not have, SOCI's.
        var table = new Dictionary<Digest, PublishedIndex>();
        foreach (Descriptor artifact in LayerIndexArtifact.NamedBy(image).Take(MaxManifests))
        {
            await AddAsync(artifact, LayerIndexArtifact.ArtifactType).ConfigureAwait(false);
        }
        if (SociIndex.NamedBy(image) is { } digest)
        {
            await AddAsync(new Descriptor(MediaTypes.OciManifest, digest, Descriptor.UnknownSize), SociIndex.Version2).ConfigureAwait(false);
        }
        return table;

        async Task AddAsync(Descriptor artifact, string type)
        {
            foreach ((Digest layer, PublishedIndex index) in await TryReadTableAsync(artifact, type, isBound: true, cancellationToken).ConfigureAwait(false) ?? s_none)
            {
                table.TryAdd(layer, index);
            }
        }
    }

    // Ours before SOCI's: it is a tenth of the size and tells all.
    private async Task<Dictionary<Digest, PublishedIndex>> ReadListedAsync(CancellationToken cancellationToken)
    {
        IReadOnlyList<Descriptor> referrers = await ListAsync([LayerIndexArtifact.ArtifactType, SociIndex.Version1], cancellationToken).ConfigureAwait(false);
        Dictionary<Digest, PublishedIndex>? table = await ReadFirstAsync(referrers, cancellationToken).ConfigureAwait(false);
        if (table is null && referrers.Any(each => each.ArtifactType == LayerIndexArtifact.ArtifactType))
        {
            referrers = await ListAsync([SociIndex.Version1], cancellationToken).ConfigureAwait(false);
            table = await ReadFirstAsync(referrers, cancellationToken).ConfigureAwait(false);
        }
        return table ?? s_none;
    }

    private async Task<IReadOnlyList<Descriptor>> ListAsync(string[] artifactTypes, CancellationToken cancellationToken)
    {
        try
        {
            return await image.Source.GetReferrersAsync(image.ManifestDescriptor.Digest, artifactTypes, cancellationToken).ConfigureAwait(false);
        }
        catch (ImageException e)
        {
            logger.ReferrersUnavailable(image.Reference.ToString(), e.Message);
            return [];
        }
    }

    private async Task<Dictionary<Digest, PublishedIndex>?> ReadFirstAsync(IReadOnlyList<Descriptor> referrers, CancellationToken cancellationToken)
    {
        // Lists grow at their end: the last is the newest.
        foreach (Descriptor referrer in referrers.Reverse().Where(each => LayerIndexArtifact.IsReadable(each.Annotations)).Take(MaxManifests))
        {
            if (await TryReadTableAsync(referrer, referrer.ArtifactType!, isBound: false, cancellationToken).ConfigureAwait(false) is { } table)
            {
                return table;
            }
        }
        return null;
    }

    private async Task<Dictionary<Digest, PublishedIndex>?> TryReadTableAsync(Descriptor artifact, string artifactType, bool isBound, CancellationToken cancellationToken)
    {
        try
        {
            Manifest manifest = await ReadManifestAsync(artifact, cancellationToken).ConfigureAwait(false);
            // A version 2 index of SOCI has no subject: the image's manifest names it.
            if (manifest.ArtifactType != artifactType || (artifactType != SociIndex.Version2 && manifest.Subject?.Digest != image.ManifestDescriptor.Digest))
            {
                throw new InvalidDataException("it is something else, or refers to another image");
            }
            return artifactType == LayerIndexArtifact.ArtifactType
                ? TableOf(manifest, LayerIndexArtifact.LayerOf, IndexOrigin.Published, isBound)
                : TableOf(manifest, SociIndex.LayerOf, IndexOrigin.Soci, isBound);
        }
        catch (Exception e) when (IsUnusable(e))
        {
            logger.PublishedIndexUnusable(image.ManifestDescriptor.Digest.ToString(), artifact.Digest.ToString(), e.Message);
            return null;
        }
    }

    private static Dictionary<Digest, PublishedIndex> TableOf(Manifest manifest, Func<Descriptor, Digest?> layerOf, IndexOrigin origin, bool isBound)
    {
        var table = new Dictionary<Digest, PublishedIndex>();
        foreach (Descriptor blob in manifest.Layers)
        {
            if (layerOf(blob) is { } layer && !SociPrefetch.Is(blob))
            {
                table.TryAdd(layer, new PublishedIndex(blob, origin, isBound));
            }
        }
        foreach (Descriptor list in manifest.Layers.Where(SociPrefetch.Is))
        {
            if (layerOf(list) is { } layer && table.TryGetValue(layer, out PublishedIndex? index))
            {
                table[layer] = index with { Prefetch = list };
            }
        }
        return table;
    }

    private async Task<Manifest> ReadManifestAsync(Descriptor descriptor, CancellationToken cancellationToken)
    {
        if (descriptor.Size > ManifestDocument.MaxSize)
        {
            throw new InvalidDataException($"its manifest has {descriptor.Size} bytes, more than {ManifestDocument.MaxSize}");
        }
        RawManifest raw = await image.Source.GetManifestAsync(descriptor, cancellationToken).ConfigureAwait(false);
        return ManifestDocument.Parse(raw.Bytes.Span, descriptor.MediaType, $"the manifest {descriptor.Digest}") as Manifest
            ?? throw new InvalidDataException("it is an image index, not a manifest");
    }

    private async Task<byte[]> ReadAsync(Descriptor blob, Descriptor layer, CancellationToken cancellationToken)
    {
        if (blob.Size > Math.Min(MaxIndex, SmallIndex + layer.Size / 2))
        {
            throw new InvalidDataException($"it has {blob.Size} bytes, too many for a layer of {layer.Size}");
        }
        byte[] bytes = await ReadRangeAsync(blob with { Urls = null }, (int)blob.Size, cancellationToken).ConfigureAwait(false);
        return blob.Digest.Verifies(bytes) ? bytes : throw new InvalidDataException("it does not match its digest");
    }

    private async Task<byte[]> ReadRangeAsync(Descriptor blob, int length, CancellationToken cancellationToken)
    {
        var bytes = new byte[Math.Min(length, blob.Size)];
        Stream stream = await image.Source.OpenBlobAsync(blob, 0, bytes.Length, cancellationToken).ConfigureAwait(false);
        await using (stream.ConfigureAwait(false))
        {
            await stream.ReadExactlyAsync(bytes, cancellationToken).ConfigureAwait(false);
        }
        return bytes;
    }
}
