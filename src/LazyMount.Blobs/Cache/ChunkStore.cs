using System.Buffers;
using System.Globalization;
using System.IO.Hashing;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Cache;

/// <summary>
/// The chunks of one blob that the cache has, 64 of them in a file: <c>ROOT/v1/chunks/ALGORITHM/HEX/OFFSET</c>, where OFFSET is
/// the first one's in the blob, or <c>ROOT/v1/chunks/KEY/HEX/OFFSET</c> for those of one <see cref="ChunkScope"/>. Such a segment is
/// sparse: a table of the XXH128 of each chunk, zeros for one that is not there, and from byte 4,096 on the chunks at their places. A chunk is written first and its hash afterwards, so what a killed process,
/// a lost page or the disk leaves behind does not match its hash, and counts as not there: a segment needs no lock, no fsync and
/// no rename. Any process writes, reads and deletes segments without asking the others; whoever has one open that is deleted
/// goes on, and what it writes there is lost. A segment's time of last use is its modification time.
/// <para>A file for each chunk costs more: 256 MiB took 0.91 s to write and 0.11 s to read in chunks of 64 KiB, 0.35 s and 0.04 s in
/// chunks of 256 KiB, beside 0.16 s and 0.05 s in segments of chunks of 64 KiB (CacheBenchmarks, medians of one run, ext4).</para>
/// </summary>
internal sealed partial class ChunkStore : IDisposable
{
    /// <summary>Chunks of a segment: as many as bits tell of.</summary>
    private const int SegmentChunks = 64;

    private const int HashSize = 16;

    private const int TableSize = SegmentChunks * HashSize;

    // Where the chunks begin: a block of the file system, so that those that are not there take none.
    private const int DataStart = 4096;

    // A time of last use is only as good as this, so that reading does not become writing.
    private static readonly TimeSpan s_usePrecision = TimeSpan.FromMinutes(1);

    /// <summary>How long a fetch of another process is waited for: as long as a registry that is silent. A process that is stopped fetches nothing, and keeps its claim.</summary>
    internal TimeSpan ClaimPatience { get; set; } = TimeSpan.FromSeconds(20);

    private const string ClaimsName = "claims";

    private readonly BlobCache _cache;
    private readonly Digest _blob;
    private readonly ILogger _logger;
    private readonly string _directory;
    private readonly Lock _claimsLock = new();
    private RangeLocks? _claims;
    private int _complained;
    private bool _disposed;

    public ChunkStore(BlobCache cache, Descriptor blob, int chunkSize, ILogger logger, ChunkScope scope = default)
    {
        (_cache, _blob, _logger) = (cache, blob.Digest, logger);
        Grid = new ChunkGrid(blob.Size, chunkSize);
        _directory = cache.ChunkDirectoryOf(blob.Digest, scope);
    }

    /// <summary>
    /// Whether the blob's size is proved. Where it is somebody's word, a chunk that may be the last under that size or another is not
    /// forgotten when it looks damaged: under another size it has another length.
    /// </summary>
    public bool IsSizeProved { get; init; } = true;

    /// <summary>How the blob is divided.</summary>
    public ChunkGrid Grid { get; }

    /// <summary>As <see cref="Reading.Find"/>.</summary>
    public int Find(bool present, int first, int end)
    {
        using var reading = new Reading(this);
        return reading.Find(present, first, end);
    }

