using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>The program itself before nginx with TLS and behind proxies.</summary>
public sealed class NetworkTests : IDisposable
{
    private readonly RegistryServer _server = new();
    private readonly CertificateAuthority _authority = new();
    private readonly LazyMountCli _lazymount = new();
    private readonly byte[] _content = new byte[3_000_000];

    public NetworkTests()
    {
        new Random(5).NextBytes(_content);
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        layout.AddLayer(new TarBytes().Directory("./").File("file", _content)).WriteImage("v1");
        Skopeo.Push(layout.Reference("v1"), _server, "app:v1");
    }

    public void Dispose()
    {
        _lazymount.Dispose();
        _authority.Dispose();
        _server.Dispose();
    }

    private NginxServer Tls(string host, string? clients = null)
    {
        (string certificate, string key) = _authority.Issue(host);
        return new NginxServer(new NginxSettings { Upstream = _server.Host, Certificate = certificate, CertificateKey = key, ClientAuthority = clients });
    }

    [Fact]
    public void MountOverTls_ReadsByHttp2_AndWithoutTheIssuerItSaysWhatToDo()
    {
        using NginxServer nginx = Tls("127.0.0.1");
        string directory = _lazymount.Mount($"{nginx.Host}/app:v1", "--tls-ca", _authority.Certificate);
        Assert.Equal(_content, File.ReadAllBytes(Path.Combine(directory, "file")));
        Assert.All(nginx.Requests, request => Assert.Equal("HTTP/2.0", request.Protocol));
        ToolResult refused = _lazymount.Run("ls", $"{nginx.Host}/app:v1");
        Assert.Equal(3, refused.ExitCode);
        Assert.Contains("this machine does not know its issuer CN=Test Authority; name the issuer's certificate with --tls-ca FILE", refused.Error, StringComparison.Ordinal);
        ToolResult believed = _lazymount.Run("ls", "--tls-verify=false", $"{nginx.Host}/app:v1").EnsureSuccess();
        Assert.StartsWith($"lazymount: connections to {nginx.Host} are not verified", believed.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("SSL_CERT_FILE")]
    [InlineData("SSL_CERT_DIR")]
    public void CertificatesOfTheVariables_AreUsed(string variable)
    {
        using NginxServer nginx = Tls("127.0.0.1");
        string directory = _lazymount.Directory.CreateDirectory("issuers");
        File.Copy(_authority.Certificate, Path.Combine(directory, "issuer.pem"));
        Tool.Run("openssl", "rehash", directory).EnsureSuccess(); // as OpenSSL finds them
        (_lazymount.Environment["SSL_CERT_FILE"], _lazymount.Environment["SSL_CERT_DIR"]) = (null, null);
        _lazymount.Environment[variable] = variable == "SSL_CERT_DIR" ? directory : _authority.Certificate;
        Assert.Contains("file", _lazymount.Run("ls", $"{nginx.Host}/app:v1").EnsureSuccess().Output, StringComparison.Ordinal);
    }

    [Fact]
    public void ConfigurationThatTheUserMayNotLookInto_CountsAsAbsent()
    {
        string place = _lazymount.Directory.CreateDirectory("place"), config = Path.Combine(place, "config");
        foreach (string engine in (string[])["docker", "containerd", "containers"])
        {
            Directory.CreateDirectory(Path.Combine(config, $"{engine}/certs.d/{_server.Host}"));
            File.WriteAllText(Path.Combine(config, $"{engine}/certs.d/{_server.Host}/client.cert"), "half a pair");
        }
        string runtime = Path.Combine(place, "runtime");
        Directory.CreateDirectory(Path.Combine(runtime, "containers"));
        File.WriteAllText(Path.Combine(runtime, "containers/auth.json"), "somebody else's");
        Tool.Run("chmod", "a+rwx", _lazymount.Directory.Path, place, config).EnsureSuccess();
        Tool.Run("chmod", "700", runtime, Path.Combine(config, "docker"), Path.Combine(config, "containerd/certs.d"), Path.Combine(config, $"containers/certs.d/{_server.Host}")).EnsureSuccess();
        Assert.Equal("", Run().EnsureSuccess().Error);
        // A file that may not be read is told of: it was written for this registry.
        string hosts = Path.Combine(config, $"containerd/certs.d/{_server.Host}/hosts.toml");
        File.WriteAllText(hosts, "server = 5");
        Tool.Run("chmod", "755", Path.Combine(config, "containerd/certs.d")).EnsureSuccess();
        Tool.Run("chmod", "600", hosts).EnsureSuccess();
        Assert.Equal($"lazymount: ignoring '{hosts}': this user may not read it\n", Run().EnsureSuccess().Error);
        // What may block registries is not passed over.
        foreach (string name in (string[])["registries.conf", "registries.conf.d/1.conf", "registries.conf.d"])
        {
            string path = Path.Combine(config, "containers", name);
            if (name != "registries.conf.d")
            {
                Directory.CreateDirectory(Path.GetDirectoryName(path)!);
                File.WriteAllText(path, "");
            }
            Tool.Run("chmod", "0", path).EnsureSuccess();
            ToolResult refused = Run();
            Assert.Equal(1, refused.ExitCode);
            Assert.Contains($"{path}': Permission denied; ", refused.Error, StringComparison.Ordinal);
            Tool.Run("chmod", "755", path).EnsureSuccess();
        }

        ToolResult Run() => Tool.Run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", $"HOME={place}", $"XDG_CONFIG_HOME={config}", $"XDG_CACHE_HOME={place}", $"XDG_RUNTIME_DIR={runtime}",
            LazyMountCli.Binary, "ls", $"{_server.Host}/app:v1");
    }

