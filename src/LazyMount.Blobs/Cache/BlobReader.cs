using System.Buffers;
using System.Security.Cryptography;
using LazyMount.Blobs.Counting;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace LazyMount.Blobs.Cache;

/// <summary>
/// Reads verified ranges of one indexed blob: from the chunks that the cache has, else by range requests to the source, whose
/// chunks are kept. Thread-safe; equal concurrent fetches of a chunk collapse into one, across processes too.
/// </summary>
public sealed partial class BlobReader : IDisposable
{
    private readonly Descriptor _blob;
    private readonly ChunkGrid _grid;
    private readonly IBlobSource _source;
    private readonly IDisposable? _owned;
    private readonly BlobCache _cache;
    private readonly ILogger _logger;
    private readonly bool _isVerifiedOnly;
    private readonly List<ChunkStore> _stores = []; // to dispose
    private volatile Ground _ground;

    // Guards what follows.
    private readonly Lock _lock = new();
    private readonly Dictionary<int, ChunkFetch> _inFlight = [];
    private bool _disposed;

    /// <param name="blob">The blob.</param>
    /// <param name="chunks">Its chunk digests, from the LayerIndex; null when it has none, and the caller verifies what it gets.</param>
    /// <param name="source">Where to fetch what is not cached.</param>
    /// <param name="cache">The cache, looked into first; not used for a source that is local.</param>
    /// <param name="logger">Told of corrupt chunks.</param>
    /// <param name="scope">Where chunks are kept. Those of everybody only when <paramref name="chunks"/> are what the blob's digest proved.</param>
    /// <param name="owned">Disposed with the reader: the source, if nobody else uses it.</param>
    public BlobReader(
        Descriptor blob, ChunkDigests? chunks, IBlobSource source, BlobCache cache, ILogger<BlobReader>? logger = null, ChunkScope scope = default, IDisposable? owned = null)
    {
        int chunkSize = chunks?.ChunkSize ?? ChunkDigests.DefaultChunkSize;
        if (chunks is not null && chunks.Count != (blob.Size + chunkSize - 1) / chunkSize)
            throw new ArgumentException("there is not one digest for each chunk of the blob", nameof(chunks));
        if (chunks is null && scope.IsShared && !source.IsLocal)
            throw new ArgumentException("bytes that nobody has verified are not for everybody", nameof(scope));
        (_blob, _grid, _source, _cache, _isVerifiedOnly, _owned) = (blob, new ChunkGrid(blob.Size, chunkSize), source, cache, scope.IsVerifiedOnly, owned);
        _logger = logger ?? (ILogger)NullLogger.Instance;
        _ground = new Ground(chunks, OpenStore(scope));
    }

    /// <summary>What chunks are verified with, and where they are kept; no store when nothing is kept.</summary>
    private sealed record Ground(ChunkDigests? Chunks, ChunkStore? Store);

    private ChunkStore? Store => _ground.Store;

    /// <summary>The whole blob has matched its digest: from now on chunks come from the store of everybody and are verified with these digests.</summary>
    public void Prove(ChunkDigests chunks)
    {
        lock (_lock)
        {
            if (_disposed || _source.IsLocal || chunks.ChunkSize != _grid.ChunkSize)
                return;
            _ground = new Ground(chunks, OpenStore(ChunkScope.Shared));
        }
    }

    private ChunkStore? OpenStore(ChunkScope scope)
    {
        if (_source.IsLocal)
            return null;
        // Only with the digests of everybody came a size that is proved.
        var store = new ChunkStore(_cache, _blob, _grid.ChunkSize, _logger, scope) { IsSizeProved = scope.IsShared };
        _stores.Add(store);
        return store;
    }

