using System.Buffers;
using System.Globalization;
using System.IO.Hashing;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Cache;

/// <summary>
/// The chunks of one blob that the cache has, 64 of them in a file: <c>ROOT/v1/chunks/ALGORITHM/HEX/OFFSET</c>, where OFFSET is
/// the first one's in the blob, or <c>ROOT/v1/chunks/KEY/HEX/OFFSET</c> for those of one <see cref="ChunkScope"/>. Such a segment is sparse: a table of the XXH128 of each chunk, zeros for one that is not there,
/// and from byte 4,096 on the chunks at their places. A chunk is written first and its hash afterwards, so what a killed process,
/// a lost page or the disk leaves behind does not match its hash, and counts as not there: a segment needs no lock, no fsync and
/// no rename. Any process writes, reads and deletes segments without asking the others; whoever has one open that is deleted
/// goes on, and what it writes there is lost. A segment's time of last use is its modification time.
/// <para>A file for each chunk costs more: 256 MiB took 0.91 s to write and 0.11 s to read in chunks of 64 KiB, 0.35 s and 0.04 s in
/// chunks of 256 KiB, beside 0.16 s and 0.05 s in segments of chunks of 64 KiB (CacheBenchmarks, medians of one run, ext4).</para>
/// </summary>
internal sealed class ChunkStore : IDisposable
{
    /// <summary>Chunks of a segment: as many as bits tell of.</summary>
    private const int SegmentChunks = 64;

    private const int HashSize = 16;

    private const int TableSize = SegmentChunks * HashSize;

    // Where the chunks begin: a block of the file system, so that those that are not there take none.
    private const int DataStart = 4096;

    // A time of last use is only as good as this, so that reading does not become writing.
    private static readonly TimeSpan s_usePrecision = TimeSpan.FromMinutes(1);

    // How often a fetch that another process has under way is looked for.
    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(10);

    private const string ClaimsName = "claims";

    private readonly BlobCache _cache;
    private readonly Digest _blob;
    private readonly long _size;
    private readonly int _chunkSize;
    private readonly ILogger _logger;
    private readonly string _directory;
    private readonly Lock _claimsLock = new();
    private FileStream? _claims;
    private int _complained;
    private bool _disposed;

    public ChunkStore(BlobCache cache, Descriptor blob, int chunkSize, ILogger logger, ChunkScope scope = default)
    {
        (_cache, _blob, _size, _chunkSize, _logger) = (cache, blob.Digest, blob.Size, chunkSize, logger);
        _directory = cache.ChunkDirectoryOf(blob.Digest, scope);
    }

    /// <summary>Number of chunks of the blob.</summary>
    public int Count => (int)((_size + _chunkSize - 1) / _chunkSize);

    /// <summary>Offset and length in the blob of chunks [first, end).</summary>
    public (long Offset, int Length) Extent(int first, int end)
    {
        long offset = (long)first * _chunkSize;
        return (offset, (int)(Math.Min((long)end * _chunkSize, _size) - offset));
    }

    /// <summary>
    /// The first of chunks [first, end) that is there (or, when <paramref name="present"/> is false, that is not), else
    /// <paramref name="end"/>. Nobody has looked at the bytes yet.
    /// </summary>
    public int Find(bool present, int first, int end)
    {
        while (first < end)
        {
            int segment = first / SegmentChunks, index = first % SegmentChunks;
            ulong found = PresentIn(segment);
            found = (present ? found : ~found) >> index;
            if (found != 0)
                return Math.Min(first + BitOperations.TrailingZeroCount(found), end);
            first = (segment + 1) * SegmentChunks;
        }
        return end;
    }

    /// <summary>
    /// Reads chunks from <paramref name="first"/> on, as they were written, until one is missing or <paramref name="bytes"/> is full;
    /// that must have room for whole chunks. One that has changed is logged and forgotten.
    /// </summary>
    /// <returns>How many were read.</returns>
    public int Read(int first, Span<byte> bytes)
    {
        int read = 0;
        while (!bytes.IsEmpty)
        {
            int here = ReadFromSegment(first + read, bytes);
            if (here == 0)
                break;
            bytes = bytes[Extent(first + read, first + read + here).Length..];
            read += here;
        }
        return read;
    }

    /// <summary>Keeps a chunk. What cannot be kept is fetched again when it is wanted again: that is logged, not thrown.</summary>
    public void Keep(int chunk, ReadOnlySpan<byte> bytes)
    {
        try
        {
            using SafeFileHandle file = OpenToWrite(PathOf(chunk / SegmentChunks));
            Span<byte> hash = stackalloc byte[HashSize];
            XxHash128.Hash(bytes, hash);
            RandomAccess.Write(file, bytes, PlaceOf(chunk));
            RandomAccess.Write(file, hash, EntryOf(chunk));
            _cache.Account(bytes.Length);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ImageException)
        {
            if (Interlocked.Exchange(ref _complained, 1) == 0)
                _logger.ChunkNotKept(_blob, e.Message);
        }
    }

