using System.Diagnostics;

namespace LazyMount.Blobs.Counting;

/// <summary>What is counted besides requests and waits. The numbers are places in memory that outlives the program: they never change.</summary>
public enum Counter
{
    /// <summary>Bytes of answers that came from registries.</summary>
    FetchedBytes = 0,

    /// <summary>Bytes of layers' tars that were decoded.</summary>
    DecodedBytes = 1,

    /// <summary>Bytes that were given to the kernel in answers to READ.</summary>
    ServedBytes = 2,

    /// <summary>Spans that were wanted and in memory.</summary>
    SpanHits = 3,

    /// <summary>Spans that were wanted and not in memory.</summary>
    SpanMisses = 4,

    /// <summary>Chunks that were read from the cache on disk.</summary>
    ChunkHits = 5,

    /// <summary>Chunks that were fetched because the cache did not have them.</summary>
    ChunkMisses = 6,

    /// <summary>Requests of the kernel that were answered EIO.</summary>
    FailedRequests = 7,

    /// <summary>Fetches of chunks that failed.</summary>
    FailedFetches = 8,

    /// <summary>Workers that went on after one that died.</summary>
    DeathRestarts = 9,

    /// <summary>Workers that replaced a living one.</summary>
    WantedRestarts = 10,
}

/// <summary>What is waited for. The numbers never change either.</summary>
public enum Wait
{
    /// <summary>The bytes of a READ that were not in memory, from the request to the answer.</summary>
    Read = 0,

    /// <summary>Chunks of a blob, from the request to the last byte.</summary>
    Fetch = 1,
}

/// <summary>The latest failure that somebody who uses the mount has seen.</summary>
/// <param name="Time">When it was.</param>
/// <param name="Subject">What failed: its text is the path, and is asked for when somebody wants to know.</param>
/// <param name="Reason">Why, as a sentence.</param>
public sealed record ServingFailure(DateTimeOffset Time, object Subject, string Reason);

/// <summary>
/// Counts what is done for a mount: requests of the kernel, bytes, hits of the caches, waits and failures. The numbers are in memory that the
/// caller gives, which other processes may map too, and which may outlive this one. Counting does not allocate, lock or wait. Thread-safe.
/// <code>
/// 0..63    requests, by the number of the kernel's operation; 0: those that have a larger one
/// 64..127  <see cref="Counter"/>
/// 128..    32 for each <see cref="Wait"/>: how many ended within each of <see cref="Bounds"/>, but not the one before; how many took
///          longer; ticks of 100 ns in all
/// </code>
/// </summary>
public sealed class ServingCounters
{
    /// <summary>Numbers of 64 bits that there is room for: a page.</summary>
    public const int Slots = 512;

    /// <summary>Operations of the kernel that are told apart.</summary>
    public const int Operations = 64;

    private const int CountersAt = 64, WaitsAt = 128, WaitSlots = 32;

    private static readonly TimeSpan[] s_bounds =
    [
        .. ((double[])[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60]).Select(TimeSpan.FromSeconds),
    ];

    private readonly Memory<long> _memory;
    private Action? _onChange;

    /// <param name="memory"><see cref="Slots"/> numbers, zeros at first.</param>
    public ServingCounters(Memory<long> memory)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(memory.Length, Slots, nameof(memory));
        _memory = memory;
    }

    /// <summary>Counters of this process alone.</summary>
    public ServingCounters() : this(new long[Slots])
    {
    }

    /// <summary>Upper bounds of the waits that are counted together.</summary>
    public static IReadOnlyList<TimeSpan> Bounds => s_bounds;

    /// <summary>The latest failure in this process, or null.</summary>
    public ServingFailure? LastFailure { get; private set; }

    /// <summary>A count so far.</summary>
    public long this[Counter counter] => Read(CountersAt + (int)counter);

    /// <summary>Requests of an operation so far; of 0, those of all operations from <see cref="Operations"/> on.</summary>
    public long Requests(int operation) => Read(operation);

    /// <summary>The waits so far that ended within each of <see cref="Bounds"/> but not the one before, the number of longer ones, and how long all took.</summary>
    public (long[] Counts, TimeSpan Sum) Waits(Wait wait)
    {
        long[] counts = new long[s_bounds.Length + 1];
        int at = WaitsAt + ((int)wait * WaitSlots);
        for (int i = 0; i < counts.Length; i++)
        {
            counts[i] = Read(at + i);
        }
        return (counts, new TimeSpan(Read(at + counts.Length)));
    }

    /// <summary>Counts a request by its operation.</summary>
    public void CountRequest(uint operation) => Interlocked.Increment(ref _memory.Span[operation < Operations ? (int)operation : 0]);

    /// <summary>Adds to a count.</summary>
    public void Add(Counter counter, long count = 1)
    {
        Interlocked.Add(ref _memory.Span[CountersAt + (int)counter], count);
        Changed();
    }

    /// <summary>Counts a wait that ends now.</summary>
    /// <param name="wait">What was waited for.</param>
    /// <param name="began"><see cref="Stopwatch.GetTimestamp"/> when it began.</param>
    public void AddWait(Wait wait, long began)
    {
        TimeSpan took = Stopwatch.GetElapsedTime(began);
        int bound = Array.BinarySearch(s_bounds, took);
        Span<long> slots = _memory.Span[(WaitsAt + ((int)wait * WaitSlots))..];
        Interlocked.Increment(ref slots[bound < 0 ? ~bound : bound]);
        Interlocked.Add(ref slots[s_bounds.Length + 1], took.Ticks);
    }

    /// <summary>Notes a failure that somebody who uses the mount sees.</summary>
    /// <param name="subject">Its text is the path; it is kept, and asked for its text later or never.</param>
    /// <param name="reason">Why.</param>
    public void Note(object subject, string reason)
    {
        LastFailure = new ServingFailure(DateTimeOffset.UtcNow, subject, reason);
        Changed();
    }

    /// <summary>Has an action called once, by whoever counts bytes or a failure next. It must be quick.</summary>
    public void OnNextChange(Action action) => Volatile.Write(ref _onChange, action);

    private void Changed()
    {
        if (Volatile.Read(ref _onChange) is not null)
        {
            Interlocked.Exchange(ref _onChange, null)?.Invoke();
        }
    }

    private long Read(int slot) => Volatile.Read(ref _memory.Span[slot]);
}
