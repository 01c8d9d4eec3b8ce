using System.Collections.Concurrent;
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
    /// <summary>GET, HEAD, or what pushes: POST and PUT.</summary>
    public HttpMethod Method { get; init; } = HttpMethod.Get;

    /// <summary>What is pushed.</summary>
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
}

/// <summary>
/// Requests to one repository at one endpoint (distribution-spec v1.1): scheme, authorization, redirects, retries.
/// </summary>
internal sealed class RegistryClient : IDisposable
{
    private const int MaxRedirects = 5;

    // A server that waits for the rest of what it takes for a request line must not cost the whole connect time-out.
    private static readonly TimeSpan s_probeTimeout = TimeSpan.FromSeconds(3);

    private readonly ILogger _logger;
    private readonly RegistryAuthorization _authorization;
    private readonly ResiliencePipeline _retry;

    // Signed URLs of the CDN by blob: they save the registry's redirect on each range, until one is refused.
    private readonly ConcurrentDictionary<Digest, Uri> _locations = new();
    private volatile Uri? _base;

    /// <param name="endpoint">Whom it asks.</param>
    /// <param name="credentials">Who the user is there.</param>
    /// <param name="timeouts">How patient it is.</param>
    /// <param name="logger">Told of requests and retries.</param>
    public RegistryClient(RegistryEndpoint endpoint, CredentialStore credentials, RegistryTimeouts timeouts, ILogger logger)
    {
        Endpoint = endpoint;
        _logger = logger;
        _base = endpoint.Root;
        Http = new RegistryHttp(endpoint.Host, new RegistryConnections(endpoint.Tls, timeouts), timeouts, logger);
        _authorization = new RegistryAuthorization(Http, endpoint, credentials);
        _retry = new ResiliencePipelineBuilder().AddRetry(new RetryStrategyOptions
        {
            MaxRetryAttempts = timeouts.Retries,
            BackoffType = DelayBackoffType.Exponential,
            UseJitter = true,
            Delay = timeouts.RetryDelay,
            MaxDelay = timeouts.MaxRetryDelay,
            ShouldHandle = static args => ValueTask.FromResult(args.Outcome.Exception is RegistryException { IsTemporary: true } e && args.AttemptNumber < e.MaxRetries),
            DelayGenerator = args => ValueTask.FromResult(args.Outcome.Exception is RegistryException { RetryAfter: { } wait }
                ? (wait < timeouts.MaxRetryDelay ? wait : timeouts.MaxRetryDelay)
                : (TimeSpan?)null),
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

    /// <summary>
    /// Asks, and reads the answer (of a GET 200 or 206, else any 2xx) with <paramref name="read"/>, which owns it unless it throws.
    /// Failures that may pass are tried again, the reading included.
    /// </summary>
    public async Task<T> SendAsync<T>(RegistryRequest request, Func<HttpResponseMessage, CancellationToken, Task<T>> read, CancellationToken cancellationToken)
        => await _retry.ExecuteAsync(
            static async (state, token) =>
            {
                HttpResponseMessage response = await state.Client.SendAsync(state.Request, token).ConfigureAwait(false);
                try
                {
                    return await state.Read(response, token).ConfigureAwait(false);
                }
                catch
                {
                    response.Dispose();
                    throw;
                }
            },
            (Client: this, Request: request, Read: read),
            cancellationToken).ConfigureAwait(false);

    public void Dispose()
    {
        WholeBodies.Dispose();
        _authorization.Dispose();
        Http.Dispose();
    }

    // One try: follows redirects and answers one challenge.
    private async Task<HttpResponseMessage> SendAsync(RegistryRequest request, CancellationToken cancellationToken)
    {
        Uri root = await GetBaseAsync(request.Subject, cancellationToken).ConfigureAwait(false);
        if (request.Elsewhere is null && request.Blob is { } known && _locations.TryGetValue(known, out Uri? location))
        {
            if (await TryRememberedAsync(location, request, cancellationToken).ConfigureAwait(false) is { } remembered)
                return remembered;
        }

        bool secure = root.Scheme == Uri.UriSchemeHttps;
        bool challenged = false;
        Uri url = request.Elsewhere ?? request.Location ?? new Uri(root, $"{Endpoint.Repository}/{request.Path}");
        if (!IsAllowed(url, secure))
            throw new RegistryException(ImageError.Invalid, $"Cannot get {request.Subject}: its URL {RegistryHttp.Redact(url)} is not HTTPS.") { Url = RegistryHttp.Redact(url) };
        for (int redirects = 0; ;)
        {
            // Authorization is for the registry alone: the same scheme, host and port.
            bool own = url.Scheme == root.Scheme && url.Authority == root.Authority;
            AuthenticationHeaderValue? authorization = own ? await _authorization.GetAsync(secure, request.IsPush, request.Subject, cancellationToken).ConfigureAwait(false) : null;
            HttpResponseMessage response = await Http.SendAsync(Message(url, request, authorization), request.Subject, cancellationToken).ConfigureAwait(false);
            if (IsWanted(response, request.Method))
            {
                if (!own && request is { Elsewhere: null, Blob: { } blob })
                    _locations[blob] = url;
                return response;
            }
            if (response.StatusCode == HttpStatusCode.Unauthorized && own && !challenged
                && await AnswerAsync(response, authorization, secure, request, cancellationToken).ConfigureAwait(false))
            {
                response.Dispose();
                challenged = true;
                continue;
            }
            if (request.Elsewhere is not null && (int)response.StatusCode is >= 400 and < 500)
            {
                using (response)
                    throw new RegistryException(ImageError.NotFound, $"{RegistryHttp.Redact(url)} does not have {request.Subject} ({(int)response.StatusCode}).") { Url = RegistryHttp.Redact(url), Status = response.StatusCode };
            }
            if (!IsRedirect(response.StatusCode) || (request.IsPush && (int)response.StatusCode is not (307 or 308)))
                throw await Http.RefusalAsync(response, request.Subject, own, cancellationToken).ConfigureAwait(false);

            using (response)
            {
                if (++redirects > MaxRedirects)
                    throw Http.Broken(response, request.Subject, $"redirects more than {MaxRedirects} times");
                if (response.Headers.Location is not { } target || !Uri.TryCreate(url, target, out Uri? next))
                    throw Http.Broken(response, request.Subject, "redirects to nowhere");
                if (!IsAllowed(next, secure))
                    throw Http.Broken(response, request.Subject, $"redirects to {next.Scheme}, which is not HTTPS");
                url = next;
            }
        }
    }

    /// <summary>HTTPS, and HTTP where the registry itself is spoken to so.</summary>
    private static bool IsAllowed(Uri url, bool secure) => url.Scheme == Uri.UriSchemeHttps || (url.Scheme == Uri.UriSchemeHttp && !secure);

    private async Task<HttpResponseMessage?> TryRememberedAsync(Uri location, RegistryRequest request, CancellationToken cancellationToken)
    {
        HttpResponseMessage? response = null;
        try
        {
            response = await Http.SendAsync(Message(location, request, null), request.Subject, cancellationToken).ConfigureAwait(false);
        }
        catch (RegistryException)
        {
            // The registry may name a better place.
        }
        if (response is not null && IsWanted(response, request.Method))
            return response;
        response?.Dispose();
        _locations.TryRemove(request.Blob!.Value, out _);
        return null;
    }

    private async Task<bool> AnswerAsync(HttpResponseMessage refusal, AuthenticationHeaderValue? sent, bool secure, RegistryRequest request, CancellationToken cancellationToken)
    {
        try
        {
            return await _authorization.AnswerAsync(refusal, sent, secure, request.IsPush, request.Subject, cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            refusal.Dispose();
            throw;
        }
    }

    private static HttpRequestMessage Message(Uri url, RegistryRequest request, AuthenticationHeaderValue? authorization)
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
        return message;
    }

    // A registry on loopback may speak HTTPS or, as most test registries do, plain HTTP: ask once.
    private async ValueTask<Uri> GetBaseAsync(string subject, CancellationToken cancellationToken)
    {
        if (_base is { } known)
            return known;
        Uri secure = BaseOf("https");
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timeout.CancelAfter(s_probeTimeout);
        try
        {
            using HttpResponseMessage response = await Http.SendAsync(new HttpRequestMessage(HttpMethod.Get, secure), subject, timeout.Token).ConfigureAwait(false);
            return _base = secure;
        }
        catch (RegistryException e) when (e.IsNotTls)
        {
            _logger.FellBackToHttp(Endpoint.Host);
            return _base = BaseOf("http");
        }
        catch (Exception e) when (e is RegistryException { IsRefused: true } || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            return BaseOf("http"); // not remembered: nothing was learnt
        }
    }

    private Uri BaseOf(string scheme) => new($"{scheme}://{Endpoint.Host}/v2/");

    private static bool IsWanted(HttpResponseMessage response, HttpMethod method)
        => method == HttpMethod.Get ? response.StatusCode is HttpStatusCode.OK or HttpStatusCode.PartialContent : response.IsSuccessStatusCode;

    private static bool IsRedirect(HttpStatusCode status) => status is HttpStatusCode.MovedPermanently or HttpStatusCode.Found
        or HttpStatusCode.SeeOther or HttpStatusCode.TemporaryRedirect or HttpStatusCode.PermanentRedirect;
}
