using System.Buffers;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Counting;
using LazyMount.Blobs.Images;
using LazyMount.Compression;
using LazyMount.Indexes.Model;

namespace LazyMount.Layers;

/// <summary>One layer as a random-access tar: decoded spans by uncompressed offset. Thread-safe.</summary>
public sealed class Layer : IDisposable
{
    /// <summary>Uncompressed bytes of a span from which on decoding it ahead pays.</summary>
    private const int LongSpan = 256 << 10;

    /// <summary>Bytes of the blob that are asked for at once ahead of a reader.</summary>
    private const int AheadRequest = 1 << 20;

    /// <summary>
    /// Spans that one read begins at once; it waits for the first, then for the next. Our spans have 2 MiB and those of other tools
    /// 4 MiB, so a read of 1 MiB touches two: more are begun of spans of 64 KiB, where the layer has a checkpoint for every file.
    /// </summary>
    private const int MostBegun = 32;

    /// <summary>Most bytes of the blob that one read asks for at once.</summary>
    private const int LongestRequest = 4 << 20;

    /// <summary>The pool keeps its arrays for the life of the process, so larger ones do not come from there.</summary>
    private const int LargestPooled = 4 << 20;

    private readonly LayerHead _head;
    private readonly bool _ownsHead;
    private readonly CheckpointTable _checkpoints;
    private readonly RangeDigests? _ranges;
    private readonly BlobReader _blob;
    private readonly SpanCache _spans;
    private readonly SpanTable _table;
    private readonly ReadAhead _readAhead = new();
    private readonly CancellationTokenSource _disposal = new();
    private int _decodeAhead = -1; // the span whose being read makes the one after it be decoded

    /// <param name="head">What reading it needs. A whole index is not kept whole.</param>
    /// <param name="blob">Its bytes; owned.</param>
    /// <param name="spans">Where decoded spans are kept; shared by layers, not owned.</param>
    /// <param name="ownsHead">Whether the head is closed with the layer.</param>
    public Layer(LayerHead head, BlobReader blob, SpanCache spans, bool ownsHead = true)
    {
        _ownsHead = ownsHead;
        (_head, _checkpoints, _ranges, _blob, _spans) = (head.WithoutContents(), head.Checkpoints, head.Proof.Ranges, blob, spans);
        Spans = new SpanMap(head.Checkpoints);
        _table = new SpanTable(spans, Spans, DecodeAsync);
    }

    /// <summary>As in <see cref="LayerHead.Prefetch"/>.</summary>
    public IReadOnlyList<PrefetchRange> Prefetch => _head.Prefetch;

    /// <summary>As in <see cref="LayerHead.UncompressedSize"/>.</summary>
    public long UncompressedSize => Spans.UncompressedSize;

    /// <summary>The spans: the units that are fetched and decoded.</summary>
    public SpanMap Spans { get; }

    /// <summary>
    /// The layer has passed whole and matched its digest, and its index was found to be right: from now on its bytes are verified
    /// with what that pass found, and taken from the store of everybody.
    /// </summary>
    /// <param name="built">The index that the pass made.</param>
    public void Prove(LayerHead built)
    {
        if (built is { Proof: { By: Voucher.Layer, Chunks: { } chunks }, Transcoding: null })
        {
            _blob.Prove(chunks);
        }
    }

    /// <summary>
    /// Whether an uncompressed offset means the same byte in both, whoever opened them: they are one blob, and their indexes count the bytes of
    /// its tar, or are the same index.
    /// </summary>
    public bool SharesOffsetsWith(Layer other)
        => _head.Digest == other._head.Digest
            && ((_head.ContentsDigest is { } contents && contents == other._head.ContentsDigest) || (CountsBytesOfTheTar && other.CountsBytesOfTheTar));

    private bool CountsBytesOfTheTar => _head.Origin is IndexOrigin.Built or IndexOrigin.TarHeaders;

    /// <summary>The digests of some uncompressed bytes, where a table of contents has those of just these bytes; see <see cref="RangeDigests.TryDescribe"/>.</summary>
    /// <exception cref="ImageException">The digests cannot be read.</exception>
    public IReadOnlyList<(int Length, byte[] Sha256)>? TryDescribe(long offset, long length) => _ranges?.TryDescribe(offset, length);

    /// <summary>Its bytes.</summary>
    internal BlobReader Blob => _blob;

    /// <summary>
    /// The span that holds a byte of the tar, if it is decoded in memory. Does not allocate, wait or lock for long.
    /// </summary>
    /// <param name="uncompressedOffset">Offset of the byte.</param>
    /// <param name="lease">The span; the caller disposes it.</param>
    /// <param name="fileEnd">Offset behind the file that is read: a reader that goes in order is gone ahead of up to there, and not much farther.</param>
    public bool TryGetSpan(long uncompressedOffset, out SpanLease lease, long fileEnd = long.MaxValue)
    {
        if (!_table.TryLease(uncompressedOffset, out lease))
        {
            return false;
        }
        // Once, or every read from memory would note it.
        int span = lease.Span;
        if (span == Volatile.Read(ref _decodeAhead) && Interlocked.CompareExchange(ref _decodeAhead, -1, span) == span)
        {
            GoAhead(span, span, fileEnd);
        }
        return true;
    }

