using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.TestKit;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Blobs;

public sealed class CacheTrimmerTests : IDisposable
{
    private const int ChunkSize = CacheSegment.ChunkSize, Segment = CacheSegment.Chunks;

    // What a segment with one chunk takes.
    private const int Single = CacheSegment.DataStart + ChunkSize;

    private readonly TempDirectory _directory = new();
    private readonly byte[] _content = TestImage.RandomBytes(12 * ChunkSize * Segment + 100, 5);
    private readonly Descriptor _blob;

    public CacheTrimmerTests() => _blob = TestImage.DescriptorOf(_content);

    public void Dispose() => _directory.Dispose();

    private BlobCache Open(long limit) => new(Path.Combine(_directory.Path, "cache"), limit);

    private ReadOnlySpan<byte> Chunk(int chunk) => _content.AsSpan(chunk * ChunkSize, Math.Min(ChunkSize, _content.Length - chunk * ChunkSize));

    private string PathOf(BlobCache cache, int segment) => Path.Combine(cache.Root, "v1", "chunks", "sha256", _blob.Digest.Hex, $"{segment * Segment * ChunkSize}");

    private static bool Contains(ChunkStore store, int chunk) => store.Find(present: true, chunk, chunk + 1) == chunk;

    private static void Age(BlobCache cache, TimeSpan age)
    {
        foreach (string file in Directory.EnumerateFiles(cache.Root, "*", SearchOption.AllDirectories))
            File.SetLastWriteTimeUtc(file, DateTime.UtcNow - age);
    }

    [Fact]
    public void Find_TellsWhatIsThereOverTheEndsOfSegments()
    {
        using var store = new ChunkStore(Open(BlobCache.DefaultLimit), _blob, ChunkSize, NullLogger.Instance);
        Assert.Equal(store.Grid.Count, store.Find(present: true, 0, store.Grid.Count));
        Assert.Equal(5, store.Find(present: false, 5, store.Grid.Count));
        foreach (int chunk in (int[])[0, 62, 63, 64, 65, 200, store.Grid.Count - 1])
            store.Keep(chunk, Chunk(chunk));
        Assert.Equal(
            [0, 62, 62, 200, store.Grid.Count - 1, 150],
            new (int First, int End)[] { (0, 100), (1, 100), (62, 63), (66, 768), (201, store.Grid.Count), (66, 150) }.Select(range => store.Find(present: true, range.First, range.End)));
        Assert.Equal(
            [1, 66, 66, 64, store.Grid.Count],
            new (int First, int End)[] { (0, 100), (62, 100), (66, 67), (62, 64), (store.Grid.Count - 1, store.Grid.Count) }.Select(range => store.Find(present: false, range.First, range.End)));

        var bytes = new byte[100 * ChunkSize];
        Assert.Equal(4, store.Read(62, bytes));
        Assert.Equal(_content.AsSpan(62 * ChunkSize, 4 * ChunkSize), bytes.AsSpan(0, 4 * ChunkSize));
        Assert.Equal(2, store.Read(63, bytes.AsSpan(0, 2 * ChunkSize)));
        Assert.Equal(1, store.Read(store.Grid.Count - 1, bytes.AsSpan(0, 100)));
        Assert.Equal(_content.AsSpan(_content.Length - 100), bytes.AsSpan(0, 100));
        Assert.Equal(0, store.Read(1, bytes));
    }

    [Fact]
    public async Task ManyThreadsAndStores_WriteReadAndDropTheSameSegments()
    {
        BlobCache cache = Open(BlobCache.DefaultLimit);
        await Parallel.ForEachAsync(Enumerable.Range(0, 8), TestContext.Current.CancellationToken, (seed, _) =>
        {
            using var store = new ChunkStore(cache, _blob, ChunkSize, NullLogger.Instance);
            var random = new Random(seed);
            var bytes = new byte[8 * ChunkSize];
            for (int i = 0; i < 400; i++)
            {
                int chunk = random.Next(2 * Segment);
                switch (random.Next(20))
                {
                    case 0:
                        File.Delete(PathOf(cache, chunk / Segment)); // evicted
                        break;
                    case < 8:
                        store.Keep(chunk, Chunk(chunk));
                        break;
                    default:
                        int read = store.Read(chunk, bytes);
                        Assert.True(_content.AsSpan(chunk * ChunkSize, read * ChunkSize).SequenceEqual(bytes.AsSpan(0, read * ChunkSize)));
                        break;
                }
            }
            return ValueTask.CompletedTask;
        });
    }

