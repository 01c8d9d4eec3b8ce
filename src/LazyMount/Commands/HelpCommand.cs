using System.CommandLine;
using LazyMount.Cli;

namespace LazyMount.Commands;

/// <summary>`lazymount help`: the overview, one command, or a topic. `--help` shows the same.</summary>
internal static class HelpCommand
{
    /// <param name="host">The process.</param>
    /// <param name="root">The command line, complete when this runs.</param>
    /// <param name="groups">Its commands.</param>
    public static Command Create(CommandHost host, Command root, IReadOnlyList<CommandGroup> groups)
    {
        var words = new Argument<string[]>("COMMAND|TOPIC") { Description = "A command, such as 'mount' or 'index push', or a topic", Arity = ArgumentArity.ZeroOrMore };
        var verb = new Verb("help", "Show help for a command or a topic.",
            """
            lazymount help mount
            lazymount help index push
            lazymount help images
            """)
        { words };
        verb.SetAction(parsed =>
        {
            using var text = new StringWriter { NewLine = "\n" };
            WriteFor(text, root, groups, parsed.GetValue(words) ?? [], host.HelpWidth);
            host.Output.Write(text.ToString());
            return ExitCode.Done;
        });
        return verb;
    }

    private static void WriteFor(TextWriter output, Command root, IReadOnlyList<CommandGroup> groups, string[] words, int width)
    {
        if (words.Length == 0)
        {
            HelpText.WriteOverview(output, groups, width);
            return;
        }
        if (words is [var name] && HelpTopics.All.FirstOrDefault(topic => topic.Name == name) is { } topic)
        {
            WriteTopic(output, root, groups, topic, width);
            return;
        }
        Command command = root;
        foreach (string word in words)
        {
            Command? next = command.Subcommands.FirstOrDefault(each => each.Name == word || each.Aliases.Contains(word));
            string near = Spelling.Suggest(word, HelpText.Shown(command.Subcommands).Select(each => each.Name).Concat(HelpTopics.All.Select(topic => topic.Name)));
            command = next ?? throw new UsageException($"there is no help for '{string.Join(' ', words)}'{(near.Length > 0 ? near : "; see 'lazymount help'")}");
        }
        HelpText.WriteCommand(output, command, width);
    }

    private static void WriteTopic(TextWriter output, Command root, IReadOnlyList<CommandGroup> groups, HelpTopic topic, int width)
    {
        switch (topic.Name)
        {
            case HelpTopics.Commands:
                HelpText.WriteCommands(output, groups, width);
                break;
            case HelpTopics.Options:
                HelpText.WriteOptions(output, root, width);
                break;
            default:
                HelpText.WriteParagraphs(output, topic.Text ?? "", width);
                break;
        }
    }
}
