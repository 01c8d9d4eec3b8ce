using LazyMount.Cli;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
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
        => Create(settings, log, LogLevel.Information);

    // The formats are those of the console logger. The logger itself is ours: that one writes to Console, of which there is one a process.
    private static ILoggerFactory Create(CommandSettings settings, Stream target, LogLevel level) => LoggerFactory.Create(builder =>
    {
        builder.SetMinimumLevel(settings.Verbose ? LogLevel.Debug : level);
        if (settings.LogFormat == LogFormat.Json)
        {
            builder.AddJsonConsole(json => (json.TimestampFormat, json.UseUtcTimestamp) = ("yyyy-MM-ddTHH:mm:ss.fffZ", true));
        }
        else
        {
            builder.AddSimpleConsole(text => (text.TimestampFormat, text.UseUtcTimestamp, text.SingleLine, text.ColorBehavior)
                = ("yyyy-MM-ddTHH:mm:ss.fffZ ", true, true, LoggerColorBehavior.Disabled));
        }
        string format = settings.LogFormat == LogFormat.Json ? ConsoleFormatterNames.Json : ConsoleFormatterNames.Simple;
        builder.Services.RemoveAll<ILoggerProvider>();
        builder.Services.AddSingleton<ILoggerProvider>(services
            => new LineLoggerProvider(services.GetServices<ConsoleFormatter>().Single(formatter => formatter.Name == format), new MessageWriter(target, isTerminal: false)));
    });

    private static StandardStream StandardError() => new(Interop.StandardError) { DropsWhatFails = true };

    private static StandardStream File(SafeFileHandle file) => new(file) { DropsWhatFails = true };
}
