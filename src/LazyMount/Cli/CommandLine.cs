using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.CommandLine.Parsing;
using System.Reflection;
using LazyMount.Commands;
using LazyMount.Mounting;
using LazyMount.Output;

namespace LazyMount.Cli;

/// <summary>The `lazymount` command line: parses, runs one verb, turns failures into a sentence and an exit code.</summary>
internal static class CommandLine
{
    private const string Description =
        "Mount container images as folders without unpacking them: files are fetched when they are read.";

    private const string References =
        """
        An IMAGE is named as docker, podman and skopeo name it:
          debian:12                              docker.io/library/debian, tag 12
          quay.io/fedora/fedora                  tag "latest" is implied
          ghcr.io/owner/app:v1@sha256:4f53…      the digest decides, the tag is a comment
          localhost:5000/app                     a registry on this machine, over HTTP if need be
          oci:DIR, oci:DIR:TAG                   an OCI image layout in a directory
          oci-archive:FILE, oci-archive:FILE:TAG the same in a tar file
          docker-archive:FILE                    what docker save wrote, if it is one image;
          docker-archive:FILE:app:v1             else one of them by name
          oci:DIR:@0, docker-archive:FILE:@1     by number, where names do not tell
          oci:DIR@sha256:4f53…                   by digest, also of one platform
        Archives are read in place, also when compressed as a whole. DIR and FILE end at the first colon.

        Exit codes: 0 done; 1 what was asked for failed; 2 usage; 3 the source cannot be reached or may not be read.
        """;

    private const string Examples =
        """
        lazymount mount debian:12 /mnt
        lazymount ls -l debian:12 /etc
        lazymount umount /mnt
        """;

    public static async Task<int> RunAsync(CommandHost host)
    {
        bool verbose = false;
        int failed = ExitCode.Failed;
        try
        {
            ParseResult parsed = Create(host).Parse(host.Arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
            verbose = parsed.GetValue(host.Options.Verbose);
            failed = (parsed.CommandResult.Command as Verb)?.ExitCodeOfFailure ?? failed;
            if (parsed.Action is not SynchronousCommandLineAction { ClearsParseErrors: true } && UsageErrorOf(parsed) is { } usageError)
            {
                string command = parsed.CommandResult.Command is Verb verb ? verb.FullName : "lazymount";
                throw new UsageException($"{usageError}; see '{command} --help'");
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
            return Failure.ExitCodeOf(e) is not ExitCode.Failed and var exitCode ? exitCode : failed;
        }
    }

    private static string? UsageErrorOf(ParseResult parsed)
    {
        // The parser takes an option that it does not know for an argument, if there is room for one.
        Token? before = null;
        foreach (Token token in parsed.Tokens.TakeWhile(token => token.Type != TokenType.DoubleDash))
        {
            if (token is { Type: TokenType.Argument, Value: ['-', _, ..] } && before is not { Type: TokenType.Option })
            {
                return $"unknown option '{token.Value}'";
            }
            before = token;
        }
        return parsed switch
        {
            { Errors: [] } => null,
            { CommandResult.Command.Subcommands.Count: > 0, UnmatchedTokens: [string word, ..] } => $"unknown command '{word}'",
            { CommandResult.Command.Subcommands.Count: > 0 } => "a command is missing",
            { UnmatchedTokens: [string word, ..] } => $"one argument too many: '{word}'",
            _ => parsed.Errors[0].Message.TrimEnd('.'),
        };
    }

    internal static Command Create(CommandHost host)
    {
        // Not a RootCommand: that takes its name from the file that was started, which may be a link with the name of one of our commands.
        var root = new Command("lazymount", Description);
        root.Add(new HelpOption("--help", "-h") { Description = "Show help and examples", Action = new HelpWithExamples() });
        root.Add(new VersionOption("--version") { Description = "Show the version", Action = new ShowVersion() });
        host.Options.AddTo(root);
        root.Add(MountCommand.Create(host));
        root.Add(ServeCommand.Create(host));
        root.Add(UmountCommand.Create(host));
        root.Add(ListCommand.Create(host));
        root.Add(LsCommand.Create(host));
        root.Add(CatCommand.Create(host));
        root.Add(TreeCommand.Create(host));
        root.Add(StatCommand.Create(host));
        root.Add(CpCommand.Create(host));
        root.Add(DiffCommand.Create(host));
        root.Add(UnpackCommand.Create(host));
        root.Add(ExportCommand.Create(host));
        root.Add(PullCommand.Create(host));
        root.Add(TagsCommand.Create(host));
        root.Add(PlatformsCommand.Create(host));
        root.Add(LayersCommand.Create(host));
        root.Add(IndexCommand.Create(host));
        root.Add(CacheCommand.Create(host));
        root.Add(ConfigCommand.Create(host));
        root.Add(ManifestCommand.Create(host));
        return root;
    }

    /// <summary>The usual help, then what teaches: examples, and for the command line as a whole how images are named.</summary>
    private sealed class HelpWithExamples : SynchronousCommandLineAction
    {
        private readonly HelpAction _help = new();

        public override bool ClearsParseErrors => true;

        public override int Invoke(ParseResult parseResult)
        {
            int exitCode = _help.Invoke(parseResult);
            TextWriter output = parseResult.InvocationConfiguration.Output;
            var verb = parseResult.CommandResult.Command as Verb;
            WriteBlock(output, "Examples:", verb?.Examples ?? Examples);
            if (verb is null)
            {
                WriteBlock(output, "Images:", References);
            }
            return exitCode;
        }

        private static void WriteBlock(TextWriter output, string title, string lines)
        {
            output.WriteLine(title);
            foreach (string line in lines.ReplaceLineEndings("\n").Split('\n'))
            {
                output.WriteLine(line == "" ? "" : "  " + line);
            }
            output.WriteLine();
        }
    }

    private sealed class ShowVersion : SynchronousCommandLineAction
    {
        public override bool ClearsParseErrors => true;

        public override int Invoke(ParseResult parseResult)
        {
            string version = typeof(CommandLine).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "?";
            parseResult.InvocationConfiguration.Output.WriteLine($"lazymount {version.Split('+')[0]}");
            return ExitCode.Done;
        }
    }
}
