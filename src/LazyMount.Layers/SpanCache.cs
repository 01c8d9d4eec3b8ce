using LazyMount.Blobs.Counting;

namespace LazyMount.Layers;

/// <summary>
/// Memory for the decoded spans of all layers of a process, least recently used out first. Thread-safe.
/// <para>One lock guards the order of use, the count of bytes and the state of every span (<see cref="SpanTable"/>); it is held
/// for some dozen instructions and never while decoding or waiting. A span in a reader's hands is never evicted, so eviction frees
/// memory at once.</para>
/// </summary>
public sealed class SpanCache : IDisposable
{
    /// <summary>Bytes that a span takes besides its own: the entry, its memory's object, malloc's share, the slot.</summary>
    internal const int Overhead = 512;

    /// <summary>
    /// Bytes of the spans that are being fetched and decoded, compressed and decoded ones, for each of the two
    /// <see cref="SpanBudget"/>s. Some twenty of our spans of 2 MiB.
    /// </summary>
    internal const long InFlight = 64 << 20;

    // Spans that nobody has read for one to two of these are given back. A program that reads on and off is not made to decode twice.
    // A daemon that had read 600 MB in order had 97 MB of private dirty memory, 17 MB a minute later, and 10 MB when the array pools were trimmed too.
    private static readonly TimeSpan s_idleTime = TimeSpan.FromSeconds(25);

    private readonly long _capacity;
    private readonly TimeSpan _idleTime;
    private readonly Timer _idle; // set while there are spans
    private bool _idleIsSet;
    private long _uses, _usesWhenSet;
    private SpanEntry? _newest, _oldest;
    private long _allocated; // bytes of all memory: kept, held or being filled
    private int _waiters;

    /// <param name="capacity">Bytes of decoded spans to keep.</param>
    public SpanCache(long capacity) : this(capacity, InFlight)
    {
    }

    /// <param name="capacity">Bytes of decoded spans to keep.</param>
    /// <param name="inFlight">In place of <see cref="InFlight"/>.</param>
    /// <param name="idleTime">In place of the time after which spans that nobody reads are given back.</param>
    internal SpanCache(long capacity, long inFlight, TimeSpan? idleTime = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(capacity);
        (_capacity, _idleTime) = (capacity, idleTime ?? s_idleTime);
        _idle = new Timer(static cache => ((SpanCache)cache!).TrimIfIdle(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        (Local, Remote) = (new SpanBudget(inFlight), new SpanBudget(inFlight));
    }

    /// <summary>
    /// Passed while decoding, not while fetching: more decoders than cores gain nothing, and each has a window of its own.
    /// </summary>
    internal SemaphoreSlim DecoderGate { get; } = new(Math.Max(2, Environment.ProcessorCount));

    /// <summary>Memory of spans whose compressed bytes are on this machine.</summary>
    internal SpanBudget Local { get; }

    /// <summary>Memory of spans that have to be fetched. Of its own, so that those that are here do not wait for a slow source.</summary>
    internal SpanBudget Remote { get; }

    /// <summary>Whether a reader waits for a span.</summary>
    internal bool HasWaiters => Volatile.Read(ref _waiters) > 0;

    internal void BeginWaiting() => Interlocked.Increment(ref _waiters);

    internal void EndWaiting() => Interlocked.Decrement(ref _waiters);

    /// <summary>Where hits, misses and decoded bytes are counted.</summary>
    public ServingCounters Counters { get; init; } = new();

    /// <summary>Called on a thread of the pool when nothing has been read for a while and all spans were given back.</summary>
    public Action? Idled { get; set; }

    internal bool IsOverCapacity => Volatile.Read(ref _allocated) > _capacity;

    internal long AllocatedBytes => Volatile.Read(ref _allocated);

    internal Lock Lock { get; } = new();

    /// <summary>Under the lock.</summary>
    internal bool IsDisposed { get; private set; }

    /// <summary>
    /// Memory of at least <paramref name="length"/> bytes. Room is made for it, and what is evicted for that is used again
    /// if it suits: once the cache is full the same memory goes round.
    /// </summary>
    internal SpanMemory Rent(int length)
    {
        lock (Lock)
        {
            if (MakeRoom(length) is { } used)
            {
                return used;
            }
            Volatile.Write(ref _allocated, _allocated + length + Overhead);
        }
        return new SpanMemory(length);
    }

    internal void Return(SpanMemory memory)
    {
        lock (Lock)
        {
            Free(memory);
        }
    }

    internal void Trim()
    {
        lock (Lock)
        {
            MakeRoom(0);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (Lock)
        {
            IsDisposed = true;
            _idle.Dispose();
            while (_oldest is not null)
            {
                Evict(_oldest);
            }
        }
    }

    /// <summary>The span is the one used last. Under the lock.</summary>
    internal void Touch(SpanEntry span)
    {
        _uses++;
        if (span != _newest)
        {
            Unlink(span);
            Link(span);
        }
    }

    /// <summary>Keeps a span. Under the lock.</summary>
    internal void Link(SpanEntry span)
    {
        (span.Older, span.Newer) = (_newest, null);
        if (_newest is not null)
        {
            _newest.Newer = span;
        }
        _newest = span;
        _oldest ??= span;
        _uses++;
        if (!_idleIsSet)
        {
            SetIdle();
        }
    }

    /// <summary>Keeps a span no longer. Under the lock.</summary>
    internal void Evict(SpanEntry span)
    {
        if (Take(span) is { } memory)
        {
            Free(memory);
        }
    }

    // Under the lock.
    private void SetIdle()
    {
        (_idleIsSet, _usesWhenSet) = (true, _uses);
        _idle.Change(_idleTime, Timeout.InfiniteTimeSpan);
    }

    private void TrimIfIdle()
    {
        lock (Lock)
        {
            if (IsDisposed)
            {
                return;
            }
            if (_uses != _usesWhenSet)
            {
                SetIdle();
                return;
            }
            _idleIsSet = false;
            for (SpanEntry? span = _oldest; span is not null;)
            {
                SpanEntry? newer = span.Newer;
                if (span.IsHeldByCacheOnly)
                {
                    Evict(span);
                }
                span = newer;
            }
            if (_oldest is not null)
            {
                SetIdle(); // a reader holds some
                return;
            }
        }
        Idled?.Invoke();
    }

    /// <summary>
    /// Evicts from the old end until <paramref name="size"/> more bytes fit, or memory comes up that suits that size: it
    /// is returned, and counts as allocated still.
    /// </summary>
    private SpanMemory? MakeRoom(int size)
    {
        for (SpanEntry? span = _oldest; span is not null && _allocated + size > _capacity;)
        {
            SpanEntry? newer = span.Newer;
            if (span.IsHeldByCacheOnly && Take(span) is { } memory)
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

    // Returns the span's memory, or null when a reader holds the span, who will return it.
    private SpanMemory? Take(SpanEntry span)
    {
        Unlink(span);
        span.Table.Forget(span);
        return span.ReleaseOfCache();
    }

    private void Free(SpanMemory memory)
    {
        Volatile.Write(ref _allocated, _allocated - memory.Length - Overhead);
        ((IDisposable)memory).Dispose();
    }

    private void Unlink(SpanEntry span)
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
