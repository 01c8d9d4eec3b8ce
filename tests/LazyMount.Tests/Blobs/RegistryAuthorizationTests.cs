using System.Text;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry;
using Xunit;

namespace LazyMount.Tests.Blobs;

/// <summary>Registries and token servers that refuse, and credentials that change while an image is in use.</summary>
public sealed class RegistryAuthorizationTests : IDisposable
{
    private static readonly TestImage s_image = TestImage.Create(seed: 51);
    private static readonly byte[] s_content = TestImage.RandomBytes(1000, 52);
    private static readonly Descriptor s_blob = TestImage.DescriptorOf(s_content);

    private readonly TempDirectory _directory = new();
    private readonly RecordingLoggers _loggers = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _loggers.Dispose();
        _directory.Dispose();
    }

    private RegistrySource Open(ScriptedServer server) => new(
        ImageReference.Parse($"{server.Host}/app:v1"), TestRegistries.With(_directory.Path) with { PlainHttp = true }, RegistrySourceTests.Impatient, _loggers);

    private void LogIn(ScriptedServer server, string entry)
        => File.WriteAllText(Path.Combine(_directory.Path, "config.json"), $$"""{"auths":{"{{server.Host}}":{{entry}} } }""");

    private static string Entry(string password) => $$"""{"username":"me","password":"{{password}}"}""";

    private static string Basic(string password) => "Basic " + Convert.ToBase64String(Encoding.UTF8.GetBytes($"me:{password}"));

    private static async Task ReadAsync(RegistrySource source, int offset = 0)
    {
        await using Stream stream = await source.OpenBlobAsync(s_blob, offset, 10, Token);
        using var read = new MemoryStream();
        await stream.CopyToAsync(read, Token);
        Assert.Equal(s_content[offset..(offset + 10)], read.ToArray());
    }

    private static ScriptedResponse Challenge(ScriptedServer tokens, string? scope = "repository:app:pull")
        => new(401, "", $"WWW-Authenticate: Bearer realm=\"http://{tokens.Host}/token\",service=s{(scope is null ? "" : $",scope=\"{scope}\"")}");

    private static ScriptedResponse Answer(ScriptedRequest request)
        => request.Path.Contains("/manifests/", StringComparison.Ordinal) ? new ScriptedResponse(200, s_image.Manifest, $"Content-Type: {s_image.MediaType}") : ScriptedResponse.Of(s_content, request);

    [Theory]
    [InlineData(401)]
    [InlineData(400)]
    [InlineData(403)]
    public async Task TokenThatIsRefusedWithoutAChallenge_IsRenewedOnce(int status)
    {
        int issued = 0, valid = 1;
        await using var tokens = new ScriptedServer(_ => new ScriptedResponse(200, $$"""{"token":"T{{++issued}}","expires_in":300}"""));
        await using var server = new ScriptedServer(request => request.Authorization == $"Bearer T{valid}" ? Answer(request)
            : request.Authorization is null ? Challenge(tokens) : new ScriptedResponse(status));
        await using RegistrySource source = Open(server);
        await ReadAsync(source);
        valid = 2;
        await ReadAsync(source, 20);
        Assert.Equal(2, issued);

        valid = 99;
        await Assert.ThrowsAsync<RegistryException>(() => ReadAsync(source));
        Assert.InRange(issued, 3, status == 400 ? 5 : 3); // what may be a refused range is asked for again, and as a whole
    }

    [Fact]
    public async Task BasicPassword_MayChangeWhileAnImageIsInUse()
    {
        string password = "old";
        await using var server = new ScriptedServer(request => request.Authorization == Basic(password) ? Answer(request) : new ScriptedResponse(401, "", "WWW-Authenticate: Basic realm=x"));
        LogIn(server, Entry("old"));
        await using RegistrySource source = Open(server);
        await ReadAsync(source);
        password = "new";
        LogIn(server, Entry("new"));
        await Task.WhenAll(Enumerable.Range(0, 8).Select(i => ReadAsync(source, i)));
        Assert.Equal(8, server.Requests.Count(request => request.Authorization == Basic("new")));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task PasswordAndIdentityTokenForTokens_MayChangeWhileAnImageIsInUse(bool identityToken)
    {
        string secret = "old", valid = "T-old";
        await using var tokens = new ScriptedServer(request => (identityToken ? request.Body.Contains($"refresh_token={secret}", StringComparison.Ordinal) : request.Authorization == Basic(secret))
            ? new ScriptedResponse(200, $$"""{"token":"T-{{secret}}","expires_in":300}""") : new ScriptedResponse(401));
        await using var server = new ScriptedServer(request => request.Authorization == $"Bearer {valid}" ? Answer(request) : Challenge(tokens));
        LogIn(server, identityToken ? """{"identitytoken":"old"}""" : Entry("old"));
        await using RegistrySource source = Open(server);
        await ReadAsync(source);
        (secret, valid) = ("new", "T-new");
        LogIn(server, identityToken ? """{"identitytoken":"new"}""" : Entry("new"));
        await Task.WhenAll(Enumerable.Range(0, 8).Select(i => ReadAsync(source, i)));
    }

    [Fact]
    public async Task RefusedCredentials_OfAPublicImage_AreDoneWithout_AndWarnedOf()
    {
        await using var tokens = new ScriptedServer(request => request.Authorization is null ? new ScriptedResponse(200, """{"token":"T"}""") : new ScriptedResponse(401, """{"details":"incorrect username or password"}"""));
        await using var server = new ScriptedServer(request => request.Authorization == "Bearer T" ? Answer(request) : Challenge(tokens));
        LogIn(server, Entry("stale"));
        await using RegistrySource source = Open(server);
        await ReadAsync(source);
        string warning = Assert.Single(_loggers.Lines, message => message.Contains("continuing without credentials", StringComparison.Ordinal));
        Assert.Contains($"the entry '{server.Host}' in ", warning, StringComparison.Ordinal);
        Assert.DoesNotContain("stale", string.Join('\n', _loggers.Lines), StringComparison.Ordinal);
    }

    [Fact]
    public async Task RefusedCredentials_OfAPrivateImage_AreNamed()
    {
        await using var tokens = new ScriptedServer(_ => new ScriptedResponse(401, """{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}"""));
        await using var server = new ScriptedServer(_ => Challenge(tokens));
        LogIn(server, Entry("stale"));
        await using RegistrySource source = Open(server);
        var e = await Assert.ThrowsAsync<RegistryException>(() => source.GetRootAsync(Token));
        Assert.Equal(ImageError.Denied, e.Error);
        Assert.StartsWith($"cannot get '{server.Host}/app:v1': the token server refuses the entry '{server.Host}' in ", e.Message, StringComparison.Ordinal);
        Assert.EndsWith($" (UNAUTHORIZED: no); docker login {server.Host} replaces it", e.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("push", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(301, true)]
    [InlineData(302, true)]
    [InlineData(307, false)]
    [InlineData(308, false)]
    public async Task TokenServerThatRedirects_IsFollowed_ToAnotherHostWithoutCredentials(int status, bool sameHost)
    {
        await using var other = new ScriptedServer(_ => new ScriptedResponse(200, """{"token":"T"}"""));
        ScriptedServer tokens = null!;
        await using ScriptedServer owned = tokens = new ScriptedServer(request => request.Path == "/token"
            ? new ScriptedResponse(status, "", $"Location: {(sameHost ? "/moved" : $"http://{other.Host}/moved")}?{request.Query}") : new ScriptedResponse(200, """{"token":"T"}"""));
        await using var server = new ScriptedServer(request => request.Authorization == "Bearer T" ? Answer(request) : Challenge(tokens));
        LogIn(server, Entry("pw"));
        await using RegistrySource source = Open(server);
        await ReadAsync(source);
        ScriptedRequest moved = Assert.Single(sameHost ? tokens.Requests.Where(request => request.Path == "/moved") : other.Requests);
        Assert.Equal(sameHost ? Basic("pw") : null, moved.Authorization);
        Assert.Equal("service=s&scope=repository:app:pull", moved.Query);
    }

    [Fact]
    public async Task TokenServerThatRedirectsForEver_IsGivenUp()
    {
        ScriptedServer tokens = null!;
        await using ScriptedServer owned = tokens = new ScriptedServer(_ => new ScriptedResponse(302, "", "Location: /token"));
        await using var server = new ScriptedServer(_ => Challenge(tokens));
        await using RegistrySource source = Open(server);
        var e = await Assert.ThrowsAsync<RegistryException>(() => source.GetRootAsync(Token));
        Assert.Contains("token server that redirects more than", e.Message, StringComparison.Ordinal);
        Assert.InRange(tokens.Requests.Count, 1, 7);
    }

    [Theory]
    [InlineData(404, "")]
    [InlineData(405, "")]
    [InlineData(401, "<html/>")]
    [InlineData(400, "{}")]
    [InlineData(200, "<html>a user interface</html>")]
    [InlineData(307, "")]
    public async Task TokenServerWithoutOAuth2_IsAskedByGet(int status, string body)
    {
        await using var tokens = new ScriptedServer(request => request.Method == "POST" ? new ScriptedResponse(status, body, "Location: http://127.0.0.1:1/")
            : request.Authorization == "Basic " + Convert.ToBase64String("me:long-lived"u8) ? new ScriptedResponse(200, """{"token":"T"}""") : new ScriptedResponse(401));
        await using var server = new ScriptedServer(request => request.Authorization == "Bearer T" ? Answer(request) : Challenge(tokens));
        LogIn(server, """{"username":"me","identitytoken":"long-lived"}""");
        await using RegistrySource source = Open(server);
        await ReadAsync(source);
        Assert.Equal(["POST", "GET"], tokens.Requests.Select(request => request.Method));
    }

    [Theory]
    [InlineData("\"300\"", 1)]
    [InlineData("300.5", 1)]
    [InlineData("null", 1)]
    [InlineData("\"soon\"", 1)]
    [InlineData("-1", 1)]
    [InlineData("0", 1)]
    [InlineData("1e400", 1)]
    [InlineData("\"0.01\"", 2)]
    [InlineData("300,\"issued_at\":\"2001-01-01T00:00:00Z\"", 1)] // a clock that is wrong
    [InlineData("300,\"issued_at\":\"yesterday\"", 1)]
    public async Task LifetimeOfAToken_IsReadInEverySpelling(string expiresIn, int expected)
    {
        await using var tokens = new ScriptedServer(_ => new ScriptedResponse(200, $$"""{"token":"T","expires_in":{{expiresIn}}}"""));
        await using var server = new ScriptedServer(request => request.Authorization == "Bearer T" ? Answer(request) : Challenge(tokens));
        await using RegistrySource source = Open(server);
        await ReadAsync(source);
        await Task.Delay(30, Token);
        await ReadAsync(source);
        Assert.Equal(expected, tokens.Requests.Count);
    }

    [Fact]
    public async Task TokenIssuedSomeTimeAgo_IsRenewedInTime()
    {
        string issued = DateTimeOffset.UtcNow.AddSeconds(-299).ToString("O");
        await using var tokens = new ScriptedServer(_ => new ScriptedResponse(200, $$"""{"token":"T","expires_in":300,"issued_at":"{{issued}}"}"""));
        await using var server = new ScriptedServer(request => request.Authorization == "Bearer T" ? Answer(request) : Challenge(tokens));
        await using RegistrySource source = Open(server);
        await ReadAsync(source);
        await Task.Delay(1100, Token);
        await ReadAsync(source);
        Assert.Equal(2, tokens.Requests.Count);
    }

    [Theory]
    [InlineData(401)]
    [InlineData(403)]
    [InlineData(404)]
    public async Task RegistryThatChallengesOnlyAtItsRoot_IsAskedThere_OnceAndByThoseWhoHaveCredentials(int status)
    {
        await using var server = new ScriptedServer(request => request.Authorization == Basic("pw") ? Answer(request)
            : request.Path == "/v2/" ? new ScriptedResponse(401, "", "WWW-Authenticate: Basic realm=x") : new ScriptedResponse(status));
        await using (RegistrySource anonymous = Open(server))
        {
            var e = await Assert.ThrowsAsync<RegistryException>(() => anonymous.GetRootAsync(Token));
            Assert.Equal(status == 404 ? ImageError.NotFound : ImageError.Denied, e.Error);
            Assert.DoesNotContain(server.Requests, request => request.Path == "/v2/");
        }
        LogIn(server, Entry("pw"));
        await using RegistrySource source = Open(server);
        await source.GetRootAsync(Token);
        await ReadAsync(source);
        Assert.Single(server.Requests, request => request.Path == "/v2/");
    }

    [Fact]
    public async Task LookForCredentialsThatFails_DoesNotTakeAwayThoseThatWereFound()
    {
        int issued = 0;
        await using var tokens = new ScriptedServer(request => request.Authorization == Basic("pw") ? new ScriptedResponse(200, $$"""{"token":"T{{++issued}}"}""") : new ScriptedResponse(401));
        string valid = "Bearer T1";
        await using var server = new ScriptedServer(request => request.Authorization == valid ? Answer(request) : Challenge(tokens));
        LogIn(server, Entry("pw"));
        await using RegistrySource source = Open(server);
        await ReadAsync(source);
        File.Delete(Path.Combine(_directory.Path, "config.json")); // between docker logout and docker login
        valid = "none"; // a new token is refused as well, so that credentials are looked for again
        await Assert.ThrowsAsync<RegistryException>(() => ReadAsync(source));
        valid = $"Bearer T{issued + 1}";
        await ReadAsync(source);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task CredentialsThatComeLater_AreFound(bool basic)
    {
        await using var tokens = new ScriptedServer(request => request.Authorization == Basic("pw") ? new ScriptedResponse(200, """{"token":"T"}""") : new ScriptedResponse(401));
        await using var server = new ScriptedServer(request => request.Authorization == (basic ? Basic("pw") : "Bearer T") ? Answer(request)
            : basic ? new ScriptedResponse(401, "", "WWW-Authenticate: Basic realm=x") : Challenge(tokens));
        await using RegistrySource source = Open(server);
        for (int i = 0; i < 2; i++)
            Assert.Equal(ImageError.Denied, (await Assert.ThrowsAsync<RegistryException>(() => ReadAsync(source))).Error);
        LogIn(server, Entry("pw"));
        await ReadAsync(source);
    }

    [Fact]
    public async Task QuestionForAHiddenChallenge_IsSharedByAll_AndAskedAgainAfterAFailure()
    {
        int roots = 0;
        await using var server = new ScriptedServer(async request =>
        {
            if (request.Authorization == Basic("pw"))
                return Answer(request);
            if (request.Path != "/v2/")
                return new ScriptedResponse(404);
            int count = Interlocked.Increment(ref roots);
            await Task.Delay(300, Token);
            return count == 1 ? new ScriptedResponse(500) : new ScriptedResponse(401, "", "WWW-Authenticate: Basic realm=x");
        });
        LogIn(server, Entry("pw"));
        await using RegistrySource source = Open(server);
        await Assert.ThrowsAsync<RegistryException>(() => ReadAsync(source));
        await Task.WhenAll(Enumerable.Range(0, 8).Select(i => ReadAsync(source, i)));
        Assert.Equal(2, roots);
    }

    [Fact]
    public async Task TokenServerInPlainHttp_IsNotAskedForARegistryOfTls()
    {
        var http = new RegistryHttp("registry.example", new LazyMount.Blobs.Registry.Connections.RegistryConnections(
            new LazyMount.Blobs.Registry.Hosts.RegistryEndpoint { Host = "registry.example", Repository = "app", Root = new Uri("https://registry.example/v2/") }, TestRegistries.Options, RegistrySourceTests.Impatient), RegistrySourceTests.Impatient, Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance);
        using RegistryHttp owned = http;
        await using var tokens = new ScriptedServer(_ => new ScriptedResponse(200, """{"token":"T"}"""));
        var challenge = LazyMount.Blobs.Registry.Challenge.Choose([$"Bearer realm=\"http://{tokens.Host}/token\""])!;
        var e = await Assert.ThrowsAsync<RegistryException>(() => new TokenServer(http).FetchAsync(challenge, new Uri("https://registry.example/v2/"), ["repository:app:pull"], null, "app", Token));
        Assert.Contains("is to be asked in plain HTTP", e.Message, StringComparison.Ordinal);
        Assert.Empty(tokens.Requests);
    }

    [Fact]
    public async Task OtherSecretsThatAServerEchoes_AreNotShown()
    {
        // A refresh token in the body of a request, a field of hosts.toml (also an Authorization that is no base64), a parameter of a signed URL.
        await using var tokens = new ScriptedServer(request => new ScriptedResponse(request.Method == "POST" ? 503 : 401, $$"""{"errors":[{"code":"X","message":"{{Uri.UnescapeDataString(request.Body)}}"}]}"""));
        await using (var server = new ScriptedServer(_ => Challenge(tokens)))
        {
            LogIn(server, """{"username":"me","identitytoken":"long-lived-secret"}""");
            await using RegistrySource source = Open(server);
            var e = await Assert.ThrowsAsync<RegistryException>(() => source.GetRootAsync(Token));
            Assert.DoesNotContain("long-lived-secret", e.ToString(), StringComparison.Ordinal);
            Assert.Contains("refresh_token=***", e.Message, StringComparison.Ordinal);
        }
        await using (var server = new ScriptedServer(request => new ScriptedResponse(403, $$"""{"errors":[{"code":"X","message":"{{request.Authorization}} {{request.Headers["X-Key"]}}"}]}""")))
        {
            Directory.CreateDirectory(Path.Combine(_directory.Path, $"etc/containerd/certs.d/{server.Host}"));
            File.WriteAllText(Path.Combine(_directory.Path, $"etc/containerd/certs.d/{server.Host}/hosts.toml"), $"server = \"http://{server.Host}\"\n[header]\nAuthorization = \"Basic not!base64!\"\nX-Key = \"hunter2hunter2\"\n");
            await using var source = new RegistrySource(ImageReference.Parse($"{server.Host}/app:v1"), TestRegistries.With(root: _directory.Path), RegistrySourceTests.Impatient, _loggers);
            var e = await Assert.ThrowsAsync<RegistryException>(() => source.GetRootAsync(Token));
            Assert.Contains("(X: *** ***)", e.Message, StringComparison.Ordinal);
        }
        await using var cdn = new ScriptedServer(_ => new ScriptedResponse(403, """{"errors":[{"code":"X","message":"bad sig0123%2B and sig0123+"}]}"""));
        await using (var server = new ScriptedServer(_ => new ScriptedResponse(307, "", $"Location: http://{cdn.Host}/x?Expires=1&Signature=sig0123%2B")))
        {
            await using RegistrySource source = Open(server);
            Assert.Contains("(X: bad *** and ***)", (await Assert.ThrowsAsync<RegistryException>(() => ReadAsync(source))).Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task MissingImage_IsMissing_AlsoForThoseWhoHaveCredentials()
    {
        await using var server = new ScriptedServer(request => new ScriptedResponse(request.Path == "/v2/" ? 200 : 404));
        LogIn(server, Entry("pw"));
        await using RegistrySource source = Open(server);
        Assert.Equal(ImageError.NotFound, (await Assert.ThrowsAsync<RegistryException>(() => source.GetRootAsync(Token))).Error);
        Assert.Equal(ImageError.NotFound, (await Assert.ThrowsAsync<RegistryException>(() => source.GetRootAsync(Token))).Error);
        Assert.Single(server.Requests, request => request.Path == "/v2/");
    }

    [Fact]
    public async Task FailedRenewal_IsSharedByAllWhoWaitForIt()
    {
        var entered = new SemaphoreSlim(0);
        bool fails = false;
        await using var tokens = new ScriptedServer(async _ =>
        {
            if (!fails)
                return new ScriptedResponse(200, """{"token":"T1"}""");
            await entered.WaitAsync(Token);
            return new ScriptedResponse(418);
        });
        string valid = "Bearer T1";
        int refused = 0;
        await using var server = new ScriptedServer(request =>
        {
            if (request.Authorization == valid)
                return Answer(request);
            if (request.Authorization is not null && Interlocked.Increment(ref refused) == 8)
                _ = Task.Delay(300, Token).ContinueWith(_ => entered.Release(8), TaskScheduler.Default);
            return Challenge(tokens);
        });
        await using RegistrySource source = Open(server);
        await ReadAsync(source);
        (fails, valid) = (true, "Bearer T2");
        await Task.WhenAll(Enumerable.Range(0, 8).Select(i => Assert.ThrowsAsync<RegistryException>(() => ReadAsync(source, i))));
        Assert.Equal(2, tokens.Requests.Count);
    }

    [Fact]
    public async Task RefusedCredentials_AreNotTriedAgainByEveryRead()
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(401, "", "WWW-Authenticate: Basic realm=x"));
        LogIn(server, Entry("wrong"));
        await using RegistrySource source = Open(server);
        for (int i = 0; i < 10; i++)
            await Assert.ThrowsAsync<RegistryException>(() => ReadAsync(source, i));
        Assert.InRange(server.Requests.Count, 10, 22);
    }

    [Theory]
    [InlineData("registry:catalog:*", "service=s&scope=registry:catalog:*&scope=repository:app:pull")]
    [InlineData(null, "service=s&scope=repository:app:pull")]
    [InlineData("repository:app:pull,delete", "service=s&scope=repository:app:pull,delete")]
    public async Task ScopeAskedFor_IsTheServersAndOurs(string? challenged, string query)
    {
        await using var tokens = new ScriptedServer(_ => new ScriptedResponse(200, """{"token":"T"}"""));
        await using var server = new ScriptedServer(request => request.Authorization == "Bearer T" ? Answer(request) : Challenge(tokens, challenged));
        await using RegistrySource source = Open(server);
        await ReadAsync(source);
        Assert.Equal(query, Assert.Single(tokens.Requests).Query);
    }

    [Fact]
    public async Task RedirectToAnotherRegistryThatChallenges_IsAnsweredWithATokenForEverybody()
    {
        await using var tokens = new ScriptedServer(_ => new ScriptedResponse(200, """{"token":"E"}"""));
        await using var other = new ScriptedServer(request => request.Authorization == "Bearer E" ? Answer(request) : Challenge(tokens, "repository:elsewhere:pull"));
        await using var server = new ScriptedServer(request => request.Authorization is null
            ? new ScriptedResponse(401, "", "WWW-Authenticate: Basic realm=x") : new ScriptedResponse(307, "", $"Location: http://{other.Host}/v2/elsewhere/blobs/x"));
        LogIn(server, Entry("pw"));
        await using RegistrySource source = Open(server);
        await ReadAsync(source);
        Assert.All(tokens.Requests, request => Assert.Null(request.Authorization));
        Assert.DoesNotContain(other.Requests, request => request.Authorization?.StartsWith("Basic", StringComparison.Ordinal) == true);
    }

    [Fact]
    public async Task SecretsThatAServerEchoes_AreNotShown()
    {
        await using var server = new ScriptedServer(request => request.Authorization is null
            ? new ScriptedResponse(401, "", "WWW-Authenticate: Basic realm=x")
            : new ScriptedResponse(403, $$"""{"errors":[{"code":"DENIED","message":"you sent {{request.Authorization}} which is {{Encoding.UTF8.GetString(Convert.FromBase64String(request.Authorization[6..]))}}"}]}"""));
        LogIn(server, Entry("hunter2"));
        await using RegistrySource source = Open(server);
        var e = await Assert.ThrowsAsync<RegistryException>(() => source.GetRootAsync(Token));
        Assert.Contains("(DENIED: you sent Basic *** which is ***)", e.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("hunter2", e.ToString(), StringComparison.Ordinal);
    }
}
