using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry;
using LazyMount.Blobs.Registry.Hosts;
using LazyMount.Blobs.Sources;
using LazyMount.TestKit;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Blobs;

/// <summary>Where a repository is asked by the configurations of containerd and podman, and what happens when a mirror is no good.</summary>
public sealed class HostsTests : IDisposable
{
    private static readonly TestImage s_image = TestImage.Create(seed: 81);
    private static readonly byte[] s_content = TestImage.RandomBytes(100_000, 82);
    private static readonly Descriptor s_blob = TestImage.DescriptorOf(s_content);

    private static readonly string s_issuer = NewIssuer();

    private readonly TemporaryDirectory _directory = new();
    private readonly Dictionary<string, string> _variables = [];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _directory.Dispose();

    private static string NewIssuer()
    {
        using var authority = new CertificateAuthority();
        return File.ReadAllText(authority.Certificate);
    }

    private RegistryOptions Options => TestRegistries.With(root: _directory.Path, variables: _variables);

    private string Write(string path, string content)
    {
        string file = _directory[path];
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllText(file, content);
        return file;
    }

    private string[] Find(string reference, RegistryOptions? options = null)
        => [.. new RegistryHosts(options ?? Options).EndpointsOf(ImageReference.Parse(reference)).Select(each =>
            $"{each.Root}{each.Repository} {(each.CanPull ? "pull " : "")}{(each.CanResolve ? "resolve " : "")}{(each.CanPush ? "push " : "")}{(each.IsMirror ? "mirror" : "")}{(each.Namespace is null ? "" : " ns=" + each.Namespace)}{(each.Tls.IsVerified ? "" : " unverified")}{(each.FallsBackToHttp ? " or-http" : "")}")];

    [Fact]
    public void WithoutConfiguration_TheRegistryItselfIsAsked()
    {
        Assert.Equal(["https://registry-1.docker.io/v2/library/debian pull resolve push "], Find("debian"));
        Assert.Equal(["https://ghcr.io/v2/a/b pull resolve push "], Find("ghcr.io/a/b"));
        Assert.Equal(["https://localhost:5000/v2/a/b pull resolve push  or-http"], Find("localhost:5000/a/b"));
        Assert.Equal(["https://[2001:db8::1]:5000/v2/a/b pull resolve push "], Find("[2001:db8::1]:5000/a/b"));
    }

    [Fact]
    public void HostsToml_IsReadAsContainerdReadsIt()
    {
        Write("etc/containerd/certs.d/docker.io/hosts.toml", """
            server = "https://registry-1.docker.io"

            [host."https://second.example"]
              capabilities = ["pull"]
            [host."http://first.example:8080/prefix"]
              capabilities = ["pull", "resolve"]
              skip_verify = true
              dial_timeout = "3s"
              ca = ["ca.pem", "/abs/ca.pem"]
              client = [["client.cert", "client.key"], ["both.pem", ""]]
              [host."http://first.example:8080/prefix".header]
                X-One = "1"
                X-Two = ["a", "b"]
            [host."https://harbor.example/v2/cache"]
              override_path = true
            [host."bare.example"]
            """);
        Assert.Equal(
            [
                "https://second.example/v2/library/debian pull mirror ns=docker.io",
                "https://first.example:8080/prefix/v2/library/debian pull resolve mirror ns=docker.io unverified or-http",
                "https://harbor.example/v2/cache/library/debian pull resolve push mirror ns=docker.io",
                "https://bare.example/v2/library/debian pull resolve push mirror ns=docker.io",
                "https://registry-1.docker.io/v2/library/debian pull resolve push ",
            ],
            Find("debian"));
        RegistryEndpoint first = new RegistryHosts(Options).EndpointsOf(ImageReference.Parse("debian"))[1];
        string directory = _directory["etc/containerd/certs.d/docker.io"];
        Assert.Equal([$"{directory}/ca.pem", "/abs/ca.pem"], first.Tls.CaFiles);
        Assert.Equal([new ClientCertificateFiles($"{directory}/client.cert", $"{directory}/client.key"), new ClientCertificateFiles($"{directory}/both.pem", $"{directory}/both.pem")], first.Tls.ClientCertificates);
        Assert.Equal(["X-One=1", "X-Two=a", "X-Two=b"], first.Headers.Select(each => $"{each.Key}={each.Value}"));
        Assert.Equal(TimeSpan.FromSeconds(3), first.DialTimeout);
    }

    [Theory]
    [InlineData("h.example:5000", "h.example_5000_")]
    [InlineData("h.example:5000", "h.example:5000")]
    [InlineData("h.example", "h.example")]
    [InlineData("h.example", "_default")]
    public void HostsDirectory_IsFoundInEachSpelling(string host, string directory)
    {
        Write($"etc/containerd/certs.d/{directory}/hosts.toml", "[host.\"https://mirror.example\"]\n");
        Assert.Equal([$"https://mirror.example/v2/app pull resolve push mirror ns={host}", $"https://{host}/v2/app pull resolve push "], Find($"{host}/app"));
    }

