using LazyMount.Blobs.Images;
using LazyMount.Images;
using LazyMount.Keeping;
using LazyMount.Output;
using Microsoft.Extensions.Logging;

namespace LazyMount.Cli;

/// <summary>What a command talks to: one per process, or per test.</summary>
internal sealed class CommandHost
{
    private readonly HashSet<string> _notes = [];

    /// <summary>The arguments as given, for the daemon to be given again.</summary>
    public required IReadOnlyList<string> Arguments { get; init; }

    /// <summary>Standard output: what was asked for, nothing else.</summary>
    public required CommandOutput Output { get; init; }

    /// <summary>Standard error: messages and progress.</summary>
    public required TextWriter Error { get; init; }

    /// <summary>The terminal that standard error is: somebody watches, so progress is shown. Else null.</summary>
    public Terminal? ErrorTerminal { get; init; }

    /// <summary>The same with other arguments.</summary>
    public CommandHost With(IReadOnlyList<string> arguments)
        => new() { Arguments = arguments, Output = Output, Error = Error, ErrorTerminal = ErrorTerminal, Signals = Signals };

    /// <summary>Columns that help is wrapped to: the terminal's, within what is easy to read.</summary>
    public int HelpWidth => Math.Clamp(Output.Width ?? Terminal.UsualWidth, 40, 100);

    /// <summary>Null in tests: nothing interrupts them.</summary>
    public TerminationSignals? Signals { get; init; }

    /// <summary>The keeper of the mount that this process serves; null for every other process.</summary>
    public KeeperLink? Keeper { get; init; }

    /// <summary>The options that every command has.</summary>
    public GlobalOptions Options { get; } = new();

    /// <summary>Tells the user something in one line, once, though nothing failed.</summary>
    public void Note(string sentence)
    {
        lock (_notes)
        {
            if (_notes.Add(sentence))
            {
                Error.WriteLine($"lazymount: {CommandOutput.Displayable(sentence)}");
            }
        }
    }

    /// <summary>Opens an image for a command: notes go to standard error, progress to the terminal there.</summary>
    public Task<OpenedImage> OpenImageAsync(ImageReference reference, CommandSettings settings, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        var progress = new IndexingProgress(Error, ErrorTerminal);
        return progress.ShowWhile(OpenedImage.OpenAsync(reference, settings.ToOpening(), progress, loggers, cancellationToken));
    }

    /// <summary>Gets the indexes of all layers of an image for a command, with progress on the terminal.</summary>
    public Task<IndexedImage> OpenIndexedAsync(ImageReference reference, CommandSettings settings, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        var progress = new IndexingProgress(Error, ErrorTerminal);
        return progress.ShowWhile(IndexedImage.OpenAsync(reference, settings.ToOpening(), progress, loggers, cancellationToken));
    }

    /// <summary>Waits for work, and shows its progress where somebody watches.</summary>
    public Task ShowWhileAsync(TransferProgress progress, Task work) => ErrorTerminal is { } terminal ? progress.ShowWhile(work, Error, terminal) : work;

    /// <summary>Prints a failure that does not end the command, such as one of several paths; returns its exit code.</summary>
    public int Report(Exception exception, CommandSettings settings)
    {
        // In order with what has been written to a terminal so far.
        Output.Flush();
        Error.WriteLine(Failure.Describe(exception, settings.Verbose));
        return Failure.ExitCodeOf(exception);
    }
}
