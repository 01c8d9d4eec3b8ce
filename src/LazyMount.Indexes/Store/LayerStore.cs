using System.Runtime.ExceptionServices;
using System.Text;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Published;
using LazyMount.Indexes.Toc;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Indexes.Store;

/// <summary>How far one layer's indexing has come; reported often, from any thread.</summary>
/// <param name="Layer">Position in the image, lowest 0.</param>
/// <param name="Digest">Its digest.</param>
/// <param name="CompressedBytes">Bytes of the blob that have passed.</param>
/// <param name="CompressedSize">Bytes of the blob in all.</param>
/// <param name="Done">The layer's index is there (at once when it was cached).</param>
public readonly record struct LayerProgress(int Layer, Digest Digest, long CompressedBytes, long CompressedSize, bool Done);

/// <summary>What serves a layer, or would.</summary>
/// <param name="Origin">Where its index comes from; null when the layer has to be streamed.</param>
/// <param name="Size">Bytes of the index, on disk or to be fetched; null when that is not known.</param>
/// <param name="Stored">The index, when it is here.</param>
public readonly record struct IndexOffer(IndexOrigin? Origin, long? Size, LayerIndex? Stored);

/// <summary>
/// Gets every layer's <see cref="LayerIndex"/>: from the store in the cache, else from the layer's own table of contents, else
/// one that was published beside the image, else by one streaming pass over the blob that also keeps the blob. Stored indexes
/// are versioned; a corrupt or older one is rebuilt, never trusted, never fatal.
/// <para>An index that was built from a whole blob is stored under the blob's digest, for all images that have the layer. Any
/// other is good for the image alone that it was found with: whoever makes an image could else say what the layers of others hold.</para>
/// </summary>
public sealed class LayerStore(BlobCache cache, ILoggerFactory loggers)
{
    /// <summary>How long another process that indexes a layer may show no life: one that is stopped shows none, and has the layer's turn all the same.</summary>
    internal TimeSpan TurnPatience { get; init; } = TimeSpan.FromSeconds(20);

    private readonly ILogger _logger = loggers.CreateLogger<LayerStore>();

    /// <summary>Whether the compressed bytes that indexing streams are kept in the cache, or the index alone.</summary>
    public bool KeepsBlobs { get; init; } = true;

    /// <summary>Which indexes are used that were not built here.</summary>
    public IndexTrust Trust { get; init; }

    /// <summary>
    /// Entries and paths of all layers of an image together: what the largest single layer may have, twice. Without it a
    /// thousand layers of ten million entries each would be one image.
    /// </summary>
    internal long MaxTableSize { get; init; } = 60_000_000;

