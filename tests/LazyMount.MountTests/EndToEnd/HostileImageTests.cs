using System.IO.Hashing;
using System.Text;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>Manifests, configs, layouts and index files made to hurt, read by a process that may have little memory.</summary>
public sealed class HostileImageTests : IDisposable
{
    private const string ManifestType = "application/vnd.oci.image.manifest.v1+json";

    private readonly LazyMountCli _lazymount = new();
    private readonly OciLayoutBuilder _layout;
    private readonly string _layer;
    private readonly string _config;

    public HostileImageTests()
    {
        _layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        byte[] tar = new TarBytes().File("file", "content").ToArray();
        _layer = Blob(tar, OciLayoutBuilder.TarLayer);
        _config = Blob("""{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}"""u8, "application/vnd.oci.image.config.v1+json");
    }

    public void Dispose() => _lazymount.Dispose();

    [Fact]
    public void ThousandAndOneLayers_AreRefused() => AssertManifestIsRefused(Manifest([.. Enumerable.Repeat(_layer, 1001)]), "1001 layers");

    [Fact]
    public void ManifestBeyondFourMiB_IsRefused() => AssertManifestIsRefused(Manifest(_layer) + new string(' ', 4 << 20), "more than the maximum of 4194304");

    [Fact]
    public void IndexOfMillionsOfDescriptors_IsRefused()
    {
        WriteRoots(string.Join(',', Enumerable.Repeat("{}", 3_000_000)));
        AssertRefused("more than the maximum of 4194304");
    }

    [Fact]
    public void IndexOfAsManyPlatformsAsFit_IsRefusedInOneSentence()
    {
        string digest = OciLayoutBuilder.DigestOf([]);
        string entries = string.Join(',', Enumerable.Range(0, 15_000).Select(i => $$$"""{"mediaType":"{{{ManifestType}}}","digest":"{{{digest}}}","size":1,"platform":{"os":"os{{{i}}}","architecture":"a"}}"""));
        WriteRoot(Blob(Encoding.UTF8.GetBytes($$"""{"schemaVersion":2,"manifests":[{{entries}}]}"""), "application/vnd.oci.image.index.v1+json"));
        AssertRefused("--platform");
    }

    [Fact]
    public void ConfigBeyondEightMiB_IsRefused()
    {
        string config = Blob(new byte[(8 << 20) + 1], "application/vnd.oci.image.config.v1+json");
        AssertManifestIsRefused(Manifest(_layer).Replace(_config, config, StringComparison.Ordinal), "more than the maximum of 8388608");
    }

    [Fact]
    public void JsonNestedAHundredThousandDeep_IsRefused()
    {
        string deep = new string('[', 100_000) + new string(']', 100_000);
        AssertManifestIsRefused($$"""{"schemaVersion":2,"x":{{deep}}}""", "cannot use the manifest sha256:");
        AssertManifestIsRefused(deep, "cannot use the manifest sha256:");
    }

    [Fact]
    public void DigestOfAMiB_IsRefused() => AssertManifestIsRefused(Manifest(_layer).Replace("sha256:", "sha256:" + new string('a', 1 << 20), StringComparison.Ordinal), "cannot use the manifest sha256:");

    [Fact]
    public void WrongTypeUnderAKeyOfAMiB_IsRefusedInOneSentence()
        => AssertManifestIsRefused("{\"schemaVersion\":2,\"config\":{\"annotations\":{\"" + new string('k', 1 << 20) + "\\n\":1}}}", "cannot use the manifest sha256:");

    [Theory]
    [InlineData("-1")]
    [InlineData("-9223372036854775808")]
    [InlineData("9223372036854775807")]
    [InlineData("9223372036854775808")]
    [InlineData("1e30")]
    [InlineData("0")]
    [InlineData("2")]
    public void LieAboutALayersSize_IsRefused(string size) => AssertManifestIsRefused(Manifest(WithSize(_layer, size)), "");

    [Theory]
    [InlineData("-1")]
    [InlineData("0")]
    [InlineData("8388608")]
    public void LieAboutTheConfigsSize_IsRefused(string size) => AssertManifestIsRefused(Manifest(_layer).Replace(_config, WithSize(_config, size), StringComparison.Ordinal), "");

