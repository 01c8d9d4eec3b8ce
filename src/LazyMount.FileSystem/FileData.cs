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
    private Piece[] _pieces = new Piece[4];

    private byte[] _copy = []; // pinned
    private int _copied;

    private readonly record struct Piece(PieceKind Kind, SpanLease Lease, int Start, int Length);

    private enum PieceKind
    {
        Span,
        Zeros,
        Copy,
    }

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
            (PieceKind kind, SpanLease lease, int start, int length) = _pieces[piece];
            return kind switch
            {
                PieceKind.Span => lease.Bytes.Slice(start, length),
                PieceKind.Zeros => s_zeros.AsSpan(0, length),
                _ => _copy.AsSpan(start, length),
            };
        }
    }

    /// <summary>Adds bytes of a span and takes over the caller's lease.</summary>
    public void Add(SpanLease span, int start, int length)
    {
        if (Count < MaxPieces - 1)
        {
            AddPiece(new Piece(PieceKind.Span, span, start, length));
            return;
        }
        AddCopy(span, start, length);
    }

    /// <summary>Adds a copy of bytes of a span, and gives the caller's lease back at once.</summary>
    public void AddCopy(SpanLease span, int start, int length)
    {
        span.Bytes.Slice(start, length).CopyTo(Copy(length));
        span.Dispose();
    }

    /// <summary>Adds bytes of a hole.</summary>
    public void AddZeros(int length)
    {
        for (; length > 0 && Count < MaxPieces - 1; length -= _pieces[Count - 1].Length)
        {
            AddPiece(new Piece(PieceKind.Zeros, default, 0, Math.Min(length, s_zeros.Length)));
        }
        if (length > 0)
        {
            Copy(length).Clear();
        }
    }

    /// <summary>Adds bytes that the caller fills in before anything else is added.</summary>
    internal Span<byte> AddBytes(int length) => Copy(length);

    /// <summary>Gives all spans back.</summary>
    public void Clear()
    {
        for (int i = 0; i < Count; i++)
        {
            _pieces[i].Lease.Dispose();
            _pieces[i] = default;
        }
        Count = 0;
        Length = 0;
        _copied = 0;
    }

    private void AddPiece(in Piece piece)
    {
        if (Count == _pieces.Length)
        {
            Array.Resize(ref _pieces, Count * 2);
        }
        _pieces[Count++] = piece;
        Length += piece.Length;
    }

    // Room for more copied bytes: in the last piece if that is a copy, else in a new one.
    private Span<byte> Copy(int length)
    {
        if (Count == 0 || _pieces[Count - 1].Kind != PieceKind.Copy)
        {
            AddPiece(new Piece(PieceKind.Copy, default, _copied, 0));
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
        ref Piece last = ref _pieces[Count - 1];
        last = last with { Length = last.Length + length };
        return room;
    }
}
