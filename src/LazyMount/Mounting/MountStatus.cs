using System.Text.Json;
using LazyMount.Blobs.Counting;
using LazyMount.Blobs.Files;

namespace LazyMount.Mounting;

/// <summary>What a mount has done so far, as its worker notes it beside the record, for `list`.</summary>
internal sealed record MountStatus
{
    /// <summary>Bytes that came from registries.</summary>
    public long FetchedBytes { get; init; }

    /// <summary>Bytes that were decoded.</summary>
    public long DecodedBytes { get; init; }

    /// <summary>Bytes that were given to the kernel.</summary>
    public long ServedBytes { get; init; }

    /// <summary>The last failure that somebody who uses the mount has seen; null when there was none.</summary>
    public MountError? LastError { get; init; }

    /// <summary>What a file says; null when there is none, or it cannot be read.</summary>
    public static MountStatus? TryRead(string path)
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(path), DocumentJson.Default.MountStatus);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            return null;
        }
    }

    /// <summary>Writes it so that readers see all of it or what was there before. What cannot be written is not told: the mount does not depend on it.</summary>
    public void Write(string path)
    {
        try
        {
            AtomicFile.Write(path, JsonSerializer.SerializeToUtf8Bytes(this, DocumentJson.Default.MountStatus));
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            // A full disk, or the state directory was removed.
        }
    }
}

/// <summary>A failure that somebody who uses a mount has seen.</summary>
internal sealed record MountError
{
    /// <summary>When it was.</summary>
    public required DateTimeOffset Time { get; init; }

    /// <summary>What could not be read: a path in the image, with question marks for control characters.</summary>
    public required string Path { get; init; }

    /// <summary>Why, as a sentence.</summary>
    public required string Message { get; init; }

    /// <summary>The failure as it is told.</summary>
    public static MountError Of(ServingFailure failure) => new() { Time = failure.Time, Path = $"{failure.Subject}" is ['\'', .. var path, '\''] ? path : $"{failure.Subject}", Message = failure.Reason };
}

/// <summary>
/// Writes the status of a mount while it changes: a moment after something was counted, and not again before the next change. A mount that nobody
/// uses wakes nobody. Thread-safe.
/// </summary>
internal sealed class StatusWriter : IDisposable
{
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);

    private readonly string _path;
    private readonly ServingCounters _counters;
    private readonly Timer _timer;
    private readonly Action _wake;
    private readonly Lock _gate = new();
    private MountStatus? _written; // guarded by _gate
    private bool _isDisposed; // guarded by _gate

    /// <param name="path">The file. The last failure that it tells of is kept.</param>
    /// <param name="counters">What is counted.</param>
    public StatusWriter(string path, ServingCounters counters)
    {
        (_path, _counters) = (path, counters);
        _timer = new Timer(_ => Write(), null, Timeout.Infinite, Timeout.Infinite);
        _wake = () => _timer.Change(s_interval, Timeout.InfiniteTimeSpan);
        Write();
    }

    /// <summary>Writes the status for the last time.</summary>
    public void Dispose()
    {
        Write();
        lock (_gate)
        {
            _isDisposed = true;
        }
        _timer.Dispose();
    }

    private void Write()
    {
        lock (_gate)
        {
            if (_isDisposed)
            {
                return;
            }
            _counters.OnNextChange(_wake); // first: what is counted from now on is written next time
            MountError? last = _counters.LastFailure is { } failure ? MountError.Of(failure) : null;
            // Of the worker before this one, which may have ended just now.
            MountError? before = (last is null ? MountStatus.TryRead(_path) : _written)?.LastError;
            var status = new MountStatus
            {
                FetchedBytes = _counters[Counter.FetchedBytes],
                DecodedBytes = _counters[Counter.DecodedBytes],
                ServedBytes = _counters[Counter.ServedBytes],
                LastError = last ?? before,
            };
            if (status != _written)
            {
                status.Write(_path);
                _written = status;
            }
        }
    }
}
