using System.Text;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using Xunit;

namespace LazyMount.Tests.Blobs;

public sealed class ManifestDocumentTests
{
    private static readonly string s_descriptor = TestImage.Json([1, 2], "x");

    private static ManifestDocument Parse(string json, string? mediaType = null) => ManifestDocument.Parse(Encoding.UTF8.GetBytes(json), mediaType, "the manifest of x");

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Manifest_IsParsed(bool docker)
    {
        TestImage image = TestImage.Create(docker: docker);
        var manifest = Assert.IsType<Manifest>(ManifestDocument.Parse(image.Manifest, null, "x"));
        Assert.Equal(image.MediaType, manifest.MediaType);
        Assert.Equal(Digest.OfSha256(image.Config), manifest.Config.Digest);
        Assert.Equal(image.Layers.Select(layer => Digest.OfSha256(layer)), manifest.Layers.Select(layer => layer.Digest));
        Assert.Equal([1000, 1001], manifest.Layers.Select(layer => layer.Size));
    }

    [Theory]
    [InlineData(MediaTypes.OciIndex)]
    [InlineData(MediaTypes.DockerManifestList)]
    public void Index_IsParsed_AndAttestationsAreNoImages(string mediaType)
    {
        TestImage image = TestImage.Create();
        byte[] json = TestImage.Index(
            mediaType,
            image.Entry(TestImage.PlatformOf("linux", "arm", "v7")),
            image.Entry(TestImage.PlatformOf("unknown", "unknown")),
            image.Entry(""","artifactType":"application/vnd.amazon.soci.index.v2+json","platform":{"os":"linux","architecture":"amd64"}"""),
            TestImage.Json([1], "text/plain"));
        var index = Assert.IsType<ImageIndex>(ManifestDocument.Parse(json, null, "x"));
        Assert.Equal(mediaType, index.MediaType);
        Assert.Equal(4, index.Manifests.Count());
        Assert.Equal("linux/arm/v7", Assert.Single(index.Images).Platform!.ToString());
    }

    [Fact]
    public void ManifestWithoutMediaType_IsToldByItsContent()
    {
        Assert.IsType<Manifest>(Parse($$"""{"schemaVersion":2,"config":{{s_descriptor}},"layers":null}"""));
        Assert.IsType<ImageIndex>(Parse("""{"schemaVersion":2,"manifests":[]}"""));
    }

    [Theory]
    [InlineData("""{"schemaVersion":1,"fsLayers":[]}""", null)]
    [InlineData("""{"schemaVersion":2}""", "application/vnd.docker.distribution.manifest.v1+prettyjws")]
    public void Schema1_IsRefusedBySaying(string json, string? mediaType)
    {
        var e = Assert.Throws<ImageException>(() => Parse(json, mediaType));
        Assert.Equal(ImageError.Unsupported, e.Error);
        Assert.Contains("schema 1", e.Message, StringComparison.Ordinal);
    }

    public static TheoryData<string> Malformed =>
    [
        "", "{", "null", "[]", "3", "\"x\"", "{}",
        """{"schemaVersion":"2"}""",
        """{"schemaVersion":2}""",
        """{"schemaVersion":3,"manifests":[]}""",
        """{"schemaVersion":2,"manifests":{}}""",
        """{"schemaVersion":2,"schemaVersion":2,"manifests":[]}""",
        """{"schemaVersion":2,"manifests":[],"Manifests":[]}""",
        $$"""{"schemaVersion":2,"config":{{s_descriptor}},"layers":[{{s_descriptor}}],"LAYERS":[]}""",
        $$"""{"schemaVersion":2,"config":{{s_descriptor}},"layers":[{{s_descriptor.Replace("\"size\":2", "\"size\":2,\"Size\":3", StringComparison.Ordinal)}}]}""",
        """{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":7,"size":1}]}""",
        $$"""{"schemaVersion":2,"layers":[{{s_descriptor}}]}""",
        $$"""{"schemaVersion":2,"config":{{s_descriptor}},"manifests":[]}""",
        $$"""{"schemaVersion":2,"layers":[],"manifests":[]}""",
        $$"""{"schemaVersion":2,"mediaType":"{{MediaTypes.OciIndex}}","config":{{s_descriptor}},"layers":[]}""",
        $$"""{"schemaVersion":2,"mediaType":"{{MediaTypes.OciManifest}}","manifests":[]}""",
        $$"""{"schemaVersion":2,"config":{{s_descriptor}},"layers":[{{s_descriptor.Replace("\"size\":2", "\"size\":-1", StringComparison.Ordinal)}}]}""",
        $$"""{"schemaVersion":2,"config":{{s_descriptor}},"layers":[{{s_descriptor.Replace("\"size\":2", "\"size\":99999999999999999999", StringComparison.Ordinal)}}]}""",
        $$"""{"schemaVersion":2,"config":{{s_descriptor}},"layers":[{{s_descriptor.Replace("\"size\":2", "\"size\":70368744177665", StringComparison.Ordinal)}}]}""",
        $$"""{"schemaVersion":2,"config":{{s_descriptor}},"layers":[{{string.Join(",", Enumerable.Repeat(s_descriptor, 1001))}}]}""",
        new string('[', 100_000),
    ];

