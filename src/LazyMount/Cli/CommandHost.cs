using LazyMount.Blobs.Images;
using LazyMount.Images;
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

    /// <summary>Somebody watches standard error, so progress is shown.</summary>
    public bool ErrorIsTerminal { get; init; }

    /// <summary>Null in tests: nothing interrupts them.</summary>
    public TerminationSignals? Signals { get; init; }

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
        var progress = new IndexingProgress(Error, ErrorIsTerminal);
        return progress.ShowWhile(OpenedImage.OpenAsync(reference, settings.ToOpening(), progress, loggers, cancellationToken));
    }

    /// <summary>Prints a failure that does not end the command, such as one of several paths; returns its exit code.</summary>
    public int Report(Exception exception, CommandSettings settings)
    {
        // In order with what has been written to a terminal so far.
        Output.Flush();
        Error.WriteLine(Failure.Describe(exception, settings.Verbose));
        return Failure.ExitCodeOf(exception);
    }
}
