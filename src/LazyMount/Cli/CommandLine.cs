using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.Reflection;
using LazyMount.Commands;
using LazyMount.Finding;
using LazyMount.Mounting;
using LazyMount.Output;

namespace LazyMount.Cli;

/// <summary>The `lazymount` command line: parses, runs one verb, turns failures into a sentence and an exit code.</summary>
internal static class CommandLine
{
    public static async Task<int> RunAsync(CommandHost host)
    {
        bool verbose = false;
        Verb? verb = null;
        try
        {
            Command root = Create(host);
            IReadOnlyList<string> arguments = FindWords.Arrange(root, root.Subcommands.Single(command => command.Name == "find"), host.Arguments);
            ParseResult parsed = root.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
            verbose = parsed.GetValue(host.Options.Verbose);
            verb = parsed.CommandResult.Command as Verb;
            if (UsageErrors.Of(parsed, arguments) is { } usageError)
            {
                throw new UsageException(usageError);
            }
            await using var text = new StreamWriter(host.Output.Stream, leaveOpen: true);
            int exitCode = await parsed.InvokeAsync(
                new InvocationConfiguration { Output = text, Error = host.Error, EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null },
                host.Signals?.Token ?? default);
            await text.FlushAsync();
            host.Output.Flush();
            return exitCode;
        }
        catch (BrokenPipeException)
        {
            return ExitCode.OfSignal(13);
        }
        catch (OperationCanceledException) when (host.Signals is { Number: > 0 } signals)
        {
            return ExitCode.OfSignal(signals.Number);
        }
        catch (Exception e)
        {
            try
            {
                host.Output.Flush();
            }
            catch (IOException)
            {
                // The first failure is the one to report.
            }
            host.Error.WriteLine(Failure.Describe(e, verbose));
            return Failure.ExitCodeOf(e) is not ExitCode.Failed and var exitCode ? exitCode : verb?.ExitCodeOfFailure ?? ExitCode.Failed;
        }
    }

    /// <summary>The whole command line.</summary>
    internal static Command Create(CommandHost host) => Create(host, out _);

    /// <summary>The whole command line, and its commands in groups.</summary>
    internal static Command Create(CommandHost host, out IReadOnlyList<CommandGroup> groups)
    {
        // Not a RootCommand: that takes its name from the file that was started, which may be a link with the name of one of our commands.
        var root = new Command("lazymount", "Show container images as read-only folders.");
        IReadOnlyList<CommandGroup> all = groups =
        [
            new("Mounts", [MountCommand.Create(host), UmountCommand.Create(host), RestartCommand.Create(host), ListCommand.Create(host), ServeImagesCommand.Create(host)]),
            new("Files", [LsCommand.Create(host), TreeCommand.Create(host), StatCommand.Create(host), CatCommand.Create(host), CpCommand.Create(host), FindCommand.Create(host), DuCommand.Create(host)]),
            new("Layers", [LayersCommand.Create(host), HistoryCommand.Create(host), LogCommand.Create(host), DiffCommand.Create(host), WasteCommand.Create(host)]),
            new("Whole images", [PullCommand.Create(host), UnpackCommand.Create(host), ExportCommand.Create(host)]),
            new("Registries", [TagsCommand.Create(host), PlatformsCommand.Create(host), ManifestCommand.Create(host), ConfigCommand.Create(host), IndexCommand.Create(host)]),
            new("This machine", [CacheCommand.Create(host), CacheCommand.CreateInfo(host, "df"), DoctorCommand.Create(host), CompletionCommand.Create(host)]),
        ];
        foreach (Command command in all.SelectMany(group => group.Commands))
        {
            root.Add(command);
            // As docker and umount's neighbours call them.
            switch (command.Name)
            {
                case "config":
                    command.Aliases.Add("inspect");
                    break;
                case "umount":
                    command.Aliases.Add("unmount");
                    break;
            }
        }
        root.Add(HelpCommand.Create(host, root, all));
        root.Add(CompletionCommand.CreateHidden(host, root));
        root.Add(ManualCommand.Create(host, root, all));
        root.Add(ServeCommand.Create(host));
        host.Options.AddTo(root);
        var help = new ShowHelp(host, root, all);
        root.Add(new HelpOption("--help") { Description = "Show help and examples", Recursive = true, Action = help });
        root.Add(new VersionOption("--version") { Description = "Show the version", Action = new ShowVersion() });
        Complete(root, help);
        return root;
    }

    // What holds for every command: flags take no value, and -h shows help unless it means something else there, as in ls -h.
    private static void Complete(Command command, ShowHelp help)
    {
        foreach (Option option in command.Options.Where(option => option is Option<bool> && option.HelpName is null))
        {
            option.Arity = ArgumentArity.Zero;
        }
        if (!command.Options.Any(option => option.Name == "-h" || option.Aliases.Contains("-h")))
        {
            command.Add(new HelpOption("-h") { Hidden = true, Recursive = false, Action = help });
        }
        foreach (Command sub in command.Subcommands)
        {
            Complete(sub, help);
        }
    }

    private sealed class ShowHelp(CommandHost host, Command root, IReadOnlyList<CommandGroup> groups) : SynchronousCommandLineAction
    {
        public override bool ClearsParseErrors => true;

        public override int Invoke(ParseResult parseResult)
        {
            using var text = new StringWriter { NewLine = "\n" };
            Command command = parseResult.CommandResult.Command;
            if (command == root)
            {
                HelpText.WriteOverview(text, groups, host.HelpWidth);
            }
            else
            {
                HelpText.WriteCommand(text, command, host.HelpWidth);
            }
            host.Output.Write(text.ToString());
            return ExitCode.Done;
        }
    }

    /// <summary>The program's version, such as "0.1.0".</summary>
    internal static string Version => (typeof(CommandLine).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "?").Split('+')[0];

    private sealed class ShowVersion : SynchronousCommandLineAction
    {
        public override bool ClearsParseErrors => true;

        public override int Invoke(ParseResult parseResult)
        {
            parseResult.InvocationConfiguration.Output.WriteLine($"lazymount {Version}");
            return ExitCode.Done;
        }
    }
}
