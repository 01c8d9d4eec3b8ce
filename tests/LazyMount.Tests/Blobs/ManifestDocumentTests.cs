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
        Assert.StartsWith("The manifest of x is malformed: ", e.Message, StringComparison.Ordinal);
    }

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
