namespace LazyMount.Compression;

/// <summary>
/// What gzip and zstd share: a stream of members or frames, some of whose starts are checkpoints, and the piece that is
/// being read.
/// </summary>
internal abstract class FramedDecompressor : Decompressor
{
    private readonly string _name;
    private readonly CheckpointRecorder? _checkpoints;
    private ReadOnlyMemory<byte> _piece;
    private long _pieceOffset;

    /// <summary>Bytes of the piece that are consumed.</summary>
    private protected int _position;

    /// <summary>Uncompressed bytes handed out, counted from the start of the blob.</summary>
    private protected long _taken;

    /// <param name="name">The format, for messages.</param>
    /// <param name="checkpointSpacing">As for <see cref="Decompressor.Start"/>.</param>
    private protected FramedDecompressor(string name, long checkpointSpacing)
    {
        _name = name;
        if (checkpointSpacing > 0)
            _checkpoints = new CheckpointRecorder(checkpointSpacing);
    }

    /// <param name="name">The format, for messages.</param>
    /// <param name="from">Where decoding begins; no further checkpoints are taken.</param>
    private protected FramedDecompressor(string name, in Checkpoint from)
        => (_name, _pieceOffset, _taken) = (name, from.CompressedOffset, from.UncompressedOffset);

    public sealed override long UncompressedOffset => _taken;

    public sealed override long CompressedOffset => _pieceOffset + _position;

    /// <summary>Null when none are taken.</summary>
    private protected CheckpointRecorder? Checkpoints => _checkpoints;

    /// <summary>The piece, consumed up to <see cref="_position"/>.</summary>
    private protected ReadOnlyMemory<byte> Piece => _piece;

    /// <summary>A failure was thrown before.</summary>
    private protected abstract bool HasFailed { get; }

    /// <summary>The part that must not be the last one, such as "a frame"; null where the stream may end.</summary>
    private protected abstract string? Within { get; }

    public sealed override void Push(ReadOnlyMemory<byte> compressed)
    {
        if (_position != _piece.Length)
            throw new InvalidOperationException("The last piece has not been read to its end.");
        _pieceOffset += _piece.Length;
        _piece = compressed;
        _position = 0;
    }

    public sealed override void Complete()
    {
        if (HasFailed)
            throw new InvalidDataException($"its {_name} stream was found to be corrupt before");
        if (_position != _piece.Length)
            throw new InvalidOperationException("The last piece has not been read to its end.");
        if (Within is { } within)
            throw new InvalidDataException($"its {_name} stream is cut off at byte {CompressedOffset}, within {within}");
    }

    public sealed override bool TryTakeCheckpoint(out Checkpoint checkpoint)
    {
        if (_checkpoints is not null)
            return _checkpoints.TryTake(out checkpoint);
        checkpoint = default;
        return false;
    }

    public override void Dispose()
    {
        _piece = default;
        _position = 0;
    }

    /// <summary>Makes a checkpoint of the start of a member or frame, if one is wanted here.</summary>
    private protected void OfferStart(long compressedOffset)
    {
        if (_checkpoints is not null && _checkpoints.Wants(_taken))
            _checkpoints.Add(new Checkpoint(compressedOffset, 0, _taken, AtMemberStart: true, default));
    }

    private protected InvalidDataException Corrupt(string reason, Exception cause)
        => new($"its {_name} stream is corrupt near byte {CompressedOffset}: {reason}", cause);
}
