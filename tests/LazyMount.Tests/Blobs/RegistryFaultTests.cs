using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry;
using LazyMount.Blobs.Registry.Connections;
using LazyMount.Blobs.Registry.Hosts;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Blobs;

/// <summary>Servers that ask for tokens, redirect, lie, break off and slow down.</summary>
public sealed class RegistryFaultTests : IDisposable
{
    private static readonly TestImage s_image = TestImage.Create(seed: 21);
    private static readonly byte[] s_content = TestImage.RandomBytes(200_000, 22);
    private static readonly Descriptor s_blob = TestImage.DescriptorOf(s_content);

    private readonly TempDirectory _directory = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _directory.Dispose();

    private RegistrySource Open(ScriptedServer server, bool plainHttp = true, RegistryTimeouts? timeouts = null) => new(
        ImageReference.Parse($"{server.Host}/app:v1"),
        TestRegistries.With(_directory.Path) with { PlainHttp = plainHttp },
        timeouts ?? RegistrySourceTests.Impatient,
        NullLoggerFactory.Instance);

    private void LogIn(ScriptedServer server, string entry)
        => File.WriteAllText(Path.Combine(_directory.Path, "config.json"), $$"""{"auths":{"{{server.Host}}":{{entry}} } }""");

    private static async Task<byte[]> ReadAsync(RegistrySource source, int offset, int length)
    {
        await using Stream stream = await source.OpenBlobAsync(s_blob, offset, length, Token);
        using var read = new MemoryStream();
        await stream.CopyToAsync(read, Token);
        return read.ToArray();
    }

    private async Task<RegistryException> RefusalAsync(ScriptedServer server)
    {
        await using RegistrySource source = Open(server);
        return await Assert.ThrowsAsync<RegistryException>(() => source.GetRootAsync(Token));
    }

    private static ScriptedResponse Manifest() => new(200, s_image.Manifest, $"Content-Type: {s_image.MediaType}");

    private static ScriptedResponse Unauthorized(ScriptedServer tokenServer)
        => new(401, "", $"WWW-Authenticate: Bearer realm=\"http://{tokenServer.Host}/token?x=1\",service=\"the service\",scope=\"repository:app:pull\"");