    /// <summary>Every layer's index, lowest first, made in parallel where it is not stored. Nothing half-written stays when cancelled or failed.</summary>
    /// <exception cref="ImageException">The first layer that failed; the others are given up.</exception>
    public async Task<LayerIndex[]> GetAsync(Image image, IProgress<LayerProgress>? progress, CancellationToken cancellationToken)
    {
        using var published = new PublishedIndexes(image, Trust, _logger);
        return await GetIndexesAsync(image, published, progress, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>
    /// Every layer's index, lowest first, each as good as a pass over the layer: built by one, or read of the layer itself where the
    /// manifest vouches for it. What is not stored is made.
    /// </summary>
    /// <exception cref="ImageException">The first layer that failed; the others are given up.</exception>
    public async Task<IReadOnlyList<LayerIndex>> BuildAsync(Image image, IProgress<LayerProgress>? progress, CancellationToken cancellationToken)
        => await GetIndexesAsync(image, published: null, progress, cancellationToken).ConfigureAwait(false);

    /// <summary>
    /// What serves each layer, lowest first. Asks the source for what was published; fetches no index and streams nothing. Of
    /// a layer's own table of contents it knows what the layer's annotations say.
    /// </summary>
    public async Task<IReadOnlyList<IndexOffer>> FindIndexesAsync(Image image, CancellationToken cancellationToken)
    {
        using var published = new PublishedIndexes(image, Trust, _logger);
        var offers = new List<IndexOffer>();
        foreach (Descriptor layer in image.Layers)
        {
            if (TryFindStored(layer, image) is { } stored)
            {
                offers.Add(stored);
                continue;
            }
            if (HasReadableToc(layer, image.Source) && LayerToc.FindAnnounced(layer) is { } announced)
            {
                offers.Add(new IndexOffer(announced.Origin, announced.Size, null));
                continue;
            }
            PublishedIndex? found = await published.FindAsync(layer, cancellationToken).ConfigureAwait(false);
            offers.Add(new IndexOffer(found?.Origin, found?.Blob.Size, null));
        }
        return offers;
    }

    /// <summary>A layer's index that is here, or null.</summary>
    public IndexOffer? TryFindStored(Descriptor layer, Image image)
        => TryLoad(layer, image) is { } stored
            ? new IndexOffer(stored.Origin, new FileInfo(PathOf(stored, image)) is { Exists: true } file ? file.Length : null, stored)
            : null;

    /// <summary>
    /// What was published for each layer, lowest first, each fetched and looked at but not kept: one that is of no use comes
    /// without its index, and a layer that has none as null.
    /// </summary>
    public async Task<IReadOnlyList<(PublishedIndex Published, LayerIndex? Index)?>> ReadPublishedAsync(Image image, CancellationToken cancellationToken)
    {
        using var published = new PublishedIndexes(image, Trust, _logger);
        var found = new List<(PublishedIndex, LayerIndex?)?>();
        foreach (Descriptor layer in image.Layers)
        {
            PublishedIndex? index = await published.FindAsync(layer, cancellationToken).ConfigureAwait(false);
            found.Add(index is null ? null : (index, await published.TryGetAsync(layer, cancellationToken).ConfigureAwait(false)));
        }
        return found;
    }

    private async Task<LayerIndex[]> GetIndexesAsync(Image image, PublishedIndexes? published, IProgress<LayerProgress>? progress, CancellationToken cancellationToken)
    {
        // A digest that stands in the image twice is indexed once; the positions it stands at are told of together.
        var positions = new Dictionary<Digest, List<int>>();
        for (int i = 0; i < image.Layers.Count; i++)
        {
            if (!positions.TryGetValue(image.Layers[i].Digest, out List<int>? known))
            {
                positions[image.Layers[i].Digest] = known = [];
            }
            known.Add(i);
        }

        var indexes = new LayerIndex[image.Layers.Count];
        long tableSize = 0;
        var options = new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount, CancellationToken = cancellationToken };
        Exception? failure = null;
        try
        {
            await Parallel.ForEachAsync(positions.Values, options, async (at, token) =>
            {
                Descriptor blob = image.Layers[at[0]];
                try
                {
                    LayerIndex index = await GetIndexAsync(blob, image, published, bytes => Report(bytes, done: false), token).ConfigureAwait(false);
                    if (Interlocked.Add(ref tableSize, ((long)index.Entries.Length + index.Paths.Count) * at.Count) > MaxTableSize)
                    {
                        throw new ImageException(ImageError.Invalid, $"The layers of {image.Reference} have more than {MaxTableSize} entries and paths together, which is the most that is accepted: the image must be built with fewer files.");
                    }
                    at.ForEach(i => indexes[i] = index);
                    Report(blob.Size, done: true);
                }
                catch (Exception e)
                {
                    Interlocked.CompareExchange(ref failure, e, null); // the first, not those that its cancellation makes
                    throw;
                }

                void Report(long bytes, bool done)
                {
                    foreach (int i in at)
                    {
                        progress?.Report(new LayerProgress(i, blob.Digest, bytes, blob.Size, done));
                    }
                }
            }).ConfigureAwait(false);
        }
        catch (Exception) when (failure is not null and not OperationCanceledException)
        {
            ExceptionDispatchInfo.Throw(failure);
        }
        return indexes;
    }

    /// <summary>One pass over a whole layer, whatever is stored. Puts its transcoding into the cache if it needs one, and stores no index.</summary>
    /// <exception cref="ImageException">The layer cannot be streamed, or is not what its digest says.</exception>
    public async Task<LayerIndex> PassAsync(Descriptor layer, IImageSource source, CancellationToken cancellationToken)
        => await IndexFromSourceAsync(layer, source.DiffIdOf(layer.Digest), source, _ => { }, cancellationToken).ConfigureAwait(false);

    /// <param name="blob">The layer.</param>
    /// <param name="image">The image that it is of.</param>
    /// <param name="published">Null: what the manifest does not vouch for does not count, not even when it is stored, nor what others published.</param>
    /// <param name="progress">Told of a streaming pass.</param>
    /// <param name="cancellationToken">Ends it.</param>
    private async Task<LayerIndex> GetIndexAsync(Descriptor blob, Image image, PublishedIndexes? published, Action<long> progress, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        IImageSource source = image.Source;
        Digest? diffId = source.DiffIdOf(blob.Digest);
        if (TryLoadFor(diffId) is { } stored)
        {
            return stored;
        }
        // Another process may be at it: what it finds is ours too.
        using CrossProcessLock? turn = await WaitForTurnAsync(blob.Digest, cancellationToken).ConfigureAwait(false);
        if (TryLoadFor(diffId) is { } made)
        {
            return made;
        }
        // A layer that is here is better indexed than believed.
        bool isHere = !source.IsLocal && CachedBlobStream.IsWhole(blob, cache);
        LayerIndex index = (isHere ? await IndexFromSourceAsync(blob, diffId, source, progress, cancellationToken).ConfigureAwait(false) : null)
            ?? await TryReadTocAsync(blob, source, acceptsUnbound: published is not null && Trust == IndexTrust.Registry && !source.IsLocal, cancellationToken).ConfigureAwait(false)
            ?? (published is null || diffId is not null ? null : await published.TryGetAsync(blob, cancellationToken).ConfigureAwait(false))
            ?? await IndexFromSourceAsync(blob, diffId, source, progress, cancellationToken).ConfigureAwait(false);
        Save(index, image);
        return index;

        LayerIndex? TryLoadFor(Digest? wanted)
            => TryLoad(blob, image) is { } index && (wanted is null || wanted == index.DiffId) && (published is not null || (index.IsBound && !IsPublished(index))) ? index : null;
    }

    /// <summary>
    /// From the layer's own table of contents; null when it has none that is trusted. A local blob's counts only when the manifest
    /// vouches for it, for a pass over it, which needs nobody's word, costs no network.
    /// </summary>
    private async Task<LayerIndex?> TryReadTocAsync(Descriptor blob, IImageSource source, bool acceptsUnbound, CancellationToken cancellationToken)
    {
        if (!HasReadableToc(blob, source))
        {
            return null;
        }
        LayerIndex? index = await new LayerToc(_logger).TryReadAsync(blob, source, acceptsUnbound, cancellationToken).ConfigureAwait(false);
        return index is not null && (acceptsUnbound || index.IsBound) ? index : null;
    }

    // Offline, what is here is a whole layer or nothing; and of a layer with a diff_id to be held against nobody vouches for the digest.
    private static bool HasReadableToc(Descriptor layer, IImageSource source) => source is not OfflineSource && source.DiffIdOf(layer.Digest) is null;

    /// <summary>One pass over the whole blob: over what the cache has of it, and over the rest as it is fetched and kept.</summary>
    private async Task<LayerIndex> IndexFromSourceAsync(Descriptor blob, Digest? diffId, IImageSource source, Action<long> progress, CancellationToken cancellationToken)
    {
        var indexer = new LayerIndexer(_logger) { DiffId = diffId, StageTranscoding = () => cache.StageDerived(blob.Digest) };
        if (source.IsLocal)
        {
            Stream local = await source.OpenBlobAsync(blob, 0, blob.Size, cancellationToken).ConfigureAwait(false);
            await using (local.ConfigureAwait(false))
            {
                return await indexer.IndexAsync(blob, local, progress, cancellationToken).ConfigureAwait(false);
            }
        }
        for (bool afresh = false; ; afresh = true)
        {
            var stream = new CachedBlobStream(blob, source, cache, KeepsBlobs, _logger, afresh);
            await using (stream.ConfigureAwait(false))
            {
                try
                {
                    LayerIndex index = await indexer.IndexAsync(blob, stream, progress, cancellationToken).ConfigureAwait(false);
                    stream.Accept();
                    if (index.Transcoding is not null)
                    {
                        stream.Forget(); // the transcoding is what is read from now on
                    }
                    return index;
                }
                catch (ImageException e) when (e.Error == ImageError.Verification)
                {
                    stream.Reject();
                    if (stream.CachedBytes == 0)
                    {
                        throw;
                    }
                    _logger.CachedBlobUnusable(blob.Digest.ToString(), e.Message); // once more, all from the source
                }
            }
        }
    }

    /// <summary>A turn at a layer among processes, given back when it is disposed or the process ends. Null where there can be none, or who has it shows no life.</summary>
    private async Task<CrossProcessLock?> WaitForTurnAsync(Digest digest, CancellationToken cancellationToken)
    {
        try
        {
            string directory = cache.GetDirectory(Path.Combine("layers", digest.Algorithm));
            return await CrossProcessLock.TryTakeTurnAsync(Path.Combine(directory, digest.Hex + ".lock"), TurnPatience, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ImageException)
        {
            return null;
        }
    }

    /// <summary>A layer's whole blob, from the cache if it is there; not verified.</summary>
    public async Task<Stream> OpenBlobAsync(Descriptor blob, IImageSource source, CancellationToken cancellationToken)
        => source.IsLocal
            ? await source.OpenBlobAsync(blob, 0, blob.Size, cancellationToken).ConfigureAwait(false)
            : new CachedBlobStream(blob, source, cache, KeepsBlobs, _logger);

    /// <summary>Whether an index can be used: its transcoding, if it has one, is in the cache.</summary>
    public static bool IsTranscodingThere(LayerIndex index, BlobCache cache)
    {
        if (index.Transcoding is not { } transcoding)
        {
            return true;
        }
        using SafeFileHandle? file = cache.TryOpen(transcoding.Digest);
        return file is not null && RandomAccess.GetLength(file) == transcoding.Size;
    }

    private static bool IsPublished(LayerIndex index) => index.Origin is IndexOrigin.Published or IndexOrigin.Soci;

    /// <summary>The stored index of an image's layer, or null when there is none that can be used. Touches neither the source nor the blob.</summary>
    public LayerIndex? TryLoad(Descriptor blob, Image image)
    {
        try
        {
            return TryLoad(blob, PathOf(blob.Digest, null)) ?? (TryLoad(blob, PathOf(blob.Digest, image)) is { } index && IsTrusted(index) ? index : null);
        }
        catch (ImageException)
        {
            return null; // no directory for indexes
        }
    }

    // Without more trust than in the manifest a table of contents that only the layer's source vouches for counts as little.
    private bool IsTrusted(LayerIndex index) => Trust == IndexTrust.Registry || (index.IsBound && (Trust == IndexTrust.Bound || !IsPublished(index)));

    private LayerIndex? TryLoad(Descriptor blob, string path)
    {
        LayerIndex? index = LayerIndexFile.TryLoad(path, blob.Digest);
        return index?.CompressedSize == blob.Size && IsTranscodingThere(index, cache) ? index : null;
    }

    /// <summary>Stores an index. A cache that cannot keep it costs the next start, not this one: that is logged.</summary>
    public void Save(LayerIndex index, Image image)
    {
        try
        {
            LayerIndexFile.Save(PathOf(index, image), index, cache);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _logger.IndexNotSaved(index.Digest.ToString(), e.Message);
        }
    }

    private string PathOf(LayerIndex index, Image image) => PathOf(index.Digest, index.Origin == IndexOrigin.Built ? null : image);

    /// <param name="digest">The layer.</param>
    /// <param name="image">Null for what was built from the layer itself.</param>
    private string PathOf(Digest digest, Image? image) => image is null
        ? Path.Combine(cache.GetDirectory("layers"), digest.Algorithm, digest.Hex)
        : Path.Combine(cache.GetDirectory("image-layers"), KeyOf(image), digest.Hex);

    // Who may write to the repository answers for what lies there: another repository with the same image is not this one.
    private static string KeyOf(Image image)
        => Digest.OfSha256(Encoding.UTF8.GetBytes($"{image.Reference.ToAbsolute().Place}\n{image.ManifestDescriptor.Digest}")).Hex;
}
