using Spectre.Console;

namespace LazyMount.Output;

/// <summary>Bars on the terminal for work that is counted in bytes; gone when it is done. Thread-safe.</summary>
internal sealed class TransferProgress(params (string What, long Total)[] transfers)
{
    // What is done at once shall not flash up.
    private static readonly TimeSpan s_patience = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan s_refresh = TimeSpan.FromMilliseconds(100);

    private readonly long[] _done = new long[transfers.Length];

    /// <summary>Tells how many bytes of one of them are done.</summary>
    public void Report(int transfer, long done) => Volatile.Write(ref _done[transfer], done);

    /// <summary>Shows the bars until the work has ended, in whatever way.</summary>
    public async Task ShowWhile(Task work, TextWriter terminal)
    {
        await ShowWhile(work, terminal, () => [.. transfers.Select((transfer, i) => (transfer.What, transfer.Total, (Func<long>)(() => Volatile.Read(ref _done[i]))))]);
        await work;
    }

    /// <summary>Shows bars until the work has ended, unless that is soon. The outcome of the work is the caller's to look at.</summary>
    /// <param name="work">The work.</param>
    /// <param name="terminal">Where to.</param>
    /// <param name="bars">What the bars are, asked once when they are to be shown: a text, the bytes in all, and how many are done.</param>
    public static async Task ShowWhile(Task work, TextWriter terminal, Func<IReadOnlyList<(string What, long Total, Func<long> Done)>> bars)
    {
        if (await Task.WhenAny(work, Task.Delay(s_patience)) == work)
        {
            return;
        }
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(terminal), Ansi = AnsiSupport.Yes });
        await console.Progress()
            .AutoClear(true)
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new DownloadedColumn(), new RemainingTimeColumn())
            .StartAsync(async context =>
            {
                (ProgressTask Bar, Func<long> Done)[] shown = [.. bars().Select(bar => (context.AddTask(bar.What, maxValue: Math.Max(1, bar.Total)), bar.Done))];
                while (!work.IsCompleted)
                {
                    foreach ((ProgressTask bar, Func<long> done) in shown)
                    {
                        bar.Value = done();
                    }
                    await Task.WhenAny(work, Task.Delay(s_refresh));
                }
            });
    }
}
