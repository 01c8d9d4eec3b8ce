using System.Diagnostics;
using System.Text;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Blobs;

/// <summary>Against real docker-registry processes.</summary>
public sealed class RegistrySourceTests(OpenRegistry open, LockedRegistry locked) : IClassFixture<OpenRegistry>, IClassFixture<LockedRegistry>, IDisposable
{
    private static readonly TestImage s_image = TestImage.Create(seed: 11);

    private readonly TempDirectory _directory = new();

    /// <summary>Tries again at once.</summary>
    internal static RegistryTimeouts Impatient { get; } = new()
    {
        RetryDelay = TimeSpan.FromMilliseconds(1),
        MaxRetryDelay = TimeSpan.FromMilliseconds(20),
    };

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _directory.Dispose();

    private RegistrySource Open(string reference) => new(
        ImageReference.Parse(reference),
        TestRegistries.With(_directory.Path),
        Impatient,
        NullLoggerFactory.Instance);

    private async Task<Image> ResolveAsync(string reference, string? platform = null)
    {
        await using RegistrySource source = Open(reference);
        var cache = new BlobCache(Path.Combine(_directory.Path, "cache"));
        return await Image.ResolveAsync(ImageReference.Parse(reference), source, platform is null ? null : Platform.Parse(platform), cache, Token);
    }

    private async Task<RegistryException> RefusalAsync(string reference)
    {
        await using RegistrySource source = Open(reference);
        return await Assert.ThrowsAsync<RegistryException>(() => source.GetRootAsync(Token));
    }

    private void LogIn(string host, string password = DockerRegistry.Password)
    {
        string auth = Convert.ToBase64String(Encoding.UTF8.GetBytes($"{DockerRegistry.User}:{password}"));
        File.WriteAllText(Path.Combine(_directory.Path, "config.json"), $$"""{"auths":{"{{host}}":{"auth":"{{auth}}"} } }""");
    }

    [Fact]
    public async Task Image_IsResolvedByTagAndByDigest_OverPlainHttpOnLoopback()
    {
        await open.PushAsync("a/app", "v1", s_image);
        Image image = await ResolveAsync($"{open.Host}/a/app:v1");
        Assert.Equal(s_image.Digest, image.ManifestDescriptor.Digest);
        Assert.Equal(s_image.MediaType, image.ManifestDescriptor.MediaType);
        Assert.Equal(s_image.Manifest, image.ManifestBytes);
        Assert.Equal(s_image.Config, image.ConfigBytes);
        Assert.Equal(s_image.Digest, (await ResolveAsync($"{open.Host}/a/app@{s_image.Digest}")).ManifestDescriptor.Digest);
    }

