using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Layout;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using Xunit;

namespace LazyMount.Tests.Blobs;

public sealed class OciLayoutTests : IDisposable
{
    private static readonly TestImage s_one = TestImage.Create(seed: 1);
    private static readonly TestImage s_two = TestImage.Create(seed: 2);

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    private static string Named(string tag, string annotation = "org.opencontainers.image.ref.name") => $$""","annotations":{"{{annotation}}":"{{tag}}"}""";

    private OciLayout Open(string tag = "") => new(ImageReference.Parse($"oci:{_directory.Path}{tag}"));

    private Task<RawManifest> GetRootAsync(string tag = "") => Open(tag).GetRootAsync(TestContext.Current.CancellationToken);

    private async Task<ImageException> RefusalAsync(string tag = "") => await Assert.ThrowsAnyAsync<ImageException>(() => GetRootAsync(tag));

    [Fact]
    public async Task Tag_NamesItsImage()
    {
        _directory.WriteLayout(
            TestImage.Index(MediaTypes.OciIndex, s_one.Entry(Named("v1")), s_two.Entry(Named("docker.io/library/x:2", "io.containerd.image.name"))),
            s_one.Manifest, s_two.Manifest);
        Assert.Equal(s_one.Manifest, (await GetRootAsync(":v1")).Bytes);
        Assert.Equal(s_two.Manifest, (await GetRootAsync(":docker.io/library/x:2")).Bytes);

        ImageException e = await RefusalAsync(":v3");
        Assert.Equal(ImageError.NotFound, e.Error);
        Assert.Contains($"cannot find the tag 'v3' in '{_directory.Path}': it has 'v1', 'docker.io/library/x:2'; did you mean 'v1'?", e.Message, StringComparison.Ordinal);
        Assert.Contains(": it has 'v1', 'docker.io/library/x:2'; choose one", (await RefusalAsync()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task OnlyImage_NeedsNoTag()
    {
        _directory.WriteLayout(
            TestImage.Index(MediaTypes.OciIndex, s_one.Entry(Named("v1")), s_one.Entry(Named("v2")), s_two.Entry(TestImage.PlatformOf("unknown", "unknown"))),
            s_one.Manifest);
        Assert.Equal(s_one.Digest, (await GetRootAsync()).Descriptor.Digest);
    }

    [Fact]
    public async Task Number_ChoosesWhereNamesDoNot()
    {
        _directory.WriteLayout(TestImage.Index(MediaTypes.OciIndex, s_one.Entry(Named("a b")), s_two.Entry()), s_one.Manifest, s_two.Manifest);
        Assert.Contains("or by its number with", (await RefusalAsync()).Message, StringComparison.Ordinal);
        Assert.Equal(s_one.Digest, (await GetRootAsync(":@0")).Descriptor.Digest);
        Assert.Equal(s_two.Digest, (await GetRootAsync(":@1")).Descriptor.Digest);
        ImageException e = await RefusalAsync(":@2");
        Assert.Equal(ImageError.NotFound, e.Error);
        Assert.Contains($"cannot find the image @2 in '{_directory.Path}': its index.json lists 2, counted from @0", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", "")]
    [InlineData("v1", "v1")]
    public async Task EntriesThatDifferInTheirPlatformAlone_AreOneImage(string one, string two)
    {
        string name(string tag) => tag.Length == 0 ? "" : Named(tag);
        byte[] index = TestImage.Index(
            MediaTypes.OciIndex,
            s_one.Entry(TestImage.PlatformOf("linux", "amd64") + name(one)),
            s_two.Entry(TestImage.PlatformOf("linux", "arm64") + name(two)));
        _directory.WriteLayout(index, s_one.Manifest, s_two.Manifest);
        Assert.Equal(index, (await GetRootAsync()).Bytes);
    }

    [Fact]
    public async Task EntriesOfOneTag_ThatDifferInTheirPlatformAlone_AreOneImage()
    {
        string amd64 = TestImage.PlatformOf("linux", "amd64"), arm64 = TestImage.PlatformOf("linux", "arm64");
        TestImage other = TestImage.Create(seed: 3);
        _directory.WriteLayout(
            TestImage.Index(MediaTypes.OciIndex, s_one.Entry(amd64 + Named("v1")), other.Entry(amd64 + Named("v2")), s_two.Entry(arm64 + Named("v1"))),
            s_one.Manifest, s_two.Manifest, other.Manifest, s_one.Config, s_two.Config, other.Config);
        Assert.Equal((s_one.Digest, s_two.Digest), (await ResolveAsync(":v1", "linux/amd64"), await ResolveAsync(":v1", "linux/arm64")));
        Assert.Equal(other.Digest, await ResolveAsync(":v2", "linux/amd64"));
        Assert.Contains(": it has linux/amd64, linux/arm64; choose one with --platform", (await Assert.ThrowsAnyAsync<ImageException>(() => ResolveAsync(":v1", "linux/s390x"))).Message, StringComparison.Ordinal);
        Assert.Contains("cannot choose an image of", (await RefusalAsync()).Message, StringComparison.Ordinal);

        _directory.WriteLayout(TestImage.Index(MediaTypes.OciIndex, s_one.Entry(amd64 + Named("v1")), s_two.Entry(amd64 + Named("v1"))));
        Assert.Contains(": 2 images have this tag; choose one by its number", (await RefusalAsync(":v1")).Message, StringComparison.Ordinal);
    }

    private async Task<Digest> ResolveAsync(string tag, string platform)
    {
        using var cache = new TempDirectory();
        ImageReference reference = ImageReference.Parse($"oci:{_directory.Path}{tag}");
        await using var source = new OciLayout(reference);
        return (await Image.ResolveAsync(reference, source, Platform.Parse(platform), new BlobCache(cache.Path), TestContext.Current.CancellationToken)).ManifestDescriptor.Digest;
    }

    [Fact]
    public async Task LayoutWithoutItsMarker_IsOne()
    {
        _directory.WriteLayout(TestImage.Index(MediaTypes.OciIndex, s_one.Entry(Named("v1"))), s_one.Manifest);
        File.Delete(Path.Combine(_directory.Path, "oci-layout"));
        Assert.Equal(s_one.Digest, (await GetRootAsync(":v1")).Descriptor.Digest);
        File.WriteAllText(Path.Combine(_directory.Path, "index.json"), "{}");
        Assert.Contains("as an OCI layout: it has no file oci-layout, and its index.json lists no image", (await RefusalAsync()).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("null")]
    [InlineData("""{"annotations":{"org.opencontainers.image.ref.name":"v1"}}""")]
    [InlineData("""{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"md5:1","size":1,"annotations":{"org.opencontainers.image.ref.name":"v1"}}""")]
    [InlineData("""{"mediaType":"application/vnd.oci.image.manifest.v1+json","platform":{},"annotations":{"x":"\ud800"}}""")]
    public async Task OtherEntries_NeedNotBeSound(string other)
    {
        _directory.WriteLayout(TestImage.Index(MediaTypes.OciIndex, other, s_one.Entry(Named("v1"))), s_one.Manifest);
        Assert.Equal(s_one.Digest, (await GetRootAsync(":v1")).Descriptor.Digest);
        Assert.Equal(s_one.Digest, (await GetRootAsync(":@1")).Descriptor.Digest);
        Assert.Equal(s_one.Digest, (await GetRootAsync()).Descriptor.Digest);
        ImageException e = await RefusalAsync(":@0");
        Assert.Equal(ImageError.Invalid, e.Error);
        Assert.StartsWith($"cannot use the index.json of '{_directory.Path}': it", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task EntriesOfOnePlatform_OrWithNamesOfTheirOwn_AreSeveralImages()
    {
        string amd64 = TestImage.PlatformOf("linux", "amd64"), arm64 = TestImage.PlatformOf("linux", "arm64");
        _directory.WriteLayout(TestImage.Index(MediaTypes.OciIndex, s_one.Entry(amd64), s_two.Entry(amd64)), s_one.Manifest, s_two.Manifest);
        Assert.Contains("cannot choose an image of", (await RefusalAsync()).Message, StringComparison.Ordinal);
        _directory.WriteLayout(TestImage.Index(MediaTypes.OciIndex, s_one.Entry(amd64 + Named("v1")), s_two.Entry(arm64 + Named("v2"))));
        Assert.Contains("cannot choose an image of", (await RefusalAsync()).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("index.json")]
    [InlineData("oci-layout")]
    [InlineData("blobs/sha256/")]
    public async Task PipeInAFilesPlace_IsRefusedAndNotWaitedFor(string file)
    {
        _directory.WriteLayout(TestImage.Index(MediaTypes.OciIndex, s_one.Entry()), s_one.Manifest);
        string path = Path.Combine(_directory.Path, file.EndsWith('/') ? file + s_one.Digest.Hex : file);
        File.Delete(path);
        TestKit.Tool.Run("mkfifo", path).EnsureSuccess();
        ImageException e = await Assert.ThrowsAnyAsync<ImageException>(() => Task.Run(() => GetRootAsync()).WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken));
        Assert.Equal(ImageError.Invalid, e.Error);
        Assert.Contains($"{path}': it is not a regular file", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"schemaVersion":2,"manifests":[]}""")]
    [InlineData("""{"schemaVersion":2,"manifests":null}""")] // umoci init
    [InlineData("""{"manifests":[]}""")]
    [InlineData("{}")]
    public async Task EmptyLayout_SaysSo(string index)
    {
        _directory.WriteLayout(System.Text.Encoding.UTF8.GetBytes(index));
        Assert.Contains("cannot find an image in the layout", (await RefusalAsync()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void MissingDirectory_IsNotFound()
        => Assert.Equal(ImageError.NotFound, Assert.Throws<ImageException>(() => new OciLayout(ImageReference.Parse("oci:no/such/dir"))).Error);

    [Fact]
    public void DirectoryThatIsNoLayout_IsRefused()
        => Assert.Contains("as an OCI layout: ", Assert.Throws<ImageException>(() => Open()).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("", ImageError.Invalid)]
    [InlineData("[]", ImageError.Invalid)]
    [InlineData("""{"imageLayoutVersion":1}""", ImageError.Invalid)]
    [InlineData("{}", ImageError.Unsupported)]
    [InlineData("""{"imageLayoutVersion":"2.0.0"}""", ImageError.Unsupported)]
    public void LayoutOfAnotherVersion_IsRefused(string marker, ImageError error)
    {
        File.WriteAllText(Path.Combine(_directory.Path, "oci-layout"), marker);
        Assert.Equal(error, Assert.Throws<ImageException>(() => Open()).Error);
    }

    [Fact]
    public async Task DamagedLayout_NamesTheFile()
    {
        _directory.WriteLayout(TestImage.Index(MediaTypes.OciIndex, s_one.Entry()));
        ImageException e = await RefusalAsync();
        Assert.Equal(ImageError.NotFound, e.Error);
        Assert.Contains(s_one.Digest.Hex, e.Message, StringComparison.Ordinal);

        string path = Path.Combine(_directory.Path, "blobs", "sha256", s_one.Digest.Hex);
        byte[] flipped = [.. s_one.Manifest];
        flipped[5] ^= 1;
        await File.WriteAllBytesAsync(path, flipped, TestContext.Current.CancellationToken);
        Assert.Equal(ImageError.Verification, (await RefusalAsync()).Error);

        File.Delete(Path.Combine(_directory.Path, "index.json"));
        Assert.Contains("index.json': it is missing", (await RefusalAsync()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task BlobRange_IsReadToItsEnd()
    {
        byte[] content = TestImage.RandomBytes(1000, 9);
        _directory.WriteLayout(TestImage.Index(MediaTypes.OciIndex), content);
        Descriptor blob = TestImage.DescriptorOf(content);
        await using Stream stream = await Open().OpenBlobAsync(blob, 100, 800, TestContext.Current.CancellationToken);
        using var read = new MemoryStream();
        await stream.CopyToAsync(read, TestContext.Current.CancellationToken);
        Assert.Equal(content[100..900], read.ToArray());
    }

    [Fact]
    public async Task BlobOfAnotherSize_IsRefused()
    {
        byte[] content = TestImage.RandomBytes(1000, 9);
        _directory.WriteLayout(TestImage.Index(MediaTypes.OciIndex), content);
        var e = await Assert.ThrowsAsync<ImageException>(() => Open().OpenBlobAsync(TestImage.DescriptorOf(content) with { Size = 1001 }, 0, 10, TestContext.Current.CancellationToken));
        Assert.Equal(ImageError.Verification, e.Error);
    }
}
