using System.CommandLine;
using System.Globalization;
using System.Text;
using LazyMount.Mounting;

namespace LazyMount.Cli;

/// <summary>Manual pages in the language of man(7), made from the definitions of commands and options and from the help topics.</summary>
/// <param name="root">All commands.</param>
/// <param name="groups">The commands in groups.</param>
/// <param name="version">The program's version, for the footer.</param>
/// <param name="date">For the footer.</param>
internal sealed class Manual(Command root, IReadOnlyList<CommandGroup> groups, string version, DateOnly date)
{
    private const string FilesPage = "lazymount-files";

    /// <summary>All pages: the name of the file and its text.</summary>
    public IEnumerable<(string File, string Text)> Pages()
    {
        yield return ("lazymount.1", Overview());
        foreach (Command command in Commands(root))
        {
            yield return ($"{PageOf(command)}.1", PageFor(command));
        }
        yield return ($"{FilesPage}.5", Files());
        yield return ($"{MountHelper.Name}.8", Helper());
        yield return ($"{MountHelper.TypeName}.8", $".so man8/{MountHelper.Name}.8");
    }

    private static IEnumerable<Command> Commands(Command command)
        => HelpText.Shown(command.Subcommands).SelectMany(sub => Commands(sub).Prepend(sub));

    // lazymount-index-push
    private static string PageOf(Command command) => Verb.FullNameOf(command).Replace(' ', '-');

    private string Overview()
    {
        var page = new Page("lazymount", 1, version, date);
        page.Section("NAME").Line(@"lazymount \- show container images as read-only folders");
        page.Section("SYNOPSIS").Line(@"\fBlazymount\fR \fICOMMAND\fR [\fIOPTION\fR...] [\fIARGUMENT\fR...]");
        page.Section("DESCRIPTION").Paragraphs(
            """
            lazymount shows the files of a container image within a moment, whatever the image's size. It indexes each layer once, merges the indexes into one directory tree, and fetches and decompresses only what is read. 'lazymount mount' shows an image as a folder; the other commands answer without a mount.
            """);
        page.Section("COMMANDS");
        foreach (CommandGroup group in groups)
        {
            page.Subsection(group.Title);
            foreach (Command command in HelpText.Shown(group.Commands))
            {
                page.Term(Page.Bold($"{PageOf(command)}(1)"), HelpText.SummaryOf(command));
            }
        }
        page.Subsection("Other names");
        foreach ((string alias, string meaning) in HelpText.AliasesOf(groups))
        {
            page.Term(Page.Bold($"lazymount {alias}"), $"lazymount {meaning}");
        }
        page.Section("OPTIONS").Paragraphs("All commands accept these options.");
        Options(page, root);
        foreach (HelpTopic topic in HelpTopics.All.Where(topic => topic.Text is not null))
        {
            page.Section(topic.Title.ToUpperInvariant()).Paragraphs(topic.Text!);
        }
        page.Section("EXAMPLES").Lines(
            """
            lazymount mount debian:12 /mnt
            lazymount ls -l debian:12 /etc
            lazymount umount /mnt
            """);
        page.Section("SEE ALSO").Line($"{Page.Bold($"{FilesPage}(5)")}, {Page.Bold("fusermount3(1)")}, {Page.Bold("erofs(5)")}, {Page.Bold("skopeo(1)")}");
        return page.ToString();
    }

    private string PageFor(Command command)
    {
        var page = new Page(PageOf(command), 1, version, date);
        string summary = HelpText.SummaryOf(command);
        page.Section("NAME").Line($@"{Page.Text(PageOf(command))} \- {Page.Text(char.ToLowerInvariant(summary[0]) + summary[1..].TrimEnd('.'))}");
        page.Section("SYNOPSIS").Line(Page.Bold(HelpText.UsageOf(command)));
        page.Section("DESCRIPTION").Paragraphs(command is Verb { Details.Length: > 0 } verb ? $"{summary}\n\n{verb.Details}" : summary);
        if (command.Subcommands.Count > 0)
        {
            page.Section("COMMANDS");
            foreach (Command sub in HelpText.Shown(command.Subcommands))
            {
                page.Term(Page.Bold($"{PageOf(sub)}(1)"), HelpText.SummaryOf(sub));
            }
        }
        if (command.Arguments.Count > 0)
        {
            page.Section("ARGUMENTS");
            foreach (Argument argument in command.Arguments)
            {
                page.Term(Page.Bold(argument.Name), argument.Description ?? "");
            }
        }
        if (HelpText.OwnOptions(command).Any())
        {
            page.Section("OPTIONS");
            Options(page, command);
        }
        page.Line(".PP").Line($"{Page.Bold("lazymount(1)")} lists the options that all commands accept, and the exit codes.");
        if (command is Verb { Examples.Length: > 0 } shown)
        {
            page.Section("EXAMPLES").Lines(shown.Examples);
        }
        page.Section("SEE ALSO").Line(string.Join(", ", [Page.Bold("lazymount(1)"), .. Siblings(command).Select(each => Page.Bold($"{PageOf(each)}(1)"))]));
        return page.ToString();
    }

    // The other commands of its group or above it.
    private IEnumerable<Command> Siblings(Command command)
        => command.Parents.OfType<Command>().First() is var parent && parent != root
            ? HelpText.Shown(parent.Subcommands).Prepend(parent).Where(each => each != command)
            : groups.Where(group => group.Commands.Contains(command)).SelectMany(group => HelpText.Shown(group.Commands)).Where(each => each != command);