    [Fact]
    public async Task ServerThatGivesAByteNowAndThen_IsGivenUp()
    {
        var timeouts = RegistrySourceTests.Impatient with { PaceWindow = TimeSpan.FromMilliseconds(300), PaceBytes = 2000 };
        await using var server = new ScriptedServer(request => request.Path.Contains("blobs", StringComparison.Ordinal)
            ? ScriptedResponse.Of(s_content, request) with { Drip = TimeSpan.FromMilliseconds(5) }
            : Manifest() with { Drip = TimeSpan.FromMilliseconds(5) });
        await using RegistrySource source = Open(server, timeouts: timeouts);
        var e = await Assert.ThrowsAsync<RegistryException>(() => ReadAsync(source, 0, 100_000));
        Assert.Equal(ImageError.Unreachable, e.Error);
        Assert.Equal($"cannot get all of blob {s_blob.Digest} of '{server.Host}/app:v1': {server.Host} sends fewer than 2000 bytes in 0.3 s; check the network and try again", e.Message);
        Assert.Single(server.Requests); // the next would be as slow
        e = await Assert.ThrowsAsync<RegistryException>(() => source.GetRootAsync(Token));
        Assert.Contains("sends fewer than 2000 bytes in 0.3 s", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ReaderThatTakesItsTime_IsNotTakenForASlowServer()
    {
        var timeouts = RegistrySourceTests.Impatient with { PaceWindow = TimeSpan.FromMilliseconds(50), PaceBytes = 1_000_000 };
        await using var server = new ScriptedServer(request => ScriptedResponse.Of(s_content, request));
        await using RegistrySource source = Open(server, timeouts: timeouts);
        await using Stream stream = await source.OpenBlobAsync(s_blob, 0, s_content.Length, Token);
        byte[] buffer = new byte[20_000];
        for (int at = 0, read; at < s_content.Length; at += read)
        {
            read = await stream.ReadAsync(buffer, Token);
            await Task.Delay(30, Token);
            Assert.NotEqual(0, read);
        }
    }

    [Theory]
    [InlineData("token")]
    [InlineData("access_token")]
    public async Task BearerChallenge_IsAnsweredWithAToken_OnceForManyRequests(string property)
    {
        await using var tokens = new ScriptedServer(_ => new ScriptedResponse(200, $$"""{"{{property}}":"T1"}"""));
        await using var server = new ScriptedServer(request => request.Authorization == "Bearer T1" ? request.Path.Contains("/manifests/", StringComparison.Ordinal) ? Manifest() : ScriptedResponse.Of(s_content, request) : Unauthorized(tokens));
        LogIn(server, """{"username":"me","password":"pw"}""");
        await using RegistrySource source = Open(server);
        Assert.Equal(s_image.Manifest, (await source.GetRootAsync(Token)).Bytes);
        Assert.Equal(s_content[5..10], await ReadAsync(source, 5, 5));
        ScriptedRequest asked = Assert.Single(tokens.Requests);
        Assert.Equal("x=1&service=the service&scope=repository:app:pull", asked.Query);
        Assert.Equal("Basic " + Convert.ToBase64String("me:pw"u8), asked.Authorization);
        Assert.Equal(3, server.Requests.Count); // the challenged one, and the two
    }

    [Fact]
    public async Task RefusedToken_IsRenewedInTheMiddleOfAMount_ByOneRequestForAll()
    {
        int valid = 1;
        int issued = 0;
        await using var tokens = new ScriptedServer(_ => new ScriptedResponse(200, $$"""{"token":"T{{++issued}}","expires_in":300}"""));
        await using var server = new ScriptedServer(request => request.Authorization == $"Bearer T{valid}" ? ScriptedResponse.Of(s_content, request) : Unauthorized(tokens));
        await using RegistrySource source = Open(server);
        Assert.Equal(s_content[..10], await ReadAsync(source, 0, 10));
        Assert.Null(Assert.Single(tokens.Requests).Authorization);
        valid = 2;
        await Task.WhenAll(Enumerable.Range(0, 8).Select(async i => Assert.Equal(s_content[i..(i + 10)], await ReadAsync(source, i, 10))));
        Assert.Equal(2, tokens.Requests.Count);
    }

    [Fact]
    public async Task ExpiredToken_IsRenewedBeforeItIsSent()
    {
        int issued = 0;
        await using var tokens = new ScriptedServer(_ => new ScriptedResponse(200, $$"""{"token":"T{{++issued}}","expires_in":1}"""));
        await using var server = new ScriptedServer(request => request.Authorization is null ? Unauthorized(tokens) : ScriptedResponse.Of(s_content, request));
        await using RegistrySource source = Open(server);
        await ReadAsync(source, 0, 10);
        await Task.Delay(800, Token);
        await ReadAsync(source, 0, 10);
        string?[] sent = [.. server.Requests.Select(request => request.Authorization)];
        Assert.Equal(3, sent.Length);
        Assert.Null(sent[0]);
        Assert.NotEqual(sent[1], sent[2]);
    }

    [Fact]
    public async Task IdentityToken_IsExchangedByPost()
    {
        await using var tokens = new ScriptedServer(_ => new ScriptedResponse(200, """{"access_token":"T1","expires_in":300}"""));
        await using var server = new ScriptedServer(request => request.Authorization == "Bearer T1" ? Manifest() : Unauthorized(tokens));
        LogIn(server, """{"identitytoken":"long&lived"}""");
        await using RegistrySource source = Open(server);
        await source.GetRootAsync(Token);
        ScriptedRequest asked = Assert.Single(tokens.Requests);
        Assert.Equal("POST", asked.Method);
        Assert.Contains("grant_type=refresh_token&client_id=lazymount&refresh_token=long%26lived&service=the+service&scope=repository%3Aapp%3Apull", asked.Body, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(401, "", ImageError.Denied)]
    [InlineData(200, "{}", ImageError.Invalid)]
    [InlineData(200, "no json", ImageError.Invalid)]
    [InlineData(200, "{\"token\":\"a\\nb\"}", ImageError.Invalid)]
    [InlineData(500, "", ImageError.Unreachable)]
    public async Task TokenServerThatFails_IsExplained(int status, string body, ImageError error)
    {
        await using var tokens = new ScriptedServer(_ => new ScriptedResponse(status, body));
        await using var server = new ScriptedServer(_ => Unauthorized(tokens));
        RegistryException e = await RefusalAsync(server);
        Assert.Equal(error, e.Error);
        Assert.Contains($"{server.Host}/app:v1", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TokenThatDoesNotHelp_IsDenied_WithTheRegistrysReason()
    {
        await using var tokens = new ScriptedServer(_ => new ScriptedResponse(200, """{"token":"T"}"""));
        await using var server = new ScriptedServer(_ => Unauthorized(tokens) with { Body = Encoding.UTF8.GetBytes("""{"errors":[{"code":"DENIED","message":"not for you\u001b[2J"}]}""") });
        RegistryException e = await RefusalAsync(server);
        Assert.Equal(ImageError.Denied, e.Error);
        Assert.Contains("(DENIED: not for you?[2J); check the name and the credentials: no entry for", e.Message, StringComparison.Ordinal);
        Assert.Equal(2, server.Requests.Count);
    }

    [Fact]
    public async Task Redirect_IsFollowedWithoutAuthorization_AndRemembered()
    {
        await using var cdn = new ScriptedServer(request => ScriptedResponse.Of(s_content, request));
        await using var server = new ScriptedServer(request => request.Authorization is null
            ? new ScriptedResponse(401, "", "WWW-Authenticate: Basic realm=x")
            : new ScriptedResponse(307, "", $"Location: http://{cdn.Host}/signed?secret=1"));
        LogIn(server, """{"username":"me","password":"pw"}""");
        await using RegistrySource source = Open(server);
        Assert.Equal(s_content[10..20], await ReadAsync(source, 10, 10));
        Assert.Equal(s_content, await ReadAsync(source, 0, s_content.Length));
        Assert.All(cdn.Requests, request => Assert.Null(request.Authorization));
        Assert.Equal(2, cdn.Requests.Count);
        Assert.Equal(2, server.Requests.Count);
    }

    [Fact]
    public async Task ExpiredSignedUrl_IsAskedForAgain()
    {
        string valid = "secret=1";
        await using var cdn = new ScriptedServer(request => request.Query == valid ? ScriptedResponse.Of(s_content, request) : new ScriptedResponse(403, "<xml/>"));
        await using var server = new ScriptedServer(_ => new ScriptedResponse(307, "", $"Location: http://{cdn.Host}/signed?{valid}"));
        await using RegistrySource source = Open(server);
        Assert.Equal(s_content[..10], await ReadAsync(source, 0, 10));
        valid = "secret=2";
        Assert.Equal(s_content[..10], await ReadAsync(source, 0, 10));

        valid = "none";
        await using var other = new ScriptedServer(_ => new ScriptedResponse(307, "", $"Location: http://{cdn.Host}/signed?secret=9"));
        await using RegistrySource refused = Open(other);
        var e = await Assert.ThrowsAsync<RegistryException>(() => refused.OpenBlobAsync(s_blob, 0, 10, Token));
        Assert.Equal(ImageError.Unreachable, e.Error);
        Assert.DoesNotContain("secret", e.Message + e.Url, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("/v2/app/manifests/v1")]
    [InlineData("ftp://127.0.0.1/x")]
    [InlineData("file:///etc/passwd")]
    [InlineData("//")]
    [InlineData("http://[::1")]
    [InlineData(null)]
    public async Task EndlessOrStrangeRedirect_IsRefused(string? location)
    {
        await using var server = new ScriptedServer(_ => location is null ? new ScriptedResponse(302) : new ScriptedResponse(302, "", $"Location: {location}"));
        RegistryException e = await RefusalAsync(server);
        Assert.Equal(ImageError.Invalid, e.Error);
        Assert.InRange(server.Requests.Count, 1, 6);
    }

    [Fact]
    public async Task ServerThatIgnoresRanges_IsReadToTheRange()
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(200, s_content));
        await using RegistrySource source = Open(server);
        Assert.Equal(s_content[150_000..150_100], await ReadAsync(source, 150_000, 100));
    }

    [Fact]
    public async Task ServerThatIgnoresRanges_SendsABlobThatIsReadInOrderOnce()
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(200, s_content));
        await using RegistrySource source = Open(server);
        for (int offset = 0; offset < s_content.Length; offset += 20_000)
            Assert.Equal(s_content[offset..(offset + 10_000)], await ReadAsync(source, offset, 10_000)); // with gaps
        Assert.Single(server.Requests);
        Assert.Equal(s_content[..10], await ReadAsync(source, 0, 10));
        Assert.Equal(2, server.Requests.Count);
    }

    [Fact]
    public async Task AnswerToReadOnFrom_ThatIsGone_IsAskedForAgain()
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(200, s_content) { CutAfter = 100_000 });
        await using RegistrySource source = Open(server);
        Assert.Equal(s_content[..10], await ReadAsync(source, 0, 10));
        server.Answer = _ => Task.FromResult(new ScriptedResponse(200, s_content));
        Assert.Equal(s_content[150_000..150_010], await ReadAsync(source, 150_000, 10));
        Assert.Equal(2, server.Requests.Count);
    }

