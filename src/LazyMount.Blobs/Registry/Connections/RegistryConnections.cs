using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Net.Sockets;
using System.Reflection;
using System.Security.Cryptography.X509Certificates;
using System.Text.RegularExpressions;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Registry.Hosts;

namespace LazyMount.Blobs.Registry.Connections;

/// <summary>Why there is no connection.</summary>
/// <param name="Reason">What failed and what to do, as a clause.</param>
/// <param name="IsTemporary">It may pass.</param>
/// <param name="IsNotTls">The server is there and does not speak TLS.</param>
/// <param name="IsSilent">The connection broke before the server had said anything.</param>
internal readonly record struct ConnectionFailure(string Reason, bool IsTemporary, bool IsNotTls = false, bool IsSilent = false);

/// <summary>
/// The connections to one endpoint, its token server and wherever they redirect to: one client for each scheme, host and port, so that
/// a client certificate is shown to the endpoint alone. Files of certificates that change are read again. Thread-safe.
/// </summary>
internal sealed partial class RegistryConnections : IDisposable
{
    /// <summary>
    /// Bytes of one HTTP/2 stream that a server may send before we have taken any. The default of 64 KiB is 0.6 MB/s at 100 ms, until it has
    /// grown; a range of chunks has up to 4 MiB. Not measured: a reader that pauses holds at most this.
    /// </summary>
    private const int StreamWindow = 1 << 20;

    private static readonly ProductInfoHeaderValue s_userAgent = new("lazymount",
        typeof(RegistryConnections).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "0");

    private readonly ConcurrentDictionary<string, Lazy<Client>> _clients = new();
    private readonly EndpointTls _tls;
    private readonly string _endpoint;
    private readonly ProxySettings _proxies;
    private readonly RegistryTimeouts _timeouts;
    private readonly AddressRace _race;

    /// <param name="endpoint">How servers prove who they are, and who may see the client certificates.</param>
    /// <param name="options">The environment names proxies.</param>
    /// <param name="timeouts">How patient connecting is.</param>
    /// <param name="race">How hosts are connected to; null: as the system resolves them.</param>
    /// <exception cref="ImageException">A proxy's variable is malformed.</exception>
    public RegistryConnections(RegistryEndpoint endpoint, RegistryOptions options, RegistryTimeouts timeouts, AddressRace? race = null)
    {
        (_tls, _timeouts, _race) = (endpoint.Tls, timeouts, race ?? AddressRace.OfSystem);
        _endpoint = endpoint.Root.Authority;
        _proxies = new ProxySettings(options.Environment, endpoint.Proxy, endpoint.Origin);
    }

    /// <summary>The certificates of servers are checked.</summary>
    public bool IsTlsVerified => _tls.IsVerified;