    [Fact]
    public async Task WhatIsWritten_StaysWithinTheLimit_AndTheLastUsedStays()
    {
        BlobCache cache = Open(limit: 16 << 20);
        using var store = new ChunkStore(cache, _blob, ChunkSize, NullLogger.Instance);
        for (int chunk = 0; chunk < 3 * Segment; chunk++)
            store.Keep(chunk, Chunk(chunk));
        Age(cache, TimeSpan.FromHours(1));
        Assert.Equal(1, store.Read(Segment, new byte[ChunkSize])); // used again
        for (int chunk = 3 * Segment; chunk < 12 * Segment; chunk++)
        {
            store.Keep(chunk, Chunk(chunk));
            if (chunk % 8 == 0)
                await Task.Delay(5, TestContext.Current.CancellationToken);
        }

        // The trimming goes on in the background.
        for (int i = 0; cache.Measure().Bytes > 17 << 20 && i < 500; i++)
            await Task.Delay(10, TestContext.Current.CancellationToken);
        Assert.InRange(cache.Measure().Bytes, 4 << 20, 17 << 20);
        Assert.True(Contains(store, 12 * Segment - 1));
        Assert.False(Contains(store, 0));
    }

    [Fact]
    public void Prune_DeletesWhatWasNotUsedForLongest()
    {
        BlobCache cache = Open(BlobCache.DefaultLimit);
        using var store = new ChunkStore(cache, _blob, ChunkSize, NullLogger.Instance);
        for (int segment = 0; segment < 8; segment++)
            store.Keep(segment * Segment + 60, Chunk(segment * Segment + 60));
        Age(cache, TimeSpan.FromHours(2));
        for (int segment = 8; segment < 12; segment++)
            store.Keep(segment * Segment, Chunk(segment * Segment));
        Assert.Equal(1, store.Read(5 * Segment + 60, new byte[ChunkSize]));
        Assert.Equal((12, 12 * (long)Single), cache.Measure().Kinds["chunks"]); // holes take nothing

        Assert.Equal(7, cache.Prune(0, DateTime.UtcNow.AddHours(-1)).Files);
        Assert.Equal([5, 8, 9, 10, 11], Enumerable.Range(0, 12).Where(segment => File.Exists(PathOf(cache, segment))));
        Assert.Equal((0, 0), cache.Prune(5 * Single, DateTime.MaxValue));
        Assert.Equal((3, 3 * (long)Single), cache.Prune(2 * Single, DateTime.MaxValue));
        Assert.Equal(2, cache.Prune(0, DateTime.MaxValue).Files);
        Assert.Equal(0, cache.Measure().Bytes);
        store.Keep(1, Chunk(1)); // the directory is made again
        Assert.True(Contains(store, 1));
    }

