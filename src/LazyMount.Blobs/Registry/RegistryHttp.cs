using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using LazyMount.Blobs.Counting;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry.Connections;
using Microsoft.Extensions.Logging;

namespace LazyMount.Blobs.Registry;

/// <summary>Who was asked: what a refusal means depends on it.</summary>
internal enum Asked
{
    /// <summary>The registry.</summary>
    Registry,

    /// <summary>The registry, for a blob that a manifest names.</summary>
    RegistryForBlob,

    /// <summary>The registry's token server.</summary>
    TokenServer,

    /// <summary>Another host that the registry led to.</summary>
    Elsewhere,
}

/// <summary>
/// One HTTP exchange at a time with a registry, its token server or its CDN: time-outs, capped bodies, and every
/// failure as a <see cref="RegistryException"/> with the user's sentence. Knows nothing of tokens, redirects and retries.
/// </summary>
internal sealed class RegistryHttp : IDisposable
{
    private const int MaxErrorSize = 64 << 10;

    // For the body of an error, which only makes its sentence better.
    private static readonly TimeSpan s_errorPatience = TimeSpan.FromSeconds(5);

    // A later time to come again is not worth telling apart.
    private static readonly TimeSpan s_longestWait = TimeSpan.FromDays(365);

    // Bytes a second: what a body that is pushed adds to the patience with its answer.
    private const double SlowestUpload = 64 << 10;

    /// <summary>Secrets of a request besides its Authorization header. They are removed from messages of a server that echoes them.</summary>
    public static readonly HttpRequestOptionsKey<IEnumerable<string>> Secrets = new("Secrets");

    private readonly RegistryConnections _connections;
    private readonly RegistryTimeouts _timeouts;
    private readonly ILogger _logger;
    private volatile bool _isUnverified;

    /// <param name="registry">The host that is asked, for sentences.</param>
    /// <param name="connections">Owned.</param>
    /// <param name="timeouts">How patient it is.</param>
    /// <param name="logger">Told of every answer.</param>
    public RegistryHttp(string registry, RegistryConnections connections, RegistryTimeouts timeouts, ILogger logger)
        => (Registry, _connections, _timeouts, _logger) = (registry, connections, timeouts, logger);

    /// <summary>
    /// True while every answer came over a verified connection: TLS with a certificate that was checked, or loopback. Answers of
    /// token servers and of other hosts that the registry leads to count as well.
    /// </summary>
    public bool IsVerified => !_isUnverified;

    /// <summary>How patient it is.</summary>
    public RegistryTimeouts Timeouts => _timeouts;

    /// <summary>The registry as the user names it.</summary>
    public string Registry { get; }

    /// <summary>Where the bytes of answers are counted.</summary>
    public ServingCounters Counters { get; init; } = new();

    /// <summary>The host has served a request: later failures may be temporary.</summary>
    public bool HasServed { get; set; }

