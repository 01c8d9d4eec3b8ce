using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry.Accounts;
using LazyMount.Blobs.Registry.Connections;
using LazyMount.Blobs.Registry.Hosts;
using Microsoft.Extensions.Logging;
using Polly;
using Polly.Retry;

namespace LazyMount.Blobs.Registry;

/// <summary>One request below /v2/REPOSITORY/.</summary>
/// <param name="Path">Such as "manifests/latest", with a query if it has one.</param>
/// <param name="Subject">What it gets or pushes, for sentences.</param>
internal sealed record RegistryRequest(string Path, string Subject)
{
    /// <summary>GET or HEAD, or for a push POST or PUT.</summary>
    public HttpMethod Method { get; init; } = HttpMethod.Get;

    /// <summary>The bytes to push.</summary>
    public ReadOnlyMemory<byte>? Body { get; init; }

    /// <summary>The body's media type.</summary>
    public string BodyType { get; init; } = "application/octet-stream";

    /// <summary>Asks there: where the registry said that an upload goes on, or another page of a list is.</summary>
    public Uri? Location { get; init; }

    /// <summary>It changes the repository.</summary>
    public bool IsPush => Method == HttpMethod.Post || Method == HttpMethod.Put;

    /// <summary>Media types to accept; null for any.</summary>
    public IReadOnlyList<string>? Accept { get; init; }

    /// <summary>The blob that it asks for: where the registry redirected is remembered for the next range.</summary>
    public Digest? Blob { get; init; }

    /// <summary>Asks there and not the registry: one of a foreign layer's urls. Gets no credentials.</summary>
    public Uri? Elsewhere { get; init; }

    /// <summary>First and last byte wanted; null for everything.</summary>
    public (long First, long Last)? Range { get; init; }

    /// <summary>Taken before it is sent, and given back when it fails; null for what is not counted.</summary>
    public BodyPlace? Place { get; init; }
}

/// <summary>
/// Requests to one repository at one endpoint (distribution-spec v1.1): scheme, authorization, redirects, retries.
/// </summary>
internal sealed class RegistryClient : IDisposable
{
    private const int MaxRedirects = 5;

    // A server that waits for the rest of what it takes for a request line must not cost the whole connect time-out.
    private static readonly TimeSpan s_probeTimeout = TimeSpan.FromSeconds(3);

    private readonly RegistryTimeouts _timeouts;
    private readonly ILogger _logger;
    private readonly RegistryAuthorization _authorization;
    private readonly ConcurrentDictionary<string, RegistryAuthorization> _elsewhere = new();
    private readonly ResiliencePipeline _retry;
    private readonly BlobLocations _locations = new();
    private readonly SemaphoreSlim _probing = new(1, 1);
    private volatile Uri? _root;
    private volatile bool _isDisposed;
    private (Uri Root, long Since)? _guessed; // guarded by _probing
    private long _rangesFrom = long.MinValue; // Environment.TickCount64

    /// <param name="endpoint">Whom it asks.</param>
    /// <param name="credentials">Who the user is there.</param>
    /// <param name="options">What the user asked for.</param>
    /// <param name="timeouts">How patient it is.</param>
    /// <param name="logger">Told of requests and retries.</param>
    public RegistryClient(RegistryEndpoint endpoint, CredentialStore credentials, RegistryOptions options, RegistryTimeouts timeouts, ILogger logger)
    {
        Endpoint = endpoint;
        (_timeouts, _logger) = (timeouts, logger);
        _root = endpoint.FallsBackToHttp ? null : endpoint.Root;
        Http = new RegistryHttp(endpoint.Host, new RegistryConnections(endpoint, options, timeouts), timeouts, logger) { Counters = options.Counters };
        _authorization = new RegistryAuthorization(Http, endpoint, credentials, options.Note, logger);
        _retry = new ResiliencePipelineBuilder().AddRetry(new RetryStrategyOptions
        {
            MaxRetryAttempts = Math.Max(timeouts.Retries, timeouts.RetriesOnceServed),
            BackoffType = DelayBackoffType.Exponential,
            UseJitter = true,
            Delay = timeouts.RetryDelay,
            MaxDelay = timeouts.MaxRetryDelay,
            ShouldHandle = args => ValueTask.FromResult(args.Outcome.Exception is RegistryException { IsTemporary: true } e
                && args.AttemptNumber < Math.Min(e.MaxRetries, Http.HasServed ? timeouts.RetriesOnceServed : timeouts.Retries)),
            DelayGenerator = static args => ValueTask.FromResult(args.Outcome.Exception is RegistryException { RetryAfter: { } wait } && wait > TimeSpan.Zero ? wait : (TimeSpan?)null),
            OnRetry = args =>
            {
                logger.Retrying(args.RetryDelay, args.AttemptNumber + 1, args.Outcome.Exception!.Message);
                return default;
            },
        }).Build();
    }

