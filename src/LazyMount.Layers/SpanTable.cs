using LazyMount.Blobs.Counting;

namespace LazyMount.Layers;

/// <summary>
/// The spans of one layer, by number: gives out leases of those that are decoded, has the others decoded once for all who
/// want them. The state of every span is here; memory and order of use are the <see cref="SpanCache"/>'s, whose lock guards both.
/// Thread-safe.
/// <para>A reader that gives up leaves; the work goes on while anybody waits. A failure is told to all who wait and is not kept.
/// A table holds the spans that are there, which are few: a layer of 20 GB has 10,000.</para>
/// </summary>
/// <param name="cache">Where decoded spans are kept.</param>
/// <param name="map">The spans.</param>
/// <param name="decode">Fetches and decodes a span, and sets <see cref="SpanEntry.Reservation"/> before it takes memory.</param>
internal sealed class SpanTable(SpanCache cache, SpanMap map, Func<SpanEntry, CancellationToken, Task<SpanMemory>> decode)
{
    private readonly List<SpanEntry> _entries = []; // in the order of their numbers
    private bool _isClosed;

    /// <summary>
    /// The decoded span that holds a byte of the tar; looks at no table but this, so that it cannot fail. Does not allocate, wait or lock for long.
    /// </summary>
    public bool TryLease(long uncompressedOffset, out SpanLease lease)
    {
        lock (cache.Lock)
        {
            // The last that begins at or before the byte: an empty span may begin there too.
            int low = 0, high = _entries.Count;
            while (low < high)
            {
                int middle = (low + high) >>> 1;
                (low, high) = _entries[middle].UncompressedOffset <= uncompressedOffset ? (middle + 1, high) : (low, middle);
            }
            if (low > 0 && _entries[low - 1] is { IsDecoded: true } entry && uncompressedOffset - entry.UncompressedOffset < entry.Length)
            {
                entry.Hold(1);
                cache.Touch(entry);
                lease = new SpanLease(entry);
                cache.Counters.Add(Counter.SpanHits);
                return true;
            }
        }
        lease = default;
        return false;
    }

    /// <summary>The decoded span of that number, joined or begun unless it is decoded.</summary>
    public Task<SpanLease> LeaseAsync(int span, CancellationToken cancellationToken)
    {
        SpanEntry entry;
        Task<SpanEntry> completion;
        bool isNew = false;
        (long offset, int length) = (map.UncompressedOffset(span), map.Length(span)); // not under the lock: it may read a file
        lock (cache.Lock)
        {
            ObjectDisposedException.ThrowIf(_isClosed || cache.IsDisposed, typeof(Layer));
            if (Find(span, out int at) is not { } known)
            {
                _entries.Insert(at, entry = new SpanEntry(cache, this, span, offset, length));
                isNew = true;
            }
            else if (known.IsDecoded)
            {
                known.Hold(1);
                cache.Touch(known);
                cache.Counters.Add(Counter.SpanHits);
                return Task.FromResult(new SpanLease(known));
            }
            else
            {
                entry = known;
            }
            entry.Waiters++;
            completion = entry.Completion!.Task;
        }
        cache.Counters.Add(Counter.SpanMisses);
        // Nothing that can fail stands between the entry and its start: who joins an entry that nobody starts waits for ever.
        if (isNew)
        {
            Start(entry);
        }
        return WaitAsync(entry, completion, cancellationToken);
    }

    /// <summary>Begins to decode a span before a reader waits for it, unless it is decoded or under way.</summary>
    public void Begin(int span)
    {
        SpanEntry entry;
        (long offset, int length) = (map.UncompressedOffset(span), map.Length(span));
        lock (cache.Lock)
        {
            if (_isClosed || cache.IsDisposed || Find(span, out int at) is not null)
            {
                return;
            }
            _entries.Insert(at, entry = new SpanEntry(cache, this, span, offset, length));
        }
        Start(entry);
    }

    /// <summary>Drops all spans and ends the work under way.</summary>
    public void Close()
    {
        List<SpanEntry>? running = null;
        lock (cache.Lock)
        {
            _isClosed = true;
            foreach (SpanEntry entry in _entries.ToArray())
            {
                if (entry.IsDecoded)
                {
                    cache.Evict(entry);
                }
                else
                {
                    (running ??= []).Add(entry);
                }
            }
            _entries.Clear();
        }
        running?.ForEach(static entry => entry.Cancellation.Cancel());
    }

