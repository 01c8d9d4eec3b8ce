using System.Buffers;
using System.Threading.Channels;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace LazyMount.Blobs.Cache;

/// <summary>
/// A whole blob from its beginning to its end: what the cache has from there, the rest from the source by several range
/// requests ahead of the reader, so that one slow connection is not the limit. What is fetched is kept as it passes, so
/// that whoever is interrupted goes on where it stopped. Not verified: the reader hashes it, and says with <see cref="Accept"/> or
/// <see cref="Reject"/> what came out, so that the cache loses what is proved to be wrong and nothing else.
/// </summary>
public sealed class CachedBlobStream : ForwardStream
{
    /// <summary>
    /// Bytes asked for at once, a whole number of chunks. Indexing the benchmark image (two large layers, 310 MB) with 1, 2, 4 and 8 MiB
    /// and four ahead took 1.9, 2.1, 2.0 and 2.1 s on loopback and 16.2, 17.6, 15.3 and 14.8 s over 20 ms and 200 Mbit/s, where the bytes
    /// alone take 13.7 s; with two or eight ahead no size did better by more than runs differ.
    /// </summary>
    private const int RangeSize = 4 << 20;

    /// <summary>Chunks that replace cached ones once they are proved: more are only forgotten, and fetched again when they are read.</summary>
    private const int MaxReplaced = 64;

    /// <summary>Ranges under way or waiting for the reader; with <see cref="RangeSize"/> the bound of memory.</summary>
    private const int Ahead = 4;

    private readonly Descriptor _blob;
    private readonly IImageSource _source;
    private readonly ChunkStore _store;
    private readonly bool _keep;
    private readonly bool _afresh;
    private readonly Lock _lock = new();
    private readonly List<int> _kept = [];                  // by this stream
    private readonly Dictionary<int, byte[]?> _disputed = []; // cached, and other bytes than the source gave, which are here
    private readonly CancellationTokenSource _cancellation = new();
    private readonly Channel<Task<Range>> _ranges = Channel.CreateBounded<Task<Range>>(new BoundedChannelOptions(Ahead - 1) { SingleReader = true, SingleWriter = true });
    private readonly Task _planner;
    private Range _current;
    private int _taken;
    private long _cachedBytes;
    private long _fetchedBytes;
    private int _disposed;

    private readonly record struct Range(byte[] Buffer, int Length);

    /// <param name="blob">The blob.</param>
    /// <param name="source">Where it comes from. Not owned.</param>
    /// <param name="cache">The cache.</param>
    /// <param name="keep">Whether what is fetched is kept.</param>
    /// <param name="logger">Told of chunks that are damaged, or cannot be kept.</param>
    /// <param name="afresh">Whether all bytes come from the source, whatever the cache has: after cached bytes made a wrong blob.</param>
    public CachedBlobStream(Descriptor blob, IImageSource source, BlobCache cache, bool keep, ILogger logger, bool afresh = false)
    {
        (_blob, _source, _keep, _afresh) = (blob, source, keep, afresh);
        _store = new ChunkStore(cache, blob, ChunkDigests.DefaultChunkSize, logger);
        _planner = Task.Run(PlanAsync);
    }

    /// <summary>Whether the cache has all of a blob, of which nobody has looked at the bytes yet.</summary>
    public static bool IsWhole(Descriptor blob, BlobCache cache)
    {
        using var store = new ChunkStore(cache, blob, ChunkDigests.DefaultChunkSize, NullLogger.Instance);
        return store.Find(present: false, 0, store.Grid.Count) == store.Grid.Count;
    }

    /// <summary>Bytes that came from the cache so far.</summary>
    public long CachedBytes => Volatile.Read(ref _cachedBytes);

    /// <summary>Bytes that came from the source so far.</summary>
    public long FetchedBytes => Volatile.Read(ref _fetchedBytes);

    /// <summary>Forgets all that is kept of the blob: it is not needed any more.</summary>
    public void Forget() => _store.DropAll();

    /// <summary>The whole blob was right. Cached chunks that the source gave otherwise were wrong, and are replaced.</summary>
    public void Accept()
    {
        lock (_lock)
        {
            foreach ((int chunk, byte[]? right) in _disputed)
            {
                _store.Drop(chunk, "the whole blob is right with other bytes");
                if (right is not null)
                    _store.Keep(chunk, right);
            }
            _disputed.Clear();
        }
    }

    /// <summary>
    /// The whole blob was wrong. What this stream has kept of it is forgotten. What the cache had before stays: bytes of a lying
    /// source prove nothing about it.
    /// </summary>
    public void Reject()
    {
        lock (_lock)
        {
            _store.Forget(_kept);
            _kept.Clear();
            _disputed.Clear();
        }
    }

