using System.Runtime.InteropServices;

namespace LazyMount.Cli;

/// <summary>
/// Ctrl-C and its kin. The first signal cancels <see cref="Token"/>, so that everything unwinds; the second cancels
/// <see cref="Again"/> for whoever waits for something that may not come; the third ends the process as if we were not here.
/// </summary>
internal sealed class TerminationSignals : IDisposable
{
    private readonly CancellationTokenSource _first = new();
    private readonly CancellationTokenSource _second = new();
    private readonly PosixSignalRegistration[] _registrations;
    private int _count;

    public TerminationSignals()
        => _registrations =
        [
            PosixSignalRegistration.Create(PosixSignal.SIGINT, context => OnSignal(context, 2)),
            PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => OnSignal(context, 15)),
            PosixSignalRegistration.Create(PosixSignal.SIGHUP, context => OnSignal(context, 1)),
            // These end a process too, and would leave a dead mount behind.
            PosixSignalRegistration.Create(PosixSignal.SIGQUIT, context => OnSignal(context, 3)),
            PosixSignalRegistration.Create((PosixSignal)10 /* SIGUSR1 */, context => OnSignal(context, 10)),
            PosixSignalRegistration.Create((PosixSignal)12 /* SIGUSR2 */, context => OnSignal(context, 12)),
        ];

    /// <summary>Cancelled by the first signal.</summary>
    public CancellationToken Token => _first.Token;

    /// <summary>Cancelled by the second.</summary>
    public CancellationToken Again => _second.Token;

    /// <summary>The first signal's number, 0 before it.</summary>
    public int Number { get; private set; }

    private void OnSignal(PosixSignalContext context, int number)
    {
        int count = Interlocked.Increment(ref _count);
        context.Cancel = count <= 2;
        if (count == 1)
        {
            Number = number;
            _first.Cancel();
        }
        else if (count == 2)
        {
            _second.Cancel();
        }
    }

    public void Dispose()
    {
        foreach (PosixSignalRegistration registration in _registrations)
        {
            registration.Dispose();
        }
        _first.Dispose();
        _second.Dispose();
    }
}
