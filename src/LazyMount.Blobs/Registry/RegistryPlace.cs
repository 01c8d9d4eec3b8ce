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

    // Milliseconds. A place that lacks a blob, refuses it or gave it wrongly may have mended some time later.
    private const long LackTime = 300_000;

    private readonly ConcurrentDictionary<Digest, long> _lacks = new(); // until that Environment.TickCount64
    private readonly ConcurrentDictionary<Digest, bool> _given = new(); // blobs that it gave bytes of
    private readonly ConcurrentDictionary<Digest, long> _wrong = new(); // until that Environment.TickCount64
    private readonly TimeSpan _longestWait;
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
        Endpoint = endpoint;
        timeouts = timeouts with { Connect = endpoint.DialTimeout ?? timeouts.Connect };
        Client = new RegistryClient(endpoint, credentials, options, hasNext ? timeouts.Short : timeouts, logger);
        _longestWait = options.ReadTimeout == Timeout.InfiniteTimeSpan || options.ReadTimeout / 2 > timeouts.Stall ? timeouts.Stall : options.ReadTimeout / 2;
        Referrers = new RegistryReferrers(Client, place);
        Upload = new RegistryUpload(Client, place);
        Tags = new RegistryTags(Client, place);
    }

    public RegistryEndpoint Endpoint { get; }

    public RegistryClient Client { get; }

    public RegistryReferrers Referrers { get; }

    public RegistryUpload Upload { get; }

    public RegistryTags Tags { get; }

    /// <summary>It failed a while ago, and is not asked before other places.</summary>
    public bool IsResting => Environment.TickCount64 < Volatile.Read(ref _restsUntil);

    /// <summary>It is worth asking for a blob, or for a document when <paramref name="blob"/> is null.</summary>
    public bool Serves(Digest? blob) => !IsResting && !(blob is { } digest && (IsIn(_lacks, digest) || IsIn(_wrong, digest)));

    /// <summary>It failed: it is passed over for a while, or for this blob.</summary>
    public void Note(ImageException failure, Digest? blob)
    {
        if (failure.Error is ImageError.Unreachable or ImageError.Local)
            Rest();
        else if (blob is { } digest)
            (failure.Error == ImageError.Verification ? _wrong : _lacks)[digest] = Environment.TickCount64 + LackTime;
    }

    /// <summary>Somebody gave up waiting for it.</summary>
    /// <param name="waited">For so long.</param>
    public void NoteCancellation(TimeSpan waited)
    {
        if (waited >= _longestWait)
            Rest();
    }

    /// <summary>It gave what it was asked for.</summary>
    public void NoteSuccess(Digest? blob)
    {
        Volatile.Write(ref _restsUntil, long.MinValue);
        if (blob is { } digest)
            _given[digest] = true;
    }

    /// <summary>Some bytes of the blob were wrong. Returns whether that is new of this place, which gave some.</summary>
    public bool Distrust(Digest blob)
    {
        Client.ForgetLocation(blob, null);
        if (!_given.TryRemove(blob, out _))
            return false;
        bool isNew = !IsIn(_wrong, blob);
        _wrong[blob] = Environment.TickCount64 + LackTime;
        return isNew;
    }

    private static bool IsIn(ConcurrentDictionary<Digest, long> marks, Digest blob) => marks.TryGetValue(blob, out long until) && Environment.TickCount64 < until;

    private void Rest() => Volatile.Write(ref _restsUntil, Environment.TickCount64 + RestTime);

    public void Dispose() => Client.Dispose();
}
