using System.CommandLine;
using System.Globalization;
using LazyMount.Cli;

namespace LazyMount.Commands;

/// <summary>`lazymount manual DIR`, which is hidden: writes the manual pages and completion scripts that packages contain.</summary>
internal static class ManualCommand
{
    public static Command Create(CommandHost host, Command root, IReadOnlyList<CommandGroup> groups)
    {
        var directory = new Argument<string>("DIR");
        var date = new Option<string?>("--date") { HelpName = "YYYY-MM-DD" };
        var verb = new Verb("manual", "Write manual pages and completion scripts into a directory.", "") { directory, date };
        verb.Hidden = true;
        verb.SetAction(parsed =>
        {
            string target = parsed.GetRequiredValue(directory);
            DateOnly day = parsed.GetValue(date) is { } text ? DateOnly.ParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture) : DateOnly.FromDateTime(DateTime.UtcNow);
            foreach ((string file, string page) in new Manual(root, groups, CommandLine.Version, day).Pages())
            {
                Write(Path.Combine(target, "man", $"man{file[^1]}", file), page);
            }
            Write(Path.Combine(target, "completions", "bash", "lazymount"), CompletionScripts.Of("bash")!);
            Write(Path.Combine(target, "completions", "zsh", "_lazymount"), CompletionScripts.Of("zsh")!);
            Write(Path.Combine(target, "completions", "fish", "lazymount.fish"), CompletionScripts.Of("fish")!);
            return ExitCode.Done;
        });
        return verb;
    }

    private static void Write(string path, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text.EndsWith('\n') ? text : text + "\n");
    }
}
