using System.Diagnostics.CodeAnalysis;

namespace LazyMount.Layers;

/// <summary>
/// Decoded spans of all layers of a process in bounded memory, least recently used out first. Thread-safe.
/// <para>Every layer has an array of slots, one a span: null, a <see cref="DecodedSpan"/> that is kept, or a
/// <see cref="PendingSpan"/> that somebody waits for. One lock guards all slots, the list of use and the count of bytes; it is
/// held for some dozen instructions and never while decoding or waiting. A span in somebody's hands is never evicted, so
/// eviction frees memory at once.</para>
/// </summary>
public sealed class SpanCache : IDisposable
{
    private readonly Lock _lock = new();
    private readonly long _capacity;
    private DecodedSpan? _newest, _oldest;
    private long _allocated; // bytes of all memory: kept, held or being filled
    private bool _disposed;
    private int _waiters;

    /// <param name="capacity">Bytes of decoded spans to keep.</param>
    public SpanCache(long capacity)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(capacity);
        _capacity = capacity;
    }

    /// <summary>
    /// Passed while decoding, not while fetching: more decoders than cores gain nothing and each takes memory that the
    /// capacity cannot bound.
    /// </summary>
    internal SemaphoreSlim DecoderGate { get; } = new(Math.Max(2, Environment.ProcessorCount));

    /// <summary>Whether somebody waits for a span.</summary>
    internal bool HasWaiters => Volatile.Read(ref _waiters) > 0;

    internal void BeginWaiting() => Interlocked.Increment(ref _waiters);

    internal void EndWaiting() => Interlocked.Decrement(ref _waiters);

    internal bool IsOverCapacity => Volatile.Read(ref _allocated) > _capacity;

    internal long AllocatedBytes => Volatile.Read(ref _allocated);

    /// <summary>A kept span, held for the caller.</summary>
    internal bool TryGet(object?[] slots, int slot, [NotNullWhen(true)] out DecodedSpan? span)
    {
        lock (_lock)
        {
            span = slots[slot] as DecodedSpan;
            if (span is null)
            {
                return false;
            }
            span.Hold();
            Touch(span);
            return true;
        }
    }

    /// <summary>The kept span, held for the caller; or the work to wait for, which the caller has joined and must start if it is new.</summary>
    internal DecodedSpan? GetOrJoin(object?[] slots, int slot, out PendingSpan? pending, out bool isNew)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            pending = null;
            isNew = false;
            switch (slots[slot])
            {
                case DecodedSpan span:
                    span.Hold();
                    Touch(span);
                    return span;
                case PendingSpan joined:
                    joined.Waiters++;
                    pending = joined;
                    return null;
                default:
                    slots[slot] = pending = new PendingSpan { Waiters = 1 };
                    isNew = true;
                    return null;
            }
        }
    }

    /// <summary>Begins a span that nobody waits for yet: the work to start, or null when it is there or under way.</summary>
    internal PendingSpan? TryBegin(object?[] slots, int slot)
    {
        lock (_lock)
        {
            if (_disposed || slots[slot] is not null)
            {
                return null;
            }
            var pending = new PendingSpan();
            slots[slot] = pending;
            return pending;
        }
    }

    /// <summary>Keeps what was decoded, and holds it once for each who waits.</summary>
    internal void Complete(object?[] slots, int slot, PendingSpan pending, DecodedSpan span)
    {
        bool kept;
        lock (_lock)
        {
            pending.Result = span;
            pending.IsCompleted = true;
            span.Hold(pending.Waiters);
            kept = slots[slot] == pending && !_disposed;
            if (kept)
            {
                span.Hold();
                (span.Slots, span.Slot) = (slots, slot);
                slots[slot] = span;
                Link(span);
            }
            else if (pending.Waiters == 0)
            {
                span.Hold(); // nobody wants it any more: released below
            }
        }
        if (!kept && pending.Waiters == 0)
        {
            span.Release();
        }
    }

    /// <summary>The work failed: those who wait are told, the next caller tries again.</summary>
    internal void Fail(object?[] slots, int slot, PendingSpan pending)
    {
        lock (_lock)
        {
            pending.IsCompleted = true;
            if (slots[slot] == pending)
            {
                slots[slot] = null;
            }
        }
    }

    /// <summary>One who waited goes away. The last one ends the work.</summary>
    internal void Leave(object?[] slots, int slot, PendingSpan pending)
    {
        bool isLast = false;
        DecodedSpan? held;
        lock (_lock)
        {
            held = pending.Result; // it came while the caller was leaving, and is held for it
            if (!pending.IsCompleted)
            {
                isLast = --pending.Waiters == 0;
                if (isLast && slots[slot] == pending)
                {
                    slots[slot] = null; // nobody can join any more
                }
            }
        }
        held?.Release();
        if (isLast)
        {
            pending.Cancellation.Cancel();
        }
    }

    /// <summary>Empties a layer's slots and ends its work.</summary>
    internal void Drop(object?[] slots)
    {
        List<PendingSpan>? running = null;
        lock (_lock)
        {
            for (int i = 0; i < slots.Length; i++)
            {
                switch (slots[i])
                {
                    case DecodedSpan span:
                        if (Evict(span) is { } memory)
                        {
                            Free(memory);
                        }
                        break;
                    case PendingSpan pending:
                        (running ??= []).Add(pending);
                        break;
                }
                slots[i] = null;
            }
        }
        running?.ForEach(static pending => pending.Cancellation.Cancel());
    }

    /// <summary>
    /// Memory of at least <paramref name="length"/> bytes. Room is made for it, and what is evicted for that is used again
    /// if it suits: once the cache is full the same memory goes round.
    /// </summary>
    internal SpanMemory Rent(int length)
    {
        lock (_lock)
        {
            if (MakeRoom(length) is { } used)
            {
                return used;
            }
            Volatile.Write(ref _allocated, _allocated + length);
        }
        return new SpanMemory(length);
    }

    internal void Return(SpanMemory memory)
    {
        lock (_lock)
        {
            Free(memory);
        }
    }

    internal void Trim()
    {
        lock (_lock)
        {
            MakeRoom(0);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_lock)
        {
            _disposed = true;
            for (DecodedSpan? span = _oldest; span is not null;)
            {
                DecodedSpan? newer = span.Newer;
                if (Evict(span) is { } memory)
                {
                    Free(memory);
                }
                span = newer;
            }
        }
    }

    /// <summary>
    /// Evicts from the old end until <paramref name="size"/> more bytes fit, or memory comes up that suits that size: it
    /// is returned, and counts as allocated still.
    /// </summary>
    private SpanMemory? MakeRoom(int size)
    {
        for (DecodedSpan? span = _oldest; span is not null && _allocated + size > _capacity;)
        {
            DecodedSpan? newer = span.Newer;
            if (span.IsHeldByCacheOnly && Evict(span) is { } memory)
            {
                if (_allocated <= _capacity && memory.Length >= size && memory.Length / 2 <= size)
                {
                    return memory;
                }
                Free(memory);
            }
            span = newer;
        }
        return null;
    }

    /// <summary>Takes a span out of the cache. Returns its memory, or null when somebody holds the span, who will return it.</summary>
    private SpanMemory? Evict(DecodedSpan span)
    {
        Unlink(span);
        span.Slots![span.Slot] = null;
        return span.ReleaseWithoutReturn();
    }

    private void Free(SpanMemory memory)
    {
        Volatile.Write(ref _allocated, _allocated - memory.Length);
        memory.Dispose();
    }

    private void Touch(DecodedSpan span)
    {
        if (span != _newest)
        {
            Unlink(span);
            Link(span);
        }
    }

    private void Link(DecodedSpan span)
    {
        (span.Older, span.Newer) = (_newest, null);
        if (_newest is not null)
        {
            _newest.Newer = span;
        }
        _newest = span;
        _oldest ??= span;
    }

    private void Unlink(DecodedSpan span)
    {
        if (span.Newer is null)
        {
            _newest = span.Older;
        }
        else
        {
            span.Newer.Older = span.Older;
        }
        if (span.Older is null)
        {
            _oldest = span.Newer;
        }
        else
        {
            span.Older.Newer = span.Newer;
        }
        (span.Older, span.Newer) = (null, null);
    }
}
