using System.Globalization;
using Microsoft.Extensions.Logging;

namespace LazyMount.Mounting;

/// <summary>
/// Keeps the log of a mount short, which may serve for months and lose its registry for days. A failure is one line, without the stack
/// unless that is wanted. What fails again for the same cause within a minute is counted, and the count is logged with the last one.
/// </summary>
/// <param name="inner">Where the lines go. Owned.</param>
/// <param name="withStacks">Log the stacks of exceptions too (<c>-v</c>).</param>
/// <param name="time">For tests.</param>
internal sealed class ConciseLogs(ILoggerFactory inner, bool withStacks, TimeProvider? time = null) : ILoggerFactory
{
    /// <summary>A cause is logged once in this time.</summary>
    public static readonly TimeSpan Interval = TimeSpan.FromMinutes(1);

    /// <summary>Causes that are told apart; further ones count as one.</summary>
    private const int MaxCauses = 100;

    private readonly TimeProvider _time = time ?? TimeProvider.System;
    private readonly Lock _gate = new();
    private readonly Dictionary<(string Category, int Event, string Cause), Repeated> _causes = []; // guarded by _gate
    private ITimer? _timer; // guarded by _gate; runs while something is counted

    public ILogger CreateLogger(string categoryName) => new ConciseLogger(this, inner.CreateLogger(categoryName), categoryName);

    public void AddProvider(ILoggerProvider provider) => inner.AddProvider(provider);

    public void Dispose()
    {
        lock (_gate)
        {
            _timer?.Dispose();
            Tell(all: true);
        }
        inner.Dispose();
    }

    // True when the event is to be logged now; else it is counted, and `last` will log it with the count.
    private bool IsNew((string Category, int Event, string Cause) cause, Action<string> last)
    {
        lock (_gate)
        {
            if (!_causes.ContainsKey(cause) && _causes.Count >= MaxCauses)
            {
                Tell(all: false);
                cause = _causes.Count >= MaxCauses ? (cause.Category, cause.Event, "") : cause;
            }
            if (!_causes.TryGetValue(cause, out Repeated? repeated))
            {
                _causes.Add(cause, new Repeated { Since = _time.GetTimestamp() });
                return true;
            }
            if (repeated.Count == 0 && _time.GetElapsedTime(repeated.Since) >= Interval)
            {
                repeated.Since = _time.GetTimestamp();
                return true;
            }
            repeated.Count++;
            repeated.Last = last;
            _timer ??= _time.CreateTimer(_ => TellInTime(), null, Interval, Interval);
            return false;
        }
    }

    private void TellInTime()
    {
        lock (_gate)
        {
            Tell(all: false);
            if (!_causes.Values.Any(repeated => repeated.Count > 0))
            {
                _timer?.Dispose();
                _timer = null;
            }
        }
    }

    // Logs the counts of causes whose time is over, and forgets causes that did not come again.
    private void Tell(bool all)
    {
        foreach ((var cause, Repeated repeated) in _causes.ToArray())
        {
            if (!all && _time.GetElapsedTime(repeated.Since) < Interval)
            {
                continue;
            }
            if (repeated.Count == 0)
            {
                _causes.Remove(cause);
                continue;
            }
            repeated.Last!(string.Create(CultureInfo.InvariantCulture, $" (the last of {repeated.Count} more with this cause)"));
            (repeated.Since, repeated.Count, repeated.Last) = (_time.GetTimestamp(), 0, null);
        }
    }

    private sealed class Repeated
    {
        public long Since;
        public int Count;
        public Action<string>? Last;
    }

    private sealed class ConciseLogger(ConciseLogs logs, ILogger inner, string category) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => inner.BeginScope(state);

        public bool IsEnabled(LogLevel logLevel) => inner.IsEnabled(logLevel);

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            Exception? shown = logs.WithStacks ? exception : null;
            string Text(TState told, Exception? _) => formatter(told, exception);
            if (logLevel is < LogLevel.Warning or LogLevel.Critical
                || logs.IsNew(
                    (category, eventId.Id, exception?.GetBaseException().Message ?? formatter(state, null)),
                    count => inner.Log(logLevel, eventId, state, shown, (told, _) => Text(told, exception) + count)))
            {
                inner.Log(logLevel, eventId, state, shown, Text);
            }
        }
    }

    private bool WithStacks => withStacks;
}
