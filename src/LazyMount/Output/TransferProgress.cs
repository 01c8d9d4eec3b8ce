using System.Globalization;
using LazyMount.Cli;
using Spectre.Console;

namespace LazyMount.Output;

/// <summary>
/// Shows the progress of work that is counted in bytes: bars that are gone when it is done, or a line now and then on a terminal that is
/// narrow or knows no escape sequences. Thread-safe.
/// </summary>
internal sealed class TransferProgress(params (string What, long Total)[] transfers)
{
    // What is done at once shall not flash up.
    private static readonly TimeSpan s_patience = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan s_refresh = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan s_line = TimeSpan.FromSeconds(5);

    /// <summary>Columns that a bar with its numbers needs.</summary>
    private const int LeastWidth = 60;

    private readonly long[] _done = new long[transfers.Length];

    /// <summary>Tells how many bytes of one of them are done.</summary>
    public void Report(int transfer, long done) => Volatile.Write(ref _done[transfer], done);

    /// <summary>Shows the bars until the work has ended, in whatever way.</summary>
    public async Task ShowWhile(Task work, TextWriter error, Terminal terminal)
    {
        await ShowWhile(work, error, terminal, () => [.. transfers.Select((transfer, i) => (transfer.What, transfer.Total, (Func<long>)(() => Volatile.Read(ref _done[i]))))]);
        await work;
    }

    /// <summary>Shows bars until the work has ended, unless that is soon. The outcome of the work is the caller's to look at.</summary>
    /// <param name="work">The work.</param>
    /// <param name="error">Where to.</param>
    /// <param name="terminal">What is known of it.</param>
    /// <param name="bars">What the bars are, asked once when they are to be shown: a text, the bytes in all, and how many are done.</param>
    public static async Task ShowWhile(Task work, TextWriter error, Terminal terminal, Func<IReadOnlyList<(string What, long Total, Func<long> Done)>> bars)
    {
        if (await Task.WhenAny(work, Task.Delay(s_patience)) == work)
        {
            return;
        }
        await (terminal.IsPlain || terminal.Width < LeastWidth ? WriteLinesAsync(work, error, bars()) : DrawBarsAsync(work, error, terminal.Width, bars()));
    }

    private static async Task WriteLinesAsync(Task work, TextWriter error, IReadOnlyList<(string What, long Total, Func<long> Done)> bars)
    {
        do
        {
            foreach ((string what, long total, Func<long> done) in bars)
            {
                error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{what}: {100 * Math.Min(done(), total) / Math.Max(1, total)}% of {ByteSize.Format(total)}"));
            }
        }
        while (await Task.WhenAny(work, Task.Delay(s_line)) != work);
    }

    private static Task DrawBarsAsync(Task work, TextWriter error, int width, IReadOnlyList<(string What, long Total, Func<long> Done)> bars)
    {
        // Not what Spectre finds out by itself: it looks at standard output, which may be a file.
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(error), Ansi = AnsiSupport.Yes, Interactive = InteractionSupport.Yes });
        console.Profile.Width = width;
        return console.Progress()
            .AutoClear(true)
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new DownloadedColumn(), new RemainingTimeColumn())
            .StartAsync(async context =>
            {
                (ProgressTask Bar, Func<long> Done)[] shown = [.. bars.Select(bar => (context.AddTask(Markup.Escape(bar.What), maxValue: Math.Max(1, bar.Total)), bar.Done))];
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
