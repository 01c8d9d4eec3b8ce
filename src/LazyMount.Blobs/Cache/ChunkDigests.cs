namespace LazyMount.Blobs.Cache;

/// <summary>
/// SHA-256 of each fixed-size chunk of a compressed blob, recorded while the whole blob was verified by digest.
/// Chunk i covers bytes [i * ChunkSize, min((i + 1) * ChunkSize, blob size)).
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

    private readonly byte[] _digests;

    /// <summary>Takes ownership of the concatenated digests.</summary>
    public ChunkDigests(int chunkSize, byte[] digests)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(chunkSize);
        if (digests.Length % DigestSize != 0)
        {
            throw new ArgumentException("not a whole number of digests", nameof(digests));
        }
        ChunkSize = chunkSize;
        _digests = digests;
    }

    /// <summary>Bytes of a chunk; the last may be shorter.</summary>
    public int ChunkSize { get; }

    /// <summary>Number of chunks.</summary>
    public int Count => _digests.Length / DigestSize;

    /// <summary>All digests, concatenated.</summary>
    public ReadOnlySpan<byte> Bytes => _digests;

    /// <summary>The digest of one chunk.</summary>
    public ReadOnlySpan<byte> this[int chunk] => _digests.AsSpan(chunk * DigestSize, DigestSize);
}
