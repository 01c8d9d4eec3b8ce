using System.CommandLine;
using LazyMount.Cli;
using LazyMount.Output;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Commands;

public sealed class HelpTests
{
    private const int Columns = 80, Rows = 24;

    [Theory]
    [InlineData("--help")]
    [InlineData("-h")]
    [InlineData("help")]
    public async Task Overview_FitsOneScreen_AndNamesEveryCommand(params string[] arguments)
    {
        string[] lines = await LinesOf(arguments);
        Assert.InRange(lines.Length, 1, Rows);
        Assert.All(lines, line => Assert.InRange(line.Length, 0, Columns));
        foreach (Command command in AllCommands().Where(command => command.Parents.OfType<Command>().Any(parent => parent.Name == "lazymount") && command.Name != "help"))
        {
            Assert.Contains(lines, line => line.StartsWith("  ", StringComparison.Ordinal) && line.Split([' ', ','], StringSplitOptions.RemoveEmptyEntries).Contains(command.Name));
        }
        Assert.DoesNotContain(lines, line => line.Contains("daemon", StringComparison.Ordinal));
    }

    [Fact]
    public async Task EveryCommand_HasHelp_ThatFitsTheWidth()
    {
        foreach (Command command in AllCommands())
        {
            string[] words = Verb.FullNameOf(command).Split(' ')[1..], lines = await LinesOf([.. words, "--help"]);
            Assert.StartsWith($"Usage: lazymount {string.Join(' ', words)}", lines[0]);
            int examples = Array.IndexOf(lines, "Examples:");
            Assert.True(examples > 0 && lines[examples + 1].StartsWith("  lazymount ", StringComparison.Ordinal), $"{command.Name} has no examples");
            Assert.All(lines, line => Assert.InRange(line.Length, 0, Columns));
            Assert.Equal(lines, await LinesOf(["help", .. words]));
        }
    }

    [Theory]
    [InlineData("lazymount cat app:v1 /a", 24, "lazymount cat app:v1 /a")]
    [InlineData("lazymount cat app:v1 /a", 22, "lazymount cat \\|    app:v1 /a")]
    [InlineData("lazymount ls --json a | jq -r 'select(.a | not)'", 30, "lazymount ls --json a | \\|    jq -r 'select(.a | not)'")]
    [InlineData("lazymount ls a # this machine's own", 24, "lazymount ls a # \\|    this machine's own")]
    public void WideCommandLines_GoOnInTheNextRow_AsAShellReadsThem(string line, int width, string rows)
        => Assert.Equal(rows, string.Join('|', HelpText.CommandRows(line, width)));

    [Fact]
    public void SummariesAndOptions_AreOneLine()
    {
        foreach (Command command in AllCommands())
        {
            Assert.True(HelpText.SummaryOf(command).Length is > 1 and <= Columns, $"{command.Name}: {HelpText.SummaryOf(command)}");
            Assert.All(UsageErrors.OptionsOf(command), option => Assert.False(HelpText.DescriptionOf(option).Length == 0 && !option.Hidden, $"{command.Name} {option.Name}"));
        }
    }

    [Fact]
    public async Task EveryTopic_IsShown()
    {
        foreach (HelpTopic topic in HelpTopics.All)
        {
            string[] lines = await LinesOf(["help", topic.Name]);
            Assert.True(lines.Length > 3, topic.Name);
            Assert.All(lines, line => Assert.InRange(line.Length, 0, Columns));
        }
        Assert.Contains(await LinesOf(["help", "images"]), line => line.Contains("oci:DIR:TAG", StringComparison.Ordinal));
        Assert.Contains(await LinesOf(["help", "options"]), line => line.StartsWith("  --offline ", StringComparison.Ordinal));
        Assert.Contains(await LinesOf(["help", "commands"]), line => line.StartsWith("  inspect ", StringComparison.Ordinal));
    }

    /// <summary>Whatever looks like a variable in the source is one that users must know of, or one of these.</summary>
    [Fact]
    public async Task EveryVariable_IsInTheTopicOfFiles()
    {
        string[] others = ["LAZYMOUNT_ARGUMENTS", "LAZYMOUNT_DIRECTORY", "LAZYMOUNT_HELD", "LAZYMOUNT_KEEPER", "LAZYMOUNT_NO_RESEND", "CLR_OPENSSL_VERSION_OVERRIDE", "GLIBC_TUNABLES", "REQUEST_METHOD", "SIF_MAGIC"];
        HashSet<string> named = [.. string.Join(' ', await LinesOf(["help", "files"])).Split([' ', ',', ':', '$', '/', '[', ';'], StringSplitOptions.RemoveEmptyEntries)];
        var found = Directory.EnumerateFiles(Path.Combine(RepositoryRoot.Path, "src"), "*.cs", SearchOption.AllDirectories)
            .Where(file => !file.Contains("/obj/", StringComparison.Ordinal))
            .SelectMany(file => System.Text.RegularExpressions.Regex.Matches(File.ReadAllText(file), "\"([A-Z]+_[A-Z_]+)\"").Select(match => match.Groups[1].Value)).ToHashSet();
        Assert.Contains("LAZYMOUNT_STATE", found);
        Assert.Empty(found.Except(others).Except(named));
    }

    [Theory]
    [InlineData("unmount", "umount")]
    [InlineData("inspect", "config")]
    public async Task OtherNames_AreTheCommand(string alias, string name) => Assert.Equal(await LinesOf([name, "--help"]), await LinesOf([alias, "--help"]));

    private static IEnumerable<Command> AllCommands()
    {
        using var output = new CommandOutput(Stream.Null, isTerminal: false);
        var host = new CommandHost { Arguments = [], Output = output, Error = TextWriter.Null };
        return Below(CommandLine.Create(host));

        static IEnumerable<Command> Below(Command command) => HelpText.Shown(command.Subcommands).SelectMany(sub => Below(sub).Prepend(sub));
    }

    private static async Task<string[]> LinesOf(string[] arguments)
    {
        CommandRun run = await CommandRun.RunAsync(arguments);
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        return run.Output.TrimEnd('\n').Split('\n');
    }
}
