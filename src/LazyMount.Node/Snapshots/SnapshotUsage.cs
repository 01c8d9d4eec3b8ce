using System.Collections.Concurrent;
using System.Globalization;
using LazyMount.Node.Mounting;

namespace LazyMount.Node.Snapshots;

/// <summary>
/// What directories take on disk. The kubelet asks for every container's every ten seconds: it gets what was found last, and a new look is
/// taken in the background when that is old.
/// </summary>
internal sealed class SnapshotUsage
{
    private static readonly TimeSpan s_fresh = TimeSpan.FromSeconds(30);

    // A small directory is measured within it, so that the first answer is right.
    private static readonly TimeSpan s_patience = TimeSpan.FromMilliseconds(500);

    private readonly ConcurrentDictionary<long, Measured> _measured = new();

    /// <summary>Of a directory, as it was found last.</summary>
    /// <param name="id">Number of its snapshot.</param>
    /// <param name="directory">The directory.</param>
    public async Task<(long Size, long Inodes)> OfAsync(long id, string directory)
    {
        Measured measured = _measured.GetOrAdd(id, _ => new Measured());
        Task look;
        lock (measured)
        {
            if (measured.Look.IsCompleted && Environment.TickCount64 - measured.At > s_fresh.TotalMilliseconds)
            {
                measured.Look = LookAsync(measured, directory);
            }
            look = measured.Look;
        }
        await Task.WhenAny(look, Task.Delay(s_patience));
        return measured.Usage;
    }

    public void Forget(long id) => _measured.TryRemove(id, out _);

    /// <summary>Walks a directory. Names need not be text, and files with several names count once.</summary>
    /// <exception cref="IOException">It cannot be walked.</exception>
    public static async Task<(long Size, long Inodes)> MeasureAsync(string directory, CancellationToken cancellationToken)
        => (await AskAsync("--block-size=1", directory, cancellationToken), await AskAsync("--inodes", directory, cancellationToken));

    private static async Task LookAsync(Measured measured, string directory)
    {
        try
        {
            measured.Usage = await MeasureAsync(directory, CancellationToken.None);
        }
        catch (IOException)
        {
            // What was found before counts; the directory may be gone.
        }
        measured.At = Environment.TickCount64;
    }

    private static async Task<long> AskAsync(string what, string directory, CancellationToken cancellationToken)
    {
        // What is deleted while du looks is told by its exit code, and does not matter.
        (_, string output, string error) = await Helper.RunAsync("du", ["-s", "-x", what, "--", directory], null, cancellationToken);
        return long.TryParse(output.Split('\t')[0], NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : throw new IOException($"cannot measure '{directory}': {error.Trim()}");
    }

    private sealed class Measured
    {
        public Task Look { get; set; } = Task.CompletedTask;

        public long At { get; set; } = long.MinValue / 2;

        public (long Size, long Inodes) Usage { get; set; }
    }
}