    /// <summary>Whom it asks.</summary>
    public RegistryEndpoint Endpoint { get; }

    public RegistryHttp Http { get; }

    public WholeBodies WholeBodies { get; } = new();

    public HostLimits Limits { get; } = new();

    /// <summary>The host has given a range that it was asked for.</summary>
    public bool HasGivenRanges { get; set; }

    /// <summary>False for a while after the host refused a range and had given none before.</summary>
    public bool GivesRanges => Environment.TickCount64 >= Volatile.Read(ref _rangesFrom);

    /// <summary>The host refuses ranges: it is not asked for any for a while.</summary>
    public void DoWithoutRanges(string reason)
    {
        _logger.RangesRefused(Endpoint.Host, reason);
        Volatile.Write(ref _rangesFrom, Environment.TickCount64 + (long)_timeouts.RangesRefused.TotalMilliseconds);
    }

    /// <summary>
    /// Asks, and reads the answer (of a GET 200 or 206, else any 2xx) with <paramref name="read"/>, which owns it unless it throws.
    /// Failures that may pass are tried again, the reading included.
    /// </summary>
    public async Task<T> SendAsync<T>(RegistryRequest request, Func<HttpResponseMessage, CancellationToken, Task<T>> read, CancellationToken cancellationToken)
    {
        try
        {
            return await _retry.ExecuteAsync(
                static (state, token) => new ValueTask<T>(state.Client.TryAsync(state.Request, state.Read, state.Patience, token)),
                (Client: this, Request: request, Read: read, Patience: new Patience()),
                cancellationToken).ConfigureAwait(false);
        }
        catch (ObjectDisposedException e) when (_isDisposed)
        {
            throw new OperationCanceledException($"the source of {request.Subject} was closed", e);
        }
    }

    /// <summary>What one request and its retries have used up.</summary>
    private sealed class Patience
    {
        /// <summary>The sum of the waits that answers asked for.</summary>
        public TimeSpan Waited { get; set; }

        public int Failures { get; set; }
    }

    /// <summary>The place to which the registry redirected requests for a blob gave wrong or broken bytes: the registry is asked again.</summary>
    /// <param name="blob">The blob.</param>
    /// <param name="url">The place; null: whichever is remembered.</param>
    public void ForgetLocation(Digest blob, Uri? url) => _locations.Forget(blob, url);

    /// <summary>It was disposed: what is under way ends with an <see cref="ObjectDisposedException"/>.</summary>
    public bool IsDisposed => _isDisposed;

    public void Dispose()
    {
        _isDisposed = true;
        WholeBodies.Dispose();
        _authorization.Dispose();
        foreach (RegistryAuthorization authorization in _elsewhere.Values)
            authorization.Dispose();
        _probing.Dispose();
        Limits.Dispose();
        Http.Dispose();
    }

