using LazyMount.Indexes.Model;

namespace LazyMount.Layers;

/// <summary>
/// The spans of a layer: what is fetched, decoded and kept as one. See <see cref="CheckpointTable"/>, which this reads.
/// </summary>
public sealed class SpanMap
{
    private readonly CheckpointTable _checkpoints;

    internal SpanMap(CheckpointTable checkpoints) => _checkpoints = checkpoints;

    /// <summary>Number of spans.</summary>
    public int Count => _checkpoints.SpanCount;

    /// <summary>Bytes of the layer's tar.</summary>
    public long UncompressedSize => _checkpoints.UncompressedOffset(_checkpoints.Count);

    /// <summary>The span that holds a byte of the tar. Binary search.</summary>
    public int Find(long uncompressedOffset) => _checkpoints.SpanOf(_checkpoints.Find(uncompressedOffset));

    /// <summary>Offset in the tar at which a span begins; for <see cref="Count"/>, the tar's size.</summary>
    public long UncompressedOffset(int span) => _checkpoints.UncompressedOffset(First(span));

    /// <summary>Uncompressed bytes of a span.</summary>
    internal int Length(int span) => _checkpoints.Length(First(span), First(span + 1));

    /// <summary>Offset in the blob of the first byte that a span needs.</summary>
    internal long CompressedOffset(int span) => _checkpoints.CompressedOffset(First(span));

    /// <summary>Offset in the blob behind the last byte that a span needs.</summary>
    internal long CompressedEnd(int span) => _checkpoints.CompressedEnd(First(span + 1) - 1);

    /// <summary>The first checkpoint of a span; for <see cref="Count"/>, the number of checkpoints.</summary>
    internal int First(int span) => _checkpoints.FirstOf(span);
}