    [Fact]
    public async Task RangesShorterThanAskedFor_AreGoneOnFrom()
    {
        byte[] content = TestImage.RandomBytes(1_000_000, 23);
        Descriptor blob = TestImage.DescriptorOf(content);
        await using var server = new ScriptedServer(request => request.Range is { } range
            ? new ScriptedResponse(206, content[range.First..Math.Min(range.First + 70_000, range.Last + 1)], $"Content-Range: bytes {range.First}-{Math.Min(range.First + 70_000, range.Last + 1) - 1}/{content.Length}")
            : throw new InvalidOperationException());
        await using RegistrySource source = Open(server);
        await using Stream stream = await source.OpenBlobAsync(blob, 1, content.Length - 1, Token);
        using var read = new MemoryStream();
        await stream.CopyToAsync(read, Token);
        Assert.Equal(content[1..], read.ToArray());
        Assert.Equal(15, server.Requests.Count);
    }

    [Fact]
    public async Task Encodings_AreNotWanted()
    {
        await using var server = new ScriptedServer(_ => Manifest());
        await using RegistrySource source = Open(server);
        await source.GetRootAsync(Token);
        Assert.All(server.Requests, request => Assert.Equal("identity", request.Headers["Accept-Encoding"]));
    }

    [Theory]
    [InlineData("bytes 0-99/200000")]
    [InlineData("bytes 101-199/200000")]
    [InlineData("bytes 100-200/200000")]
    [InlineData("bytes 100-199/200001")]
    [InlineData("pages 100-199/200000")]
    [InlineData(null)]
    public async Task LyingRange_IsRefused(string? range)
    {
        await using var server = new ScriptedServer(_ => range is null ? new ScriptedResponse(206, s_content[100..200]) : new ScriptedResponse(206, s_content[100..200], $"Content-Range: {range}"));
        await using RegistrySource source = Open(server);
        var e = await Assert.ThrowsAsync<RegistryException>(() => ReadAsync(source, 100, 100));
        Assert.Equal(ImageError.Invalid, e.Error);
        Assert.Equal(HttpStatusCode.PartialContent, e.Status);
    }

