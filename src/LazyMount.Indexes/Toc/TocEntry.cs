using LazyMount.Blobs.Cache;
using LazyMount.Indexes.Tar;

namespace LazyMount.Indexes.Toc;

/// <summary>
/// One entry of a table of contents as JSON has it: a tar member, and where the first chunk of a file's content lies, or, when
/// <see cref="IsChunk"/>, the next chunk of the file before it. One object, used again.
/// </summary>
internal sealed class TocEntry
{
    private readonly byte[] _digest = new byte[ChunkDigests.DigestSize];
    private readonly byte[] _chunkDigest = new byte[ChunkDigests.DigestSize];

    /// <summary>All that does not concern the content.</summary>
    public TarMember Member { get; } = new();

    /// <summary>The entry is a further chunk of the file before it, which has the same name.</summary>
    public bool IsChunk { get; set; }

    /// <summary>Where in the blob the member or frame begins that holds the chunk.</summary>
    public long CompressedOffset { get; set; }

    /// <summary>Offset of the chunk in the decoded bytes.</summary>
    public long InnerOffset { get; set; }

    /// <summary>Offset of the chunk in the file.</summary>
    public long ChunkOffset { get; set; }

    /// <summary>Its bytes; 0: all that are left of the file.</summary>
    public long ChunkSize { get; set; }

    /// <summary>The chunk is a hole, whatever else is said of it.</summary>
    public bool IsHole { get; set; }

    /// <summary>SHA-256 of the file; empty when it is not told.</summary>
    public ReadOnlySpan<byte> Digest => HasDigest ? _digest : default;

    /// <summary>SHA-256 of the chunk; empty when it is not told.</summary>
    public ReadOnlySpan<byte> ChunkDigest => HasChunkDigest ? _chunkDigest : default;

    internal bool HasDigest { get; set; }

    internal bool HasChunkDigest { get; set; }

    internal Span<byte> DigestBuffer => _digest;

    internal Span<byte> ChunkDigestBuffer => _chunkDigest;

    public void Clear()
    {
        Member.Clear();
        (IsChunk, IsHole, HasDigest, HasChunkDigest) = (false, false, false, false);
        (CompressedOffset, InnerOffset, ChunkOffset, ChunkSize) = (0, 0, 0, 0);
    }
}
