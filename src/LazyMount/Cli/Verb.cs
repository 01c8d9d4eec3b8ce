using System.CommandLine;

namespace LazyMount.Cli;

/// <summary>One command of ours. Its help is made from what stands here, and so are its manual page and its completions.</summary>
/// <param name="name">The word that is typed.</param>
/// <param name="description">What it does. The first sentence, a verb phrase of one line, is its summary.</param>
/// <param name="examples">Command lines, one a line.</param>
internal sealed class Verb(string name, string description, string examples) : Command(name, description)
{
    /// <summary>What it does, in one line.</summary>
    public string Summary { get; } = description.Split(". ")[0].TrimEnd('.') + ".";

    /// <summary>What does not fit the summary.</summary>
    public string Details { get; } = description.Contains(". ", StringComparison.Ordinal) ? description[(description.IndexOf(". ", StringComparison.Ordinal) + 2)..] : "";

    /// <summary>Lines shown under "Examples:".</summary>
    public string Examples { get; } = examples;

    /// <summary>What the command exits with when what was asked for failed. Another one than <see cref="ExitCode.Failed"/> where 1 is an answer, as in diff(1).</summary>
    public int ExitCodeOfFailure { get; set; } = ExitCode.Failed;

    /// <summary>The command that this is another name of; null for most.</summary>
    public string? StandsFor { get; set; }

    /// <summary>What follows the name in the usage line, where that cannot be made from options and arguments; else null.</summary>
    public string? Usage { get; init; }

    /// <summary>As a command is typed: "lazymount index push".</summary>
    public static string FullNameOf(Command command)
        => command.Parents.OfType<Command>().FirstOrDefault() is { } parent ? $"{FullNameOf(parent)} {command.Name}" : command.Name;

    /// <summary>Sets the action: it returns the exit code or throws what <see cref="Failure"/> puts into words.</summary>
    public void Run(CommandHost host, Func<ParseResult, CommandSettings, CancellationToken, Task<int>> action)
        => SetAction((parsed, cancellationToken) =>
        {
            OpenSslLibrary.EnsureThere();
            CommandSettings settings = host.Options.Read(parsed);
            return action(parsed, settings with { Registries = settings.Registries with { Note = host.Note } }, cancellationToken);
        });

    /// <summary>The PATH argument of those that take several.</summary>
    public static Argument<string[]> PathsArgument() => new("PATH")
    {
        Description = "Path inside the image; relative ones start at its root",
        Arity = ArgumentArity.OneOrMore,
    };
}
