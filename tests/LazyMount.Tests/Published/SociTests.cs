using System.Text;
using System.Text.Json.Nodes;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Published;
using LazyMount.Indexes.Published.Soci;
using LazyMount.Indexes.Store;
using LazyMount.Layers;
using LazyMount.TestKit;
using LazyMount.Tests.Blobs;
using LazyMount.Tests.Layers;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Published;

/// <summary>ztocs, with flatc and SOCI's schema as the oracle for both directions.</summary>
public sealed class SociTests(OpenRegistry registry) : IClassFixture<OpenRegistry>, IDisposable
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

    /// <summary>All kinds of entries, then several spans of files.</summary>
    private static byte[] Tar(int files = 500)
    {
        var tar = new TarBytes()
            .Directory("dir", edit: TarBytes.OwnedBy(1000, 2000))
            .Pax(("SCHILY.xattr.user.a", "va\0lue"), ("mtime", "1577836800.123456789"))
            .File("dir/with-attribute", "hello", mode: 0x9ED)
            .Symlink("dir/link", "with-attribute")
            .HardLink("dir/hard", "dir/with-attribute")
            .Fifo("dir/fifo")
            .CharacterDevice("dir/null", 1, 3)
            .File("./dir/na\u00ffme", "bytes that are not UTF-8")
            .File(".wh.gone");
        return [.. tar.ToArray(end: false), .. IndexFinderTests.Tar(5, files)];
    }

    private async Task<(LayerIndex Index, byte[] Ztoc)> BuildAsync(byte[] blob)
    {
        var layer = new Descriptor(OciLayoutBuilder.GzipLayer, Digest.OfSha256(blob), blob.Length);
        LayerIndex index = await new LayerIndexer(NullLogger.Instance).IndexAsync(layer, new MemoryStream(blob), null, Token);
        Assert.Null(ZtocBuilder.ReasonAgainst(index));
        (byte[]? ztoc, string? reason) = await ZtocBuilder.BuildAsync(index, new MemoryStream(blob), Token);
        Assert.Null(reason);
        return (index, ztoc!);
    }

    private static Descriptor DescriptorOf(LayerIndex index) => new("", index.Digest, index.CompressedSize);

    /// <summary>Entries as text, so that a difference says what it is.</summary>
    private static string[] Entries(LayerIndex index) => [.. index.Entries.Select(entry =>
    {
        string path = "";
        for (int node = entry.Path; node > 0; node = index.Paths.Parent(node))
            path = "/" + Encoding.Latin1.GetString(index.Paths.Name(node)) + path;
        string xattrs = entry.XattrSet < 0 ? "" : string.Join(",", index.XattrSets[entry.XattrSet].Select(each => $"{Encoding.Latin1.GetString(each.Name.Span)}={Encoding.Latin1.GetString(each.Value.Span)}"));
        string link = entry.LinkTarget < 0 ? "" : Encoding.Latin1.GetString(index.LinkTargets[entry.LinkTarget].Span);
        return $"{path} {entry with { Path = 0, XattrSet = 0, LinkPath = Math.Sign(entry.LinkPath), DataOffset = entry.Type == EntryType.File ? entry.DataOffset : 0 }} {xattrs} {link}";
    })];

    private static async Task<byte[]> DecodeAsync(LayerIndex index, byte[] blob)
    {
        using var directory = new TempDirectory();
        directory.WriteLayout([], blob);
        var source = new BytesSource(blob);
        using var spans = new SpanCache(32 << 20);
        var cache = new BlobCache(Path.Combine(directory.Path, "cache"));
        using var layer = new Layer(index, new SpanSource(source, cache, NullLoggerFactory.Instance).Open(DescriptorOf(index), index, ChunkScope.Shared, () => throw new InvalidOperationException()), spans);
        var tar = new byte[index.UncompressedSize];
        for (long at = 0; at < tar.Length;)
        {
            SpanLease span = await layer.GetSpanAsync(at, Token);
            span.Bytes.CopyTo(tar.AsSpan((int)at));
            at += span.Length;
            span.Dispose();
        }
        return tar;
    }

    public static TheoryData<string> Blobs => ["gzip", "named", "members", "plain"];

    private static byte[] Compress(byte[] tar, string how) => how switch
    {
        "plain" => tar,
        // A header with a name in it, so that the first block is not at byte 10.
        "named" => Named(OciLayoutBuilder.Gzip(tar)),
        "members" => [.. tar.Chunk(3 << 20).SelectMany(OciLayoutBuilder.Gzip)],
        _ => OciLayoutBuilder.Gzip(tar),
    };

    private static byte[] Named(byte[] gzip)
    {
        gzip[3] |= 8;
        return [.. gzip[..10], .. "layer.tar\0"u8, .. gzip[10..]];
    }

    [Theory]
    [MemberData(nameof(Blobs))]
    public async Task OurZtoc_TellsWhatTheIndexTells(string how)
    {
        byte[] tar = Tar(), blob = Compress(tar, how);
        (LayerIndex index, byte[] ztoc) = await BuildAsync(blob);
        (LayerIndex read, bool assumesPlainHeader) = ZtocReader.Read(ztoc, DescriptorOf(index), new IndexBudget(IndexLimits.Default));
        Assert.False(assumesPlainHeader);
        Assert.True(read.Checkpoints.Count > 2);
        Assert.Equal(Entries(index), Entries(read));
        Assert.Equal(tar, await DecodeAsync(read, blob));
        // Through the store's file as well.
        LayerIndex? stored = LayerIndexFile.TryDecode(LayerIndexFile.Encode(read), read.Digest);
        Assert.NotNull(stored);
        Assert.Equal(tar, await DecodeAsync(stored, blob));
    }

    [Theory]
    [MemberData(nameof(Blobs))]
    public async Task Flatc_ReadsOurZtoc_AndWeReadWhatItWrites(string how)
    {
        byte[] tar = Tar(), blob = Compress(tar, how);
        (LayerIndex index, byte[] ztoc) = await BuildAsync(blob);
        var flatc = new Flatc(_directory);
        JsonObject json = flatc.ToJson(ztoc);
        Assert.Equal(("0.9", blob.Length, tar.Length), ((string)json["version"]!, (int)json["compressed_archive_size"]!, (int)json["uncompressed_archive_size"]!));
        JsonArray files = json["toc"]!["metadata"]!.AsArray();
        Assert.Equal(index.Entries.Length, files.Count);
        JsonNode attributed = files[1]!;
        Assert.Equal(("dir/with-attribute", "reg", 0x9ED, "2020-01-01T00:00:00.123456789Z"), ((string)attributed["name"]!, (string)attributed["type"]!, (int)attributed["mode"]!, (string)attributed["mod_time"]!));
        Assert.Equal(("SCHILY.xattr.user.a", "va\0lue"), ((string)attributed["xattrs"]![0]!["key"]!, (string)attributed["xattrs"]![0]!["value"]!));
        JsonNode info = json["compression_info"]!;
        Assert.Equal(info["span_digests"]!.AsArray().Count - 1, (int)info["max_span_id"]!);

        byte[] theirs = flatc.FromJson(json);
        Assert.NotEqual(ztoc, theirs);
        LayerIndex read = ZtocReader.Read(theirs, DescriptorOf(index), new IndexBudget(IndexLimits.Default)).Index;
        Assert.Equal(Entries(index), Entries(read));
        Assert.Equal(tar, await DecodeAsync(read, blob));
    }

    /// <summary>Their windows are whole: what is referred to may be a zero too.</summary>
    [Fact]
    public async Task WindowOfZeros_IsOneThatIsReferredTo()
    {
        byte[] tar = new TarBytes().File("zeros", new byte[13_000_000]).File("end", "behind them").ToArray(), blob = OciLayoutBuilder.Gzip(tar);
        (LayerIndex index, byte[] ztoc) = await BuildAsync(blob);
        LayerIndex read = ZtocReader.Read(ztoc, DescriptorOf(index), new IndexBudget(IndexLimits.Default)).Index;
        Assert.True(read.Checkpoints.Count > 3);
        Assert.Equal(tar, await DecodeAsync(read, blob));
    }

    [Fact]
    public async Task Version1_LeavesOutTheFirstCheckpoint()
    {
        byte[] tar = Tar(), blob = OciLayoutBuilder.Gzip(tar);
        (LayerIndex index, byte[] ztoc) = await BuildAsync(blob);
        var flatc = new Flatc(_directory);
        JsonObject json = flatc.ToJson(ztoc);
        JsonArray checkpoints = json["compression_info"]!["checkpoints"]!.AsArray();
        json["compression_info"]!["checkpoints"] = new JsonArray([.. checkpoints.Where((_, i) => i is < ZtocFormat.CheckpointHeader or >= ZtocFormat.CheckpointHeader + ZtocFormat.CheckpointSize).Select(each => each!.DeepClone())]);
        (LayerIndex read, bool assumesPlainHeader) = ZtocReader.Read(flatc.FromJson(json), DescriptorOf(index), new IndexBudget(IndexLimits.Default));
        Assert.True(assumesPlainHeader);
        Assert.Equal(tar, await DecodeAsync(read, blob));
    }

    [Fact]
    public async Task DamagedSpan_IsNotServed()
    {
        byte[] blob = OciLayoutBuilder.Gzip(Tar());
        (LayerIndex index, byte[] ztoc) = await BuildAsync(blob);
        LayerIndex read = ZtocReader.Read(ztoc, DescriptorOf(index), new IndexBudget(IndexLimits.Default)).Index;
        blob[blob.Length / 2] ^= 1;
        var e = await Assert.ThrowsAsync<ImageException>(() => DecodeAsync(read, blob));
        Assert.Equal(ImageError.Verification, e.Error);
        // Nor does a header that leads elsewhere: it is not looked at.
        blob[blob.Length / 2] ^= 1;
        blob[3] = 4;
        Assert.Equal(Tar(), await DecodeAsync(read, blob));
    }

    /// <summary>A list that names the same spans over and over has each fetched once, in the order in which it was first wanted.</summary>
    [Fact]
    public async Task SpansNamedAgain_AreFetchedOnce()
    {
        LayerIndex index = await OfManySpansAsync();
        int count = index.Proof.Ranges!.Count;
        string all = string.Join(',', Enumerable.Repeat($$"""{"start_span":0,"end_span":{{count - 1}},"priority":9}""", 10_000));
        string json = $$"""{"version":"1.0","prefetch_spans":[{{all}},{"start_span":2,"end_span":3,"priority":1},{"start_span":1,"end_span":4,"priority":2}]}""";
        PrefetchRange[] ranges = SociPrefetch.Read(Encoding.UTF8.GetBytes(json), index);
        Assert.True(PrefetchRange.AreApart(ranges));
        Assert.Equal([Range(2, 3), Range(1, 1), Range(4, 4), Range(0, 0), Range(5, count - 1)], ranges);
        Assert.Equal(index.UncompressedSize, ranges.Sum(range => range.End - range.Offset));

        PrefetchRange Range(int first, int last)
        {
            int lead = index.Checkpoints.Count - count;
            return new PrefetchRange(index.Checkpoints.UncompressedOffset(lead + first), index.Checkpoints.UncompressedOffset(lead + last + 1));
        }
    }

    private static async Task<LayerIndex> OfManySpansAsync()
    {
        byte[] blob = OciLayoutBuilder.Gzip(Tar());
        var layer = new Descriptor(OciLayoutBuilder.GzipLayer, Digest.OfSha256(blob), blob.Length);
        LayerIndex index = await new LayerIndexer(NullLogger.Instance, checkpointSpacing: 64 << 10).IndexAsync(layer, new MemoryStream(blob), null, Token);
        CheckpointTable table = index.Checkpoints;
        Assert.True(table.Count > 8);
        int[] spans = [.. Enumerable.Range(0, table.Count)];
        return index with
        {
            Proof = Proof.OfParser(new RangeDigests(ofCompressed: true, [.. spans.Select(table.CompressedOffset)], [.. spans.Select(i => (int)(table.CompressedEnd(i) - table.CompressedOffset(i)))], new byte[32 * table.Count])),
        };
    }

    /// <summary>Neither the manifest nor the ztoc makes us count to what they claim: the digests are counted first.</summary>
    [Fact]
    public async Task ZtocOfAnUnbelievableTar_IsRefused()
    {
        (LayerIndex index, byte[] ztoc) = await BuildAsync(Tar(files: 20));
        var flatc = new Flatc(_directory);
        JsonObject json = flatc.ToJson(ztoc);
        var zinfo = new FlatBufferWriter();
        int root = zinfo.Root(ZtocFormat.TarZinfo.Shape);
        zinfo.Int64(root, ZtocFormat.TarZinfo.Shape, ZtocFormat.TarZinfo.SpanSize, 4096);
        zinfo.Int64(root, ZtocFormat.TarZinfo.Shape, ZtocFormat.TarZinfo.Size, long.MaxValue);
        json["compressed_archive_size"] = long.MaxValue;
        json["compression_info"]!["checkpoints"] = new JsonArray([.. zinfo.Bytes.ToArray().Select(each => JsonValue.Create(each))]);
        var e = Assert.Throws<InvalidDataException>(() => ZtocReader.Read(flatc.FromJson(json), DescriptorOf(index) with { Size = long.MaxValue }, new IndexBudget(IndexLimits.Default)));
        Assert.Equal("it does not have one digest for each span", e.Message);
    }

    [Fact]
    public async Task CutOrFlipped_IsRefusedOrHarmless()
    {
        byte[] blob = OciLayoutBuilder.Gzip(Tar(files: 20));
        (LayerIndex index, byte[] ztoc) = await BuildAsync(blob);
        var random = new Random(1);
        for (int i = 0; i < 4000; i++)
        {
            byte[] bad = [.. ztoc];
            if (i % 4 == 0)
                bad = bad[..random.Next(bad.Length)];
            else
                for (int flips = random.Next(1, 5); flips > 0; flips--)
                    bad[random.Next(2) == 0 ? random.Next(bad.Length) : random.Next(Math.Min(bad.Length, 4000))] = (byte)random.Next(256);
            try
            {
                _ = ZtocReader.Read(bad, DescriptorOf(index), new IndexBudget(IndexLimits.Default)).Index;
            }
            catch (InvalidDataException)
            {
            }
        }
    }

    [Theory]
    [InlineData("2020-01-01T00:00:00Z", 1577836800, 0)]
    [InlineData("2020-01-01T02:30:00.5+02:30", 1577836800, 500000000)]
    [InlineData("1969-12-31T23:59:59.999999999Z", -1, 999999999)]
    [InlineData("0000-02-29T00:00:00Z", -62162121600, 0)]
    [InlineData("9999-12-31T23:59:59-00:00", 253402300799, 0)]
    public void Times_AreThoseOfGo(string text, long seconds, uint nanoseconds)
        => Assert.Equal((seconds, nanoseconds), ZtocReader.ParseTime(Encoding.ASCII.GetBytes(text)));

    [Theory]
    [InlineData("sparse", "sparse")]
    [InlineData("global", "global PAX header")]
    [InlineData("zstd", "zstd")]
    public async Task WhatSociCannotExpress_GetsNoZtoc(string what, string says)
    {
        byte[] tar = what switch
        {
            "sparse" => new TarBytes().Pax(("GNU.sparse.major", "0"), ("GNU.sparse.minor", "1"), ("GNU.sparse.map", "8192,3"), ("GNU.sparse.size", "9000"), ("GNU.sparse.name", "s"), ("GNU.sparse.numblocks", "1")).File("s", "abc").ToArray(),
            "global" => new TarBytes().Raw(TarBytes.Header("g", 'g', 19, 0x1A4)).Data("19 comment=nothing\n"u8).File("a", "b").ToArray(),
            _ => new TarBytes().File("a", "b").ToArray(),
        };
        byte[] blob = what == "zstd" ? new ZstdSharp.Compressor().Wrap(tar).ToArray() : OciLayoutBuilder.Gzip(tar);
        var layer = new Descriptor("", Digest.OfSha256(blob), blob.Length);
        LayerIndex index = await new LayerIndexer(NullLogger.Instance).IndexAsync(layer, new MemoryStream(blob), null, Token);
        string? reason = ZtocBuilder.ReasonAgainst(index) ?? (await ZtocBuilder.BuildAsync(index, new MemoryStream(blob), Token)).Reason;
        Assert.Contains(says, reason);
    }

    private async Task<OpenedSource> OpenAsync(string reference) => await OpenedSource.OpenAsync(reference, new BlobCache(_directory[$"cache{_caches++}"]), _loggers);

    private async Task<(PushedIndexes Pushed, string Reference)> PushAsync(string repository)
    {
        var layout = new OciLayoutBuilder(_directory.CreateDirectory(repository.Replace('/', '-')));
        layout.AddLayer(IndexFinderTests.Tar(7, files: 2)).AddLayer(Tar()).WriteImage("test");
        await using OpenedSource opened = await OpenAsync(layout.Reference("test"));
        foreach (string file in Directory.EnumerateFiles(Path.Combine(layout.Directory, "blobs", "sha256")))
            await registry.PushBlobAsync(repository, await File.ReadAllBytesAsync(file, Token));
        await registry.PushManifestAsync(repository, "v1", opened.Image.ManifestBytes.ToArray(), MediaTypes.OciManifest);
        string reference = $"{registry.Host}/{repository}:v1";
        await using OpenedSource remote = await OpenAsync(reference);
        var store = new IndexFinder(remote.Cache, _loggers);
        IReadOnlyList<LayerIndex> indexes = await store.BuildAsync(remote.Image, null, Token);
        var publisher = new IndexPublisher((IArtifactTarget)remote.Source, store.OpenBlobAsync);
        return (await publisher.PushAsync(remote.Image, indexes, PublishedFormat.Soci, Token), reference);
    }

    private async Task<LayerIndex[]> IndexesAsync(string reference, IndexTrust trust)
    {
        await using OpenedSource opened = await OpenAsync(reference);
        using var spans = new SpanCache(32 << 20);
        var layers = await new LayerReaders(new IndexFinder(opened.Cache, _loggers) { Trust = trust }, opened.Cache, _loggers).OpenAsync(opened.Image, spans, null, Token);
        foreach ((Layer layer, LayerIndex index) in layers)
        {
            (await layer.GetSpanAsync(index.Entries[^1].DataOffset, Token)).Dispose();
            layer.Dispose();
        }
        return [.. layers.Select(each => each.Index)];
    }

    [Fact]
    public async Task Version1_IsFoundAmongTheReferrers_SmallLayersHaveNone()
    {
        (PushedIndexes pushed, string reference) = await PushAsync("soci/v1");
        Assert.Equal(SociIndex.Version1, pushed.Manifest!.ArtifactType);
        Assert.Null(pushed.Layers[0].Blob);
        Assert.Contains("more than an eighth", pushed.Layers[0].Reason);
        Assert.Equal([(IndexOrigin.Built, true), (IndexOrigin.Soci, false)], (await IndexesAsync(reference, IndexTrust.Registry)).Select(index => (index.Origin, index.Proof.By >= Voucher.Manifest)));
        Assert.Equal([(IndexOrigin.Built, true), (IndexOrigin.Built, true)], (await IndexesAsync(reference, IndexTrust.Bound)).Select(index => (index.Origin, index.Proof.By >= Voucher.Manifest)));
    }

    [Theory]
    [InlineData("""{"version":"1.0","prefetch_spans":[{"start_span":1,"end_span":1,"priority":2},{"start_span":0,"end_span":0}]}""", 2)]
    [InlineData("""{"version":"1.0","prefetch_spans":[{"start_span":0,"end_span":99}]}""", 0)]
    [InlineData("""{"version":"2.0","prefetch_spans":[{"start_span":0,"end_span":0}]}""", 0)]
    [InlineData("""{"version":"1.0","prefetch_spans":[{"start_span":-1}]}""", 0)]
    [InlineData("""[1,2""", 0)]
    public async Task SpansToFetchFirst_AreThoseOfTheIndex_OrNone(string list, int expected)
    {
        string repository = $"soci/prefetch-{list.Length}";
        (PushedIndexes pushed, string reference) = await PushAsync(repository);
        await using OpenedSource opened = await OpenAsync(reference);
        byte[] json = Encoding.UTF8.GetBytes(list);
        var blob = new Descriptor("application/vnd.amazon.soci.prefetch.v1+json", Digest.OfSha256(json), json.Length)
        {
            Annotations = new Dictionary<string, string> { ["com.amazon.soci.image-layer-digest"] = opened.Image.Layers[1].Digest.ToString() },
        };
        var target = (IArtifactTarget)opened.Source;
        await target.PushBlobAsync(blob, json, Token);
        await target.PushReferrerAsync(ArtifactManifest.Create(null, SociIndex.Version1, [pushed.Layers[1].Blob!, blob], opened.Image.ManifestDescriptor, new Dictionary<string, string>()), opened.Image.ManifestDescriptor.Digest, Token);

        LayerIndex index = (await IndexesAsync(reference, IndexTrust.Registry))[1];

        Assert.Equal(IndexOrigin.Soci, index.Origin);
        Assert.Equal(expected, index.Prefetch.Length);
        if (expected > 0)
        {
            int first = index.Checkpoints.Count - index.Proof.Ranges!.Count;
            Assert.Equal([
                new PrefetchRange(0, index.Checkpoints.UncompressedOffset(first + 1)),
                new PrefetchRange(index.Checkpoints.UncompressedOffset(first + 1), index.Checkpoints.UncompressedOffset(first + 2))], index.Prefetch);
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Version2_IsNamedByTheManifestOrTheImageIndex_AndCountsAsBound(bool inManifest)
    {
        string repository = $"soci/v2-{inManifest}".ToLowerInvariant();
        (PushedIndexes pushed, string reference) = await PushAsync(repository);
        await using OpenedSource opened = await OpenAsync(reference);

        // What their `soci convert` makes: the same ztocs under a manifest of version 2, which the image names.
        RawManifest made = ArtifactManifest.Create(null, SociIndex.Version2, [pushed.Layers[1].Blob!], opened.Image.ManifestDescriptor, new Dictionary<string, string>());
        JsonObject soci = JsonNode.Parse(made.Bytes.Span)!.AsObject();
        soci.Remove("subject");
        byte[] sociBytes = Encoding.UTF8.GetBytes(soci.ToJsonString());
        await registry.PushManifestAsync(repository, Digest.OfSha256(sociBytes).ToString(), sociBytes, MediaTypes.OciManifest);

        JsonObject manifest = JsonNode.Parse(opened.Image.ManifestBytes.Span)!.AsObject();
        var annotations = new JsonObject { ["com.amazon.soci.index-digest"] = Digest.OfSha256(sociBytes).ToString() };
        if (inManifest)
            manifest["annotations"] = annotations.DeepClone();
        else
            manifest["annotations"] = new JsonObject { ["another"] = "image" };
        byte[] manifestBytes = Encoding.UTF8.GetBytes(manifest.ToJsonString());
        await registry.PushManifestAsync(repository, Digest.OfSha256(manifestBytes).ToString(), manifestBytes, MediaTypes.OciManifest);
        string more = inManifest ? "" : $",\"annotations\":{annotations.ToJsonString()}";
        byte[] index = TestImage.Index(MediaTypes.OciIndex, TestImage.Json(manifestBytes, MediaTypes.OciManifest, more + TestImage.PlatformOf("linux", Platform.Local.Architecture)));
        await registry.PushManifestAsync(repository, "v2", index, MediaTypes.OciIndex);

        Assert.Equal([(IndexOrigin.Built, true), (IndexOrigin.Soci, true)], (await IndexesAsync($"{registry.Host}/{repository}:v2", IndexTrust.Bound)).Select(each => (each.Origin, each.Proof.By >= Voucher.Manifest)));
        Assert.Equal([IndexOrigin.Built, IndexOrigin.Built], (await IndexesAsync($"{registry.Host}/{repository}:v2", IndexTrust.None)).Select(each => each.Origin));
    }
}