    /// <summary>As <see cref="Reading.Read"/>.</summary>
    public int Read(int first, Span<byte> bytes)
    {
        using var reading = new Reading(this);
        return reading.Read(first, bytes);
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

    /// <summary>Moves all chunks to another store of the same blob: segments that it lacks as they are, of others the chunks that it lacks or that are damaged there.</summary>
    public void MoveTo(ChunkStore other)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(Grid.ChunkSize);
        try
        {
            for (int first = 0; (first = Find(present: true, first, Grid.Count)) < Grid.Count;)
            {
                int segment = first / SegmentChunks, end = Math.Min((segment + 1) * SegmentChunks, Grid.Count);
                if (!other.TryTake(PathOf(segment), segment))
                {
                    for (int chunk = first; chunk < end; chunk++)
                    {
                        Span<byte> bytes = buffer.AsSpan(0, Grid.Extent(chunk, chunk + 1).Length);
                        if (Find(present: true, chunk, chunk + 1) == chunk && other.Read(chunk, bytes) == 0 && Read(chunk, bytes) > 0)
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

    // Takes a segment that this store lacks. False when it is there already, or cannot be moved.
    private bool TryTake(string from, int segment)
    {
        try
        {
            _cache.EnsureDirectory(_directory);
            File.Move(from, PathOf(segment), overwrite: false);
            return true;
        }
        catch (Exception e) when (FileProblem.IsOne(e) || e is ImageException)
        {
            return false; // what cannot be kept then is logged
        }
    }

    /// <summary>The chunks that the segments of a directory have, of the usual size; none where there is no directory.</summary>
    public static IEnumerable<int> ChunksIn(string directory)
    {
        if (!Directory.Exists(directory))
            yield break;
        byte[] table = new byte[TableSize];
        foreach (string path in Directory.EnumerateFiles(directory))
        {
            if (!long.TryParse(Path.GetFileName(path), NumberStyles.None, CultureInfo.InvariantCulture, out long offset))
                continue;
            using SafeFileHandle? file = Interop.TryOpenToRead(path);
            for (ulong bits = file is null ? 0 : ReadTable(file, table); bits != 0; bits &= bits - 1)
                yield return (int)(offset / ChunkDigests.DefaultChunkSize) + BitOperations.TrailingZeroCount(bits);
        }
    }

    /// <summary>Bytes on disk that a segment takes: those of the chunks that are there, whatever its length says.</summary>
    /// <param name="path">A file of a blob's directory.</param>
    /// <param name="length">Its length.</param>
    public static long SizeOf(string path, long length)
    {
        try
        {
            using SafeFileHandle? file = Interop.TryOpenToRead(path);
            Span<byte> table = stackalloc byte[TableSize];
            return file is null ? 0 : Math.Min(length, DataStart + BitOperations.PopCount(ReadTable(file, table)) * (long)ChunkDigests.DefaultChunkSize);
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
            using SafeFileHandle file = Interop.Open(path, Interop.ReadOnly);
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
    /// Waits until nobody else fetches any of these chunks, and says that this store does. Disposing the claim ends it, as the end
    /// of the process does. Null, after <see cref="ClaimPatience"/> at the latest, when there is no claim to be had: then some
    /// chunks are fetched twice.
    /// </summary>
    public async ValueTask<IDisposable?> ClaimAsync(int first, int end, CancellationToken cancellationToken)
    {
        RangeLocks? claims;
        lock (_claimsLock)
        {
            if (_claims is { IsDeleted: true })
            {
                _claims.Dispose();
                _claims = null;
            }
            claims = _claims ??= OpenClaims();
        }
        try
        {
            return claims is null ? null : await claims.TryTakeAsync(first, end - first, ClaimPatience, cancellationToken).ConfigureAwait(false);
        }
        catch (ObjectDisposedException)
        {
            return null;
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

    private string PathOf(int segment) => Path.Combine(_directory, ((long)segment * SegmentChunks * Grid.ChunkSize).ToString(CultureInfo.InvariantCulture));

    private static int EntryOf(int chunk) => chunk % SegmentChunks * HashSize;

    private long PlaceOf(int chunk) => DataStart + chunk % SegmentChunks * (long)Grid.ChunkSize;

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

    private SafeFileHandle OpenToWrite(string path)
    {
        try
        {
            return Open();
        }
        catch (DirectoryNotFoundException)
        {
            _cache.EnsureDirectory(_directory); // the first segment, or the cache was deleted meanwhile
            return Open();
        }

        SafeFileHandle Open() => File.OpenHandle(path, FileMode.OpenOrCreate, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete);
    }

    private RangeLocks? OpenClaims()
    {
        if (_disposed)
            return null;
        try
        {
            _cache.EnsureDirectory(_directory);
            return new RangeLocks(Path.Combine(_directory, ClaimsName));
        }
        catch (Exception e) when (FileProblem.IsOne(e) || e is ImageException)
        {
            return null;
        }
    }

    private static int ReadFully(SafeFileHandle file, Span<byte> bytes, long offset)
    {
        int filled = 0;
        while (filled < bytes.Length && RandomAccess.Read(file, bytes[filled..], offset + filled) is var read && read > 0)
            filled += read;
        return filled;
    }
}
