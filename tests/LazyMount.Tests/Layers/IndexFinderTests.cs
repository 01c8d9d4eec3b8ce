using System.Collections.Concurrent;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Registry;
using LazyMount.Compression;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Store;
using LazyMount.Layers;
using LazyMount.TestKit;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Layers;

public sealed class IndexFinderTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly OciLayoutBuilder _layout;
    private readonly BlobCache _cache;
    private readonly SpanCache _spans = new(32 << 20);
    private readonly ConcurrentQueue<LayerProgress> _progress = new();

    public IndexFinderTests()
    {
        _layout = new OciLayoutBuilder(_directory.CreateDirectory("layout"));
        _cache = new BlobCache(_directory["cache"]);
    }

    public void Dispose()
    {
        _spans.Dispose();
        _directory.Dispose();
    }

    /// <summary>A tar whose content compresses to about half.</summary>
    internal static byte[] Tar(int seed, int files = 40, int size = 60_000)
    {
        var random = new Random(seed);
        var tar = new TarBytes();
        for (int i = 0; i < files; i++)
        {
            var content = new byte[random.Next(size)];
            for (int at = 0; at < content.Length; at++)
            {
                content[at] = (byte)"etaoin shrdlu cm"[random.Next(16)];
            }
            tar.File($"dir{i % 5}/file{i}", content);
        }
        return tar.ToArray();
    }

    private sealed class Collector(ConcurrentQueue<LayerProgress> progress) : IProgress<LayerProgress>
    {
        public void Report(LayerProgress value) => progress.Enqueue(value);
    }

    private Task<(Layer Layer, LayerIndex Index)[]> OpenAsync(RemoteSource source) => OpenUntilAsync(source, TestContext.Current.CancellationToken);

    private async Task<(Layer Layer, LayerIndex Index)[]> OpenUntilAsync(RemoteSource source, CancellationToken cancellationToken)
    {
        Image image = await Image.ResolveAsync(ImageReference.Parse(_layout.Reference("test")), source, null, _cache, TestContext.Current.CancellationToken);
        return await new LayerReaders(new IndexFinder(_cache, NullLoggerFactory.Instance), _cache, NullLoggerFactory.Instance).OpenAsync(image, _spans, new Collector(_progress), cancellationToken);
    }

    private RemoteSource Source(bool isLocal = false) => new(_layout.Reference("test")) { IsLocal = isLocal };

    private string[] CachedFiles(string kind)
        => [.. Directory.EnumerateFiles(_cache.GetDirectory(kind), "*", SearchOption.AllDirectories).Select(file => Path.GetFileName(file))];

    /// <summary>Bytes of chunks.</summary>
    private long KeptBytes()
        => Directory.EnumerateFiles(_cache.GetDirectory("chunks"), "*", SearchOption.AllDirectories).Sum(file => CacheSegment.PresentBytes(file));

    private void DropChunks() => Directory.Delete(_cache.GetDirectory("chunks"), recursive: true);

    // Synchronous, as a test's own files may be; in one place, for the analyzer wants async calls in async methods.
    private static byte[] ReadAll(string path) => File.ReadAllBytes(path);

    private static void WriteAll(string path, byte[] bytes) => File.WriteAllBytes(path, bytes);

    private static void Close((Layer Layer, LayerIndex Index)[] layers) => Array.ForEach(layers, each => each.Layer.Dispose());

    private static async Task<byte[]> ReadAllAsync((Layer Layer, LayerIndex Index) layer)
    {
        var tar = new byte[layer.Index.UncompressedSize];
        for (long at = 0; at < tar.Length;)
        {
            SpanLease span = await layer.Layer.GetSpanAsync(at, TestContext.Current.CancellationToken);
            Assert.Equal(at, span.UncompressedOffset);
            span.Bytes.CopyTo(tar.AsSpan((int)at));
            at += span.Length;
            span.Dispose();
        }
        return tar;
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Layers_AreIndexedOnceAndReadAtRandom(bool isLocal)
    {
        byte[] small = Tar(1, files: 3), large = Tar(2, files: 400);
        string[] digests = _layout.AddLayer(small).AddLayer(large).AddLayer(large, OciLayoutBuilder.TarLayer, "").AddLayer([], OciLayoutBuilder.TarLayer, "").AddLayer(small).WriteImage("test");
        await using RemoteSource source = Source(isLocal);
        var layers = await OpenAsync(source);

        Assert.Equal(digests, layers.Select(layer => layer.Index.Digest.ToString()));
        Assert.Same(layers[0].Index, layers[4].Index);
        Assert.Equal((CompressionFormat.Gzip, CompressionFormat.None), (layers[1].Index.Format, layers[2].Index.Format));
        Assert.True(layers[1].Index.Checkpoints.Count > 1);
        Assert.Equal([3, 400, 400, 0, 3], layers.Select(layer => layer.Index.Entries.Length));
        Assert.Equal(small, await ReadAllAsync(layers[0]));
        Assert.Equal(large, await ReadAllAsync(layers[1]));
        Assert.Equal(large, await ReadAllAsync(layers[2]));
        Assert.Equal(Enumerable.Range(0, 5), _progress.Where(progress => progress.Done).Select(progress => progress.Layer).Order());
        Assert.All(_progress, progress => Assert.InRange(progress.CompressedBytes, 0, progress.CompressedSize));

        Assert.Equal(4, CachedFiles("layers").Length);
        Assert.Equal(isLocal ? 0 : layers[0].Index.CompressedSize + layers[1].Index.CompressedSize + layers[2].Index.CompressedSize, KeptBytes());
        Close(layers);

        // Again: from the stored indexes, asking the source for nothing.
        int opened = source.Opened;
        var again = await OpenAsync(source);
        Assert.Equal(isLocal ? opened + 1 : opened, source.Opened); // a local config is not cached
        Assert.Equal(layers.Select(layer => layer.Index.Entries.Length), again.Select(layer => layer.Index.Entries.Length));
        Assert.Equal(large, await ReadAllAsync(again[1]));
        Close(again);
    }

    private async Task<(Image Image, IndexFinder Finder, LayerReaders Readers)> FinderAsync(RemoteSource source, IndexTrust trust = IndexTrust.Auto)
    {
        Image image = await Image.ResolveAsync(ImageReference.Parse(_layout.Reference("test")), source, null, _cache, TestContext.Current.CancellationToken);
        var finder = new IndexFinder(_cache, NullLoggerFactory.Instance) { Trust = trust };
        return (image, finder, new LayerReaders(finder, _cache, NullLoggerFactory.Instance));
    }

    /// <summary>Heads in the store are those of the indexes that are found, and the layers are read by them; one that is missing, and there are none.</summary>
    [Fact]
    public async Task StoredHeads_AreThoseOfTheIndexes()
    {
        byte[] small = Tar(31, files: 3), large = Tar(32, files: 300);
        _layout.AddLayer(small).AddLayer(large).AddLayer(small).WriteImage("test");
        await using RemoteSource source = Source();
        (Image image, IndexFinder finder, LayerReaders readers) = await FinderAsync(source);
        Assert.Null(finder.TryOpenStored(image));
        LayerIndex[] built = await finder.GetAsync(image, null, TestContext.Current.CancellationToken), loaded = await finder.GetAsync(image, null, TestContext.Current.CancellationToken);

        int opened = source.Opened;
        LayerHead[] heads = finder.TryOpenStored(image)!;
        Assert.Same(heads[0], heads[2]);
        Assert.All(heads, head => Assert.IsType<LayerHead>(head));
        Assert.All(heads.Zip(built, loaded), each =>
        {
            Assert.NotNull(each.First.ContentsDigest);
            Assert.Equal((each.First.Digest, each.First.ContentsDigest), (each.Second.Digest, each.Second.ContentsDigest));
            Assert.Equal((each.First.Digest, each.First.ContentsDigest), (each.Third.Digest, each.Third.ContentsDigest));
        });
        Array.ForEach(built, index => index.Close());
        Array.ForEach(loaded, index => index.Close());
        Layer[] layers = readers.Open(image, heads, _spans);
        Assert.Same(layers[0], layers[2]);
        Assert.Equal(large, await ReadAllAsync((layers[1], built[1])));
        Assert.Equal(opened, source.Opened);
        Array.ForEach(layers, layer => layer.Dispose());

        string file = Directory.EnumerateFiles(_cache.GetDirectory("layers"), image.Layers[1].Digest.Hex, SearchOption.AllDirectories).Single();
        byte[] damaged = ReadAll(file);
        damaged[40] ^= 1; // in the head
        WriteAll(file, damaged);
        Assert.Null(finder.TryOpenStored(image));
        Assert.False(File.Exists(file));
        Assert.Equal(built[1].ContentsDigest, (await finder.GetAsync(image, null, TestContext.Current.CancellationToken))[1].ContentsDigest);
        Array.ForEach(finder.TryOpenStored(image)!, head => head.Close());
    }

    /// <summary>What nobody has proved counts as long as it is believed, and no longer than the layer is not here whole.</summary>
    [Fact]
    public async Task StoredHeads_AreOnlyThoseThatAreBelieved()
    {
        byte[] tar = new TarBytes().File("large", Random(3 << 20, 1)).File("other", Random(2 << 20, 2)).ToArray();
        _layout.AddLayer(tar, OciLayoutBuilder.TarLayer, "").WriteImage("test");
        await using RemoteSource source = Source();
        (Image image, IndexFinder finder, LayerReaders readers) = await FinderAsync(source);
        LayerIndex believed = (await finder.GetAsync(image, null, TestContext.Current.CancellationToken))[0];
        Assert.Equal(Voucher.Source, believed.Proof.By);
        LayerHead head = Assert.Single(finder.TryOpenStored(image)!);
        Assert.Equal((Voucher.Source, believed.ContentsDigest), (head.Proof.By, head.ContentsDigest));
        head.Close();
        Assert.Null((await FinderAsync(source, IndexTrust.Bound)).Finder.TryOpenStored(image));
        Assert.Null((await FinderAsync(source, IndexTrust.Registry)).Finder.TryOpenStored(image)); // stored once more for any connection
        (await (await FinderAsync(source, IndexTrust.Registry)).Finder.GetAsync(image, null, TestContext.Current.CancellationToken))[0].Close();
        Assert.Single((await FinderAsync(source, IndexTrust.Registry)).Finder.TryOpenStored(image)!).Close();

        Layer layer = readers.Open(image, [believed], _spans)[0];
        await ReadAllAsync((layer, believed));
        Assert.Single(finder.TryOpenStored(image)!).Close(); // the bytes are here, but nobody has proved them
        Assert.Null(await readers.FindDifferenceAsync(image.Layers[0], image, believed, layer, TestContext.Current.CancellationToken));
        Assert.Equal(tar, await ReadAllAsync((layer, believed)));
        layer.Dispose();
        head = Assert.Single(finder.TryOpenStored(image)!);
        Assert.Equal(Voucher.Layer, head.Proof.By);
        head.Close();
        Directory.Delete(_cache.GetDirectory("layers"), recursive: true);
        Assert.Null(finder.TryOpenStored(image)); // a layer that is here whole is better indexed
    }

    /// <summary>An index that is damaged under a layer: what cannot be had fails, all else is right, and the next start makes the index again.</summary>
    [Fact]
    public async Task IndexThatIsDamagedWhileItIsUsed_FailsReads_AndIsMadeAgain()
    {
        byte[] tar = Tar(33, files: 300);
        _layout.AddLayer(tar).WriteImage("test");
        await using RemoteSource source = Source();
        Close(await OpenAsync(source));
        string file = Directory.EnumerateFiles(_cache.GetDirectory("layers"), "*", SearchOption.AllDirectories).Single();
        byte[] good = ReadAll(file);

        var layers = await OpenAsync(source);
        (await layers[0].Layer.GetSpanAsync(0, TestContext.Current.CancellationToken)).Dispose();
        WriteAll(file, new byte[good.Length]);
        Assert.True(layers[0].Layer.TryGetSpan(1, out SpanLease held)); // what is decoded needs no index
        held.Dispose();
        ImageException failure = await Assert.ThrowsAsync<ImageException>(async () => await ReadAllAsync(layers[0]));
        Assert.Equal(ImageError.Local, failure.Error);
        Assert.False(File.Exists(file));
        Close(layers);

        layers = await OpenAsync(source);
        Assert.Equal(tar, await ReadAllAsync(layers[0]));
        Assert.Equal(good, ReadAll(file));
        Close(layers);
    }

    [Fact]
    public async Task IndexCachedButBlobGone_ReadsByRange()
    {
        byte[] tar = Tar(3, files: 300);
        _layout.AddLayer(tar).WriteImage("test");
        await using RemoteSource source = Source();
        Close(await OpenAsync(source));
        DropChunks();

        var layers = await OpenAsync(source);
        Assert.Equal(tar, await ReadAllAsync(layers[0]));
        Close(layers);
    }

    [Fact]
    public async Task BlobCachedButIndexCorrupt_IsIndexedWithoutTheSource()
    {
        _layout.AddLayer(Tar(4)).WriteImage("test");
        await using RemoteSource source = Source();
        Close(await OpenAsync(source));
        int opened = source.Opened;
        string index = Directory.EnumerateFiles(_cache.GetDirectory("layers"), "*", SearchOption.AllDirectories).Single();
        byte[] good = ReadAll(index);
        WriteAll(index, [.. good[..100], .. new byte[good.Length - 100]]);

        var layers = await OpenAsync(source);
        Assert.Equal(40, layers[0].Index.Entries.Length);
        Assert.Equal(opened, source.Opened);
        Assert.Equal(good, ReadAll(index));
        Close(layers);
    }

    [Fact]
    public async Task MoreEntriesThanAnImageMayHave_AreRefused_HoweverFewEachLayerHas()
    {
        byte[] tar = Tar(9); // 40 entries
        _layout.AddLayer(tar).AddLayer(tar).AddLayer(tar).WriteImage("test");
        await using RemoteSource source = Source();
        Image image = await Image.ResolveAsync(ImageReference.Parse(_layout.Reference("test")), source, null, _cache, TestContext.Current.CancellationToken);
        var store = new IndexFinder(_cache, NullLoggerFactory.Instance) { MaxTableSize = 3 * 40 };
        var e = await Assert.ThrowsAsync<ImageException>(() => new LayerReaders(store, _cache, NullLoggerFactory.Instance).OpenAsync(image, _spans, null, TestContext.Current.CancellationToken));
        Assert.Equal(ImageError.Invalid, e.Error);
        Assert.Contains("more than 120 entries and paths together", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task MoreMemoryThanAnImageMayTake_IsRefused_HoweverLittleEachLayerTakes()
    {
        _layout.AddLayer(Tar(9)).AddLayer(Tar(10)).AddLayer(Tar(11)).WriteImage("test");
        await using RemoteSource source = Source();
        Image image = await Image.ResolveAsync(ImageReference.Parse(_layout.Reference("test")), source, null, _cache, TestContext.Current.CancellationToken);
        var store = new IndexFinder(_cache, NullLoggerFactory.Instance) { MaxMemory = 150 << 10 }; // taken by 64 KiB
        var e = await Assert.ThrowsAsync<ImageException>(() => new LayerReaders(store, _cache, NullLoggerFactory.Instance).OpenAsync(image, _spans, null, TestContext.Current.CancellationToken));
        Assert.Equal(ImageError.Invalid, e.Error);
        Assert.Contains("more than 153600 bytes of memory together", e.Message, StringComparison.Ordinal);
        Close(await new LayerReaders(new IndexFinder(_cache, NullLoggerFactory.Instance), _cache, NullLoggerFactory.Instance).OpenAsync(image, _spans, null, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task LayerThatStandsInTheImageTwice_IsOpenedOnce()
    {
        byte[] tar = Tar(9);
        _layout.AddLayer(tar).AddLayer(Tar(10)).AddLayer(tar).WriteImage("test");
        await using RemoteSource source = Source();
        var layers = await OpenAsync(source);
        Assert.Same(layers[0].Layer, layers[2].Layer);
        Assert.NotSame(layers[0].Layer, layers[1].Layer);
        Close(layers);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task CachedBlobDamaged_IsFetchedAgain(bool hashIsRight)
    {
        string[] digests = _layout.AddLayer(Tar(5, files: 1000)).WriteImage("test"); // more than one range
        await using RemoteSource source = Source();
        Close(await OpenAsync(source));
        string segment = Path.Combine(_cache.GetDirectory("chunks"), "sha256", digests[0]["sha256:".Length..], "0");
        byte[] good = ReadAll(segment);
        CacheSegment.Flip(segment, 3, 1000, hashIsRight); // with a right hash: as a source that was wrong would leave it
        Directory.Delete(_cache.GetDirectory("layers"), recursive: true);
        int opened = source.Opened;

        Close(await OpenAsync(source));
        Assert.Equal(good, ReadAll(segment));
        Assert.Equal(hashIsRight, source.Opened - opened > 1); // the chunk, or all
    }

    [Fact]
    public async Task InterruptedPass_GoesOnWithWhatItHasKept()
    {
        byte[] tar = Tar(16, files: 1000);
        _layout.AddLayer(tar).WriteImage("test");
        await using RemoteSource source = Source();
        using var cancellation = new CancellationTokenSource();
        source.BeforeOpen = async (_, offset, token) =>
        {
            if (offset == 4 << 20) // the second range of the pass
            {
                // What is read of its end is kept too, perhaps before the first chunk.
                while (KeptBytes() < 256 << 10 || !Directory.EnumerateFiles(_cache.GetDirectory("chunks"), "0", SearchOption.AllDirectories).Any(file => CacheSegment.Present(file).Contains(0)))
                {
                    await Task.Delay(10, token);
                }
                cancellation.Cancel();
                await Task.Delay(Timeout.Infinite, token);
            }
        };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => OpenUntilAsync(source, cancellation.Token));
        long kept = KeptBytes();
        Assert.True(kept >= 256 << 10);

        var opened = new ConcurrentQueue<long>();
        source.BeforeOpen = (_, offset, _) =>
        {
            opened.Enqueue(offset);
            return Task.CompletedTask;
        };
        var layers = await OpenAsync(source);
        Assert.Equal(tar, await ReadAllAsync(layers[0]));
        Assert.Contains(4 << 20, opened);
        Assert.DoesNotContain(0, opened);
        Close(layers);
    }

    [Fact]
    public async Task WithoutKeeping_TheIndexAloneStays()
    {
        byte[] tar = Tar(17, files: 100);
        _layout.AddLayer(tar).WriteImage("test");
        await using RemoteSource source = Source();
        Image image = await Image.ResolveAsync(ImageReference.Parse(_layout.Reference("test")), source, null, _cache, TestContext.Current.CancellationToken);
        var layers = await new LayerReaders(new IndexFinder(_cache, NullLoggerFactory.Instance) { KeepsBlobs = false }, _cache, NullLoggerFactory.Instance).OpenAsync(image, _spans, null, TestContext.Current.CancellationToken);
        Assert.Equal(0, KeptBytes());
        Assert.Single(CachedFiles("layers"));
        Assert.Equal(tar, await ReadAllAsync(layers[0]));
        Close(layers);
    }

    [Fact]
    public async Task LayerThatAnotherIndexes_IsWaitedFor()
    {
        byte[] tar = Tar(18, files: 100);
        string digest = _layout.AddLayer(tar).WriteImage("test")[0];
        await using RemoteSource source = Source();
        var isReading = new TaskCompletionSource();
        var goOn = new TaskCompletionSource();
        source.BeforeRead = async (blob, _, _) =>
        {
            if (blob.Digest.ToString() == digest)
            {
                isReading.TrySetResult();
                await goOn.Task;
            }
        };
        Task<(Layer Layer, LayerIndex Index)[]> first = OpenAsync(source);
        await isReading.Task;
        await using RemoteSource other = Source();
        Task<(Layer Layer, LayerIndex Index)[]> second = OpenAsync(other);
        await Task.Delay(200, TestContext.Current.CancellationToken);
        Assert.False(second.IsCompleted);
        goOn.SetResult();
        Close(await first);
        Close(await second);
        Assert.Equal(0, other.Opened); // the config is cached too
    }

    /// <summary>A registry may be slow without end, and shows life all the while.</summary>
    [Fact]
    public async Task LayerThatAnotherRegistryIsSlowToGive_IsNotWaitedFor()
    {
        byte[] tar = Tar(19, files: 100);
        string digest = _layout.AddLayer(tar).WriteImage("test")[0];
        await using RemoteSource slow = Source(), quick = Source();
        var isReading = new TaskCompletionSource();
        var goOn = new TaskCompletionSource();
        slow.BeforeRead = async (blob, _, _) =>
        {
            if (blob.Digest.ToString() == digest)
            {
                isReading.TrySetResult();
                await goOn.Task;
            }
        };
        Task<LayerIndex[]> first = IndexAsync("slow.example", slow);
        await isReading.Task;
        try
        {
            // The bound ends a test that hangs.
            Assert.Equal(digest, Assert.Single(await IndexAsync("quick.example", quick).WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken)).Digest.ToString());
        }
        finally
        {
            goOn.SetResult();
        }
        Assert.Equal(digest, Assert.Single(await first).Digest.ToString());

        async Task<LayerIndex[]> IndexAsync(string host, RemoteSource source)
        {
            Image image = await Image.ResolveAsync(ImageReference.Parse($"{host}/app:v1"), source, null, _cache, TestContext.Current.CancellationToken);
            return await new IndexFinder(_cache, NullLoggerFactory.Instance).GetAsync(image, null, TestContext.Current.CancellationToken);
        }
    }

    [Fact]
    public async Task LayerThatAStoppedProcessIndexes_IsIndexedAllTheSame()
    {
        byte[] tar = Tar(20, files: 20);
        string digest = _layout.AddLayer(tar).WriteImage("test")[0];
        await using RemoteSource source = Source();
        Image image = await Image.ResolveAsync(ImageReference.Parse(_layout.Reference("test")), source, null, _cache, TestContext.Current.CancellationToken);
        string turn = Path.Combine(_cache.GetDirectory("layers/sha256"), $"{Proof.ImageScope(image, isVerified: true).Key}-{digest["sha256:".Length..]}.lock");
        WriteAll(turn, []);
        using Tool stopped = FileLock.Hold(turn);
        var store = new IndexFinder(_cache, NullLoggerFactory.Instance) { TurnPatience = TimeSpan.FromMilliseconds(200) };
        var layers = await new LayerReaders(store, _cache, NullLoggerFactory.Instance).OpenAsync(image, _spans, null, TestContext.Current.CancellationToken);
        Assert.Equal(tar, await ReadAllAsync(layers[0]));
        Close(layers);
    }

    private async Task<ImageException> FailsAsync(RemoteSource source)
    {
        var e = await Assert.ThrowsAsync<ImageException>(() => OpenAsync(source));
        Assert.Empty(CachedFiles("layers"));
        string[] blobs = CachedFiles("blobs");
        Assert.Equal(2, blobs.Length); // manifest and config
        Assert.DoesNotContain(blobs, name => name.Contains('.', StringComparison.Ordinal));
        return e;
    }

    [Fact]
    public async Task WrongDigest_IsToldAsThatEvenWhenTheDecoderFailsToo()
    {
        string[] digests = _layout.AddLayer(Tar(6)).WriteImage("test");
        byte[] good = ReadAll(_layout.BlobFile(digests[0]));
        byte[] lateDamage = [.. good[..^5], (byte)(good[^5] ^ 1), .. good[^4..]], earlyDamage = [0xFF, .. good[1..]];
        foreach (byte[] damaged in (byte[][])[lateDamage, earlyDamage, new byte[good.Length]])
        {
            WriteAll(_layout.BlobFile(digests[0]), damaged);
            await using RemoteSource source = Source();
            ImageException e = await FailsAsync(source);
            Assert.Equal(ImageError.Verification, e.Error);
            Assert.Contains(digests[0], e.Message, StringComparison.Ordinal);
        }
    }

    public static TheoryData<string, ImageError, byte[]> BadBlobs()
    {
        byte[] tar = Tar(7), gzip = OciLayoutBuilder.Gzip(tar);
        return new()
        {
            { "not a tar archive", ImageError.Invalid, OciLayoutBuilder.Gzip(new byte[2000].Select((_, i) => (byte)(i | 1)).ToArray()) },
            { "not a tar archive", ImageError.Invalid, "<html>502 Bad Gateway</html>"u8.ToArray() },
            { "cannot read layer", ImageError.Invalid, gzip[..(gzip.Length / 2)] },
            { "cut off at offset", ImageError.Invalid, OciLayoutBuilder.Gzip(tar[..(tar.Length / 2)]) },
            { "zstd stream is cut off", ImageError.Invalid, [0x28, 0xB5, 0x2F, 0xFD, 0, 0x58, 1] },
            { "sparse", ImageError.Unsupported, TarBytes.Header("f", 'S', 0, 0) }, // not GNU's
        };
    }

    [Theory]
    [MemberData(nameof(BadBlobs))]
    public async Task BadBlobWithItsRightDigest_IsToldWithItsCause(string cause, ImageError error, byte[] blob)
    {
        string[] digests = _layout.AddLayer(blob, OciLayoutBuilder.GzipLayer, "").WriteImage("test");
        await using RemoteSource source = Source();
        ImageException e = await FailsAsync(source);
        Assert.Equal(error, e.Error);
        Assert.Contains($"cannot read layer {digests[0]} ", e.Message, StringComparison.Ordinal);
        Assert.Contains(cause, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task FirstFailure_StopsTheOthersAndIsTheOneThrown()
    {
        string[] digests = _layout.AddLayer(Tar(8)).AddLayer(Tar(9)).AddLayer(Tar(10)).WriteImage("test");
        await using RemoteSource source = Source();
        var firstIsReading = new TaskCompletionSource();
        source.BeforeRead = async (blob, read, token) =>
        {
            if (blob.Digest.ToString() == digests[0] && read > 0)
            {
                firstIsReading.TrySetResult();
                await Task.Delay(Timeout.Infinite, token);
            }
            if (blob.Digest.ToString() == digests[1])
            {
                await firstIsReading.Task;
                throw new ImageException(ImageError.Unreachable, "The line is dead.");
            }
        };
        Assert.Equal("The line is dead.", (await FailsAsync(source)).Message);
    }

    [Fact]
    public async Task Cancelled_LeavesNothingBehind()
    {
        _layout.AddLayer(Tar(11)).AddLayer(Tar(12)).WriteImage("test");
        await using RemoteSource source = Source();
        using var cancellation = new CancellationTokenSource();
        source.BeforeRead = async (_, read, token) =>
        {
            if (read > 20_000)
            {
                cancellation.Cancel();
                await Task.Delay(Timeout.Infinite, token);
            }
        };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => OpenUntilAsync(source, cancellation.Token));
        Assert.Empty(CachedFiles("layers"));
        Assert.Equal(2, CachedFiles("blobs").Length);
    }

    [Fact]
    public async Task IndexDirectoryNotWritable_IsNotFatal()
    {
        _layout.AddLayer(Tar(13)).WriteImage("test");
        WriteAll(Path.Combine(_cache.GetDirectory("layers"), "sha256"), "a file where a directory should be"u8.ToArray());
        await using RemoteSource source = Source();
        var layers = await OpenAsync(source);
        Assert.Equal(40, layers[0].Index.Entries.Length);
        Assert.Null(layers[0].Index.ContentsDigest);
        Close(layers);
    }

    [Theory]
    [InlineData("nothing", null)]
    [InlineData("mode", "entry 7 differs from the layer's")]
    [InlineData("missing", "39 entries, but the layer has 40")]
    [InlineData("place", "the bytes of ")]
    [InlineData("digest", "SHA-256")]
    public async Task IndexThatOthersMade_IsHeldAgainstTheLayer(string lie, string? difference)
    {
        _layout.AddLayer(Tar(19)).WriteImage("test");
        await using RemoteSource source = Source();
        Image image = await Image.ResolveAsync(ImageReference.Parse(_layout.Reference("test")), source, null, _cache, TestContext.Current.CancellationToken);
        var store = new IndexFinder(_cache, NullLoggerFactory.Instance);
        var layers = await new LayerReaders(store, _cache, NullLoggerFactory.Instance).OpenAsync(image, _spans, null, TestContext.Current.CancellationToken);
        LayerIndex built = layers[0].Index;
        LayerEntry[] entries = [.. built.Entries];
        int file = Array.FindIndex(entries, entry => entry.Size > 1000);
        byte[] digests = built.Proof.Chunks!.ToArray();
        switch (lie)
        {
            case "mode":
                entries[7] = entries[7] with { Mode = 0b111_111_111 };
                break;
            case "missing":
                entries = entries[..^1];
                break;
            case "place":
                entries[file] = entries[file] with { DataOffset = entries[file].DataOffset + 1 };
                break;
            case "digest":
                digests[3] ^= 1;
                break;
        }
        LayerIndex believed = built with { Origin = IndexOrigin.Published, Entries = entries, Proof = Proof.OfParser(new ChunkDigests(built.Proof.Chunks.ChunkSize, digests)).ByRepository(built.Digest, isFromVerified: true) };
        Directory.Delete(_cache.GetDirectory("layers"), recursive: true);

        string? found = await new LayerReaders(store, _cache, NullLoggerFactory.Instance).FindDifferenceAsync(image.Layers[0], image, believed, layers[0].Layer, TestContext.Current.CancellationToken);

        Close(layers);
        if (difference is null)
        {
            Assert.Null(found);
            Assert.Equal(IndexOrigin.Built, store.TryFindStored(image.Layers[0], image)?.Origin);
            return;
        }
        Assert.Contains(difference, found, StringComparison.Ordinal);
        Assert.Empty(CachedFiles("layers"));
    }

    /// <summary>A gateway's page in the place of the layer says nothing about the layer: the mount goes on.</summary>
    [Fact]
    public async Task OddAnswerOfARegistry_IsNoDifference()
    {
        _layout.AddLayer(Tar(19)).WriteImage("test");
        await using RemoteSource source = Source();
        Image image = await Image.ResolveAsync(ImageReference.Parse(_layout.Reference("test")), source, null, _cache, TestContext.Current.CancellationToken);
        var readers = new LayerReaders(new IndexFinder(_cache, NullLoggerFactory.Instance), _cache, NullLoggerFactory.Instance);
        var layers = await readers.OpenAsync(image, _spans, null, TestContext.Current.CancellationToken);
        LayerIndex built = layers[0].Index;
        LayerIndex believed = built with { Origin = IndexOrigin.Published, Proof = Proof.OfParser(built.Proof.Chunks!).ByRepository(built.Digest, isFromVerified: true) };
        Directory.Delete(_cache.Root, recursive: true);
        source.BeforeOpen = (_, _, _) => throw new RegistryException(ImageError.Invalid, "The answer has 20 bytes.");
        await Assert.ThrowsAsync<RegistryException>(()
            => readers.FindDifferenceAsync(image.Layers[0], image, believed, layers[0].Layer, TestContext.Current.CancellationToken));
        Close(layers);
    }

    /// <summary>Files that are called as those that tables of contents bring along, in a layer that has no table.</summary>
    [Fact]
    public async Task LayerThatWasHoppedOver_WithFilesOfATablesNames_IsTheSameAsStreamed()
    {
        var content = new byte[6_000_000];
        new Random(23).NextBytes(content);
        byte[] tar = new TarBytes().File(".no.prefetch.landmark", "\u000f").File("large", content).File("stargz.index.json", "{}").ToArray();
        _layout.AddLayer(tar, OciLayoutBuilder.TarLayer, OciLayoutBuilder.DigestOf(tar)).WriteImage("test");
        await using RemoteSource source = Source();
        Image image = await Image.ResolveAsync(ImageReference.Parse(_layout.Reference("test")), source, null, _cache, TestContext.Current.CancellationToken);
        var readers = new LayerReaders(new IndexFinder(_cache, NullLoggerFactory.Instance) { Trust = IndexTrust.Registry }, _cache, NullLoggerFactory.Instance);
        var layers = await readers.OpenAsync(image, _spans, null, TestContext.Current.CancellationToken);
        LayerIndex hopped = layers[0].Index;
        Close(layers);
        Assert.Equal((IndexOrigin.TarHeaders, 3), (hopped.Origin, hopped.Entries.Length));
        Assert.Null(await readers.FindDifferenceAsync(image.Layers[0], image, hopped, layers[0].Layer, TestContext.Current.CancellationToken));
    }

    /// <summary>Whoever reads a layer that was proved meanwhile needs its source no more, and reads what everybody reads.</summary>
    [Fact]
    public async Task VerifiedLayer_IsReadFromTheStoreOfEverybody()
    {
        byte[] tar = new TarBytes().File("large", Random(3 << 20, 1)).File("other", Random(2 << 20, 2)).ToArray();
        string digest = _layout.AddLayer(tar, OciLayoutBuilder.TarLayer, "").WriteImage("test")[0];
        await using RemoteSource source = Source();
        Image image = await Image.ResolveAsync(ImageReference.Parse(_layout.Reference("test")), source, null, _cache, TestContext.Current.CancellationToken);
        var finder = new IndexFinder(_cache, NullLoggerFactory.Instance);
        var readers = new LayerReaders(finder, _cache, NullLoggerFactory.Instance);
        (Layer layer, LayerIndex index) = (await readers.OpenAsync(image, _spans, null, TestContext.Current.CancellationToken))[0];
        Assert.Equal((IndexOrigin.TarHeaders, Voucher.Source), (index.Origin, index.Proof.By));
        (await layer.GetSpanAsync(0, TestContext.Current.CancellationToken)).Dispose();
        string everybodys = Path.Combine(_cache.Root, "v1", "chunks", "sha256", digest["sha256:".Length..]);
        Assert.True(KeptBytes() > 0 && !Directory.Exists(everybodys), "what nobody has proved is not for everybody");

        Assert.Null(await readers.FindDifferenceAsync(image.Layers[0], image, index, layer, TestContext.Current.CancellationToken));
        Assert.Equal(tar.Length, Directory.EnumerateFiles(everybodys).Sum(file => CacheSegment.PresentBytes(file)));
        Assert.Equal(tar.Length, KeptBytes());
        Assert.Equal(Voucher.Layer, finder.TryFindStored(image.Layers[0], image)?.By);
        source.BeforeOpen = (_, _, _) => throw new ImageException(ImageError.Unreachable, "gone");
        Assert.Equal(tar, await ReadAllAsync((layer, index)));
        layer.Dispose();
    }

    /// <summary>A source that gives wrong bytes fails its own image, and takes nothing from those who have the right ones.</summary>
    [Fact]
    public async Task SourceThatLies_LeavesTheBytesOfOthers()
    {
        string digest = _layout.AddLayer(Tar(23, files: 1000)).WriteImage("test")[0];
        await using RemoteSource source = Source();
        Close(await OpenAsync(source));
        string everybodys = Path.Combine(_cache.GetDirectory("chunks"), "sha256", digest["sha256:".Length..]);
        Directory.Delete(_cache.GetDirectory("layers"), recursive: true);
        File.Delete(Path.Combine(everybodys, "0"));
        long others = KeptBytes();
        Assert.True(others > 0);
        source.Damage = bytes => bytes[^1] ^= 1;

        var e = await Assert.ThrowsAsync<ImageException>(() => OpenAsync(source));
        Assert.Equal((ImageError.Verification, others), (e.Error, KeptBytes()));
        Assert.Empty(CachedFiles("layers"));
    }

    private static byte[] Random(int length, int seed)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}
