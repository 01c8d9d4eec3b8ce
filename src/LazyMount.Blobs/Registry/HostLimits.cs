namespace LazyMount.Blobs.Registry;

/// <summary>How hard one host is asked: so many blobs at once, and not at all while it wants to be left alone. Thread-safe.</summary>
internal sealed class HostLimits : IDisposable
{
    /// <summary>
    /// Blob bodies that are read at once. Manifests and tokens are not counted: they must not wait behind layers. Twelve layers that are
    /// indexed at once may have four requests each.
    /// </summary>
    private const int MaxBodies = 32;

    private readonly SemaphoreSlim _bodies = new(MaxBodies);
    private long _quietUntil; // Environment.TickCount64

    /// <summary>Waits for a place among the bodies that are read at once; disposing gives it back.</summary>
    public async ValueTask<IDisposable> TakePlaceAsync(CancellationToken cancellationToken)
    {
        await _bodies.WaitAsync(cancellationToken).ConfigureAwait(false);
        return new Place(_bodies);
    }

    /// <summary>The host asks to be left alone for a time.</summary>
    public void LeaveAlone(TimeSpan time)
    {
        long until = Environment.TickCount64 + (long)time.TotalMilliseconds;
        for (long known = Volatile.Read(ref _quietUntil); known < until;)
        {
            long seen = Interlocked.CompareExchange(ref _quietUntil, until, known);
            if (seen == known)
                return;
            known = seen;
        }
    }

    /// <summary>Waits until the host may be asked again.</summary>
    public Task WaitAsync(CancellationToken cancellationToken)
    {
        long left = Volatile.Read(ref _quietUntil) - Environment.TickCount64;
        return left <= 0 ? Task.CompletedTask : Task.Delay((int)Math.Min(left + Random.Shared.Next(100), int.MaxValue), cancellationToken);
    }

    public void Dispose() => _bodies.Dispose();

    private sealed class Place(SemaphoreSlim bodies) : IDisposable
    {
        private SemaphoreSlim? _bodies = bodies;

        public void Dispose()
        {
            try
            {
                Interlocked.Exchange(ref _bodies, null)?.Release();
            }
            catch (ObjectDisposedException)
            {
                // The source is gone, and nobody waits any more.
            }
        }
    }
}