    private string Helper()
    {
        var page = new Page(MountHelper.Name, 8, version, date);
        page.Section("NAME").Line($@"{MountHelper.Name} \- mount a container image by mount(8) and fstab(5)");
        page.Section("SYNOPSIS").Line($@"\fBmount \-t lazymount\fR [\fB\-o\fR \fIOPTIONS\fR] \fIIMAGE\fR \fIDIR\fR").Line(".br")
            .Line($@"\fB{MountHelper.Name}\fR \fIIMAGE\fR \fIDIR\fR [\fB\-sfnv\fR] [\fB\-N\fR \fINAMESPACE\fR] [\fB\-o\fR \fIOPTIONS\fR] [\fB\-t\fR \fITYPE\fR]");
        page.Section("DESCRIPTION").Paragraphs(HelpTopics.All.Single(topic => topic.Name == HelpTopics.Fstab).Text!);
        page.Section("OPTIONS");
        page.Term(Page.Bold("-f"), "Check the arguments, mount nothing.");
        page.Term(Page.Bold("-s"), "Ignore mount options that are unknown.");
        page.Term(Page.Bold("-v"), "Say more, as lazymount does with -v.");
        page.Term(Page.Bold("-N"), "Mount in this mount namespace, by nsenter(1).");
        page.Term(Page.Bold("-n, -t"), "Are accepted and mean nothing.");
        page.Section("EXIT STATUS").Line("Those of mount(8): 0 done, 1 wrong usage, 32 the mount failed.");
        page.Section("SEE ALSO").Line($"{Page.Bold("lazymount(1)")}, {Page.Bold("lazymount-mount(1)")}, {Page.Bold("mount(8)")}, {Page.Bold("fstab(5)")}, {Page.Bold("systemd.mount(5)")}");
        return page.ToString();
    }

    private string Files()
    {
        var page = new Page(FilesPage, 5, version, date);
        page.Section("NAME").Line($@"{Page.Text(FilesPage)} \- files and variables that lazymount reads and writes");
        page.Section("DESCRIPTION").Paragraphs("lazymount needs no configuration of its own. It reads that of docker, podman and containerd, and keeps what it fetched in a cache that may be deleted at any time.");
        page.Section("FILES");
        foreach ((string file, string text) in HelpTopics.Files)
        {
            page.Term(Page.Bold(file), text);
        }
        page.Section("ENVIRONMENT");
        foreach ((string name, string text) in HelpTopics.Variables)
        {
            page.Term(Page.Bold(name), text);
        }
        page.Section("SEE ALSO").Line($"{Page.Bold("lazymount(1)")}, {Page.Bold("containers-registries.conf(5)")}, {Page.Bold("containers-auth.json(5)")}");
        return page.ToString();
    }

    private static void Options(Page page, Command command)
    {
        foreach (Option option in HelpText.OwnOptions(command))
        {
            page.Term(Page.Bold(HelpText.TermOf(option)), HelpText.DescriptionOf(option));
        }
    }

    /// <summary>One page, in the macros of man(7).</summary>
    private sealed class Page
    {
        // man(1) indents by 7 columns, and writes no wider than 80 unless the terminal is.
        private const int ExampleWidth = 73;

        private readonly StringBuilder _text = new();

        public Page(string name, int section, string version, DateOnly date)
            => Line(string.Create(CultureInfo.InvariantCulture, $".TH {name.ToUpperInvariant()} {section} {date:yyyy-MM-dd} \"lazymount {version}\" \"LazyMount\""))
                .Line(".nh").Line(".ad l"); // words are commands and paths: none is broken

        public Page Section(string title) => Line($".SH {Text(title)}");

        public Page Subsection(string title) => Line($".SS {Text(title)}");

        /// <summary>Writes a line that is in the page's language already.</summary>
        public Page Line(string line)
        {
            _text.Append(line).Append('\n');
            return this;
        }

        public void Term(string term, string text) => Line(".TP").Line(term).Line(Text(text));

        /// <summary>Paragraphs, with an empty line between them; lines that begin with a space are shown as they are.</summary>
        public void Paragraphs(string text)
        {
            bool isVerbatim = false;
            foreach (string line in text.ReplaceLineEndings("\n").Split('\n'))
            {
                if (line.StartsWith(' ') != isVerbatim && line.Length > 0)
                {
                    isVerbatim = !isVerbatim;
                    Line(isVerbatim ? ".nf" : ".fi");
                }
                Line(line.Length == 0 ? ".PP" : Text(line));
            }
            if (isVerbatim)
            {
                Line(".fi");
            }
        }

        /// <summary>Command lines; one that is too wide goes on in further rows.</summary>
        public void Lines(string text)
        {
            Line(".nf");
            foreach (string row in text.ReplaceLineEndings("\n").Split('\n').SelectMany(line => HelpText.CommandRows(line, ExampleWidth)))
            {
                Line(Text(row));
            }
            Line(".fi");
        }

        public override string ToString() => _text.ToString().Replace(".PP\n.PP\n", ".PP\n", StringComparison.Ordinal);

        public static string Bold(string text) => $@"\fB{Text(text)}\fR";

        /// <summary>Text as it is to be shown: nothing in it is a command of the language.</summary>
        public static string Text(string text)
        {
            string escaped = text.Replace(@"\", @"\e", StringComparison.Ordinal).Replace("-", @"\-", StringComparison.Ordinal)
                .Replace("~", @"\(ti", StringComparison.Ordinal).Replace("^", @"\(ha", StringComparison.Ordinal).Replace("'", @"\(aq", StringComparison.Ordinal)
                .Replace("…", "...", StringComparison.Ordinal);
            return escaped is ['.', ..] ? @"\&" + escaped : escaped;
        }
    }
}
