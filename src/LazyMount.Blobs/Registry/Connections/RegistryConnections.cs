using System.Net;
using System.Net.Security;
using LazyMount.Blobs.Registry.Hosts;

namespace LazyMount.Blobs.Registry.Connections;

/// <summary>The connections to one endpoint, its token server and wherever they redirect to. Thread-safe.</summary>
internal sealed class RegistryConnections : IDisposable
{
    private readonly HttpClient _client;
    private volatile string? _certificateError;

    /// <param name="tls">How servers prove who they are.</param>
    /// <param name="timeouts">How patient connecting is.</param>
    public RegistryConnections(EndpointTls tls, RegistryTimeouts timeouts)
    {
        IsTlsVerified = tls.IsVerified;
        var handler = new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            AutomaticDecompression = DecompressionMethods.None,
            ConnectTimeout = timeouts.Connect,
            PooledConnectionLifetime = TimeSpan.FromMinutes(5), // a mount outlives DNS answers
            UseCookies = false,
            Proxy = new Loopback.PassingProxy(HttpClient.DefaultProxy),
            ConnectCallback = Loopback.ConnectAsync,
            SslOptions = new SslClientAuthenticationOptions { RemoteCertificateValidationCallback = (_, _, _, errors) => Accept(errors) },
        };
        _client = new HttpClient(handler) { Timeout = Timeout.InfiniteTimeSpan };
        _client.DefaultRequestHeaders.UserAgent.ParseAdd("lazymount");
        _client.DefaultRequestHeaders.AcceptEncoding.ParseAdd("identity"); // digests and ranges are of the bytes as they are
    }

    /// <summary>The certificates of servers are checked.</summary>
    public bool IsTlsVerified { get; }

    /// <summary>Why the last certificate was not accepted; null when none was refused.</summary>
    public string? CertificateError => _certificateError;

    /// <summary>Sends, and returns the answer with its body still to come. Follows no redirect.</summary>
    public Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        => _client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);

    public void Dispose() => _client.Dispose();

    private bool Accept(SslPolicyErrors errors)
    {
        if (errors == SslPolicyErrors.None || !IsTlsVerified)
            return true;
        _certificateError = errors.ToString();
        return false;
    }
}
