using System.Diagnostics.CodeAnalysis;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;

namespace LazyMount.Indexes.Model;

/// <summary>An extended attribute: byte-exact name and value.</summary>
public readonly record struct Xattr(ReadOnlyMemory<byte> Name, ReadOnlyMemory<byte> Value);

/// <summary>Uncompressed bytes from <paramref name="Offset"/> to before <paramref name="End"/>.</summary>
public readonly record struct PrefetchRange(long Offset, long End)
{
    /// <summary>Whether no two ranges share a byte. Ranges that do would have a few names fetch a layer many times over.</summary>
    internal static bool AreApart(PrefetchRange[] ranges)
    {
        PrefetchRange[] sorted = [.. ranges];
        Array.Sort(sorted, static (a, b) => a.Offset.CompareTo(b.Offset));
        for (int i = 1; i < sorted.Length; i++)
        {
            if (sorted[i].Offset < sorted[i - 1].End)
            {
                return false;
            }
        }
        return true;
    }
}

/// <summary>
/// The part of a layer's index that reading the layer needs: checkpoints, digests, and what bytes they are of. The rest, which
/// says what files the layer has, is a <see cref="LayerIndex"/>. Immutable, keyed by the blob's digest.
/// <para>Uncompressed offsets are those of the tar, or of an address space of the index's own, such as all file chunks one after
/// the other: what counts is that each span decodes to its range of them.</para>
/// </summary>
public record LayerHead
{
    /// <summary>The head alone, without the entries, which are large.</summary>
    public LayerHead WithoutContents() => GetType() == typeof(LayerHead) ? this : new LayerHead(this);

    /// <summary>Digest of the layer's blob as stored (compressed).</summary>
    public required Digest Digest { get; init; }

    /// <summary>Digest of the uncompressed tar, when indexing had to find it out; else null.</summary>
    public Digest? DiffId { get; init; }

    /// <summary>Size of the blob.</summary>
    public required long CompressedSize { get; init; }

    /// <summary>Size of the tar stream.</summary>
    public required long UncompressedSize { get; init; }

    /// <summary>
    /// The blob in the cache that spans are read from when the layer's own cannot be read at random: its tar, transcoded to
    /// zstd. <see cref="Checkpoints"/> and the digests of <see cref="Proof"/> are then those of this one. Null for most layers.
    /// </summary>
    public Descriptor? Transcoding { get; init; }

    /// <summary>How the blob that spans are read from is compressed.</summary>
    public CompressionFormat SpanFormat => Transcoding is null ? Format : CompressionFormat.Zstd;

    /// <summary>How the layer's own blob is compressed.</summary>
    public required CompressionFormat Format { get; init; }

    /// <summary>Where it comes from.</summary>
    public IndexOrigin Origin { get; init; }

    /// <summary>It was read of the layer's own table of contents, which says where the bytes of files are and not what else the tar has.</summary>
    public bool IsFromTable => Origin is IndexOrigin.Estargz or IndexOrigin.ZstdChunked;

    /// <summary>Who guarantees the index, and the digests that verify the bytes read by it.</summary>
    public required Proof Proof { get; init; }

    /// <summary>
    /// What whoever made the layer or its index expects to be read first, in that order: eStargz's prioritised files, the spans that a SOCI
    /// index names. Empty when nothing is known of that.
    /// </summary>
    public PrefetchRange[] Prefetch { get; init; } = [];

    /// <summary>Where decoding can start, in order; the first at 0.</summary>
    public required CheckpointTable Checkpoints { get; init; }

    /// <summary>
    /// Identifies what the index says of the layer's files: SHA-256 of the stored form of all that a <see cref="LayerIndex"/> has besides
    /// this. Null for an index that is not stored.
    /// </summary>
    public Digest? ContentsDigest { get; init; }

    /// <summary>Where the rest of the index is stored; null for one that is in memory.</summary>
    internal StoredContents? Stored { get; init; }

    /// <summary>Closes the file in which checkpoints and digests are read, if they are read in one. Nobody may read the layer any more.</summary>
    public void Close() => Stored?.File.Dispose();
}

/// <summary>Where the columns of an index stand in the file that its tables are read in.</summary>
/// <param name="File">The file.</param>
/// <param name="Offset">Where they stand.</param>
/// <param name="PackedLength">Their bytes there.</param>
/// <param name="Length">Their bytes when they are unpacked.</param>
internal sealed record StoredContents(CheckedFile File, long Offset, int PackedLength, int Length);

/// <summary>Our table of contents of one layer: its files, and how its bytes are read. Immutable.</summary>
public sealed record LayerIndex : LayerHead
{
    /// <summary>An index in memory.</summary>
    public LayerIndex()
    {
    }

    /// <summary>The index that a head is of. The caller sets all that the head has not.</summary>
    [SetsRequiredMembers]
    internal LayerIndex(LayerHead head) : base(head) => (Paths, Entries, LinkTargets, XattrSets) = (null!, [], [], []);

    /// <summary>All paths.</summary>
    public required LayerPaths Paths { get; init; }

    /// <summary>Entries in tar order.</summary>
    public required LayerEntry[] Entries { get; init; }

    /// <summary>The maps of files with holes, in the order of their entries.</summary>
    public SparseMap[] SparseMaps { get; init; } = [];

    /// <summary>Targets of symbolic links, byte-exact.</summary>
    public required ReadOnlyMemory<byte>[] LinkTargets { get; init; }

    /// <summary>Distinct sets of extended attributes, each sorted by name.</summary>
    public required Xattr[][] XattrSets { get; init; }
}
