using System.Diagnostics;
using LazyMount.Blobs.Images;

namespace LazyMount.Indexes.Published;

/// <summary>
/// The patience with questions that an image can do without: which indexes others published for its layers. All questions of an image
/// together may take so long: the time in which at least one waits for its first byte counts. When it is used up no more are asked. An
/// index that has begun to come goes on while that is cheaper than its layer. Thread-safe.
/// </summary>
internal sealed class OptionalQuestions(TimeSpan patience)
{
    /// <summary>How long an image that is opened waits for the first byte of an answer.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    // Bytes a second at which a layer is expected to come. An index has less than a fiftieth of its layer's bytes: on a slow link it
    // is given up at some 20 KB/s for each MB/s that the layer would have.
    private const double LayerRate = 1 << 20;

    private readonly Lock _lock = new();
    private TimeSpan _used; // in the times when a question waited that are over
    private int _waiting;
    private long _waitingSince; // Stopwatch timestamp

    /// <summary>For commands whose purpose are the answers.</summary>
    public static OptionalQuestions Patient => new(Timeout.InfiniteTimeSpan);

    /// <summary>Asks, unless earlier questions used up the patience.</summary>
    /// <param name="question">A request whose answer is small, or whose first byte it returns.</param>
    /// <param name="cancellationToken">The caller's.</param>
    /// <exception cref="ImageException">There is no answer in time, or the question failed.</exception>
    public async Task<T> AskAsync<T>(Func<CancellationToken, Task<T>> question, CancellationToken cancellationToken)
    {
        TimeSpan left = Begin();
        try
        {
            if (left <= TimeSpan.Zero && patience != Timeout.InfiniteTimeSpan)
                throw Unanswered();
            using var patient = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            patient.CancelAfter(left);
            return await question(patient.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            lock (_lock)
                _used = patience;
            throw Unanswered();
        }
        finally
        {
            End();
        }
    }

    // The patience that is left.
    private TimeSpan Begin()
    {
        lock (_lock)
        {
            if (_waiting++ == 0)
                _waitingSince = Stopwatch.GetTimestamp();
            return patience == Timeout.InfiniteTimeSpan ? patience : patience - _used - Stopwatch.GetElapsedTime(_waitingSince);
        }
    }

    private void End()
    {
        lock (_lock)
        {
            if (--_waiting == 0)
                _used += Stopwatch.GetElapsedTime(_waitingSince);
        }
    }

    /// <summary>Reads a whole index.</summary>
    /// <param name="open">Opens its bytes.</param>
    /// <param name="destination">Filled.</param>
    /// <param name="layerSize">Bytes of the layer that would be read in its place.</param>
    /// <param name="cancellationToken">The caller's.</param>
    /// <exception cref="ImageException">It does not begin in time, comes too slowly, or cannot be had.</exception>
    public async Task ReadAsync(Func<CancellationToken, Task<Stream>> open, Memory<byte> destination, long layerSize, CancellationToken cancellationToken)
    {
        using var given = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        (Stream stream, int filled) = await AskAsync(
            async token =>
            {
                // The first byte belongs to the question. What is opened goes on after it, so it is not opened with this token.
                CancellationTokenRegistration registration = token.Register(given.Cancel);
                Stream? opened = null;
                try
                {
                    opened = await open(given.Token).ConfigureAwait(false);
                    int first = await opened.ReadAsync(destination, given.Token).ConfigureAwait(false);
                    await registration.DisposeAsync().ConfigureAwait(false); // from here on the patience cancels nothing
                    given.Token.ThrowIfCancellationRequested();
                    return (opened, first);
                }
                catch
                {
                    await registration.DisposeAsync().ConfigureAwait(false);
                    if (opened is not null)
                        await opened.DisposeAsync().ConfigureAwait(false);
                    throw;
                }
            },
            cancellationToken).ConfigureAwait(false);
        await using (stream.ConfigureAwait(false))
        {
            var pace = new Pace(patience, destination.Length, filled, layerSize);
            while (filled < destination.Length)
            {
                Task<int> reading = stream.ReadAsync(destination[filled..], given.Token).AsTask();
                while (await Task.WhenAny(reading, pace.WindowEnd).ConfigureAwait(false) != reading)
                {
                    if (!pace.IsWorthwhile(filled))
                    {
                        await given.CancelAsync().ConfigureAwait(false);
                        await reading.ContinueWith(static _ => { }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default).ConfigureAwait(false);
                        throw new ImageException(ImageError.Unreachable, $"it arrives too slowly ({filled} of {destination.Length} bytes so far), so its layer is read instead");
                    }
                }
                int read = await reading.ConfigureAwait(false);
                if (read == 0)
                    throw new ImageException(ImageError.Unreachable, $"it ends after {filled} of {destination.Length} bytes");
                filled += read;
            }
        }
    }

    private ImageException Unanswered() => new(ImageError.Unreachable, $"there is no answer within {patience.TotalSeconds:0.###} s, the limit for optional requests");

    // Looks at the end of each window of time whether the rest comes soon enough at the rate of that window.
    private sealed class Pace(TimeSpan window, long size, int filled, long layerSize)
    {
        private readonly double _allowed = Math.Max(window.TotalSeconds, layerSize / LayerRate);
        private int _before = filled;
        private long _began = Stopwatch.GetTimestamp();

        public Task WindowEnd { get; private set; } = Task.Delay(window);

        public bool IsWorthwhile(int now)
        {
            double rate = (now - _before) / Stopwatch.GetElapsedTime(_began).TotalSeconds;
            (_before, _began, WindowEnd) = (now, Stopwatch.GetTimestamp(), Task.Delay(window));
            return window == Timeout.InfiniteTimeSpan || (size - now) / rate <= _allowed;
        }
    }
}
