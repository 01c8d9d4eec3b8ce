using System.Text;
using LazyMount.Cli;
using LazyMount.Output;

namespace LazyMount.Tests.Commands;

/// <summary>One run of the command line in this process, with what it wrote.</summary>
internal sealed record CommandRun(int ExitCode, string Output, string Error)
{
    public static async Task<CommandRun> RunAsync(params string[] arguments)
    {
        using var bytes = new MemoryStream();
        using var output = new CommandOutput(bytes, isTerminal: false);
        var error = new StringWriter();
        int exitCode = await CommandLine.RunAsync(new CommandHost { Arguments = arguments, Output = output, Error = error });
        return new CommandRun(exitCode, Encoding.UTF8.GetString(bytes.ToArray()), error.ToString());
    }

    /// <summary>What an action writes to standard output, as bytes in Latin-1, so that none is lost.</summary>
    public static string Written(Action<CommandOutput> action, bool isTerminal = false)
    {
        using var bytes = new MemoryStream();
        using var output = new CommandOutput(bytes, isTerminal);
        action(output);
        output.Flush();
        return Encoding.Latin1.GetString(bytes.ToArray());
    }
}