    /// <summary>Sends, and returns the answer with its body still to come. Follows no redirect.</summary>
    /// <exception cref="HttpRequestException">There is no answer; <see cref="WhyNot"/> says why.</exception>
    /// <exception cref="ImageException">A file of certificates cannot be used.</exception>
    public async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        Uri url = request.RequestUri!;
        request.Headers.UserAgent.Add(s_userAgent);
        request.Headers.TryAddWithoutValidation("Accept-Encoding", "identity"); // digests and ranges are of the bytes as they are
        (request.Version, request.VersionPolicy) = (url.Scheme == Uri.UriSchemeHttps ? HttpVersion.Version20 : HttpVersion.Version11, HttpVersionPolicy.RequestVersionOrLower);
        return await ClientFor(url).Http.SendAsync(request, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Says why a request had no answer.</summary>
    public ConnectionFailure WhyNot(Uri url, string place, HttpRequestException e)
    {
        SocketError? socket = Causes(e).OfType<SocketException>().FirstOrDefault()?.SocketErrorCode;
        if (_proxies.Describe(url) is { } proxy && WhyNotThrough(proxy, place, e, socket) is { } failure)
            return failure;
        if (_clients.TryGetValue(KeyOf(url), out Lazy<Client>? client) && client.Value.Check.Refusal is { } refusal && e.HttpRequestError == HttpRequestError.SecureConnectionError)
            return new ConnectionFailure(refusal, IsTemporary: false);
        if (url.Scheme == Uri.UriSchemeHttps && string.Join(' ', Causes(e).Select(each => each.Message)) is var told && WhyNotTls(told, place, e) is { } tls)
            return tls;
        return e.HttpRequestError switch
        {
            HttpRequestError.NameResolutionError => new($"the host {url.Host} is not known; check the name and the network", socket != SocketError.HostNotFound),
            _ when socket == SocketError.ConnectionRefused => new($"nothing listens at {place} (connection refused); check the host and the port, and that the registry runs", true),
            HttpRequestError.ConnectionError => new($"{place} is not reachable ({socket?.ToString() ?? e.Message}); check the network and try again", true),
            HttpRequestError.InvalidResponse when url.Scheme == Uri.UriSchemeHttp => new($"{place} does not answer as a web server does; if it speaks TLS, leave out --plain-http", true),
            HttpRequestError.ConfigurationLimitExceeded => new($"{place} sends more header fields than are accepted; it or a proxy in front of it is at fault", false),
            _ => new($"the connection to {place} broke; check the network and try again", true, IsSilent: true),
        };
    }

    public void Dispose()
    {
        foreach (Lazy<Client> client in _clients.Values.Where(client => client.IsValueCreated))
            client.Value.Http.Dispose();
    }

    private sealed class ProxyTlsException(string reason, Exception cause) : IOException(reason, cause);

    private static ConnectionFailure? WhyNotThrough(string proxy, string place, HttpRequestException e, SocketError? socket)
    {
        if (Causes(e).OfType<ProxyTlsException>().FirstOrDefault() is { } tls)
            return new($"the proxy {proxy} is not reachable ({tls.Message}); check its URL and its certificate", tls.InnerException is IOException);
        if (e.HttpRequestError == HttpRequestError.ProxyTunnelError)
        {
            string status = StatusPattern().Match(e.Message) is { Success: true } match ? match.Groups[1].Value : "";
            return status switch
            {
                "407" => new($"the proxy {proxy} asks for credentials (407); write its URL with USER:PASSWORD@", false),
                "403" => new($"the proxy {proxy} refuses to connect to {place} (403); ask its operator, or add the host to NO_PROXY", false),
                "" => new($"the proxy {proxy} does not connect to {place} ({Printable.Of(FileProblem.Reason(Causes(e).Last()))}); check its URL, and the host's name", true),
                _ => new($"the proxy {proxy} cannot connect to {place} ({status}); check the host's name and try again", status is "500" or "502" or "503" or "504"),
            };
        }
        return e.HttpRequestError switch
        {
            HttpRequestError.NameResolutionError => new($"the host of the proxy {proxy} is not known; correct or unset the variable", socket != SocketError.HostNotFound),
            HttpRequestError.ConnectionError => new($"the proxy {proxy} is not reachable ({(socket == SocketError.ConnectionRefused ? "connection refused" : socket?.ToString() ?? e.Message)}); check that it runs, or unset the variable", true),
            _ => null,
        };
    }

    // The TLS library says it in words only. With TLS 1.3 a server refuses a client's certificate after the handshake, at the first read.
    private static ConnectionFailure? WhyNotTls(string told, string place, HttpRequestException e)
    {
        if (told.Contains("certificate required", StringComparison.OrdinalIgnoreCase))
            return new($"{place} asks for a client certificate; put client.cert and client.key into '/etc/docker/certs.d/{place}'", false);
        if (told.Contains("alert bad certificate", StringComparison.OrdinalIgnoreCase) || told.Contains("alert unknown ca", StringComparison.OrdinalIgnoreCase)
            || told.Contains("alert certificate", StringComparison.OrdinalIgnoreCase) || told.Contains("alert unsupported certificate", StringComparison.OrdinalIgnoreCase))
        {
            return new($"{place} does not accept our client certificate, or asks for one; check client.cert and client.key in '/etc/docker/certs.d/{place}'", false);
        }
        if (told.Contains("protocol version", StringComparison.OrdinalIgnoreCase) || told.Contains("unsupported protocol", StringComparison.OrdinalIgnoreCase))
            return new($"{place} speaks only TLS versions below 1.2, which are not accepted; its operator must update it", false);
        if (told.Contains("alert handshake failure", StringComparison.OrdinalIgnoreCase))
            return new($"{place} ends the TLS handshake: it asks for a client certificate, or for a cipher that is not accepted here", false);
        if (told.Contains("wrong version number", StringComparison.OrdinalIgnoreCase) || told.Contains("corrupted frame", StringComparison.OrdinalIgnoreCase))
            return new ConnectionFailure($"{place} does not answer with TLS; if it speaks plain HTTP, use --plain-http", IsTemporary: false, IsNotTls: true);
        return e.HttpRequestError == HttpRequestError.SecureConnectionError
            ? new ConnectionFailure($"the connection to {place} broke in the TLS handshake; check that it speaks TLS and try again", IsTemporary: true, IsSilent: true) : null;
    }

    private static IEnumerable<Exception> Causes(Exception e)
    {
        for (Exception? cause = e; cause is not null; cause = cause.InnerException)
            yield return cause;
    }

    private static string KeyOf(Uri url) => url.GetLeftPart(UriPartial.Authority);

    private Client ClientFor(Uri url)
    {
        string key = KeyOf(url);
        Lazy<Client> lazy = _clients.GetOrAdd(key, _ => New(url));
        Client client = Use(key, lazy);
        if (!client.HasStaleFiles())
            return client;
        Lazy<Client> renewed = New(url);
        try
        {
            _ = renewed.Value;
        }
        catch (ImageException)
        {
            return client; // one file is new and the other is not yet; they are looked at again in a while
        }
        return _clients.TryUpdate(key, renewed, lazy) ? renewed.Value : client;
    }

    // A failure is not remembered: the file may be mended.
    private Client Use(string key, Lazy<Client> client)
    {
        try
        {
            return client.Value;
        }
        catch
        {
            _clients.TryRemove(KeyValuePair.Create(key, client));
            throw;
        }
    }

    private Lazy<Client> New(Uri url) => new(() =>
    {
        bool isEndpoint = url.Authority.Equals(_endpoint, StringComparison.OrdinalIgnoreCase);
        bool isTls = url.Scheme == Uri.UriSchemeHttps;
        string[] files = !isTls ? [] : [.. _tls.CaFiles, .. isEndpoint ? _tls.ClientCertificates.SelectMany(pair => new[] { pair.Certificate, pair.Key }) : []];
        var stamps = files.Select(file => FileIdentity.TryOf(file)).ToArray();
        var check = new ServerCheck(url.Authority, isTls && _tls.IsVerified ? CertificateFiles.ReadAuthorities(_tls.CaFiles) : []);
        var ssl = new SslClientAuthenticationOptions
        {
            CertificateChainPolicy = ServerCheck.NewPolicy(),
            RemoteCertificateValidationCallback = (_, certificate, chain, errors) => !_tls.IsVerified || check.Accept(certificate, chain, errors),
        };
        if (isTls && isEndpoint && _tls.ClientCertificates.Count > 0)
            Show(ssl, [.. _tls.ClientCertificates.Select(CertificateFiles.ReadPair)]);
        var handler = new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            AutomaticDecompression = DecompressionMethods.None,
            ConnectTimeout = _timeouts.Connect,
            EnableMultipleHttp2Connections = true,
            InitialHttp2StreamWindowSize = StreamWindow,
            PooledConnectionLifetime = TimeSpan.FromMinutes(5), // a mount outlives DNS answers
            UseCookies = false,
            Proxy = _proxies,
            RequestHeaderEncodingSelector = static (_, _) => System.Text.Encoding.UTF8, // fields of hosts.toml, as Go sends them
            ConnectCallback = (context, token) => ConnectAsync(context, url, check, token),
            SslOptions = ssl,
        };
        return new Client(new HttpMessageInvoker(handler), check, files, stamps, _timeouts.CertificateCheck);
    });

