using System.Buffers.Binary;
using System.IO.Hashing;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Store;
using LazyMount.Layers;
using LazyMount.TestKit;
using LazyMount.Tests.Compression;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Layers;

/// <summary>Layers that the real tools compressed with zstd, bzip2 and xz, through the store and read at random.</summary>
public sealed class TranscodedLayerTests : IDisposable
{
    private static readonly byte[] s_tar = IndexFinderTests.Tar(21, files: 60, size: 700_000);

    private readonly TemporaryDirectory _directory = new();
    private readonly OciLayoutBuilder _layout;
    private readonly SpanCache _spans = new(8 << 20);

    public TranscodedLayerTests() => _layout = new OciLayoutBuilder(_directory.CreateDirectory("layout"));

    private string CacheRoot => _directory["cache"];

    public void Dispose()
    {
        _spans.Dispose();
        _directory.Dispose();
    }

    [Theory]
    [InlineData(CompressionFormat.Zstd, true, "zstd -3 -c < $1")]
    [InlineData(CompressionFormat.Zstd, false, "split -b 3000000 --filter 'zstd -1 -c' $1")]
    [InlineData(CompressionFormat.Zstd, false, "split -b 300000 --filter 'zstd -1 -c' $1")]
    [InlineData(CompressionFormat.Zstd, true, "head -c 100000 $1 | zstd -c; tail -c +100001 $1 | zstd -c")]
    [InlineData(CompressionFormat.Bzip2, true, "lbzip2 -n2 -1 -c $1")]
    [InlineData(CompressionFormat.Xz, true, "xz -0 -c $1")]
    public async Task AnyLayer_IsReadAtRandom_AndAgainFromItsStoredIndex(CompressionFormat format, bool transcoded, string line)
    {
        Add(line, s_tar);
        for (int i = 0; i < 2; i++)
        {
            await using var source = new RemoteSource(_layout.Reference("test"));
            (Layer layer, LayerIndex index) = await OpenAsync(source);
            using (layer)
            {
                Assert.Equal((format, transcoded), (index.Format, index.Transcoding is not null));
                Assert.Equal(60, index.Entries.Count(entry => entry.Size > 0));
                await AssertReadsAsync(layer, i);
                // One or the other, not both.
                Assert.Equal(transcoded, Directory.GetFiles(Path.Combine(CacheRoot, "v1", "blobs", "sha256")).Any(file => new FileInfo(file).Length > 10_000));
                Assert.Equal(!transcoded, Directory.Exists(Path.Combine(CacheRoot, "v1", "chunks", "sha256", index.Digest.Hex)));
            }
        }
    }

