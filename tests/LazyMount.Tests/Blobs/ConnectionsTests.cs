using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Registry;
using LazyMount.Blobs.Registry.Connections;
using LazyMount.TestKit;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Blobs;

/// <summary>TLS with nginx, proxies (tinyproxy, microsocks), hosts of several addresses.</summary>
public sealed class ConnectionsTests : IDisposable
{
    private static readonly TestImage s_image = TestImage.Create(seed: 71);

    private readonly TemporaryDirectory _directory = new();
    private readonly CertificateAuthority _authority = new();
    private readonly ScriptedServer _registry = new(request => request.Path == "/v2/" ? new ScriptedResponse(200) : new ScriptedResponse(200, s_image.Manifest, $"Content-Type: {s_image.MediaType}"));
    private readonly List<string> _notes = [];
    private readonly Dictionary<string, string> _variables = [];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _registry.DisposeAsync().AsTask().Wait(TimeSpan.FromSeconds(10));
        _authority.Dispose();
        _directory.Dispose();
    }

    private RegistryOptions Options => TestRegistries.With(root: _directory.Path, variables: _variables) with { Note = _notes.Add };

    private NginxServer Tls((string Certificate, string Key) pair, string? clients = null)
        => new(new NginxSettings { Upstream = _registry.Host, Certificate = pair.Certificate, CertificateKey = pair.Key, ClientAuthority = clients });

    private async Task<string?> FailureAsync(string host, RegistryOptions options)
    {
        try
        {
            await using var source = new RegistrySource(ImageReference.Parse($"{host}/app:v1"), options, RegistrySourceTests.Impatient, NullLoggerFactory.Instance);
            Assert.Equal(s_image.Manifest, (await source.GetRootAsync(Token)).Bytes);
            Assert.Equal((options.VerifiesTls && !options.PlainHttp) || host.StartsWith("127.", StringComparison.Ordinal), source.IsVerified);
            return null;
        }
        catch (ImageException e)
        {
            return e.Message;
        }
    }

    /// <summary>HTTPS, which was guessed while nobody answered, stayed the scheme for five seconds.</summary>
    [Fact]
    public async Task LoopbackRegistryThatIsBack_IsAskedForItsSchemeAgain_AtOnce()
    {
        using var relay = new TcpListener(IPAddress.Loopback, 0);
        relay.Start();
        bool isAway = true;
        Task relaying = RelayAsync();
        await using var source = new RegistrySource(ImageReference.Parse($"{relay.LocalEndpoint}/app:v1"), Options, RegistrySourceTests.Impatient, NullLoggerFactory.Instance);
        await Assert.ThrowsAnyAsync<ImageException>(() => source.GetRootAsync(Token));
        Volatile.Write(ref isAway, false);
        Assert.Equal(s_image.Manifest, (await source.GetRootAsync(Token)).Bytes);
        relay.Stop();
        await relaying;

        // Accepts connections and closes them while the registry is away, as a proxy before it does.
        async Task RelayAsync()
        {
            try
            {
                while (true)
                    _ = ServeAsync(await relay.AcceptTcpClientAsync());
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // Stopped.
            }
        }

        async Task ServeAsync(TcpClient client)
        {
            using (client)
            using (var server = new TcpClient())
            {
                if (Volatile.Read(ref isAway))
                    return;
                await server.ConnectAsync(IPEndPoint.Parse(_registry.Host));
                await Task.WhenAny(client.GetStream().CopyToAsync(server.GetStream()), server.GetStream().CopyToAsync(client.GetStream()));
            }
        }
    }

    [Fact]
    public async Task CertificateOfAKnownIssuer_IsTrusted_AndHttp2IsSpoken()
    {
        using NginxServer nginx = Tls(_authority.Issue("127.0.0.1"));
        Assert.Null(await FailureAsync(nginx.Host, Options with { TlsCaFile = _authority.Certificate }));
        Assert.All(nginx.Requests, request => Assert.Equal("HTTP/2.0", request.Protocol));
        Assert.All(nginx.Requests, request => Assert.Matches("^lazymount/[0-9]", request.UserAgent));
    }

    [Theory]
    [InlineData("root")]
    [InlineData("intermediate")]
    [InlineData("leaf")]
    public async Task EachCertificateOfTheChain_IsAnAnchor(string anchor)
    {
        using var intermediate = new CertificateAuthority("Intermediate", _authority);
        (string certificate, string key) = intermediate.Issue("127.0.0.1");
        string chain = _directory["chain.pem"];
        File.WriteAllText(chain, File.ReadAllText(certificate) + "\n" + File.ReadAllText(intermediate.Certificate));
        using NginxServer nginx = Tls((chain, key));
        string file = anchor switch { "root" => _authority.Certificate, "intermediate" => intermediate.Certificate, _ => certificate };
        Assert.Null(await FailureAsync(nginx.Host, Options with { TlsCaFile = file }));
    }

    [Fact]
    public async Task AnchorOfAnotherServer_OrAWrongName_IsNotEnough()
    {
        using var intermediate = new CertificateAuthority("Intermediate", _authority);
        using NginxServer nginx = Tls(intermediate.Issue("127.0.0.1"));
        Assert.Contains("is not trusted", await FailureAsync(nginx.Host, Options with { TlsCaFile = intermediate.Issue("127.0.0.1").Certificate }), StringComparison.Ordinal);
        (string Certificate, string Key) other = intermediate.Issue("other.example");
        using NginxServer misnamed = Tls(other);
        Assert.Contains("is for other.example, not for this host", await FailureAsync(misnamed.Host, Options with { TlsCaFile = other.Certificate }), StringComparison.Ordinal);
        DateTimeOffset now = DateTimeOffset.UtcNow;
        (string Certificate, string Key) old = intermediate.Issue("127.0.0.1", now.AddDays(-30), now.AddDays(-2));
        using NginxServer expired = Tls(old);
        Assert.Contains("expired on", await FailureAsync(expired.Host, Options with { TlsCaFile = old.Certificate }), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("etc/docker/certs.d")]
    [InlineData("etc/containers/certs.d")]
    [InlineData("etc/containerd/certs.d")]
    public async Task CertificateDirectory_IsRead(string place)
    {
        using NginxServer nginx = Tls(_authority.Issue("127.0.0.1"));
        string directory = _directory.CreateDirectory($"{place}/{nginx.Host}");
        File.Copy(_authority.Certificate, Path.Combine(directory, "any.crt"));
        Assert.Null(await FailureAsync(nginx.Host, Options));
    }

    [Fact]
    public async Task UnknownIssuer_IsNamed_WithWhatToDo()
    {
        using NginxServer nginx = Tls(_authority.Issue("127.0.0.1"));
        Assert.Equal(
            $"cannot get '{nginx.Host}/app:v1': the TLS certificate of {nginx.Host} is not trusted: this machine does not know its issuer CN=Test Authority; name the issuer's certificate with --tls-ca FILE, or put it into '/etc/docker/certs.d/{nginx.Host}/ca.crt'",
            await FailureAsync(nginx.Host, Options));
        using var other = new CertificateAuthority("Other Authority");
        Assert.Contains("does not know its issuer CN=Test Authority", await FailureAsync(nginx.Host, Options with { TlsCaFile = other.Certificate }), StringComparison.Ordinal);
    }

    [Fact]
    public async Task WrongNameExpiredAndNotYetValid_AreToldApart()
    {
        RegistryOptions options = Options with { TlsCaFile = _authority.Certificate };
        using (NginxServer nginx = Tls(_authority.Issue("other.example")))
            Assert.Contains($"the TLS certificate of {nginx.Host} is for other.example, not for this host", await FailureAsync(nginx.Host, options), StringComparison.Ordinal);
        DateTimeOffset now = DateTimeOffset.UtcNow;
        using (NginxServer nginx = Tls(_authority.Issue("127.0.0.1", now.AddDays(-30), now.AddDays(-2))))
            Assert.Contains($"expired on {now.AddDays(-2):yyyy-MM-dd}", await FailureAsync(nginx.Host, options), StringComparison.Ordinal);
        using (NginxServer nginx = Tls(_authority.Issue("127.0.0.1", now.AddDays(2), now.AddDays(3))))
            Assert.Contains($"is not valid before {now.AddDays(2):yyyy-MM-dd}", await FailureAsync(nginx.Host, options), StringComparison.Ordinal);
    }

    [Fact]
    public async Task TlsVerifyFalse_BelievesAnybody_AndSaysSo()
    {
        using NginxServer nginx = Tls(_authority.Issue("other.example"));
        Assert.Null(await FailureAsync(nginx.Host, Options with { VerifiesTls = false }));
        Assert.Equal([$"connections to {nginx.Host} are not verified, because --tls-verify=false says so: any server that answers is trusted"], _notes);
    }

    [Fact]
    public async Task ClientCertificate_IsShownWhereItIsWanted_AndItsLackIsToldOf()
    {
        using var clients = new CertificateAuthority("Clients");
        using NginxServer nginx = Tls(_authority.Issue("127.0.0.1"), clients.Certificate);
        RegistryOptions options = Options with { TlsCaFile = _authority.Certificate };
        Assert.Contains("client certificate", await FailureAsync(nginx.Host, options), StringComparison.OrdinalIgnoreCase);
        string directory = _directory.CreateDirectory($"etc/docker/certs.d/{nginx.Host}");
        (string certificate, string key) = clients.IssueClient("me");
        File.Copy(certificate, Path.Combine(directory, "client.cert"));
        Assert.Contains("client.cert': it needs 'client.key' beside it", await FailureAsync(nginx.Host, options), StringComparison.Ordinal);
        File.Copy(key, Path.Combine(directory, "client.key"));
        Assert.Null(await FailureAsync(nginx.Host, options));
        Assert.Contains(nginx.Requests, request => request.ClientName == "CN=me" && request.Status == 200);
        File.WriteAllText(Path.Combine(directory, "client.key"), "nonsense");
        Assert.Contains("client.key': it holds no RSA or ECDSA private key", await FailureAsync(nginx.Host, options), StringComparison.Ordinal);
    }

    [Fact]
    public async Task OfSeveralClientCertificates_TheOneThatTheServerWants_IsShown()
    {
        using var first = new CertificateAuthority("First");
        using var second = new CertificateAuthority("Second");
        using NginxServer nginx = Tls(_authority.Issue("127.0.0.1"), second.Certificate);
        string directory = _directory.CreateDirectory($"etc/docker/certs.d/{nginx.Host}");
        int number = 0;
        foreach ((string certificate, string key) in ((string, string)[])[first.IssueClient("a"), second.IssueClient("b")])
        {
            File.Copy(certificate, Path.Combine(directory, $"{++number}.cert"));
            File.Copy(key, Path.Combine(directory, $"{number}.key"));
        }
        Assert.Null(await FailureAsync(nginx.Host, Options with { TlsCaFile = _authority.Certificate }));
        Assert.Contains(nginx.Requests, request => request.ClientName == "CN=b" && request.Status == 200);
    }

    // The proxy's certificate is of the issuer that is trusted for the registry alone.
    [Fact]
    public async Task ProxyWithTls_IsJudgedByTheSystemAlone_AndSeesNoClientCertificate()
    {
        (string certificate, string key) = _authority.Issue("127.0.0.1");
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        int greeted = 0;
        bool trusted = false, isShown = false;
        Task serving = Task.Run(async () =>
        {
            while (true)
            {
                using Socket socket = await listener.AcceptSocketAsync(Token);
                await using var tls = new System.Net.Security.SslStream(new NetworkStream(socket), false, (_, shown, _, _) => shown is null || (isShown = true));
                try
                {
                    greeted++;
                    await tls.AuthenticateAsServerAsync(new System.Net.Security.SslServerAuthenticationOptions
                    {
                        ServerCertificate = System.Security.Cryptography.X509Certificates.X509Certificate2.CreateFromPemFile(certificate, key),
                        ClientCertificateRequired = true,
                    }, Token);
                    await tls.ReadExactlyAsync(new byte[1], Token);
                    trusted = true;
                }
                catch (Exception e) when (e is IOException or System.Security.Authentication.AuthenticationException)
                {
                }
            }
        }, Token);
        string directory = _directory.CreateDirectory("etc/docker/certs.d/registry.test");
        (string client, string clientKey) = _authority.IssueClient("me");
        File.Copy(client, Path.Combine(directory, "client.cert"));
        File.Copy(clientKey, Path.Combine(directory, "client.key"));
        _variables["HTTPS_PROXY"] = $"https://user:hunter2@{listener.LocalEndpoint}";
        foreach (bool verifies in (bool[])[true, false])
        {
            string? failure = await FailureAsync("registry.test", Options with { TlsCaFile = _authority.Certificate, VerifiesTls = verifies });
            Assert.True(failure!.Contains("the proxy", StringComparison.Ordinal), failure);
            Assert.Contains($"the proxy {listener.LocalEndpoint} (HTTPS_PROXY) is not reachable (its TLS certificate is not trusted by the system, or is for another host)", failure, StringComparison.Ordinal);
        }
        Assert.NotEqual(0, greeted);
        Assert.False(trusted);
        Assert.False(isShown);
        listener.Stop();
        await Assert.ThrowsAnyAsync<Exception>(() => serving);
    }

    [Fact]
    public async Task ProxyOfAHostsToml_IsUsed()
    {
        string port = _registry.Host.Split(':')[1];
        using ForwardProxy proxy = ForwardProxy.Http(hosts: new Dictionary<string, string> { ["registry.test"] = "127.0.0.1" });
        File.WriteAllText(Path.Combine(_directory.CreateDirectory($"etc/containerd/certs.d/registry.test:{port}"), "hosts.toml"), $"server = \"http://registry.test:{port}\"\nproxy = \"http://{proxy.Host}\"\n");
        _variables["NO_PROXY"] = "*";
        await FailureAsync($"registry.test:{port}", Options with { PlainHttp = true });
        Assert.Contains(proxy.Targets, target => target.Contains($"registry.test:{port}", StringComparison.Ordinal));
    }

    [Fact]
    public async Task RotatedClientCertificate_IsTakenOnceItIsWhole()
    {
        using var clients = new CertificateAuthority("Clients");
        using NginxServer nginx = Tls(_authority.Issue("127.0.0.1"), clients.Certificate);
        string directory = _directory.CreateDirectory($"etc/docker/certs.d/{nginx.Host}");
        Put(clients.IssueClient("old"));
        await using var source = new RegistrySource(
            ImageReference.Parse($"{nginx.Host}/app:v1"), Options with { TlsCaFile = _authority.Certificate }, RegistrySourceTests.Impatient with { CertificateCheck = TimeSpan.Zero }, NullLoggerFactory.Instance);
        await source.GetRootAsync(Token);
        File.WriteAllText(Path.Combine(directory, "client.cert"), "-----BEGIN CERT"); // half-written
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => source.GetRootAsync(Token)));
        Put(clients.IssueClient("new"));
        await source.GetRootAsync(Token);
        Assert.Contains(nginx.Requests, request => request.ClientName == "CN=new" && request.Status == 200);

        void Put((string Certificate, string Key) pair)
        {
            File.Copy(pair.Certificate, Path.Combine(directory, "client.cert"), overwrite: true);
            File.Copy(pair.Key, Path.Combine(directory, "client.key"), overwrite: true);
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("text without a certificate")]
    [InlineData("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
    public async Task FileWithoutACertificate_IsNamed(string content)
    {
        File.WriteAllText(_directory["ca.pem"], content);
        using NginxServer nginx = Tls(_authority.Issue("127.0.0.1"));
        Assert.Contains($"cannot use the certificate file '{_directory["ca.pem"]}': ", await FailureAsync(nginx.Host, Options with { TlsCaFile = _directory["ca.pem"] }), StringComparison.Ordinal);
    }

    [Fact]
    public async Task PlainHttpSpokenToATlsPort_IsCalledThat()
    {
        using NginxServer nginx = Tls(_authority.Issue("127.0.0.1"));
        Assert.Contains($"{nginx.Host} speaks TLS and was asked in plain HTTP; leave out --plain-http", await FailureAsync(nginx.Host, Options with { PlainHttp = true }), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task HttpProxy_IsUsed_WithItsLogin(bool login)
    {
        string port = _registry.Host.Split(':')[1];
        using ForwardProxy proxy = ForwardProxy.Http(login ? ("me", "pass-word") : null, new Dictionary<string, string> { ["registry.test"] = "127.0.0.1" });
        _variables["http_proxy"] = proxy.Url.ToString();
        await FailureAsync($"registry.test:{port}", Options with { PlainHttp = true });
        Assert.Contains(proxy.Targets, target => target.Contains($"registry.test:{port}", StringComparison.Ordinal));
        Assert.NotEmpty(_registry.Requests);
    }

    [Theory]
    [InlineData("http")]
    [InlineData("socks5")]
    [InlineData("socks5h")]
    public async Task TlsGoesThroughAProxy(string scheme)
    {
        using NginxServer nginx = Tls(_authority.Issue("registry.test"));
        var hosts = new Dictionary<string, string> { ["registry.test"] = "127.0.0.1" };
        using ForwardProxy proxy = scheme == "http" ? ForwardProxy.Http(hosts: hosts) : ForwardProxy.Socks5(("me", "pw"), hosts);
        _variables["ALL_PROXY"] = scheme == "http" ? proxy.Host : $"{scheme}://me:pw@{proxy.Host}";
        Assert.Null(await FailureAsync($"registry.test:{nginx.Port}", Options with { TlsCaFile = _authority.Certificate }));
    }

    [Fact]
    public async Task ProxyThatIsDownOrRefuses_IsNamed_WithoutItsPassword()
    {
        _variables["HTTPS_PROXY"] = "http://me:hunter2@127.0.0.1:1";
        string? failure = await FailureAsync("registry.test", Options);
        Assert.Equal("cannot get 'registry.test/app:v1': the proxy 127.0.0.1:1 (HTTPS_PROXY) is not reachable (connection refused); check that it runs, or unset the variable", failure);
        using ForwardProxy proxy = ForwardProxy.Http(("me", "pw"));
        _variables["HTTPS_PROXY"] = $"http://{proxy.Host}";
        Assert.Contains($"the proxy {proxy.Host} (HTTPS_PROXY) asks for credentials (407)", await FailureAsync("registry.test", Options), StringComparison.Ordinal);
        _variables["HTTPS_PROXY"] = "gopher://x";
        Assert.Contains("cannot use the variable HTTPS_PROXY: its value is not a proxy's URL", await FailureAsync("registry.test", Options), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("example.com", "https://example.com/", true)]
    [InlineData("example.com", "https://a.example.com/", true)]
    [InlineData("example.com", "https://badexample.com/", false)]
    [InlineData(".example.com", "https://a.example.com/", true)]
    [InlineData(".example.com", "https://example.com/", true)] // curl
    [InlineData("*.example.com", "https://a.example.com/", true)]
    [InlineData("EXAMPLE.com", "https://example.COM/", true)]
    [InlineData("example.com:443", "https://example.com/", true)]
    [InlineData("example.com:8443", "https://example.com/", false)]
    [InlineData("a.test, example.com", "https://example.com/", true)]
    [InlineData("a.test example.com", "https://example.com/", true)]
    [InlineData("*", "https://anything.test/", true)]
    [InlineData("10.0.0.0/8", "https://10.1.2.3/", true)]
    [InlineData("10.0.0.0/8", "https://11.1.2.3/", false)]
    [InlineData("10.1.2.3", "https://10.1.2.3:5000/", true)]
    [InlineData("2001:db8::/32", "https://[2001:db8::1]/", true)]
    [InlineData("[2001:db8::1]:443", "https://[2001:db8::1]/", true)]
    [InlineData("2001:db8::1", "https://[2001:db8::1]/", true)]
    [InlineData("", "https://example.com/", false)]
    [InlineData("nothing/33", "https://10.1.2.3/", false)]
    [InlineData("10.1.2.3/8", "https://10.200.0.1/", true)] // bits behind the prefix
    [InlineData("10.1.2.3/8", "https://11.1.2.3/", false)]
    [InlineData("10.1.2.3/31", "https://10.1.2.2/", true)]
    [InlineData("10.1.2.3/32", "https://10.1.2.2/", false)]
    [InlineData("1.2.3.4/0", "https://10.1.2.3/", true)]
    [InlineData("10.0.0.0/33", "https://10.0.0.0/", false)]
    [InlineData("10.0.0.0/-1", "https://10.0.0.0/", false)]
    [InlineData("10/8", "https://10.0.0.10/", false)]
    [InlineData("010.1.2.3", "https://8.1.2.3/", false)]
    [InlineData("10.0.0.0/8", "https://10.example.com/", false)]
    [InlineData("2001:db8::5/32", "https://[2001:db8:1::1]/", true)]
    [InlineData("::/0", "https://10.1.2.3/", false)]
    [InlineData("10.1.2.3", "https://[::ffff:10.1.2.3]/", true)]
    [InlineData("10.0.0.0/8", "https://[::ffff:10.1.2.3]/", true)]
    [InlineData("::ffff:10.1.2.3", "https://10.1.2.3/", true)]
    [InlineData("::ffff:10.0.0.0/104", "https://10.1.2.3/", true)]
    [InlineData("[2001:db8::1]", "https://[2001:db8::1]/", true)]
    [InlineData("[2001:db8::1]:444", "https://[2001:db8::1]/", false)]
    [InlineData("[2001:db8::1]:x", "https://[2001:db8::1]/", false)]
    [InlineData("2001:DB8:0:0::1", "https://[2001:db8::1]/", true)]
    [InlineData("fe80::1", "https://[fe80::1%25eth0]/", true)]
    [InlineData("fe80::1%eth0", "https://[fe80::1%25eth0]/", true)]
    [InlineData("10.1.2.3:5000", "https://10.1.2.3:5000/", true)]
    [InlineData("10.1.2.3:5000", "https://10.1.2.3/", false)]
    [InlineData("example.com:", "https://example.com/", true)]
    [InlineData("example.com:x", "https://example.com/", false)]
    [InlineData(":443", "https://example.com/", false)]
    [InlineData("*.example.com", "https://example.com/", false)]
    [InlineData("*.example.com:443", "https://a.example.com/", true)]
    [InlineData("*example.com", "https://example.com/", false)]
    [InlineData(".example.com:443", "https://a.example.com/", true)]
    [InlineData("example.com.", "https://example.com/", true)]
    [InlineData("example.com", "https://example.com./", true)]
    [InlineData(" , ,\texample.com ,", "https://example.com/", true)]
    [InlineData("a.test,*", "https://anything.test/", true)]
    [InlineData(".", "https://example.com/", false)]
    [InlineData("com", "https://example.com/", true)]
    public void NoProxy_IsReadAsGoAndCurlReadIt(string passed, string url, bool expected)
    {
        _variables["HTTPS_PROXY"] = "proxy.test:3128";
        _variables["NO_PROXY"] = passed;
        Assert.Equal(expected, new ProxySettings(Options.Environment).IsBypassed(new Uri(url)));
    }

    [Theory]
    [InlineData("http_proxy", "HTTP_PROXY", "http://a.test/")]
    [InlineData("https_proxy", "HTTPS_PROXY", "https://a.test/")]
    [InlineData("HTTPS_PROXY", "ALL_PROXY", "https://a.test/")]
    [InlineData("HTTPS_PROXY", "all_proxy", "https://a.test/")]
    [InlineData("HTTP_PROXY", "all_proxy", "http://a.test/")]
    [InlineData("all_proxy", "ALL_PROXY", "http://a.test/")]
    [InlineData("ALL_PROXY", "HTTP_PROXY", "https://a.test/")]
    [InlineData("ALL_PROXY", "HTTPS_PROXY", "http://a.test/")]
    public void Variable_InLowerCaseAndForTheScheme_ComesFirst(string first, string second, string url)
    {
        (_variables[first], _variables[second]) = ("first.test:1", "second.test:2");
        Assert.Equal($"first.test:1 ({first})", new ProxySettings(Options.Environment).Describe(new Uri(url)));
    }

    [Theory]
    [InlineData("https_proxy", "HTTPS_PROXY")]
    [InlineData("HTTPS_PROXY", "all_proxy")]
    [InlineData("all_proxy", "ALL_PROXY")]
    public void EmptyVariable_DoesNotCount(string empty, string full)
    {
        (_variables[empty], _variables[full], _variables["no_proxy"], _variables["NO_PROXY"]) = ("", "p.test:1", " ", "b.test");
        var proxies = new ProxySettings(Options.Environment);
        Assert.Equal($"p.test:1 ({full})", proxies.Describe(new Uri("https://a.test/")));
        Assert.True(proxies.IsBypassed(new Uri("https://b.test/")));
        _variables["no_proxy"] = "a.test";
        Assert.True(new ProxySettings(Options.Environment).IsBypassed(new Uri("https://a.test/")));
        Assert.False(new ProxySettings(Options.Environment).IsBypassed(new Uri("https://b.test/")));
    }

    [Theory]
    [InlineData("p.test", "http", "p.test", 80, null)]
    [InlineData("p.test:3128", "http", "p.test", 3128, null)]
    [InlineData(" http://p.test:3128 ", "http", "p.test", 3128, null)]
    [InlineData("HTTP://P.test:3128/path?query", "http", "p.test", 3128, null)]
    [InlineData("https://p.test", "http", "p.test", 443, null)]
    [InlineData("https://p.test:8443/", "http", "p.test", 8443, null)]
    [InlineData("[2001:db8::1]:3128", "http", "[2001:db8::1]", 3128, null)]
    [InlineData("me:pw@p.test:3128", "http", "p.test", 3128, "me pw")]
    [InlineData("http://me@p.test", "http", "p.test", 80, "me ")]
    [InlineData("http://:pw@p.test", "http", "p.test", 80, " pw")]
    [InlineData("socks5://user:p%40ss@h.test", "socks5", "h.test", 1080, "user p@ss")]
    [InlineData("socks5h://u%3Aser:a:b%25@h.test:9", "socks5", "h.test", 9, "u:ser a:b%")]
    [InlineData("socks://h.test", "socks5", "h.test", 1080, null)]
    [InlineData("socks4a://h.test", "socks4a", "h.test", 1080, null)]
    public void UrlOfAProxy_IsReadInEachSpelling(string text, string scheme, string host, int port, string? login)
    {
        _variables["HTTPS_PROXY"] = text;
        var proxies = new ProxySettings(Options.Environment);
        Uri proxy = proxies.GetProxy(new Uri("https://a.test/"))!;
        Assert.Equal((scheme, host, port, ""), (proxy.Scheme, proxy.Host, proxy.Port, proxy.UserInfo));
        Assert.Equal(login, proxies.GetCredential(proxy, "Basic") is { } credential ? $"{credential.UserName} {credential.Password}" : null);
        Assert.Equal($"{host}{(proxy.IsDefaultPort ? "" : $":{port}")} (HTTPS_PROXY)", proxies.Describe(new Uri("https://a.test/")));
    }

    [Theory]
    [InlineData("gopher://me:hunter2@p.test")]
    [InlineData("http://me:hunter2@p.test:99999")]
    [InlineData("http://me:hunter2@p.test:0")]
    [InlineData("http://me:hunter2@")]
    [InlineData("me:hunter2#@p.test")]
    [InlineData("://p.test")]
    [InlineData(":3128")]
    [InlineData("http://p test")]
    public void WrongUrlOfAProxy_IsOneSentence_WithoutItsPassword(string text)
    {
        _variables["HTTPS_PROXY"] = text;
        Assert.Equal(
            "cannot use the variable HTTPS_PROXY: its value is not a proxy's URL, such as http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT; correct or unset it",
            Assert.Throws<ImageException>(() => new ProxySettings(Options.Environment)).Message);
    }

    [Fact]
    public async Task OneProxyInTwoVariables_HasTheLoginOfEach()
    {
        string port = _registry.Host.Split(':')[1];
        using NginxServer nginx = Tls(_authority.Issue("registry.test"));
        using ForwardProxy proxy = ForwardProxy.Http(("me", "pass-word"), new Dictionary<string, string> { ["registry.test"] = "127.0.0.1" });
        (_variables["http_proxy"], _variables["HTTPS_PROXY"]) = (proxy.Host, proxy.Url.ToString());
        Assert.Null(await FailureAsync($"registry.test:{nginx.Port}", Options with { TlsCaFile = _authority.Certificate }));
        Assert.Contains("407", await FailureAsync($"registry.test:{port}", Options with { PlainHttp = true }), StringComparison.Ordinal);
        (_variables["http_proxy"], _variables["HTTPS_PROXY"], _variables["ALL_PROXY"]) = (proxy.Url.ToString(), "", $"http://{proxy.Host}");
        Assert.Contains("407", await FailureAsync($"registry.test:{nginx.Port}", Options with { TlsCaFile = _authority.Certificate }), StringComparison.Ordinal);
        int asked = _registry.Requests.Count;
        await FailureAsync($"registry.test:{port}", Options with { PlainHttp = true });
        Assert.True(_registry.Requests.Count > asked);
    }

    [Theory]
    [InlineData("HTTP_PROXY", "GET", false)]
    [InlineData("HTTP_PROXY", "", true)]
    [InlineData("http_proxy", "GET", true)]
    [InlineData("ALL_PROXY", "GET", true)]
    public void HttpProxyOfACgiProgram_DoesNotCount(string name, string method, bool expected)
    {
        (_variables[name], _variables["REQUEST_METHOD"]) = ("evil.test:1", method);
        Assert.Equal(expected, new ProxySettings(Options.Environment).Describe(new Uri("http://a.test/")) is not null);
    }

    /// <summary>An address that swallows what is sent to it: nobody accepts, and the queue is full.</summary>
    private sealed class BlackHole : IDisposable
    {
        private readonly Socket _listener = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        private readonly List<Socket> _queue = [];

        public BlackHole(int port)
        {
            _listener.Bind(new IPEndPoint(IPAddress.Parse("127.0.0.66"), port));
            _listener.Listen(0);
            for (int i = 0; i < 4; i++)
            {
                var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { Blocking = false };
                _queue.Add(socket);
                _ = socket.ConnectAsync(_listener.LocalEndPoint!).ContinueWith(static task => _ = task.Exception, TaskScheduler.Default);
            }
        }

        public void Dispose()
        {
            _listener.Dispose();
            _queue.ForEach(socket => socket.Dispose());
        }
    }

    [Fact]
    public async Task AddressThatSwallowsPackets_CostsAMomentOnly()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        int port = ((IPEndPoint)listener.LocalEndpoint).Port;
        using var hole = new BlackHole(port);
        await Task.Delay(100, Token);
        var race = new AddressRace((_, _) => Task.FromResult<IPAddress[]>([IPAddress.Parse("127.0.0.66"), IPAddress.Loopback]));
        long began = Stopwatch.GetTimestamp();
        using Socket socket = await race.ConnectAsync("registry.test", port, Token);
        Assert.Equal(IPAddress.Loopback, ((IPEndPoint)socket.RemoteEndPoint!).Address);
        Assert.InRange(Stopwatch.GetElapsedTime(began).TotalSeconds, 0.2, 5);
    }

    [Fact]
    public async Task AddressThatRefuses_IsPassedOverAtOnce_AndTheFirstFailureIsTold()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        int port = ((IPEndPoint)listener.LocalEndpoint).Port;
        var race = new AddressRace((_, _) => Task.FromResult<IPAddress[]>([IPAddress.IPv6Loopback, IPAddress.Parse("127.0.0.67"), IPAddress.Loopback]));
        using (Socket socket = await race.ConnectAsync("registry.test", port, Token))
            Assert.True(socket.Connected);
        listener.Stop();
        var e = await Assert.ThrowsAsync<SocketException>(() => race.ConnectAsync("registry.test", port, Token));
        Assert.Equal(SocketError.ConnectionRefused, e.SocketErrorCode);
        await Assert.ThrowsAsync<SocketException>(() => new AddressRace((_, _) => Task.FromResult<IPAddress[]>([])).ConnectAsync("registry.test", port, Token));
    }

    [Fact]
    public async Task ResolverThatHangs_EndsWithTheTimeOut()
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(Token);
        patience.CancelAfter(200);
        var race = new AddressRace((_, _) => new TaskCompletionSource<IPAddress[]>().Task);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => race.ConnectAsync("registry.test", 443, patience.Token));
    }
}
