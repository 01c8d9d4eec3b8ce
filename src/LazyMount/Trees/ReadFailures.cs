using Microsoft.Extensions.Logging;

namespace LazyMount.Trees;

/// <summary>
/// A file system can only say EIO; what it knows besides goes to its logger. A command that reads files itself listens
/// here for the cause, so that its message and exit code can tell a dead registry from a bad digest.
/// </summary>
internal sealed class ReadFailures(ILoggerFactory inner) : ILoggerFactory
{
    private Exception? _last;

    /// <summary>The cause logged last, once.</summary>
    public Exception? Take() => Interlocked.Exchange(ref _last, null);

    public ILogger CreateLogger(string categoryName) => new Listener(this, inner.CreateLogger(categoryName));

    public void AddProvider(ILoggerProvider provider) => inner.AddProvider(provider);

    public void Dispose() => inner.Dispose();

    private sealed class Listener(ReadFailures failures, ILogger inner) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => inner.BeginScope(state);

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Warning || inner.IsEnabled(logLevel);

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (exception is not null && logLevel >= LogLevel.Warning)
            {
                failures._last = exception;
            }
            inner.Log(logLevel, eventId, state, exception, formatter);
        }
    }
}
