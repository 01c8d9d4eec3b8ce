using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Published.Soci;
using LazyMount.Indexes.Store;
using LazyMount.Indexes.Toc;
using Microsoft.Extensions.Logging;

namespace LazyMount.Indexes.Published;

/// <summary>One layer's index as somebody published it.</summary>
/// <param name="Blob">The blob that holds it.</param>
/// <param name="Origin">Ours or SOCI's.</param>
/// <param name="Prefetch">The blob that says what to fetch first, if there is one.</param>
internal sealed record PublishedIndex(Descriptor Blob, IndexOrigin Origin, Descriptor? Prefetch = null);

/// <summary>
/// Indexes of one image's layers that somebody published. Where they are listed is asked for when the first layer needs it, and
/// once; what comes is bounded, checked, and when it is of no use as good as nothing. Thread-safe.
/// </summary>
/// <param name="image">The image.</param>
/// <param name="by">Who vouches for them.</param>
/// <param name="questions">Limits how long optional requests may take.</param>
/// <param name="logger">Told what is used, and what is of no use.</param>
/// <param name="memory">What the indexes of the image's layers take together; null for layers that are looked at one by one.</param>
internal abstract class PublishedIndexes(Image image, Voucher by, OptionalQuestions questions, ILogger logger, ImageBudget? memory) : IIndexSource, IDisposable
{
    // No index of a layer is half as large, but for tiny layers: then it is not worth having.
    private const long SmallIndex = 1 << 20;
    private const long MaxIndex = 512 << 20;

    private readonly SemaphoreSlim _asking = new(1, 1);
    private IReadOnlyDictionary<Digest, PublishedIndex>? _table;

    /// <summary>The image.</summary>
    protected Image Image => image;

    /// <summary>The logger.</summary>
    protected ILogger Logger => logger;

    /// <summary>Limits how long optional requests may take.</summary>
    protected OptionalQuestions Questions => questions;

    /// <summary>Finds the published index of each layer; null when there is none.</summary>
    protected abstract Task<IReadOnlyDictionary<Digest, PublishedIndex>?> ReadTableAsync(CancellationToken cancellationToken);

    public async ValueTask<IndexOffer?> FindAsync(Descriptor layer, CancellationToken cancellationToken)
        => await FindPublishedAsync(layer, cancellationToken).ConfigureAwait(false) is { } found ? new IndexOffer(found.Origin, by, found.Blob.Size, null) : null;

    public async ValueTask<LayerIndex?> TryGetAsync(Descriptor layer, CancellationToken cancellationToken)
    {
        if (await FindPublishedAsync(layer, cancellationToken).ConfigureAwait(false) is not { } published)
        {
            return null;
        }
        var budget = new IndexBudget(layer.Size, memory);
        try
        {
            byte[] bytes = await ReadAsync(published.Blob, layer, budget, cancellationToken).ConfigureAwait(false);
            LayerIndex index = published.Origin == IndexOrigin.Published
                ? LayerIndexArtifact.Decode(bytes, layer, budget)
                : await ReadZtocAsync(bytes, layer, budget, cancellationToken).ConfigureAwait(false);
            if (published.Prefetch is { } list)
            {
                index = index with { Prefetch = await ReadPrefetchAsync(list, layer, index, cancellationToken).ConfigureAwait(false) };
            }
            budget.Give(bytes.Length);
            logger.PublishedIndexUsed(layer.Digest.ToString(), index.Origin, published.Blob.Digest.ToString(), bytes.Length);
            Digest document = published.Blob.Digest;
            return index with { Proof = by == Voucher.Manifest ? index.Proof.ByManifest(document) : index.Proof.ByRepository(document, image.Source.IsVerified) };
        }
        catch (Exception e) when (IsUnusable(e) || e is OverflowException or EndOfStreamException)
        {
            budget.Dispose();
            logger.PublishedIndexUnusable(layer.Digest.ToString(), published.Blob.Digest.ToString(), e.Message);
            return null;
        }
    }

    public void Dispose() => _asking.Dispose();