    [Theory]
    [InlineData("-1")]
    [InlineData("0")]
    [InlineData("4194304")]
    [InlineData("9223372036854775807")]
    public void LieAboutTheManifestsSize_IsRefused(string size)
    {
        WriteRoot(WithSize(Blob(Encoding.UTF8.GetBytes(Manifest(_layer)), ManifestType), size));
        AssertRefused("");
    }

    [Fact]
    public void MadeUpIndexFiles_AreRebuilt()
    {
        WriteManifest(Manifest(_layer));
        string expected = BoundedRun.Ls(_lazymount, Image).EnsureSuccess().Output;
        Assert.Contains("file", expected, StringComparison.Ordinal);
        string index = Assert.Single(Directory.EnumerateFiles(Path.Combine(_lazymount.CacheDirectory), "*", SearchOption.AllDirectories), path => path.Contains("/layers/", StringComparison.Ordinal));
        byte[] good = File.ReadAllBytes(index);
        byte[] noise = new byte[100_000];
        new Random(3).NextBytes(noise);
        noise.AsSpan(0, 32).Clear();
        good.AsSpan(0, 16).CopyTo(noise);
        byte[] huge = [.. good.AsSpan(0, 32), .. Enumerable.Repeat<byte>(0xFF, 9), 1];
        // The digest's length, the digest, then nothing but the largest numbers that there are.
        byte[] counts = [.. good.AsSpan(0, 32 + 1 + "sha256:".Length + 64), .. Enumerable.Range(0, 10_000).SelectMany(_ => (byte[])[0xFF, 0xFF, 0xFF, 0xFF, 7])];
        foreach (byte[] file in new[] { [], [0], noise, Hashed(noise), good[..^1], Hashed(good[..^1]), Hashed(huge), Hashed(counts), new byte[64 << 20] })
        {
            File.WriteAllBytes(index, file);
            Assert.Equal(expected, BoundedRun.Ls(_lazymount, Image).EnsureSuccess().Output);
            Assert.Equal(good, File.ReadAllBytes(index));
        }
    }

    private static byte[] Hashed(byte[] file)
    {
        byte[] hashed = [.. file];
        XxHash128.Hash(hashed.AsSpan(32), hashed.AsSpan(16));
        return hashed;
    }

    private string Image => _layout.Reference("v1");

    private string Manifest(params string[] layers) => $$"""{"schemaVersion":2,"mediaType":"{{ManifestType}}","config":{{_config}},"layers":[{{string.Join(',', layers)}}]}""";

    private static string WithSize(string descriptor, string size) => descriptor[..(descriptor.LastIndexOf(':') + 1)] + size + "}";

    /// <summary>Writes a blob and returns its descriptor.</summary>
    private string Blob(ReadOnlySpan<byte> bytes, string mediaType)
    {
        string digest = OciLayoutBuilder.DigestOf(bytes);
        File.WriteAllBytes(_layout.BlobFile(digest), bytes);
        return $$"""{"mediaType":"{{mediaType}}","digest":"{{digest}}","size":{{bytes.Length}}}""";
    }

    private void WriteManifest(string manifest) => WriteRoot(Blob(Encoding.UTF8.GetBytes(manifest), ManifestType));

    private void WriteRoot(string descriptor) => WriteRoots(descriptor[..^1] + ""","annotations":{"org.opencontainers.image.ref.name":"v1"}}""");

    private void WriteRoots(string descriptors) => File.WriteAllText(Path.Combine(_layout.Directory, "index.json"), $$"""{"schemaVersion":2,"manifests":[{{descriptors}}]}""");

    private void AssertManifestIsRefused(string manifest, string says)
    {
        WriteManifest(manifest);
        AssertRefused(says);
    }

    private void AssertRefused(string says)
    {
        ToolResult result = BoundedRun.Ls(_lazymount, Image);
        Sentence.AssertOne(result, 1, says);
        Assert.InRange(result.Error.Length, 50, 2000);
    }
}
