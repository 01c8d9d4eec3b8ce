namespace LazyMount.Blobs.Registry;

/// <summary>How patient the client is. Somebody waits in a read(2) of a mounted file.</summary>
internal sealed record RegistryTimeouts
{
    public static RegistryTimeouts Default { get; } = new();

    /// <summary>For a host behind which there is another one to ask.</summary>
    public RegistryTimeouts Short => this with
    {
        Retries = Math.Min(Retries, 1),
        RetriesOnceServed = Math.Min(RetriesOnceServed, 1),
        Breaks = Math.Min(Breaks, 1),
        PaceWindow = PaceWindow < Stall ? PaceWindow : Stall,
        MaxRetryAfter = MaxRetryAfter < s_shortRetryAfter ? MaxRetryAfter : s_shortRetryAfter,
    };

    private static readonly TimeSpan s_shortRetryAfter = TimeSpan.FromSeconds(2);

    /// <summary>For name resolution, TCP and TLS.</summary>
    public TimeSpan Connect { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Without a byte: for the headers, and for each read of a body.</summary>
    public TimeSpan Stall { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long a reader of a body may have waited, in all, until <see cref="PaceBytes"/> have come.</summary>
    public TimeSpan PaceWindow { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Bytes that must come in each <see cref="PaceWindow"/>: about 1 KiB a second.</summary>
    public long PaceBytes { get; init; } = 64 << 10;

    /// <summary>How often a body may break, or stall, before 64 KiB more have come.</summary>
    public int Breaks { get; init; } = 5;

    /// <summary>Tries after the first, of a request that fails in a way that may pass: with the delays some 4 s.</summary>
    public int Retries { get; init; } = 4;

    /// <summary>
    /// The same for a host that has served us before: it restarts, or the network is away for a moment. With the delays some 25 s, so
    /// that a reader outlives a restart within <see cref="RegistryOptions.ReadTimeout"/>.
    /// </summary>
    public int RetriesOnceServed { get; init; } = 7;

    /// <summary>Before the first retry; doubles, with jitter.</summary>
    public TimeSpan RetryDelay { get; init; } = TimeSpan.FromMilliseconds(250);

    /// <summary>Longest wait between tries where the server does not ask for one.</summary>
    public TimeSpan MaxRetryDelay { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>The longest Retry-After that is waited for. One that is longer ends the request at once, with the time to come again.</summary>
    public TimeSpan MaxRetryAfter { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>How often files of certificates are looked at for changes.</summary>
    public TimeSpan CertificateCheck { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long a host that refused a range is not asked for ranges.</summary>
    public TimeSpan RangesRefused { get; init; } = TimeSpan.FromMinutes(1);
}
