using System.Diagnostics.CodeAnalysis;

namespace LazyMount.Layers;

/// <summary>
/// Decoded spans of all layers of a process in bounded memory, least recently used out first. Thread-safe.
/// <para>Every layer has an array of slots, one a span: null, a <see cref="DecodedSpan"/> that is kept, or a
/// <see cref="PendingSpan"/> that somebody waits for. One lock guards all slots, the list of use and the free memory; it is
/// held for some dozen instructions and never while decoding or waiting. A span in somebody's hands is never evicted, so
/// eviction frees memory at once.</para>
/// </summary>
public sealed class SpanCache : IDisposable
{
    private readonly Lock _lock = new();
    private readonly long _capacity;
    private readonly List<byte[]> _free = [];
    private DecodedSpan? _newest, _oldest;
    private long _allocated; // bytes of all memory: kept, free, held or being filled
    private bool _disposed;

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
                        Unlink(span);
                        ReleaseLocked(span);
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

    /// <summary>Pinned memory of at least <paramref name="length"/> bytes: used before, if it suits; room is made for new.</summary>
    internal byte[] Rent(int length)
    {
        int size = RoundUp(length);
        lock (_lock)
        {
            if (TakeFree(size) is { } used)
            {
                return used;
            }
            MakeRoom(size);
            if (TakeFree(size) is { } evicted)
            {
                return evicted;
            }
            DropFree(size);
            Volatile.Write(ref _allocated, _allocated + size);
        }
        return GC.AllocateUninitializedArray<byte>(size, pinned: true);
    }

    internal void Return(byte[] memory)
    {
        lock (_lock)
        {
            ReturnLocked(memory);
        }
    }

    internal void Trim()
    {
        lock (_lock)
        {
            MakeRoom(0);
            DropFree(0);
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
                Evict(span);
                span = newer;
            }
            DropFree(long.MaxValue);
        }
    }

    // Like sizes share classes, so that memory of one span serves the next: spans of one layer differ by a block's length.
    private static int RoundUp(int length)
    {
        int unit = length < 1 << 20 ? 64 << 10 : 512 << 10;
        return (int)Math.Min(Array.MaxLength, ((long)Math.Max(length, 1) + unit - 1) / unit * unit);
    }

    private byte[]? TakeFree(int size)
    {
        for (int i = _free.Count - 1; i >= 0; i--)
        {
            byte[] memory = _free[i];
            if (memory.Length >= size && memory.Length / 2 <= size)
            {
                _free.RemoveAt(i);
                return memory;
            }
        }
        return null;
    }

    /// <summary>Evicts from the old end until <paramref name="size"/> more bytes would fit, counting free memory as gone.</summary>
    private void MakeRoom(int size)
    {
        long used = _allocated + size;
        foreach (byte[] memory in _free)
        {
            used -= memory.Length;
        }
        for (DecodedSpan? span = _oldest; span is not null && used > _capacity;)
        {
            DecodedSpan? newer = span.Newer;
            if (span.IsHeldByCacheOnly)
            {
                used -= Evict(span);
            }
            span = newer;
        }
    }

    private void DropFree(long size)
    {
        while (_free.Count > 0 && _allocated > _capacity - size)
        {
            Volatile.Write(ref _allocated, _allocated - _free[^1].Length);
            _free.RemoveAt(_free.Count - 1);
        }
    }

    /// <summary>Returns how many bytes became free.</summary>
    private long Evict(DecodedSpan span)
    {
        Unlink(span);
        span.Slots![span.Slot] = null;
        return ReleaseLocked(span);
    }

    private long ReleaseLocked(DecodedSpan span)
    {
        if (span.ReleaseWithoutReturn() is { } memory)
        {
            ReturnLocked(memory);
            return memory.Length;
        }
        return 0;
    }

    private void ReturnLocked(byte[] memory)
    {
        if (_disposed || _allocated > _capacity)
        {
            Volatile.Write(ref _allocated, _allocated - memory.Length);
        }
        else
        {
            _free.Add(memory);
        }
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
