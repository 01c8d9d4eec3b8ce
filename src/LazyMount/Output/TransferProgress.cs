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
        if (await Task.WhenAny(work, Task.Delay(s_patience)) != work)
        {
            IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(terminal), Ansi = AnsiSupport.Yes });
            await console.Progress()
                .AutoClear(true)
                .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new DownloadedColumn(), new RemainingTimeColumn())
                .StartAsync(async context =>
                {
                    ProgressTask[] bars = [.. transfers.Select(transfer => context.AddTask(transfer.What, maxValue: Math.Max(1, transfer.Total)))];
                    while (!work.IsCompleted)
                    {
                        for (int i = 0; i < bars.Length; i++)
                        {
                            bars[i].Value = Volatile.Read(ref _done[i]);
                        }
                        await Task.WhenAny(work, Task.Delay(s_refresh));
                    }
                });
        }
        await work;
    }
}
