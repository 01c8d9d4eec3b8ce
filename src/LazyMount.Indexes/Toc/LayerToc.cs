using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Store;
using Microsoft.Extensions.Logging;

namespace LazyMount.Indexes.Toc;

/// <summary>
/// The <see cref="LayerIndex"/> of a layer that tells itself where everything is: eStargz, zstd:chunked, and what can be read at
/// any place as it is, an uncompressed tar or one in seekable zstd frames. Costs a few requests where a pass costs the blob.
/// </summary>
/// <param name="source">Where the layers are.</param>
/// <param name="acceptsUnannounced">Whether a table counts that the manifest does not vouch for; else none of those is looked for.</param>
/// <param name="logger">Told of tables that are read, and of those that cannot be used.</param>
/// <param name="memory">What the indexes of the image's layers take together; null for a layer that is indexed alone.</param>
internal sealed class LayerToc(IBlobSource source, bool acceptsUnannounced, ILogger logger, ImageBudget? memory = null) : IIndexSource
{
    /// <summary>
    /// A smaller blob is fetched whole in the time that asking for its table takes, and is then verified and kept.
    /// </summary>
    public const long SmallestBlob = 1 << 20;

    // Of a blob that is not announced to be of these formats only what tells that it is; of one that is, what is likely to hold
    // all of the table: 0.6 to 0.7 % of the blob in layers of 12,104 and 45,940 files. With a round trip of 20 ms and 200 Mbit/s
    // the table of 12,104 entries takes 0.2 s in one request of 832 KB, 0.3 s in two of 627 KB together.
    private const int FooterGuess = 512;
    private const int SmallestTableGuess = 64 << 10;
    private const int LargestTableGuess = 1 << 20;
    private const int TableShare = 128;

    /// <summary>The kind of table of contents that a layer's annotations announce, and its size if they have it; null when they announce none.</summary>
    public static (IndexOrigin Origin, long? Size)? FindAnnounced(Descriptor blob)
        => blob.Size < SmallestBlob ? null
            : ZstdChunkedToc.FindAnnotated(blob) is { } place ? (IndexOrigin.ZstdChunked, place.Length)
            : blob.Annotations?.ContainsKey(EstargzToc.DigestAnnotation) == true ? (IndexOrigin.Estargz, null)
            : null;

    /// <summary>Sends no request: uses the layer's annotations only.</summary>
    public ValueTask<IndexOffer?> FindAsync(Descriptor layer, CancellationToken cancellationToken)
        => new(FindAnnounced(layer) is { } announced ? new IndexOffer(announced.Origin, Voucher.Manifest, announced.Size, null) : null);

    /// <summary>
    /// Null when the layer has no table, or none that can be used, which is logged: it is to be read as the tar that it is.
    /// </summary>
    /// <exception cref="ImageException">The source cannot be reached.</exception>
    public async ValueTask<LayerIndex?> TryGetAsync(Descriptor blob, CancellationToken cancellationToken)
    {
        if (blob.Size < SmallestBlob)
        {
            return null;
        }
        var budget = new IndexBudget(blob.Size, memory);
        LayerIndex? index = null;
        try
        {
            var ranges = new BlobRanges(source, blob);
            index = await ReadAsync(ranges, budget, cancellationToken).ConfigureAwait(false);
            if (index is not null)
            {
                if (index.Proof.By < Voucher.Manifest)
                {
                    if (!acceptsUnannounced)
                    {
                        return index = null; // announced by an annotation without a digest
                    }
                    index = index with { Proof = index.Proof.BySource(source.IsVerified) };
                }
                logger.TocRead(blob.Digest.ToString(), index.Origin, index.Entries.Length, ranges.Bytes, ranges.Requests);
            }
            return index;
        }
        catch (Exception e) when (e is InvalidDataException or NotSupportedException or EndOfStreamException or ImageException { Error: not (ImageError.Unreachable or ImageError.Denied) })
        {
            logger.TocUnusable(blob.Digest.ToString(), e.Message);
            return null;
        }
        finally
        {
            if (index is null)
            {
                budget.Dispose();
            }
        }
    }

    private async Task<LayerIndex?> ReadAsync(BlobRanges ranges, IndexBudget budget, CancellationToken cancellationToken)
    {
        Descriptor blob = ranges.Blob;
        if (ZstdChunkedToc.FindAnnotated(blob) is { } annotated)
        {
            return await ZstdChunkedToc.ReadAsync(ranges, annotated, budget, cancellationToken).ConfigureAwait(false);
        }
        bool isAnnounced = blob.Annotations?.ContainsKey(EstargzToc.DigestAnnotation) == true;
        if (!isAnnounced && !acceptsUnannounced)
        {
            return null;
        }
        if (!isAnnounced && blob.MediaType.EndsWith(".tar", StringComparison.Ordinal))
        {
            return await new PlainTarHops(ranges, budget).ReadAsync(cancellationToken).ConfigureAwait(false);
        }
        int guess = isAnnounced ? (int)Math.Clamp(blob.Size / TableShare, SmallestTableGuess, LargestTableGuess) : FooterGuess;
        ReadOnlyMemory<byte> tail = await ranges.ReadTailAsync(guess, cancellationToken).ConfigureAwait(false);
        if (EstargzToc.ParseFooter(tail.Span) is { } offset)
        {
            return await EstargzToc.ReadAsync(ranges, offset, budget, cancellationToken).ConfigureAwait(false);
        }
        if (!acceptsUnannounced)
        {
            return null;
        }
        if (ZstdChunkedToc.ParseFooter(tail.Span) is { } place)
        {
            return await ZstdChunkedToc.ReadAsync(ranges, place, budget, cancellationToken).ConfigureAwait(false);
        }
        TarHops? hops = await SeekableZstdHops.TryOpenAsync(ranges, tail, budget, cancellationToken).ConfigureAwait(false)
            ?? (tail.Span.ContainsAnyExcept((byte)0) ? (TarHops?)null : new PlainTarHops(ranges, budget)); // a tar ends in zeros
        return hops is null ? null : await hops.ReadAsync(cancellationToken).ConfigureAwait(false);
    }
}
