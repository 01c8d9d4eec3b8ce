using System.Globalization;
using LazyMount.MountTests.Posix;

namespace LazyMount.MountTests.Simulation;

/// <summary>What the script has broken, from which follows the error that an operation may have: EIO, or none.</summary>
internal sealed class WorldBreakages
{
    /// <summary>Deaths of workers at which a request may be out before it is answered EIO (RequestLedger.MostDeaths).</summary>
    private const int MostDeaths = 3;

    private int _deaths;

    /// <summary>The registry spoils answers, or is away.</summary>
    public Breakage Registry { get; } = new();

    /// <summary>A tree file or an index was damaged in place, or the disk below it: until the next mount.</summary>
    public Breakage Metadata { get; } = new();

    /// <summary>Files that a worker needs to begin were taken out of the cache: while the registry is broken it cannot have them again.</summary>
    public Breakage Cache { get; } = new();

    /// <summary>The image has bytes that are read from the cache alone, and the cache cannot be written.</summary>
    public Breakage Transcoding { get; } = new();

    /// <summary>Called before a worker is killed.</summary>
    public void WorkerDies() => Interlocked.Increment(ref _deaths);

    public Moment Now() => new(Volatile.Read(ref _deaths), Registry.Mark(), Metadata.Mark(), Cache.Mark(), Transcoding.Mark());

    /// <summary>Whether an operation that began at a moment and ends now may fail so.</summary>
    /// <param name="error">The error number.</param>
    /// <param name="isData">It reads content; else it needs the tree only.</param>
    /// <param name="since">When it began.</param>
    public bool Allows(int error, bool isData, Moment since)
    {
        if (error != Libc.EIO)
            return false;
        bool source = Registry.HeldSince(since.Registry) || Transcoding.HeldSince(since.Transcoding);
        return Volatile.Read(ref _deaths) - since.Deaths >= MostDeaths || Metadata.HeldSince(since.Metadata)
            || (source && (isData || Cache.HeldSince(since.Cache)));
    }

    public string Describe(Moment since) => string.Create(CultureInfo.InvariantCulture,
        $"deaths meanwhile {Volatile.Read(ref _deaths) - since.Deaths}, broken: registry {Registry.HeldSince(since.Registry)}, metadata {Metadata.HeldSince(since.Metadata)}, cache {Cache.HeldSince(since.Cache)}, transcoding {Transcoding.HeldSince(since.Transcoding)}");

    internal readonly record struct Moment(int Deaths, int Registry, int Metadata, int Cache, int Transcoding);
}