    [Fact]
    public void Verify_FindsWhatTheDiskHasChanged_AndDropsIt()
    {
        BlobCache cache = Open(BlobCache.DefaultLimit);
        byte[] manifest = TestImage.RandomBytes(2000, 6), config = TestImage.RandomBytes(3000, 7);
        cache.Keep(TestImage.DescriptorOf(manifest), manifest);
        cache.Keep(TestImage.DescriptorOf(config), config);
        using var store = new ChunkStore(cache, _blob, ChunkSize, NullLogger.Instance);
        int last = store.Grid.Count - 1;
        foreach (int chunk in (int[])[0, 1, 2, 3, Segment, last])
            store.Keep(chunk, Chunk(chunk == 3 ? 2 : chunk)); // one is whole, but not what the index says
        CacheReport sound = cache.Verify((_, _) => null, TestContext.Current.CancellationToken);
        Assert.Empty(sound.Damaged);
        Assert.Equal((5, 5 * ChunkSize + 100 + 5000), (sound.Files, sound.Bytes));
        Assert.Equal(3, sound.Unverifiable); // segments

        CacheSegment.Flip(PathOf(cache, 0), 1, -1, rehash: false);
        string manifestPath = Path.Combine(cache.Root, "v1", "blobs", "sha256", TestImage.DescriptorOf(manifest).Digest.Hex);
        byte[] bytes = File.ReadAllBytes(manifestPath);
        bytes[^1] ^= 4;
        File.WriteAllBytes(manifestPath, bytes);
        ChunkDigests chunks = TestImage.ChunksOf(_content, ChunkSize);
        CacheReport report = cache.Verify((digest, key) => key is null && digest == _blob.Digest ? chunks : null, TestContext.Current.CancellationToken);
        Assert.Equal([manifestPath, PathOf(cache, 0)], report.Damaged);
        Assert.Equal(0, report.Unverifiable);
        Assert.Equal([0, 2, Segment, last], Enumerable.Range(0, store.Grid.Count).Where(chunk => Contains(store, chunk)));
        Assert.Equal(config, cache.TryRead(TestImage.DescriptorOf(config).Digest, 5000));

        CacheSegment.Flip(PathOf(cache, 12), 0, 50, rehash: false); // the last chunk is short
        Assert.Equal([PathOf(cache, 12)], cache.Verify((_, _) => null, TestContext.Current.CancellationToken).Damaged);
    }

    // What the cache may hold at any moment: see CacheTrimmer.
    private static long BoundOf(long limit, int processes) => limit + Math.Max(limit / 16, 2 << 20) + processes * ((1L << 20) + ChunkSize);

    [Theory]
    [InlineData(6)]
    [InlineData(24)]
    public async Task ManyProcessesThatWrite_NeverPassTheLimitByMoreThanTheBound(int mebibytes)
    {
        const int Processes = 3;
        long limit = (long)mebibytes << 20, most = 0;
        using var done = new CancellationTokenSource();
        Task sampling = Task.Run(() =>
        {
            for (BlobCache watched = Open(limit); !done.IsCancellationRequested;)
                most = Math.Max(most, watched.Measure().Bytes);
        }, TestContext.Current.CancellationToken);
        // Each has a cache object of its own, which is all that makes a process to the others.
        await Task.WhenAll(Enumerable.Range(0, Processes).Select(process => Task.Run(() =>
        {
            BlobCache cache = Open(limit);
            byte[] content = TestImage.RandomBytes(ChunkSize, process);
            var blob = new Descriptor("", Digest.OfSha256(content), 12L * Segment * ChunkSize);
            using var store = new ChunkStore(cache, blob, ChunkSize, NullLogger.Instance);
            for (int chunk = 0; chunk < 8 * Segment; chunk++)
            {
                if (chunk % Segment == 0 && process == 0)
                    StageUntilRefused(cache, content, limit);
                store.Keep(chunk, content);
            }
        }, TestContext.Current.CancellationToken)));
        await done.CancelAsync();
        await sampling;
        Assert.InRange(most, limit / 2, BoundOf(limit, Processes));
        Assert.DoesNotContain(Directory.EnumerateFiles(Open(limit).Root, "*", SearchOption.AllDirectories), path => path.EndsWith(".staging", StringComparison.Ordinal));
    }