    // One try.
    private async Task<T> TryAsync<T>(RegistryRequest request, Func<HttpResponseMessage, CancellationToken, Task<T>> read, Patience patience, CancellationToken cancellationToken)
    {
        try
        {
            await Limits.WaitAsync(request.Blob, cancellationToken).ConfigureAwait(false);
            if (request.Place is { } place)
                await place.TakeAsync(cancellationToken).ConfigureAwait(false);
            return await TryAsync(request, read, cancellationToken).ConfigureAwait(false);
        }
        catch (RegistryException e) when (e.IsTemporary)
        {
            request.Place?.Release();
            patience.Waited += e.RetryAfter ?? TimeSpan.Zero;
            // Of a foreign layer's URLs the next one may be good.
            bool isEnough = patience.Waited > _timeouts.MaxRetryAfter || (request.Elsewhere is not null && ++patience.Failures > 1);
            if (isEnough)
                throw new RegistryException(e.Error, e.Message, e) { Method = e.Method, Url = e.Url, Status = e.Status, Reason = e.Reason, IsNotTls = e.IsNotTls, IsTls = e.IsTls, IsRefused = e.IsRefused };
            throw;
        }
        catch
        {
            request.Place?.Release();
            throw;
        }
    }

    private async Task<T> TryAsync<T>(RegistryRequest request, Func<HttpResponseMessage, CancellationToken, Task<T>> read, CancellationToken cancellationToken)
    {
        if (request is { Elsewhere: null, Blob: { } known } && _locations.TryGet(known) is { } location)
        {
            try
            {
                HttpResponseMessage response = await Http.SendAsync(Message(location, request, null, own: false), request.Subject, cancellationToken).ConfigureAwait(false);
                if (IsWanted(response, request.Method))
                    return await ReadAsync(response).ConfigureAwait(false);
                response.Dispose();
            }
            catch (RegistryException)
            {
                // The registry may name a better place.
            }
            _locations.Forget(known, location);
        }
        (HttpResponseMessage answer, bool own) = await SendAsync(request, cancellationToken).ConfigureAwait(false);
        Uri url = answer.RequestMessage!.RequestUri!;
        T result = await ReadAsync(answer).ConfigureAwait(false);
        if (!own && request is { Elsewhere: null, Blob: { } blob })
            _locations.Remember(blob, url); // not before its answer was sound
        return result;

        async Task<T> ReadAsync(HttpResponseMessage response)
        {
            try
            {
                return await read(response, cancellationToken).ConfigureAwait(false);
            }
            catch
            {
                response.Dispose();
                throw;
            }
        }
    }

    private async Task<(HttpResponseMessage Response, bool Own)> SendAsync(RegistryRequest request, CancellationToken cancellationToken)
    {
        Uri root = await GetRootAsync(request.Subject, cancellationToken).ConfigureAwait(false);
        try
        {
            (HttpResponseMessage Response, bool Own) answer = await SendAsync(request, root, cancellationToken).ConfigureAwait(false);
            Http.HasServed = true;
            return answer;
        }
        catch (RegistryException e) when (e.RetryAfter > TimeSpan.Zero && e.IsTemporary && request.Blob is { } blob)
        {
            Limits.LeaveAlone(blob, e.RetryAfter.Value);
            throw;
        }
        catch (RegistryException e) when (Endpoint.FallsBackToHttp && (root.Scheme == Uri.UriSchemeHttps ? e.IsNotTls : e.IsTls))
        {
            // Started again with another scheme.
            Interlocked.CompareExchange(ref _root, null, root);
            return await SendAsync(request, await GetRootAsync(request.Subject, cancellationToken).ConfigureAwait(false), cancellationToken).ConfigureAwait(false);
        }
    }

