namespace LazyMount.Compression;

/// <summary>The reading end of a <see cref="PullDecompressor"/>: what was pushed, as a stream that can be looked ahead in.</summary>
/// <param name="next">Waits for the next piece; an empty one is the end.</param>
internal sealed class PushedStream(Func<ReadOnlyMemory<byte>> next) : Stream
{
    private ReadOnlyMemory<byte> _piece;
    private readonly List<byte> _ahead = []; // bytes looked at and not yet read; a header's worth at the most
    private int _aheadRead;
    private long _position;
    private bool _ended;

    public override bool CanRead => true;
    public override bool CanSeek => false;
    public override bool CanWrite => false;
    public override long Length => throw new NotSupportedException();

    /// <summary>Bytes read.</summary>
    public override long Position
    {
        get => _position;
        set => throw new NotSupportedException();
    }

    /// <summary>The next <paramref name="count"/> bytes without reading them; fewer where the stream ends.</summary>
    public byte[] Peek(int count)
    {
        while (_ahead.Count - _aheadRead < count && HasPiece())
        {
            _ahead.Add(_piece.Span[0]);
            _piece = _piece[1..];
        }
        return [.. _ahead.Skip(_aheadRead).Take(count)];
    }

    public override int ReadByte()
    {
        if (_aheadRead < _ahead.Count)
        {
            byte value = _ahead[_aheadRead];
            Pass();
            return value;
        }
        if (!HasPiece())
            return -1;
        int read = _piece.Span[0];
        _piece = _piece[1..];
        _position++;
        return read;
    }

    public override int Read(Span<byte> buffer)
    {
        int filled = 0;
        while (filled < buffer.Length && _aheadRead < _ahead.Count)
        {
            buffer[filled++] = _ahead[_aheadRead];
            Pass();
        }
        while (filled < buffer.Length && HasPiece())
        {
            int n = Math.Min(buffer.Length - filled, _piece.Length);
            _piece.Span[..n].CopyTo(buffer[filled..]);
            _piece = _piece[n..];
            filled += n;
            _position += n;
        }
        return filled;
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    public override void Flush()
    {
    }

    private void Pass()
    {
        _position++;
        if (++_aheadRead == _ahead.Count)
        {
            _ahead.Clear();
            _aheadRead = 0;
        }
    }

    private bool HasPiece()
    {
        if (_piece.IsEmpty && !_ended)
        {
            _piece = next();
            _ended = _piece.IsEmpty;
        }
        return !_piece.IsEmpty;
    }
}