    [Fact]
    public void ServerOfTheFile_StandsForTheRegistry_AndTheHostsOwnDirectoryBeatsDefault()
    {
        Write("etc/containerd/certs.d/_default/hosts.toml", "[host.\"https://default.example\"]\n");
        Write("etc/containerd/certs.d/h.example/hosts.toml", "server = \"https://moved.example\"\ncapabilities = [\"pull\", \"resolve\"]\n");
        Assert.Equal(["https://moved.example/v2/app pull resolve mirror ns=h.example"], Find("h.example/app"));
    }

    [Theory]
    [InlineData("server = 1", "server is not a string")]
    [InlineData("a = = b", "line 1: Unexpected token")]
    [InlineData("a = 1\nb = [1,", "line 2: ")]
    [InlineData("[host.\"https://m\"]\ncapabilities = [\"fetch\"]", "it has 'fetch'")]
    [InlineData("[host.\"https://m\"]\nca = 5", "host.https://m.ca is not a string or an array of strings")]
    [InlineData("[host.\"ftp://m\"]", "is not the URL of a host")]
    [InlineData("[host.\"https://m\"]\nclient = [[\"a\",\"b\",\"c\"]]", "client is not a list of files, or of pairs")]
    public void WrongHostsToml_IsNamed(string content, string says)
    {
        string file = Write("etc/containerd/certs.d/h.example/hosts.toml", content);
        var e = Assert.Throws<ImageException>(() => Find("h.example/app"));
        Assert.StartsWith($"cannot use the configuration file '{file}': ", e.Message, StringComparison.Ordinal);
        Assert.Contains(says, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void RegistriesConf_IsReadAsPodmanReadsIt()
    {
        Write("etc/containers/registries.conf", """
            unqualified-search-registries = ["quay.io"]
            short-name-mode = "enforcing"

            [[registry]]
            location = "docker.io"
            [[registry.mirror]]
            location = "mirror.example/hub"
            [[registry.mirror]]
            location = "plain.example:5000"
            insecure = true
            [[registry.mirror]]
            location = "digests.example"
            pull-from-mirror = "digest-only"
            [[registry.mirror]]
            location = "tags.example"
            pull-from-mirror = "tag-only"

            [[registry]]
            prefix = "docker.io/library/special"
            location = "internal.example/special"

            [[registry]]
            prefix = "*.wild.example"
            location = "caught.example"

            [[registry]]
            prefix = "blocked.example/bad"
            blocked = true
            location = "blocked.example/bad"
            """);
        string digest = $"@sha256:{new string('a', 64)}";
        Assert.Equal(
            [
                "https://mirror.example/v2/hub/library/debian pull resolve mirror",
                "https://plain.example:5000/v2/library/debian pull resolve mirror unverified or-http",
                "https://tags.example/v2/library/debian pull resolve mirror",
                "https://registry-1.docker.io/v2/library/debian pull resolve push ",
            ],
            Find("debian"));
        Assert.Contains("https://digests.example/v2/library/debian pull resolve mirror", Find("debian" + digest));
        Assert.DoesNotContain("https://tags.example/v2/library/debian pull resolve mirror", Find("debian" + digest));
        Assert.Equal(["https://internal.example/v2/special pull resolve push "], Find("docker.io/library/special"));
        Assert.Equal(["https://internal.example/v2/special/x pull resolve push "], Find("docker.io/library/special/x"));
        Assert.Equal(4, Find("docker.io/library/specialist").Length);
        Assert.Equal(["https://caught.example/v2/app pull resolve push "], Find("a.wild.example/app"));
        Assert.Equal(["https://wild.example/v2/app pull resolve push "], Find("wild.example/app"));
        Assert.Equal(["https://internal.example/v2/special pull resolve push "], Find("docker.io/library/special", Options with { PlainHttp = true }));
        Assert.Equal(["http://wild.example/v2/app pull resolve push "], Find("wild.example/app", Options with { PlainHttp = true }));
        var e = Assert.Throws<ImageException>(() => Find("blocked.example/bad/app"));
        Assert.Equal(ImageError.Denied, e.Error);
        Assert.Contains($"'{_directory["etc/containers/registries.conf"]}' blocks 'blocked.example/bad'", e.Message, StringComparison.Ordinal);
        Assert.Single(Find("blocked.example/good/app"));
    }

    [Fact]
    public void DropInsAndTheVariable_AreReadInTheirOrder()
    {
        Write("etc/containers/registries.conf", "[[registry]]\nlocation = \"h.example\"\n[[registry.mirror]]\nlocation = \"one.example\"\n");
        Write("etc/containers/registries.conf.d/10.conf", "[[registry]]\nlocation = \"h.example\"\n[[registry.mirror]]\nlocation = \"two.example\"\n");
        Assert.StartsWith("https://two.example/", Find("h.example/app")[0], StringComparison.Ordinal);
        _variables["CONTAINERS_REGISTRIES_CONF"] = Write("own.conf", "[[registry]]\nlocation = \"h.example\"\n[[registry.mirror]]\nlocation = \"three.example\"\n");
        Assert.StartsWith("https://two.example/", Find("h.example/app")[0], StringComparison.Ordinal);
        File.Delete(_directory["etc/containers/registries.conf.d/10.conf"]);
        Assert.StartsWith("https://three.example/", Find("h.example/app")[0], StringComparison.Ordinal);
        _variables["CONTAINERS_REGISTRIES_CONF"] = "/nonexistent.conf";
        Assert.Contains("CONTAINERS_REGISTRIES_CONF", Assert.Throws<ImageException>(() => Find("h.example/app")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void MirrorOption_ComesFirst_AndHostsTomlCountsBeforeRegistriesConf()
    {
        Write("etc/containers/registries.conf", "[[registry]]\nlocation = \"h.example\"\n[[registry.mirror]]\nlocation = \"conf.example\"\n");
        Write("etc/containerd/certs.d/h.example/hosts.toml", "[host.\"https://toml.example\"]\n");
        RegistryOptions options = Options with { Mirrors = [MirrorOption.Parse("h.example=http://option.example:81/base"), MirrorOption.Parse("other.example=x.example"), MirrorOption.Parse("h.example=harbor.example/v2/cache")] };
        Assert.Equal(
            [
                "http://option.example:81/base/v2/app pull resolve mirror ns=h.example",
                "https://harbor.example/v2/cache/app pull resolve mirror ns=h.example",
                "https://toml.example/v2/app pull resolve push mirror ns=h.example",
                "https://h.example/v2/app pull resolve push ",
            ],
            Find("h.example/app", options));
    }

    [Theory]
    [InlineData("h.example")]
    [InlineData("=https://m")]
    [InlineData("h=ftp://m")]
    [InlineData("h=https://user:pw@m")]
    [InlineData("h/x=https://m")]
    [InlineData("h=user:pw@m:x")]
    public void WrongMirrorOption_IsRefused_WithoutItsPassword(string text)
        => Assert.DoesNotContain("pw", Assert.Throws<FormatException>(() => MirrorOption.Parse(text)).Message, StringComparison.Ordinal);

    [Fact]
    public void PasswordInAHostsToml_IsIgnoredAsContainerdDoes_AndNotShown()
    {
        var notes = new List<string>();
        Write("etc/containerd/certs.d/h.example/hosts.toml", "[host.\"https://user:hunter2@m.example/v2?x=1\"]\n");
        Assert.Equal("https://m.example/v2/app pull resolve push mirror ns=h.example", Find("h.example/app", Options with { Note = notes.Add })[0]);
        Assert.Contains("the user name and password in the URL of m.example in ", Assert.Single(notes), StringComparison.Ordinal);
        Write("etc/containerd/certs.d/h.example/hosts.toml", "[host.\"https://user:hunter2@m.example\"]\nca = 5\n");
        Assert.DoesNotContain("hunter2", Assert.Throws<ImageException>(() => Find("h.example/app")).Message + notes[0], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("h.example:5000", "[host.\"http://h.example:5000\"]\ncapabilities = [\"Pull\", \"PUSH\"]", "http://h.example:5000/v2/app pull push ")] // the recipe for an insecure registry
    [InlineData("h.example:5000", "[host.\"http://h.example:5000\"]\nskip_verify = true", "https://h.example:5000/v2/app pull resolve push  unverified or-http")]
    [InlineData("h.example:5000", "[host.\"http://h.example:5000\"]\nskip_verify = false", "https://h.example:5000/v2/app pull resolve push  or-http")]
    [InlineData("h.example:5000", "[host.\"http://h.example:5000\"]\nca = \"ca.pem\"", "https://h.example:5000/v2/app pull resolve push  or-http")]
    [InlineData("h.example", "[host.\"http://h.example:80\"]\nskip_verify = true", "http://h.example/v2/app pull resolve push  unverified")] // port 80 is never TLS
    [InlineData("h.example", "[host.\"http://h.example\"]\nskip_verify = true", "https://h.example/v2/app pull resolve push  unverified or-http")]
    [InlineData("h.example", "[host.\"https://h.example:443/v2/cache\"]\noverride_path = true", "https://h.example/v2/cache/app pull resolve push ")]
    [InlineData("h.example:443", "[host.\"https://h.example:443\"]", "https://h.example/v2/app pull resolve push ")]
    [InlineData("h.example:443", "[host.\"https://H.Example\"]", "https://h.example/v2/app pull resolve push ")]
    [InlineData("h.example:8443", "[host.\"https://h.example\"]", "https://h.example/v2/app pull resolve push mirror ns=h.example:8443")]
    [InlineData("docker.io", "[host.\"https://docker.io\"]", "https://registry-1.docker.io/v2/app/x pull resolve push ")]
    public void HostThatIsTheRegistryItself_IsNoMirror(string registry, string toml, string expected)
    {
        Write($"etc/containerd/certs.d/{registry}/hosts.toml", toml);
        string repository = registry == "docker.io" ? "app/x" : "app";
        string[] found = Find($"{registry}/{repository}");
        Assert.Equal(expected, found[0]);
        Assert.Equal(2, found.Length);
        Assert.All(new RegistryHosts(Options).EndpointsOf(ImageReference.Parse($"{registry}/{repository}")).Where(each => !each.IsMirror), each => Assert.Equal(registry, each.Host));
    }

    [Theory]
    [InlineData("500us", 0.0005)]
    [InlineData("1m30s", 90.0)]
    [InlineData("1.5h", 5400.0)]
    [InlineData("+2s500ms", 2.5)]
    [InlineData("0s", null)]
    [InlineData("0", null)]
    [InlineData("", null)]
    public void DialTimeout_IsReadAsGoReadsDurations(string text, double? seconds)
    {
        Write("etc/containerd/certs.d/h.example/hosts.toml", $"[host.\"https://m.example\"]\ndial_timeout = \"{text}\"\n");
        Assert.Equal(seconds, new RegistryHosts(Options).EndpointsOf(ImageReference.Parse("h.example/app"))[0].DialTimeout?.TotalSeconds);
    }

    [Theory]
    [InlineData("10")]
    [InlineData("s")]
    [InlineData("-1s")]
    [InlineData("1 s")]
    [InlineData("1..5s")]
    [InlineData("99999999999999999999h")]
    public void DialTimeoutThatIsNone_IsNamed(string text)
    {
        Write("etc/containerd/certs.d/h.example/hosts.toml", $"[host.\"https://m.example\"]\ndial_timeout = \"{text}\"\n");
        Assert.Contains("dial_timeout is not a duration", Assert.Throws<ImageException>(() => Find("h.example/app")).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("etc/containerd/certs.d/h.example:5000")]
    [InlineData("etc/containerd/certs.d/h.example_5000_")]
    [InlineData("etc/docker/certs.d/h.example:5000")]
    [InlineData("etc/containers/certs.d/h.example:5000")]
    [InlineData("etc/containerd/certs.d/_default")]
    public void DirectoryWithCertificatesOnly_IsReadInEachSpelling(string directory)
    {
        string file = Write($"{directory}/ca.crt", s_issuer);
        Write($"{directory}/empty.crt", "");
        string pair = Write($"{directory}/client.cert", "x");
        Write($"{directory}/client.key", "x");
        Write($"{directory}/hosts.toml", ""); // counts as none
        EndpointTls tls = Assert.Single(new RegistryHosts(Options).EndpointsOf(ImageReference.Parse("h.example:5000/app"))).Tls;
        Assert.Equal([file], tls.CaFiles);
        Assert.Equal(pair, Assert.Single(tls.ClientCertificates).Certificate);
    }

    [Fact]
    public void DirectoryOfTheHost_HidesDefault_InItsOwnCertsD()
    {
        Write("etc/containerd/certs.d/_default/hosts.toml", "[host.\"https://default.example\"]\n");
        Write("etc/docker/certs.d/h.example/ca.crt", "docker's");
        Assert.Equal(2, Find("h.example/app").Length);
        Write("etc/containerd/certs.d/h.example/ca.crt", "containerd's");
        Assert.Single(Find("h.example/app"));
    }

    [Fact]
    public void CertificatesOfEachHost_AreForThatHostAlone()
    {
        string own = Write("etc/docker/certs.d/h.example/own.crt", s_issuer), mirrors = Write("etc/containers/certs.d/m.example/mirror.crt", s_issuer);
        string pair = Write("etc/docker/certs.d/h.example/client.cert", "x");
        Write("etc/docker/certs.d/h.example/client.key", "x");
        Write("etc/containerd/certs.d/h.example/hosts.toml", "server = \"https://h.example\"\n[host.\"https://m.example\"]\n");
        IReadOnlyList<RegistryEndpoint> endpoints = new RegistryHosts(Options with { TlsCaFile = "/all.crt" }).EndpointsOf(ImageReference.Parse("h.example/app"));
        Assert.Equal(["/all.crt", mirrors], endpoints[0].Tls.CaFiles);
        Assert.Empty(endpoints[0].Tls.ClientCertificates);
        Assert.Equal(["/all.crt", own], endpoints[1].Tls.CaFiles);
        Assert.Equal(pair, Assert.Single(endpoints[1].Tls.ClientCertificates).Certificate);
    }

    // Mirrors that are no good, each before a registry that is.

    private static ScriptedResponse Answer(ScriptedRequest request) => request.Path.Contains("/manifests/", StringComparison.Ordinal)
        ? new ScriptedResponse(200, s_image.Manifest, $"Content-Type: {s_image.MediaType}") : ScriptedResponse.Of(s_content, request);

    private RegistrySource Open(ScriptedServer registry, string mirror) => new(
        ImageReference.Parse($"{registry.Host}/app:v1"),
        Options with { PlainHttp = true, Mirrors = [new MirrorOption(registry.Host, new Uri($"http://{mirror}"))] },
        RegistrySourceTests.Impatient, NullLoggerFactory.Instance);

    private static async Task<byte[]> ReadAsync(RegistrySource source, int offset = 0, int length = 1000)
    {
        await using Stream stream = await source.OpenBlobAsync(s_blob, offset, length, Token);
        using var read = new MemoryStream();
        await stream.CopyToAsync(read, Token);
        return read.ToArray();
    }

    public static TheoryData<string> Mirrors => ["html", "empty", "404", "401", "403", "429", "500", "503", "text", "{}"];

    [Theory]
    [MemberData(nameof(Mirrors))]
    public async Task MirrorThatGivesSomethingElse_IsPassedOver(string kind)
    {
        await using var mirror = new ScriptedServer(_ => kind switch
        {
            "html" => new ScriptedResponse(200, "<html>Welcome</html>", "Content-Type: text/html"),
            "empty" => new ScriptedResponse(200),
            "text" or "{}" => new ScriptedResponse(200, kind),
            _ => new ScriptedResponse(int.Parse(kind, System.Globalization.CultureInfo.InvariantCulture), "", "Retry-After: 3600"),
        });
        await using var registry = new ScriptedServer(Answer);
        await using RegistrySource source = Open(registry, mirror.Host);
        Assert.Equal(s_image.Manifest, (await source.GetRootAsync(Token)).Bytes);
        Assert.NotEmpty(mirror.Requests);
        Assert.All(mirror.Requests, request => Assert.Equal($"ns={registry.Host}", request.Query));
    }

    [Fact]
    public async Task GoodMirror_IsAskedForEverything()
    {
        await using var mirror = new ScriptedServer(Answer);
        await using var registry = new ScriptedServer(Answer);
        await using RegistrySource source = Open(registry, mirror.Host);
        await source.GetRootAsync(Token);
        Assert.Equal(s_content[..1000], await ReadAsync(source));
        Assert.Empty(registry.Requests);
    }

    [Fact]
    public async Task ManifestOfAnotherDigest_IsPassedOver()
    {
        await using var mirror = new ScriptedServer(_ => new ScriptedResponse(200, TestImage.Create(seed: 83).Manifest, $"Content-Type: {s_image.MediaType}"));
        await using var registry = new ScriptedServer(Answer);
        await using RegistrySource source = Open(registry, mirror.Host);
        Assert.Equal(s_image.Manifest, (await source.GetManifestAsync(TestImage.DescriptorOf(s_image.Manifest), Token)).Bytes);
    }

    [Fact]
    public async Task DeadMirror_IsAskedOnceInAWhile()
    {
        await using var registry = new ScriptedServer(Answer);
        int asked = 0;
        await using var mirror = new ScriptedServer(_ =>
        {
            asked++;
            return new ScriptedResponse(503);
        });
        await using RegistrySource source = Open(registry, mirror.Host);
        await using RegistrySource other = Open(registry, "127.0.0.1:1");
        for (int i = 0; i < 5; i++)
        {
            Assert.Equal(s_content[i..(i + 1000)], await ReadAsync(source, i));
            Assert.Equal(s_content[i..(i + 1000)], await ReadAsync(other, i));
        }
        Assert.Equal(2, asked); // and once more
    }

    [Fact]
    public async Task MirrorThatBreaksOff_IsGoneOnFromAtTheRegistry()
    {
        await using var mirror = new ScriptedServer(request => Answer(request) with { CutAfter = 300 });
        await using var registry = new ScriptedServer(Answer);
        await using RegistrySource source = Open(registry, mirror.Host);
        Assert.Equal(s_content[..50_000], await ReadAsync(source, 0, 50_000));
        Assert.NotEqual(0, registry.Requests.Single().Range!.Value.First);
    }

    [Fact]
    public void UsersOwnCertificate_ComesBeforeTheSystems_AndUnusableIssuersArePassedOver()
    {
        var notes = new List<string>();
        _variables["XDG_CONFIG_HOME"] = _directory["config"];
        foreach (string place in (string[])["etc/docker", "config/containers"])
        {
            Write($"{place}/certs.d/h.example/client.cert", "x");
            Write($"{place}/certs.d/h.example/client.key", "x");
        }
        string good = Write("etc/docker/certs.d/h.example/good.crt", s_issuer), bad = Write("etc/docker/certs.d/h.example/bad.crt", "DER");
        Write("etc/docker/certs.d/h.example/hosts.toml", "[host.\"https://m.example\"]\n"); // docker reads what stands beside it too
        EndpointTls tls = new RegistryHosts(Options with { Note = notes.Add }).EndpointsOf(ImageReference.Parse("h.example/app"))[^1].Tls;
        Assert.Equal(_directory["config/containers/certs.d/h.example/client.cert"], Assert.Single(tls.ClientCertificates).Certificate);
        Assert.Equal([good], tls.CaFiles);
        Assert.Contains(notes, note => note.StartsWith($"ignoring '{bad}': it holds no certificate", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("ca = \"x\\u0000y\"", "ca is not the name of a file")]
    [InlineData("client = [\"\"]", "client is not the name of a file")]
    [InlineData("header = {Transfer-Encoding = \"chunked\"}", "header.Transfer-Encoding is not a field that may be sent")]
    [InlineData("header = {\"a b\" = \"x\"}", "is not a field that may be sent")]
    [InlineData("header = {X = \"a\\nb\"}", "header.X is not a value without control characters")]
    public void ValueThatCannotBeUsed_IsNamed(string toml, string says)
    {
        Write("etc/containerd/certs.d/h.example/hosts.toml", toml);
        Assert.Contains(says, Assert.Throws<ImageException>(() => Find("h.example/app")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ClientsOfBothForms_LongTimeoutsAndProxies_AreTaken()
    {
        Write("etc/containerd/certs.d/h.example/hosts.toml", "[host.\"https://m.example\"]\nclient = [\"a.pem\", [\"b.cert\", \"b.key\"]]\ndial_timeout = \"48h\"\nproxy = \"http://p.example:3128\"\n");
        RegistryEndpoint mirror = new RegistryHosts(Options).EndpointsOf(ImageReference.Parse("h.example/app"))[0];
        Assert.Equal(["a.pem", "b.cert"], mirror.Tls.ClientCertificates.Select(pair => Path.GetFileName(pair.Certificate)));
        Assert.Equal(TimeSpan.FromDays(1), mirror.DialTimeout);
        Assert.Equal("http://p.example:3128", mirror.Proxy);
    }

    [Theory]
    [InlineData("http://m.example:443", "https://m.example/v2/", "http://m.example:443/v2/")]
    [InlineData("http://m.example", "https://m.example/v2/", "http://m.example/v2/")]
    [InlineData("http://m.example:5000/x", "https://m.example:5000/x/v2/", "http://m.example:5000/x/v2/")]
    public void PlainHttpAfterTls_IsAskedAtThePortThatIsWritten(string url, string root, string plain)
    {
        Write("etc/containerd/certs.d/h.example/hosts.toml", $"[host.\"{url}\"]\nskip_verify = true\n");
        RegistryEndpoint mirror = new RegistryHosts(Options).EndpointsOf(ImageReference.Parse("h.example/app"))[0];
        Assert.Equal((root, plain), (mirror.Root.AbsoluteUri, mirror.PlainRoot!.AbsoluteUri));
        Assert.Equal("http://localhost:443/v2/", new RegistryHosts(Options).EndpointsOf(ImageReference.Parse("localhost:443/app"))[0].PlainRoot!.AbsoluteUri);
    }

    [Fact]
    public async Task FieldsOfHostsToml_AreSentInUtf8()
    {
        await using var registry = new ScriptedServer(Answer);
        Write($"etc/containerd/certs.d/{registry.Host}/hosts.toml", $"server = \"http://{registry.Host}\"\n[header]\nX-User = \"J\u00fcrgen\"\n");
        await using var source = new RegistrySource(ImageReference.Parse($"{registry.Host}/app:v1"), Options, RegistrySourceTests.Impatient, NullLoggerFactory.Instance);
        await source.GetRootAsync(Token);
        Assert.Equal("J\u00c3\u00bcrgen", registry.Requests.Last().Headers["X-User"]);
    }

    [Fact]
    public async Task ServerOnAnotherHostThatBreaksOff_IsGivenUp()
    {
        await using var registry = new ScriptedServer(request => Answer(request) with { CutAfter = 0 });
        Write("etc/containerd/certs.d/h.example/hosts.toml", $"server = \"http://{registry.Host}\"\n");
        await using var source = new RegistrySource(ImageReference.Parse("h.example/app:v1"), Options, RegistrySourceTests.Impatient, NullLoggerFactory.Instance);
        await Assert.ThrowsAsync<RegistryException>(() => ReadAsync(source));
        Assert.InRange(registry.Requests.Count, 2, 20);
    }

    [Fact]
    public async Task SecondPathOfTheRegistry_IsPassedOverLikeAMirror()
    {
        await using var registry = new ScriptedServer(request => request.Path.StartsWith("/cache/", StringComparison.Ordinal) ? new ScriptedResponse(503) : Answer(request));
        Write($"etc/containerd/certs.d/{registry.Host}/hosts.toml", $"server = \"http://{registry.Host}\"\n[host.\"http://{registry.Host}/cache\"]\n");
        await using var source = new RegistrySource(ImageReference.Parse($"{registry.Host}/app:v1"), Options, RegistrySourceTests.Impatient, NullLoggerFactory.Instance);
        for (int i = 0; i < 3; i++)
            Assert.Equal(s_content[..1000], await ReadAsync(source));
        Assert.Equal(2, registry.Requests.Count(request => request.Path.StartsWith("/cache/", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData(404)]
    [InlineData(401)]
    [InlineData(503)]
    public async Task MirrorThatFailedBefore_IsAskedAgain_WhenTheRegistryIsAway(int status)
    {
        var registry = new ScriptedServer(Answer);
        await using var mirror = new ScriptedServer(_ => new ScriptedResponse(status));
        await using RegistrySource source = Open(registry, mirror.Host);
        Assert.Equal(s_content[..1000], await ReadAsync(source));
        mirror.Answer = request => Task.FromResult(Answer(request));
        await registry.DisposeAsync();
        Assert.Equal(s_content[..1000], await ReadAsync(source));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task MirrorThatStalls_IsPassedOver_AlsoWhenNobodyWaitsSoLong(bool givesUp)
    {
        await using var mirror = new ScriptedServer(request => Answer(request) with { CutAfter = 10, Stall = true });
        await using var registry = new ScriptedServer(Answer);
        await using var source = new RegistrySource(
            ImageReference.Parse($"{registry.Host}/app:v1"),
            Options with { PlainHttp = true, Mirrors = [new MirrorOption(registry.Host, new Uri($"http://{mirror.Host}"))], ReadTimeout = TimeSpan.FromSeconds(givesUp ? 1 : 60) },
            RegistrySourceTests.Impatient with { Stall = TimeSpan.FromSeconds(givesUp ? 30 : 1) }, NullLoggerFactory.Instance);
        if (givesUp)
        {
            using var end = CancellationTokenSource.CreateLinkedTokenSource(Token);
            end.CancelAfter(1000);
            await using Stream stream = await source.OpenBlobAsync(s_blob, 0, 1000, end.Token);
            await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await stream.ReadExactlyAsync(new byte[1000], end.Token));
        }
        for (int i = 0; i < 3; i++)
            Assert.Equal(s_content[..1000], await ReadAsync(source));
        Assert.InRange(mirror.Requests.Count, 1, 2);
    }

    [Fact]
    public async Task MirrorThatLied_SpoilsNeitherAnotherMirrorNorItself_WhenItHasMended()
    {
        byte[] wrong = new byte[s_content.Length];
        await using var liar = new ScriptedServer(request => ScriptedResponse.Of(wrong, request));
        var good = new ScriptedServer(Answer);
        await using var source = new RegistrySource(
            ImageReference.Parse("127.0.0.1:1/app:v1"),
            Options with { PlainHttp = true, Mirrors = [new MirrorOption("127.0.0.1:1", new Uri($"http://{liar.Host}")), new MirrorOption("127.0.0.1:1", new Uri($"http://{good.Host}"))] },
            RegistrySourceTests.Impatient, NullLoggerFactory.Instance);
        Assert.Equal(wrong[..1000], await ReadAsync(source));
        Assert.True(source.Distrust(s_blob));
        Assert.Equal(s_content[..1000], await ReadAsync(source));
        liar.Answer = request => Task.FromResult(Answer(request));
        await good.DisposeAsync();
        Assert.Equal(s_content[..1000], await ReadAsync(source));
    }

    [Fact]
    public async Task MirrorAfterADeadRegistry_IsAskedFirst_AndADeadMirrorNotAtEveryRefusal()
    {
        int asked = 0, refusing = 1;
        await using var mirror = new ScriptedServer(async request =>
        {
            asked++;
            if (refusing == 0)
                return Answer(request);
            await Task.Delay(1500, Token);
            return new ScriptedResponse(503);
        });
        await using var registry = new ScriptedServer(_ => new ScriptedResponse(404));
        await using RegistrySource source = Open(registry, mirror.Host);
        for (int i = 0; i < 3; i++)
            await Assert.ThrowsAsync<RegistryException>(() => ReadAsync(source));
        Assert.Equal(2, asked); // the registry says no: a mirror that rests is not asked again
        registry.Answer = _ => Task.FromResult(new ScriptedResponse(503));
        refusing = 0;
        Assert.Equal(s_content[..1000], await ReadAsync(source)); // the registry fails: the mirror is asked, and rests no more
        int before = registry.Requests.Count;
        Assert.Equal(s_content[..1000], await ReadAsync(source));
        Assert.Equal(before, registry.Requests.Count);
    }

    [Fact]
    public async Task MirrorWithoutReferrers_ServesBlobsAllTheSame_AndOneThatHangsCostsAMoment()
    {
        int referrers = 0;
        await using var mirror = new ScriptedServer(async request =>
        {
            if (!request.Path.Contains("/referrers/", StringComparison.Ordinal))
                return Answer(request);
            if (Interlocked.Increment(ref referrers) > 2)
                await Task.Delay(20_000, Token);
            return new ScriptedResponse(503);
        });
        string list = $$"""{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{{s_blob.Digest}}","size":1,"artifactType":"a/b"}]}""";
        await using var registry = new ScriptedServer(request => request.Path.Contains("/referrers/", StringComparison.Ordinal) ? new ScriptedResponse(200, list) : Answer(request));
        await using RegistrySource source = Open(registry, mirror.Host);
        for (int i = 0; i < 2; i++)
        {
            long began = System.Diagnostics.Stopwatch.GetTimestamp();
            Assert.Single(await source.GetReferrersAsync(s_blob.Digest, ["a/b"], Token));
            Assert.InRange(System.Diagnostics.Stopwatch.GetElapsedTime(began).TotalSeconds, 0, 10);
        }
        Assert.Equal(s_content[..1000], await ReadAsync(source));
        Assert.DoesNotContain(registry.Requests, request => request.Path.Contains("/blobs/", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Push_GoesToTheRegistrysOwnPlaceThatTakesIt()
    {
        await using var registry = new ScriptedServer(_ => new ScriptedResponse(201));
        Write($"etc/containerd/certs.d/{registry.Host}/hosts.toml", $"[host.\"http://{registry.Host}\"]\n");
        await using var source = new RegistrySource(ImageReference.Parse($"{registry.Host}/app:v1"), Options, RegistrySourceTests.Impatient, NullLoggerFactory.Instance);
        await source.PushManifestAsync(new RawManifest(TestImage.DescriptorOf(s_image.Manifest) with { MediaType = s_image.MediaType }, s_image.Manifest), "v1", Token);
        Assert.Equal("PUT", Assert.Single(registry.Requests).Method);
    }

    [Fact]
    public async Task MirrorThatLies_IsPassedOverForThatBlob()
    {
        byte[] wrong = [.. s_content];
        wrong[500] ^= 1;
        await using var mirror = new ScriptedServer(request => ScriptedResponse.Of(wrong, request));
        await using var registry = new ScriptedServer(Answer);
        await using RegistrySource source = Open(registry, mirror.Host);
        var cache = new BlobCache(_directory["cache"]);
        byte[] read = await new BlobPass(cache, true, NullLogger.Instance).RunAsync(
            s_blob, source, ChunkScope.Of("somebody"),
            async stream =>
            {
                using var all = new MemoryStream();
                await stream.CopyToAsync(all, Token);
                return s_blob.Digest.Verifies(all.ToArray()) ? all.ToArray() : throw new ImageException(ImageError.Verification, "wrong");
            },
            _ => false, Token);
        Assert.Equal(s_content, read);
        Assert.Equal(s_content[..1000], await ReadAsync(source));
        Assert.Equal(2, registry.Requests.Count); // the whole blob, and the range
    }

    [Fact]
    public async Task WhenAllFail_EachIsNamed_AndCredentialsAreForTheirHostAlone()
    {
        await using var mirror = new ScriptedServer(_ => new ScriptedResponse(404));
        await using var registry = new ScriptedServer(request => request.Authorization is null ? new ScriptedResponse(401, "", "WWW-Authenticate: Basic realm=x") : new ScriptedResponse(404));
        await using var source = new RegistrySource(
            ImageReference.Parse($"{registry.Host}/app:v1"),
            Options with { PlainHttp = true, Credentials = new("me", "pw"), Mirrors = [new MirrorOption(registry.Host, new Uri($"http://{mirror.Host}"))] },
            RegistrySourceTests.Impatient, NullLoggerFactory.Instance);
        var e = await Assert.ThrowsAsync<RegistryException>(() => source.GetRootAsync(Token));
        Assert.Equal(ImageError.NotFound, e.Error);
        Assert.StartsWith($"cannot get '{registry.Host}/app:v1': {registry.Host} does not have it", e.Message, StringComparison.Ordinal);
        Assert.Contains($"; asked before: {mirror.Host} (--mirror): ", e.Message, StringComparison.Ordinal);
        Assert.All(mirror.Requests, request => Assert.Null(request.Authorization));
        Assert.Contains(registry.Requests, request => request.Authorization is not null);
    }

    [Fact]
    public async Task RealPullThroughMirror_Serves()
    {
        using var upstream = new RegistryServer();
        using var mirror = new RegistryServer(new RegistrySettings { MirrorOf = new Uri($"http://{upstream.Host}") });
        var layout = new OciLayoutBuilder(_directory["layout"]);
        layout.AddLayer(new TarBytes().Directory("./").File("file", "content"u8.ToArray())).WriteImage("v1");
        Skopeo.Push(layout.Reference("v1"), upstream, "app:v1");
        Write($"etc/containerd/certs.d/{upstream.Host}/hosts.toml", $"[host.\"http://{mirror.Host}\"]\ncapabilities = [\"pull\", \"resolve\"]\n");
        await using var source = new RegistrySource(ImageReference.Parse($"{upstream.Host}/app:v1"), Options, RegistrySourceTests.Impatient, NullLoggerFactory.Instance);
        Image image = await Image.ResolveAsync(ImageReference.Parse($"{upstream.Host}/app:v1"), source, null, new BlobCache(_directory["cache"]), Token);
        Assert.Single(image.Layers);
        Assert.Contains("lazymount/", mirror.Log, StringComparison.Ordinal);
        Assert.DoesNotContain("lazymount/", upstream.Log, StringComparison.Ordinal);
    }
}
