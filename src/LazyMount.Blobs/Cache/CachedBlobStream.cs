using System.Buffers;
using System.Diagnostics;
using System.Threading.Channels;
using LazyMount.Blobs.Counting;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using Microsoft.Extensions.Logging;

namespace LazyMount.Blobs.Cache;

/// <summary>
/// A whole blob from its beginning to its end: what the cache has from there, the rest from the source by several range
/// requests ahead of the reader, so that one slow connection is not the limit. What is fetched is kept as it passes, so
/// that whoever is interrupted goes on where it stopped. Not verified: the reader hashes it, and what passed stays in its scope
/// until the reader has called <see cref="Prove"/>.
/// </summary>
internal sealed class CachedBlobStream : ForwardStream
{
    /// <summary>
    /// Bytes asked for at once, a whole number of chunks. Indexing the benchmark image (two large layers, 310 MB) with 1, 2, 4 and 8 MiB
    /// and four ahead took 1.9, 2.1, 2.0 and 2.1 s on loopback and 16.2, 17.6, 15.3 and 14.8 s over 20 ms and 200 Mbit/s, where the bytes
    /// alone take 13.7 s; with two or eight ahead no size did better by more than runs differ.
    /// </summary>
    private const int RangeSize = 4 << 20;

    /// <summary>Ranges of one blob under way or waiting for the reader.</summary>
    private const int Ahead = 4;

    /// <summary>
    /// The same of all blobs together: with <see cref="RangeSize"/> the bound of memory, 64 MiB, however many layers are opened at
    /// once. Each blob's ranges begin in order, so that the one that its reader waits for never waits for a later one.
    /// </summary>
    private static readonly SemaphoreSlim s_ahead = new(16);

    private readonly Descriptor _blob;
    private readonly IBlobSource _source;
    private readonly ServingCounters _counters;
    private readonly ChunkStore _shared;
    private readonly ChunkStore _own;
    private readonly ChunkStore? _document;
    private readonly bool _keep;
    private readonly bool _isVerifiedOnly;
    private readonly CancellationTokenSource _cancellation = new();
    private readonly Channel<Task<Range>> _ranges = Channel.CreateBounded<Task<Range>>(new BoundedChannelOptions(Ahead - 1) { SingleReader = true, SingleWriter = true });
    private readonly Lazy<Task> _planner;
    private Range _current;
    private int _taken;
    private long _cachedBytes;
    private long _fetchedBytes;
    private int _disposed;

    private readonly record struct Range(byte[] Buffer, int Length);

    /// <param name="blob">The blob.</param>
    /// <param name="source">Where it comes from. Not owned.</param>
    /// <param name="cache">The cache.</param>
    /// <param name="scope">Whose chunks are used besides those of everybody, and where what is fetched goes.</param>
    /// <param name="keep">Whether what is fetched is kept.</param>
    /// <param name="logger">Told of chunks that are damaged, or cannot be kept.</param>
    /// <param name="document">Another scope whose chunks are used, but for which nothing is kept: bytes there are proved by a document, and what passes here is not.</param>
    public CachedBlobStream(Descriptor blob, IBlobSource source, BlobCache cache, ChunkScope scope, bool keep, ILogger logger, ChunkScope? document = null)
    {
        if (scope.IsShared)
            throw new ArgumentException("bytes that nobody has verified are not for everybody", nameof(scope));
        (_blob, _source, _counters, _keep, _isVerifiedOnly) = (blob, source, cache.Counters, keep, scope.IsVerifiedOnly);
        _shared = new ChunkStore(cache, blob, ChunkDigests.DefaultChunkSize, logger) { IsSizeProved = false }; // the manifest's word
        _own = new ChunkStore(cache, blob, ChunkDigests.DefaultChunkSize, logger, scope);
        _document = document is { } other ? new ChunkStore(cache, blob, ChunkDigests.DefaultChunkSize, logger, other) { IsSizeProved = false } : null;
        _planner = new Lazy<Task>(() => Task.Run(PlanAsync));
    }

    /// <summary>False: chunks in the store of everybody and in the document's are not read, and <see cref="Prove"/> replaces them.</summary>
    public bool UsesShared { get; init; } = true;

    /// <summary>Bytes that came from the cache so far.</summary>
    public long CachedBytes => Volatile.Read(ref _cachedBytes);

    /// <summary>Bytes that came from the source so far.</summary>
    public long FetchedBytes => Volatile.Read(ref _fetchedBytes);

    /// <summary>All bytes match the blob's digest: moves the fetched chunks to the shared store.</summary>
    public void Prove()
    {
        if (!UsesShared)
            _shared.DropAll(); // its bytes made a wrong digest
        _own.MoveTo(_shared);
        if (_shared.Find(present: false, 0, _shared.Grid.Count) == _shared.Grid.Count)
            _document?.DropAll(); // everybody has them now
    }

