namespace LazyMount.Layers;

/// <summary>
/// Bounds the memory of spans that are being fetched and decoded. Work begins when its bytes fit beside those of the work under
/// way, in the order in which it asked. Work that is larger than the whole bound runs alone. Thread-safe.
/// </summary>
/// <param name="capacity">Bytes.</param>
internal sealed class SpanBudget(long capacity)
{
    private readonly Lock _lock = new();
    private readonly LinkedList<Waiter> _waiters = [];
    private long _taken;

    private sealed record Waiter(long Bytes, TaskCompletionSource Granted);

    /// <summary>Bytes that are reserved.</summary>
    public long Taken => Volatile.Read(ref _taken);

    /// <summary>Waits until the bytes fit.</summary>
    public async ValueTask<SpanReservation> ReserveAsync(long bytes, CancellationToken cancellationToken)
    {
        LinkedListNode<Waiter> place;
        lock (_lock)
        {
            if (_waiters.Count == 0 && Fits(bytes))
            {
                _taken += bytes;
                return new SpanReservation(this, bytes);
            }
            place = _waiters.AddLast(new Waiter(bytes, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)));
        }
        try
        {
            await place.Value.Granted.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
            return new SpanReservation(this, bytes);
        }
        catch (OperationCanceledException)
        {
            lock (_lock)
            {
                if (place.List is null)
                {
                    _taken -= bytes; // granted meanwhile
                }
                else
                {
                    _waiters.Remove(place);
                }
                Grant();
            }
            throw;
        }
    }

    internal void Release(long bytes)
    {
        lock (_lock)
        {
            _taken -= bytes;
            Grant();
        }
    }

    private bool Fits(long bytes) => _taken == 0 || _taken + bytes <= capacity;

    private void Grant()
    {
        while (_waiters.First is { } first && Fits(first.Value.Bytes))
        {
            _taken += first.Value.Bytes;
            _waiters.RemoveFirst();
            first.Value.Granted.SetResult();
        }
    }
}

/// <summary>Bytes of a <see cref="SpanBudget"/>, given back once. The default value holds none.</summary>
internal readonly struct SpanReservation(SpanBudget budget, long bytes) : IDisposable
{
    public void Dispose() => budget?.Release(bytes);
}
