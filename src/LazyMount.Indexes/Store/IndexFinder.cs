using System.Runtime.ExceptionServices;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Published;
using LazyMount.Indexes.Toc;
using Microsoft.Extensions.Logging;

namespace LazyMount.Indexes.Store;

/// <summary>How far one layer's indexing has come; reported often, from any thread.</summary>
/// <param name="Layer">Position in the image, lowest 0.</param>
/// <param name="Digest">Its digest.</param>
/// <param name="CompressedBytes">Bytes of the blob that have passed.</param>
/// <param name="CompressedSize">Bytes of the blob in all.</param>
/// <param name="Done">The layer's index is there (at once when it was cached).</param>
public readonly record struct LayerProgress(int Layer, Digest Digest, long CompressedBytes, long CompressedSize, bool Done);

/// <summary>
/// Gets every layer's <see cref="LayerIndex"/>: the stored one, else the layer's own table of contents, else one that was
/// published beside the image, else by one streaming pass over the layer that also keeps its bytes. Which of these count is the
/// <see cref="IndexPolicy"/>'s to say, also for what is stored. A layer that is in the cache whole is indexed rather than believed.
/// </summary>
public sealed class IndexFinder(BlobCache cache, ILoggerFactory loggers)
{
    /// <summary>
    /// Layers that are opened at once: most of their time is the network's. What is decoded at once is bounded by the cores,
    /// and the memory of what is fetched ahead by <see cref="BlobPass"/>, however many there are.
    /// </summary>
    private const int LayersAtOnce = 12;

    /// <summary>The version of stored indexes: another one says the same contents otherwise.</summary>
    public const uint FormatVersion = LayerIndexFile.Version;

    private readonly ILogger _logger = loggers.CreateLogger<IndexFinder>();

    /// <summary>Whether the compressed bytes that indexing streams are kept in the cache, or the index alone.</summary>
    public bool KeepsBlobs { get; init; } = true;

    /// <summary>Which indexes are used that were not built here.</summary>
    public IndexTrust Trust { get; init; }

    /// <summary>
    /// The layers whose index is read of their own table of contents, while no other layer's is: a tree that is made otherwise says of other bytes
    /// of the tar that they are a file's. Null: by the first way that there is.
    /// </summary>
    public IReadOnlySet<Digest>? FromTables { get; init; }

    /// <summary>
    /// Entries and paths of all layers of an image together: what the largest single layer may have, twice. Without it a
    /// thousand layers of ten million entries each would be one image.
    /// </summary>
    internal long MaxTableSize { get; init; } = 60_000_000;

    /// <summary>How long another process that indexes a layer may show no life: one that is stopped shows none, and has the layer's turn all the same.</summary>
    internal TimeSpan TurnPatience { get; init; } = TimeSpan.FromSeconds(20);

    /// <summary>How long opening an image waits until an answer begins that it can do without.</summary>
    internal TimeSpan QuestionPatience { get; init; } = OptionalQuestions.Patience;

    /// <summary>Bytes of memory for the indexes of all layers of an image together.</summary>
    internal long MaxMemory { get; init; } = IndexLimits.Default.Memory;

    private IndexStore Store => new(cache, _logger);

    private LayerPass Passes => new(cache, KeepsBlobs, _logger);

    /// <summary>Every layer's index, lowest first, made in parallel where it is not stored. Nothing half-written stays when cancelled or failed.</summary>
    /// <exception cref="ImageException">The first layer that failed; the others are given up.</exception>
    public Task<LayerIndex[]> GetAsync(Image image, IProgress<LayerProgress>? progress, CancellationToken cancellationToken)
        => GetAllAsync(image, new IndexPolicy(Trust, image), progress, cancellationToken);

    /// <summary>
    /// Every layer's index, lowest first, each as good as a pass over the layer: built by one, or read of the layer itself where the
    /// manifest vouches for it. What is not stored is made.
    /// </summary>
    /// <exception cref="ImageException">The first layer that failed; the others are given up.</exception>
    public async Task<IReadOnlyList<LayerIndex>> BuildAsync(Image image, IProgress<LayerProgress>? progress, CancellationToken cancellationToken)
        => await GetAllAsync(image, new IndexPolicy(IndexTrust.None, image), progress, cancellationToken).ConfigureAwait(false);

