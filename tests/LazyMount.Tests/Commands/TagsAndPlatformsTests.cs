using System.Text;
using System.Text.Json;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Registry;
using LazyMount.Cli;
using LazyMount.Output;
using LazyMount.TestKit;
using LazyMount.Tests.Blobs;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Commands;

/// <summary>What a repository and an image index hold.</summary>
public sealed class TagsAndPlatformsTests(OpenRegistry registry) : IClassFixture<OpenRegistry>, IDisposable
{
    private static readonly TestImage s_image = TestImage.Create(seed: 91);

    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    private Task<CommandRun> RunAsync(params string[] arguments) => CommandRun.RunAsync([.. arguments, "--cache-dir", _directory["cache"]]);

    [Fact]
    public async Task TagsOfARealRegistry_AreListed_AsLinesAndAsJson()
    {
        foreach (string tag in (string[])["v1", "v2", "bookworm"])
            await registry.PushAsync("cmd/tags", tag, s_image);
        CommandRun run = await RunAsync("tags", $"{registry.Host}/cmd/tags");
        Assert.Equal(0, run.ExitCode);
        Assert.Equal(["bookworm", "v1", "v2"], run.Output.TrimEnd().Split('\n').Order());
        run = await RunAsync("tags", "--json", $"docker://{registry.Host}/cmd/tags");
        Assert.Equal(["bookworm", "v1", "v2"], TagsIn(run.Output).Order());
        run = await RunAsync("tags", $"{registry.Host}/cmd/none");
        Assert.Equal(1, run.ExitCode);
        Assert.Contains($"cannot get the tags of '{registry.Host}/cmd/none': {registry.Host} does not have it", run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("</v2/app/tags/list?n=2&last=b>; rel=\"next\"")]
    [InlineData("<?n=2&last=b>;rel=next")]
    [InlineData("</elsewhere>; rel=\"prev\", </v2/app/tags/list?n=2&last=b>; title=\"a, b\"; rel=\"prev next\"")]
    [InlineData("<http://{host}/v2/app/tags/list?n=2&last=b>; rel=\"next\"")]
    [InlineData("<https://{host}:443/v2/app/tags/list?n=2&last=b>; rel=\"NEXT\"")]
    [InlineData("<http://internal.invalid:8080/v2/app/tags/list?n=2&last=b>; rel=\"next\"")]
    [InlineData("<//internal.invalid/v2/app/tags/list?n=2&last=b>; rel=\"next\"")]
    [InlineData("<list?n=2&last=b>; rel=\"next\"")]
    [InlineData("</v2/app/tags/list?n=2&last=b>")]
    public async Task Pages_AreFollowed(string link)
    {
        await using var server = new ScriptedServer(request => request.Path == "/v2/" ? new ScriptedResponse(200)
            : request.Path != "/v2/app/tags/list" ? new ScriptedResponse(404)
            : request.Query.Contains("last=b", StringComparison.Ordinal) ? new ScriptedResponse(200, """{"tags":["c"]}""")
            : new ScriptedResponse(200, """{"name":"app","tags":["a","b"]}""", "Link: " + link.Replace("{host}", "127.0.0.1", StringComparison.Ordinal)));
        CommandRun run = await RunAsync("tags", $"{server.Host}/app");
        Assert.Equal((0, "a\nb\nc\n"), (run.ExitCode, run.Output));
    }

    [Fact]
    public async Task LinksInSeveralFields_AndNull_AreRead()
    {
        await using (var server = new ScriptedServer(request => request.Query.Contains("x=1", StringComparison.Ordinal) ? new ScriptedResponse(200, """{"tags":null}""")
            : new ScriptedResponse(200, """{"tags":["a",null,"","b"]}""", "Link: </first>; rel=first", "Link: </v2/app/tags/list?x=1>; rel=next")))
        {
            Assert.Equal("a\nb\n", (await RunAsync("tags", $"{server.Host}/app")).Output);
            Assert.Equal("{\"tag\":\"a\"}\n{\"tag\":\"b\"}\n", (await RunAsync("tags", "--json", $"{server.Host}/app")).Output);
        }
        await using (var server = new ScriptedServer(_ => new ScriptedResponse(200, "[]")))
            Assert.Contains("sends a malformed list of tags", (await RunAsync("tags", $"{server.Host}/app")).Error, StringComparison.Ordinal);
        await using (var server = new ScriptedServer(_ => new ScriptedResponse(200, """{"tags":null}""")))
            Assert.Equal(new CommandRun(0, "", ""), await RunAsync("tags", "--json", $"{server.Host}/app"));
    }

    // A list that leads back to itself would end silently, or never.
    [Theory]
    [InlineData("</v2/app/tags/list?n=1000>")]
    [InlineData("</v2/app/tags/list?x=1>")]
    [InlineData("<http://>")]
    public async Task ListThatLeadsToNoNewPage_IsSaidToBeIncomplete(string link)
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(200, """{"tags":["a"]}""", $"Link: {link}; rel=next"));
        CommandRun run = await RunAsync("tags", $"{server.Host}/app");
        Assert.Equal(3, run.ExitCode);
        Assert.StartsWith("a\n", run.Output, StringComparison.Ordinal);
        Assert.Contains("links a page to a page that was read before; the registry or a proxy in front of it is at fault; the list is incomplete: ", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task EmptyPageThatLinksToItself_IsTheLast()
    {
        await using var server = new ScriptedServer(request => new ScriptedResponse(200, request.Query == "x=1" ? """{"tags":[]}""" : """{"tags":["a"]}""", "Link: </v2/app/tags/list?x=1>; rel=next"));
        Assert.Equal(new CommandRun(0, "a\n", ""), await RunAsync("tags", $"{server.Host}/app"));
    }

    [Fact]
    public async Task EndlessPages_AreGivenUp()
    {
        int page = 0;
        await using var server = new ScriptedServer(_ => new ScriptedResponse(200, """{"tags":["a"]}""", $"Link: <?page={Interlocked.Increment(ref page)}>; rel=next"));
        CommandRun run = await RunAsync("tags", $"{server.Host}/app");
        Assert.Equal(3, run.ExitCode);
        Assert.Contains("sends more than 10000 pages", run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(404)]
    [InlineData(401)]
    [InlineData(200)] // with a page of HTML
    public async Task PagesBeforeABrokenOne_AreWritten(int status)
    {
        await using var server = new ScriptedServer(request => request.Query.Contains("x=1", StringComparison.Ordinal) ? new ScriptedResponse(status, "<html>")
            : new ScriptedResponse(200, """{"tags":["a","b"]}""", "Link: </v2/app/tags/list?x=1>; rel=next"));
        CommandRun run = await RunAsync("tags", $"{server.Host}/app");
        Assert.Equal((3, "a\nb\n"), (run.ExitCode, run.Output));
        Assert.EndsWith("; the list is incomplete: 2 tags were read before\n", run.Error, StringComparison.Ordinal);
        Assert.Single(run.Error, '\n');
        run = await RunAsync("tags", "--json", $"{server.Host}/app");
        Assert.Equal((3, "{\"tag\":\"a\"}\n{\"tag\":\"b\"}\n"), (run.ExitCode, run.Output));
    }

    [Theory]
    [InlineData(false, "a\nb\n")]
    [InlineData(true, "{\"tag\":\"a\"}\n{\"tag\":\"b\"}\n")]
    public async Task Page_IsWrittenBeforeTheNextComes(bool asJson, string expected)
    {
        using var bytes = new MemoryStream();
        string? written = null;
        await using var server = new ScriptedServer(async request =>
        {
            if (!request.Query.Contains("x=1", StringComparison.Ordinal))
                return new ScriptedResponse(200, """{"tags":["a","b"]}""", "Link: </v2/app/tags/list?x=1>; rel=next");
            for (int i = 0; i < 1000 && (written = Encoding.UTF8.GetString(bytes.ToArray())) != expected; i++)
                await Task.Delay(10);
            return new ScriptedResponse(200, """{"tags":["c"]}""");
        });
        using var output = new CommandOutput(bytes, isTerminal: false);
        string[] arguments = ["tags", $"{server.Host}/app", "--cache-dir", _directory["cache"], .. asJson ? ["--json"] : (string[])[]];
        Assert.Equal(0, await CommandLine.RunAsync(new CommandHost { Arguments = arguments, Output = output, Error = new StringWriter() }));
        Assert.Equal(expected, written);
    }

    private static IEnumerable<string> TagsIn(string lines)
        => lines.TrimEnd('\n').Split('\n').Select(line => JsonDocument.Parse(line).RootElement.GetProperty("tag").GetString()!);

    [Fact]
    public async Task LinkToAnotherHost_IsAskedOfTheRegistry_WithItsCredentials()
    {
        await using var other = new ScriptedServer(_ => new ScriptedResponse(200, """{"tags":["stolen"]}"""));
        await using var server = new ScriptedServer(request => request.Authorization is null ? new ScriptedResponse(401, "", "WWW-Authenticate: Basic realm=x")
            : request.Query.Contains("x=1", StringComparison.Ordinal) ? new ScriptedResponse(200, """{"tags":["b"]}""")
            : new ScriptedResponse(200, """{"tags":["a"]}""", $"Link: <http://{other.Host}/v2/app/tags/list?x=1>; rel=next"));
        await using var source = new RegistrySource(
            ImageReference.Parse($"{server.Host}/app"), TestRegistries.Options with { Credentials = new("me", "pw") }, RegistrySourceTests.Impatient, NullLoggerFactory.Instance);
        Assert.Equal(["a", "b"], await source.ListTagsAsync(_ => { }, TestContext.Current.CancellationToken).ToListAsync(TestContext.Current.CancellationToken));
        Assert.Empty(other.Requests);
    }

    // What a pull-through cache lists need not be all.
    [Fact]
    public async Task Mirror_IsAskedForTagsOnlyWhenTheRegistryFails()
    {
        await using var mirror = new ScriptedServer(_ => new ScriptedResponse(200, """{"tags":["cached"]}"""));
        await using var server = new ScriptedServer(_ => new ScriptedResponse(200, """{"tags":["cached","new"]}"""));
        string[] arguments = ["tags", $"{server.Host}/app", "--mirror", $"{server.Host}=http://{mirror.Host}"];
        Assert.Equal(new CommandRun(0, "cached\nnew\n", ""), await RunAsync(arguments));
        Assert.Empty(mirror.Requests);
        server.Answer = _ => Task.FromResult(new ScriptedResponse(403));
        CommandRun run = await RunAsync(arguments);
        Assert.Equal((0, "cached\n"), (run.ExitCode, run.Output));
        Assert.StartsWith($"lazymount: these tags come from the mirror {mirror.Host} and may be incomplete: cannot get ", run.Error, StringComparison.Ordinal);
        mirror.Answer = _ => Task.FromResult(new ScriptedResponse(404));
        run = await RunAsync(arguments);
        Assert.Equal(3, run.ExitCode);
        Assert.StartsWith($"lazymount: cannot get the tags of '{server.Host}/app': {server.Host} ", run.Error, StringComparison.Ordinal);
        Assert.Contains($"; also asked: {mirror.Host} (--mirror): ", run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(404)]
    [InlineData(200)] // and then nothing
    public async Task NearestTags_AreOfThosePagesThatComeInTime(int status)
    {
        await using var server = new ScriptedServer(request => request.Path == "/v2/" ? new ScriptedResponse(200)
            : !request.Path.EndsWith("/tags/list", StringComparison.Ordinal) ? new ScriptedResponse(404)
            : request.Query.Contains("x=1", StringComparison.Ordinal) ? new ScriptedResponse(status, "{}") { CutAfter = 0, Stall = status == 200 }
            : new ScriptedResponse(200, """{"tags":["bookworm"]}""", "Link: </v2/app/tags/list?x=1>; rel=next"));
        CommandRun run = await RunAsync("manifest", $"{server.Host}/app:boookworm");
        Assert.Equal(1, run.ExitCode);
        Assert.EndsWith("; did you mean 'bookworm'?\n", run.Error, StringComparison.Ordinal);
        Assert.Contains(server.Requests, request => request.Query == "x=1");
    }

    [Fact]
    public async Task NearestTags_AreSoughtAmongSoMany()
    {
        string tags = string.Join(',', Enumerable.Range(0, 100_000).Select(i => $"\"{i}\""));
        await using var server = new ScriptedServer(request => !request.Path.EndsWith("/tags/list", StringComparison.Ordinal) ? new ScriptedResponse(404)
            : new ScriptedResponse(200, $$"""{"tags":[{{tags}}]}""", "Link: </v2/app/tags/list?x=1>; rel=next"));
        Assert.Equal(1, (await RunAsync("manifest", $"{server.Host}/app:v1")).ExitCode);
        Assert.Single(server.Requests, request => request.Path.EndsWith("/tags/list", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("debian:12", "write docker.io/library/debian")]
    [InlineData("debian:latest", "write docker.io/library/debian")]
    [InlineData("debian@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "write docker.io/library/debian")]
    [InlineData("oci:dir:v1", "write oci:dir")]
    [InlineData("oci:dir:@0", "write oci:dir")]
    [InlineData("", "it names no repository; write NAME, such as debian")]
    [InlineData("docker://", "it names no repository")]
    [InlineData("127.0.0.1:5000", "cannot list the tags of '127.0.0.1:5000': it names a registry and no repository; write 127.0.0.1:5000/NAME")]
    [InlineData("127.0.0.1:5000/", "write 127.0.0.1:5000/NAME")]
    [InlineData("docker://localhost:5000", "write docker://localhost:5000/NAME")]
    [InlineData("[::1]:5000", "write [::1]:5000/NAME")]
    [InlineData("ghcr.io", "write ghcr.io/NAME")]
    [InlineData("registry:5000/", "write registry:5000/NAME")]
    [InlineData("registry:5000", "write docker.io/library/registry, or registry:5000/NAME if registry:5000 is a registry")]
    public async Task TagsOfSomethingElse_IsAUsageError(string argument, string says)
    {
        CommandRun run = await RunAsync("tags", argument);
        Assert.Equal(2, run.ExitCode);
        Assert.Contains(says, run.Error, StringComparison.Ordinal);
        Assert.Single(run.Error, '\n');
    }

    [Fact]
    public async Task NamesOfALayout_AreListed()
    {
        var layout = new OciLayoutBuilder(_directory["layout"]);
        layout.AddLayer(new TarBytes().Directory("./"));
        layout.WriteImage("one");
        Assert.Equal("one\n", (await RunAsync("tags", $"oci:{layout.Directory}")).Output);
    }

    [Fact]
    public async Task MissingTag_NamesTheNearest()
    {
        foreach (string tag in (string[])["bookworm", "bookworm-slim", "trixie", "1.9", "1.10"])
            await registry.PushAsync("cmd/near", tag, s_image);
        CommandRun run = await RunAsync("manifest", $"{registry.Host}/cmd/near:boookworm");
        Assert.Equal(1, run.ExitCode);
        Assert.EndsWith("; did you mean 'bookworm'?\n", run.Error, StringComparison.Ordinal);
        Assert.EndsWith("; did you mean 'bookworm' or 'bookworm-slim'?\n", (await RunAsync("manifest", $"{registry.Host}/cmd/near:book")).Error, StringComparison.Ordinal);
        Assert.EndsWith("; did you mean '1.10' or '1.9'?\n", (await RunAsync("manifest", $"{registry.Host}/cmd/near")).Error, StringComparison.Ordinal);
        Assert.DoesNotContain("nearest", (await RunAsync("manifest", $"{registry.Host}/cmd/near:zzz")).Error, StringComparison.Ordinal);
        Assert.DoesNotContain("nearest", (await RunAsync("manifest", $"{registry.Host}/cmd/nowhere:zzz")).Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", "", 0)]
    [InlineData("latest", "latset", 1)]
    [InlineData("Mount", "moutn", 1)]
    [InlineData("abc", "", 3)]
    [InlineData("kitten", "sitting", 3)]
    [InlineData("ca", "abc", 3)] // no letter is changed twice
    public void EditDistance_CountsTypingErrors(string a, string b, int distance)
        => Assert.Equal((distance, distance), (EditDistance.Between(a, b), EditDistance.Between(b, a)));

    [Theory]
    [InlineData("v1.2", "v1.3,v1,v2,w9", "v1,v1.3")]
    [InlineData("latest", "v1,lates,v2", "lates")]
    [InlineData("latest", "main,1.2.10,v1.3,1.2.9", "v1.3,1.2.10,1.2.9")]
    [InlineData("x", "y,abc", "y")]
    [InlineData("abc", "", "")]
    public void NearestTags_AreInOrder(string tag, string tags, string expected)
        => Assert.Equal(expected, string.Join(',', NearestTags.Find(tag, tags.Split(',', StringSplitOptions.RemoveEmptyEntries))));

    [Fact]
    public async Task PlatformsOfAnIndex_AreListed_WithWhatElseItHolds()
    {
        string d = new('a', 64);
        Directory.CreateDirectory(_directory["index/blobs/sha256"]);
        byte[] index = System.Text.Encoding.UTF8.GetBytes($$"""
            {"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
            {"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{{d}}","size":11,"platform":{"os":"linux","architecture":"arm64","variant":"v8"} },
            {"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{{d}}","size":12,"platform":{"os":"unknown","architecture":"unknown"},"annotations":{"vnd.docker.reference.type":"attestation-manifest","vnd.docker.reference.digest":"sha256:{{d}}"} },
            {"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.example","digest":"sha256:{{d}}","size":13},
            {"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:{{d}}","size":14},
            {"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:short","size":15,"platform":{"os":"linux"} },
            null]}
            """);
        string digest = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(index));
        await File.WriteAllBytesAsync(_directory[$"index/blobs/sha256/{digest}"], index, TestContext.Current.CancellationToken);
        await File.WriteAllTextAsync(_directory["index/oci-layout"], """{"imageLayoutVersion":"1.0.0"}""", TestContext.Current.CancellationToken);
        await File.WriteAllTextAsync(_directory["index/index.json"], $$"""{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:{{digest}}","size":{{index.Length}},"annotations":{"org.opencontainers.image.ref.name":"v1"} }]}""", TestContext.Current.CancellationToken);
        CommandRun run = await RunAsync("platforms", "--json", $"oci:{_directory["index"]}:v1");
        Assert.Equal("", run.Error);
        using JsonDocument json = JsonDocument.Parse(run.Output);
        Assert.Equal(
            ["linux/arm64/v8 image 11", "unknown/unknown attestation 12 of sha256:" + d, "- artifact 13 application/vnd.example", "- index 14", "- image -", "- image -"],
            json.RootElement.EnumerateArray().Select(each => string.Join(' ', new[]
            {
                Get(each, "platform") ?? "-", Get(each, "kind"), Get(each, "manifestSize") ?? "-", Get(each, "subject") is { } of ? "of " + of : Get(each, "artifactType"),
            }.Where(text => text is not null))));
        // By the digest of the index, and without a tag.
        Assert.Equal(run.Output, (await RunAsync("platforms", "--json", $"oci:{_directory["index"]}@sha256:{digest}")).Output);
        Assert.Equal(7, (await RunAsync("platforms", $"oci-layout://{_directory["index"]}:v1")).Output.TrimEnd().Split('\n').Length);

        static string? Get(JsonElement element, string name) => element.TryGetProperty(name, out JsonElement value) ? value.ToString() : null;
    }

    [Fact]
    public async Task PlatformOfASingleManifest_IsItsConfigs_AndOffline()
    {
        await registry.PushAsync("cmd/single", "v1", s_image);
        CommandRun online = await RunAsync("platforms", $"{registry.Host}/cmd/single:v1");
        Assert.Equal(0, online.ExitCode);
        Assert.Contains(s_image.Digest.ToString(), online.Output, StringComparison.Ordinal);
        Assert.Equal(online.Output, (await RunAsync("platforms", "--offline", $"{registry.Host}/cmd/single:v1")).Output);
    }

    // Whatever platform is asked for or runs this.
    [Theory]
    [InlineData("oci:{0}")]
    [InlineData("oci:{0}:v1")]
    [InlineData("oci-archive:{0}.tar")]
    [InlineData("docker-archive:{0}.docker.tar")]
    [InlineData("docker-archive:{0}.docker.tar:app:v1")]
    public async Task PlatformOfASingleManifest_IsListedWithAnyPlatformOption(string reference)
    {
        var layout = new OciLayoutBuilder(_directory["one"]);
        layout.AddLayer(new TarBytes().Directory("./"));
        layout.WriteImage("v1");
        Tool.Run("skopeo", "copy", "--quiet", $"oci:{layout.Directory}:v1", $"oci-archive:{layout.Directory}.tar:v1").EnsureSuccess();
        Tool.Run("skopeo", "copy", "--quiet", $"oci:{layout.Directory}:v1", $"docker-archive:{layout.Directory}.docker.tar:app:v1").EnsureSuccess();
        reference = string.Format(null, reference, layout.Directory);
        CommandRun run = await RunAsync("platforms", "--json", reference);
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        using JsonDocument json = JsonDocument.Parse(run.Output);
        Assert.Equal("image", json.RootElement.EnumerateArray().Single().GetProperty("kind").GetString());
        Assert.Equal(run, await RunAsync("platforms", "--json", "--platform", "linux/s390x", reference));
    }

    // As in a registry, a tag may name an artifact.
    [Fact]
    public async Task ArtifactOfALayout_IsListed_AndHasItsTag()
    {
        byte[] manifest = Encoding.UTF8.GetBytes($$"""
            {"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.example","config":{{TestImage.Json("{}"u8.ToArray(), "application/vnd.oci.empty.v1+json")}},"layers":[]}
            """);
        Directory.CreateDirectory(_directory["artifact/blobs/sha256"]);
        foreach (byte[] blob in (byte[][])[manifest, "{}"u8.ToArray()])
            await File.WriteAllBytesAsync(_directory[$"artifact/blobs/sha256/{Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(blob))}"], blob, TestContext.Current.CancellationToken);
        await File.WriteAllTextAsync(
            _directory["artifact/index.json"],
            $$"""{"schemaVersion":2,"manifests":[{{TestImage.Json(manifest, "application/vnd.oci.image.manifest.v1+json", ",\"artifactType\":\"application/vnd.example\",\"annotations\":{\"org.opencontainers.image.ref.name\":\"sbom\"}")}}]}""",
            TestContext.Current.CancellationToken);
        string layout = $"oci:{_directory["artifact"]}";
        Assert.Equal(new CommandRun(0, "sbom\n", ""), await RunAsync("tags", layout));
        foreach (string reference in (string[])[layout, $"{layout}:sbom", $"{layout}:@0"])
        {
            CommandRun run = await RunAsync("platforms", reference);
            Assert.Equal((0, ""), (run.ExitCode, run.Error));
            Assert.Matches("(?m)^- +artifact .* application/vnd.example$", run.Output);
        }
        Assert.Equal(1, (await RunAsync("platforms", $"{layout}:other")).ExitCode);
    }
}
