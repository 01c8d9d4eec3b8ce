using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace LazyMount.Tests.Blobs;

/// <summary>Keeps what is logged, a line each, with its exception if it has one.</summary>
internal sealed class RecordingLoggers : ILoggerFactory, ILogger
{
    public ConcurrentQueue<string> Lines { get; } = [];

    public ILogger CreateLogger(string categoryName) => this;

    public void AddProvider(ILoggerProvider provider)
    {
    }

    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        => Lines.Enqueue(formatter(state, exception) + (exception is null ? "" : "\n" + exception));

    public void Dispose()
    {
    }
}
