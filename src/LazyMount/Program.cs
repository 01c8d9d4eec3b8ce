using LazyMount.Cli;
using LazyMount.Output;

namespace LazyMount;

internal static class Program
{
    private static async Task<int> Main(string[] arguments)
    {
        Interop.FillStandardDescriptors();
        using var signals = new TerminationSignals();
        bool errorIsTerminal = Interop.IsTerminal(Interop.StandardError);
        int exitCode = await CommandLine.RunAsync(new CommandHost
        {
            Arguments = ImagePathText.Restore(arguments),
            Output = new CommandOutput(new StandardStream(Interop.StandardOutput, signals.Token), Interop.IsTerminal(Interop.StandardOutput)),
            Error = new MessageWriter(new StandardStream(Interop.StandardError) { DropsWhatFails = true }, errorIsTerminal),
            ErrorIsTerminal = errorIsTerminal,
            Signals = signals,
        });
        if (ExitCode.SignalOf(exitCode) is int signal)
        {
            Interop.EndBySignal(signal);
        }
        return exitCode;
    }
}