    /// <summary>Forgets a chunk whose bytes turned out to be wrong.</summary>
    public void Drop(int chunk, string reason)
    {
        _logger.CachedChunkDropped(_blob, chunk, reason);
        Forget(PathOf(chunk / SegmentChunks), chunk % SegmentChunks);
    }

    /// <summary>Forgets all chunks.</summary>
    public void DropAll()
    {
        try
        {
            Directory.Delete(_directory, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Not there, or another process is writing: what is left is verified like everything.
        }
    }

    /// <summary>Moves all chunks to another store of the same blob: segments that it lacks as they are, of others the chunks that it lacks.</summary>
    public void MoveTo(ChunkStore other)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(_chunkSize);
        try
        {
            for (int first = 0; (first = Find(present: true, first, Count)) < Count;)
            {
                int segment = first / SegmentChunks, end = Math.Min((segment + 1) * SegmentChunks, Count);
                if (!TryMove(PathOf(segment), other.PathOf(segment), other._directory))
                {
                    for (int chunk = first; chunk < end; chunk++)
                    {
                        Span<byte> bytes = buffer.AsSpan(0, Extent(chunk, chunk + 1).Length);
                        if (other.Find(present: true, chunk, chunk + 1) > chunk && Read(chunk, bytes) > 0)
                            other.Keep(chunk, bytes);
                    }
                }
                first = end;
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
        DropAll();
    }

    private static bool TryMove(string from, string to, string directory)
    {
        try
        {
            BlobCache.EnsureDirectory(directory);
            File.Move(from, to, overwrite: false);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ImageException)
        {
            return false; // it is there already, or cannot be made: what cannot be kept is logged
        }
    }

    /// <summary>Bytes on disk that a segment takes: those of the chunks that are there, whatever its length says.</summary>
    /// <param name="path">A file of a blob's directory.</param>
    /// <param name="length">Its length.</param>
    public static long SizeOf(string path, long length)
    {
        try
        {
            using SafeFileHandle file = OpenToRead(path);
            Span<byte> table = stackalloc byte[TableSize];
            return Math.Min(length, DataStart + BitOperations.PopCount(ReadTable(file, table)) * (long)ChunkDigests.DefaultChunkSize);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return length;
        }
    }

    /// <summary>Reads a segment; what is not as it was written, or not what the blob's digests say, if there are any, is forgotten.</summary>
    /// <returns>Bytes of chunks that were read, and whether all were sound.</returns>
    public static (long Bytes, bool IsSound) Verify(string path, long offset, ChunkDigests? chunks)
    {
        int chunkSize = chunks?.ChunkSize ?? ChunkDigests.DefaultChunkSize;
        byte[] buffer = ArrayPool<byte>.Shared.Rent(chunkSize);
        try
        {
            using SafeFileHandle file = OpenToRead(path);
            Span<byte> table = stackalloc byte[TableSize], digest = stackalloc byte[ChunkDigests.DigestSize];
            ulong present = ReadTable(file, table);
            long read = 0;
            bool allSound = true;
            for (; present != 0; present &= present - 1)
            {
                int index = BitOperations.TrailingZeroCount(present);
                // The blob's last chunk may be shorter: it ends with the file.
                Span<byte> bytes = buffer.AsSpan(0, ReadFully(file, buffer.AsSpan(0, chunkSize), DataStart + index * (long)chunkSize));
                read += bytes.Length;
                bool isSound = IsHashed(bytes, table.Slice(index * HashSize, HashSize));
                if (isSound && chunks is not null && offset / chunkSize + index < chunks.Count)
                {
                    SHA256.HashData(bytes, digest);
                    isSound = digest.SequenceEqual(chunks[(int)(offset / chunkSize) + index]);
                }
                if (!isSound)
                {
                    allSound = false;
                    Forget(path, index);
                }
            }
            return (read, allSound);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>
    /// Waits until no other process fetches any of these chunks, and says that this one does. Disposing the claim ends it, as
    /// the end of the process does. Where files cannot be locked everybody has the claim, and some chunks are fetched twice.
    /// </summary>
    public async ValueTask<IDisposable?> ClaimAsync(int first, int end, CancellationToken cancellationToken)
    {
        while (true)
        {
            // POSIX record locks on a range of a file of no length: one system call, given back when the process dies.
            lock (_claimsLock)
            {
                if ((_claims ??= OpenClaims()) is not { } claims)
                    return null;
                try
                {
#pragma warning disable CA1416 // not on macOS, where there is no FUSE either
                    claims.Lock(first, end - first);
#pragma warning restore CA1416
                    return new Claim(this, first, end - first);
                }
                catch (IOException)
                {
                    // Another process has it.
                }
                catch (Exception e) when (e is NotSupportedException or UnauthorizedAccessException)
                {
                    return null;
                }
            }
            await Task.Delay(s_poll, cancellationToken).ConfigureAwait(false);
        }
    }

    public void Dispose()
    {
        lock (_claimsLock)
        {
            _disposed = true;
            _claims?.Dispose();
            _claims = null;
        }
    }

    private string PathOf(int segment) => Path.Combine(_directory, ((long)segment * SegmentChunks * _chunkSize).ToString(CultureInfo.InvariantCulture));

    private static int EntryOf(int chunk) => chunk % SegmentChunks * HashSize;

    private long PlaceOf(int chunk) => DataStart + chunk % SegmentChunks * (long)_chunkSize;

    private ulong PresentIn(int segment)
    {
        string path = PathOf(segment);
        try
        {
            if (!File.Exists(path))
                return 0;
            using SafeFileHandle file = OpenToRead(path);
            Span<byte> table = stackalloc byte[TableSize];
            return ReadTable(file, table);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return 0;
        }
    }

    // As Read, and no farther than the segment's end.
    private int ReadFromSegment(int first, Span<byte> bytes)
    {
        string path = PathOf(first / SegmentChunks);
        try
        {
            if (!File.Exists(path))
                return 0;
            using SafeFileHandle file = OpenToRead(path);
            Span<byte> table = stackalloc byte[TableSize];
            int index = first % SegmentChunks;
            int wanted = Math.Min(BitOperations.TrailingZeroCount(~(ReadTable(file, table) >> index)), (bytes.Length + _chunkSize - 1) / _chunkSize);
            bytes = bytes[..Math.Min(bytes.Length, Extent(first, first + wanted).Length)];
            int length = ReadFully(file, bytes, PlaceOf(first));
            for (int i = 0; i < wanted; i++)
            {
                (long at, int chunkLength) = (i * (long)_chunkSize, Extent(first + i, first + i + 1).Length);
                if (at + chunkLength <= length && IsHashed(bytes.Slice((int)at, chunkLength), table.Slice((index + i) * HashSize, HashSize)))
                    continue;
                if (IsStill(file, first + i, table.Slice((index + i) * HashSize, HashSize)))
                    Drop(first + i, "it has changed on disk");
                wanted = i;
            }
            if (wanted > 0)
                BlobCache.Touch(file, s_usePrecision);
            return wanted;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return 0; // evicted meanwhile
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Drop(first, e.Message);
            return 0;
        }
    }

    // Whether nobody has forgotten or written a chunk since its hash was read.
    private static bool IsStill(SafeFileHandle file, int chunk, ReadOnlySpan<byte> hash)
    {
        Span<byte> now = stackalloc byte[HashSize];
        return ReadFully(file, now, EntryOf(chunk)) == HashSize && now.SequenceEqual(hash);
    }

    private static bool IsHashed(ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> hash)
    {
        Span<byte> actual = stackalloc byte[HashSize];
        XxHash128.Hash(bytes, actual);
        return actual.SequenceEqual(hash);
    }

    /// <summary>Fills <paramref name="table"/>; the bits of the chunks that are there.</summary>
    private static ulong ReadTable(SafeFileHandle file, Span<byte> table)
    {
        table[ReadFully(file, table, 0)..].Clear();
        ReadOnlySpan<Int128> hashes = MemoryMarshal.Cast<byte, Int128>(table);
        ulong present = 0;
        for (int i = 0; i < SegmentChunks; i++)
            present |= hashes[i] == 0 ? 0 : 1UL << i;
        return present;
    }

    private static void Forget(string path, int index)
    {
        try
        {
            using SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete);
            RandomAccess.Write(file, stackalloc byte[HashSize], index * HashSize);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It is verified whenever it is read.
        }
    }

    private static SafeFileHandle OpenToRead(string path) => File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);

    private SafeFileHandle OpenToWrite(string path)
    {
        try
        {
            return Open();
        }
        catch (DirectoryNotFoundException)
        {
            BlobCache.EnsureDirectory(_directory); // the first segment, or the cache was deleted meanwhile
            return Open();
        }

        SafeFileHandle Open() => File.OpenHandle(path, FileMode.OpenOrCreate, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete);
    }

    private FileStream? OpenClaims()
    {
        if (_disposed)
            return null;
        try
        {
            BlobCache.EnsureDirectory(_directory);
            return new FileStream(Path.Combine(_directory, ClaimsName), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ImageException)
        {
            return null;
        }
    }

    private void Release(int first, int count)
    {
        lock (_claimsLock)
        {
            try
            {
#pragma warning disable CA1416
                _claims?.Unlock(first, count);
#pragma warning restore CA1416
            }
            catch (IOException)
            {
                // Closing the file gives it back.
            }
        }
    }

    private static int ReadFully(SafeFileHandle file, Span<byte> bytes, long offset)
    {
        int filled = 0;
        while (filled < bytes.Length && RandomAccess.Read(file, bytes[filled..], offset + filled) is var read && read > 0)
            filled += read;
        return filled;
    }

    private sealed class Claim(ChunkStore store, int first, int count) : IDisposable
    {
        public void Dispose() => store.Release(first, count);
    }
}
