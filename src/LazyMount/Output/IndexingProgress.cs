using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Store;
using Spectre.Console;

namespace LazyMount.Output;

/// <summary>One bar on the terminal for all layers that are being indexed; gone when they are done.</summary>
internal sealed class IndexingProgress : IProgress<LayerProgress>
{
    // Stored indexes open in milliseconds: nothing shall flash up for them.
    private static readonly TimeSpan s_patience = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan s_refresh = TimeSpan.FromMilliseconds(100);

    private readonly long[] _sizes;
    private readonly long[] _passed;
    private readonly bool[] _done;

    public IndexingProgress(IReadOnlyList<Descriptor> layers)
    {
        _sizes = [.. layers.Select(layer => layer.Size)];
        _passed = new long[layers.Count];
        _done = new bool[layers.Count];
    }

    public void Report(LayerProgress value)
    {
        Volatile.Write(ref _passed[value.Layer], value.CompressedBytes);
        Volatile.Write(ref _done[value.Layer], value.Done);
    }

    /// <summary>Shows the bar until the work has ended, in whatever way; the result is the work's.</summary>
    public async Task<T> ShowWhile<T>(Task<T> work, TextWriter terminal)
    {
        if (await Task.WhenAny(work, Task.Delay(s_patience)) != work)
        {
            // Layers that were there at once are no part of the wait.
            int[] waited = [.. Enumerable.Range(0, _sizes.Length).Where(i => !Volatile.Read(ref _done[i]))];
            IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(terminal), Ansi = AnsiSupport.Yes });
            await console.Progress()
                .AutoClear(true)
                .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new DownloadedColumn(), new RemainingTimeColumn())
                .StartAsync(async context =>
                {
                    ProgressTask bar = context.AddTask($"indexing {waited.Length} {(waited.Length == 1 ? "layer" : "layers")}", maxValue: waited.Sum(i => _sizes[i]));
                    while (!work.IsCompleted)
                    {
                        bar.Value = waited.Sum(i => Volatile.Read(ref _done[i]) ? _sizes[i] : Volatile.Read(ref _passed[i]));
                        await Task.WhenAny(work, Task.Delay(s_refresh));
                    }
                });
        }
        return await work;
    }
}
