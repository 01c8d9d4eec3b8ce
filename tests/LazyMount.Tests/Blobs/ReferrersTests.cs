using System.Text;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry;
using LazyMount.Blobs.Sources;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Blobs;

/// <summary>The referrers API, which the real registry of the other tests does not have, and pushing with tokens.</summary>
public sealed class ReferrersTests
{
    private const string Ours = "application/x-ours", Other = "application/x-other";

    private static readonly TestImage s_image = TestImage.Create(seed: 31);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private static RegistrySource Open(ScriptedServer server, string? config = null) => new(
        ImageReference.Parse($"{server.Host}/app"), TestRegistries.With(config), RegistrySourceTests.Impatient, NullLoggerFactory.Instance);

    private static string Entry(int number, string type) => TestImage.Json([(byte)number], MediaTypes.OciManifest, $",\"artifactType\":\"{type}\"");

    private static ScriptedResponse List(string[] entries, params string[] headers)
        => new(200, TestImage.Index(MediaTypes.OciIndex, entries), [$"Content-Type: {MediaTypes.OciIndex}", .. headers]);

    private static string[] Asked(ScriptedServer server) => [.. server.Requests.Where(request => request.Path != "/v2/").Select(request => request.Path[(request.Path.IndexOf("app/", StringComparison.Ordinal) + 4)..].Split('/')[0])];

