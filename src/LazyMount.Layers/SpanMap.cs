using LazyMount.Indexes.Model;

namespace LazyMount.Layers;

/// <summary>
/// The spans of a layer: what is fetched, decoded and kept as one. A span reaches from one checkpoint to the next; where
/// checkpoints are close, as with tables of contents that have one for every small file, neighbours are one span.
/// </summary>
public sealed class SpanMap
{
    /// <summary>
    /// Most bytes of a span that is made of several, uncompressed and in the blob. A span costs half a KiB besides its bytes and a task,
    /// so a file in chunks of one byte would cost a thousand times its size.
    /// </summary>
    private const int MergedSize = 64 << 10;

    private readonly CheckpointTable _checkpoints;
    private readonly int[]? _firsts; // the first checkpoint of each span, and the number of checkpoints; null: each is a span

    internal SpanMap(CheckpointTable checkpoints)
    {
        _checkpoints = checkpoints;
        int spans = 0;
        for (int i = 0; i < checkpoints.Count; i = EndOf(i))
        {
            spans++;
        }
        if (spans < checkpoints.Count)
        {
            _firsts = new int[spans + 1];
            for (int i = 0, span = 0; i < checkpoints.Count; i = EndOf(i))
            {
                _firsts[span++] = i;
            }
            _firsts[spans] = checkpoints.Count;
        }
    }

    /// <summary>Number of spans.</summary>
    public int Count => (_firsts?.Length - 1) ?? _checkpoints.Count;

    /// <summary>Bytes of the layer's tar.</summary>
    public long UncompressedSize => _checkpoints.UncompressedOffset(_checkpoints.Count);

    /// <summary>The span that holds a byte of the tar. Binary search.</summary>
    public int Find(long uncompressedOffset)
    {
        int checkpoint = _checkpoints.Find(uncompressedOffset);
        if (_firsts is null)
        {
            return checkpoint;
        }
        int at = Array.BinarySearch(_firsts, checkpoint);
        return at < 0 ? ~at - 1 : at;
    }

    /// <summary>Offset in the tar at which a span begins; for <see cref="Count"/>, the tar's size.</summary>
    public long UncompressedOffset(int span) => _checkpoints.UncompressedOffset(First(span));

    /// <summary>Uncompressed bytes of a span.</summary>
    internal int Length(int span) => (int)(UncompressedOffset(span + 1) - UncompressedOffset(span));

    /// <summary>Offset in the blob of the first byte that a span needs.</summary>
    internal long CompressedOffset(int span) => _checkpoints.CompressedOffset(First(span));

    /// <summary>Offset in the blob behind the last byte that a span needs.</summary>
    internal long CompressedEnd(int span) => _checkpoints.CompressedEnd(First(span + 1) - 1);

    /// <summary>The first checkpoint of a span; for <see cref="Count"/>, the number of checkpoints.</summary>
    internal int First(int span) => _firsts is null ? span : _firsts[span];

    private int EndOf(int first)
    {
        long start = _checkpoints.UncompressedOffset(first), compressedStart = _checkpoints.CompressedOffset(first);
        int end = first + 1;
        while (end < _checkpoints.Count && _checkpoints.UncompressedOffset(end + 1) - start <= MergedSize && _checkpoints.CompressedOffset(end + 1) - compressedStart <= MergedSize)
        {
            end++;
        }
        return end;
    }
}
