using LazyMount.Cli;
using LazyMount.Output;

namespace LazyMount;

internal static class Program
{
    private static async Task<int> Main(string[] arguments)
    {
        Interop.FillStandardDescriptors();
        using var signals = new TerminationSignals();
        return await CommandLine.RunAsync(new CommandHost
        {
            Arguments = ImagePathText.Restore(arguments),
            Output = new CommandOutput(new StandardStream(Interop.StandardOutput, signals.Token), Interop.IsTerminal(Interop.StandardOutput)),
            Error = new StreamWriter(new StandardStream(Interop.StandardError) { DropsWhatFails = true }) { AutoFlush = true },
            ErrorIsTerminal = Interop.IsTerminal(Interop.StandardError),
            Signals = signals,
        });
    }
}
