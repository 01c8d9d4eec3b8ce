using LazyMount.Layers;

namespace LazyMount.FileSystem;

/// <summary>
/// The bytes that answer one read: pieces of decoded spans, held until <see cref="Clear"/>. One object serves many reads.
/// Not thread-safe.
/// </summary>
public sealed class FileData
{
    // A read of at most 1 MiB touches two spans of 4 MiB; layers with smaller spans make these grow once.
    private (DecodedSpan Span, int Start, int Length)[] _pieces = new (DecodedSpan, int, int)[4];

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
            return span.Bytes.Slice(start, length);
        }
    }

    /// <summary>Adds a piece and takes over the caller's hold on the span.</summary>
    public void Add(DecodedSpan span, int start, int length)
    {
        if (Count == _pieces.Length)
        {
            Array.Resize(ref _pieces, Count * 2);
        }
        _pieces[Count++] = (span, start, length);
        Length += length;
    }

    /// <summary>Gives all spans back.</summary>
    public void Clear()
    {
        for (int i = 0; i < Count; i++)
        {
            _pieces[i].Span.Release();
            _pieces[i] = default;
        }
        Count = 0;
        Length = 0;
    }
}