    /// <inheritdoc/>
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (buffer.IsEmpty)
            return 0;
        while (_taken == _current.Length)
        {
            if (_current.Buffer is not null)
                ArrayPool<byte>.Shared.Return(_current.Buffer);
            (_current, _taken) = (default, 0);
            if (!await _ranges.Reader.WaitToReadAsync(cancellationToken).ConfigureAwait(false))
                return 0;
            // It stays in the channel until it is there: whoever cancels has not taken it.
            if (_ranges.Reader.TryPeek(out Task<Range>? next))
            {
                await next.WaitAsync(cancellationToken).ConfigureAwait(false);
                _ranges.Reader.TryRead(out _);
                _current = await next.ConfigureAwait(false);
            }
        }
        int length = Math.Min(buffer.Length, _current.Length - _taken);
        _current.Buffer.AsSpan(_taken, length).CopyTo(buffer.Span);
        _taken += length;
        return length;
    }

    /// <inheritdoc/>
    public override async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 1)
            return;
        await _cancellation.CancelAsync().ConfigureAwait(false);
        await _planner.ConfigureAwait(false);
        while (_ranges.Reader.TryRead(out Task<Range>? range))
        {
            await ((Task)range).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (range.IsCompletedSuccessfully)
                ArrayPool<byte>.Shared.Return((await range.ConfigureAwait(false)).Buffer);
        }
        if (_current.Buffer is not null)
            ArrayPool<byte>.Shared.Return(_current.Buffer);
        _current = default;
        _taken = 0;
        _store.Dispose();
        _cancellation.Dispose();
        await base.DisposeAsync().ConfigureAwait(false);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
            DisposeAsync().AsTask().GetAwaiter().GetResult();
        base.Dispose(disposing);
    }

    // Begins ranges in order, as far ahead as the channel has room.
    private async Task PlanAsync()
    {
        const int ChunksPerRange = RangeSize / ChunkDigests.DefaultChunkSize;
        try
        {
            for (int first = 0; first < _store.Grid.Count; first += ChunksPerRange)
            {
                if (!await _ranges.Writer.WaitToWriteAsync(_cancellation.Token).ConfigureAwait(false))
                    break;
                int begin = first, end = Math.Min(first + ChunksPerRange, _store.Grid.Count);
                _ranges.Writer.TryWrite(Task.Run(() => GetAsync(begin, end, _cancellation.Token)));
            }
        }
        catch (OperationCanceledException)
        {
            // Nobody reads any more.
        }
        finally
        {
            _ranges.Writer.Complete();
        }
    }

    private async Task<Range> GetAsync(int first, int end, CancellationToken cancellationToken)
    {
        (long begin, int length) = _store.Grid.Extent(first, end);
        byte[] buffer = ArrayPool<byte>.Shared.Rent(length);
        try
        {
            for (int chunk = first; chunk < end;)
            {
                cancellationToken.ThrowIfCancellationRequested();
                int read = _afresh ? 0 : _store.Read(chunk, BytesOf(chunk, end).Span);
                Interlocked.Add(ref _cachedBytes, BytesOf(chunk, chunk + read).Length);
                chunk += read;
                if (read > 0)
                    continue;
                int gapEnd = _afresh ? end : _store.Find(present: true, chunk + 1, end);
                await FetchAsync(chunk, gapEnd).ConfigureAwait(false);
                chunk = gapEnd;
            }
            return new Range(buffer, length);
        }
        catch
        {
            ArrayPool<byte>.Shared.Return(buffer);
            throw;
        }

        Memory<byte> BytesOf(int from, int to)
        {
            (long offset, int bytes) = _store.Grid.Extent(from, to);
            return buffer.AsMemory((int)(offset - begin), bytes);
        }

        async Task FetchAsync(int from, int to)
        {
            (long offset, int wanted) = _store.Grid.Extent(from, to);
            Stream stream = await _source.OpenBlobAsync(_blob, offset, wanted, cancellationToken).ConfigureAwait(false);
            await using (stream.ConfigureAwait(false))
            {
                for (int chunk = from; chunk < to; chunk++)
                {
                    Memory<byte> bytes = BytesOf(chunk, chunk + 1);
                    await stream.ReadExactlyAsync(bytes, cancellationToken).ConfigureAwait(false);
                    Interlocked.Add(ref _fetchedBytes, bytes.Length);
                    if (!_afresh || !IsCached(chunk, bytes.Span))
                        Keep(chunk, bytes.Span);
                }
            }
        }
    }

    private void Keep(int chunk, ReadOnlySpan<byte> bytes)
    {
        if (!_keep)
            return;
        lock (_lock)
            _kept.Add(chunk);
        _store.Keep(chunk, bytes);
    }

    // Whether the cache has the chunk. If it has other bytes, one of the two is wrong, and the whole blob will tell which.
    private bool IsCached(int chunk, ReadOnlySpan<byte> bytes)
    {
        byte[] cached = ArrayPool<byte>.Shared.Rent(bytes.Length);
        try
        {
            if (_store.Read(chunk, cached.AsSpan(0, bytes.Length)) == 0)
                return false;
            if (cached.AsSpan(0, bytes.Length).SequenceEqual(bytes))
                return true;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(cached);
        }
        lock (_lock)
            _disputed[chunk] = _disputed.Count < MaxReplaced ? bytes.ToArray() : null;
        return true;
    }
}