    /// <summary>The same, fetching and decoding it when needed; equal concurrent calls share the work. The caller disposes the lease.</summary>
    /// <param name="uncompressedOffset">Offset of the byte.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <param name="wanted">Bytes that are read from there on: if that is more than the span has, some of those behind it are begun as well.</param>
    /// <param name="fileEnd">As in <see cref="TryGetSpan"/>.</param>
    public ValueTask<SpanLease> GetSpanAsync(long uncompressedOffset, CancellationToken cancellationToken, long wanted = 1, long fileEnd = long.MaxValue)
    {
        // :: Step 8: the span that holds the byte, joined or begun.
        cancellationToken.ThrowIfCancellationRequested();
        if (_table.TryLease(uncompressedOffset, out SpanLease lease))
        {
            return new ValueTask<SpanLease>(lease);
        }
        int span = Spans.Find(uncompressedOffset);
        int last = LastToBegin(span, uncompressedOffset, wanted);
        if (last > span)
        {
            long offset = Spans.CompressedOffset(span);
            _ = PrefetchAsync(offset, Math.Min(Spans.CompressedEnd(last), offset + LongestRequest)); // one request, which the spans join
        }
        Task<SpanLease> waiting = _table.LeaseAsync(span, cancellationToken);
        GoAhead(span, last, fileEnd);
        return new ValueTask<SpanLease>(waiting);
    }

    // The last of the spans that a read begins at once.
    private int LastToBegin(int span, long uncompressedOffset, long wanted)
    {
        int last = span;
        while (last + 1 < Math.Min(Spans.Count, span + MostBegun) && Spans.UncompressedOffset(last + 1) - uncompressedOffset < wanted)
        {
            last++;
        }
        return last;
    }

    /// <summary>The bytes of the blob that the spans of a range of uncompressed bytes are decoded from.</summary>
    internal (long Offset, long End) CompressedRange(long uncompressedOffset, long uncompressedEnd)
    {
        uncompressedEnd = Math.Min(uncompressedEnd, UncompressedSize);
        return uncompressedOffset >= uncompressedEnd
            ? default
            : (Spans.CompressedOffset(Spans.Find(uncompressedOffset)), Spans.CompressedEnd(Spans.Find(uncompressedEnd - 1)));
    }

    /// <summary>
    /// A span is read: those behind it are begun up to the last one that the read wants, and when others were read in order before it,
    /// what follows is fetched and the next span decoded.
    /// </summary>
    private void GoAhead(int span, int last, long fileEnd)
    {
        try
        {
            for (int next = span + 1; next <= last; next++)
            {
                _table.Begin(next);
            }
            GoAheadOf(span, fileEnd);
        }
        catch (ImageException)
        {
            // Of a damaged index: whoever reads the next span is told.
        }
    }

    private void GoAheadOf(int span, long fileEnd)
    {
        long lastEnd = fileEnd >= UncompressedSize ? _blob.Size : Spans.CompressedEnd(Spans.Find(fileEnd - 1));
        (long offset, long end) = _readAhead.Note(Spans.CompressedOffset(span), Spans.CompressedEnd(span), lastEnd, _blob.Size);
        if (end > offset)
        {
            BeginFetching(offset, end);
        }
        if (_readAhead.IsWanted(Spans.CompressedEnd(span)) && span + 1 < Spans.Count && Spans.Length(span) >= LongSpan)
        {
            Volatile.Write(ref _decodeAhead, span + 1);
            _table.Begin(span + 1);
        }
    }

    // A method of its own: what a lambda captures is allocated where its method begins, and GoAhead begins often.
    private void BeginFetching(long offset, long end) => _ = Task.Run(() => FetchAheadAsync(offset, end), CancellationToken.None);

    private async Task FetchAheadAsync(long offset, long end)
    {
        for (; offset < end && _readAhead.IsWanted(offset); offset += AheadRequest)
        {
            await PrefetchAsync(offset, Math.Min(offset + AheadRequest, end)).ConfigureAwait(false);
        }
    }