    [Fact]
    public void CertificatesOfTheUsersDirectories_AreUsed()
    {
        using var clients = new CertificateAuthority("Clients");
        using NginxServer nginx = Tls("127.0.0.1", clients.Certificate);
        string directory = _lazymount.Directory.CreateDirectory($"config/docker/certs.d/{nginx.Host}");
        _lazymount.Environment["XDG_CONFIG_HOME"] = _lazymount.Directory["config"];
        (string certificate, string key) = clients.IssueClient("me");
        File.Copy(_authority.Certificate, Path.Combine(directory, "ca.crt"));
        File.Copy(certificate, Path.Combine(directory, "client.cert"));
        File.Copy(key, Path.Combine(directory, "client.key"));
        Assert.Equal(_content.Length, _lazymount.Run("cat", $"{nginx.Host}/app:v1", "/file").EnsureSuccess().OutputBytes.Length);
    }

    [Theory]
    [InlineData("http")]
    [InlineData("socks5h")]
    public void MountThroughAProxy_Reads(string scheme)
    {
        using NginxServer nginx = Tls("registry.test");
        var hosts = new Dictionary<string, string> { ["registry.test"] = "127.0.0.1" };
        using ForwardProxy proxy = scheme == "http" ? ForwardProxy.Http(("me", "pw"), hosts) : ForwardProxy.Socks5(("me", "pw"), hosts);
        _lazymount.Environment["HTTPS_PROXY"] = $"{scheme}://me:pw@{proxy.Host}";
        string directory = _lazymount.Mount($"registry.test:{nginx.Port}/app:v1", "--tls-ca", _authority.Certificate);
        Assert.Equal(_content, File.ReadAllBytes(Path.Combine(directory, "file")));
    }

    [Fact]
    public void MirrorOfHostsToml_ServesTheMount()
    {
        using var mirror = new RegistryServer(new RegistrySettings { MirrorOf = new Uri($"http://{_server.Host}") });
        string directory = _lazymount.Directory.CreateDirectory($"config/containerd/certs.d/{_server.Host}");
        File.WriteAllText(Path.Combine(directory, "hosts.toml"), $"[host.\"http://{mirror.Host}\"]\ncapabilities = [\"pull\", \"resolve\"]\n");
        _lazymount.Environment["XDG_CONFIG_HOME"] = _lazymount.Directory["config"];
        string mounted = _lazymount.Mount($"{_server.Host}/app:v1");
        Assert.Equal(_content, File.ReadAllBytes(Path.Combine(mounted, "file")));
        Assert.Contains("lazymount/", mirror.Log, StringComparison.Ordinal);
        // The registry itself is asked only for what refers to the image, of which the mirror knows nothing.
        Assert.DoesNotContain(_server.Log.Split('\n'), line => line.Contains("lazymount/", StringComparison.Ordinal) && (line.Contains("/blobs/", StringComparison.Ordinal) || line.Contains("/manifests/v1", StringComparison.Ordinal)));
    }
}
