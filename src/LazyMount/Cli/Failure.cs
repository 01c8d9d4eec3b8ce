using System.Text;
using LazyMount.Blobs.Images;
using LazyMount.Fuse;
using LazyMount.Output;

namespace LazyMount.Cli;

/// <summary>What the command answers to the shell.</summary>
internal static class ExitCode
{
    public const int Done = 0;

    /// <summary>The thing asked for failed: not found, I/O, verification.</summary>
    public const int Failed = 1;

    /// <summary>Bad option, bad reference.</summary>
    public const int Usage = 2;

    /// <summary>The source cannot be reached or may not be read.</summary>
    public const int Source = 3;

    /// <summary>Ended by a signal: 128 plus its number, as shells have it. The program then dies of that signal.</summary>
    public static int OfSignal(int signal) => 128 + signal;

    /// <summary>The number of the signal that an exit code stands for, or null.</summary>
    public static int? SignalOf(int exitCode) => exitCode > 128 ? exitCode - 128 : null;
}

/// <summary>The command line asks for something that cannot be meant; one sentence.</summary>
internal sealed class UsageException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>The thing asked for failed; one sentence.</summary>
internal sealed class CommandException(string message, int exitCode = ExitCode.Failed, Exception? inner = null) : Exception(message, inner)
{
    public int ExitCode { get; } = exitCode;
}

/// <summary>The one place where exceptions become a sentence and an exit code.</summary>
internal static class Failure
{
    public static int ExitCodeOf(Exception exception) => exception switch
    {
        UsageException => ExitCode.Usage,
        CommandException e => e.ExitCode,
        ImageException { Error: ImageError.Unreachable or ImageError.Denied } or TimeoutException => ExitCode.Source,
        _ => ExitCode.Failed,
    };

    /// <summary>Its message is a sentence for the user. Anything else is a bug of ours.</summary>
    public static bool IsExpected(Exception exception)
        => exception is UsageException or CommandException or ImageException or FuseException or IOException or UnauthorizedAccessException || IsWantOfMemory(exception);

    // Also of a task whose thread could not be started.
    private static bool IsWantOfMemory(Exception exception) => exception is OutOfMemoryException or TaskSchedulerException { InnerException: OutOfMemoryException };

    private static string MessageOf(Exception exception) => exception switch
    {
        IOException { HResult: Interop.EMFILE } => "the process has too many files open; raise the limit with ulimit -n",
        _ when IsWantOfMemory(exception) => "there is not enough memory; free some, or raise the limit with ulimit -v",
        _ => exception.Message,
    };

    /// <summary>The sentence, and with <paramref name="verbose"/> what caused it, one cause a line.</summary>
    public static string Describe(Exception exception, bool verbose)
    {
        bool expected = IsExpected(exception);
        var text = new StringBuilder("lazymount: ");
        text.Append(CommandOutput.Displayable(expected
            ? MessageOf(exception)
            : $"unexpected {exception.GetType().Name}: {exception.Message}; this is a bug in lazymount, please report it with what -v shows"));
        if (!verbose)
        {
            return text.ToString();
        }
        if (!expected)
        {
            return text.Append('\n').Append(exception).ToString();
        }
        for (Exception? cause = exception.InnerException; cause is not null; cause = cause.InnerException)
        {
            text.Append("\n  because: ").Append(CommandOutput.Displayable(cause.Message)).Append(" (").Append(cause.GetType().Name).Append(')');
        }
        return text.ToString();
    }
}
