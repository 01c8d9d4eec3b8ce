using System.Diagnostics;
using System.Text;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Published;
using LazyMount.Indexes.Store;
using LazyMount.Layers;
using LazyMount.TestKit;
using LazyMount.Tests.Blobs;
using LazyMount.Tests.Layers;
using Microsoft.Extensions.Logging;
using Xunit;

namespace LazyMount.Tests.Published;

/// <summary>Indexes that lie beside an image in a real registry (Debian's, which has no referrers API) or in a layout.</summary>
public sealed class PublishedIndexTests(OpenRegistry registry) : IClassFixture<OpenRegistry>, IDisposable
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

    /// <summary>A small layer and one of several spans.</summary>
    private OciLayoutBuilder Layout(int seed = 1)
    {
        var layout = new OciLayoutBuilder(_directory.CreateDirectory($"layout{seed}"));
        layout.AddLayer(IndexFinderTests.Tar(seed, files: 3)).AddLayer(IndexFinderTests.Tar(seed + 100, files: 700)).WriteImage("test");
        return layout;
    }

    private async Task<string> PushImageAsync(OciLayoutBuilder layout, string repository)
    {
        await using IImageSource source = ImageSource.Open(ImageReference.Parse(layout.Reference("test")), TestRegistries.Options, _loggers);
        RawManifest root = await source.GetRootAsync(Token);
        foreach (string file in Directory.EnumerateFiles(Path.Combine(layout.Directory, "blobs", "sha256")))
            await registry.PushBlobAsync(repository, await File.ReadAllBytesAsync(file, Token));
        await registry.PushManifestAsync(repository, "v1", root.Bytes.ToArray(), MediaTypes.OciManifest);
        return $"{registry.Host}/{repository}:v1";
    }

    private BlobCache NewCache() => new(_directory[$"cache{_caches++}"]);

    private async Task<PushedIndexes> PushIndexesAsync(string reference, BlobCache? cache = null)
    {
        await using var opened = await OpenedSource.OpenAsync(reference, cache ?? NewCache(), _loggers);
        IReadOnlyList<LayerIndex> indexes = await new IndexFinder(opened.Cache, _loggers).BuildAsync(opened.Image, null, Token);
        return await new IndexPublisher((IArtifactTarget)opened.Source, (_, _, _) => throw new InvalidOperationException()).PushAsync(opened.Image, indexes, PublishedFormat.LazyMount, Token);
    }

    private async Task<LayerIndex[]> OpenAsync(string reference, BlobCache cache, IndexTrust trust = IndexTrust.Registry, Func<Layer, LayerIndex, Task>? read = null)
    {
        await using var opened = await OpenedSource.OpenAsync(reference, cache, _loggers);
        using var spans = new SpanCache(32 << 20);
        var layers = await new LayerReaders(new IndexFinder(cache, _loggers) { Trust = trust }, cache, _loggers).OpenAsync(opened.Image, spans, null, Token);
        try
        {
            foreach ((Layer layer, LayerIndex index) in layers)
                await (read?.Invoke(layer, index) ?? Task.CompletedTask);
        }
        finally
        {
            Array.ForEach(layers, each => each.Layer.Dispose());
        }
        return [.. layers.Select(each => each.Index)];
    }

    private static async Task ReadLastFileAsync(Layer layer, LayerIndex index)
    {
        SpanLease span = await layer.GetSpanAsync(index.Entries[^1].DataOffset, Token);
        span.Dispose();
    }

    [Fact]
    public async Task SecondClient_FetchesTheIndexAndTheSpansThatItReads()
    {
        OciLayoutBuilder layout = Layout();
        string reference = await PushImageAsync(layout, "a/lazy");
        PushedIndexes pushed = await PushIndexesAsync(reference);
        Assert.All(pushed.Layers, layer => Assert.NotNull(layer.Blob));
        Assert.InRange(pushed.Layers[1].Blob!.Size, 1, pushed.Layers[1].Layer.Size * 12 / 1000);

        await using var recording = new RecordingRegistry(registry.Host);
        string recorded = $"{recording.Host}/a/lazy:v1";
        BlobCache cache = NewCache();
        LayerIndex[] indexes = await OpenAsync(recorded, cache, read: ReadLastFileAsync);
        Assert.All(indexes, index => Assert.Equal((IndexOrigin.Published, false), (index.Origin, index.Proof.By >= Voucher.Manifest)));
        // The chunks that the span of the last file lies in, and the end of the layer, which may have told of a table of contents.
        CheckpointTable spans = indexes[1].Checkpoints;
        int read = spans.Find(indexes[1].Entries[^1].DataOffset);
        long needed = spans.CompressedEnd(read) - spans.CompressedOffset(read) + 2 * ChunkDigests.DefaultChunkSize + 512;
        Assert.InRange(recording.BytesOf(indexes[1].Digest.ToString()), 1, Math.Min(needed, indexes[1].CompressedSize * 2 / 3));
        // The image's manifest, the list of referrers (by API, then by tag), and the artifact that it names.
        Assert.Equal(["GET manifests", "GET referrers", "GET manifests", "GET manifests"], recording.Kinds.Where(kind => kind != "GET blobs"));

        // What was found is kept: the next time nobody is asked.
        recording.Answers.Clear();
        indexes = await OpenAsync(recorded, cache);
        Assert.All(indexes, index => Assert.Equal(IndexOrigin.Published, index.Origin));
        Assert.Equal(["GET manifests"], recording.Kinds);
    }

    [Fact]
    public async Task ReadBytes_AreThoseOfTheLayer()
    {
        OciLayoutBuilder layout = Layout(2);
        string reference = await PushImageAsync(layout, "a/bytes");
        await PushIndexesAsync(reference);
        var contents = new List<byte[]>();
        await OpenAsync(reference, NewCache(), read: async (layer, index) =>
        {
            Assert.Equal(IndexOrigin.Published, index.Origin);
            var tar = new byte[index.UncompressedSize];
            for (long at = 0; at < tar.Length;)
            {
                SpanLease span = await layer.GetSpanAsync(at, Token);
                span.Bytes.CopyTo(tar.AsSpan((int)at));
                at += span.Length;
                span.Dispose();
            }
            contents.Add(tar);
        });
        Assert.Equal(IndexFinderTests.Tar(2, files: 3), contents[0]);
        Assert.Equal(IndexFinderTests.Tar(102, files: 700), contents[1]);
    }

    [Theory]
    [InlineData("referrers", true)]
    [InlineData("referrers", false)]
    [InlineData("sha256-", true)]
    [InlineData("index", true)]
    public async Task QuestionThatHangsOrIsRateLimited_DelaysTheImageByTwoSecondsOnly(string what, bool hangs)
    {
        string reference = await PushImageAsync(Layout(9), $"a/hanging-{what.TrimEnd('-')}-{hangs}".ToLowerInvariant());
        PushedIndexes pushed = await PushIndexesAsync(reference);
        await using var recording = new RecordingRegistry(registry.Host);
        if (what == "index")
            what = pushed.Layers.First(each => each.Blob is not null).Blob!.Digest.ToString();
        using var end = new CancellationTokenSource();
        recording.Instead = path => !path.Contains($"/{what}", StringComparison.Ordinal) ? null
            : hangs ? Task.Delay(Timeout.Infinite, end.Token).ContinueWith(_ => (ScriptedResponse?)null, TaskScheduler.Default)
            : Task.FromResult<ScriptedResponse?>(new ScriptedResponse(429, "", "Retry-After: 3600"));
        long began = Stopwatch.GetTimestamp();
        LayerIndex[] indexes = await OpenAsync(reference.Replace(registry.Host, recording.Host, StringComparison.Ordinal), NewCache(), read: ReadLastFileAsync);
        Assert.InRange(Stopwatch.GetElapsedTime(began).TotalSeconds, 0, 15);
        Assert.Contains(indexes, index => index.Origin == IndexOrigin.Built);
        await end.CancelAsync();
    }

    [Theory]
    [InlineData(IndexTrust.None)]
    [InlineData(IndexTrust.Bound)]
    public async Task WithoutTrust_NobodyIsAskedAndLayersAreStreamed(IndexTrust trust)
    {
        string reference = await PushImageAsync(Layout(3), $"a/distrust-{trust}".ToLowerInvariant());
        await PushIndexesAsync(reference);
        BlobCache cache = NewCache();
        await using var recording = new RecordingRegistry(registry.Host);
        string recorded = reference.Replace(registry.Host, recording.Host, StringComparison.Ordinal);

        // Also one that is stored already, from a time of more trust.
        Assert.All(await OpenAsync(recorded, cache), index => Assert.Equal(IndexOrigin.Published, index.Origin));
        recording.Answers.Clear();
        Assert.All(await OpenAsync(recorded, cache, trust), index => Assert.Equal((IndexOrigin.Built, true), (index.Origin, index.Proof.By >= Voucher.Manifest)));
        Assert.DoesNotContain("GET referrers", recording.Kinds);
    }

    [Fact]
    public async Task Index_CountsForItsOwnRepositoryOnly()
    {
        OciLayoutBuilder layout = Layout(4);
        string theirs = await PushImageAsync(layout, "a/theirs"), ours = await PushImageAsync(layout, "a/ours");
        await PushIndexesAsync(theirs);
        BlobCache cache = NewCache();
        Assert.All(await OpenAsync(theirs, cache), index => Assert.Equal(IndexOrigin.Published, index.Origin));
        Assert.All(await OpenAsync(ours, cache), index => Assert.Equal(IndexOrigin.Built, index.Origin));
        // And what was built counts for all.
        Assert.All(await OpenAsync(theirs, cache), index => Assert.Equal(IndexOrigin.Built, index.Origin));
    }

    [Fact]
    public async Task RegistryWithoutReferrers_CostsTwoSmallRequests()
    {
        string reference = await PushImageAsync(Layout(5), "a/bare");
        await using var recording = new RecordingRegistry(registry.Host);
        await OpenAsync(reference.Replace(registry.Host, recording.Host, StringComparison.Ordinal), NewCache());
        var asked = recording.Answers.Where(answer => answer.Path.Contains("/referrers/", StringComparison.Ordinal) || answer.Path.Contains("/sha256-", StringComparison.Ordinal)).ToArray();
        Assert.Equal(2, asked.Length);
        Assert.InRange(asked.Sum(answer => answer.Bytes), 0, 400);
    }

    [Fact]
    public async Task PushingAgain_SendsNothingAndListsNothingTwice()
    {
        string reference = await PushImageAsync(Layout(6), "a/twice");
        BlobCache cache = NewCache();
        PushedIndexes first = await PushIndexesAsync(reference, cache);
        await using var recording = new RecordingRegistry(registry.Host);
        PushedIndexes second = await PushIndexesAsync(reference.Replace(registry.Host, recording.Host, StringComparison.Ordinal), cache);
        Assert.Equal(first.Manifest!.Digest, second.Manifest!.Digest);
        Assert.Equal(first.Layers, second.Layers, (one, other) => one.Blob!.Digest == other.Blob!.Digest);
        Assert.DoesNotContain(recording.Answers, answer => answer.Method == "POST" || (answer.Method == "PUT" && answer.Path.Contains("sha256-", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task OtherReferrers_StayListedAsTheyWere()
    {
        OciLayoutBuilder layout = Layout(7);
        string reference = await PushImageAsync(layout, "a/signed");
        string digest = (await PushIndexesAsync(layout.Reference("test"))).Layers[0].Layer.Digest.ToString(); // any digest will do
        byte[] others = Encoding.UTF8.GetBytes($$"""{"schemaVersion":2,"mediaType":"{{MediaTypes.OciIndex}}","manifests":[],"x-kept":{"of":"{{digest}}"} }""");
        string subject = (await OpenedSource.OpenAsync(reference, NewCache(), _loggers)).Image.ManifestDescriptor.Digest.Hex;
        await registry.PushManifestAsync("a/signed", $"sha256-{subject}", others, MediaTypes.OciIndex);
        await PushIndexesAsync(reference);
        using var client = new HttpClient();
        client.DefaultRequestHeaders.Accept.ParseAdd(MediaTypes.OciIndex);
        string listed = await client.GetStringAsync(new Uri($"http://{registry.Host}/v2/a/signed/manifests/sha256-{subject}"), Token);
        Assert.Contains("\"x-kept\":{\"of\":", listed, StringComparison.Ordinal);
        Assert.Contains(LayerIndexArtifact.ArtifactType, listed, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Layout_HoldsItsReferrersItself()
    {
        OciLayoutBuilder layout = Layout(8);
        PushedIndexes pushed = await PushIndexesAsync(layout.Reference("test"));
        Assert.NotNull(pushed.Manifest);
        // The reference still names one image, also without its tag, for us and for others.
        Assert.All(await OpenAsync($"oci:{layout.Directory}", NewCache()), index => Assert.Equal(IndexOrigin.Published, index.Origin));
        ToolResult inspected = Tool.Run("skopeo", "inspect", "--raw", layout.Reference("test"));
        Assert.True(inspected.ExitCode == 0, inspected.Error);
        Assert.Empty(Directory.EnumerateFiles(layout.Directory, "*.tmp", SearchOption.AllDirectories));
    }

    public static TheoryData<string> Hostilities => ["another layer's", "cut off", "wrong bytes", "huge", "no digest of chunks", "another image's"];

    [Theory]
    [MemberData(nameof(Hostilities))]
    public async Task IndexThatIsOfNoUse_IsToldInOneLineAndAsGoodAsNone(string hostility)
    {
        OciLayoutBuilder layout = Layout(9);
        string repository = $"a/hostile-{hostility.GetHashCode(StringComparison.Ordinal):x}";
        string reference = await PushImageAsync(layout, repository);
        await using var opened = await OpenedSource.OpenAsync(reference, NewCache(), _loggers);
        IReadOnlyList<LayerIndex> indexes = await new IndexFinder(opened.Cache, _loggers).BuildAsync(opened.Image, null, Token);
        (Descriptor blob, byte[] bytes) = LayerIndexArtifact.Encode(indexes[1]);
        Descriptor subject = opened.Image.ManifestDescriptor;
        switch (hostility)
        {
            case "another layer's":
                bytes = LayerIndexArtifact.Encode(indexes[0]).Bytes;
                break;
            case "cut off":
                bytes = bytes[..^100];
                break;
            case "no digest of chunks":
                bytes = LayerIndexFile.Encode(indexes[1] with { Proof = Proof.OfParser(ranges: null) });
                break;
            case "another image's":
                subject = subject with { Digest = Digest.OfSha256([1]) };
                break;
        }
        blob = blob with { Digest = Digest.OfSha256(bytes), Size = bytes.Length };
        await registry.PushBlobAsync(repository, bytes);
        await registry.PushBlobAsync(repository, ArtifactManifest.EmptyConfig.ToArray());
        if (hostility == "huge")
            blob = blob with { Size = 1L << 40 };
        if (hostility == "wrong bytes")
        {
            byte[] other = [.. bytes];
            other[^1] ^= 1;
            await registry.PushBlobAsync(repository, other);
            blob = blob with { Digest = Digest.OfSha256(other) };
        }
        RawManifest manifest = LayerIndexArtifact.CreateManifest([blob], subject);
        await registry.PushManifestAsync(repository, manifest.Descriptor.Digest.ToString(), manifest.Bytes.ToArray(), MediaTypes.OciManifest);
        byte[] list = ArtifactManifest.AddTo(null, manifest.Descriptor)!;
        await registry.PushManifestAsync(repository, $"sha256-{opened.Image.ManifestDescriptor.Digest.Hex}", list, MediaTypes.OciIndex);

        _loggers.Lines.Clear();
        Assert.All(await OpenAsync(reference, NewCache()), index => Assert.Equal(IndexOrigin.Built, index.Origin));
        string line = Assert.Single(_loggers.Lines, line => line.Contains("is not used", StringComparison.Ordinal));
        Assert.DoesNotContain('\n', line);
    }
}

/// <summary>An image with the source that it comes from.</summary>
internal sealed record OpenedSource(Image Image, IImageSource Source, BlobCache Cache) : IAsyncDisposable
{
    public static async Task<OpenedSource> OpenAsync(string reference, BlobCache cache, ILoggerFactory loggers, string? dockerConfig = null)
    {
        ImageReference parsed = ImageReference.Parse(reference);
        IImageSource source = ImageSource.Open(parsed, TestRegistries.With(dockerConfig), loggers);
        return new OpenedSource(await Image.ResolveAsync(parsed, source, null, cache, TestContext.Current.CancellationToken), source, cache);
    }

    public ValueTask DisposeAsync() => Source.DisposeAsync();
}
