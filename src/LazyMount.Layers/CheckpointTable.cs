using LazyMount.Compression;

namespace LazyMount.Layers;

/// <summary>
/// A layer's checkpoints with their windows kept compressed. Span i reaches from checkpoint i to the next, the last to
/// the end of the stream.
/// </summary>
public sealed class CheckpointTable
{
    /// <summary>Number of checkpoints, and of spans.</summary>
    public int Count => throw new NotImplementedException();

    /// <summary>The checkpoint, its window decompressed.</summary>
    public Checkpoint this[int span] => throw new NotImplementedException();

    /// <summary>Where span <paramref name="span"/> begins in the tar; for <see cref="Count"/>, where the tar ends.</summary>
    public long UncompressedOffset(int span) => throw new NotImplementedException();

    /// <summary>The byte of the blob that holds the first bit of a span; for <see cref="Count"/>, the blob's size.</summary>
    public long CompressedOffset(int span) => throw new NotImplementedException();

    /// <summary>The span that holds a byte of the tar: binary search.</summary>
    public int Find(long uncompressedOffset) => throw new NotImplementedException();
}