    /// <summary>
    /// Fills <paramref name="destination"/> from <paramref name="compressedOffset"/>. Every chunk touched is verified
    /// first; a bad chunk is fetched once more, then <see cref="ImageException"/> (<see cref="ImageError.Verification"/>).
    /// Bounded in time: a dead or slow source throws <see cref="ImageError.Unreachable"/> after the source's time-outs, and another process
    /// that fetches the same is waited for as long as <see cref="ChunkStore.ClaimPatience"/>.
    /// </summary>
    public async ValueTask ReadAsync(long compressedOffset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        // :: Step 8: cached chunks, and requests for the gaps between them.
        ArgumentOutOfRangeException.ThrowIfNegative(compressedOffset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(destination.Length, _blob.Size - compressedOffset, nameof(destination));
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (destination.IsEmpty)
            return;

        if (BeginToRead(compressedOffset, destination, cancellationToken) is { } gaps)
            await Task.WhenAll(gaps).ConfigureAwait(false);
    }

    // Reads what the cache has, and begins to fetch the rest.
    private List<Task>? BeginToRead(long compressedOffset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        int first = _grid.ChunkAt(compressedOffset), end = _grid.ChunkAt(compressedOffset + destination.Length - 1) + 1;
        if (Store is not { } store)
            return [FetchAsync(first, end, compressedOffset, destination, cancellationToken)];
        List<Task>? gaps = null;
        var reading = new ChunkStore.Reading(store);
        try
        {
            for (int chunk = first; chunk < end;)
            {
                int read = ReadCached(ref reading, chunk, end, compressedOffset, destination.Span);
                chunk += read;
                if (read > 0)
                    continue;
                int gapEnd = reading.Find(present: true, chunk + 1, end);
                (gaps ??= []).Add(FetchAsync(chunk, gapEnd, compressedOffset, destination, cancellationToken));
                chunk = gapEnd;
            }
        }
        catch (ImageException e) when (gaps is not null)
        {
            gaps.Add(Task.FromException(e)); // the others write to the destination still
        }
        finally
        {
            reading.Dispose();
        }
        return gaps;
    }

    /// <summary>How long another process that fetches the same chunks is waited for.</summary>
    internal TimeSpan ClaimPatience { init => Store?.ClaimPatience = value; }

    /// <summary>Bytes of the blob.</summary>
    public long Size => _blob.Size;

    /// <summary>Whether bytes [offset, end) need not be fetched: the source is local, or the cache has them (they may be damaged).</summary>
    public bool IsHere(long offset, long end)
    {
        if (Store is not { } store || offset >= end)
            return _source.IsLocal || offset >= end;
        int endChunk = _grid.ChunkAt(end - 1) + 1;
        return store.Find(present: false, _grid.ChunkAt(offset), endChunk) == endChunk;
    }

    /// <summary>Gets the chunks of bytes [offset, end) into the cache that are not there. Nothing to do for a local source.</summary>
    /// <returns>Bytes that were fetched.</returns>
    public async Task<long> PrefetchAsync(long offset, long end, CancellationToken cancellationToken)
    {
        if (Store is not { } store || offset >= end)
            return 0;
        long fetched = 0;
        int endChunk = _grid.ChunkAt(end - 1) + 1;
        for (int chunk = _grid.ChunkAt(offset); (chunk = store.Find(present: false, chunk, endChunk)) < endChunk;)
        {
            int gapEnd = store.Find(present: true, chunk, endChunk);
            (long gapOffset, int gapLength) = _grid.Extent(chunk, gapEnd);
            await FetchAsync(chunk, gapEnd, gapOffset, Memory<byte>.Empty, cancellationToken).ConfigureAwait(false);
            fetched += gapLength;
            chunk = gapEnd;
        }
        return fetched;
    }

    /// <summary>
    /// As <see cref="ReadAsync"/>, but always from the source: for a caller that found the bytes to be wrong. The new bytes take the
    /// place of the cached ones, which are not removed before: another reader may have replaced them already.
    /// </summary>
    public async ValueTask FetchAgainAsync(long compressedOffset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        int first = _grid.ChunkAt(compressedOffset), end = _grid.ChunkAt(compressedOffset + destination.Length - 1) + 1;
        for (int chunk = first; chunk < end && Store is not null; chunk++)
            _logger.CachedChunkDropped(_blob.Digest, chunk, "its decoded bytes do not match the layer's index");
        var fetch = new ChunkFetch(this, first, end) { IsAfresh = true };
        fetch.Begin();
        await DeliverAsync([fetch], first, end, compressedOffset, destination, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Ends the fetches under way. Their readers get <see cref="ObjectDisposedException"/> or a cancellation.</summary>
    public void Dispose()
    {
        ChunkFetch[] underWay;
        lock (_lock)
        {
            if (_disposed)
                return;
            _disposed = true;
            underWay = [.. _inFlight.Values];
        }
        foreach (ChunkFetch fetch in underWay)
            fetch.Cancel();
        _stores.ForEach(store => store.Dispose());
        _owned?.Dispose();
    }

    private static bool IsGood(ChunkDigests? chunks, int chunk, ReadOnlySpan<byte> bytes)
    {
        if (chunks is null)
            return true;
        Span<byte> hash = stackalloc byte[ChunkDigests.DigestSize];
        SHA256.HashData(bytes, hash);
        return hash.SequenceEqual(chunks[chunk]);
    }

    // Copies the part of a chunk that destination, which begins at compressedOffset of the blob, wants.
    private void Deliver(int chunk, ReadOnlySpan<byte> bytes, long compressedOffset, Span<byte> destination)
    {
        long begin = _grid.Extent(chunk, chunk + 1).Offset;
        int skip = (int)Math.Max(0, compressedOffset - begin);
        int at = (int)Math.Max(0, begin - compressedOffset);
        int length = Math.Min(bytes.Length - skip, destination.Length - at);
        if (length <= 0)
            return; // nobody wants the bytes, only that they are kept
        bytes.Slice(skip, length).CopyTo(destination[at..]);
    }

    // Reads chunks from first on while the cache has them; returns how many. Those that lie whole in the destination are read
    // straight into it: nobody looks at it unless ReadAsync succeeds.
    private int ReadCached(ref ChunkStore.Reading reading, int first, int end, long compressedOffset, Span<byte> destination)
    {
        int whole = _grid.Extent(first, end) is var (offset, length) && offset + length > compressedOffset + destination.Length ? end - 1 : end;
        if (offset >= compressedOffset && first < whole)
            return ReadCached(ref reading, first, destination.Slice((int)(offset - compressedOffset), _grid.Extent(first, whole).Length));

        length = _grid.Extent(first, first + 1).Length;
        byte[] buffer = ArrayPool<byte>.Shared.Rent(length);
        try
        {
            Span<byte> bytes = buffer.AsSpan(0, length);
            if (ReadCached(ref reading, first, bytes) == 0)
                return 0;
            Deliver(first, bytes, compressedOffset, destination);
            return 1;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    // The same, of whole chunks.
    private int ReadCached(ref ChunkStore.Reading reading, int first, Span<byte> bytes)
    {
        int read = reading.Read(first, bytes);
        for (int i = 0; i < read; i++)
        {
            if (!IsGood(_ground.Chunks, first + i, bytes.Slice(i * _grid.ChunkSize, _grid.Extent(first + i, first + i + 1).Length)))
            {
                reading.Drop(first + i, "it does not match its SHA-256");
                read = i;
            }
        }
        if (read > 0)
            _cache.Counters.Add(Counter.ChunkHits, read);
        return read;
    }

    // Chunks [first, end). Those that somebody fetches already are waited for; the gaps between them are fetched, each
    // gap by one request.
    private async Task FetchAsync(int first, int end, long compressedOffset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        List<ChunkFetch> joined = [];
        List<ChunkFetch> begun = [];
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            for (int chunk = first; chunk < end;)
            {
                if (_inFlight.TryGetValue(chunk, out ChunkFetch? fetch))
                {
                    fetch.Join();
                }
                else
                {
                    int gapEnd = chunk + 1;
                    while (gapEnd < end && !_inFlight.ContainsKey(gapEnd))
                        gapEnd++;
                    fetch = new ChunkFetch(this, chunk, gapEnd);
                    for (int mine = chunk; mine < gapEnd; mine++)
                        _inFlight.Add(mine, fetch);
                    begun.Add(fetch);
                }
                joined.Add(fetch);
                chunk = fetch.End;
            }
        }
        foreach (ChunkFetch fetch in begun)
            fetch.Begin();
        await DeliverAsync(joined, first, end, compressedOffset, destination, cancellationToken).ConfigureAwait(false);
    }

    // Waits for fetches and takes from each what it has of chunks [first, end). Leaves all of them, whatever happens.
    private async Task DeliverAsync(List<ChunkFetch> joined, int first, int end, long compressedOffset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        int left = 0;
        try
        {
            foreach (ChunkFetch fetch in joined)
            {
                await fetch.Completion.WaitAsync(cancellationToken).ConfigureAwait(false);
                for (int chunk = Math.Max(first, fetch.First); chunk < Math.Min(end, fetch.End); chunk++)
                    Deliver(chunk, fetch.Bytes(chunk), compressedOffset, destination.Span);
                fetch.Dispose();
                left++;
            }
        }
        finally
        {
            for (; left < joined.Count; left++)
                joined[left].Dispose();
        }
    }
}
