using System.Text.Json;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Reliability;

/// <summary>The servers that other tests build on, asked by skopeo: what they accept and refuse is what skopeo finds, too.</summary>
public sealed class ServerTests : IDisposable
{
    private const string User = "alice", Password = "wonder land:1";

    private readonly TemporaryDirectory _directory = new();
    private readonly string _image;

    public ServerTests()
    {
        var layout = new OciLayoutBuilder(_directory["layout"]);
        layout.AddLayer(new TarBytes().File("file", "content")).WriteImage("v1");
        _image = layout.Reference("v1");
    }

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Registry_TakesTheNewPasswordOnly()
    {
        using var registry = new RegistryServer(new RegistrySettings { Users = new Dictionary<string, string> { [User] = "old" } });
        Skopeo.Push(_image, registry, "app:v1", $"{User}:old");
        registry.SetPassword(User, Password);
        Inspect(registry.Host, $"{User}:{Password}").EnsureSuccess();
        AssertRefused(Inspect(registry.Host, $"{User}:old"));
    }

    [Fact]
    public void Tokens_AreForUsersWithTheRightPassword()
    {
        using var tokens = new TokenServer();
        tokens.SetPassword(User, Password);
        using var registry = new RegistryServer(new RegistrySettings { Tokens = tokens });
        Skopeo.Push(_image, registry, "app:v1", $"{User}:{Password}");
        Inspect(registry.Host, $"{User}:{Password}").EnsureSuccess();
        AssertRefused(Inspect(registry.Host, $"{User}:wrong"));
        AssertRefused(Inspect(registry.Host, null));
        tokens.AllowsAnonymousPull = true;
        Inspect(registry.Host, null).EnsureSuccess();
        Assert.Contains(tokens.Requests, request => request is { Grant: "basic", User: User, Status: 200 });
        Assert.Contains(tokens.Requests, request => request is { Grant: "basic", User: User, Status: 401 });
        Assert.Contains(tokens.Requests, request => request is { Grant: "anonymous", Status: 401 });
        Assert.Contains(tokens.Requests, request => request is { Grant: "anonymous", Status: 200, Scope: "repository:app:pull" });
    }

