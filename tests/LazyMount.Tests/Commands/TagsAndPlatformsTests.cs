using System.Text.Json;
using LazyMount.Blobs.Registry;
using LazyMount.TestKit;
using LazyMount.Tests.Blobs;
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
        Assert.Equal(["bookworm", "v1", "v2"], JsonSerializer.Deserialize<string[]>(run.Output)!.Order());
        run = await RunAsync("tags", $"{registry.Host}/cmd/none");
        Assert.Equal(1, run.ExitCode);
        Assert.Contains($"does not have the tags of {registry.Host}/cmd/none", run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("</v2/app/tags/list?n=2&last=b>; rel=\"next\"")]
    [InlineData("<?n=2&last=b>;rel=next")]
    [InlineData("</elsewhere>; rel=\"prev\", </v2/app/tags/list?n=2&last=b>; title=\"a, b\"; rel=\"prev next\"")]
    [InlineData("<http://{host}/v2/app/tags/list?n=2&last=b>; rel=\"next\"")]
    [InlineData("<https://{host}:443/v2/app/tags/list?n=2&last=b>; rel=\"NEXT\"")]
    public async Task Pages_AreFollowed(string link)
    {
        await using var server = new ScriptedServer(request => request.Path == "/v2/" ? new ScriptedResponse(200)
            : request.Query.Contains("last=b", StringComparison.Ordinal) ? new ScriptedResponse(200, """{"tags":["c"]}""")
            : new ScriptedResponse(200, """{"name":"app","tags":["a","b"]}""", "Link: " + link.Replace("{host}", "127.0.0.1", StringComparison.Ordinal)));
        CommandRun run = await RunAsync("tags", $"{server.Host}/app");
        Assert.Equal((0, "a\nb\nc\n"), (run.ExitCode, run.Output));
    }

    [Fact]
    public async Task LinksInSeveralFields_NullAndEndlessLists_AreRead()
    {
        await using (var server = new ScriptedServer(request => request.Query.Contains("x=1", StringComparison.Ordinal) ? new ScriptedResponse(200, """{"tags":null}""")
            : new ScriptedResponse(200, """{"tags":["a"]}""", "Link: </first>; rel=first", "Link: </v2/app/tags/list?x=1>; rel=next")))
            Assert.Equal("a\n", (await RunAsync("tags", $"{server.Host}/app")).Output);
        await using (var server = new ScriptedServer(_ => new ScriptedResponse(200, """{"tags":["a"]}""", "Link: </v2/app/tags/list?x=1>; rel=next")))
            Assert.Equal("a\na\n", (await RunAsync("tags", $"{server.Host}/app")).Output);
        await using (var server = new ScriptedServer(_ => new ScriptedResponse(200, "[]")))
            Assert.Contains("gives a list of tags that is malformed", (await RunAsync("tags", $"{server.Host}/app")).Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("debian:12", "write docker.io/library/debian")]
    [InlineData("debian:latest", "write docker.io/library/debian")]
    [InlineData("oci-archive:x.tar", "of a layout, oci:DIR")]
    public async Task TagsOfSomethingElse_IsAUsageError(string argument, string says)
    {
        CommandRun run = await RunAsync("tags", argument);
        Assert.Equal(2, run.ExitCode);
        Assert.Contains(says, run.Error, StringComparison.Ordinal);
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
        Assert.EndsWith("; the nearest tags are bookworm.\n", run.Error, StringComparison.Ordinal);
        Assert.EndsWith("; the nearest tags are bookworm, bookworm-slim.\n", (await RunAsync("manifest", $"{registry.Host}/cmd/near:book")).Error, StringComparison.Ordinal);
        Assert.EndsWith("; the nearest tags are 1.10, 1.9.\n", (await RunAsync("manifest", $"{registry.Host}/cmd/near")).Error, StringComparison.Ordinal);
        Assert.DoesNotContain("nearest", (await RunAsync("manifest", $"{registry.Host}/cmd/near:zzz")).Error, StringComparison.Ordinal);
        Assert.DoesNotContain("nearest", (await RunAsync("manifest", $"{registry.Host}/cmd/nowhere:zzz")).Error, StringComparison.Ordinal);
    }

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
                Get(each, "platform") ?? "-", Get(each, "kind"), Get(each, "size") ?? "-", Get(each, "subject") is { } of ? "of " + of : Get(each, "artifactType"),
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
}
