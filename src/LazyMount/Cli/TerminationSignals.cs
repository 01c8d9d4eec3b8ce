using System.Runtime.InteropServices;

namespace LazyMount.Cli;

/// <summary>
/// Ctrl-C (SIGINT), SIGTERM and SIGHUP. The first signal cancels <see cref="Token"/>, so that the command cleans up and ends; the second
/// cancels <see cref="Again"/>, for waits that may never end; the third ends the process at once. A signal that was ignored when the
/// process started, as nohup and a shell's <c>&amp;</c> make it, stays ignored.
/// </summary>
internal sealed class TerminationSignals : IDisposable
{
    private readonly CancellationTokenSource _first = new();
    private readonly CancellationTokenSource _second = new();
    private readonly PosixSignalRegistration[] _registrations;
    private int _count;

    public TerminationSignals()
    {
        // SIGQUIT and the last two end a process as well, and would leave a dead mount behind.
        (PosixSignal Signal, int Number)[] signals =
        [
            (PosixSignal.SIGINT, 2), (PosixSignal.SIGTERM, 15), (PosixSignal.SIGHUP, 1), (PosixSignal.SIGQUIT, 3),
            ((PosixSignal)10 /* SIGUSR1 */, 10), ((PosixSignal)12 /* SIGUSR2 */, 12),
        ];
        ulong ignored = Interop.IgnoredSignals();
        _registrations = [.. signals.Where(each => (ignored >> (each.Number - 1) & 1) == 0)
            .Select(each => PosixSignalRegistration.Create(each.Signal, context => OnSignal(context, each.Number)))];
    }

    /// <summary>Cancelled by the first signal.</summary>
    public CancellationToken Token => _first.Token;

    /// <summary>Cancelled by the second.</summary>
    public CancellationToken Again => _second.Token;

    /// <summary>The first signal's number, 0 before it.</summary>
    public int Number { get; private set; }

    /// <summary>What SIGHUP does in the place of ending the process; null: it ends it.</summary>
    public Action? HangUp { get; set; }

    private void OnSignal(PosixSignalContext context, int number)
    {
        const int SIGHUP = 1;
        if (number == SIGHUP && HangUp is { } act)
        {
            context.Cancel = true;
            act();
            return;
        }
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
