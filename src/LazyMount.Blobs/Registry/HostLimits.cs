using System.Collections.Concurrent;
using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs.Registry;

/// <summary>How hard one host is asked: so many blobs at once, and not at all for one that it wants to be left alone about. Thread-safe.</summary>
internal sealed class HostLimits : IDisposable
{
    /// <summary>
    /// Blob bodies that are read at once. Manifests and tokens are not counted: they must not wait behind layers. Twelve layers that are
    /// indexed at once may have four requests each.
    /// </summary>
    private const int MaxBodies = 32;

    private readonly SemaphoreSlim _bodies = new(MaxBodies);
    private readonly ConcurrentDictionary<Digest, long> _quiet = new(); // until that Environment.TickCount64

    /// <summary>A place among the bodies that are read at once, not taken yet.</summary>
    public BodyPlace NewPlace() => new(_bodies);

    /// <summary>
    /// The host asks to be left alone for a time. Only requests for the same blob wait: what was refused may have been for something that the
    /// image can do without.
    /// </summary>
    public void LeaveAlone(Digest blob, TimeSpan time)
    {
        long until = Environment.TickCount64 + (long)time.TotalMilliseconds;
        _quiet.AddOrUpdate(blob, until, (_, known) => Math.Max(known, until));
    }

    /// <summary>Waits until the host may be asked for a blob again.</summary>
    public Task WaitAsync(Digest? blob, CancellationToken cancellationToken)
    {
        if (blob is not { } digest || !_quiet.TryGetValue(digest, out long until))
            return Task.CompletedTask;
        long left = until - Environment.TickCount64;
        if (left > 0)
            return Task.Delay((int)Math.Min(left + Random.Shared.Next(100), int.MaxValue), cancellationToken);
        _quiet.TryRemove(KeyValuePair.Create(digest, until));
        return Task.CompletedTask;
    }

    public void Dispose() => _bodies.Dispose();
}

/// <summary>One of the places among the bodies that are read at once from a host. Who waits to try again gives it back meanwhile.</summary>
internal sealed class BodyPlace(SemaphoreSlim bodies)
{
    private int _isTaken;

    /// <summary>Waits for it, unless it is taken already.</summary>
    public async ValueTask TakeAsync(CancellationToken cancellationToken)
    {
        if (Volatile.Read(ref _isTaken) == 1)
            return;
        await bodies.WaitAsync(cancellationToken).ConfigureAwait(false);
        Volatile.Write(ref _isTaken, 1);
    }

    /// <summary>Gives it back, if it is taken.</summary>
    public void Release()
    {
        if (Interlocked.Exchange(ref _isTaken, 0) == 0)
            return;
        try
        {
            bodies.Release();
        }
        catch (ObjectDisposedException)
        {
            // The source is gone, and nobody waits any more.
        }
    }
}