    /// <summary>Called by the cache under its lock.</summary>
    public void Forget(SpanEntry entry)
    {
        if (Find(entry.Span, out int at) == entry)
        {
            _entries.RemoveAt(at);
        }
    }

    // Under the lock: the span's entry, and where it is or would have to be.
    private SpanEntry? Find(int span, out int at)
    {
        int low = 0, high = _entries.Count;
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            (low, high) = _entries[middle].Span < span ? (middle + 1, high) : (low, middle);
        }
        at = low;
        return low < _entries.Count && _entries[low].Span == span ? _entries[low] : null;
    }

    // A method of its own: what a lambda captures is allocated where its method begins.
    private void Start(SpanEntry entry) => _ = Task.Run(() => ProduceAsync(entry), CancellationToken.None);

    private async Task<SpanLease> WaitAsync(SpanEntry entry, Task<SpanEntry> completion, CancellationToken cancellationToken)
    {
        cache.BeginWaiting();
        try
        {
            await completion.WaitAsync(cancellationToken).ConfigureAwait(false);
            Taken(entry);
            return new SpanLease(entry);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            Leave(entry);
            throw;
        }
        finally
        {
            cache.EndWaiting();
        }
    }

    private async Task ProduceAsync(SpanEntry entry)
    {
        try
        {
            SpanMemory memory = await decode(entry, entry.Cancellation.Token).ConfigureAwait(false);
            Complete(entry, memory).SetResult(entry);
        }
        catch (Exception e)
        {
            TaskCompletionSource<SpanEntry> completion = Fail(entry);
            // Cancelled: because all have left, or because the layer is gone under those who still wait.
            completion.SetException(e is OperationCanceledException ? new ObjectDisposedException(nameof(Layer)) : e);
            _ = completion.Task.Exception; // seen: nobody may be left to do so
        }
    }

    // Keeps what was decoded, and holds it once for each reader that waits.
    private TaskCompletionSource<SpanEntry> Complete(SpanEntry entry, SpanMemory memory)
    {
        TaskCompletionSource<SpanEntry> completion;
        bool isKept, isWanted;
        lock (cache.Lock)
        {
            completion = End(entry);
            entry.Memory = memory;
            isWanted = entry.Waiters > 0;
            isKept = Find(entry.Span, out _) == entry && !cache.IsDisposed;
            entry.Untaken = entry.Waiters;
            entry.Hold(entry.Waiters);
            if (isKept)
            {
                entry.Hold(1);
                cache.Link(entry);
            }
            else if (!isWanted)
            {
                entry.Hold(1); // released below
            }
            if (!isWanted)
            {
                entry.Reservation.Dispose();
            }
        }
        if (!isKept && !isWanted)
        {
            entry.Release();
        }
        return completion;
    }

    private TaskCompletionSource<SpanEntry> Fail(SpanEntry entry)
    {
        lock (cache.Lock)
        {
            entry.Reservation.Dispose();
            Forget(entry); // the next reader tries again
            return End(entry);
        }
    }

    private static TaskCompletionSource<SpanEntry> End(SpanEntry entry)
    {
        TaskCompletionSource<SpanEntry> completion = entry.Completion!;
        (entry.IsCompleted, entry.Completion) = (true, null);
        return completion;
    }

    private void Taken(SpanEntry entry)
    {
        lock (cache.Lock)
        {
            if (--entry.Untaken == 0)
            {
                entry.Reservation.Dispose();
            }
        }
    }

    // A reader goes away. The last one ends the work.
    private void Leave(SpanEntry entry)
    {
        bool isLast = false, isHeld;
        lock (cache.Lock)
        {
            isHeld = entry.IsCompleted && entry.IsDecoded; // it came while the reader was leaving
            if (!entry.IsCompleted)
            {
                isLast = --entry.Waiters == 0;
                if (isLast)
                {
                    Forget(entry); // nobody can join any more
                }
            }
        }
        if (isHeld)
        {
            Taken(entry);
            entry.Release();
        }
        if (isLast)
        {
            entry.Cancellation.Cancel();
        }
    }
}
