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
    // A mirror that cannot be reached, or fails, costs its time-outs once in this time, not at every read.
    private const long RestTime = 60_000;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(2);

    private readonly ConcurrentDictionary<Digest, bool> _useless = new();
    private long _restsUntil = long.MinValue; // Environment.TickCount64

    /// <param name="endpoint">The endpoint.</param>
    /// <param name="credentials">Who the user is there.</param>
    /// <param name="options">What the user asked for.</param>
    /// <param name="timeouts">How patient it is.</param>
    /// <param name="place">What sentences call the repository.</param>
    /// <param name="logger">Told of requests.</param>
    public RegistryPlace(RegistryEndpoint endpoint, CredentialStore credentials, RegistryOptions options, RegistryTimeouts timeouts, string place, ILogger logger)
    {
        Endpoint = endpoint;
        timeouts = timeouts with { Connect = endpoint.DialTimeout ?? timeouts.Connect };
        // Behind a mirror there is another place to ask.
        Client = new RegistryClient(endpoint, credentials, options, endpoint.IsMirror ? timeouts with { Retries = 1, RetriesOnceServed = 1, MaxRetryAfter = s_patience } : timeouts, logger);
        Referrers = new RegistryReferrers(Client, place);
        Upload = new RegistryUpload(Client, place);
        Tags = new RegistryTags(Client, place);
    }

    public RegistryEndpoint Endpoint { get; }

    public RegistryClient Client { get; }

    public RegistryReferrers Referrers { get; }

    public RegistryUpload Upload { get; }

    public RegistryTags Tags { get; }

    /// <summary>It may be asked for a blob, or for a document when <paramref name="blob"/> is null. The registry itself always may.</summary>
    public bool Serves(Digest? blob)
        => !Endpoint.IsMirror || (Environment.TickCount64 >= Volatile.Read(ref _restsUntil) && !(blob is { } digest && _useless.ContainsKey(digest)));

    /// <summary>It failed: a mirror is passed over for a while, or for this blob.</summary>
    public void Note(ImageException failure, Digest? blob)
    {
        // What it has refused or given wrongly it will again; what fails may pass.
        if (failure.Error is ImageError.Unreachable or ImageError.Local)
            Volatile.Write(ref _restsUntil, Environment.TickCount64 + RestTime);
        else if (blob is { } digest)
            _useless[digest] = true;
    }

    /// <summary>The blob's bytes were wrong.</summary>
    public void Distrust(Digest blob) => _useless[blob] = true;

    public void Dispose() => Client.Dispose();
}
