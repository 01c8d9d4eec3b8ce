using System.CommandLine;
using LazyMount.Output;

namespace LazyMount.Cli;

/// <summary>The option <c>--color</c> of commands that write names in colours.</summary>
internal static class ColorOption
{
    public static Option<string?> Create() => new("--color")
    {
        Description = "Write names in the colours of LS_COLORS: auto is on a terminal, unless NO_COLOR is set [auto]",
        HelpName = "auto|always|never",
    };

    /// <summary>The colours to write names in; null for none.</summary>
    public static LsColors? Read(ParseResult parsed, Option<string?> option, CommandOutput output) => parsed.GetValue(option) switch
    {
        "always" => LsColors.OfEnvironment(),
        "never" => null,
        "auto" or null => output.IsTerminal && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR")) && Environment.GetEnvironmentVariable("TERM") is not ("dumb" or "" or null)
            ? LsColors.OfEnvironment()
            : null,
        string other => throw new UsageException($"--color '{other}' is none of auto, always and never"),
    };
}
