using LazyMount.Cli;
using LazyMount.Keeping;
using LazyMount.Mounting;
using LazyMount.Output;

namespace LazyMount;

internal static class Program
{
    private static async Task<int> Main(string[] arguments)
    {
        Interop.FillStandardDescriptors();
        if (arguments is [ServeCommand.Name, Keeper.Name, ..])
        {
            return Keeper.Run(ImagePathText.Restore(arguments)[2..]);
        }
        KeeperLink? keeper = null;
        if (arguments is [ServeCommand.Name, ..])
        {
            Daemon.TakeStartDirectory();
            keeper = KeeperLink.TryOpen(arguments);
        }
        using var signals = new TerminationSignals();
        Terminal? output = Terminal.Of(Interop.StandardOutput), error = Terminal.Of(Interop.StandardError);
        bool isHelper = MountHelper.IsCalled(Environment.GetCommandLineArgs() is [var program, ..] ? program : null, ImagePathText.Restore(arguments), out string[] given);
        var host = new CommandHost
        {
            Arguments = given,
            Output = new CommandOutput(new StandardStream(Interop.StandardOutput, signals.Token), output is not null, output?.Width ?? Terminal.UsualWidth),
            Error = new MessageWriter(new StandardStream(Interop.StandardError) { DropsWhatFails = true }, error is not null),
            ErrorTerminal = error,
            Signals = signals,
            Keeper = keeper,
        };
        int exitCode = await (isHelper ? MountHelper.RunAsync(host) : CommandLine.RunAsync(host));
        if (ExitCode.SignalOf(exitCode) is int signal)
        {
            Interop.EndBySignal(signal);
        }
        return exitCode;
    }
}
