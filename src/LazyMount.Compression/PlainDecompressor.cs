namespace LazyMount.Compression;

/// <summary>Passes an uncompressed blob through: a run is the piece itself, a checkpoint stands at every multiple of the spacing.</summary>
internal sealed class PlainDecompressor(long offset, long checkpointSpacing) : Decompressor
{
    private long _offset = offset;
    private long _nextCheckpoint;
    private ReadOnlyMemory<byte> _piece;

    public override long UncompressedOffset => _offset;

    public override long CompressedOffset => _offset;

    public override void Push(ReadOnlyMemory<byte> compressed)
    {
        if (!_piece.IsEmpty)
            throw new InvalidOperationException("The last piece has not been read to its end.");
        _piece = compressed;
    }

    public override bool TryRead(out ReadOnlySpan<byte> run)
    {
        run = _piece.Span;
        _offset += run.Length;
        _piece = default;
        return !run.IsEmpty;
    }

    public override void Complete()
    {
        if (!_piece.IsEmpty)
            throw new InvalidOperationException("The last piece has not been read to its end.");
    }

    public override bool TryTakeCheckpoint(out Checkpoint checkpoint)
    {
        checkpoint = new Checkpoint(_nextCheckpoint, 0, _nextCheckpoint, AtMemberStart: true, default);

        // A span is never empty, save the first of an empty blob.
        if (checkpointSpacing == 0 || (_nextCheckpoint >= _offset && _nextCheckpoint != 0))
            return false;
        _nextCheckpoint += checkpointSpacing;
        return true;
    }

    public override void Dispose() => _piece = default;
}