    [Theory]
    [InlineData(CompressionFormat.Zstd, "zstd -c < $1")]
    [InlineData(CompressionFormat.Bzip2, "bzip2 -c $1")]
    [InlineData(CompressionFormat.Xz, "xz -c $1")]
    public async Task LayerOfOneSpan_IsReadAsItIs(CompressionFormat format, string line)
    {
        byte[] tar = IndexFinderTests.Tar(3);
        Add(line, tar);
        await using var source = new RemoteSource(_layout.Reference("test"));
        (Layer layer, LayerIndex index) = await OpenAsync(source);
        using (layer)
        {
            Assert.Equal((format, null, 1), (index.Format, index.Transcoding, index.Checkpoints.Count));
            await AssertReadsAsync(layer, 1, tar);
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task LostOrDamagedTranscoding_IsMadeAgain_AndNeverShown(bool damaged)
    {
        Add("zstd -3 -c < $1", s_tar);
        await using var source = new RemoteSource(_layout.Reference("test"));
        (Layer layer, LayerIndex index) = await OpenAsync(source);
        using (layer)
        {
            string file = Path.Combine(CacheRoot, "v1", "blobs", "sha256", index.Transcoding!.Digest.Hex);
            if (damaged)
            {
                // By another program: .NET's locks would keep us from the file that is being served.
                Tool.Shell("head -c 300000 /dev/zero | dd of=$1 bs=100000 seek=20 conv=notrunc", file).EnsureSuccess();
            }
            else
            {
                Directory.Delete(CacheRoot, recursive: true);
            }
            await AssertReadsAsync(layer, 1);
            Assert.Equal(damaged, File.Exists(file));
        }

        (Layer again, _) = await OpenAsync(source);
        using (again)
        {
            await AssertReadsAsync(again, 2);
        }
    }

    [Fact]
    public async Task TranscodingIsClosed_WithTheLayerThatReadsIt()
    {
        Add("zstd -3 -c < $1", s_tar);
        await using var source = new RemoteSource(_layout.Reference("test"));
        (Layer layer, LayerIndex index) = await OpenAsync(source);
        await AssertReadsAsync(layer, 1);
        string[] Open() => [.. new DirectoryInfo("/proc/self/fd").EnumerateFileSystemInfos().Select(file => file.LinkTarget ?? "").Where(target => target.Contains(index.Transcoding!.Digest.Hex, StringComparison.Ordinal))];
        Assert.Single(Open());
        layer.Dispose();
        Assert.Empty(Open());
    }

    [Fact]
    public async Task OneFrameLongerThanASpanMayBe_IsTranscoded()
    {
        byte[] blob = Compress("truncate -s 1100M $1.zeros; tar -C / -cf - ${1#/}.zeros 2>/dev/null | zstd -q -T1 -c; rm $1.zeros", []);
        _layout.AddLayer(blob, "application/vnd.oci.image.layer.v1.tar+zstd", "").WriteImage("test");
        await using var source = new RemoteSource(_layout.Reference("test"));
        (Layer layer, LayerIndex index) = await OpenAsync(source);
        using (layer)
        {
            Assert.Equal(1100L << 20, Assert.Single(index.Entries).Size);
            Assert.NotNull(index.Transcoding);
            (await layer.GetSpanAsync(1L << 30, TestContext.Current.CancellationToken)).Dispose();
        }
    }

    /// <summary>A gzip layer that is one deflate block cannot be read from the middle: it is transcoded by a second pass.</summary>
    [Fact]
    public async Task GzipBlockLongerThanASpanMayBe_IsTranscoded()
    {
        const int Size = 70 << 20;
        byte[] blob = OneBlock(Size);
        _layout.AddLayer(blob, OciLayoutBuilder.GzipLayer, "").WriteImage("test");
        await using var source = new RemoteSource(_layout.Reference("test"));
        for (int i = 0; i < 2; i++)
        {
            (Layer layer, LayerIndex index) = await OpenAsync(source);
            using (layer)
            {
                Assert.Equal(CompressionFormat.Gzip, index.Format);
                Assert.NotNull(index.Transcoding);
                using SpanLease span = await layer.GetSpanAsync(60 << 20, TestContext.Current.CancellationToken);
                Assert.InRange(span.Length, 1, 1 << 20);
                Assert.Equal(-1, span.Bytes.IndexOfAnyExcept((byte)0));
            }
        }
    }

    /// <summary>Bytes behind the last member are of no use, but belong to the last span.</summary>
    [Fact]
    public async Task GzipWithMuchBehindItsEnd_IsTranscoded()
    {
        byte[] tar = IndexFinderTests.Tar(3);
        byte[] gzip = Compress("gzip -c $1", tar);
        byte[] blob = [.. gzip, .. new byte[65 << 20]];
        _layout.AddLayer(blob, OciLayoutBuilder.GzipLayer, "").WriteImage("test");
        await using var source = new RemoteSource(_layout.Reference("test"));
        (Layer layer, LayerIndex index) = await OpenAsync(source);
        using (layer)
        {
            Assert.NotNull(index.Transcoding);
            await AssertReadsAsync(layer, 1, tar);
        }
    }

    /// <summary>The disk that a layer may have transcoded is bounded by its blob's size.</summary>
    [Fact]
    public void TranscodingMuchLargerThanItsBlob_IsGivenUp()
    {
        var cache = new BlobCache(CacheRoot);
        var random = new byte[1 << 20];
        new Random(1).NextBytes(random);
        using var transcoder = new Transcoder(() => cache.StageDerived(Digest.OfSha256([1])), blobSize: 1000, new IndexBudget(IndexLimits.Default));
        for (int i = 0; i < 400 && !transcoder.IsTooLarge; i++)
        {
            transcoder.Append(random);
            long onDisk = Directory.GetFiles(CacheRoot, "*", SearchOption.AllDirectories).Sum(file => new FileInfo(file).Length);
            Assert.InRange(onDisk, 0, Transcoder.FreeBytes + 1000 * Transcoder.MaxGrowth);
        }
        Assert.True(transcoder.IsTooLarge);
        transcoder.Complete();
        Assert.Null(transcoder.Blob);
        Assert.Empty(Directory.GetFiles(CacheRoot, "*.staging", SearchOption.AllDirectories));
    }

    /// <summary>Most layers in many frames do not need it: a full disk must not keep them from being read.</summary>
    [Fact]
    public void TranscodingThatCannotBeKept_FailsWhenItIsNeeded()
    {
        var full = new ImageException(ImageError.Local, "the disk is full");
        using var transcoder = new Transcoder(() => throw full, blobSize: 1000, new IndexBudget(IndexLimits.Default));
        for (int i = 0; i < 10; i++)
        {
            transcoder.Append(new byte[1 << 20]);
        }
        transcoder.Complete();
        Assert.Same(full, Assert.Throws<ImageException>(transcoder.Commit));
    }

    // A tar of one file of zeros in one block of fixed codes.
    private static byte[] OneBlock(int size)
    {
        var bits = new BitWriter();
        bits.Bits(1, 1).Bits(1, 2);
        byte[] header = TarBytes.Header("zeros", '0', size, 0x1A4);
        foreach (byte b in header)
        {
            bits.FixedLiteral(b);
        }
        int left = size + 1024;
        bits.FixedLiteral(0);
        for (left--; left >= 258; left -= 258)
        {
            bits.FixedLiteral(285).FixedDistance(0);
        }
        for (; left > 0; left--)
        {
            bits.FixedLiteral(0);
        }
        bits.FixedLiteral(256);
        var tar = new byte[size + 1024 + header.Length];
        header.CopyTo(tar, 0);
        var trailer = new byte[8];
        BinaryPrimitives.WriteUInt32LittleEndian(trailer, Crc32.HashToUInt32(tar));
        BinaryPrimitives.WriteInt32LittleEndian(trailer.AsSpan(4), tar.Length);
        return [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF, .. bits.ToArray(), .. trailer];
    }

    [Fact]
    public async Task EncryptedLayer_IsRefusedByItsMediaType()
    {
        const string Encrypted = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
        var noise = new byte[5000];
        new Random(1).NextBytes(noise);
        _layout.AddLayer(noise, Encrypted, "").WriteImage("test");
        await using var source = new RemoteSource(_layout.Reference("test"));

        ImageException e = await Assert.ThrowsAsync<ImageException>(() => OpenAsync(source));
        Assert.Equal(ImageError.Unsupported, e.Error);
        Assert.Contains(Encrypted, e.Message, StringComparison.Ordinal);
        Assert.Contains("decrypt", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1 << 20, true)]
    [InlineData(64 << 20, false)]
    public void ABlobBeyondTheRatio_IsRefusedOnceItIsLong(int freeBytes, bool refused)
    {
        byte[] compressed = Compress("(head -c 1536 $1; head -c 16M /dev/zero) | zstd -c", IndexFinderTests.Tar(3));
        using var decoding = new LayerDecoding(1 << 20, new IndexBudget(IndexLimits.Default)) { FreeBytes = freeBytes };
        decoding.Push(compressed);

        if (refused)
            Assert.Contains("1100 times", Assert.Throws<InvalidDataException>(decoding.ThrowIfFailed).Message, StringComparison.Ordinal);
        else
            Assert.DoesNotContain("times", Record.Exception(decoding.ThrowIfFailed)?.Message ?? "", StringComparison.Ordinal);
    }

    private void Add(string line, byte[] tar) => _layout.AddLayer(Compress(line, tar), OciLayoutBuilder.GzipLayer, "").WriteImage("test");

    private byte[] Compress(string line, byte[] tar)
    {
        File.WriteAllBytes(_directory["tar"], tar);
        return Tool.Shell(line, _directory["tar"]).EnsureSuccess().OutputBytes;
    }

    private async Task<(Layer Layer, LayerIndex Index)> OpenAsync(RemoteSource source)
    {
        var cache = new BlobCache(CacheRoot);
        Image image = await Image.ResolveAsync(ImageReference.Parse(_layout.Reference("test")), source, null, cache, TestContext.Current.CancellationToken);
        return Assert.Single(await new LayerReaders(new IndexFinder(cache, NullLoggerFactory.Instance), cache, NullLoggerFactory.Instance).OpenAsync(image, _spans, null, TestContext.Current.CancellationToken));
    }

    private static async Task AssertReadsAsync(Layer layer, int seed, byte[]? tar = null)
    {
        tar ??= s_tar;
        var random = new Random(seed);
        for (int i = 0; i < 60; i++)
        {
            int offset = random.Next(tar.Length);
            SpanLease span = await layer.GetSpanAsync(offset, TestContext.Current.CancellationToken);
            int length = (int)Math.Min(span.Bytes.Length, tar.Length - span.UncompressedOffset);
            Assert.True(tar.AsSpan((int)span.UncompressedOffset, length).SequenceEqual(span.Bytes[..length]));
            span.Dispose();
        }
    }
}