    // Follows redirects and answers challenges.
    private async Task<(HttpResponseMessage Response, bool Own)> SendAsync(RegistryRequest request, Uri root, CancellationToken cancellationToken)
    {
        bool secure = root.Scheme == Uri.UriSchemeHttps;
        Uri url = request.Elsewhere ?? request.Location ?? UrlOf(root, request);
        if (!IsAllowed(url, secure))
            throw new RegistryException(ImageError.Invalid, $"cannot get {request.Subject}: its URL '{RegistryHttp.Redact(url)}' is not HTTPS") { Url = RegistryHttp.Redact(url) };
        for (int redirects = 0, answered = 0; ;)
        {
            // Authorization is for the registry alone: the same scheme, host and port. Another registry that it leads to may want a token
            // of its own, which it gives to everybody. The URL of a foreign layer was written by whoever made the image: it gets neither.
            bool own = request.Elsewhere is null && url.Scheme == root.Scheme && url.Authority == root.Authority;
            RegistryAuthorization? authorization = own ? _authorization : request.Elsewhere is null ? _elsewhere.GetValueOrDefault(url.GetLeftPart(UriPartial.Authority)) : null;
            Uri home = own ? root : new Uri(url, "/v2/");
            AuthenticationHeaderValue? sent = authorization is null ? null : await authorization.GetAsync(home, request.IsPush, request.Subject, cancellationToken).ConfigureAwait(false);
            HttpResponseMessage response = await Http.SendAsync(Message(url, request, sent, own), request.Subject, cancellationToken).ConfigureAwait(false);
            if (IsWanted(response, request.Method))
                return (response, own);
            if (!own && request.Elsewhere is null && Challenge.Of(response)?.Scheme == "Bearer")
                authorization ??= _elsewhere.GetOrAdd(url.GetLeftPart(UriPartial.Authority), _ => new RegistryAuthorization(Http, Endpoint, store: null, static _ => { }, _logger));
            if (authorization is not null && await AnswerAsync(authorization, response, sent, home, answered, request, cancellationToken).ConfigureAwait(false))
            {
                response.Dispose();
                answered++;
                continue;
            }
            if (request.Elsewhere is not null && (int)response.StatusCode is >= 400 and < 500)
            {
                using (response)
                    throw new RegistryException(ImageError.NotFound, $"cannot get {request.Subject}: '{RegistryHttp.Redact(url)}' does not have it ({(int)response.StatusCode})") { Url = RegistryHttp.Redact(url), Status = response.StatusCode };
            }
            if (!RegistryHttp.IsRedirect(response.StatusCode) || (request.IsPush && (int)response.StatusCode is not (307 or 308)))
            {
                Asked asked = !own ? Asked.Elsewhere : request.Blob is null ? Asked.Registry : Asked.RegistryForBlob;
                throw await Http.RefusalAsync(response, request.Subject, asked, _authorization.Account, cancellationToken).ConfigureAwait(false);
            }

            using (response)
            {
                if (++redirects > MaxRedirects)
                    throw Http.Broken(response, request.Subject, $"redirects more than {MaxRedirects} times");
                if (RegistryHttp.RedirectOf(response) is not { } next)
                    throw Http.Broken(response, request.Subject, "redirects without a target");
                if (!IsAllowed(next, secure))
                    throw Http.Broken(response, request.Subject, $"redirects to {next.Scheme}, which is not HTTPS");
                if (next.Authority != url.Authority)
                    answered = 0; // another host has its own challenge
                url = next;
            }
        }
    }

    /// <summary>HTTPS, and HTTP where the registry itself is spoken to so.</summary>
    private static bool IsAllowed(Uri url, bool secure) => url.Scheme == Uri.UriSchemeHttps || (url.Scheme == Uri.UriSchemeHttp && !secure);

    private Uri UrlOf(Uri root, RegistryRequest request)
    {
        string path = $"{Endpoint.Repository}/{request.Path}";
        return new Uri(root, Endpoint.Namespace is { } space ? $"{path}{(path.Contains('?') ? '&' : '?')}ns={Uri.EscapeDataString(space)}" : path);
    }

