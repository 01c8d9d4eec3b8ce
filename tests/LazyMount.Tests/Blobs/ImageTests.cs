using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Layout;
using LazyMount.Blobs.Oci;
using Xunit;

namespace LazyMount.Tests.Blobs;

public sealed class ImageTests : IDisposable
{
    private static readonly TestImage s_amd64 = TestImage.Create("amd64", seed: 1);
    private static readonly TestImage s_arm64 = TestImage.Create("arm64", docker: true, seed: 2);

    private readonly TempDirectory _directory = new();
    private readonly TempDirectory _cacheDirectory = new();
    private readonly List<byte[]> _blobs = [s_amd64.Manifest, s_amd64.Config, s_arm64.Manifest, s_arm64.Config];

    public void Dispose()
    {
        _directory.Dispose();
        _cacheDirectory.Dispose();
    }

    // Through a layout whose index.json names one root.
    private async Task<Image> ResolveAsync(byte[] root, string mediaType, string? platform = null)
    {
        _directory.WriteLayout(TestImage.Index(MediaTypes.OciIndex, TestImage.Json(root, mediaType)), [root, .. _blobs]);
        ImageReference reference = ImageReference.Parse("oci:" + _directory.Path);
        await using var source = new OciLayout(reference);
        return await Image.ResolveAsync(reference, source, platform is null ? null : Platform.Parse(platform), new BlobCache(_cacheDirectory.Path), TestContext.Current.CancellationToken);
    }

    private Task<Image> ResolveIndexAsync(string? platform, params string[] entries)
        => ResolveAsync(TestImage.Index(MediaTypes.OciIndex, entries), MediaTypes.OciIndex, platform);

    private async Task<ImageException> RefusalAsync(string platform, params string[] entries)
        => await Assert.ThrowsAnyAsync<ImageException>(() => ResolveIndexAsync(platform, entries));

    [Fact]
    public async Task Manifest_IsTheImage()
    {
        Image image = await ResolveAsync(s_amd64.Manifest, s_amd64.MediaType);
        Assert.Equal(s_amd64.Digest, image.ManifestDescriptor.Digest);
        Assert.Equal(s_amd64.Manifest, image.ManifestBytes);
        Assert.Equal(s_amd64.Config, image.ConfigBytes);
        Assert.Equal(s_amd64.Layers.Select(layer => Digest.OfSha256(layer)), image.Layers.Select(layer => layer.Digest));
        Assert.False(Directory.Exists(Path.Combine(_cacheDirectory.Path, "v1", "blobs"))); // local files are not copied
    }

    [Fact]
    public async Task LayerIndexesInAnImageIndex_AreNoImages()
    {
        // Also where a tool has dropped the platform or the artifactType, and where they stand first.
        string[] others = [
            TestImage.Json([1], MediaTypes.OciManifest, ",\"annotations\":{\"vnd.lazymount.layer-index.manifest-digest\":\"x\"}"),
            TestImage.Json([2], MediaTypes.OciManifest, ",\"annotations\":{\"com.amazon.soci.image-manifest-digest\":\"x\"}" + TestImage.PlatformOf("linux", "amd64"))];
        Image image = await ResolveIndexAsync("linux/amd64", [.. others, s_amd64.Entry(TestImage.PlatformOf("linux", "amd64"))]);
        Assert.Equal(s_amd64.Digest, image.ManifestDescriptor.Digest);
        Assert.Equal(3, image.IndexEntries.Count);
        ImageException e = await RefusalAsync("linux/s390x", [.. others, s_arm64.Entry(TestImage.PlatformOf("linux", "arm64"))]);
        Assert.Contains(": it has linux/arm64;", e.Message);
    }

    [Theory]
    [InlineData("linux/amd64", "amd64")]
    [InlineData("linux/arm64/v8", "arm64")]
    public async Task Index_GivesTheImageForThePlatform(string platform, string architecture)
    {
        Image image = await ResolveIndexAsync(
            platform,
            TestImage.Json([1], MediaTypes.OciManifest, TestImage.PlatformOf("unknown", "unknown")),
            s_arm64.Entry(TestImage.PlatformOf("linux", "arm64", "v8")),
            s_amd64.Entry(TestImage.PlatformOf("linux", "amd64")));
        Assert.Equal(architecture, ImageConfig.TryParse(image.ConfigBytes.Span)!.Platform!.Architecture);
    }