    /// <summary>
    /// What serves each layer, lowest first. Asks the source for what was published; fetches no index and streams nothing. Of
    /// a layer's own table of contents it knows what the layer's annotations say.
    /// </summary>
    public async Task<IReadOnlyList<IndexOffer>> FindIndexesAsync(Image image, CancellationToken cancellationToken)
    {
        var policy = new IndexPolicy(Trust, image);
        using var sources = new IndexSources(image, policy, _logger, OptionalQuestions.Patient);
        var offers = new List<IndexOffer>();
        foreach (Descriptor layer in image.Layers)
        {
            IndexOffer? offer = TryFindStored(layer, image);
            for (int i = 0; offer is null && i < sources.For(layer).Count; i++)
            {
                offer = await sources.For(layer)[i].FindAsync(layer, cancellationToken).ConfigureAwait(false);
            }
            bool mayTellItself = policy.TakesUnannounced && sources.For(layer).Count > 0 && layer.Size >= LayerToc.SmallestBlob && !cache.HasAll(layer);
            offers.Add(offer ?? new IndexOffer(null, mayTellItself ? null : Voucher.Layer, null, null));
        }
        return offers;
    }

    /// <summary>A layer's index that is here and believed, or null; closed. Touches neither the source nor the layer's bytes.</summary>
    public IndexOffer? TryFindStored(Descriptor layer, Image image)
    {
        IndexStore store = Store;
        var policy = new IndexPolicy(Trust, image);
        if ((store.TryOpenProved(layer) ?? store.TryOpenBelieved(layer, image, policy)) is not { } head || store.TryRead(head) is not { } stored)
        {
            return null;
        }
        stored.Close();
        return new IndexOffer(stored.Origin, stored.Proof.By, store.SizeOf(stored, image), (LayerIndex)policy.ToRead(stored));
    }

    /// <summary>
    /// What reading each layer needs, lowest first, from the store alone, by the rules of <see cref="GetAsync(Image, IProgress{LayerProgress}?, CancellationToken)"/>;
    /// null when that would have to do more for any layer. A digest that stands in the image twice is one head. The caller closes them.
    /// </summary>
    public LayerHead[]? TryOpenStored(Image image)
    {
        var policy = new IndexPolicy(Trust, image);
        var store = new IndexStore(cache, _logger, new ImageBudget(MaxMemory));
        var opened = new Dictionary<Digest, LayerHead>();
        foreach (Descriptor layer in image.Layers)
        {
            if (opened.ContainsKey(layer.Digest))
            {
                continue;
            }
            LayerHead? head = TryOpenStored(layer, image, policy, store);
            if (head is null || policy.ToRead(head) is var read && read.Proof.IsFromVerified != head.Proof.IsFromVerified) // it is stored once more then
            {
                head?.Close();
                foreach (LayerHead other in opened.Values)
                {
                    other.Close();
                }
                return null;
            }
            opened.Add(layer.Digest, read);
        }
        return [.. image.Layers.Select(layer => opened[layer.Digest])];
    }

    private LayerHead? TryOpenStored(Descriptor layer, Image image, IndexPolicy policy, IndexStore store)
    {
        LayerHead? found = IfWanted(store.TryOpenProved(layer)) ?? (IsBetterIndexed(layer, image) ? null : IfWanted(store.TryOpenBelieved(layer, image, policy)));
        if (found is not null && image.Source.DiffIdOf(layer.Digest) is { } diffId && diffId != found.DiffId)
        {
            found.Close();
            return null;
        }
        return found;
    }

    // A layer that is in the cache whole is better indexed than believed.
    private bool IsBetterIndexed(Descriptor layer, Image image) => !image.Source.IsLocal && !NeedsTable(layer) && cache.HasAll(layer);

    private bool NeedsTable(Descriptor layer) => FromTables?.Contains(layer.Digest) == true;

    private LayerHead? IfWanted(LayerHead? head)
    {
        if (head is null || FromTables is null || FromTables.Contains(head.Digest) == head.IsFromTable)
        {
            return head;
        }
        head.Close();
        return null;
    }

    /// <summary>
    /// What was published for each layer, lowest first, each fetched and looked at but not kept: one that is of no use comes
    /// without its index, and a layer that has none as null.
    /// </summary>
    public async Task<IReadOnlyList<(IndexOffer Published, LayerIndex? Index)?>> ReadPublishedAsync(Image image, CancellationToken cancellationToken)
    {
        using var sources = new IndexSources(image, new IndexPolicy(Trust, image), _logger, OptionalQuestions.Patient);
        var found = new List<(IndexOffer, LayerIndex?)?>();
        foreach (Descriptor layer in image.Layers)
        {
            (IndexOffer, LayerIndex?)? first = null;
            foreach (PublishedIndexes published in sources.For(layer).OfType<PublishedIndexes>())
            {
                if (first is null && await published.FindAsync(layer, cancellationToken).ConfigureAwait(false) is { } offer)
                {
                    first = (offer, await published.TryGetAsync(layer, cancellationToken).ConfigureAwait(false));
                }
            }
            found.Add(first);
        }
        return found;
    }

