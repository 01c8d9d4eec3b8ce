using System.CommandLine;
using LazyMount.Output;

namespace LazyMount.Cli;

/// <summary>Help as text, made from the definitions of commands and options, and wrapped to a width.</summary>
internal static class HelpText
{
    private const int Indent = 2, WidestTerm = 30, LeastWidth = 40;

    /// <summary>The first screen: what there is, in groups, and where to read on. Fits 80 by 24.</summary>
    public static void WriteOverview(TextWriter output, IReadOnlyList<CommandGroup> groups, int width)
    {
        output.WriteLine("Show container images as read-only folders. Files are fetched when read.");
        output.WriteLine();
        output.WriteLine("Usage: lazymount COMMAND [OPTION...] [ARGUMENT...]");
        output.WriteLine();
        WriteTerms(output, [.. groups.Select(group => (group.Title, string.Join(", ", Shown(group.Commands).Select(command => command.Name))))], width);
        output.WriteLine();
        output.WriteLine("Examples:");
        output.WriteLine("  lazymount mount debian:12 /mnt       show an image as the folder /mnt");
        output.WriteLine("  lazymount ls -l debian:12 /etc       list a directory without a mount");
        output.WriteLine("  lazymount umount /mnt");
        output.WriteLine();
        output.WriteLine("Read on:");
        WriteTerms(output, [("lazymount help COMMAND", "arguments and options of one command"), ("lazymount help TOPIC", string.Join(", ", HelpTopics.All.Select(topic => topic.Name)))], width);
    }

    /// <summary>Every command with its summary, group by group, and the other names of commands.</summary>
    public static void WriteCommands(TextWriter output, IReadOnlyList<CommandGroup> groups, int width)
    {
        foreach (CommandGroup group in groups)
        {
            output.WriteLine($"{group.Title}:");
            WriteTerms(output, [.. Shown(group.Commands).Select(command => (command.Name, SummaryOf(command)))], width);
            output.WriteLine();
        }
        output.WriteLine("Other names:");
        WriteTerms(output, [.. AliasesOf(groups)], width);
    }

    /// <summary>The names that commands have besides their own, with what they stand for.</summary>
    public static IEnumerable<(string Alias, string Meaning)> AliasesOf(IEnumerable<CommandGroup> groups)
        => groups.SelectMany(group => group.Commands).SelectMany(command => command is Verb { StandsFor: { } other }
            ? [(command.Name, other)]
            : command.Aliases.Select(alias => (alias, command.Name)));

    /// <summary>One command: usage, what it does, arguments, options, examples.</summary>
    public static void WriteCommand(TextWriter output, Command command, int width)
    {
        const string Usage = "Usage: ";
        List<string> usage = Wrap(UsageOf(command), width - Usage.Length);
        output.WriteLine(Usage + string.Join($"\n{new string(' ', Usage.Length)}", usage));
        output.WriteLine();
        WriteParagraphs(output, command is Verb { Details.Length: > 0 } verb ? $"{verb.Summary}\n\n{verb.Details}" : SummaryOf(command), width);
        if (command.Subcommands.Count > 0)
        {
            output.WriteLine();
            output.WriteLine("Commands:");
            WriteTerms(output, [.. Shown(command.Subcommands).Select(sub => (sub.Name, SummaryOf(sub)))], width);
        }
        if (command.Arguments.Count > 0)
        {
            output.WriteLine();
            output.WriteLine("Arguments:");
            WriteTerms(output, [.. command.Arguments.Select(argument => (argument.Name, argument.Description ?? ""))], width);
        }
        if (OwnOptions(command).Any())
        {
            output.WriteLine();
            output.WriteLine("Options:");
            WriteTerms(output, [.. OwnOptions(command).Select(option => (TermOf(option), DescriptionOf(option)))], width);
        }
        if (command is Verb { Examples.Length: > 0 } shown)
        {
            output.WriteLine();
            output.WriteLine("Examples:");
            foreach (string row in Lines(shown.Examples).SelectMany(line => CommandRows(line, width - Indent)))
            {
                output.WriteLine(new string(' ', Indent) + row);
            }
        }
        output.WriteLine();
        output.WriteLine(command.Subcommands.Count > 0
            ? $"'{Verb.FullNameOf(command)} COMMAND --help' shows the options of one of them."
            : "All commands accept the options of 'lazymount help options'.");
    }

    /// <summary>The options that all commands accept.</summary>
    public static void WriteOptions(TextWriter output, Command root, int width)
    {
        output.WriteLine("Options that all commands accept:");
        WriteTerms(output, [.. OwnOptions(root).Select(option => (TermOf(option), DescriptionOf(option)))], width);
    }

    /// <summary>The options that are a command's own and are shown.</summary>
    public static IEnumerable<Option> OwnOptions(Command command) => command.Options.Where(option => !option.Hidden);

