using Spectre.Console;

namespace LazyMount.Output;

/// <summary>One bar on the terminal for work that is counted in bytes; gone when it is done.</summary>
internal sealed class TransferProgress(string what, long total)
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan s_refresh = TimeSpan.FromMilliseconds(100);

    private long _done;

    public void Report(long done) => Volatile.Write(ref _done, done);

    /// <summary>Shows the bar until the work has ended, in whatever way.</summary>
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
                    ProgressTask bar = context.AddTask(what, maxValue: Math.Max(1, total));
                    while (!work.IsCompleted)
                    {
                        bar.Value = Volatile.Read(ref _done);
                        await Task.WhenAny(work, Task.Delay(s_refresh));
                    }
                });
        }
        await work;
    }
}
