using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Store;
using LazyMount.Indexes.Toc;
using LazyMount.Layers;
using LazyMount.TestKit;
using LazyMount.Tests.Blobs;
using Xunit;

namespace LazyMount.Tests.Layers.Toc;

/// <summary>Layers that real tools wrote with a table of contents, opened by it and held against the plain layer, which is streamed.</summary>
public sealed class LayerTocTests(ConvertedLayers layers) : IClassFixture<ConvertedLayers>, IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly SpanCache _spans = new(8 << 20);

    private readonly RecordingLoggers _loggers = new();

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _spans.Dispose();
        _directory.Dispose();
    }

    [Theory]
    [InlineData(ConvertedLayers.Estargz, IndexOrigin.Estargz, true, 0)]
    [InlineData(ConvertedLayers.SmallChunks, IndexOrigin.Estargz, true, 0)]
    [InlineData(ConvertedLayers.Prioritised, IndexOrigin.Estargz, true, 4_500_000)]
    [InlineData(ConvertedLayers.ZstdChunked, IndexOrigin.ZstdChunked, false, 0)]
    [InlineData(ConvertedLayers.StargzZstdChunked, IndexOrigin.ZstdChunked, true, 0)]
    public async Task ConvertedLayer_ShowsWhatThePlainOneShows(string kind, IndexOrigin origin, bool wholeSeconds, long prefetchEnd)
    {
        string[] expected = await DescribeAsync(ConvertedLayers.Plain, IndexOrigin.Built, wholeSeconds);
        for (int i = 0; i < 2; i++) // the second time from the stored index
        {
            Assert.Equal(expected, await DescribeAsync(kind, origin, wholeSeconds));
        }
        await using RemoteSource source = Source(kind);
        (Layer layer, LayerIndex index) = await OpenAsync(source);
        layer.Dispose();
        Assert.Equal((true, 0), (index.Proof.By >= Voucher.Manifest, source.Opened));
        Assert.InRange(index.Prefetch.Sum(range => range.End), prefetchEnd, prefetchEnd * 11 / 10);
    }

    [Theory]
    [InlineData(ConvertedLayers.Estargz)]
    [InlineData(ConvertedLayers.ZstdChunked)]
    public async Task TableWithoutAnnotation_IsFoundByItsFooter_AndNotBound(string kind)
    {
        await using RemoteSource source = Source(kind);
        Descriptor blob = await BlobAsync(source);
        LayerIndex? bound = await ReadAsync(blob, source);
        LayerIndex? unbound = await ReadAsync(blob with { Annotations = null }, source);
        Assert.True(bound is not null && unbound is not null, string.Join('\n', _loggers.Lines));
        Assert.Equal((true, false), (bound.Proof.By >= Voucher.Manifest, unbound.Proof.By >= Voucher.Manifest));
        Assert.Equal(bound.Entries, unbound.Entries);
        Assert.Null(await new LayerToc(source, acceptsUnannounced: false, _loggers).TryGetAsync(blob with { Annotations = null }, Cancellation));
        Assert.NotNull(await new LayerToc(source, acceptsUnannounced: false, _loggers).TryGetAsync(blob, Cancellation));
    }

    [Theory]
    [InlineData(ConvertedLayers.Estargz)]
    [InlineData(ConvertedLayers.ZstdChunked)]
    public async Task TableWithAnotherDigest_IsNone_AndOneLineIsLogged(string kind)
    {
        await using RemoteSource source = Source(kind);
        Descriptor blob = await BlobAsync(source);
        string other = Digest.OfSha256([1]).ToString();
        var annotations = blob.Annotations!.ToDictionary(each => each.Key, each => each.Value.StartsWith("sha256:", StringComparison.Ordinal) ? other : each.Value);
        Assert.Null(await ReadAsync(blob with { Annotations = annotations }, source));
        string line = Assert.Single(_loggers.Lines);
        Assert.Contains("so the whole layer is read: its digest is sha256:", line, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', line);
    }

    /// <summary>What `layers` says of a layout is what a mount of it does.</summary>
    [Theory]
    [InlineData(ConvertedLayers.Plain, null)]
    [InlineData(ConvertedLayers.Estargz, IndexOrigin.Estargz)]
    [InlineData(ConvertedLayers.ZstdChunked, IndexOrigin.ZstdChunked)]
    public async Task LocalLayer_IsServedByTheTableThatIsPromised(string kind, IndexOrigin? promised)
    {
        var cache = new BlobCache(_directory["cache"]);
        await using var source = new RemoteSource(layers.Reference(kind)) { IsLocal = true };
        Image image = await Image.ResolveAsync(ImageReference.Parse(source.Reference), source, null, cache, Cancellation);
        var store = new IndexFinder(cache, _loggers);
        Assert.Equal(promised, (await store.FindIndexesAsync(image, Cancellation))[0].Origin);
        (Layer layer, LayerIndex index) = (await new LayerReaders(store, cache, _loggers).OpenAsync(image, _spans, null, Cancellation))[0];
        layer.Dispose();
        Assert.Equal(promised ?? IndexOrigin.Built, index.Origin);
    }

    /// <summary>As a pass sees it, which small layers get, and those whose table is damaged.</summary>
    [Theory]
    [InlineData(ConvertedLayers.Estargz)]
    [InlineData(ConvertedLayers.Prioritised)]
    [InlineData(ConvertedLayers.StargzZstdChunked)]
    public async Task PassOverAConvertedLayer_HidesItsOwnFilesToo(string kind)
    {
        await using RemoteSource source = Source(kind);
        Descriptor blob = await BlobAsync(source);
        await using Stream stream = await source.OpenBlobAsync(blob, 0, blob.Size, Cancellation);
        LayerIndex passed = await new LayerIndexer(_loggers).IndexAsync(blob with { Annotations = null }, stream, null, Cancellation);
        LayerIndex index = (await ReadAsync(blob, source))!;
        Assert.Equal(index.Entries.Select(entry => PathOf(index, entry.Path)), passed.Entries.Select(entry => PathOf(passed, entry.Path)));
        Assert.NotNull(LayerIndexFile.TryDecode(LayerIndexFile.Encode(passed), passed.Digest));
    }

    [Fact]
    public async Task LayerWithoutTable_CostsOneSmallRequest()
    {
        await using RemoteSource source = Source(ConvertedLayers.Plain);
        Descriptor blob = await BlobAsync(source);
        int opened = source.Opened;
        Assert.Null(await ReadAsync(blob, source));
        Assert.Equal(opened + 1, source.Opened);
        Assert.Empty(_loggers.Lines);
        Assert.Null(await ReadAsync(blob with { Size = LayerToc.SmallestBlob - 1 }, source));
        Assert.Equal(opened + 1, source.Opened);
    }

    /// <summary>Every bit of content that changes on its way is noticed.</summary>
    [Theory]
    [InlineData(ConvertedLayers.Estargz)]
    [InlineData(ConvertedLayers.SmallChunks)]
    [InlineData(ConvertedLayers.ZstdChunked)]
    public async Task DamagedContent_IsAnError_AndNeverAWrongByte(string kind)
    {
        await using RemoteSource source = Source(kind);
        Descriptor blob = await BlobAsync(source);
        LayerIndex index = (await ReadAsync(blob, source))!;
        LayerEntry[] files = [.. index.Entries.Where(entry => entry.Size > 0)];
        var hashes = new string[files.Length];
        using (Layer layer = Open("first", index, blob, source))
        {
            for (int i = 0; i < files.Length; i++)
            {
                hashes[i] = Convert.ToHexString(SHA256.HashData(await ReadFileAsync(layer, index, files[i])));
            }
        }

        var random = new Random(5);
        source.Damage = bytes =>
        {
            lock (random)
            {
                for (int i = random.Next(60_000); i < bytes.Length; i += random.Next(60_000))
                {
                    bytes[i] ^= (byte)(1 << random.Next(8));
                }
            }
        };
        int errors = 0;
        using (Layer layer = Open("second", index, blob, source))
        {
            await Parallel.ForAsync(0, files.Length * 3, Cancellation, async (i, _) =>
            {
                int file = i % files.Length;
                try
                {
                    Assert.Equal(hashes[file], Convert.ToHexString(SHA256.HashData(await ReadFileAsync(layer, index, files[file]))));
                }
                catch (ImageException e) when (e.Error == ImageError.Verification)
                {
                    Interlocked.Increment(ref errors);
                }
            });
        }
        Assert.InRange(errors, 1, int.MaxValue);
    }

    private Layer Open(string cache, LayerIndex index, Descriptor blob, RemoteSource source)
        => new(index, new BlobReader(blob, index.Proof.Chunks, source, new BlobCache(_directory[cache]), scope: ChunkScope.Of("test")), _spans);

    private async Task<LayerIndex?> ReadAsync(Descriptor blob, RemoteSource source) => await new LayerToc(source, acceptsUnannounced: true, _loggers).TryGetAsync(blob, Cancellation);

    private async Task<Descriptor> BlobAsync(RemoteSource source)
        => (await Image.ResolveAsync(ImageReference.Parse(source.Reference), source, null, new BlobCache(_directory["cache"]), Cancellation)).Layers[0];

    private RemoteSource Source(string kind) => new(layers.Reference(kind));

    private async Task<(Layer Layer, LayerIndex Index)> OpenAsync(RemoteSource source)
    {
        var cache = new BlobCache(_directory["cache"]);
        Image image = await Image.ResolveAsync(ImageReference.Parse(source.Reference), source, null, cache, Cancellation);
        return (await new LayerReaders(new IndexFinder(cache, _loggers), cache, _loggers).OpenAsync(image, _spans, null, Cancellation))[0];
    }

    // A line for each entry, in the order of paths, of all that is shown of it.
    private async Task<string[]> DescribeAsync(string kind, IndexOrigin expected, bool wholeSeconds)
    {
        await using RemoteSource source = Source(kind);
        (Layer layer, LayerIndex index) = await OpenAsync(source);
        using (layer)
        {
            Assert.True(expected == index.Origin, string.Join('\n', _loggers.Lines));
            var lines = new List<string>();
            foreach (LayerEntry entry in index.Entries)
            {
                // stargz-snapshotter writes whole seconds, rounded half up.
                long seconds = entry.MtimeSeconds + (wholeSeconds && entry.MtimeNanoseconds >= 500_000_000 ? 1 : 0);
                uint nanoseconds = wholeSeconds ? 0 : entry.MtimeNanoseconds;
                string xattrs = entry.XattrSet < 0 ? "" : string.Join(',', index.XattrSets[entry.XattrSet].Select(each => $"{Encoding.UTF8.GetString(each.Name.Span)}={Convert.ToHexString(each.Value.Span)}"));
                string link = entry.LinkTarget >= 0 ? Encoding.UTF8.GetString(index.LinkTargets[entry.LinkTarget].Span) : entry.LinkPath >= 0 ? PathOf(index, entry.LinkPath) : "";
                string hash = entry.Size == 0 ? "" : Convert.ToHexString(SHA256.HashData(await ReadFileAsync(layer, index, entry)));
                lines.Add(string.Create(CultureInfo.InvariantCulture, $"{PathOf(index, entry.Path)} {entry.Type} {entry.Mode:x} {entry.Uid} {entry.Gid} {entry.Size} {seconds}.{nanoseconds} {entry.DeviceMajor}:{entry.DeviceMinor} {link} {xattrs} {hash}"));
            }
            lines.Sort(StringComparer.Ordinal);
            return [.. lines];
        }
    }

    private static string PathOf(LayerIndex index, int node)
        => node <= 0 ? "" : $"{PathOf(index, index.Paths.Parent(node))}/{Encoding.UTF8.GetString(index.Paths.Name(node))}";

    private static async Task<byte[]> ReadFileAsync(Layer layer, LayerIndex index, LayerEntry entry)
    {
        var content = new byte[entry.Size];
        SparseMap? map = entry.SparseMap == 0 ? null : index.SparseMaps[entry.SparseMap - 1];
        for (int extent = 0; extent < (map?.Count ?? 1); extent++)
        {
            long at = map?[extent].Offset ?? 0, end = map?.End(extent) ?? entry.Size;
            long stored = entry.DataOffset + (map?[extent].Stored ?? 0);
            while (at < end)
            {
                SpanLease span = await layer.GetSpanAsync(stored, Cancellation);
                int skip = (int)(stored - span.UncompressedOffset);
                int length = (int)Math.Min(span.Length - skip, end - at);
                span.Bytes.Slice(skip, length).CopyTo(content.AsSpan((int)at));
                span.Dispose();
                at += length;
                stored += length;
            }
        }
        return content;
    }
}