    // TLS with a proxy is our own affair, with the rules of the system alone: the endpoint's certificates and exceptions are not for it.
    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, Uri url, ServerCheck check, CancellationToken cancellationToken)
    {
        check.Forget();
        Stream stream = await Loopback.ConnectAsync(context, _race, cancellationToken).ConfigureAwait(false);
        if (!_proxies.IsTls(url))
            return stream;
        var tls = new SslStream(stream);
        try
        {
            await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions { TargetHost = context.DnsEndPoint.Host, CertificateChainPolicy = ServerCheck.NewPolicy() }, cancellationToken).ConfigureAwait(false);
            return tls;
        }
        catch (Exception e) when (e is System.Security.Authentication.AuthenticationException or IOException)
        {
            await tls.DisposeAsync().ConfigureAwait(false);
            throw new ProxyTlsException(e is IOException ? "the TLS handshake broke" : "its TLS certificate is not trusted by the system, or is for another host", e);
        }
    }

    private static void Show(SslClientAuthenticationOptions ssl, (X509Certificate2 Certificate, X509Certificate2Collection Issuers)[] pairs)
    {
        pairs = [.. pairs.DistinctBy(pair => pair.Certificate.Thumbprint)]; // several engines may have a copy
        if (pairs is [var only])
        {
            ssl.ClientCertificateContext = SslStreamCertificateContext.Create(only.Certificate, only.Issuers, offline: true);
            return;
        }
        // The server says which issuers it knows, and is asked before one is chosen. Intermediate certificates are not sent then.
        ssl.ClientCertificates = new X509CertificateCollection(pairs.Select(pair => (X509Certificate)pair.Certificate).ToArray());
        ssl.LocalCertificateSelectionCallback = (_, _, certificates, remote, issuers) => issuers.Length == 0 && remote is null ? null!
            : pairs.FirstOrDefault(pair => issuers.Contains(pair.Certificate.Issuer) || pair.Issuers.Any(each => issuers.Contains(each.Issuer))).Certificate ?? certificates[0];
    }

    [GeneratedRegex("'([0-9]{3})'")]
    private static partial Regex StatusPattern();

    private sealed class Client(HttpMessageInvoker http, ServerCheck check, string[] files, FileIdentity?[] stamps, TimeSpan pause)
    {
        private long _checked = Environment.TickCount64;

        public HttpMessageInvoker Http => http;

        public ServerCheck Check => check;

        /// <summary>A file that was read has changed since; looked at now and then.</summary>
        public bool HasStaleFiles()
        {
            if (files.Length == 0 || Environment.TickCount64 - Volatile.Read(ref _checked) < pause.TotalMilliseconds)
                return false;
            Volatile.Write(ref _checked, Environment.TickCount64);
            return files.Where((file, i) => FileIdentity.TryOf(file) != stamps[i]).Any();
        }
    }
}
