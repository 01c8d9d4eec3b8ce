using System.Diagnostics;

namespace LazyMount.Blobs.Registry;

/// <summary>
/// Whether a body comes fast enough: each time that a reader has waited <see cref="RegistryTimeouts.PaceWindow"/> in all, at least
/// <see cref="RegistryTimeouts.PaceBytes"/> must have come. A peer that gives a byte now and then never stalls, and would hold a
/// read(2) for ever. Only time spent waiting for the peer counts, not a reader's pauses.
/// </summary>
internal sealed class BodyPace(RegistryTimeouts timeouts)
{
    private TimeSpan _waited;
    private long _bytes;

    /// <summary>Counts one read. False when the body is too slow.</summary>
    /// <param name="began">A <see cref="Stopwatch"/> timestamp.</param>
    /// <param name="bytes">Bytes that came.</param>
    public bool Count(long began, int bytes)
    {
        _waited += Stopwatch.GetElapsedTime(began);
        _bytes += bytes;
        if (_waited < timeouts.PaceWindow)
            return true;
        bool isFast = _bytes >= timeouts.PaceBytes;
        (_waited, _bytes) = (TimeSpan.Zero, 0);
        return isFast;
    }
}
