using System.Runtime.ExceptionServices;
using LazyMount.Blobs;
using LazyMount.Blobs.Oci;
using LazyMount.Layers.Toc;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Layers;

/// <summary>How far one layer's indexing has come; reported often, from any thread.</summary>
/// <param name="Layer">Position in the image, lowest 0.</param>
/// <param name="Digest">Its digest.</param>
/// <param name="CompressedBytes">Bytes of the blob that have passed.</param>
/// <param name="CompressedSize">Bytes of the blob in all.</param>
/// <param name="Done">The layer's index is there (at once when it was cached).</param>
public readonly record struct LayerProgress(int Layer, Digest Digest, long CompressedBytes, long CompressedSize, bool Done);

/// <summary>
/// Gets every layer's <see cref="LayerIndex"/>: from the store in the cache, else from the layer's own table of contents, else
/// by one streaming pass over the blob that also keeps the blob. Stored indexes are versioned; a corrupt or older one is rebuilt, never trusted, never fatal.
/// </summary>
public sealed class LayerStore(BlobCache cache, ILoggerFactory loggers)
{
    private readonly ILogger _logger = loggers.CreateLogger<LayerStore>();

    /// <summary>
    /// Entries and paths of all layers of an image together: what the largest single layer may have, twice. Without it a
    /// thousand layers of ten million entries each would be one image.
    /// </summary>
    internal long MaxTableSize { get; init; } = 60_000_000;

    /// <summary>Whether a layer's table of contents counts that the manifest does not vouch for: only its source does.</summary>
    public bool AcceptsUnbound { get; init; } = true;

    /// <summary>
    /// Opens all layers of an image, in parallel, lowest first in the result. Nothing half-written stays when cancelled or
    /// failed. The indexes are for merging: a layer itself keeps only what reading needs, so the rest may go afterwards.
    /// </summary>
    /// <exception cref="ImageException">The first layer that failed; the others are given up.</exception>
    public async Task<(Layer Layer, LayerIndex Index)[]> OpenAsync(Image image, SpanCache spans, IProgress<LayerProgress>? progress, CancellationToken cancellationToken)
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
                    LayerIndex index = await GetIndexAsync(blob, image.Source, bytes => Report(bytes, done: false), token).ConfigureAwait(false);
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

        var layers = new (Layer, LayerIndex)[indexes.Length];
        for (int i = 0; i < layers.Length; i++)
        {
            Descriptor layer = image.Layers[i];
            BlobReader blob = TranscodedSource.OpenSpans(layer, indexes[i], image.Source, () => RebuildAsync(layer, image.Source), cache, loggers);
            layers[i] = (new Layer(indexes[i], blob, spans), indexes[i]);
        }
        return layers;
    }

    private Task<LayerIndex> RebuildAsync(Descriptor layer, IImageSource source)
        => IndexFromSourceAsync(layer, source.DiffIdOf(layer.Digest), source, _ => { }, CancellationToken.None);

    private async Task<LayerIndex> GetIndexAsync(Descriptor blob, IImageSource source, Action<long> progress, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        Digest? diffId = source.DiffIdOf(blob.Digest);
        if (TryLoad(blob) is { } stored && (diffId is null || diffId == stored.DiffId) && (stored.IsBound || AcceptsUnbound))
        {
            return stored;
        }
        LayerIndex index = await TryIndexCachedAsync(blob, diffId, progress, cancellationToken).ConfigureAwait(false)
            ?? await TryReadTocAsync(blob, diffId, source, cancellationToken).ConfigureAwait(false)
            ?? await IndexFromSourceAsync(blob, diffId, source, progress, cancellationToken).ConfigureAwait(false);
        Save(index);
        return index;
    }

    /// <summary>
    /// From the layer's own table of contents; null when it has none that is trusted. A local blob's counts only when the manifest
    /// vouches for it, for a pass over it, which needs nobody's word, costs no network.
    /// </summary>
    private async Task<LayerIndex?> TryReadTocAsync(Descriptor blob, Digest? diffId, IImageSource source, CancellationToken cancellationToken)
        => diffId is not null ? null
            : await new LayerToc(_logger).TryReadAsync(blob, source, AcceptsUnbound && !source.IsLocal, cancellationToken).ConfigureAwait(false);

    /// <summary>From the complete blob in the cache; null when there is none, or when it turns out not to be what it is named.</summary>
    private async Task<LayerIndex?> TryIndexCachedAsync(Descriptor blob, Digest? diffId, Action<long> progress, CancellationToken cancellationToken)
    {
        using SafeFileHandle? file = cache.TryOpen(blob.Digest);
        if (file is null)
        {
            return null;
        }
        try
        {
            using var stream = new FileStream(file, FileAccess.Read, bufferSize: 0);
            return await new LayerIndexer(_logger) { DiffId = diffId, StageTranscoding = () => cache.StageDerived(blob.Digest) }.IndexAsync(blob, stream, staging: null, progress, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is ImageException { Error: ImageError.Verification } or (IOException and not ImageException))
        {
            _logger.CachedBlobUnusable(blob.Digest.ToString(), e.Message);
            return null;
        }
    }

    private async Task<LayerIndex> IndexFromSourceAsync(Descriptor blob, Digest? diffId, IImageSource source, Action<long> progress, CancellationToken cancellationToken)
    {
        using BlobStaging? staging = source.IsLocal ? null : cache.Stage(blob);
        Stream stream = await source.OpenBlobAsync(blob, 0, blob.Size, cancellationToken).ConfigureAwait(false);
        await using (stream.ConfigureAwait(false))
        {
            LayerIndex index = await new LayerIndexer(_logger) { DiffId = diffId, StageTranscoding = () => cache.StageDerived(blob.Digest) }.IndexAsync(blob, stream, staging, progress, cancellationToken).ConfigureAwait(false);
            if (index.Transcoding is null)
            {
                staging?.Commit();
            }
            return index;
        }
    }

    /// <summary>The stored index of a layer, or null when there is none that can be used. Touches neither the source nor the blob.</summary>
    public LayerIndex? TryLoad(Descriptor blob)
    {
        try
        {
            LayerIndex? index = LayerIndexFile.TryLoad(PathOf(blob.Digest), blob.Digest);
            return index?.CompressedSize == blob.Size && TranscodedSource.IsThere(index, cache) ? index : null;
        }
        catch (ImageException)
        {
            return null; // no directory for indexes
        }
    }

    // The index is in memory: a cache that takes none costs the next start, not this one.
    private void Save(LayerIndex index)
    {
        try
        {
            LayerIndexFile.Save(PathOf(index.Digest), index);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _logger.IndexNotSaved(index.Digest.ToString(), e.Message);
        }
    }

    private string PathOf(Digest digest) => Path.Combine(cache.GetDirectory("layers"), digest.Algorithm, digest.Hex);
}