    /// <summary>One pass over a whole layer, whatever is stored. Proves its bytes, puts its transcoding into the cache if it needs one, and stores no index.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="image">The image that it is of.</param>
    /// <param name="believed">The proof by which it was read so far, or null.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="ImageException">The layer cannot be streamed, or is not what its digest says.</exception>
    public Task<LayerIndex> PassAsync(Descriptor layer, Image image, Proof? believed, CancellationToken cancellationToken)
        => Passes.RunAsync(layer, image, believed, progress: null, cancellationToken);

    /// <summary>A layer's whole blob, from the cache as far as it is there; not verified.</summary>
    public Task<Stream> OpenBlobAsync(Descriptor layer, Image image, CancellationToken cancellationToken) => Passes.OpenAsync(layer, image, cancellationToken);

    /// <summary>Stores an index. A cache that cannot keep it costs the next start, not this one: that is logged.</summary>
    public void Save(LayerIndex index, Image image) => Store.Save(index, image).Close();

    /// <summary>Whether an index can be used: its transcoding, if it has one, is in the cache.</summary>
    public static bool IsTranscodingThere(LayerHead index, BlobCache cache) => IndexStore.IsTranscodingThere(index, cache);

    private async Task<LayerIndex[]> GetAllAsync(Image image, IndexPolicy policy, IProgress<LayerProgress>? progress, CancellationToken cancellationToken)
    {
        var memory = new ImageBudget(MaxMemory);
        using var sources = new IndexSources(image, policy, _logger, new OptionalQuestions(QuestionPatience), memory);
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
        var options = new ParallelOptions { MaxDegreeOfParallelism = LayersAtOnce, CancellationToken = cancellationToken };
        Exception? failure = null;
        try
        {
            await Parallel.ForEachAsync(positions.Values, options, async (at, token) =>
            {
                Descriptor blob = image.Layers[at[0]];
                try
                {
                    LayerIndex index = await GetAsync(blob, image, policy, sources, memory, bytes => Report(bytes, done: false), token).ConfigureAwait(false);
                    if (Interlocked.Add(ref tableSize, ((long)index.Entries.Length + index.Paths.Count) * at.Count) > MaxTableSize)
                    {
                        throw new ImageException(ImageError.Invalid, $"cannot use the layers of '{image.Reference}': they have more than {MaxTableSize} entries and paths together; build the image with fewer files");
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

    private async Task<LayerIndex> GetAsync(Descriptor layer, Image image, IndexPolicy policy, IndexSources sources, ImageBudget memory, Action<long> progress, CancellationToken cancellationToken)
    {
        // :: Step 3: the first that has the index and is believed.
        cancellationToken.ThrowIfCancellationRequested();
        var store = new IndexStore(cache, _logger, memory);
        if (TryLoad() is { } stored)
        {
            return stored;
        }
        // Another process may be at it, at the same place: what it finds is ours too.
        using IDisposable? turn = await store.TryTakeTurnAsync(layer.Digest, image, TurnPatience, cancellationToken).ConfigureAwait(false);
        if (TryLoad() is { } made)
        {
            return made;
        }
        LayerIndex? index = null;
        if (!IsBetterIndexed(layer, image))
        {
            foreach (IIndexSource source in sources.For(layer))
            {
                index ??= IfWanted(await source.TryGetAsync(layer, cancellationToken).ConfigureAwait(false)) is { } found && policy.Accepts(found) ? (LayerIndex)policy.ToRead(found) : null;
            }
        }
        if (index is null && NeedsTable(layer))
        {
            throw new ImageException(ImageError.Unreachable, $"cannot read the table of contents of layer {layer.Digest} of '{image.Reference}' again; look at the log with -v for the reason");
        }
        index ??= await new LayerPass(cache, KeepsBlobs, _logger, memory).RunAsync(layer, image, believed: null, progress, cancellationToken).ConfigureAwait(false);
        Tell(index);
        return store.Save(index, image);

        LayerIndex? TryLoad()
        {
            if (TryOpenStored(layer, image, policy, store) is not { } head || store.TryRead(head) is not { } found)
            {
                return null;
            }
            var read = (LayerIndex)policy.ToRead(found);
            Tell(read);
            return read.Proof.IsFromVerified == found.Proof.IsFromVerified ? read : store.Save(read, image); // beside the bytes that are read by it
        }
    }

    /// <summary>Logs a layer whose index neither the reference's digest nor the layer's own digest vouches for.</summary>
    public void Tell(LayerHead index)
    {
        if (index.Proof.By < Voucher.Manifest)
        {
            _logger.LayerBelieved(index.Digest.ToString(), index.Origin, index.Proof.By == Voucher.Source ? "the server that sends it" : "whoever may publish in its repository");
        }
    }
}
