using System.Diagnostics;

namespace LazyMount.Layers;

/// <summary>
/// The uncompressed bytes of one span, in memory that does not move. Counted: whoever got it from a <see cref="Layer"/> releases it
/// once; the cache holds a count of its own while it keeps the span. The memory is reused after the last release.
/// </summary>
public sealed class DecodedSpan
{
    private readonly SpanCache _cache;
    private readonly SpanMemory _memory;
    private int _holds;

    internal DecodedSpan(SpanCache cache, SpanMemory memory, long uncompressedOffset, int length)
    {
        (_cache, _memory, UncompressedOffset, Length) = (cache, memory, uncompressedOffset, length);
    }

    /// <summary>Where its first byte stands in the layer's tar.</summary>
    public long UncompressedOffset { get; }

    /// <summary>Bytes.</summary>
    public int Length { get; }

    /// <summary>The bytes; they do not move while the span is held, so their address may be given to the kernel.</summary>
    public ReadOnlySpan<byte> Bytes
    {
        get
        {
            Debug.Assert(Volatile.Read(ref _holds) > 0, "read after the last release");
            return _memory.Bytes[..Length];
        }
    }

    /// <summary>Gives the caller's count back.</summary>
    public void Release()
    {
        int holds = Interlocked.Decrement(ref _holds);
        Debug.Assert(holds >= 0, "released more often than held");
        if (holds == 0)
        {
            _cache.Return(_memory);
        }
        else if (_cache.IsOverCapacity)
        {
            _cache.Trim();
        }
    }

    // The rest belongs to the cache: links of its list of use and the slot that shows this span, under its lock.
    internal DecodedSpan? Newer, Older;
    internal object?[]? Slots;
    internal int Slot;

    /// <summary>Under the cache's lock, so that a span that only the cache holds can be taken away there.</summary>
    internal void Hold(int holds = 1) => Interlocked.Add(ref _holds, holds);

    /// <summary>Gives the cache's count back under its lock: the memory, if nobody holds it any more.</summary>
    internal SpanMemory? ReleaseWithoutReturn() => Interlocked.Decrement(ref _holds) == 0 ? _memory : null;

    internal bool IsHeldByCacheOnly => Volatile.Read(ref _holds) == 1;
}