    private async Task PrefetchAsync(long offset, long end)
    {
        try
        {
            if (_blob.IsHere(offset, end))
            {
                return;
            }
            using SpanReservation reservation = await _spans.Remote.ReserveAsync(end - offset, _disposal.Token).ConfigureAwait(false);
            await _blob.PrefetchAsync(offset, end, _disposal.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is ImageException or OperationCanceledException or ObjectDisposedException)
        {
            // Whoever reads it is told.
        }
    }

    private async Task<SpanMemory> DecodeAsync(SpanEntry entry, CancellationToken cancellationToken)
    {
        // :: Step 8: memory, compressed bytes, decoding.
        long compressedOffset = Spans.CompressedOffset(entry.Span);
        int compressedLength = entry.Length == 0 ? 0 : CompressedLength(entry.Span, compressedOffset);
        bool isHere = _blob.IsHere(compressedOffset, compressedOffset + compressedLength);
        long size = (isHere ? 1L : 2L) * compressedLength + entry.Length + SpanCache.Overhead; // what is fetched is in a buffer of its own first
        entry.Reservation = await (isHere ? _spans.Local : _spans.Remote).ReserveAsync(size, cancellationToken).ConfigureAwait(false);
        if (compressedLength > LargestPooled)
        {
            using var memory = new SpanMemory(compressedLength);
            return await DecodeAsync(entry.Span, compressedOffset, memory.Memory, cancellationToken).ConfigureAwait(false);
        }
        byte[] buffer = ArrayPool<byte>.Shared.Rent(compressedLength);
        try
        {
            return await DecodeAsync(entry.Span, compressedOffset, buffer.AsMemory(0, compressedLength), cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    // A little more than the longest span: bytes that do not pack become longer.
    private int CompressedLength(int span, long offset)
    {
        long length = Spans.CompressedEnd(span) - offset;
        return length is >= 0 and <= CheckpointTable.LongestSpan / 4 * 5L ? (int)length : throw new InvalidDataException($"span {span} of layer {_head.Digest} has {length} bytes in the blob");
    }

    private async Task<SpanMemory> DecodeAsync(int span, long compressedOffset, Memory<byte> compressed, CancellationToken cancellationToken)
    {
        await _blob.ReadAsync(compressedOffset, compressed, cancellationToken).ConfigureAwait(false);
        try
        {
            return await DecodeVerifiedAsync(span, compressedOffset, compressed, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is InvalidDataException or NotSupportedException && _ranges is not null)
        {
            // What was cached may be damaged: nobody has verified it before.
            await _blob.FetchAgainAsync(compressedOffset, compressed, cancellationToken).ConfigureAwait(false);
        }
        try
        {
            return await DecodeVerifiedAsync(span, compressedOffset, compressed, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is InvalidDataException or NotSupportedException && _ranges is not null)
        {
            throw new ImageException(ImageError.Verification, $"cannot use span {span} of layer {_head.Digest}, bytes {compressedOffset}-{compressedOffset + compressed.Length - 1}: they were fetched twice and do not match the SHA-256 in the table of contents; push or copy the image again", e);
        }
    }

    /// <exception cref="InvalidDataException">The bytes are not those of the span.</exception>
    private async Task<SpanMemory> DecodeVerifiedAsync(int span, long compressedOffset, ReadOnlyMemory<byte> compressed, CancellationToken cancellationToken)
    {
        if (_ranges is { OfCompressed: true } && !_ranges.Verifies(compressedOffset, compressed.Span))
        {
            throw new InvalidDataException("compressed bytes with another SHA-256");
        }
        await _spans.DecoderGate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            int length = Spans.Length(span);
            SpanMemory memory = _spans.Rent(length);
            try
            {
                long start = Spans.UncompressedOffset(span);
                for (int i = Spans.First(span); i < Spans.First(span + 1); i++)
                {
                    int stretch = _checkpoints.Length(i);
                    if (stretch > 0)
                    {
                        long offset = _checkpoints.UncompressedOffset(i) - start, from = _checkpoints.CompressedOffset(i) - compressedOffset, end = _checkpoints.CompressedEnd(i) - compressedOffset;
                        if (offset < 0 || offset > length - stretch || from < 0 || from > end || end > compressed.Length)
                        {
                            throw new InvalidDataException($"the checkpoints of span {span} of layer {_head.Digest} are not in order");
                        }
                        Decode(i, compressed[(int)from..(int)end], memory.Span.Slice((int)offset, stretch));
                    }
                }
                if (_ranges is { OfCompressed: false } && !_ranges.Verifies(start, memory.Span[..length]))
                {
                    throw new InvalidDataException("uncompressed bytes with another SHA-256");
                }
                _spans.Counters.Add(Counter.DecodedBytes, length);
                return memory;
            }
            catch
            {
                _spans.Return(memory);
                throw;
            }
        }
        finally
        {
            _spans.DecoderGate.Release();
        }
    }

    private void Decode(int number, ReadOnlyMemory<byte> compressed, Span<byte> span)
    {
        Checkpoint checkpoint = _checkpoints[number];
        using Decompressor decompressor = Decompressor.Resume(_head.SpanFormat, checkpoint);
        decompressor.Push(compressed);
        bool ended = false;
        while (!span.IsEmpty)
        {
            if (!decompressor.TryRead(out ReadOnlySpan<byte> run))
            {
                // The last bytes of a blob may come only when it is known to have ended.
                if (!ended && number == _checkpoints.Count - 1)
                {
                    decompressor.Complete();
                    ended = true;
                    continue;
                }
                throw new InvalidDataException($"span {number} of layer {_head.Digest} ends {span.Length} bytes early: its index does not belong to its blob");
            }
            run = run[..Math.Min(run.Length, span.Length)];
            run.CopyTo(span);
            span = span[run.Length..];
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _disposal.Cancel(); // not disposed: it holds nothing, and those who look at it may come late
        _table.Close();
        _blob.Dispose();
        if (_ownsHead)
        {
            _head.Close();
        }
    }
}
