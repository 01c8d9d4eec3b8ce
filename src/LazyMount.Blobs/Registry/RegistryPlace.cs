using System.Collections.Concurrent;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry.Accounts;
using LazyMount.Blobs.Registry.Hosts;
using Microsoft.Extensions.Logging;

namespace LazyMount.Blobs.Registry;

/// <summary>One endpoint of a repository with what was learnt of it: whether it is away, and which blobs it lacks or gives wrongly. Thread-safe.</summary>
internal sealed class RegistryPlace : IDisposable
{
    // Milliseconds. A place that cannot be reached, or fails, costs its time-outs once in this time, not at every read.
    private const long RestTime = 60_000;

    // Milliseconds. A place that lacks a blob, or refuses it, may have got it, or let us in, some time later.
    private const long LackTime = 300_000;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(2);

    private readonly ConcurrentDictionary<Digest, long> _lacks = new(); // until that Environment.TickCount64; for ever: its bytes were wrong
    private readonly bool _hasNext;
    private long _restsUntil = long.MinValue; // Environment.TickCount64

    /// <param name="endpoint">The endpoint.</param>
    /// <param name="hasNext">There is another place to ask when this one fails, so little patience is needed with it.</param>
    /// <param name="credentials">Who the user is there.</param>
    /// <param name="options">What the user asked for.</param>
    /// <param name="timeouts">How patient it is.</param>
    /// <param name="place">What sentences call the repository.</param>
    /// <param name="logger">Told of requests.</param>
    public RegistryPlace(RegistryEndpoint endpoint, bool hasNext, CredentialStore credentials, RegistryOptions options, RegistryTimeouts timeouts, string place, ILogger logger)
    {
        (Endpoint, _hasNext) = (endpoint, hasNext);
        timeouts = timeouts with { Connect = endpoint.DialTimeout ?? timeouts.Connect };
        Client = new RegistryClient(endpoint, credentials, options, hasNext ? timeouts with { Retries = 1, RetriesOnceServed = 1, MaxRetryAfter = s_patience } : timeouts, logger);
        Referrers = new RegistryReferrers(Client, place);
        Upload = new RegistryUpload(Client, place);
        Tags = new RegistryTags(Client, place);
    }

    public RegistryEndpoint Endpoint { get; }

    public RegistryClient Client { get; }

    public RegistryReferrers Referrers { get; }

    public RegistryUpload Upload { get; }

    public RegistryTags Tags { get; }

    /// <summary>It is worth asking for a blob, or for a document when <paramref name="blob"/> is null. The last place always is.</summary>
    public bool Serves(Digest? blob)
        => !_hasNext || (Environment.TickCount64 >= Volatile.Read(ref _restsUntil) && !(blob is { } digest && _lacks.TryGetValue(digest, out long until) && Environment.TickCount64 < until));

    /// <summary>It gave the blob with wrong bytes, and is not asked for it even when nobody else has it.</summary>
    public bool IsWrongAbout(Digest? blob) => blob is { } digest && _lacks.TryGetValue(digest, out long until) && until == long.MaxValue;

    /// <summary>It failed: it is passed over for a while, or for this blob.</summary>
    public void Note(ImageException failure, Digest? blob)
    {
        if (failure.Error is ImageError.Unreachable or ImageError.Local)
            Volatile.Write(ref _restsUntil, Environment.TickCount64 + RestTime);
        else if (blob is { } digest && failure.Error == ImageError.Verification)
            Distrust(digest);
        else if (_hasNext && blob is { } lacked)
            _lacks.AddOrUpdate(lacked, static _ => Environment.TickCount64 + LackTime, static (_, known) => Math.Max(known, Environment.TickCount64 + LackTime));
    }

    /// <summary>The blob's bytes were wrong.</summary>
    public void Distrust(Digest blob)
    {
        if (_hasNext)
            _lacks[blob] = long.MaxValue;
        Client.ForgetLocation(blob, null);
    }

    public void Dispose() => Client.Dispose();
}
