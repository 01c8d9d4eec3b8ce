using LazyMount.Layers;

namespace LazyMount.FileSystem;

/// <summary>
/// The bytes that answer one read, in at most <see cref="MaxPieces"/> pieces: of decoded spans, held until
/// <see cref="Clear"/>, and zeros for holes. One object serves many reads. Not thread-safe.
/// </summary>
public sealed class FileData
{
    /// <summary>
    /// Most pieces that there are; what comes after is copied together into the last. Enough for 1 MiB of data and holes of
    /// 4 KiB in turn.
    /// </summary>
    public const int MaxPieces = 260;

    // Holes of every file, in memory that does not move.
    private static readonly byte[] s_zeros = GC.AllocateArray<byte>(128 << 10, pinned: true);

    // A read of at most 1 MiB touches two spans of 2 MiB; layers with smaller spans, and holes, make these grow once.
    private (DecodedSpan? Span, int Start, int Length)[] _pieces = new (DecodedSpan?, int, int)[4];

    private byte[] _copy = []; // pinned
    private int _copied;

    /// <summary>Bytes in all.</summary>
    public int Length { get; private set; }

    /// <summary>Number of pieces.</summary>
    public int Count { get; private set; }

    /// <summary>One piece; pinned while held, so its address may be given to the kernel.</summary>
    public ReadOnlySpan<byte> this[int piece]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(piece, Count);
            var (span, start, length) = _pieces[piece];
            return span is not null ? span.Bytes.Slice(start, length)
                : piece < MaxPieces - 1 ? s_zeros.AsSpan(0, length)
                : _copy.AsSpan(0, length);
        }
    }

    /// <summary>Adds a piece and takes over the caller's hold on the span.</summary>
    public void Add(DecodedSpan span, int start, int length)
    {
        if (Count < MaxPieces - 1)
        {
            AddPiece(span, start, length);
            return;
        }
        span.Bytes.Slice(start, length).CopyTo(Copy(length));
        span.Release();
    }

    /// <summary>Adds bytes of a hole.</summary>
    public void AddZeros(int length)
    {
        for (; length > 0 && Count < MaxPieces - 1; length -= _pieces[Count - 1].Length)
        {
            AddPiece(null, 0, Math.Min(length, s_zeros.Length));
        }
        if (length > 0)
        {
            Copy(length).Clear();
        }
    }

    /// <summary>Gives all spans back.</summary>
    public void Clear()
    {
        for (int i = 0; i < Count; i++)
        {
            _pieces[i].Span?.Release();
            _pieces[i] = default;
        }
        Count = 0;
        Length = 0;
        _copied = 0;
    }

    private void AddPiece(DecodedSpan? span, int start, int length)
    {
        if (Count == _pieces.Length)
        {
            Array.Resize(ref _pieces, Count * 2);
        }
        _pieces[Count++] = (span, start, length);
        Length += length;
    }

    // Room for more bytes in the last piece.
    private Span<byte> Copy(int length)
    {
        if (_copied == 0)
        {
            AddPiece(null, 0, 0);
        }
        if (_copy.Length - _copied < length)
        {
            byte[] larger = GC.AllocateUninitializedArray<byte>(Math.Max(_copied + length, 2 * _copy.Length), pinned: true);
            _copy.AsSpan(0, _copied).CopyTo(larger);
            _copy = larger;
        }
        Span<byte> room = _copy.AsSpan(_copied, length);
        _copied += length;
        Length += length;
        _pieces[Count - 1].Length = _copied;
        return room;
    }
}
