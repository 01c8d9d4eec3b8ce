using LazyMount.Cli;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Logging.Console;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Output;

/// <summary>Where log lines go: standard error, or the file that stands in for it.</summary>
internal static class Loggers
{
    /// <summary>For a command that answers and ends: silent unless asked, since its failures are its message.</summary>
    public static ILoggerFactory ForCommand(CommandSettings settings)
        => settings.Verbose || settings.LogFile is not null
            ? Create(settings, settings.LogFile is null ? StandardError() : File(Interop.OpenLog(settings.LogFile, truncate: false)), LogLevel.Warning)
            : NullLoggerFactory.Instance;

    /// <summary>For a mount in front: <c>--log-file</c>, else standard error.</summary>
    public static ILoggerFactory ForForeground(CommandSettings settings)
        => Create(settings, settings.LogFile is null ? StandardError() : File(Interop.OpenLog(settings.LogFile, truncate: false)), LogLevel.Information);

    /// <summary>For a daemon whose log file is open already.</summary>
    public static ILoggerFactory ForDaemon(CommandSettings settings, Stream log)
        => Create(settings, new StreamWriter(log) { AutoFlush = true }, LogLevel.Information);

    /// <summary>
    /// The console logger writes to <see cref="Console.Error"/> as it is when the logger is made, so pointing that at the
    /// wanted writer first is all that a log file needs. Our own messages to the user never go through Console. It takes
    /// hold of <see cref="Console.Out"/> as well, which would keep a duplicate of standard output open in the daemon, and
    /// with it a shell waiting that reads our output.
    /// </summary>
    private static ILoggerFactory Create(CommandSettings settings, TextWriter target, LogLevel level)
    {
        Console.SetError(target);
        Console.SetOut(TextWriter.Null);
        return LoggerFactory.Create(builder =>
        {
            builder.SetMinimumLevel(settings.Verbose ? LogLevel.Debug : level);
            builder.AddConsole(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
            if (settings.LogFormat == LogFormat.Json)
            {
                builder.AddJsonConsole(json => (json.TimestampFormat, json.UseUtcTimestamp) = ("yyyy-MM-ddTHH:mm:ss.fffZ", true));
            }
            else
            {
                builder.AddSimpleConsole(text => (text.TimestampFormat, text.UseUtcTimestamp, text.SingleLine, text.ColorBehavior)
                    = ("yyyy-MM-ddTHH:mm:ss.fffZ ", true, true, LoggerColorBehavior.Disabled));
            }
        });
    }

    private static StreamWriter StandardError() => new(new StandardStream(Interop.StandardError)) { AutoFlush = true };

    private static StreamWriter File(SafeFileHandle file) => new(new StandardStream(file)) { AutoFlush = true };
}
