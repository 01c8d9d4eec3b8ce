using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Indexes.Store;

/// <summary>
/// The indexes in the cache. One that the layer's digest proved lies under that digest, for every image that has the layer. Any
/// other lies in the scope of what vouches for it: another reference, or another way of asking, does not find it. Files are
/// versioned; a corrupt or older one counts as absent.
/// </summary>
/// <param name="cache">The cache.</param>
/// <param name="logger">Told of indexes that cannot be stored.</param>
/// <param name="memory">What the indexes of the image's layers take together; null for layers that are looked at one by one.</param>
internal sealed class IndexStore(BlobCache cache, ILogger logger, ImageBudget? memory = null)
{
    /// <summary>The index of a layer that the layer's own digest proved; null when there is none.</summary>
    public LayerHead? TryOpenProved(Descriptor layer)
        => TryOpen(layer, () => SharedPath(layer.Digest), head => head.Proof.By == Voucher.Layer);

    /// <summary>The best other index of an image's layer that the policy accepts now; null when there is none.</summary>
    public LayerHead? TryOpenBelieved(Descriptor layer, Image image, IndexPolicy policy)
    {
        return TryOpen(layer, () => ScopedPath(layer.Digest, Proof.ManifestScope(image)), head => head.Proof.By == Voucher.Manifest && policy.Accepts(head))
            ?? (policy.TakesUnverified ? TryOpen(layer, () => ScopedPath(layer.Digest, Proof.ImageScope(image, isVerified: false)), IsBelieved) : null)
            ?? TryOpen(layer, () => ScopedPath(layer.Digest, Proof.ImageScope(image, image.Source.IsVerified)), IsBelieved);

        bool IsBelieved(LayerHead head) => head.Proof.By < Voucher.Manifest && policy.Accepts(head);
    }

    /// <summary>The whole index, which takes over what the head has open. Null, and the head closed, when it is not sound.</summary>
    public LayerIndex? TryRead(LayerHead head)
    {
        LayerIndex? index = LayerIndexFile.TryRead(head, new IndexBudget(head.CompressedSize, memory));
        if (index is null)
        {
            head.Close();
        }
        return index;
    }

    /// <summary>Stores an index. A cache that cannot keep it costs the next start, not this one: that is logged.</summary>
    /// <returns>The index as it is read from now on, with <see cref="LayerHead.ContentsDigest"/> if it is stored.</returns>
    public LayerIndex Save(LayerIndex index, Image image)
    {
        try
        {
            return LayerIndexFile.Save(PathOf(index, image), index, cache);
        }
        catch (Exception e) when (FileProblem.IsOne(e) || e is ImageException)
        {
            logger.IndexNotSaved(index.Digest.ToString(), e.Message);
            return index with { ContentsDigest = null };
        }
    }

    /// <summary>Bytes of a stored index; null when it is not there.</summary>
    public long? SizeOf(LayerIndex index, Image image) => new FileInfo(PathOf(index, image)) is { Exists: true } file ? file.Length : null;

    /// <summary>
    /// A turn at a layer among processes that index it for the same image from the same place, given back when it is disposed or the
    /// process ends: nobody waits for what another registry is slow to answer. Null where there can be none, and when the holder
    /// shows no life for as long as <paramref name="patience"/>.
    /// </summary>
    public async Task<IDisposable?> TryTakeTurnAsync(Digest layer, Image image, TimeSpan patience, CancellationToken cancellationToken)
    {
        try
        {
            string directory = cache.GetDirectory(Path.Combine("layers", layer.Algorithm));
            string asked = Proof.ImageScope(image, image.Source.IsVerified).Key!;
            return await CrossProcessLock.TryTakeTurnAsync(Path.Combine(directory, $"{asked}-{layer.Hex}.lock"), patience, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (FileProblem.IsOne(e) || e is ImageException)
        {
            return null;
        }
    }

    /// <summary>Whether an index can be used: its transcoding, if it has one, is in the cache.</summary>
    public static bool IsTranscodingThere(LayerHead index, BlobCache cache)
    {
        if (index.Transcoding is not { } transcoding)
        {
            return true;
        }
        using SafeFileHandle? file = cache.TryOpen(transcoding.Digest);
        return file is not null && RandomAccess.GetLength(file) == transcoding.Size;
    }

    private LayerHead? TryOpen(Descriptor layer, Func<string> pathOf, Predicate<LayerHead> isWanted)
    {
        string path;
        try
        {
            path = pathOf();
        }
        catch (ImageException)
        {
            return null; // no directory for indexes
        }
        LayerHead? head = LayerIndexFile.TryOpen(path, layer.Digest, new IndexBudget(layer.Size, memory));
        if (head is null || (head.CompressedSize == layer.Size && isWanted(head) && IsTranscodingThere(head, cache)))
        {
            return head;
        }
        head.Close();
        return null;
    }

    private string PathOf(LayerHead index, Image image) => index.Proof.By switch
    {
        Voucher.Layer => SharedPath(index.Digest),
        Voucher.Manifest => ScopedPath(index.Digest, Proof.ManifestScope(image)),
        _ => ScopedPath(index.Digest, Proof.ImageScope(image, index.Proof.IsFromVerified)),
    };

    private string SharedPath(Digest layer) => Path.Combine(cache.GetDirectory("layers"), layer.Algorithm, layer.Hex);

    private string ScopedPath(Digest layer, ChunkScope scope) => Path.Combine(cache.GetDirectory("image-layers"), scope.Key!, layer.Hex);
}