    private async Task<PublishedIndex?> FindPublishedAsync(Descriptor layer, CancellationToken cancellationToken)
    {
        await _asking.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            _table ??= await ReadTableAsync(cancellationToken).ConfigureAwait(false) ?? new Dictionary<Digest, PublishedIndex>();
            return _table.GetValueOrDefault(layer.Digest);
        }
        finally
        {
            _asking.Release();
        }
    }

    private static bool IsUnusable(Exception e) => e is ImageException or InvalidDataException;

    private async Task<LayerIndex> ReadZtocAsync(byte[] bytes, Descriptor layer, IndexBudget budget, CancellationToken cancellationToken)
    {
        (LayerIndex index, bool assumesPlainHeader) = ZtocReader.Read(bytes, layer, budget);
        if (assumesPlainHeader && await ReadRangeAsync(layer, 4, layer.Size, cancellationToken).ConfigureAwait(false) is not [0x1F, 0x8B, 8, 0])
        {
            throw new InvalidDataException("it is wrong about the layer's gzip header, which has a name or other options");
        }
        if (by == Voucher.Manifest && TocFiles.NeedsTail(index))
        {
            throw new InvalidDataException("the layer's last bytes decide which of its files are shown, and the index has no digest of them");
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
            byte[] json = await ReadRangeAsync(list with { Urls = null }, (int)list.Size, layer.Size, cancellationToken).ConfigureAwait(false);
            return list.Digest.Verifies(json) ? SociPrefetch.Read(json, index) : throw new InvalidDataException("its list of spans to fetch first does not match its digest");
        }
        catch (Exception e) when (IsUnusable(e) || e is EndOfStreamException)
        {
            logger.PublishedIndexUnusable(layer.Digest.ToString(), list.Digest.ToString(), e.Message);
            return [];
        }
    }

    /// <summary>The table that an artifact of a type holds; null, and logged, when it is of no use.</summary>
    protected async Task<IReadOnlyDictionary<Digest, PublishedIndex>?> TryReadTableAsync(Descriptor artifact, string artifactType, CancellationToken cancellationToken)
    {
        try
        {
            Manifest manifest = await ReadManifestAsync(artifact, cancellationToken).ConfigureAwait(false);
            // A version 2 index of SOCI has no subject: the image's manifest names it.
            if (manifest.ArtifactType != artifactType || (artifactType != SociIndex.Version2 && manifest.Subject?.Digest != image.ManifestDescriptor.Digest))
            {
                throw new InvalidDataException("it has another type, or refers to another image");
            }
            return artifactType == LayerIndexArtifact.ArtifactType
                ? TableOf(manifest, LayerIndexArtifact.LayerOf, IndexOrigin.Published)
                : TableOf(manifest, SociIndex.LayerOf, IndexOrigin.Soci);
        }
        catch (Exception e) when (IsUnusable(e))
        {
            logger.PublishedIndexUnusable(image.ManifestDescriptor.Digest.ToString(), artifact.Digest.ToString(), e.Message);
            return null;
        }
    }

    private static Dictionary<Digest, PublishedIndex> TableOf(Manifest manifest, Func<Descriptor, Digest?> layerOf, IndexOrigin origin)
    {
        var table = new Dictionary<Digest, PublishedIndex>();
        foreach (Descriptor blob in manifest.Layers)
        {
            if (layerOf(blob) is { } layer && !SociPrefetch.Is(blob))
            {
                table.TryAdd(layer, new PublishedIndex(blob, origin));
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
        RawManifest raw = await questions.AskAsync(token => image.Source.GetManifestAsync(descriptor, token), cancellationToken).ConfigureAwait(false);
        return ManifestDocument.Parse(raw.Bytes.Span, descriptor.MediaType, $"the manifest {descriptor.Digest}") as Manifest
            ?? throw new InvalidDataException("it is an image index, not a manifest");
    }

    private async Task<byte[]> ReadAsync(Descriptor blob, Descriptor layer, IndexBudget budget, CancellationToken cancellationToken)
    {
        if (blob.Size > Math.Min(MaxIndex, SmallIndex + layer.Size / 2))
        {
            throw new InvalidDataException($"it has {blob.Size} bytes, too many for a layer of {layer.Size}");
        }
        budget.Take(blob.Size);
        byte[] bytes = await ReadRangeAsync(blob with { Urls = null }, (int)blob.Size, layer.Size, cancellationToken).ConfigureAwait(false);
        return blob.Digest.Verifies(bytes) ? bytes : throw new InvalidDataException("it does not match its digest");
    }

    private async Task<byte[]> ReadRangeAsync(Descriptor blob, int length, long layerSize, CancellationToken cancellationToken)
    {
        var bytes = new byte[Math.Min(length, blob.Size)];
        await questions.ReadAsync(token => image.Source.OpenBlobAsync(blob, 0, bytes.Length, token), bytes, layerSize, cancellationToken).ConfigureAwait(false);
        return bytes;
    }
}