    [Theory]
    [MemberData(nameof(Malformed))]
    public void MalformedDocument_IsInvalidAndNamed(string json)
    {
        var e = Assert.Throws<ImageException>(() => Parse(json));
        Assert.Equal(ImageError.Invalid, e.Error);
        Assert.StartsWith("cannot use the manifest of x: ", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("\"schemaVersion\":null,")]
    [InlineData("\"SCHEMAVERSION\":2,")]
    public void SchemaVersion_MayBeMissing(string version)
    {
        Assert.IsType<Manifest>(Parse($$"""{{{version}}"config":{{s_descriptor}},"layers":[{{s_descriptor}}]}"""));
        Assert.IsType<ImageIndex>(Parse($$"""{{{version}}"manifests":[]}"""));
    }

    [Theory]
    [InlineData("""{"schemaVersion":2,"manifests":null}""", null)] // umoci init
    [InlineData("""{"manifests":null}""", null)]
    [InlineData("{}", MediaTypes.OciIndex)]
    [InlineData($$"""{"mediaType":"{{MediaTypes.OciIndex}}"}""", null)]
    public void IndexWithoutEntries_IsAnIndex(string json, string? mediaType)
        => Assert.Empty(Assert.IsType<ImageIndex>(Parse(json, mediaType)).Entries);

    [Theory]
    [InlineData("null", "has a descriptor without a digest")]
    [InlineData("{}", "has a descriptor without a digest")]
    [InlineData("""{"digest":"blake3:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}""", "is not a sha256 or sha512 digest")]
    [InlineData("""{"digest":"sha256:zz","size":1}""", "is not a sha256 or sha512 digest")]
    [InlineData("""{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":-1}""", "an impossible size of -1 bytes")]
    public void EntryThatIsNotSound_IsRefusedWhenItIsChosen(string entry, string reason)
    {
        var index = Assert.IsType<ImageIndex>(Parse($$"""{"manifests":[{{entry}},{{TestImage.Json([1], MediaTypes.OciManifest)}}]}"""));
        Assert.Equal(2, index.Entries.Count);
        Assert.Equal(Digest.OfSha256([1]), Assert.Single(index.Manifests).Digest);
        var e = Assert.Throws<ImageException>(() => index.Entries[0].Require("the index of x"));
        Assert.Equal(ImageError.Invalid, e.Error);
        Assert.StartsWith("cannot use the index of x: it", e.Message, StringComparison.Ordinal);
        Assert.Contains(reason, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void EntryWithoutASize_IsSound()
        => Assert.Equal(Descriptor.UnknownSize, Assert.IsType<ImageIndex>(Parse($$"""{"manifests":[{"digest":"{{Digest.OfSha256([1])}}"}]}""")).Entries[0].Require("x").Size);

    [Theory]
    [InlineData("null", null)]
    [InlineData("{}", null)]
    [InlineData("""{"os":"linux"}""", null)]
    [InlineData("""{"architecture":"amd64","variant":"v2"}""", null)]
    [InlineData("""{"OS":"linux","Architecture":"arm","variant":null}""", "linux/arm")]
    public void HalfAPlatform_IsNone(string platform, string? expected)
        => Assert.Equal(expected, Assert.Single(Assert.IsType<ImageIndex>(Parse($$"""{"manifests":[{{TestImage.Json([1], MediaTypes.OciManifest, $",\"platform\":{platform}")}}]}""")).Images).Platform?.ToString());

    [Fact]
    public void EntriesWithoutAMediaType_CountWhereThereAreNoOthers()
    {
        string untyped = $$"""{"digest":"{{Digest.OfSha256([1])}}","size":1}""", typed = TestImage.Json([2], MediaTypes.OciManifest);
        Assert.Equal([Digest.OfSha256([2]).ToString()], Assert.IsType<ImageIndex>(Parse($$"""{"manifests":[{{untyped}},{{typed}}]}""")).Images.Select(image => image.DigestText));
        Assert.Equal([Digest.OfSha256([1]).ToString()], Assert.IsType<ImageIndex>(Parse($$"""{"manifests":[{{untyped}},{{TestImage.Json([2], "text/plain")}}]}""")).Images.Select(image => image.DigestText));
    }

    [Theory]
    [InlineData("AQI=", true)]
    [InlineData("AQM=", false)] // another digest
    [InlineData("AQ==", false)] // another size
    [InlineData("", false)]
    public void Data_CountsWhenItHasDigestAndSize(string data, bool counts)
    {
        string descriptor = TestImage.Json([1, 2], "x", $",\"data\":\"{data}\"");
        var manifest = Assert.IsType<Manifest>(Parse($$"""{"config":{{descriptor}},"layers":[{{descriptor}}]}"""));
        Assert.Equal(counts ? [1, 2] : null, manifest.Config.Data?.ToArray());
        Assert.Equal(counts ? [1, 2] : null, manifest.Layers[0].Data?.ToArray());
    }

    [Fact]
    public void Annotations_AreThoseThatGoReads()
    {
        var manifest = Assert.IsType<Manifest>(Parse($$$"""{"config":{{{s_descriptor}}},"layers":[],"x":1,"x":2,"Annotations":{"a":"1","A":"2","b":"\ud800","a":"3","c":null}}"""));
        Assert.Equal(
            new Dictionary<string, string> { ["a"] = "3", ["A"] = "2", ["b"] = "\uFFFD", ["c"] = "" }.OrderBy(pair => pair.Key, StringComparer.Ordinal),
            manifest.Annotations.OrderBy(pair => pair.Key, StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("")]
    [InlineData("application/octet-stream")]
    [InlineData("application/json")]
    [InlineData("text/html")]
    public void ConfigTypesThatDockerTakesForAnImages_NameNoArtifact(string type)
    {
        Assert.Null(Assert.IsType<Manifest>(Parse($$"""{"config":{{TestImage.Json([1], type)}},"layers":[]}""")).ArtifactType);
        Assert.Equal("a/b", Assert.IsType<Manifest>(Parse($$"""{"artifactType":"a/b","config":{{TestImage.Json([1], type)}},"layers":[]}""")).ArtifactType);
        Assert.Equal("text/plain", Assert.IsType<Manifest>(Parse($$"""{"config":{{TestImage.Json([1], "text/plain")}},"layers":[]}""")).ArtifactType);
    }

    [Theory]
    [InlineData("application/vnd.oci.image.layer.v1.tar+gzip", null, "application/vnd.oci.image.layer.v1.tar")]
    [InlineData("application/vnd.oci.image.layer.v1.tar", "zstd", "application/vnd.oci.image.layer.v1.tar+zstd")]
    [InlineData("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", null, "application/vnd.oci.image.layer.nondistributable.v1.tar")]
    [InlineData("application/vnd.docker.image.rootfs.diff.tar.gzip", null, "application/vnd.docker.image.rootfs.diff.tar")]
    [InlineData("application/vnd.docker.image.rootfs.diff.tar", "xz", "application/vnd.docker.image.rootfs.diff.tar.xz")]
    [InlineData("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "gzip", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")]
    [InlineData("", "gzip", "application/vnd.oci.image.layer.v1.tar+gzip")]
    [InlineData("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", null, "application/vnd.oci.image.layer.v1.tar+gzip+encrypted")]
    [InlineData("application/vnd.oci.image.layer.v1.tarball", null, "application/vnd.oci.image.layer.v1.tarball")]
    [InlineData("application/vnd.cncf.helm.chart.content.v1.tar+gzip", null, "application/vnd.cncf.helm.chart.content.v1.tar+gzip")]
    public void LayerType_FollowsTheBytes(string type, string? compression, string expected) => Assert.Equal(expected, MediaTypes.OfLayer(type, compression));

    [Fact]
    public void AnyFlippedOrCutByte_NeverThrowsAnythingElse()
    {
        byte[] good = TestImage.Create().Manifest;
        var random = new Random(7);
        for (int i = 0; i < 3000; i++)
        {
            byte[] bad = good[..random.Next(good.Length + 1)];
            if (bad.Length > 0 && i % 3 != 0)
                (bad = [.. good])[random.Next(bad.Length)] = (byte)random.Next(256);
            try
            {
                ManifestDocument.Parse(bad, null, "x");
            }
            catch (ImageException)
            {
            }
        }
    }

    [Fact]
    public void ConfigThatIsNone_IsNull()
    {
        Assert.Null(ImageConfig.TryParse("tar"u8));
        Assert.Null(ImageConfig.TryParse("{}"u8)!.Platform);
        Assert.Equal("linux/amd64", ImageConfig.TryParse(TestImage.Create().Config)!.Platform!.ToString());
    }
}