    [Fact]
    public async Task Token_IsRefusedWhenItsLifetimeIsOverOrTheKeyHasChanged()
    {
        using var tokens = new TokenServer { AllowsAnonymousPull = true };
        tokens.SetPassword(User, Password);
        using var registry = new RegistryServer(new RegistrySettings { Tokens = tokens });
        Skopeo.Push(_image, registry, "app:v1", $"{User}:{Password}");
        using var client = new HttpClient();

        tokens.Lifetime = TimeSpan.FromSeconds(2);
        string brief = await TokenAsync();
        Assert.Equal(200, await PullAsync(brief));
        await Task.Delay(TimeSpan.FromSeconds(3.5), TestContext.Current.CancellationToken); // whole seconds count
        Assert.Equal(401, await PullAsync(brief));

        tokens.Lifetime = TimeSpan.FromMinutes(5);
        string lasting = await TokenAsync();
        Assert.Equal(200, await PullAsync(lasting));
        tokens.RotateKey();
        registry.Restart();
        Assert.Equal(401, await PullAsync(lasting));
        Assert.Equal(200, await PullAsync(await TokenAsync()));

        async Task<string> TokenAsync()
        {
            using JsonDocument answer = JsonDocument.Parse(await client.GetStringAsync(new Uri($"{tokens.Realm}?service={TokenServer.Service}&scope=repository:app:pull"), TestContext.Current.CancellationToken));
            return answer.RootElement.GetProperty("token").GetString()!;
        }

        async Task<int> PullAsync(string token)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, $"http://{registry.Host}/v2/app/manifests/v1");
            request.Headers.Add("Authorization", $"Bearer {token}");
            request.Headers.Add("Accept", "application/vnd.oci.image.manifest.v1+json");
            using HttpResponseMessage answer = await client.SendAsync(request, TestContext.Current.CancellationToken);
            return (int)answer.StatusCode;
        }
    }

    [Fact]
    public void RefreshToken_IsExchangedUntilItIsRevoked()
    {
        using var tokens = new TokenServer();
        tokens.SetPassword(User, Password);
        using var registry = new RegistryServer(new RegistrySettings { Tokens = tokens });
        Skopeo.Push(_image, registry, "app:v1", $"{User}:{Password}");
        File.WriteAllText(_directory["auth.json"], JsonSerializer.Serialize(new { auths = new Dictionary<string, object> { [registry.Host] = new { auth = "YWxpY2U6", identitytoken = tokens.NewRefreshToken(User) } } }));
        Tool.Run("skopeo", "inspect", "--tls-verify=false", "--authfile", _directory["auth.json"], $"docker://{registry.Host}/app:v1").EnsureSuccess();
        Assert.Contains(tokens.Requests, request => request is { Method: "POST", Grant: "refresh_token", User: User, Status: 200 });
        tokens.RevokeRefreshTokens();
        AssertRefused(Tool.Run("skopeo", "inspect", "--tls-verify=false", "--authfile", _directory["auth.json"], $"docker://{registry.Host}/app:v1"));
    }

    [Fact]
    public void Mirror_KeepsWhatItHasPulled()
    {
        using var tokens = new TokenServer();
        tokens.SetPassword(User, Password);
        using var origin = new RegistryServer(new RegistrySettings { Tokens = tokens });
        Skopeo.Push(_image, origin, "app:v1", $"{User}:{Password}");
        using var mirror = new RegistryServer(new RegistrySettings { MirrorOf = new Uri($"http://{origin.Host}"), MirrorCredentials = (User, Password) });
        Tool.Run("skopeo", "copy", "--quiet", "--src-tls-verify=false", $"docker://{mirror.Host}/app:v1", $"oci:{_directory["copy"]}:v1").EnsureSuccess();
        // The mirror writes what it has passed on a moment later.
        string[] blobs = [.. Directory.GetFiles(_directory["copy/blobs/sha256"]).Select(file => mirror.BlobFile($"sha256:{Path.GetFileName(file)}"))];
        Assert.True(SpinWait.SpinUntil(() => Array.TrueForAll(blobs, File.Exists), TimeSpan.FromSeconds(30)));
        origin.Stop();
        Inspect(mirror.Host, null).EnsureSuccess();
    }

    [Fact]
    public void BlobRedirector_GivesBlobsToSignedUrlsOnly()
    {
        using var registry = new RegistryServer(requireLogin: true);
        using var redirector = new BlobRedirector(registry);
        Skopeo.Push(_image, registry, "app:v1", $"{RegistryServer.User}:{RegistryServer.Password}");
        Copy(redirector).EnsureSuccess();
        Assert.True(redirector is { Redirected: >= 2, Served: >= 2, Refused: 0, Expired: 0, WithSecrets: 0 });
        redirector.Lifetime = TimeSpan.FromSeconds(-1);
        Assert.NotEqual(0, Copy(redirector).ExitCode);
        Assert.True(redirector.Expired > 0);

        ToolResult Copy(BlobRedirector from) => Tool.Run(
            "skopeo", "copy", "--quiet", "--src-tls-verify=false", "--src-creds", $"{RegistryServer.User}:{RegistryServer.Password}", $"docker://{from.Host}/app:v1", $"oci:{_directory[$"copy{from.Redirected}"]}:v1");
    }

    [Theory]
    [InlineData("http", false)]
    [InlineData("http", true)]
    [InlineData("socks5", false)]
    [InlineData("socks5", true)]
    public void ForwardProxy_LeadsToHostsThatOnlyItKnows(string scheme, bool wantsLogin)
    {
        using var registry = new RegistryServer();
        Skopeo.Push(_image, registry, "app:v1");
        var hosts = new Dictionary<string, string> { ["registry.test"] = "127.0.0.1" };
        (string, string)? login = wantsLogin ? ("carol", "s3cret") : null;
        using ForwardProxy proxy = scheme == "http" ? ForwardProxy.Http(login, hosts) : ForwardProxy.Socks5(login, hosts);
        Ask(proxy.Url).EnsureSuccess();
        Assert.Contains(proxy.Targets, target => target.Contains($"registry.test:{registry.Port}", StringComparison.Ordinal));
        if (wantsLogin)
        {
            Assert.NotEqual(0, Ask(new Uri($"{scheme}://{proxy.Host}")).ExitCode);
        }

        ToolResult Ask(Uri through)
        {
            using Tool skopeo = Tool.Start("skopeo", ["inspect", "--tls-verify=false", $"docker://registry.test:{registry.Port}/app:v1"], new Dictionary<string, string?> { ["HTTP_PROXY"] = through.ToString(), ["HTTPS_PROXY"] = through.ToString(), ["NO_PROXY"] = null });
            return skopeo.WaitForExit();
        }
    }

    [Fact]
    public void Nginx_SpeaksTlsAndHttp2_AndWantsClientCertificates()
    {
        using var authority = new CertificateAuthority();
        (string certificate, string key) = authority.Issue("127.0.0.1");
        (string clientCertificate, string clientKey) = authority.IssueClient("client");
        using var registry = new RegistryServer();
        Skopeo.Push(_image, registry, "app:v1");
        var settings = new NginxSettings { Upstream = registry.Host, Certificate = certificate, CertificateKey = key };
        string certificates = _directory.CreateDirectory("certs.d");
        using (var nginx = new NginxServer(settings))
        {
            Assert.NotEqual(0, Ask(nginx).ExitCode); // the issuer is unknown
            File.Copy(authority.Certificate, Path.Combine(certificates, "ca.crt"));
            Ask(nginx).EnsureSuccess();
            Tool.Run("curl", "--silent", "--fail", "--cacert", authority.Certificate, $"https://{nginx.Host}/v2/").EnsureSuccess();
            Assert.Contains(nginx.Requests, request => request is { Method: "GET", Uri: "/v2/", Status: 200, Protocol: "HTTP/2.0", HasAuthorization: false, ClientName: "" });
        }
        using (var nginx = new NginxServer(settings with { ClientAuthority = authority.Certificate }))
        {
            Assert.NotEqual(0, Ask(nginx).ExitCode);
            File.Copy(clientCertificate, Path.Combine(certificates, "client.cert"));
            File.Copy(clientKey, Path.Combine(certificates, "client.key"));
            Ask(nginx).EnsureSuccess();
            Assert.Contains(nginx.Requests, request => request is { Status: 200, ClientName: "CN=client" });
        }

        ToolResult Ask(NginxServer nginx) => Tool.Run("skopeo", "inspect", "--cert-dir", certificates, $"docker://{nginx.Host}/app:v1");
    }

    private static ToolResult Inspect(string host, string? credentials)
        => Tool.Run("skopeo", ["inspect", "--tls-verify=false", .. credentials is null ? (string[])["--no-creds"] : ["--creds", credentials], $"docker://{host}/app:v1"]);

    private static void AssertRefused(ToolResult result)
    {
        Assert.NotEqual(0, result.ExitCode);
        Assert.Contains("unauthorized", result.Error, StringComparison.OrdinalIgnoreCase);
    }
}
