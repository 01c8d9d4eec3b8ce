using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
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

    private static readonly ChunkScope s_scope = ChunkScope.Of("test"), s_document = ChunkScope.Of("document");

    private readonly TemporaryDirectory _directory = new();
    private readonly BlobCache _cache;
    private readonly byte[] _content = TestImage.RandomBytes(Chunks * ChunkDigests.DefaultChunkSize - 1000, 8);
    private readonly Descriptor _blob;
    private readonly ChunkStore _shared;
    private readonly ChunkStore _own;
    private readonly ChunkStore _document;

    public CachedBlobStreamTests()
    {
        _cache = new BlobCache(_directory["cache"]);
        _blob = TestImage.DescriptorOf(_content);
        _shared = new ChunkStore(_cache, _blob, ChunkDigests.DefaultChunkSize, NullLogger.Instance);
        _own = new ChunkStore(_cache, _blob, ChunkDigests.DefaultChunkSize, NullLogger.Instance, s_scope);
        _document = new ChunkStore(_cache, _blob, ChunkDigests.DefaultChunkSize, NullLogger.Instance, s_document);
    }

    public void Dispose()
    {
        _shared.Dispose();
        _own.Dispose();
        _document.Dispose();
        _directory.Dispose();
    }

    private byte[] Chunk(int chunk) => _content.AsSpan((int)_shared.Grid.Extent(chunk, chunk + 1).Offset, _shared.Grid.Extent(chunk, chunk + 1).Length).ToArray();

    private static int[] Present(ChunkStore store) => [.. Enumerable.Range(0, Chunks).Where(chunk => store.Find(present: true, chunk, chunk + 1) == chunk)];

    private void AssertHas(params IEnumerable<int> chunks)
    {
        Assert.Equal(chunks, Present(_shared));
        foreach (int chunk in chunks)
        {
            var bytes = new byte[Chunk(chunk).Length];
            Assert.Equal(1, _shared.Read(chunk, bytes));
            Assert.Equal(Chunk(chunk), bytes);
        }
    }

    // Bytes that the source was asked for; null when the pass found the blob to be wrong.
    private async Task<long?> PassAsync(byte[] from, Descriptor? blob = null)
    {
        var source = new BytesSource(from) { IsLocal = false };
        try
        {
            return await new BlobPass(_cache, keep: true, NullLogger.Instance) { Document = s_document }.RunAsync(
                blob ?? _blob, source, s_scope, ReadAsync, discard: _ => false, TestContext.Current.CancellationToken);
        }
        catch (ImageException e) when (e.Error == ImageError.Verification)
        {
            return null;
        }

        async Task<long> ReadAsync(Stream stream)
        {
            var bytes = new MemoryStream();
            await stream.CopyToAsync(bytes, TestContext.Current.CancellationToken);
            return bytes.ToArray().AsSpan().SequenceEqual(_content)
                ? ((CachedBlobStream)stream).FetchedBytes
                : throw new ImageException(ImageError.Verification, "wrong");
        }
    }

    [Fact]
    public async Task LyingSource_TakesNoneOfTheGoodChunksAway_AndLeavesNone()
    {
        foreach (int chunk in (int[])[2, 3, 7])
            _shared.Keep(chunk, Chunk(chunk));
        Assert.Null(await PassAsync(TestImage.RandomBytes(_content.Length, 9)));
        AssertHas(2, 3, 7);
        Assert.Empty(Present(_own));
        Assert.Equal(_content.Length - Chunk(2).Length * 3, await PassAsync(_content));
        AssertHas(Enumerable.Range(0, Chunks));
    }

    /// <summary>Any manifest may give a layer of others another size.</summary>
    [Theory]
    [InlineData(5)]
    [InlineData(3 * ChunkDigests.DefaultChunkSize + 7)]
    [InlineData(Chunks * ChunkDigests.DefaultChunkSize - 999)]
    [InlineData(2 * Chunks * ChunkDigests.DefaultChunkSize)]
    public async Task BlobWithAWrongSize_TakesNoneOfTheGoodChunksAway(int size)
    {
        for (int chunk = 0; chunk < Chunks; chunk++)
            _shared.Keep(chunk, Chunk(chunk));
        Assert.Null(await PassAsync(TestImage.RandomBytes(size, 10), _blob with { Size = size }));
        AssertHas(Enumerable.Range(0, Chunks));
    }

    /// <summary>Other images believe the document too.</summary>
    [Fact]
    public async Task ChunksOfADocument_AreReadAndLeftAsTheyAre_UntilAllIsProved()
    {
        foreach (int chunk in (int[])[2, 3, 7])
            _document.Keep(chunk, Chunk(chunk));
        Assert.Null(await PassAsync(TestImage.RandomBytes(_content.Length, 9)));
        Assert.Equal([2, 3, 7], Present(_document));
        Assert.Empty(Present(_own));
        AssertHas();
        Assert.Equal(_content.Length - Chunk(2).Length * 3, await PassAsync(_content));
        AssertHas(Enumerable.Range(0, Chunks));
        Assert.Empty(Present(_document));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task CachedChunkThatIsWrong_IsReplacedOnceThatIsProved(bool isShared)
    {
        for (int chunk = 0; chunk < Chunks; chunk += 2)
            (isShared ? _shared : _own).Keep(chunk, Chunk(chunk == 4 ? 6 : chunk));
        Assert.Equal(_content.Length, await PassAsync(_content)); // a second pass, all from the source
        AssertHas(Enumerable.Range(0, Chunks));
        Assert.Equal(0, await PassAsync(new byte[_content.Length])); // all from the cache
    }
}
