using LazyMount.Blobs;
using LazyMount.Blobs.Oci;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Blobs;

public sealed class CacheTrimmerTests : IDisposable
{
    private const int ChunkSize = 256 << 10;

    private readonly TempDirectory _directory = new();
    private readonly byte[] _content = TestImage.RandomBytes(40 * ChunkSize, 5);
    private readonly Descriptor _blob;

    public CacheTrimmerTests() => _blob = TestImage.DescriptorOf(_content);

    public void Dispose() => _directory.Dispose();

    private BlobCache Open(long limit) => new(Path.Combine(_directory.Path, "cache"), limit);

    private ReadOnlySpan<byte> Chunk(int chunk) => _content.AsSpan(chunk * ChunkSize, ChunkSize);

    private static void Age(BlobCache cache, TimeSpan age)
    {
        foreach (string file in Directory.EnumerateFiles(cache.Root, "*", SearchOption.AllDirectories))
            File.SetLastWriteTimeUtc(file, DateTime.UtcNow - age);
    }

    [Fact]
    public async Task WhatIsWritten_StaysWithinTheLimit_AndTheLastUsedStays()
    {
        BlobCache cache = Open(limit: 4 << 20);
        using var store = new ChunkStore(cache, _blob, ChunkSize, NullLogger.Instance);
        for (int chunk = 0; chunk < 8; chunk++)
            store.Keep(chunk, Chunk(chunk));
        Age(cache, TimeSpan.FromHours(1));
        Assert.True(store.TryRead(3, new byte[ChunkSize])); // used again
        for (int chunk = 8; chunk < 40; chunk++)
        {
            store.Keep(chunk, Chunk(chunk));
            await Task.Delay(5, TestContext.Current.CancellationToken);
        }

        // The trimming goes on in the background.
        for (int i = 0; cache.Measure().Bytes > 5 << 20 && i < 500; i++)
            await Task.Delay(10, TestContext.Current.CancellationToken);
        Assert.InRange(cache.Measure().Bytes, 1 << 20, 5 << 20);
        Assert.True(store.Contains(39));
        Assert.False(store.Contains(0));
    }

    [Fact]
    public void Prune_DeletesWhatWasNotUsedForLongest()
    {
        BlobCache cache = Open(BlobCache.DefaultLimit);
        using var store = new ChunkStore(cache, _blob, ChunkSize, NullLogger.Instance);
        for (int chunk = 0; chunk < 8; chunk++)
            store.Keep(chunk, Chunk(chunk));
        Age(cache, TimeSpan.FromHours(2));
        for (int chunk = 8; chunk < 12; chunk++)
            store.Keep(chunk, Chunk(chunk));
        Assert.True(store.TryRead(5, new byte[ChunkSize]));
        Assert.Equal(12, cache.Measure().Kinds["chunks"].Files);

        Assert.Equal(7, cache.Prune(0, DateTime.UtcNow.AddHours(-1)).Files);
        Assert.Equal([5, 8, 9, 10, 11], Enumerable.Range(0, 12).Where(store.Contains));
        Assert.Equal((0, 0), cache.Prune(5 * (ChunkSize + 4096), DateTime.MaxValue));
        Assert.Equal(3, cache.Prune(2 * (ChunkSize + 4096), DateTime.MaxValue).Files);
        Assert.Equal(2, cache.Prune(0, DateTime.MaxValue).Files);
        Assert.Equal(0, cache.Measure().Bytes);
        store.Keep(1, Chunk(1)); // the directory is made again
        Assert.True(store.Contains(1));
    }

    [Fact]
    public void Verify_FindsWhatTheDiskHasChanged_AndDeletesIt()
    {
        BlobCache cache = Open(BlobCache.DefaultLimit);
        byte[] manifest = TestImage.RandomBytes(2000, 6), config = TestImage.RandomBytes(3000, 7);
        cache.Keep(TestImage.DescriptorOf(manifest), manifest);
        cache.Keep(TestImage.DescriptorOf(config), config);
        using var store = new ChunkStore(cache, _blob, ChunkSize, NullLogger.Instance);
        for (int chunk = 0; chunk < 4; chunk++)
            store.Keep(chunk, Chunk(chunk == 3 ? 2 : chunk)); // the last is whole, but not what the index says
        Assert.Empty(cache.Verify(_ => null, TestContext.Current.CancellationToken).Damaged);

        string chunkPath = Path.Combine(cache.Root, "v1", "chunks", "sha256", _blob.Digest.Hex, $"{ChunkSize}");
        string manifestPath = Path.Combine(cache.Root, "v1", "blobs", "sha256", TestImage.DescriptorOf(manifest).Digest.Hex);
        foreach (string path in (string[])[chunkPath, manifestPath])
        {
            byte[] bytes = File.ReadAllBytes(path);
            bytes[^1] ^= 4;
            File.WriteAllBytes(path, bytes);
        }
        ChunkDigests chunks = TestImage.ChunksOf(_content, ChunkSize);
        CacheReport report = cache.Verify(digest => digest == _blob.Digest ? chunks : null, TestContext.Current.CancellationToken);
        Assert.Equal([manifestPath, chunkPath, Path.Combine(Path.GetDirectoryName(chunkPath)!, $"{3 * ChunkSize}")], report.Damaged.OrderBy(path => path.Length).ThenBy(path => path));
        Assert.Equal([0, 2], Enumerable.Range(0, 4).Where(store.Contains));
        Assert.Equal(config, cache.TryRead(TestImage.DescriptorOf(config).Digest, 5000));
    }
}