    [Fact]
    public async Task IndexWithoutThePlatform_ListsThoseThereAre()
    {
        var e = await Assert.ThrowsAnyAsync<ImageException>(() => ResolveIndexAsync(
            "linux/s390x",
            s_arm64.Entry(TestImage.PlatformOf("linux", "arm64", "v8")),
            s_amd64.Entry(TestImage.PlatformOf("windows", "amd64"))));
        Assert.Equal(ImageError.NotFound, e.Error);
        Assert.EndsWith(": it has linux/arm64/v8, windows/amd64; choose one with --platform", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Attestations_AreNoImages_HoweverTheyAreMarked()
    {
        Image image = await ResolveIndexAsync(
            "linux/amd64",
            TestImage.Json([1], MediaTypes.OciManifest, TestImage.PlatformOf("linux", "amd64") + ""","annotations":{"vnd.docker.reference.type":"attestation-manifest"}"""),
            TestImage.Json([2], MediaTypes.OciManifest, TestImage.PlatformOf("unknown", "unknown")),
            TestImage.Json([3], MediaTypes.OciManifest, ""","artifactType":"application/vnd.example.sbom" """),
            s_amd64.Entry(TestImage.PlatformOf("linux", "amd64")));
        Assert.Equal(s_amd64.Digest, image.ManifestDescriptor.Digest);
    }

    [Fact]
    public async Task EntryWithoutAPlatform_IsTakenWhenItIsAllThereIs()
    {
        Assert.Equal(s_amd64.Digest, (await ResolveIndexAsync(null, s_amd64.Entry())).ManifestDescriptor.Digest);
        Assert.Equal(s_amd64.Digest, (await ResolveIndexAsync(null, s_amd64.Entry(), s_amd64.Entry())).ManifestDescriptor.Digest); // twice the same
        Assert.Contains(": it has linux/amd64;", (await RefusalAsync("linux/arm64", s_amd64.Entry())).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("linux/amd64", "amd64")]
    [InlineData("linux/arm64", "arm64")]
    public async Task EntriesWithoutPlatforms_AreLookedInto(string platform, string architecture)
    {
        byte[] artifact = System.Text.Encoding.UTF8.GetBytes($$"""{"schemaVersion":2,"artifactType":"a/b","config":{{TestImage.Json(s_amd64.Config, MediaTypes.OciConfig)}},"layers":[]}""");
        byte[] empty = TestImage.Index(MediaTypes.OciIndex);
        byte[] nested = TestImage.Index(MediaTypes.OciIndex, s_arm64.Entry(TestImage.PlatformOf("linux", "arm64")));
        _blobs.AddRange([artifact, empty, nested]);
        string[] entries = [TestImage.Json(artifact, MediaTypes.OciManifest), TestImage.Json(empty, MediaTypes.OciIndex), TestImage.Json(nested, MediaTypes.OciIndex), s_amd64.Entry()];
        Assert.Equal(architecture, ImageConfig.TryParse((await ResolveIndexAsync(platform, entries)).ConfigBytes.Span)!.Platform!.Architecture);
        Assert.EndsWith(": it has linux/arm64, linux/amd64; choose one with --platform", (await RefusalAsync("linux/s390x", entries)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task EntriesWithoutPlatformsBySomeThousands_AreNotAllLookedInto()
    {
        TestImage[] images = [.. Enumerable.Range(100, 40).Select(seed => TestImage.Create("s390x", seed: seed))];
        _blobs.AddRange(images.Take(32).SelectMany(image => (byte[][])[image.Manifest, image.Config])); // whoever looks at one more finds a file missing
        Assert.Contains(": it has linux/s390x;", (await RefusalAsync("linux/amd64", [.. images.Select(image => image.Entry())])).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("null")]
    [InlineData("{}")]
    [InlineData("""{"mediaType":"application/vnd.oci.image.manifest.v1+json","platform":{}}""")]
    [InlineData("""{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":3,"platform":{}}""")]
    [InlineData("""{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":3,"platform":{"os":"linux"}}""")]
    [InlineData("""{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":3,"platform":{"architecture":"amd64"}}""")]
    [InlineData("""{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","platform":{"os":"linux","architecture":"amd64"}}""")]
    [InlineData("""{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"blake3:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":3,"platform":{"os":"linux","architecture":"amd64"}}""")]
    [InlineData("""{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":-7,"platform":{"os":"linux","architecture":"s390x"}}""")]
    public async Task OtherEntries_NeedNotBeSound(string other)
    {
        string entry = s_amd64.Entry(TestImage.PlatformOf("linux", "amd64"));
        Assert.Equal(s_amd64.Digest, (await ResolveIndexAsync("linux/amd64", other, entry)).ManifestDescriptor.Digest);
        Assert.Equal(s_amd64.Digest, (await ResolveIndexAsync("linux/amd64", entry, other)).ManifestDescriptor.Digest);
    }

    [Fact]
    public async Task ChosenEntryThatIsNotSound_IsRefused_AndNoOtherIsTakenForIt()
    {
        ImageException e = await RefusalAsync("linux/amd64", s_amd64.Entry(TestImage.PlatformOf("linux", "386")), $$"""{"mediaType":"{{MediaTypes.OciManifest}}","digest":"blake3:00","size":3{{TestImage.PlatformOf("linux", "amd64")}}}""");
        Assert.Equal(ImageError.Invalid, e.Error);
        Assert.Contains("its digest 'blake3:00' is not a sha256 or sha512 digest", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"os":"linux"}""")]
    [InlineData("""{"architecture":"arm64"}""")]
    [InlineData("{}")]
    public async Task HalfAPlatform_IsToldByTheConfig(string platform)
    {
        string[] entries = [s_arm64.Entry($",\"platform\":{platform}"), s_amd64.Entry($",\"platform\":{platform}")];
        Assert.Equal(s_amd64.Digest, (await ResolveIndexAsync("linux/amd64", entries)).ManifestDescriptor.Digest);
        Assert.Equal(s_arm64.Digest, (await ResolveIndexAsync("linux/arm64", entries)).ManifestDescriptor.Digest);
    }

    [Fact]
    public async Task EntryWithoutASize_IsFoundByItsDigest()
    {
        Image image = await ResolveIndexAsync("linux/amd64", $$"""{"mediaType":"{{MediaTypes.OciManifest}}","digest":"{{s_amd64.Digest}}"{{TestImage.PlatformOf("linux", "amd64")}}}""");
        Assert.Equal((s_amd64.Digest, s_amd64.Manifest.Length), (image.ManifestDescriptor.Digest, image.ManifestDescriptor.Size));
    }

    [Fact]
    public async Task WhatDescriptorsHoldThemselves_NeedsNoBlob() // image-spec, descriptor.md, "data"
    {
        byte[] layer = [1, 2, 3];
        string Held(byte[] bytes, string type, string more = "") => TestImage.Json(bytes, type, $",\"data\":\"{Convert.ToBase64String(bytes)}\"{more}");
        byte[] manifest = System.Text.Encoding.UTF8.GetBytes($$"""{"config":{{Held("{}"u8.ToArray(), MediaTypes.Empty)}},"layers":[{{Held(layer, "x")}}]}""");
        byte[] index = TestImage.Index(MediaTypes.OciIndex, Held(manifest, MediaTypes.OciManifest));
        Image image = await ResolveAsync(index, MediaTypes.OciIndex);
        Assert.Equal("{}"u8.ToArray(), image.ConfigBytes);
        Assert.Equal(manifest, image.ManifestBytes);
        await using Stream stream = await image.Source.OpenBlobAsync(image.Layers[0], 1, 2, TestContext.Current.CancellationToken);
        using var read = new MemoryStream();
        await stream.CopyToAsync(read, TestContext.Current.CancellationToken);
        Assert.Equal([2, 3], read.ToArray());

        byte[] lying = System.Text.Encoding.UTF8.GetBytes($$"""{"config":{{TestImage.Json(s_amd64.Config, MediaTypes.OciConfig, ",\"data\":\"e30=\"")}},"layers":[]}""");
        Assert.Equal(s_amd64.Config, (await ResolveAsync(lying, MediaTypes.OciManifest)).ConfigBytes); // the blob counts then
    }

    [Theory]
    [InlineData("application/octet-stream", """{"os":"linux","architecture":"amd64"}""", null)]
    [InlineData("text/html", """{"rootfs":{"type":"layers"}}""", null)]
    [InlineData("", """{"rootfs":{"diff_ids":null}}""", null)]
    [InlineData("application/json", "{}", "application/json")]
    [InlineData("application/json", "no JSON", "application/json")]
    [InlineData("application/x", """{"os":"linux","architecture":"amd64"}""", "application/x")]
    public async Task ConfigOfAnUnexpectedType_IsAnImagesIfItReadsLikeOne(string type, string config, string? artifactType)
    {
        byte[] bytes = System.Text.Encoding.UTF8.GetBytes(config);
        _blobs.Add(bytes);
        byte[] manifest = System.Text.Encoding.UTF8.GetBytes($$"""{"config":{{TestImage.Json(bytes, type)}},"layers":[]}""");
        Assert.Equal(artifactType, (await ResolveAsync(manifest, MediaTypes.OciManifest)).ArtifactType);
    }

    [Fact]
    public async Task SeveralOfOnePlatform_TheFirstIsTaken() // as containerd does; Windows has one for each os.version
    {
        string windows(string version) => $$""","platform":{"os":"windows","architecture":"amd64","os.version":"{{version}}"}""";
        Image image = await ResolveIndexAsync("windows/amd64", s_arm64.Entry(TestImage.PlatformOf("linux", "arm64")), s_amd64.Entry(windows("10.0.17763.1")), TestImage.Json([1], MediaTypes.OciManifest, windows("10.0.20348.1")));
        Assert.Equal(s_amd64.Digest, image.ManifestDescriptor.Digest);
    }

    [Theory]
    [InlineData("linux/arm/v8", 2)]
    [InlineData("linux/arm/v7", 1)] // v7 is not there, v6 is the best that runs
    [InlineData("linux/arm/v6", 1)]
    [InlineData("linux/arm64", 2)]
    [InlineData("linux/arm/v5", 0)]
    public async Task Variants_FallBackToTheBestThatRuns_WhateverTheirConfigsLeaveOut(string platform, int expected)
    {
        TestImage[] images = [.. Enumerable.Range(21, 3).Select(seed => TestImage.Create("arm", seed: seed))]; // their configs say "arm" alone
        _blobs.AddRange(images.SelectMany(image => (byte[][])[image.Manifest, image.Config]));
        string[] variants = ["v5", "v6", "v8"];
        Image image = await ResolveIndexAsync(platform, [.. images.Select((each, i) => each.Entry(TestImage.PlatformOf("linux", "arm", variants[i])))]);
        Assert.Equal(images[expected].Digest, image.ManifestDescriptor.Digest);
    }

    [Fact]
    public async Task OnlyImageForAnotherMachine_IsRefusedUnlessAskedFor()
    {
        string other = Platform.Local.Architecture == "s390x" ? "ppc64le" : "s390x";
        string entry = s_amd64.Entry(TestImage.PlatformOf("linux", other));
        Assert.Contains($": it has linux/{other};", (await Assert.ThrowsAnyAsync<ImageException>(() => ResolveIndexAsync(null, entry))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ManifestOfAnotherPlatform_IsRefusedWhenOneIsAskedFor()
    {
        Assert.Contains(": it has linux/amd64;", (await Assert.ThrowsAnyAsync<ImageException>(() => ResolveAsync(s_amd64.Manifest, s_amd64.MediaType, "linux/arm64"))).Message, StringComparison.Ordinal);
        Assert.NotNull(await ResolveAsync(s_arm64.Manifest, s_arm64.MediaType));
    }

    [Fact]
    public async Task NestedIndex_IsFollowed_ToABound()
    {
        byte[] index = TestImage.Index(MediaTypes.OciIndex, s_amd64.Entry(TestImage.PlatformOf("linux", "amd64")));
        for (int depth = 1; depth <= 4; depth++)
        {
            Assert.Equal(s_amd64.Digest, (await ResolveAsync(index, MediaTypes.OciIndex, "linux/amd64")).ManifestDescriptor.Digest);
            _blobs.Add(index);
            index = TestImage.Index(MediaTypes.OciIndex, TestImage.Json(index, MediaTypes.OciIndex));
        }
        Assert.Contains("nested", (await Assert.ThrowsAnyAsync<ImageException>(() => ResolveAsync(index, MediaTypes.OciIndex, "linux/amd64"))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task IndexWithoutImages_SaysSo()
        => Assert.Contains("without an image", (await Assert.ThrowsAnyAsync<ImageException>(() => ResolveIndexAsync(null))).Message, StringComparison.Ordinal);

    [Fact]
    public async Task ConfigThatIsNoImageConfig_IsKeptAsItIs()
    {
        byte[] config = "not even JSON"u8.ToArray();
        byte[] manifest = System.Text.Encoding.UTF8.GetBytes($$"""{"schemaVersion":2,"config":{{TestImage.Json(config, "application/x-y")}},"layers":[]}""");
        _blobs.Add(config);
        Assert.Equal(config, (await ResolveAsync(manifest, MediaTypes.OciManifest, "linux/arm64")).ConfigBytes);
    }

    [Fact]
    public async Task BadConfig_IsRefused()
    {
        _blobs[1] = new byte[s_amd64.Config.Length]; // its own digest's file, not the config's
        _directory.WriteLayout([], s_amd64.Config);
        await File.WriteAllBytesAsync(Path.Combine(_directory.Path, "blobs", "sha256", Digest.OfSha256(s_amd64.Config).Hex), _blobs[1], TestContext.Current.CancellationToken);
        Assert.Equal(ImageError.Verification, (await Assert.ThrowsAnyAsync<ImageException>(() => ResolveAsync(s_amd64.Manifest, s_amd64.MediaType))).Error);

        byte[] manifest = System.Text.Encoding.UTF8.GetBytes("""{"schemaVersion":2,"config":{"mediaType":"x","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":8388609},"layers":[]}""");
        Assert.Equal(ImageError.Invalid, (await Assert.ThrowsAnyAsync<ImageException>(() => ResolveAsync(manifest, MediaTypes.OciManifest))).Error);
    }
}