    /// <summary>The commands that are shown.</summary>
    public static IEnumerable<Command> Shown(IEnumerable<Command> commands) => commands.Where(command => !command.Hidden && command is not Verb { StandsFor: not null });

    /// <summary>What an option does.</summary>
    public static string DescriptionOf(Option option) => option is JsonOption json ? json.Help : option.Description ?? "";

    /// <summary>What a command does, in one line.</summary>
    public static string SummaryOf(Command command) => command is Verb verb ? verb.Summary : command.Description ?? "";

    /// <summary>As it is typed, such as "lazymount ls [OPTION...] IMAGE [PATH...]".</summary>
    public static string UsageOf(Command command)
    {
        string name = Verb.FullNameOf(command);
        if (command is Verb { Usage: { } usage })
        {
            return $"{name} {usage}";
        }
        return command.Subcommands.Count > 0
            ? $"{name} COMMAND"
            : string.Join(' ', [name, .. OwnOptions(command).Any() ? ["[OPTION...]"] : Array.Empty<string>(), .. command.Arguments.Select(PlaceOf)]);
    }

    private static string PlaceOf(Argument argument)
    {
        string name = argument.Arity.MaximumNumberOfValues > 1 ? argument.Name + "..." : argument.Name;
        return argument.Arity.MinimumNumberOfValues == 0 ? $"[{name}]" : name;
    }

    /// <summary>An option as it is typed, with its other names and its value: "-o, --output FILE".</summary>
    public static string TermOf(Option option)
    {
        string names = string.Join(", ", option.Aliases.Append(option.Name).Distinct().OrderBy(name => name.StartsWith("--", StringComparison.Ordinal)));
        return option.Arity.MaximumNumberOfValues == 0 ? names : $"{names} {option.HelpName ?? "VALUE"}";
    }

    /// <summary>Writes paragraphs, with an empty line between them; a line that begins with a space stays as it is.</summary>
    public static void WriteParagraphs(TextWriter output, string text, int width)
    {
        foreach (string line in Lines(text))
        {
            foreach (string row in line.StartsWith(' ') ? (List<string>)[line] : Wrap(line, width))
            {
                output.WriteLine(row);
            }
        }
    }

    /// <summary>Writes terms in a column, each with its explanation beside it.</summary>
    public static void WriteTerms(TextWriter output, IReadOnlyList<(string Term, string Text)> terms, int width)
    {
        int column = Indent + Math.Min(WidestTerm, terms.Select(term => term.Term.Length).DefaultIfEmpty().Max()) + 2;
        foreach ((string term, string text) in terms)
        {
            List<string> rows = Wrap(text, Math.Max(width, LeastWidth) - column);
            string first = new string(' ', Indent) + term;
            if (first.Length + 2 > column)
            {
                output.WriteLine(first);
            }
            else
            {
                output.WriteLine((first.PadRight(column) + rows[0]).TrimEnd());
                rows = [.. rows.Skip(1)];
            }
            foreach (string row in rows)
            {
                output.WriteLine(new string(' ', column) + row);
            }
        }
    }

    /// <summary>The rows of a line that a shell is given: one that is too wide goes on after a backslash, and never within quotes.</summary>
    public static IReadOnlyList<string> CommandRows(string line, int width)
    {
        const string Continued = " \\", NextRow = "    ";
        if (line.Length <= width)
        {
            return [line];
        }
        List<string> rows = Wrap(ShellWords(line), width - Continued.Length - NextRow.Length);
        return [.. rows.Select((row, i) => (i == 0 ? "" : NextRow) + row + (i == rows.Count - 1 ? "" : Continued))];
    }

    // Spaces within quotes do not end a word.
    private static IEnumerable<string> ShellWords(string line)
    {
        string word = "";
        foreach (string part in line.Split(' '))
        {
            word += word.Length == 0 ? part : " " + part;
            if (word.Count(character => character == '\'') % 2 == 0)
            {
                yield return word;
                word = "";
            }
        }
        if (word.Length > 0)
        {
            yield return word;
        }
    }

    private static List<string> Wrap(string text, int width) => Wrap(text.Split(' ', StringSplitOptions.RemoveEmptyEntries), width);

    private static List<string> Wrap(IEnumerable<string> words, int width)
    {
        List<string> rows = [""];
        foreach (string word in words)
        {
            if (rows[^1].Length == 0)
            {
                rows[^1] = word;
            }
            else if (rows[^1].Length + 1 + word.Length <= width)
            {
                rows[^1] += " " + word;
            }
            else
            {
                rows.Add(word);
            }
        }
        return rows;
    }

    private static string[] Lines(string text) => text.ReplaceLineEndings("\n").Split('\n');
}