    /// <summary>Sends, and returns the answer with its body still to come; any status is an answer.</summary>
    /// <param name="request">The request; disposed here.</param>
    /// <param name="subject">What it is about, for the sentence: "debian:12 from docker.io".</param>
    /// <param name="cancellationToken">The caller's.</param>
    public async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, string subject, CancellationToken cancellationToken)
    {
        using HttpRequestMessage owned = request;
        using var stall = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        stall.CancelAfter(_timeouts.Connect + _timeouts.Stall + TimeSpan.FromSeconds((request.Content?.Headers.ContentLength ?? 0) / SlowestUpload));
        try
        {
            HttpResponseMessage response = await _connections.SendAsync(request, stall.Token).ConfigureAwait(false);
            if (!IsVerifiedBy(response.RequestMessage!.RequestUri!, _connections.IsTlsVerified))
                _isUnverified = true;
            if (_logger.IsEnabled(LogLevel.Debug))
                _logger.Answered(request.Method.Method, Redact(request.RequestUri!), (int)response.StatusCode);
            return response;
        }
        catch (HttpRequestException e)
        {
            throw Unreachable(request, subject, e);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            bool connecting = e.InnerException is TimeoutException;
            string reason = connecting ? $"no connection within {_timeouts.Connect.TotalSeconds:0.#} s" : "it does not answer";
            throw new RegistryException(ImageError.Unreachable, $"cannot {Verb(request)} {subject}: {Place(request.RequestUri!)} is not reachable ({reason}); check the network and try again", e)
            {
                Method = request.Method.Method,
                Url = Redact(request.RequestUri!),
                IsTemporary = true,
                IsSilent = true,
                MaxRetries = 0, // the time-out itself was patience enough: somebody waits in a read(2)
            };
        }
    }

    /// <summary>For the reader of one body, or of one range in several bodies.</summary>
    public BodyPace NewPace() => new(_timeouts);

    /// <summary>
    /// Reads from a body. A stalled or broken one throws a temporary <see cref="RegistryException"/>, one that is too slow one that
    /// is not: the next would be as slow.
    /// </summary>
    public async ValueTask<int> ReadAsync(Stream body, Memory<byte> buffer, BodyPace pace, HttpRequestMessage? request, string subject, CancellationToken cancellationToken)
    {
        long began = Stopwatch.GetTimestamp();
        using var stall = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        stall.CancelAfter(_timeouts.Stall);
        int read;
        try
        {
            read = await body.ReadAsync(buffer, stall.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or HttpRequestException or ObjectDisposedException or InvalidDataException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            string reason = e is OperationCanceledException ? $"no byte within {_timeouts.Stall.TotalSeconds:0.#} s" : "the connection broke";
            throw Cut(request, subject, reason, e);
        }
        Counters.Add(Counter.FetchedBytes, read);
        return read == 0 || pace.Count(began, read) ? read : throw TooSlow(request, subject);
    }

    private RegistryException TooSlow(HttpRequestMessage? request, string subject)
        => new(ImageError.Unreachable, $"cannot get all of {subject}: {(request?.RequestUri is { } place ? Place(place) : Registry)} sends fewer than {_timeouts.PaceBytes} bytes in {_timeouts.PaceWindow.TotalSeconds:0.#} s; check the network and try again")
        {
            Url = request?.RequestUri is { } url ? Redact(url) : "",
        };

    /// <summary>A body ended before all of it was there.</summary>
    public static RegistryException Cut(HttpRequestMessage? request, string subject, string reason, Exception? cause = null)
        => new(ImageError.Unreachable, $"cannot get all of {subject}: {reason}; check the network and try again", cause)
        {
            Url = request?.RequestUri is { } url ? Redact(url) : "",
            IsTemporary = true,
        };

    /// <summary>A whole small body, decoded if it is encoded, or null when it has more than <paramref name="maxSize"/> bytes.</summary>
    public async Task<byte[]?> ReadAllAsync(HttpResponseMessage response, int maxSize, string subject, CancellationToken cancellationToken)
        => await ReadEncodedAsync(response, maxSize, subject, cancellationToken).ConfigureAwait(false) is not { } body ? null
            : ContentCoding.Of(response) is { } coding ? ContentCoding.DecodeAll(body, coding, maxSize) : body;

    /// <summary>As <see cref="ReadAllAsync"/>, but a document that is too large, empty or a web page is an error.</summary>
    /// <param name="response">The answer.</param>
    /// <param name="maxSize">In bytes.</param>
    /// <param name="subject">For sentences.</param>
    /// <param name="what">What it should be: "a manifest".</param>
    /// <param name="cancellationToken">The caller's.</param>
    public async Task<byte[]> ReadDocumentAsync(HttpResponseMessage response, int maxSize, string subject, string what, CancellationToken cancellationToken)
    {
        byte[] bytes = await ReadAllAsync(response, maxSize, subject, cancellationToken).ConfigureAwait(false)
            ?? throw Broken(response, subject, $"sends {what} of more than {maxSize >> 20} MiB");
        if (bytes.Length == 0)
            throw Broken(response, subject, $"sends an empty answer instead of {what}");
        if (IsWebPage(bytes))
        {
            Uri url = response.RequestMessage!.RequestUri!;
            throw new RegistryException(ImageError.Invalid, $"cannot {Verb(response.RequestMessage)} {subject}: '{Redact(url)}' is a web page, not {what}; check the host's name, and whether a proxy or a login page of the network answers instead")
            {
                Method = response.RequestMessage.Method.Method,
                Url = Redact(url),
                Status = response.StatusCode,
            };
        }
        return bytes;
    }

    /// <summary>Text that begins as HTML does; JSON never does.</summary>
    public static bool IsWebPage(ReadOnlySpan<byte> body)
    {
        if (body.StartsWith((ReadOnlySpan<byte>)[0xEF, 0xBB, 0xBF]))
            body = body[3..];
        return body.TrimStart(" \t\r\n"u8) is [(byte)'<', ..];
    }

    private async Task<byte[]?> ReadEncodedAsync(HttpResponseMessage response, int maxSize, string subject, CancellationToken cancellationToken)
    {
        long? announced = response.Content.Headers.ContentLength;
        if (announced > maxSize)
            return null;
        Stream body = await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
        await using (body.ConfigureAwait(false))
        {
            byte[] buffer = new byte[announced is { } length ? (int)length + 1 : 4096];
            int filled = 0;
            BodyPace pace = NewPace();
            while (true)
            {
                int read = await ReadAsync(body, buffer.AsMemory(filled), pace, response.RequestMessage, subject, cancellationToken).ConfigureAwait(false);
                if (read == 0)
                    return buffer[..filled];
                filled += read;
                if (filled > maxSize)
                    return null;
                if (filled == buffer.Length)
                    Array.Resize(ref buffer, Math.Min(buffer.Length * 2, maxSize + 1));
            }
        }
    }

    /// <summary>The error for an answer that refuses the request. Disposes the answer.</summary>
    /// <param name="response">The answer.</param>
    /// <param name="subject">For the sentence.</param>
    /// <param name="asked">Who gave it.</param>
    /// <param name="account">For the sentence: which credentials were looked for; null when none were.</param>
    /// <param name="cancellationToken">The caller's.</param>
    public async Task<RegistryException> RefusalAsync(HttpResponseMessage response, string subject, Asked asked, string? account, CancellationToken cancellationToken)
    {
        using HttpResponseMessage owned = response;
        HttpRequestMessage request = response.RequestMessage!;
        HttpStatusCode status = response.StatusCode;
        Uri url = request.RequestUri!;
        (string detail, bool isForTls, bool wantsCertificate) = await DetailAsync(response, asked, subject, cancellationToken).ConfigureAwait(false);
        string place = Place(url);
        bool isPush = IsPush(request) && asked != Asked.TokenServer;
        string verb = isPush ? "push" : "get";
        TimeSpan? wait = RetryAfterOf(response);
        string again = wait > _timeouts.MaxRetryAfter ? $"try again at {TimeOf(DateTime.Now + wait.Value)}" : "try again later";
        string login = account ?? $"docker login {Registry} makes an entry";
        (ImageError error, string sentence, bool temporary) = status switch
        {
            HttpStatusCode.TooManyRequests
                => (ImageError.Unreachable, $"cannot {verb} {subject}: {(asked == Asked.Elsewhere ? place : Registry)} limits requests ({detail}); {again}{(asked == Asked.Elsewhere ? "" : ", or log in if that raises your limit")}", true),
            HttpStatusCode.RequestTimeout or HttpStatusCode.InternalServerError or HttpStatusCode.BadGateway or HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout
                => (ImageError.Unreachable, $"cannot {verb} {subject}: {place} failed ({detail}); {again}", true),
            HttpStatusCode.ProxyAuthenticationRequired
                => (ImageError.Unreachable, $"cannot {verb} {subject}: a proxy in front of {place} asks for credentials ({detail}); write the proxy's URL with USER:PASSWORD@", false),
            _ when isForTls
                => (ImageError.Unreachable, $"cannot {verb} {subject}: {place} speaks TLS and was asked in plain HTTP; leave out --plain-http, and write https in the configuration of its mirror", false),
            _ when wantsCertificate
                => (ImageError.Denied, $"cannot {verb} {subject}: {place} asks for a client certificate that it accepts; put client.cert and client.key into '/etc/docker/certs.d/{place}'", false),
            HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden or HttpStatusCode.BadRequest when asked == Asked.TokenServer
                => (ImageError.Denied, $"cannot get {subject}: the token server {place} of {Registry} refuses ({detail}); check the name and the credentials: {login}", false),
            >= (HttpStatusCode)400 and < (HttpStatusCode)500 when asked == Asked.TokenServer
                => (ImageError.Invalid, $"cannot get {subject}: the token server {place} of {Registry} sends an unexpected answer ({detail}); tell its operator", false),
            HttpStatusCode.BadRequest or HttpStatusCode.RequestedRangeNotSatisfiable when asked == Asked.Elsewhere && request.Headers.Range is not null
                => (ImageError.Invalid, $"cannot {verb} {subject}: {place}, where {Registry} stores it, refuses a byte range ({detail}); try again", false),
            // A CDN's refusal is about its signed URL, which may have expired: the registry gives a new one.
            >= (HttpStatusCode)400 and < (HttpStatusCode)500 when asked == Asked.Elsewhere
                => (ImageError.Unreachable, $"cannot {verb} {subject}: {place}, where {Registry} stores it, refuses ({detail}); try again", true),
            HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden or HttpStatusCode.MethodNotAllowed when isPush
                => (ImageError.Denied, $"cannot push {subject}: {Registry} refuses ({detail}); log in as a user who may push there: {login}", false),
            HttpStatusCode.NotFound when isPush
                => (ImageError.NotFound, $"cannot push {subject}: {Registry} refuses ({detail}); check the name", false),
            HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden
                => (ImageError.Denied, $"cannot get {subject}: {Registry} refuses ({detail}); check the name and the credentials: {login}", false),
            HttpStatusCode.NotFound when asked == Asked.RegistryForBlob
                => (ImageError.NotFound, $"cannot get {subject}: {Registry} does not have it ({detail}), but the image's manifest names it; push the image again", false),
            HttpStatusCode.NotFound
                => (ImageError.NotFound, $"cannot get {subject}: {Registry} does not have it ({detail}); check the name and the tag", false),
            _ => (ImageError.Invalid, $"cannot {verb} {subject}: {place} sends an unexpected answer ({detail}); check that it is a registry", false),
        };
        return new RegistryException(error, sentence)
        {
            Method = request.Method.Method,
            Url = Redact(url),
            Status = status,
            Reason = detail,
            IsTemporary = temporary && !(wait > _timeouts.MaxRetryAfter),
            // A CDN that refuses a fresh URL will refuse the next one.
            MaxRetries = asked == Asked.Elsewhere && (int)status is >= 400 and < 500 and not (408 or 429) ? 1 : int.MaxValue,
            RetryAfter = wait,
            IsTls = isForTls,
        };
    }

    // The first error of the body (distribution-spec, "Error Codes"), else the status. What a server echoes of our secrets is left out.
    private async Task<(string Detail, bool IsForTls, bool WantsCertificate)> DetailAsync(HttpResponseMessage response, Asked asked, string subject, CancellationToken cancellationToken)
    {
        HttpRequestMessage request = response.RequestMessage!;
        string detail = $"{(int)response.StatusCode} {response.ReasonPhrase}".TrimEnd();
        bool isForTls = false, wantsCertificate = false;
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(s_errorPatience);
        try
        {
            if (await ReadAllAsync(response, MaxErrorSize, subject, patience.Token).ConfigureAwait(false) is { Length: > 0 } body)
            {
                isForTls = response.StatusCode == HttpStatusCode.BadRequest && request.RequestUri!.Scheme == Uri.UriSchemeHttp
                    && (body.AsSpan().IndexOf("HTTP request to an HTTPS server"u8) >= 0 || body.AsSpan().IndexOf("plain HTTP request was sent to HTTPS port"u8) >= 0
                        || body.AsSpan().IndexOf("speaking plain HTTP to an SSL-enabled server port"u8) >= 0);
                // What nginx writes into its pages.
                wantsCertificate = response.StatusCode == HttpStatusCode.BadRequest
                    && (body.AsSpan().IndexOf("No required SSL certificate was sent"u8) >= 0 || body.AsSpan().IndexOf("The SSL certificate error"u8) >= 0);
                if (!isForTls && !wantsCertificate && GoJsonReader.Read(body, ErrorsJson.Form.Read).Errors is [var first, ..]
                    && string.Join(": ", new[] { first.Code, first.Message }.Where(text => !string.IsNullOrEmpty(text))) is { Length: > 0 } told)
                {
                    detail = told;
                }
            }
        }
        catch (Exception e) when (e is JsonException or RegistryException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            // The status alone must do.
        }
        return (Printable.Of(WithoutSecrets(detail, request, asked)), isForTls, wantsCertificate);
    }

    private static string WithoutSecrets(string text, HttpRequestMessage request, Asked asked)
    {
        // The longest first: a shorter one may be a part of it.
        foreach (string secret in SecretsOf(request, asked).Where(secret => secret.Length > 3).OrderByDescending(secret => secret.Length))
            text = text.Replace(secret, "***", StringComparison.Ordinal);
        return text;
    }

    private static IEnumerable<string> SecretsOf(HttpRequestMessage request, Asked asked)
    {
        var secrets = new List<string>();
        if (request.RequestUri!.Query is { Length: > 1 } query)
        {
            secrets.Add(query[1..]);
            // Another host's URL is signed, and any of its parameters may be the key to it. Those of registry and token server are no secrets.
            if (asked == Asked.Elsewhere)
                secrets.AddRange(query[1..].Split('&').Select(parameter => parameter[(parameter.IndexOf('=', StringComparison.Ordinal) + 1)..]));
        }
        if (request.Options.TryGetValue(Secrets, out IEnumerable<string>? others))
            secrets.AddRange(others);
        if (request.Headers.NonValidated.TryGetValues("Authorization", out var authorization))
        {
            foreach (string value in authorization)
            {
                string parameter = value[(value.IndexOf(' ', StringComparison.Ordinal) + 1)..].Trim();
                secrets.Add(parameter);
                var pair = new byte[parameter.Length];
                if (value.StartsWith("Basic ", StringComparison.OrdinalIgnoreCase) && Convert.TryFromBase64String(parameter, pair, out int length))
                {
                    string text = System.Text.Encoding.UTF8.GetString(pair, 0, length);
                    secrets.Add(text);
                    secrets.Add(text[(text.IndexOf(':', StringComparison.Ordinal) + 1)..]);
                }
            }
        }
        return secrets.Concat(secrets.Select(Uri.UnescapeDataString)).Concat(secrets.Select(Uri.EscapeDataString)).Distinct();
    }

    private static TimeSpan? RetryAfterOf(HttpResponseMessage response)
    {
        TimeSpan? wait = response.Headers.RetryAfter switch
        {
            { Delta: { } delta } => delta,
            { Date: { } date } when date > DateTimeOffset.UtcNow => date - DateTimeOffset.UtcNow,
            _ => null,
        };
        return wait > s_longestWait ? s_longestWait : wait;
    }

    private static string TimeOf(DateTime time)
        => time.ToString(time.Date == DateTime.Today ? "HH:mm" : "yyyy-MM-dd HH:mm", System.Globalization.CultureInfo.InvariantCulture);

    /// <summary>Where a redirect leads; null: nowhere.</summary>
    public static Uri? RedirectOf(HttpResponseMessage response)
        => response.Headers.NonValidated.TryGetValues("Location", out var values) && values.FirstOrDefault() is { Length: > 0 } target ? RawUrl.Resolve(response.RequestMessage!.RequestUri!, target) : null;

    /// <summary>301, 302, 303, 307 and 308.</summary>
    public static bool IsRedirect(HttpStatusCode status) => status is HttpStatusCode.MovedPermanently or HttpStatusCode.Found
        or HttpStatusCode.SeeOther or HttpStatusCode.TemporaryRedirect or HttpStatusCode.PermanentRedirect;

    /// <summary>A well-formed answer that breaks the protocol.</summary>
    public RegistryException Broken(HttpResponseMessage response, string subject, string reason)
        => new(ImageError.Invalid, $"cannot {Verb(response.RequestMessage!)} {subject}: {Place(response.RequestMessage!.RequestUri!)} {reason}; the registry or a proxy in front of it is at fault")
        {
            Method = response.RequestMessage.Method.Method,
            Url = Redact(response.RequestMessage.RequestUri!),
            Status = response.StatusCode,
        };

    public void Dispose() => _connections.Dispose();

    /// <summary>Without query and user info: either may be a secret.</summary>
    public static string Redact(Uri url) => $"{url.Scheme}://{url.Authority}{url.AbsolutePath}";

    /// <summary>A connection to this place proves who answers.</summary>
    internal static bool IsVerifiedBy(Uri url, bool isTlsVerified) => (url.Scheme == Uri.UriSchemeHttps && isTlsVerified) || Loopback.Is(url);

    private RegistryException Unreachable(HttpRequestMessage request, string subject, HttpRequestException e)
    {
        Uri url = request.RequestUri!;
        ConnectionFailure failure = _connections.WhyNot(url, Place(url), e);
        bool isRefused = (e.InnerException as SocketException)?.SocketErrorCode == SocketError.ConnectionRefused;
        return new RegistryException(ImageError.Unreachable, $"cannot {Verb(request)} {subject}: {failure.Reason}", e)
        {
            Method = request.Method.Method,
            Url = Redact(url),
            IsTemporary = failure.IsTemporary,
            MaxRetries = e.HttpRequestError switch
            {
                _ when HasServed => int.MaxValue,
                HttpRequestError.NameResolutionError => 1,
                HttpRequestError.ConnectionError => 2,
                _ => int.MaxValue,
            },
            IsNotTls = failure.IsNotTls,
            IsSilent = failure.IsSilent,
            IsTls = e.HttpRequestError == HttpRequestError.InvalidResponse && url.Scheme == Uri.UriSchemeHttp,
            IsRefused = isRefused,
        };
    }

    private static bool IsPush(HttpRequestMessage request) => request.Method == HttpMethod.Post || request.Method == HttpMethod.Put;

    private static string Verb(HttpRequestMessage request) => IsPush(request) ? "push" : "get";

    private string Place(Uri url) => url.IsDefaultPort && url.Host == Registry ? Registry : url.Authority;
}