    [Fact]
    public async Task DigestInTheCache_AsksNobody()
    {
        await open.PushAsync("cached", "v1", s_image);
        await ResolveAsync($"{open.Host}/cached:v1");
        Image image = await ResolveAsync($"127.0.0.1:1/cached@{s_image.Digest}");
        Assert.Equal(s_image.Config, image.ConfigBytes);
        var e = await Assert.ThrowsAsync<RegistryException>(() => ResolveAsync($"127.0.0.1:1/cached:v1"));
        Assert.Contains("nothing listens at 127.0.0.1:1 (connection refused)", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(MediaTypes.OciIndex)]
    [InlineData(MediaTypes.DockerManifestList)]
    public async Task Index_GivesThePlatformAskedFor(string mediaType)
    {
        TestImage arm = TestImage.Create("arm64", docker: true, seed: 12);
        await open.PushAsync("multi", "amd64", s_image);
        await open.PushAsync("multi", "arm64", arm);
        byte[] index = TestImage.Index(mediaType, s_image.Entry(TestImage.PlatformOf("linux", "amd64")), arm.Entry(TestImage.PlatformOf("linux", "arm64", "v8")));
        await open.PushManifestAsync("multi", "latest", index, mediaType);
        Assert.Equal(arm.Digest, (await ResolveAsync($"{open.Host}/multi", "linux/arm64")).ManifestDescriptor.Digest);
        Assert.Equal(s_image.Digest, (await ResolveAsync($"{open.Host}/multi", "linux/amd64")).ManifestDescriptor.Digest);
    }

    [Fact]
    public async Task ImagePushedBySkopeo_HasTheSameLayers()
    {
        byte[] layer = Gzip(new byte[2048]);
        byte[] config = Encoding.UTF8.GetBytes($$"""{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["{{Digest.OfSha256(new byte[2048])}}"]} }""");
        byte[] manifest = Encoding.UTF8.GetBytes($$"""{"schemaVersion":2,"mediaType":"{{MediaTypes.OciManifest}}","config":{{TestImage.Json(config, MediaTypes.OciConfig)}},"layers":[{{TestImage.Json(layer, "application/vnd.oci.image.layer.v1.tar+gzip")}}]}""");
        string layout = _directory.WriteLayout(TestImage.Index(MediaTypes.OciIndex, TestImage.Json(manifest, MediaTypes.OciManifest)), config, layer, manifest);
        using (Process skopeo = Process.Start("skopeo", ["--insecure-policy", "copy", "-q", "--format", "v2s2", "--dest-tls-verify=false", $"oci:{layout}", $"docker://{open.Host}/skopeo:v1"]))
        {
            await skopeo.WaitForExitAsync(Token);
            Assert.Equal(0, skopeo.ExitCode);
        }
        Image resolved = await ResolveAsync($"{open.Host}/skopeo:v1");
        Assert.Equal(MediaTypes.DockerManifest, resolved.ManifestDescriptor.MediaType);
        Assert.Equal(Digest.OfSha256(layer), Assert.Single(resolved.Layers).Digest);
    }

    [Fact]
    public async Task BlobRanges_AreRead()
    {
        byte[] content = TestImage.RandomBytes(300_000, 14);
        await open.PushBlobAsync("blobs", content);
        await using RegistrySource source = Open($"{open.Host}/blobs");
        foreach ((int offset, int length) in ((int, int)[])[(0, 300_000), (0, 1), (299_999, 1), (100_000, 65_536), (5, 0)])
        {
            await using Stream stream = await source.OpenBlobAsync(TestImage.DescriptorOf(content), offset, length, Token);
            using var read = new MemoryStream();
            await stream.CopyToAsync(read, Token);
            Assert.Equal(content[offset..(offset + length)], read.ToArray());
        }
    }

    [Fact]
    public async Task UnknownTagRepositoryAndBlob_AreNotFoundByName()
    {
        await open.PushAsync("a/app", "v1", s_image);
        RegistryException e = await RefusalAsync($"{open.Host}/a/app:v9");
        Assert.Equal(ImageError.NotFound, e.Error);
        Assert.False(e.IsTemporary);
        Assert.Equal($"cannot get '{open.Host}/a/app:v9': {open.Host} does not have it (MANIFEST_UNKNOWN: manifest unknown); check the name and the tag; did you mean 'v1'?", e.Message);
        Assert.Equal(ImageError.NotFound, (await RefusalAsync($"{open.Host}/no/such:v1")).Error);

        await using RegistrySource source = Open($"{open.Host}/a/app:v1");
        e = await Assert.ThrowsAsync<RegistryException>(() => source.OpenBlobAsync(TestImage.DescriptorOf([1, 2, 3]), 0, 3, Token));
        Assert.Equal(ImageError.NotFound, e.Error);
    }

    [Fact]
    public async Task LockedRegistry_OpensWithCredentials()
    {
        await locked.PushAsync("secret", "v1", s_image);
        LogIn(locked.Host);
        Image image = await ResolveAsync($"{locked.Host}/secret:v1");
        Assert.Equal(s_image.Digest, image.ManifestDescriptor.Digest);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("wrong")]
    public async Task LockedRegistry_DeniesOthersAndSaysWhatToDo(string? password)
    {
        if (password is not null)
            LogIn(locked.Host, password);
        RegistryException e = await RefusalAsync($"{locked.Host}/secret:v1");
        Assert.Equal(ImageError.Denied, e.Error);
        Assert.Contains("(UNAUTHORIZED", e.Message, StringComparison.Ordinal);
        Assert.Contains(
            password is null ? $"check the name and the credentials: no entry for {locked.Host} in " : $"check the name and the credentials: access is refused with the entry '{locked.Host}' in ", e.Message, StringComparison.Ordinal);
        if (password is not null)
            Assert.EndsWith($"; docker login {locked.Host} replaces it", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task UnknownHost_IsUnreachable()
    {
        RegistryException e = await RefusalAsync("no-such-host.invalid/app");
        Assert.Equal(ImageError.Unreachable, e.Error);
        Assert.Contains("the host no-such-host.invalid is not known", e.Message, StringComparison.Ordinal);
    }

    private static byte[] Gzip(byte[] content)
    {
        using var stream = new MemoryStream();
        using (var gzip = new System.IO.Compression.GZipStream(stream, System.IO.Compression.CompressionLevel.Fastest))
            gzip.Write(content);
        return stream.ToArray();
    }
}
