using System.Buffers.Binary;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;
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

/// <summary>Tars that can be read at any place, indexed by going from header to header.</summary>
public sealed class TarHopsTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly RecordingLoggers _loggers = new();
    private readonly OciLayoutBuilder _layout;

    public TarHopsTests() => _layout = new OciLayoutBuilder(_directory.CreateDirectory("layout"));

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData(OciLayoutBuilder.TarLayer)]
    [InlineData("")]
    public async Task LargeFiles_ArePassedOver_AndTheIndexIsThatOfAPass(string mediaType)
    {
        byte[] tar = Tar(30, 1_000_000);
        (LayerIndex? index, RemoteSource source, Descriptor blob) = await ReadAsync(tar, mediaType);
        Assert.True(index is not null, string.Join('\n', _loggers.Lines));
        Assert.Equal((IndexOrigin.TarHeaders, false, CompressionFormat.None), (index.Origin, index.Proof.By >= Voucher.Manifest, index.Format));
        Assert.InRange(source.Opened, 1, 45);
        await AssertSameAsPassAsync(index, source, blob);
    }

    [Fact]
    public async Task SmallFiles_AreReadThrough_InFewRequests()
    {
        (LayerIndex? index, RemoteSource source, Descriptor blob) = await ReadAsync(Tar(1200, 600), OciLayoutBuilder.TarLayer); // below what is given up
        Assert.NotNull(index);
        Assert.InRange(source.Opened, 1, 20);
        await AssertSameAsPassAsync(index, source, blob);
    }

    [Fact]
    public async Task TarOfSmallFilesOnly_IsGivenUp()
    {
        (LayerIndex? index, RemoteSource source, _) = await ReadAsync(Tar(60_000, 300), OciLayoutBuilder.TarLayer);
        Assert.Null(index);
        Assert.InRange(source.Opened, 1, 20);
        Assert.Empty(_loggers.Lines);
    }

    [Fact]
    public async Task SeekableZstd_IsHoppedOverInFrames()
    {
        byte[] tar = Tar(20, 3_000_000);
        (LayerIndex? index, RemoteSource source, Descriptor blob) = await ReadAsync(Seekable(tar, 500_000), "application/vnd.oci.image.layer.v1.tar+zstd");
        Assert.True(index is not null, string.Join('\n', _loggers.Lines));
        Assert.Equal((IndexOrigin.TarHeaders, CompressionFormat.Zstd, tar.LongLength), (index.Origin, index.Format, index.UncompressedSize));
        Assert.InRange(source.Opened, 2, 45);
        await AssertSameAsPassAsync(index, source, blob);

        using var spans = new SpanCache(8 << 20);
        using var layer = new Layer(index, new BlobReader(blob, index.Proof.Chunks, source, new BlobCache(_directory["cache"]), scope: ChunkScope.Of("test")), spans);
        for (long at = 0; at < tar.Length; at += 123_457)
        {
            SpanLease span = await layer.GetSpanAsync(at, Cancellation);
            Assert.True(span.Bytes.SequenceEqual(tar.AsSpan((int)span.UncompressedOffset, span.Length)));
            span.Dispose();
        }
    }

    public static TheoryData<string, Action<byte[]>> Damages => new()
    {
        { "frame count", blob => blob[^9] ^= 1 },
        { "frame count", blob => blob[^6] = 0xFF },
        { "descriptor", blob => blob[^5] = 0x7C },
        { "size of the table", blob => blob[^(9 + 8 * 7 + 4)] ^= 1 },
        { "compressed size", blob => blob[^(9 + 8)] ^= 1 },
        { "uncompressed size", blob => blob[^(9 + 8 * 3 + 4)] ^= 1 },
        { "uncompressed size", blob => blob.AsSpan(blob.Length - (9 + 8 * 3 + 4), 4).Clear() },
        { "compressed size", blob => BinaryPrimitives.WriteInt32LittleEndian(blob.AsSpan(blob.Length - (9 + 8 * 3)), -1) },
        { "first header", blob => blob[20] ^= 1 },
    };

    [Theory]
    [MemberData(nameof(Damages))]
    public async Task UnsoundSeekTable_IsNone_AndOneLineIsLogged(string what, Action<byte[]> damage)
    {
        byte[] blob = Seekable(Tar(4, 900_000), 520_000);
        damage(blob);
        (LayerIndex? index, _, _) = await ReadAsync(blob, "application/vnd.oci.image.layer.v1.tar+zstd");
        Assert.True(index is null, what);
        Assert.DoesNotContain('\n', Assert.Single(_loggers.Lines));
    }

    [Fact]
    public async Task UnsoundTar_IsNone_AndOneLineIsLogged()
    {
        byte[] cut = Tar(4, 900_000)[..2_000_000];
        Assert.Null((await ReadAsync(cut, OciLayoutBuilder.TarLayer)).Index);
        Assert.Contains("cut off", Assert.Single(_loggers.Lines), StringComparison.Ordinal);
    }

    [Fact]
    public async Task CompressedLayerThatIsCalledATar_IsNone()
    {
        var random = new byte[2_000_000];
        new Random(1).NextBytes(random);
        Assert.Null((await ReadAsync(Seekable(random, 1_000_000), OciLayoutBuilder.TarLayer)).Index);
        Assert.Contains("it is compressed", Assert.Single(_loggers.Lines), StringComparison.Ordinal);
    }

    /// <summary>Nobody vouches for what was hopped over, so it is nothing to publish.</summary>
    [Fact]
    public async Task LayerThatWasHoppedOver_IsStreamedWhenItsIndexIsToBeBuilt()
    {
        byte[] tar = Tar(30, 1_000_000);
        _layout.AddLayer(tar, OciLayoutBuilder.TarLayer, Digest.OfSha256(tar).ToString()).WriteImage("test");
        await using var source = new RemoteSource(_layout.Reference("test"));
        var cache = new BlobCache(_directory["cache"]);
        Image image = await Image.ResolveAsync(ImageReference.Parse(source.Reference), source, null, cache, Cancellation);
        var store = new IndexFinder(cache, _loggers);
        using var spans = new SpanCache(8 << 20);
        (Layer layer, LayerIndex hopped) = (await new LayerReaders(store, cache, _loggers).OpenAsync(image, spans, null, Cancellation))[0];
        layer.Dispose();
        Assert.Equal(IndexOrigin.TarHeaders, hopped.Origin);
        LayerIndex built = Assert.Single(await store.BuildAsync(image, null, Cancellation));
        Assert.Equal((IndexOrigin.Built, true), (built.Origin, built.Proof.By >= Voucher.Manifest));
        Assert.Equal(hopped.Entries, built.Entries);
        Assert.Equal(IndexOrigin.Built, store.TryFindStored(image.Layers[0], image)!.Value.Origin);
    }

    /// <summary>An element of an array stands for each span: so many would be gigabytes.</summary>
    [Fact]
    public async Task TarOfUnbelievableSize_IsNone_BeforeAnybodyIsAsked()
    {
        var source = new BytesSource([]);
        var blob = new Descriptor(OciLayoutBuilder.TarLayer, Digest.OfSha256([]), 1L << 48);
        Assert.Null(await new LayerToc(source, acceptsUnannounced: true, _loggers).TryGetAsync(blob, Cancellation));
        Assert.Contains("it claims to have 281474976710656 bytes", Assert.Single(_loggers.Lines), StringComparison.Ordinal);
    }

    // Contents do not compress.
    private static byte[] Tar(int files, int size)
    {
        var random = new Random(files);
        var tar = new TarBytes();
        for (int i = 0; i < files; i++)
        {
            var content = new byte[size];
            random.NextBytes(content);
            tar.Pax(("mtime", "1.5")).File($"dir{i % 7}/file{i}", content).Symlink($"dir{i % 7}/link{i}", "x");
        }
        return [.. tar.ToArray(), .. new byte[1024]];
    }

    private static byte[] Seekable(byte[] content, int frameSize)
    {
        using var compressor = new ZstdSharp.Compressor(1);
        var blob = new List<byte>();
        var table = new List<byte>();
        var number = new byte[4];
        int frames = 0;
        for (int at = 0; at < content.Length; at += frameSize, frames++)
        {
            int length = Math.Min(frameSize, content.Length - at);
            ReadOnlySpan<byte> frame = compressor.Wrap(content.AsSpan(at, length));
            blob.AddRange(frame);
            Number(table, (uint)frame.Length);
            Number(table, (uint)length);
        }
        Number(blob, 0x184D2A5E);
        Number(blob, (uint)table.Count + 9);
        blob.AddRange(table);
        Number(blob, (uint)frames);
        blob.Add(0);
        Number(blob, 0x8F92EAB1);
        return [.. blob];

        void Number(List<byte> to, uint value)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(number, value);
            to.AddRange(number);
        }
    }

    private async Task<(LayerIndex? Index, RemoteSource Source, Descriptor Blob)> ReadAsync(byte[] bytes, string mediaType)
    {
        string digest = Digest.OfSha256(bytes).ToString();
        _layout.AddLayer(bytes, mediaType, digest).WriteImage("test");
        var source = new RemoteSource(_layout.Reference("test"));
        var blob = new Descriptor(mediaType, TestDigest.Parse(digest), bytes.Length);
        return (await new LayerToc(source, acceptsUnannounced: true, _loggers).TryGetAsync(blob, Cancellation), source, blob);
    }

    private async Task AssertSameAsPassAsync(LayerIndex index, RemoteSource source, Descriptor blob)
    {
        await using Stream stream = await source.OpenBlobAsync(blob, 0, blob.Size, Cancellation);
        LayerIndex passed = await new LayerIndexer(_loggers).IndexAsync(blob, stream, null, Cancellation);
        Assert.Equal(passed.Entries, index.Entries);
        Assert.Equal(passed.UncompressedSize, index.UncompressedSize);
        Assert.Equal(Names(passed), Names(index));
        Assert.NotNull(LayerIndexFile.TryDecode(LayerIndexFile.Encode(index), index.Digest));

        static IEnumerable<string> Names(LayerIndex of) => Enumerable.Range(0, of.Paths.Count).Select(node => Convert.ToHexString(of.Paths.Name(node)));
    }
}
