using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Oci;
using LazyMount.TestKit;
using LazyMount.Tests.Layers;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Blobs;

/// <summary>What the cache has of a blob after passes over it that went wrong.</summary>
public sealed class CachedBlobStreamTests : IDisposable
{
    private const int Chunks = 10;

    private readonly TemporaryDirectory _directory = new();
    private readonly BlobCache _cache;
    private readonly byte[] _content = TestImage.RandomBytes(Chunks * ChunkDigests.DefaultChunkSize - 1000, 8);
    private readonly Descriptor _blob;
    private readonly ChunkStore _store;

    public CachedBlobStreamTests()
    {
        _cache = new BlobCache(_directory["cache"]);
        _blob = TestImage.DescriptorOf(_content);
        _store = new ChunkStore(_cache, _blob, ChunkDigests.DefaultChunkSize, NullLogger.Instance);
    }

    public void Dispose()
    {
        _store.Dispose();
        _directory.Dispose();
    }

    private byte[] Chunk(int chunk) => _content.AsSpan((int)_store.Grid.Extent(chunk, chunk + 1).Offset, _store.Grid.Extent(chunk, chunk + 1).Length).ToArray();

    private int[] Present => [.. Enumerable.Range(0, Chunks).Where(chunk => _store.Find(present: true, chunk, chunk + 1) == chunk)];

    private void AssertHas(int chunk)
    {
        var bytes = new byte[Chunk(chunk).Length];
        Assert.Equal(1, _store.Read(chunk, bytes));
        Assert.Equal(Chunk(chunk), bytes);
    }

    // True when what came is the blob; the stream has been told.
    private async Task<bool> PassAsync(byte[] source, bool afresh = false)
    {
        await using var stream = new CachedBlobStream(_blob, new BytesSource(source), _cache, keep: true, NullLogger.Instance, afresh);
        var bytes = new MemoryStream();
        await stream.CopyToAsync(bytes, TestContext.Current.CancellationToken);
        bool isRight = bytes.ToArray().AsSpan().SequenceEqual(_content);
        if (isRight)
            stream.Accept();
        else
            stream.Reject();
        return isRight;
    }

    [Fact]
    public async Task LyingSource_TakesNoneOfTheGoodChunksAway()
    {
        foreach (int chunk in (int[])[2, 3, 7])
            _store.Keep(chunk, Chunk(chunk));
        byte[] lie = TestImage.RandomBytes(_content.Length, 9);
        Assert.False(await PassAsync(lie));
        Assert.Equal([2, 3, 7], Present);
        Assert.False(await PassAsync(lie, afresh: true));
        Assert.Equal([2, 3, 7], Present);
        foreach (int chunk in Present)
            AssertHas(chunk);
        Assert.True(await PassAsync(_content));
        Assert.Equal(Enumerable.Range(0, Chunks), Present);
    }

    [Fact]
    public async Task CachedChunkThatIsWrong_IsReplacedOnceThatIsProved()
    {
        for (int chunk = 0; chunk < Chunks; chunk += 2)
            _store.Keep(chunk, Chunk(chunk == 4 ? 6 : chunk));
        Assert.False(await PassAsync(_content));
        Assert.Equal([0, 2, 4, 6, 8], Present);
        Assert.True(await PassAsync(_content, afresh: true));
        Assert.Equal(Enumerable.Range(0, Chunks), Present);
        AssertHas(4);
        Assert.True(await PassAsync(new byte[_content.Length])); // all from the cache
    }
}
