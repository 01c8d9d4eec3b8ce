using System.Globalization;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Logging.Console;

namespace LazyMount.Output;

/// <summary>Writes log events to one writer, each whole. An event that cannot be written is lost: what is logged goes on.</summary>
/// <param name="formatter">Makes text of an event.</param>
/// <param name="target">Where to. One event at a time is written.</param>
internal sealed class LineLoggerProvider(ConsoleFormatter formatter, TextWriter target) : ILoggerProvider
{
    private readonly Lock _writing = new();

    public ILogger CreateLogger(string categoryName) => new LineLogger(this, categoryName);

    public void Dispose()
    {
    }

    private void Write<TState>(in LogEntry<TState> entry)
    {
        using var text = new StringWriter(CultureInfo.InvariantCulture);
        formatter.Write(entry, null, text);
        lock (_writing)
        {
            try
            {
                target.Write(text.ToString());
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // The disk is full, or the reader of the pipe is gone.
            }
        }
    }

    private sealed class LineLogger(LineLoggerProvider provider, string category) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel != LogLevel.None;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
            => provider.Write(new LogEntry<TState>(logLevel, category, eventId, state, exception, formatter));
    }
}