    // Whatever host a link names, the page is asked of the registry; one that is this page ends the list.
    [Theory]
    [InlineData(503, "Retry-After: 5000")]
    [InlineData(403, "X: y")]
    [InlineData(200, "Content-Type: text/html")]
    public async Task FailureThatPasses_IsNotTakenForALackOfTheApi(int status, string header)
    {
        bool fails = true;
        string list = $$"""{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{{Digest.OfSha256([1])}}","size":1,"artifactType":"a/b"}]}""";
        await using var server = new ScriptedServer(request => !request.Path.Contains("/referrers/", StringComparison.Ordinal) ? new ScriptedResponse(404)
            : fails ? new ScriptedResponse(status, "<html>", header) : new ScriptedResponse(200, list));
        await using var source = new RegistrySource(ImageReference.Parse($"{server.Host}/app:v1"), TestRegistries.Options with { PlainHttp = true }, RegistrySourceTests.Impatient, NullLoggerFactory.Instance);
        try
        {
            Assert.Empty(await source.GetReferrersAsync(Digest.OfSha256([2]), ["a/b"], TestContext.Current.CancellationToken));
        }
        catch (RegistryException)
        {
            Assert.Equal(503, status);
        }
        fails = false;
        Assert.Single(await source.GetReferrersAsync(Digest.OfSha256([2]), ["a/b"], TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task Pages_AreFollowedAtTheSameRegistryOnly()
    {
        string path = $"/v2/app/referrers/{s_image.Digest}";
        await using var elsewhere = new ScriptedServer(_ => List([Entry(9, Ours)]));
        await using var server = new ScriptedServer(request => request.Query switch
        {
            "n=2" => List([Entry(2, Ours)], "OCI-Filters-Applied: artifactType", $"Link: <http://{elsewhere.Host}{path}?n=3>; rel=\"next\""),
            "n=3" => List([Entry(4, Ours)], "OCI-Filters-Applied: artifactType", "Link: <?n=3>; rel=\"next\""),
            _ => List([Entry(1, Ours), Entry(3, Other)], "OCI-Filters-Applied: artifactType", $"Link: <{path}?n=2>; rel=\"next\""),
        });
        await using RegistrySource source = Open(server);
        Assert.Equal(
            [TestImage.DescriptorOf([1]).Digest, TestImage.DescriptorOf([2]).Digest, TestImage.DescriptorOf([4]).Digest],
            (await source.GetReferrersAsync(s_image.Digest, [Ours], Token)).Select(each => each.Digest));
        Assert.Equal("artifactType=application/x-ours", server.Requests.First(request => request.Path == path).Query);
        Assert.Equal(3, Asked(server).Length);
        Assert.Empty(elsewhere.Requests);
    }

    [Fact]
    public async Task EndlessPages_AreGivenUp()
    {
        int page = 0;
        await using var server = new ScriptedServer(request => List([Entry(1, Ours)], $"Link: <?page={++page}>; rel=\"next\""));
        await using RegistrySource source = Open(server);
        await source.GetReferrersAsync(s_image.Digest, [Ours], Token);
        Assert.InRange(page, 1, 20);
    }

    // Without the header a registry has left nothing out: it need not be asked for the other type.
    [Theory]
    [InlineData(false, 1)]
    [InlineData(true, 2)]
    public async Task SecondType_IsAskedForOnlyIfItWasLeftOut(bool filters, int requests)
    {
        await using var server = new ScriptedServer(request => filters
            ? List(request.Query.EndsWith(Other, StringComparison.Ordinal) ? [Entry(3, Other)] : [], "OCI-Filters-Applied: artifactType")
            : List([Entry(3, Other)]));
        await using RegistrySource source = Open(server);
        Assert.Equal(Other, Assert.Single(await source.GetReferrersAsync(s_image.Digest, [Ours, Other], Token)).ArtifactType);
        Assert.Equal(requests, Asked(server).Length);
    }

    [Theory]
    [InlineData(404, "")]
    [InlineData(405, "")]
    [InlineData(403, "")]
    [InlineData(200, "<html>a user interface</html>")]
    public async Task RegistryWithoutTheApi_IsAskedForTheTag(int status, string body)
    {
        await using var server = new ScriptedServer(request => request.Path.Contains("/referrers/", StringComparison.Ordinal)
            ? new ScriptedResponse(status, body)
            : request.Path.EndsWith($"/manifests/sha256-{s_image.Digest.Hex}", StringComparison.Ordinal) ? List([Entry(1, Other), Entry(2, Ours)]) : new ScriptedResponse(404));
        await using RegistrySource source = Open(server);
        Assert.Equal(TestImage.DescriptorOf([2]).Digest, Assert.Single(await source.GetReferrersAsync(s_image.Digest, [Ours], Token)).Digest);
        Assert.Equal(["referrers", "manifests"], Asked(server));
    }

    [Fact]
    public async Task RegistryThatKeepsTheList_NeedsNoTag()
    {
        await using var server = new ScriptedServer(request => request.Method == "PUT"
            ? new ScriptedResponse(201, "", $"OCI-Subject: {s_image.Digest}")
            : new ScriptedResponse(404));
        await using RegistrySource source = Open(server);
        await source.PushReferrerAsync(ArtifactManifest.Create(Ours, MediaTypes.Empty, [], TestImage.DescriptorOf(s_image.Manifest, MediaTypes.OciManifest), new Dictionary<string, string>()), s_image.Digest, Token);
        Assert.Equal(["manifests"], Asked(server));
    }

    [Fact]
    public async Task TagThatNamesAnImage_IsNotWrittenOver()
    {
        await using var server = new ScriptedServer(request => request.Method == "PUT" ? new ScriptedResponse(201) : new ScriptedResponse(200, s_image.Manifest, $"Content-Type: {s_image.MediaType}"));
        await using RegistrySource source = Open(server);
        RawManifest artifact = ArtifactManifest.Create(Ours, MediaTypes.Empty, [], TestImage.DescriptorOf(s_image.Manifest, MediaTypes.OciManifest), new Dictionary<string, string>());
        await Assert.ThrowsAsync<ImageException>(() => source.PushReferrerAsync(artifact, s_image.Digest, Token));
        Assert.Single(server.Requests, request => request.Method == "PUT");
    }

    [Fact]
    public async Task Pushing_AsksForATokenThatMay()
    {
        byte[] content = [1, 2, 3];
        Digest digest = Digest.OfSha256(content);
        await using var tokens = new ScriptedServer(request => new ScriptedResponse(200, $$"""{"token":"{{(request.Query.Contains("pull,push", StringComparison.Ordinal) ? "may-push" : "may-pull")}}","expires_in":300}"""));
        await using var server = new ScriptedServer(request =>
        {
            if (request.Authorization is null)
                return new ScriptedResponse(401, "", $"WWW-Authenticate: Bearer realm=\"http://{tokens.Host}/token\",service=\"s\",scope=\"repository:app:pull\"");
            if (request.Method is "POST" or "PUT" && request.Authorization != "Bearer may-push")
                return new ScriptedResponse(403); // no challenge: as some do
            return request.Method switch
            {
                "POST" => new ScriptedResponse(202, "", "Location: /v2/app/blobs/uploads/1?state=x"),
                "PUT" => new ScriptedResponse(201),
                _ => new ScriptedResponse(404),
            };
        });
        await using RegistrySource source = Open(server);
        Assert.True(await source.PushBlobAsync(TestImage.DescriptorOf(content), content, Token));
        ScriptedRequest put = Assert.Single(server.Requests, request => request.Method == "PUT");
        Assert.Equal(($"state=x&digest={digest}", "\u0001\u0002\u0003"), (put.Query, put.Body));
        Assert.Equal(["scope=repository:app:pull", "scope=repository:app:pull,push"], tokens.Requests.Select(request => request.Query[request.Query.IndexOf("scope", StringComparison.Ordinal)..]));
    }

    [Fact]
    public async Task UploadThatIsForgotten_BeginsAgain()
    {
        int uploads = 0;
        await using var server = new ScriptedServer(request => request.Method switch
        {
            "POST" => new ScriptedResponse(202, "", $"Location: /v2/app/blobs/uploads/{++uploads}"),
            "PUT" => new ScriptedResponse(request.Path.EndsWith("/2", StringComparison.Ordinal) ? 201 : 404),
            _ => new ScriptedResponse(404),
        });
        await using RegistrySource source = Open(server);
        Assert.True(await source.PushBlobAsync(TestImage.DescriptorOf([1]), new byte[] { 1 }, Token));
        Assert.Equal(2, uploads);
    }
}

/// <summary>Pushing behind Basic authentication.</summary>
public sealed class LockedPushTests(LockedRegistry locked) : IClassFixture<LockedRegistry>
{
    private RegistrySource Open(string config)
        => new(ImageReference.Parse($"{locked.Host}/app"), TestRegistries.With(config), RegistrySourceTests.Impatient, NullLoggerFactory.Instance);

    [Fact]
    public async Task Blob_IsPushedOnceByThoseWhoMay()
    {
        using var directory = new TempDirectory();
        byte[] content = [7, 7, 7];
        CancellationToken token = TestContext.Current.CancellationToken;
        await using (RegistrySource source = Open("/nonexistent"))
        {
            var e = await Assert.ThrowsAsync<RegistryException>(() => source.PushBlobAsync(TestImage.DescriptorOf(content), content, token));
            Assert.Equal(ImageError.Denied, e.Error);
            Assert.Contains($"{locked.Host} refuses", e.Message, StringComparison.Ordinal);
        }
        string auth = Convert.ToBase64String(Encoding.UTF8.GetBytes($"{DockerRegistry.User}:{DockerRegistry.Password}"));
        await File.WriteAllTextAsync(Path.Combine(directory.Path, "config.json"), $$"""{"auths":{"{{locked.Host}}":{"auth":"{{auth}}"} } }""", token);
        await using (RegistrySource source = Open(directory.Path))
        {
            Assert.True(await source.PushBlobAsync(TestImage.DescriptorOf(content), content, token));
            Assert.False(await source.PushBlobAsync(TestImage.DescriptorOf(content), content, token));
        }
    }
}