    /// <summary>The reader found the whole to be wrong: what was fetched for its scope is dropped. Chunks of everybody and of the document may be sound, and stay.</summary>
    public void Forget() => _own.DropAll();

    /// <summary>The blob's bytes will not be read again.</summary>
    public void Discard()
    {
        _own.DropAll();
        _shared.DropAll();
        _document?.DropAll();
    }

    /// <inheritdoc/>
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (buffer.IsEmpty)
            return 0;
        _ = _planner.Value;
        while (_taken == _current.Length)
        {
            Return(_current.Buffer);
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
        if (_planner.IsValueCreated)
            await _planner.Value.ConfigureAwait(false);
        while (_ranges.Reader.TryRead(out Task<Range>? range))
        {
            await ((Task)range).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (range.IsCompletedSuccessfully)
                Return((await range.ConfigureAwait(false)).Buffer);
        }
        Return(_current.Buffer);
        _current = default;
        _taken = 0;
        _shared.Dispose();
        _own.Dispose();
        _document?.Dispose();
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

    // Of a range that has been begun; null for none.
    private static void Return(byte[]? buffer)
    {
        if (buffer is null)
            return;
        ArrayPool<byte>.Shared.Return(buffer);
        s_ahead.Release();
    }

    // Begins ranges in order, as far ahead as the channel has room.
    private async Task PlanAsync()
    {
        const int ChunksPerRange = RangeSize / ChunkDigests.DefaultChunkSize;
        try
        {
            for (int first = 0; first < _own.Grid.Count; first += ChunksPerRange)
            {
                if (!await _ranges.Writer.WaitToWriteAsync(_cancellation.Token).ConfigureAwait(false))
                    break;
                await s_ahead.WaitAsync(_cancellation.Token).ConfigureAwait(false);
                int begin = first, end = Math.Min(first + ChunksPerRange, _own.Grid.Count);
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
        (long begin, int length) = _own.Grid.Extent(first, end);
        byte[] buffer = ArrayPool<byte>.Shared.Rent(length);
        try
        {
            for (int chunk = first; chunk < end;)
            {
                cancellationToken.ThrowIfCancellationRequested();
                int read = UsesShared ? _shared.Read(chunk, BytesOf(chunk, end).Span) : 0;
                if (read == 0)
                    read = _own.Read(chunk, BytesOf(chunk, end).Span);
                if (read == 0 && UsesShared)
                    read = ReadDocument(chunk);
                Interlocked.Add(ref _cachedBytes, BytesOf(chunk, chunk + read).Length);
                chunk += read;
                if (read > 0)
                {
                    _counters.Add(Counter.ChunkHits, read);
                    continue;
                }
                int gapEnd = _own.Find(present: true, chunk + 1, end);
                if (UsesShared)
                    gapEnd = Math.Min(_shared.Find(present: true, chunk + 1, gapEnd), _document?.Find(present: true, chunk + 1, gapEnd) ?? gapEnd);
                await FetchAsync(chunk, gapEnd).ConfigureAwait(false);
                chunk = gapEnd;
            }
            return new Range(buffer, length);
        }
        catch
        {
            Return(buffer);
            throw;
        }

        Memory<byte> BytesOf(int from, int to)
        {
            (long offset, int bytes) = _own.Grid.Extent(from, to);
            return buffer.AsMemory((int)(offset - begin), bytes);
        }

        // What passes is what the reader proves, so it is copied: the document's own store may have other bytes by then.
        int ReadDocument(int from)
        {
            int read = _document?.Read(from, BytesOf(from, end).Span) ?? 0;
            for (int chunk = from; chunk < from + read; chunk++)
                _own.Keep(chunk, BytesOf(chunk, chunk + 1).Span);
            return read;
        }

        async Task FetchAsync(int from, int to)
        {
            (long offset, int wanted) = _own.Grid.Extent(from, to);
            long began = Stopwatch.GetTimestamp();
            Stream stream = await _source.OpenBlobAsync(_blob, offset, wanted, cancellationToken).ConfigureAwait(false);
            await using (stream.ConfigureAwait(false))
            {
                for (int chunk = from; chunk < to; chunk++)
                {
                    Memory<byte> bytes = BytesOf(chunk, chunk + 1);
                    await stream.ReadExactlyAsync(bytes, cancellationToken).ConfigureAwait(false);
                    Interlocked.Add(ref _fetchedBytes, bytes.Length);
                    if (_keep && (!_isVerifiedOnly || _source.IsVerified))
                        _own.Keep(chunk, bytes.Span);
                }
            }
            _counters.Add(Counter.ChunkMisses, to - from);
            _counters.AddWait(Wait.Fetch, began);
        }
    }
}
