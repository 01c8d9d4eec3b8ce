using LazyMount.Blobs.Oci;
using LazyMount.Images;
using LazyMount.Indexes.Store;

namespace LazyMount.Output;

/// <summary>
/// What opening an image shows on standard error: notes, and on a terminal one bar for all layers that are being indexed, which
/// is gone when they are done.
/// </summary>
/// <param name="error">Standard error.</param>
/// <param name="terminal">The terminal that it is; else null, and there is no bar.</param>
internal sealed class IndexingProgress(TextWriter error, Terminal? terminal) : OpeningObserver
{
    private readonly TaskCompletionSource _found = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long[] _sizes = [];
    private long[] _passed = [];
    private bool[] _done = [];

    public override void Note(string sentence) => error.WriteLine($"lazymount: note: {CommandOutput.Displayable(sentence)}");

    public override void LayersFound(IReadOnlyList<Descriptor> layers)
    {
        (_sizes, _passed, _done) = ([.. layers.Select(layer => layer.Size)], new long[layers.Count], new bool[layers.Count]);
        _found.TrySetResult();
    }

    public override void Report(LayerProgress value)
    {
        Volatile.Write(ref _passed[value.Layer], value.CompressedBytes);
        Volatile.Write(ref _done[value.Layer], value.Done);
    }

    /// <summary>Shows the bar until the work has ended, in whatever way; the result is the work's.</summary>
    public async Task<T> ShowWhile<T>(Task<T> work)
    {
        // Stored indexes open in milliseconds: nothing is shown for them.
        if (terminal is not null && await Task.WhenAny(work, _found.Task) != work)
        {
            await TransferProgress.ShowWhile(work, error, terminal, () =>
            {
                // Layers that were there at once are no part of the wait.
                int[] waited = [.. Enumerable.Range(0, _sizes.Length).Where(i => !Volatile.Read(ref _done[i]))];
                return [($"indexing {waited.Length} {(waited.Length == 1 ? "layer" : "layers")}", waited.Sum(i => _sizes[i]),
                    () => waited.Sum(i => Volatile.Read(ref _done[i]) ? _sizes[i] : Volatile.Read(ref _passed[i])))];
            });
        }
        return await work;
    }
}
