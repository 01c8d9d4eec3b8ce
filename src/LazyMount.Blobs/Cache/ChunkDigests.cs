using LazyMount.Blobs.Images;

namespace LazyMount.Blobs.Cache;

/// <summary>
/// SHA-256 of each fixed-size chunk of a compressed blob, recorded while the whole blob was verified by digest.
/// Chunk i covers bytes [i * ChunkSize, min((i + 1) * ChunkSize, blob size)). Thread-safe.
/// </summary>
public sealed class ChunkDigests
{
    /// <summary>Bytes of one digest.</summary>
    public const int DigestSize = 32;

    /// <summary>
    /// Chunk size that layers are indexed with: 32 bytes of digest per 64 KiB are 0.05 % of the blob, and what is read of one
    /// is fetched whole, 64 KiB more on average than was wanted.
    /// </summary>
    public const int DefaultChunkSize = 64 << 10;

    private readonly CheckedFile _file;
    private readonly long _first; // of the digests in the file

    /// <summary>Digests in memory. Takes ownership of them, concatenated.</summary>
    public ChunkDigests(int chunkSize, byte[] digests) : this(chunkSize, new CheckedFile(digests), 0, digests.Length / DigestSize)
    {
        if (digests.Length % DigestSize != 0)
        {
            throw new ArgumentException("not a whole number of digests", nameof(digests));
        }
    }

    /// <summary>Digests that stand in a file one after the other; not owned.</summary>
    /// <param name="chunkSize">Bytes of a chunk.</param>
    /// <param name="file">The file.</param>
    /// <param name="offset">Where the first digest stands: a multiple of <see cref="DigestSize"/>.</param>
    /// <param name="count">How many there are.</param>
    public ChunkDigests(int chunkSize, CheckedFile file, long offset, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(chunkSize);
        ArgumentOutOfRangeException.ThrowIfNotEqual(offset % DigestSize, 0, nameof(offset));
        (ChunkSize, _file, _first, Count) = (chunkSize, file, offset / DigestSize, count);
    }

    /// <summary>Bytes of a chunk; the last may be shorter.</summary>
    public int ChunkSize { get; }

    /// <summary>Number of chunks.</summary>
    public int Count { get; }

    /// <summary>A copy of the digest of one chunk.</summary>
    /// <exception cref="ImageException">As for <see cref="CheckedFile.Read"/>.</exception>
    public byte[] this[int chunk]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)chunk, (uint)Count, nameof(chunk));
            byte[] digest = new byte[DigestSize];
            _file.Read((_first + chunk) * DigestSize, digest);
            return digest;
        }
    }

    /// <summary>All digests, concatenated.</summary>
    /// <exception cref="ImageException">As for <see cref="CheckedFile.Read"/>.</exception>
    public byte[] ToArray()
    {
        byte[] digests = new byte[Count * DigestSize];
        _file.Read(_first * DigestSize, digests);
        return digests;
    }
}
