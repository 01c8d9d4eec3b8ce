using System.Buffers;
using System.Security.Cryptography;
using LazyMount.Blobs.Oci;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs;

/// <summary>
/// Reads verified ranges of one indexed blob: from the complete file in the cache or the local source, else by
/// range requests to the source. Thread-safe; equal concurrent fetches of a chunk collapse into one.
/// </summary>
public sealed partial class BlobReader : IDisposable
{
    private readonly Descriptor _blob;
    private readonly ChunkDigests? _chunks;
    private readonly int _chunkSize;
    private readonly IImageSource _source;
    private readonly BlobCache _cache;
    private readonly ILogger _logger;

    // Guards what follows. The file stays open once it was found, so that a cache deleted meanwhile goes on serving.
    private readonly Lock _lock = new();
    private readonly Dictionary<int, ChunkFetch> _inFlight = [];
    private SafeFileHandle? _file;
    private bool _complained;
    private bool _disposed;

    /// <param name="blob">The blob.</param>
    /// <param name="chunks">Its chunk digests, from the LayerIndex; null when it has none, and the caller verifies what it gets.</param>
    /// <param name="source">Where to fetch what is not cached. Not owned.</param>
    /// <param name="cache">The cache, looked into first.</param>
    /// <param name="logger">Told of corrupt chunks and cached files.</param>
    public BlobReader(Descriptor blob, ChunkDigests? chunks, IImageSource source, BlobCache cache, ILogger<BlobReader>? logger = null)
    {
        _chunkSize = chunks?.ChunkSize ?? ChunkDigests.DefaultChunkSize;
        if (chunks is not null && chunks.Count != (blob.Size + _chunkSize - 1) / _chunkSize)
            throw new ArgumentException("there is not one digest for each chunk of the blob", nameof(chunks));
        _blob = blob;
        _chunks = chunks;
        _source = source;
        _cache = cache;
        _logger = logger ?? (ILogger)NullLogger.Instance;
    }

    /// <summary>Opens the cached file, if there is one, so that it goes on serving when the cache is deleted.</summary>
    public bool TryHold() => OpenCached() is not null;

    /// <summary>
    /// Fills <paramref name="destination"/> from <paramref name="compressedOffset"/>. Every chunk touched is verified
    /// first; a bad chunk is fetched once more, then <see cref="ImageException"/> (<see cref="ImageError.Verification"/>).
    /// Bounded in time: a dead source throws <see cref="ImageError.Unreachable"/> after the source's time-outs.
    /// </summary>
    public async ValueTask ReadAsync(long compressedOffset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(compressedOffset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(destination.Length, _blob.Size - compressedOffset, nameof(destination));
        if (destination.IsEmpty)
            return;

        int first = (int)(compressedOffset / _chunkSize);
        int last = (int)((compressedOffset + destination.Length - 1) / _chunkSize);
        SafeFileHandle? file = OpenCached();
        int chunk = first;
        while (chunk <= last)
        {
            // What disk has, chunk by chunk; what it has not, as far as it reaches, in one go.
            if (file is not null && TryReadCached(file, chunk, compressedOffset, destination.Span))
            {
                chunk++;
                continue;
            }
            int end = file is null ? last + 1 : chunk + 1;
            await ReadFromSourceAsync(chunk, end, compressedOffset, destination, cancellationToken).ConfigureAwait(false);
            chunk = end;
        }
    }

    /// <summary>The same from the source, whatever is cached: for a caller that found bytes to be wrong.</summary>
    public async ValueTask FetchAgainAsync(long compressedOffset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        int first = (int)(compressedOffset / _chunkSize);
        int last = (int)((compressedOffset + destination.Length - 1) / _chunkSize);
        await ReadFromSourceAsync(first, last + 1, compressedOffset, destination, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Ends fetches under way; who waits for them gets <see cref="ObjectDisposedException"/> or a cancellation.</summary>
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
        _file?.Dispose();
    }

    /// <summary>Offset and length of a chunk in the blob.</summary>
    private (long Offset, int Length) Extent(int chunk)
    {
        long offset = (long)chunk * _chunkSize;
        return (offset, (int)Math.Min(_chunkSize, _blob.Size - offset));
    }

    private bool IsGood(int chunk, ReadOnlySpan<byte> bytes)
    {
        if (_chunks is null)
            return true;
        Span<byte> hash = stackalloc byte[ChunkDigests.DigestSize];
        SHA256.HashData(bytes, hash);
        return hash.SequenceEqual(_chunks[chunk]);
    }

    // Copies the part of a chunk that destination, which begins at compressedOffset of the blob, wants.
    private void Deliver(int chunk, ReadOnlySpan<byte> bytes, long compressedOffset, Span<byte> destination)
    {
        long begin = (long)chunk * _chunkSize;
        int skip = (int)Math.Max(0, compressedOffset - begin);
        int at = (int)Math.Max(0, begin - compressedOffset);
        int length = Math.Min(bytes.Length - skip, destination.Length - at);
        bytes.Slice(skip, length).CopyTo(destination[at..]);
    }

    private SafeFileHandle? OpenCached()
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_file is not null || _source.IsLocal)
                return _file;
        }
        SafeFileHandle? found = _cache.TryOpen(_blob.Digest);
        if (found is null)
            return null;
        if (LengthOf(found) is var length && length != _blob.Size)
        {
            found.Dispose();
            Complain($"the file has {length} bytes instead of {_blob.Size}");
            return null;
        }
        lock (_lock)
        {
            if (_file is null && !_disposed)
            {
                _file = found;
                return found;
            }
        }
        found.Dispose();
        return _file;
    }

    private static long LengthOf(SafeFileHandle file)
    {
        try
        {
            return RandomAccess.GetLength(file);
        }
        catch (IOException)
        {
            return -1;
        }
    }

    // A chunk that lies whole in the destination is read straight into it: nobody looks at it unless ReadAsync succeeds.
    private bool TryReadCached(SafeFileHandle file, int chunk, long compressedOffset, Span<byte> destination)
    {
        (long offset, int length) = Extent(chunk);
        if (offset >= compressedOffset && length <= destination.Length - (offset - compressedOffset))
            return TryReadCached(file, chunk, offset, length, destination.Slice((int)(offset - compressedOffset), length));

        byte[] buffer = ArrayPool<byte>.Shared.Rent(length);
        try
        {
            Span<byte> bytes = buffer.AsSpan(0, length);
            if (!TryReadCached(file, chunk, offset, length, bytes))
                return false;
            Deliver(chunk, bytes, compressedOffset, destination);
            return true;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private bool TryReadCached(SafeFileHandle file, int chunk, long offset, int length, Span<byte> bytes)
    {
        try
        {
            int filled = 0;
            while (filled < length && RandomAccess.Read(file, bytes[filled..], offset + filled) is var read && read > 0)
                filled += read;
            if (filled == length && IsGood(chunk, bytes))
                return true;
            Complain(filled < length ? "the file was cut" : $"its chunk {chunk} does not match its SHA-256");
        }
        catch (IOException e)
        {
            Complain(e.Message);
        }
        return false;
    }

    private void Complain(string reason)
    {
        lock (_lock)
        {
            if (_complained)
                return;
            _complained = true;
        }
        _logger.CachedBlobUnusable(_blob.Digest, reason);
    }

    // Chunks [first, end). Those that somebody fetches already are waited for; the gaps between them are fetched, each
    // gap by one request.
    private async Task ReadFromSourceAsync(int first, int end, long compressedOffset, Memory<byte> destination, CancellationToken cancellationToken)
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
