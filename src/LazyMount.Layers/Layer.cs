using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
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

    private readonly Digest _digest;
    private readonly CompressionFormat _format;
    private readonly RangeDigests? _ranges;
    private readonly BlobReader _blob;
    private readonly SpanCache _spans;
    private readonly object?[] _slots; // see SpanCache
    private readonly ReadAhead _readAhead = new();
    private readonly CancellationTokenSource _disposal = new();
    private int _decodeAhead = -1; // the span whose being read makes the one after it be decoded

    /// <param name="index">Its table of contents, of which only checkpoints and digests are kept.</param>
    /// <param name="blob">Its bytes; owned.</param>
    /// <param name="spans">Where decoded spans are kept; shared by layers, not owned.</param>
    public Layer(LayerIndex index, BlobReader blob, SpanCache spans)
    {
        (Checkpoints, _digest, _format, _blob, _spans) = (index.Checkpoints, index.Digest, index.SpanFormat, blob, spans);
        _ranges = index.Proof.Ranges;
        Prefetch = index.Prefetch;
        _slots = new object?[index.Checkpoints.Count];
    }

    /// <summary>As in <see cref="LayerIndex.Prefetch"/>.</summary>
    public IReadOnlyList<PrefetchRange> Prefetch { get; }

    /// <summary>As in <see cref="LayerIndex.UncompressedSize"/>.</summary>
    public long UncompressedSize => Checkpoints.UncompressedOffset(Checkpoints.Count);

    /// <summary>
    /// The layer has passed whole and matched its digest, and its index was found to be right: from now on its bytes are verified
    /// with what that pass found, and taken from the store of everybody.
    /// </summary>
    /// <param name="built">The index that the pass made.</param>
    public void Prove(LayerIndex built)
    {
        if (built is { Proof: { By: Voucher.Layer, Chunks: { } chunks }, Transcoding: null })
        {
            _blob.Prove(chunks);
        }
    }

    /// <summary>Its bytes.</summary>
    internal BlobReader Blob => _blob;

    /// <summary>Where decoding can start.</summary>
    public CheckpointTable Checkpoints { get; }

    /// <summary>
    /// The span that holds a byte of the tar, if it is decoded in memory. Does not allocate, wait or lock for long.
    /// The caller must <see cref="DecodedSpan.Release"/> it.
    /// </summary>
    /// <param name="uncompressedOffset">Offset of the byte.</param>
    /// <param name="span">The span.</param>
    /// <param name="fileEnd">Offset behind the file that is read: a reader that goes in order is gone ahead of up to there, and not much farther.</param>
    public bool TryGetSpan(long uncompressedOffset, [NotNullWhen(true)] out DecodedSpan? span, long fileEnd = long.MaxValue)
    {
        int number = Checkpoints.Find(uncompressedOffset);
        if (!_spans.TryGet(_slots, number, out span))
        {
            return false;
        }
        // Once, or every read from memory would note it.
        if (number == Volatile.Read(ref _decodeAhead) && Interlocked.CompareExchange(ref _decodeAhead, -1, number) == number)
        {
            GoAhead(number, fileEnd);
        }
        return true;
    }

    /// <summary>The same, fetching and decoding it when needed; equal concurrent calls share the work. The caller must release the span.</summary>
    /// <param name="uncompressedOffset">Offset of the byte.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <param name="wanted">Bytes that are read from there on: if that is more than the span has, those behind it are begun as well.</param>
    /// <param name="fileEnd">As in <see cref="TryGetSpan"/>.</param>
    public ValueTask<DecodedSpan> GetSpanAsync(long uncompressedOffset, CancellationToken cancellationToken, long wanted = 1, long fileEnd = long.MaxValue)
    {
        cancellationToken.ThrowIfCancellationRequested();
        int number = Checkpoints.Find(uncompressedOffset);
        if (_spans.GetOrJoin(_slots, number, out PendingSpan? pending, out bool isNew) is { } span)
        {
            return new ValueTask<DecodedSpan>(span);
        }
        int last = number;
        while (last + 1 < Checkpoints.Count && Checkpoints.UncompressedOffset(last + 1) - uncompressedOffset < wanted)
        {
            last++;
        }
        if (last > number)
        {
            _ = PrefetchAsync(Checkpoints.CompressedOffset(number), Checkpoints.CompressedEnd(last)); // one request, which the spans join
        }
        if (isNew)
        {
            Begin(number, pending!);
        }
        for (int next = number + 1; next <= last; next++)
        {
            BeginUnlessThere(next);
        }
        GoAhead(number, fileEnd);
        return new ValueTask<DecodedSpan>(WaitAsync(number, pending!, cancellationToken));
    }

    /// <summary>The bytes of the blob that the spans of a range of uncompressed bytes are decoded from.</summary>
    internal (long Offset, long End) CompressedRange(long uncompressedOffset, long uncompressedEnd)
    {
        uncompressedEnd = Math.Min(uncompressedEnd, Checkpoints.UncompressedOffset(Checkpoints.Count));
        return uncompressedOffset >= uncompressedEnd
            ? default
            : (Checkpoints.CompressedOffset(Checkpoints.Find(uncompressedOffset)), Checkpoints.CompressedEnd(Checkpoints.Find(uncompressedEnd - 1)));
    }

    /// <summary>A span is read: when others were read in order before it, what follows is fetched and the next span decoded.</summary>
    private void GoAhead(int number, long fileEnd)
    {
        long lastEnd = fileEnd >= UncompressedSize ? _blob.Size : Checkpoints.CompressedEnd(Checkpoints.Find(fileEnd - 1));
        (long offset, long end) = _readAhead.Note(Checkpoints.CompressedOffset(number), Checkpoints.CompressedEnd(number), lastEnd, _blob.Size);
        if (end > offset)
        {
            BeginFetching(offset, end);
        }
        if (_readAhead.IsWanted(Checkpoints.CompressedEnd(number)) && number + 1 < Checkpoints.Count && Checkpoints.Length(number) >= LongSpan)
        {
            Volatile.Write(ref _decodeAhead, number + 1);
            BeginUnlessThere(number + 1);
        }
    }

    // Methods of their own: what a lambda captures is allocated where its method begins, and GoAhead begins often.
    private void Begin(int number, PendingSpan pending) => _ = Task.Run(() => ProduceAsync(number, pending), CancellationToken.None);

    private void BeginFetching(long offset, long end) => _ = Task.Run(() => FetchAheadAsync(offset, end), CancellationToken.None);

    private void BeginUnlessThere(int number)
    {
        if (_spans.TryBegin(_slots, number) is { } pending)
        {
            Begin(number, pending);
        }
    }

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
            await _blob.PrefetchAsync(offset, end, _disposal.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is ImageException or OperationCanceledException or ObjectDisposedException)
        {
            // Whoever reads it is told.
        }
    }

    private async Task<DecodedSpan> WaitAsync(int number, PendingSpan pending, CancellationToken cancellationToken)
    {
        _spans.BeginWaiting();
        try
        {
            return await pending.Completion.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            _spans.Leave(_slots, number, pending);
            throw;
        }
        finally
        {
            _spans.EndWaiting();
        }
    }

    private async Task ProduceAsync(int number, PendingSpan pending)
    {
        try
        {
            DecodedSpan span = await DecodeAsync(number, pending.Cancellation.Token).ConfigureAwait(false);
            _spans.Complete(_slots, number, pending, span);
            pending.Completion.SetResult(span);
        }
        catch (Exception e)
        {
            _spans.Fail(_slots, number, pending);
            // Cancelled: because all have left, or because the layer is gone under those who still wait.
            pending.Completion.SetException(e is OperationCanceledException ? new ObjectDisposedException(nameof(Layer)) : e);
            _ = pending.Completion.Task.Exception; // seen: nobody may be left to do so
        }
    }

    private async Task<DecodedSpan> DecodeAsync(int number, CancellationToken cancellationToken)
    {
        long compressedOffset = Checkpoints.CompressedOffset(number);
        int compressedLength = (int)(Checkpoints.CompressedEnd(number) - compressedOffset);
        byte[] compressed = ArrayPool<byte>.Shared.Rent(compressedLength);
        try
        {
            Memory<byte> bytes = compressed.AsMemory(0, compressedLength);
            await _blob.ReadAsync(compressedOffset, bytes, cancellationToken).ConfigureAwait(false);
            try
            {
                return await DecodeAsync(number, compressedOffset, bytes, cancellationToken).ConfigureAwait(false);
            }
            catch (Exception e) when (e is InvalidDataException or NotSupportedException && _ranges is not null)
            {
                // What was cached may be damaged: nobody has verified it before.
                await _blob.FetchAgainAsync(compressedOffset, bytes, cancellationToken).ConfigureAwait(false);
            }
            try
            {
                return await DecodeAsync(number, compressedOffset, bytes, cancellationToken).ConfigureAwait(false);
            }
            catch (Exception e) when (e is InvalidDataException or NotSupportedException && _ranges is not null)
            {
                throw new ImageException(ImageError.Verification, $"Span {number} of layer {_digest}, bytes {compressedOffset}-{compressedOffset + compressedLength - 1}, does not have the SHA-256 that its table of contents gives, twice: what its source holds is damaged; push or copy the image again.", e);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(compressed);
        }
    }

    /// <exception cref="InvalidDataException">The bytes are not those of the span.</exception>
    private async Task<DecodedSpan> DecodeAsync(int number, long compressedOffset, ReadOnlyMemory<byte> compressed, CancellationToken cancellationToken)
    {
        if (_ranges is { OfCompressed: true } && !_ranges.Verifies(compressedOffset, compressed.Span))
        {
            throw new InvalidDataException("compressed bytes with another SHA-256");
        }
        await _spans.DecoderGate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            int length = Checkpoints.Length(number);
            SpanMemory memory = _spans.Rent(length);
            try
            {
                Decode(number, compressed, memory.Bytes[..length]);
                if (_ranges is { OfCompressed: false } && !_ranges.Verifies(Checkpoints.UncompressedOffset(number), memory.Bytes[..length]))
                {
                    throw new InvalidDataException("uncompressed bytes with another SHA-256");
                }
            }
            catch
            {
                _spans.Return(memory);
                throw;
            }
            return new DecodedSpan(_spans, memory, Checkpoints.UncompressedOffset(number), length);
        }
        finally
        {
            _spans.DecoderGate.Release();
        }
    }

    private void Decode(int number, ReadOnlyMemory<byte> compressed, Span<byte> span)
    {
        Checkpoint checkpoint = Checkpoints[number];
        using Decompressor decompressor = Decompressor.Resume(_format, checkpoint);
        decompressor.Push(compressed);
        bool ended = false;
        while (!span.IsEmpty)
        {
            if (!decompressor.TryRead(out ReadOnlySpan<byte> run))
            {
                // The last bytes of a blob may come only when it is known to have ended.
                if (!ended && number == Checkpoints.Count - 1)
                {
                    decompressor.Complete();
                    ended = true;
                    continue;
                }
                throw new InvalidDataException($"span {number} of layer {_digest} ends {span.Length} bytes early: its index does not belong to its blob");
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
        _spans.Drop(_slots);
        _blob.Dispose();
    }
}
