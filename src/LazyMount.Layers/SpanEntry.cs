using System.Diagnostics;

namespace LazyMount.Layers;

/// <summary>
/// One span of a layer: first on its way, when one task fetches and decodes it and readers wait; then decoded, kept by the
/// <see cref="SpanCache"/> and held by readers. Fields that are not private are guarded by the cache's lock.
/// </summary>
internal sealed class SpanEntry(SpanCache cache, SpanTable table, int span, long uncompressedOffset, int length)
{
    private int _holds; // of readers, and one of the cache

    /// <summary>The layer's spans.</summary>
    public SpanTable Table => table;

    /// <summary>Its number among them.</summary>
    public int Span => span;

    /// <summary>Offset of its first byte in the layer's tar.</summary>
    public long UncompressedOffset => uncompressedOffset;

    /// <summary>Its bytes.</summary>
    public int Length => length;

    // ---- On its way.

    /// <summary>Readers that wait.</summary>
    public int Waiters;

    /// <summary>Readers that waited to the end and have not yet been given the span.</summary>
    public int Untaken;

    /// <summary>The work has ended, well or not.</summary>
    public bool IsCompleted;

    /// <summary>Memory reserved for the work; given back when the readers that waited have the span.</summary>
    public SpanReservation Reservation;

    /// <summary>Cancelled when no reader waits any more, or the layer is closed.</summary>
    public CancellationTokenSource Cancellation { get; } = new();

    /// <summary>Continuations run elsewhere: the decoding thread has its own work to finish. Null once the work has ended: kept spans are many.</summary>
    public TaskCompletionSource<SpanEntry>? Completion = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // ---- Decoded.

    /// <summary>Null as long as it is on its way.</summary>
    public SpanMemory? Memory;

    public bool IsDecoded => Memory is not null;

    public ReadOnlySpan<byte> Bytes
    {
        get
        {
            Debug.Assert(Volatile.Read(ref _holds) > 0, "read after the last release");
            return Memory!.Span[..Length];
        }
    }

    /// <summary>Neighbours in the order of use.</summary>
    public SpanEntry? Newer, Older;

    public void Hold(int holds) => Interlocked.Add(ref _holds, holds);

    public bool IsHeldByCacheOnly => Volatile.Read(ref _holds) == 1;

    /// <summary>Gives the cache's hold back. Returns the memory if nobody else holds the span.</summary>
    public SpanMemory? ReleaseOfCache() => Interlocked.Decrement(ref _holds) == 0 ? Memory : null;

    /// <summary>Gives a reader's hold back. Called without the lock.</summary>
    public void Release()
    {
        int holds = Interlocked.Decrement(ref _holds);
        Debug.Assert(holds >= 0, "released more often than held");
        if (holds == 0)
        {
            cache.Return(Memory!);
        }
        else if (cache.IsOverCapacity)
        {
            cache.Trim();
        }
    }
}
