using System.CommandLine;

namespace LazyMount.Cli;

/// <summary>One command of ours: its help ends with examples, its action gets the common options read.</summary>
internal sealed class Verb(string name, string description, string examples) : Command(name, description)
{
    /// <summary>Lines shown under "Examples:".</summary>
    public string Examples { get; } = examples;

    /// <summary>What the command exits with when what was asked for failed. Another one than <see cref="ExitCode.Failed"/> where 1 is an answer, as in diff(1).</summary>
    public int ExitCodeOfFailure { get; set; } = ExitCode.Failed;

    /// <summary>As it is typed: "lazymount index push".</summary>
    public string FullName => (Parents.FirstOrDefault() is Verb parent ? parent.FullName : "lazymount") + " " + Name;

    /// <summary>Sets the action: it returns the exit code or throws what <see cref="Failure"/> puts into words.</summary>
    public void Run(CommandHost host, Func<ParseResult, CommandSettings, CancellationToken, Task<int>> action)
        => SetAction((parsed, cancellationToken) =>
        {
            CommandSettings settings = host.Options.Read(parsed);
            return action(parsed, settings with { Registries = settings.Registries with { Note = host.Note } }, cancellationToken);
        });

    /// <summary>The PATH argument of those that take several.</summary>
    public static Argument<string[]> PathsArgument() => new("PATH")
    {
        Description = "Path inside the image; relative ones start at its root",
        Arity = ArgumentArity.OneOrMore,
    };

    public static Option<bool> JsonOption(string shape) => new("--json") { Description = $"Write JSON: {shape}" };
}