    [Theory]
    [InlineData(416)]
    [InlineData(400)]
    [InlineData(204)]
    public async Task UnexpectedStatus_IsNeverSuccess(int status)
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(status));
        await using RegistrySource source = Open(server);
        Assert.Equal(ImageError.Invalid, (await Assert.ThrowsAsync<RegistryException>(() => ReadAsync(source, 100, 100))).Error);
        Assert.Equal(status == 204 ? 1 : 2, server.Requests.Count); // perhaps it only refuses ranges
    }

    [Fact]
    public async Task BlobOfAnotherSize_IsRefused()
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(200, s_content[1..]));
        await using RegistrySource source = Open(server);
        Assert.Equal(ImageError.Invalid, (await Assert.ThrowsAsync<RegistryException>(() => ReadAsync(source, 0, s_content.Length))).Error);
    }

    [Fact]
    public async Task CutBody_IsResumedWhereItStopped()
    {
        await using var server = new ScriptedServer(request => ScriptedResponse.Of(s_content, request) is var whole && whole.Body.Length > 60_000 ? whole with { CutAfter = 60_000 } : whole);
        await using RegistrySource source = Open(server);
        Assert.Equal(s_content, await ReadAsync(source, 0, s_content.Length));
        Assert.Equal([null, 60_000, 120_000, 180_000], server.Requests.Select(request => request.Range?.First));
    }

    [Fact]
    public async Task StalledBody_IsResumed()
    {
        int answers = 0;
        await using var server = new ScriptedServer(request => answers++ == 0 ? ScriptedResponse.Of(s_content, request) with { CutAfter = 1000, Stall = true } : ScriptedResponse.Of(s_content, request));
        await using RegistrySource source = Open(server, timeouts: RegistrySourceTests.Impatient with { Stall = TimeSpan.FromMilliseconds(500) });
        Assert.Equal(s_content, await ReadAsync(source, 0, s_content.Length));
        Assert.Equal([null, 1000], server.Requests.Select(request => request.Range?.First));
    }

    [Fact]
    public async Task BodyThatNeverGetsOn_IsGivenUp()
    {
        await using var server = new ScriptedServer(request => ScriptedResponse.Of(s_content, request) with { CutAfter = 0 });
        await using RegistrySource source = Open(server);
        var e = await Assert.ThrowsAsync<RegistryException>(() => ReadAsync(source, 0, 1000));
        Assert.Equal(ImageError.Unreachable, e.Error);
        Assert.True(e.IsTemporary);
        Assert.InRange(server.Requests.Count, 2, 10);
    }

    [Theory]
    [InlineData(429)]
    [InlineData(500)]
    [InlineData(503)]
    public async Task BusyServer_IsTriedAgain(int status)
    {
        int answers = 0;
        await using var server = new ScriptedServer(_ => answers++ < 2 ? new ScriptedResponse(status, "", "Retry-After: 0") : Manifest());
        await using RegistrySource source = Open(server);
        Assert.Equal(s_image.Manifest, (await source.GetRootAsync(Token)).Bytes);
        Assert.Equal(3, server.Requests.Count);
    }

    [Fact]
    public async Task ServerThatStaysBusy_IsGivenUp()
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(503, "", "Retry-After: 0"));
        RegistryException e = await RefusalAsync(server);
        Assert.Equal(ImageError.Unreachable, e.Error);
        Assert.Equal(5, server.Requests.Count);
    }

    [Fact]
    public async Task ServerThatWantsToBeLeftAloneForLong_IsNotWaitedFor()
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(429, """{"errors":[{"code":"TOOMANYREQUESTS"}]}""", "Retry-After: 86400"));
        RegistryException e = await RefusalAsync(server);
        Assert.Equal(ImageError.Unreachable, e.Error);
        string again = DateTime.Now.AddDays(1).ToString("yyyy-MM-dd HH:mm", System.Globalization.CultureInfo.InvariantCulture);
        Assert.Contains($"cannot get '{server.Host}/app:v1': {server.Host} limits requests (TOOMANYREQUESTS); try again at {again[..^3]}", e.Message, StringComparison.Ordinal);
        Assert.Single(server.Requests);
    }

    [Fact]
    public async Task ManifestCutOnItsWay_IsFetchedAgain()
    {
        int answers = 0;
        await using var server = new ScriptedServer(_ => answers++ == 0 ? Manifest() with { CutAfter = 20 } : Manifest());
        await using RegistrySource source = Open(server);
        Assert.Equal(s_image.Digest, (await source.GetRootAsync(Token)).Descriptor.Digest);
    }

    [Fact]
    public async Task WrongManifest_DoesNotVerify()
    {
        await using var server = new ScriptedServer(_ => Manifest());
        await using RegistrySource source = Open(server);
        var e = await Assert.ThrowsAsync<ImageException>(() => source.GetManifestAsync(s_blob, Token));
        Assert.Equal(ImageError.Verification, e.Error);
        e = await Assert.ThrowsAsync<ImageException>(() => source.GetManifestAsync(TestImage.DescriptorOf(s_image.Manifest) with { Size = 1 }, Token));
        Assert.Equal(ImageError.Verification, e.Error);
        Assert.Equal(s_image.Manifest, (await source.GetManifestAsync(TestImage.DescriptorOf(s_image.Manifest), Token)).Bytes);
    }

    [Fact]
    public async Task HugeManifestAndErrorBody_AreNotReadToTheEnd()
    {
        await using (var server = new ScriptedServer(_ => new ScriptedResponse(200, new byte[(4 << 20) + 1])))
            Assert.Contains("more than 4 MiB", (await RefusalAsync(server)).Message, StringComparison.Ordinal);
        await using (var server = new ScriptedServer(_ => new ScriptedResponse(404, new byte[1 << 20])))
            Assert.Equal(ImageError.NotFound, (await RefusalAsync(server)).Error);
    }

    // No length is announced, so that only counting helps; a client that reads on would never come back.
    [Theory]
    [InlineData(200, ImageError.Invalid, "more than 4 MiB")]
    [InlineData(404, ImageError.NotFound, "404")]
    public async Task EndlessManifestAndErrorBody_AreGivenUp(int status, ImageError error, string says)
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(status, new byte[64 << 10]) { Endless = true });
        RegistryException e = await RefusalAsync(server);
        Assert.Equal(error, e.Error);
        Assert.Contains(says, e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task TokenBeyondOneMiB_IsRefused(bool endless)
    {
        await using var tokens = new ScriptedServer(_ => new ScriptedResponse(200, $$"""{"token":"{{new string('t', 1 << 20)}}"}""") { Endless = endless });
        await using var server = new ScriptedServer(_ => Unauthorized(tokens));
        RegistryException e = await RefusalAsync(server);
        Assert.Equal(ImageError.Invalid, e.Error);
        Assert.Contains("more than 1 MiB for a token", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task HeadersByTheTenThousand_AreRefused()
    {
        string[] headers = [.. Enumerable.Range(0, 50_000).Select(i => $"X-Header-{i}: value")];
        await using var server = new ScriptedServer(_ => Manifest() with { Headers = headers });
        RegistryException e = await RefusalAsync(server);
        Assert.Equal(ImageError.Unreachable, e.Error);
        Assert.InRange(e.Message.Length, 20, 500);
    }

    [Fact]
    public async Task EndlessBlob_IsReadToItsSize()
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(200, s_content) { Endless = true });
        await using RegistrySource source = Open(server);
        Assert.Equal(s_content, await ReadAsync(source, 0, s_content.Length));
    }

    [Fact]
    public async Task LoopbackWithoutTls_FallsBackToHttp_AndOthersAreToldOfTheOption()
    {
        await using var server = new ScriptedServer(_ => Manifest());
        await using RegistrySource source = Open(server, plainHttp: false);
        Assert.Equal(s_image.Manifest, (await source.GetRootAsync(Token)).Bytes);

        using var http = new RegistryHttp("example.test", new RegistryConnections(new RegistryEndpoint { Host = "example.test", Repository = "app", Root = new Uri("https://example.test/v2/") }, TestRegistries.Options, RegistrySourceTests.Impatient), RegistrySourceTests.Impatient, NullLogger.Instance);
        var e = await Assert.ThrowsAsync<RegistryException>(() => http.SendAsync(new HttpRequestMessage(HttpMethod.Get, $"https://{server.Host}/v2/?secret=1"), "app from example.test", Token));
        Assert.Equal($"cannot get app from example.test: {server.Host} does not answer with TLS; if it speaks plain HTTP, use --plain-http", e.Message);
        Assert.Equal($"https://{server.Host}/v2/", e.Url);
    }

    [Fact]
    public async Task UntrustedCertificate_IsNamed_AndNotAnsweredWithPlainHttp()
    {
        using var key = System.Security.Cryptography.ECDsa.Create();
        var request = new CertificateRequest("CN=localhost", key, System.Security.Cryptography.HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        using X509Certificate2 certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var firstBytes = new List<int>();
        Task serving = Task.Run(async () =>
        {
            while (true)
            {
                using Socket socket = await listener.AcceptSocketAsync(Token);
                byte[] first = new byte[1];
                await socket.ReceiveAsync(first, SocketFlags.Peek);
                firstBytes.Add(first[0]);
                await using var tls = new SslStream(new NetworkStream(socket));
                try
                {
                    await tls.AuthenticateAsServerAsync(certificate);
                    await tls.ReadExactlyAsync(first, Token);
                }
                catch (Exception e) when (e is IOException or System.Security.Authentication.AuthenticationException)
                {
                }
            }
        }, Token);
        await using var source = new RegistrySource(ImageReference.Parse($"{listener.LocalEndpoint}/app"), TestRegistries.Options, RegistrySourceTests.Impatient, NullLoggerFactory.Instance);
        var e = await Assert.ThrowsAsync<RegistryException>(() => source.GetRootAsync(Token));
        Assert.Equal(ImageError.Unreachable, e.Error);
        Assert.Contains($"the TLS certificate of {listener.LocalEndpoint} is not trusted", e.Message, StringComparison.Ordinal);
        Assert.Equal([0x16], firstBytes);
        listener.Stop();
        await Assert.ThrowsAnyAsync<Exception>(() => serving);
    }

    [Fact]
    public async Task DeadCdn_IsForgotten()
    {
        var cdn = new ScriptedServer(request => ScriptedResponse.Of(s_content, request));
        bool redirects = true;
        await using var server = new ScriptedServer(request => redirects ? new ScriptedResponse(307, "", $"Location: http://{cdn.Host}/signed") : ScriptedResponse.Of(s_content, request));
        await using RegistrySource source = Open(server);
        await ReadAsync(source, 0, 10);
        await cdn.DisposeAsync();
        redirects = false;
        Assert.Equal(s_content[..10], await ReadAsync(source, 0, 10));
    }

    [Theory]
    [InlineData("localhost", true)]
    [InlineData("localhost:5000", true)]
    [InlineData("127.9.9.9:5000", true)]
    [InlineData("[::1]:5000", true)]
    [InlineData("localhost.example.com", false)]
    [InlineData("128.0.0.1", false)]
    [InlineData("127.0.0.1.example.com", false)]
    public void Loopback_IsToldByAddress(string host, bool expected) => Assert.Equal(expected, Loopback.Is(host));
}
