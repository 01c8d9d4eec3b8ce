using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Published.Soci;
using LazyMount.Indexes.Store;
using LazyMount.Layers;
using LazyMount.TestKit;
using LazyMount.Tests.Blobs;
using LazyMount.Tests.Commands;
using LazyMount.Tests.Layers;
using Xunit;

namespace LazyMount.Tests.Published;

/// <summary>`index push --bind`: image indexes that name images and their layer indexes, in a real registry and in layouts.</summary>
public sealed class BoundImageTests(OpenRegistry registry) : IClassFixture<OpenRegistry>, IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly RecordingLoggers _loggers = new();
    private int _caches;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _loggers.Dispose();
        _directory.Dispose();
    }

    /// <summary>A layout with an image "one" and an image index "all" of two platforms. One layer has several spans.</summary>
    private OciLayoutBuilder Layout(int seed)
    {
        var layout = new OciLayoutBuilder(_directory.CreateDirectory($"layout{seed}"));
        layout.AddLayer(IndexFinderTests.Tar(seed, files: 3)).AddLayer(IndexFinderTests.Tar(seed + 100, files: 700)).WriteImage("one");
        layout.AddLayer(IndexFinderTests.Tar(seed, files: 3)).AddLayer(IndexFinderTests.Tar(seed + 100, files: 700)).WriteImageIndex("all", "linux/amd64", "linux/arm64");
        return layout;
    }

    /// <summary>Copies an image of a layout to the registry, all platforms.</summary>
    private string Push(string image, string repository)
    {
        Copy(image, $"docker://{registry.Host}/{repository}:v1");
        return $"{registry.Host}/{repository}:v1";
    }

    private static void Copy(string from, string to)
        => Tool.Run("skopeo", "copy", "--quiet", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", from, to).EnsureSuccess();

    private static byte[] RawManifestOf(string image) => Tool.Run("skopeo", "inspect", "--raw", "--tls-verify=false", image).EnsureSuccess().OutputBytes;

    private BlobCache NewCache() => new(_directory[$"cache{_caches++}"]);

    private async Task<JsonElement> BindAsync(string image, string tag, params string[] options)
    {
        CommandRun run = await RunAsync(["index", "push", "--json", "--bind", tag, .. options, image]);
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        return JsonDocument.Parse(run.Output).RootElement;
    }

    private Task<CommandRun> RunAsync(params string[] arguments) => CommandRun.RunAsync([.. arguments, "--cache-dir", _directory["cli"]]);

    /// <summary>Opens an image and reads the last file of each layer.</summary>
    private async Task<LayerIndex[]> OpenAsync(string reference, BlobCache? cache = null, IndexTrust trust = IndexTrust.Bound)
    {
        await using var opened = await OpenedSource.OpenAsync(reference, cache ??= NewCache(), _loggers);
        using var spans = new SpanCache(32 << 20);
        var layers = await new LayerReaders(new IndexFinder(cache, _loggers) { Trust = trust }, cache, _loggers).OpenAsync(opened.Image, spans, null, Token);
        foreach ((Layer layer, LayerIndex index) in layers)
        {
            (await layer.GetSpanAsync(index.Entries[^1].DataOffset, Token)).Dispose();
            layer.Dispose();
        }
        return [.. layers.Select(each => each.Index)];
    }

    private async Task AssertBoundAsync(string reference, IndexOrigin origin = IndexOrigin.Published)
        => Assert.All(await OpenAsync(reference), index => Assert.Equal((origin, Voucher.Manifest), (index.Origin, index.Proof.By)));

    [Fact]
    public async Task ReferenceByDigest_IsLazyAndBound_ForEveryPlatform()
    {
        string image = Push(Layout(1).Reference("all"), "bound/lazy");
        byte[] before = RawManifestOf($"docker://{image}");
        JsonElement bound = await BindAsync(image, "lazy");
        string digest = bound.GetProperty("imageIndexDigest").GetString()!;
        Assert.Equal($"{registry.Host}/bound/lazy@{digest}", bound.GetProperty("reference").GetString());
        Assert.Equal(["linux/amd64", "linux/arm64"], bound.GetProperty("images").EnumerateArray().Select(each => each.GetProperty("platform").GetString()));
        Assert.Equal(before, RawManifestOf($"docker://{image}")); // the image itself stays

        await using var recording = new RecordingRegistry(registry.Host);
        LayerIndex[] indexes = await OpenAsync($"{recording.Host}/bound/lazy@{digest}");
        Assert.All(indexes, index => Assert.Equal((IndexOrigin.Published, Voucher.Manifest), (index.Origin, index.Proof.By)));
        // The image index, the image's manifest, the artifact that it names: no list of referrers, and nothing is streamed.
        Assert.Equal(["GET manifests", "GET manifests", "GET manifests"], recording.Kinds.Where(kind => kind != "GET blobs"));
        CheckpointTable spans = indexes[1].Checkpoints;
        int read = spans.Find(indexes[1].Entries[^1].DataOffset);
        long needed = spans.CompressedEnd(read) - spans.CompressedOffset(read) + 2 * ChunkDigests.DefaultChunkSize + 512;
        Assert.InRange(recording.BytesOf(indexes[1].Digest.ToString()), 1, Math.Min(needed, indexes[1].CompressedSize * 2 / 3));
    }

    [Fact]
    public async Task ImageIndex_KeepsAllEntries_AndNamesOneIndexAPlatform()
    {
        string image = Push(Layout(2).Reference("all"), "bound/entries");
        JsonArray before = JsonNode.Parse(RawManifestOf($"docker://{image}"))!["manifests"]!.AsArray();
        await BindAsync(image, "lazy");
        byte[] bytes = RawManifestOf($"docker://{registry.Host}/bound/entries:lazy");
        JsonArray after = JsonNode.Parse(bytes)!["manifests"]!.AsArray();
        Assert.Equal(4, after.Count);
        for (int i = 0; i < 2; i++)
        {
            Assert.True(JsonNode.DeepEquals(before[i], after[i]));
            var manifest = (Manifest)ManifestDocument.Parse(RawManifestOf($"docker://{registry.Host}/bound/entries@{after[i + 2]!["digest"]}"), null, "");
            Assert.Equal((string?)before[i]!["digest"], manifest.Subject!.Digest.ToString());
            // Compact, in the order of Go's structs, and without an artifactType, which skopeo 1.9 drops.
            string entry = $$"""{"mediaType":"{{MediaTypes.OciManifest}}","digest":"{{after[i + 2]!["digest"]}}","size":{{after[i + 2]!["size"]}},"annotations":{"vnd.lazymount.layer-index.manifest-digest":"{{before[i]!["digest"]}}"},"platform":{"architecture":"unknown","os":"unknown"} }""".Replace("} }", "}}", StringComparison.Ordinal);
            Assert.Contains(entry, Encoding.UTF8.GetString(bytes));
        }
    }

    [Fact]
    public async Task ImageWithoutAnIndex_GetsOneWithItsPlatform()
    {
        string image = Push(Layout(3).Reference("one"), "bound/single");
        JsonElement bound = await BindAsync(image, "lazy");
        JsonNode first = JsonNode.Parse(RawManifestOf($"docker://{registry.Host}/bound/single:lazy"))!["manifests"]![0]!;
        Assert.Equal(OciLayoutBuilder.DigestOf(RawManifestOf($"docker://{image}")), (string?)first["digest"]);
        Assert.Equal("""{"architecture":"amd64","os":"linux"}""", first["platform"]!.ToJsonString());
        await AssertBoundAsync(bound.GetProperty("reference").GetString()!);
    }

    [Fact]
    public async Task Tag_IsReplacedOnlyByForce_AndAgainMakesTheSame()
    {
        string image = Push(Layout(4).Reference("one"), "bound/tags");
        string digest = (await BindAsync(image, "lazy")).GetProperty("imageIndexDigest").GetString()!;
        await using (var recording = new RecordingRegistry(registry.Host))
        {
            // Also without --force, and nothing is put: the tag names it.
            JsonElement again = await BindAsync(image.Replace(registry.Host, recording.Host, StringComparison.Ordinal), "lazy");
            Assert.Equal(digest, again.GetProperty("imageIndexDigest").GetString());
            Assert.DoesNotContain(recording.Answers, answer => answer.Method == "PUT" && answer.Path.EndsWith("/lazy", StringComparison.Ordinal));
        }
        CommandRun refused = await RunAsync("index", "push", "--bind", "v1", image);
        Assert.Equal(1, refused.ExitCode);
        Assert.StartsWith($"lazymount: cannot tag '{image}': the tag names another image (sha256:", refused.Error);
        Assert.Contains("--force", refused.Error);

        // The image's own tag moves to the image index; from there the same is made once more.
        Assert.Equal(digest, (await BindAsync(image, "v1", "--force")).GetProperty("imageIndexDigest").GetString());
        Assert.Equal(digest, (await BindAsync(image, "v1")).GetProperty("imageIndexDigest").GetString());
        Assert.Equal(digest, OciLayoutBuilder.DigestOf(RawManifestOf($"docker://{image}")));
    }

    [Fact]
    public async Task OnePlatform_IsIndexedAlone_AndTheOtherKeepsItsIndex()
    {
        string image = Push(Layout(5).Reference("all"), "bound/platforms");
        JsonElement one = await BindAsync(image, "lazy", "--platform", "linux/arm64");
        Assert.Equal("linux/arm64", Assert.Single(one.GetProperty("images").EnumerateArray()).GetProperty("platform").GetString());
        Assert.Equal(3, JsonNode.Parse(RawManifestOf($"docker://{registry.Host}/bound/platforms:lazy"))!["manifests"]!.AsArray().Count);
        string both = (await BindAsync($"{registry.Host}/bound/platforms:lazy", "lazy", "--force")).GetProperty("imageIndexDigest").GetString()!;
        Assert.Equal(4, JsonNode.Parse(RawManifestOf($"docker://{registry.Host}/bound/platforms:lazy"))!["manifests"]!.AsArray().Count);
        Assert.Equal(both, (await BindAsync($"{registry.Host}/bound/platforms:lazy", "lazy", "--platform", "linux/arm64")).GetProperty("imageIndexDigest").GetString());
    }

    [Fact]
    public async Task Layout_HoldsTheImageIndexUnderItsTag()
    {
        OciLayoutBuilder layout = Layout(6);
        JsonElement bound = await BindAsync(layout.Reference("one"), "lazy");
        Assert.Equal(layout.Reference("lazy"), bound.GetProperty("reference").GetString());
        await AssertBoundAsync(layout.Reference("lazy"));
        Assert.Equal(1, (await RunAsync("index", "push", "--bind", "all", layout.Reference("one"))).ExitCode);
        await BindAsync(layout.Reference("one"), "all", "--force");
        await AssertBoundAsync(layout.Reference("all"));
        Assert.Equal((0, ""), await RunAsync("manifest", layout.Reference("one")) is var run ? (run.ExitCode, run.Error) : default);
    }

    [Fact]
    public async Task SkopeoCopyAll_KeepsTheDigest_AndTheCopyIsLazyAndBound()
    {
        string image = Push(Layout(7).Reference("all"), "bound/copied");
        string digest = (await BindAsync(image, "lazy")).GetProperty("imageIndexDigest").GetString()!;
        Directory.CreateDirectory(_directory["copy"]);
        Copy($"docker://{registry.Host}/bound/copied:lazy", $"oci:{_directory["copy"]}:lazy");
        Assert.Equal(digest, OciLayoutBuilder.DigestOf(RawManifestOf($"oci:{_directory["copy"]}:lazy")));
        await AssertBoundAsync($"oci:{_directory["copy"]}:lazy");

        await using var other = new OpenRegistry();
        await other.InitializeAsync();
        Copy($"oci:{_directory["copy"]}:lazy", $"docker://{other.Host}/elsewhere/copy:lazy");
        await AssertBoundAsync($"{other.Host}/elsewhere/copy@{digest}");
    }

    [Fact]
    public async Task DockerManifestList_BecomesAnImageIndex_AndItsManifestsStay()
    {
        string image = Push(Layout(8).Reference("one"), "bound/docker");
        Tool.Run("skopeo", "copy", "--quiet", "--format", "v2s2", "--src-tls-verify=false", "--dest-tls-verify=false", $"docker://{image}", $"docker://{registry.Host}/bound/docker:v2s2").EnsureSuccess();
        byte[] manifest = RawManifestOf($"docker://{registry.Host}/bound/docker:v2s2");
        byte[] list = TestImage.Index(MediaTypes.DockerManifestList, TestImage.Json(manifest, MediaTypes.DockerManifest, TestImage.PlatformOf("linux", Platform.Local.Architecture)));
        await registry.PushManifestAsync("bound/docker", "list", list, MediaTypes.DockerManifestList);

        JsonElement bound = await BindAsync($"{registry.Host}/bound/docker:list", "lazy");

        JsonNode index = JsonNode.Parse(RawManifestOf($"docker://{registry.Host}/bound/docker:lazy"))!;
        Assert.Equal((MediaTypes.OciIndex, MediaTypes.DockerManifest), ((string?)index["mediaType"], (string?)index["manifests"]![0]!["mediaType"]));
        Assert.Equal(OciLayoutBuilder.DigestOf(manifest), (string?)index["manifests"]![0]!["digest"]);
        await AssertBoundAsync(bound.GetProperty("reference").GetString()!);
    }

    public static TheoryData<string> Lies => ["a blob", "the artifact", "the image index", "another image's subject", "another image's annotation"];

    [Theory]
    [MemberData(nameof(Lies))]
    public async Task BoundIndexThatIsNotWhatItsDigestSays_IsNeverBelieved(string lie)
    {
        string repository = $"bound/lies-{lie.Replace(' ', '-').Replace("'", "", StringComparison.Ordinal)}";
        string image = Push(Layout(9).Reference("one"), repository);
        JsonElement bound = await BindAsync(image, "lazy");
        string digest = bound.GetProperty("imageIndexDigest").GetString()!, manifest = bound.GetProperty("images")[0].GetProperty("manifestDigest").GetString()!;
        JsonElement pushed = bound.GetProperty("images")[0].GetProperty("artifact");
        string artifact = pushed.GetProperty("artifactDigest").GetString()!;
        await using var lying = new RecordingRegistry(registry.Host);
        lying.Lie = (path, body) => path.EndsWith(lie switch
        {
            "a blob" => pushed.GetProperty("layers")[1].GetProperty("indexDigest").GetString()!,
            "the artifact" => artifact,
            "the image index" => digest,
            _ => "\0",
        }, StringComparison.Ordinal) ? Changed(body) : null;
        if (lie.StartsWith("another", StringComparison.Ordinal))
        {
            // Honest bytes, but of another manifest that has the same layers.
            JsonObject index = JsonNode.Parse(RawManifestOf($"docker://{registry.Host}/{repository}:lazy"))!.AsObject();
            JsonObject entry = index["manifests"]![1]!.AsObject();
            if (lie == "another image's annotation")
            {
                entry["annotations"]![ImageIndex.LayerIndexesOf] = Digest.OfSha256([1]).ToString();
            }
            else
            {
                JsonObject other = JsonNode.Parse(RawManifestOf($"docker://{registry.Host}/{repository}@{artifact}"))!.AsObject();
                other["subject"]!["digest"] = Digest.OfSha256([1]).ToString();
                byte[] changed = Encoding.UTF8.GetBytes(other.ToJsonString());
                await registry.PushManifestAsync(repository, OciLayoutBuilder.DigestOf(changed), changed, MediaTypes.OciManifest);
                (entry["digest"], entry["size"]) = (OciLayoutBuilder.DigestOf(changed), changed.Length);
            }
            byte[] bytes = Encoding.UTF8.GetBytes(index.ToJsonString());
            digest = OciLayoutBuilder.DigestOf(bytes);
            await registry.PushManifestAsync(repository, digest, bytes, MediaTypes.OciIndex);
        }

        string reference = $"{lying.Host}/{repository}@{digest}";
        if (lie == "the image index")
        {
            ImageException e = await Assert.ThrowsAnyAsync<ImageException>(() => OpenAsync(reference));
            Assert.Equal(ImageError.Verification, e.Error);
            return;
        }
        LayerIndex[] indexes = await OpenAsync(reference);
        Assert.Equal(lie == "a blob" ? [IndexOrigin.Published, IndexOrigin.Built] : [IndexOrigin.Built, IndexOrigin.Built], indexes.Select(index => index.Origin));
        Assert.All(indexes, index => Assert.True(index.Proof.By >= Voucher.Manifest));
        Assert.NotEqual(manifest, digest);

        static byte[] Changed(byte[] bytes) => [.. bytes[..^2], (byte)(bytes[^2] ^ 1), bytes[^1]];
    }

    [Fact]
    public async Task StoredBoundIndex_IsNotUsedForAReferenceThatDoesNotNameIt()
    {
        string image = Push(Layout(10).Reference("one"), "bound/scope");
        JsonElement bound = await BindAsync(image, "lazy");
        string reference = bound.GetProperty("reference").GetString()!, manifest = bound.GetProperty("images")[0].GetProperty("manifestDigest").GetString()!;
        BlobCache cache = NewCache();
        Assert.All(await OpenAsync(reference, cache), index => Assert.Equal(IndexOrigin.Published, index.Origin));
        // Whoever may push an image index that names this manifest must not say what the manifest's own digest shows.
        Assert.All(await OpenAsync($"{registry.Host}/bound/scope@{manifest}", cache), index => Assert.Equal(IndexOrigin.Built, index.Origin));
    }

    [Fact]
    public async Task Soci2_MakesNewManifests_ThatNameTheirIndex()
    {
        string image = Push(Layout(11).Reference("all"), "bound/soci2");
        JsonElement bound = await BindAsync(image, "soci", "--format", "soci2");
        string digest = bound.GetProperty("imageIndexDigest").GetString()!;
        Assert.Equal(OciLayoutBuilder.DigestOf(RawManifestOf($"docker://{image}")), bound.GetProperty("sourceDigest").GetString());
        JsonArray entries = JsonNode.Parse(RawManifestOf($"docker://{registry.Host}/bound/soci2:soci"))!["manifests"]!.AsArray();
        Assert.Equal(4, entries.Count);
        for (int i = 0; i < 2; i++)
        {
            JsonElement listed = bound.GetProperty("images")[i];
            string changed = listed.GetProperty("newManifestDigest").GetString()!, index = listed.GetProperty("artifact").GetProperty("artifactDigest").GetString()!;
            Assert.NotEqual(changed, listed.GetProperty("manifestDigest").GetString());
            // As soci/soci_convert.go makes them.
            Assert.Equal((changed, index), ((string?)entries[i]!["digest"], (string?)entries[i]!["annotations"]!["com.amazon.soci.index-digest"]));
            Assert.Equal((index, SociIndex.Version2, changed), ((string?)entries[i + 2]!["digest"], (string?)entries[i + 2]!["artifactType"], (string?)entries[i + 2]!["annotations"]!["com.amazon.soci.image-manifest-digest"]));
            Assert.True(JsonNode.DeepEquals(entries[i]!["platform"], entries[i + 2]!["platform"]));
            Assert.Equal(index, (string?)JsonNode.Parse(RawManifestOf($"docker://{registry.Host}/bound/soci2@{changed}"))!["annotations"]!["com.amazon.soci.index-digest"]);
            JsonNode soci = JsonNode.Parse(RawManifestOf($"docker://{registry.Host}/bound/soci2@{index}"))!;
            Assert.Equal((SociIndex.Version2, (JsonNode?)null), ((string?)soci["config"]!["mediaType"], soci["subject"]));
        }
        // The small layer has no ztoc.
        Assert.Equal([(IndexOrigin.Built, Voucher.Layer), (IndexOrigin.Soci, Voucher.Manifest)], (await OpenAsync($"{registry.Host}/bound/soci2@{digest}")).Select(index => (index.Origin, index.Proof.By)));
        Assert.Equal(digest, (await BindAsync($"{registry.Host}/bound/soci2:soci", "soci", "--format", "soci2")).GetProperty("imageIndexDigest").GetString());
    }

    [Theory]
    [InlineData("lazymount: --format 'x' is none of lazymount, soci and soci2", "--format", "x")]
    [InlineData("lazymount: --format soci2 makes another image: name it with --bind TAG", "--format", "soci2")]
    [InlineData("lazymount: a SOCI index of version 1 cannot be bound: take --format soci2, or lazymount", "--format", "soci", "--bind", "x")]
    [InlineData("lazymount: --force is for the tag of --bind: name one", "--force")]
    [InlineData("lazymount: --bind: 'a b' is not a tag; a tag has up to 128 letters, digits, underscores, dots and dashes, and does not begin with a dot or a dash", "--bind", "a b")]
    public async Task WrongUse_IsToldInOneSentence(string sentence, params string[] options)
    {
        CommandRun run = await CommandRun.RunAsync(["index", "push", .. options, "localhost:1/x"]);
        Assert.Equal((2, "", sentence + "\n"), (run.ExitCode, run.Output, run.Error));
    }
}