    private static void StageUntilRefused(BlobCache cache, byte[] piece, long limit)
    {
        using BlobStaging staging = cache.StageDerived(Digest.OfSha256(piece));
        var e = Assert.Throws<ImageException>(() =>
        {
            for (long length = 0; length <= 2 * limit; length += piece.Length)
                staging.Append(piece);
        });
        Assert.Equal(ImageError.Local, e.Error);
        Assert.Contains($"would exceed its limit of {limit} bytes; raise --cache-limit", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void StagedFilesOfTwoProcesses_CountTogether_AndOneOfThemIsRefused()
    {
        const long Limit = 16 << 20;
        byte[] piece = TestImage.RandomBytes(ChunkSize, 1);
        BlobCache one = Open(Limit), two = Open(Limit);
        using BlobStaging first = one.StageDerived(Digest.OfSha256(piece));
        for (int i = 0; i < 10 << 20; i += piece.Length)
            first.Append(piece);
        using (BlobStaging second = two.StageDerived(Digest.OfSha256(piece)))
        {
            Assert.Throws<ImageException>(() =>
            {
                for (int i = 0; i < 10 << 20; i += piece.Length)
                    second.Append(piece);
            });
        }
        first.Append(piece);
        first.Commit(_blob);
        Assert.True(one.Measure().Bytes > 10 << 20);
    }

    [Fact]
    public void Trimming_LeavesWhatIsBeingStaged_AndDeletesWhatKilledProcessesLeft()
    {
        BlobCache cache = Open(BlobCache.DefaultLimit);
        using BlobStaging staging = cache.StageDerived(_blob.Digest);
        staging.Append(Chunk(0));
        string left = Path.Combine(cache.GetDirectory("layers"), ".lazymount-0.staging");
        File.WriteAllText(left, "");
        Age(cache, TimeSpan.FromHours(1));
        cache.Prune(0, DateTime.MaxValue);
        Assert.False(File.Exists(left));
        staging.Append(Chunk(1));
        staging.Commit(_blob);
        Assert.NotEqual(0, cache.Measure().Kinds["blobs"].Bytes);
    }

    [Fact]
    public void WhatIsDearToGetAgain_GoesAfterChunks_UnlessItWasNotUsedForLong()
    {
        BlobCache cache = Open(BlobCache.DefaultLimit);
        using var store = new ChunkStore(cache, _blob, ChunkSize, NullLogger.Instance);
        for (int segment = 0; segment < 4; segment++)
            store.Keep(segment * Segment, Chunk(segment * Segment));
        string[] documents = [.. ((string[])["layers", "image-layers", "references", "archives", "blobs/sha256"]).Select(kind => Path.Combine(cache.GetDirectory(kind), "document"))];
        Array.ForEach(documents, path => File.WriteAllBytes(path, new byte[3000]));
        string transcoding = Path.Combine(cache.GetDirectory("blobs/sha256"), "transcoding"), stale = Path.Combine(cache.GetDirectory("layers"), "stale");
        File.WriteAllBytes(transcoding, new byte[5 << 20]);
        File.WriteAllBytes(stale, new byte[3000]);
        Array.ForEach([.. documents, transcoding], path => File.SetLastWriteTimeUtc(path, DateTime.UtcNow.AddDays(-7)));
        File.SetLastWriteTimeUtc(stale, DateTime.UtcNow.AddDays(-60));

        cache.Prune(documents.Length * 4096 + Single, DateTime.MaxValue);
        Assert.All(documents, path => Assert.True(File.Exists(path)));
        Assert.False(File.Exists(transcoding));
        Assert.False(File.Exists(stale));
        Assert.Equal((1, (long)Single), cache.Measure().Kinds["chunks"]);
        cache.Prune(4096, DateTime.MaxValue);
        Assert.Single(documents, File.Exists);
    }

    [Fact]
    public void WhatAnOfflineCommandRecalls_CountsAsUsed()
    {
        BlobCache cache = Open(BlobCache.DefaultLimit);
        ImageReference reference = ImageReference.Parse("localhost:5000/app:v1");
        cache.Remember(reference, _blob);
        Age(cache, TimeSpan.FromDays(2));
        Assert.Equal(_blob.Digest, cache.TryRecall(reference)?.Digest);
        Assert.Equal(0, cache.Prune(0, DateTime.UtcNow.AddDays(-1)).Files);
        Assert.NotNull(cache.TryRecall(reference));
    }
}