    private static async Task<bool> AnswerAsync(
        RegistryAuthorization authorization, HttpResponseMessage refusal, AuthenticationHeaderValue? sent, Uri root, int answered, RegistryRequest request, CancellationToken cancellationToken)
    {
        try
        {
            return await authorization.AnswerAsync(refusal, sent, root, request.IsPush, answered, request.Subject, cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            refusal.Dispose();
            throw;
        }
    }

    private HttpRequestMessage Message(Uri url, RegistryRequest request, AuthenticationHeaderValue? authorization, bool own)
    {
        var message = new HttpRequestMessage(request.Method, url);
        message.Headers.Authorization = authorization;
        if (request.Body is { } body)
            message.Content = new ReadOnlyMemoryContent(body) { Headers = { ContentType = new MediaTypeHeaderValue(request.BodyType) } };
        else if (request.IsPush)
            message.Content = new ByteArrayContent([]); // says that its length is 0
        foreach (string type in request.Accept ?? [])
            message.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue(type));
        if (request.Range is { } range)
            message.Headers.Range = new RangeHeaderValue(range.First, range.Last);
        message.Options.Set(RegistryHttp.Secrets, Endpoint.Headers.Select(header => header.Value));
        foreach ((string name, string value) in own ? Endpoint.Headers : [])
        {
            // The user's own Authorization counts until the registry asks for another.
            if (!name.Equals("Authorization", StringComparison.OrdinalIgnoreCase) || authorization is null)
                message.Headers.TryAddWithoutValidation(name, value);
        }
        return message;
    }

    // A registry on loopback may speak HTTPS or, as most test registries do, plain HTTP: it is asked once, by one of those who wait.
    private async ValueTask<Uri> GetRootAsync(string subject, CancellationToken cancellationToken)
    {
        if (_root is { } known)
            return known;
        long since = Stopwatch.GetTimestamp();
        await _probing.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_root is { } found)
                return found;
            // Those who waited meanwhile share what one has found out, though it is not certain. Those who come later ask again: the server may be back.
            if (_guessed is { } guess && guess.Since > since)
                return guess.Root;
            Uri root = await ProbeAsync(subject, cancellationToken).ConfigureAwait(false);
            _guessed = (root, Stopwatch.GetTimestamp());
            return root;
        }
        finally
        {
            _probing.Release();
        }
    }

    private async Task<Uri> ProbeAsync(string subject, CancellationToken cancellationToken)
    {
        Uri plain = Endpoint.PlainRoot!;
        switch (await AskAsync(Endpoint.Root).ConfigureAwait(false))
        {
            case null:
                return _root = Endpoint.Root;
            case { IsNotTls: true }:
                break;
            case { IsSilent: true }:
            case { IsRefused: true } when plain.Port != Endpoint.Root.Port:
                // A server of plain HTTP may do that, and one of TLS on a bad day.
                if (await AskAsync(plain).ConfigureAwait(false) is not null)
                    return Endpoint.Root; // not remembered: nothing was learnt
                break;
            case { } failure:
                throw failure; // nothing listens, or a certificate is not trusted
        }
        _logger.FellBackToHttp(Endpoint.Host);
        return _root = plain;

        // Null: it answers in this scheme.
        async Task<RegistryException?> AskAsync(Uri root)
        {
            using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            timeout.CancelAfter(s_probeTimeout);
            try
            {
                using HttpResponseMessage response = await Http.SendAsync(new HttpRequestMessage(HttpMethod.Get, root), subject, timeout.Token).ConfigureAwait(false);
                // So do servers of TLS answer plain text, each in its own words.
                return root.Scheme == Uri.UriSchemeHttp && response.StatusCode == HttpStatusCode.BadRequest
                    ? await Http.RefusalAsync(response, subject, Asked.Registry, null, timeout.Token).ConfigureAwait(false) : null;
            }
            catch (RegistryException e)
            {
                return e;
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                return new RegistryException(ImageError.Unreachable, $"{Endpoint.Host} does not answer") { IsSilent = true };
            }
        }
    }

    private static bool IsWanted(HttpResponseMessage response, HttpMethod method)
        => method == HttpMethod.Get ? response.StatusCode is HttpStatusCode.OK or HttpStatusCode.PartialContent : response.IsSuccessStatusCode;
}
