using System.Buffers.Binary;
using System.Security.Cryptography;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Store;
using LazyMount.TestKit;
using LazyMount.Tests.Blobs;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Layers;

public sealed class CacheVerifierTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly BlobCache _cache;

    public CacheVerifierTests() => _cache = new BlobCache(_directory["cache"]);

    public void Dispose() => _directory.Dispose();

    private string Write(string kind, LayerIndex index, Action<byte[]> edit)
    {
        string path = Path.Combine(_cache.GetDirectory(kind), index.Digest.Hex);
        _cache.WriteChecked(path, writer => writer.Write(LayerIndexFile.Encode(index)));
        byte[] file = File.ReadAllBytes(path);
        edit(file);
        File.WriteAllBytes(path, file);
        return path;
    }

    private CacheReport Run() => new CacheVerifier(_cache).Run(TestContext.Current.CancellationToken);

    [Theory]
    [InlineData("layers/sha256", false)]
    [InlineData("image-layers/key", false)]
    [InlineData("image-layers/key", true)]
    [InlineData("archives", false)]
    public void IndexThatIsDamaged_IsFoundAndDeleted_AndASoundOneStays(string kind, bool isSha512)
    {
        LayerIndex index = LayerIndexFileTests.Sample();
        if (isSha512 && Digest.TryParse("sha512:" + Convert.ToHexStringLower(SHA512.HashData("a layer"u8)), out Digest digest))
            index = index with { Digest = digest };
        string path = Write(kind, index, _ => { });
        CacheReport report = Run();
        Assert.Equal((1, new FileInfo(path).Length), (report.Files, report.Bytes));
        Assert.Empty(report.Damaged);
        Write(kind, index, file => file[^1] ^= 1);
        Assert.Equal([path], Run().Damaged);
        Assert.False(File.Exists(path));
    }

    [Fact]
    public void IndexOfAnotherVersion_IsNotDamaged()
    {
        string path = Write("layers/sha256", LayerIndexFileTests.Sample(), file => BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(8), LayerIndexFile.Version + 1));
        Assert.Empty(Run().Damaged);
        Assert.True(File.Exists(path));
    }

    [Fact]
    public void ChunksOfAScope_AreComparedWithTheIndexThatIsBelievedThere()
    {
        byte[] content = TestImage.RandomBytes(600_000, 5);
        Descriptor blob = TestImage.DescriptorOf(content);
        Digest document = Digest.OfSha256("a table of contents"u8);
        Proof parsed = Proof.OfParser(TestImage.ChunksOf(content, ChunkDigests.DefaultChunkSize));
        ChunkScope image = ChunkScope.Of("an image"), manifest = ChunkScope.Of("a manifest");
        (ChunkScope Indexes, ChunkScope Chunks, Proof Proof)[] kept =
        [
            (manifest, ChunkScope.Of("document", document.ToString()), parsed.ByManifest(document)),
            (image, image, parsed.BySource(isFromVerified: true)),
        ];
        foreach ((ChunkScope _, ChunkScope chunks, Proof _) in kept)
        {
            using var store = new ChunkStore(_cache, blob, ChunkDigests.DefaultChunkSize, NullLogger.Instance, chunks);
            store.Keep(0, content.AsSpan(0, ChunkDigests.DefaultChunkSize));
            store.Keep(1, content.AsSpan(0, ChunkDigests.DefaultChunkSize)); // as it was written, and wrong
        }
        CacheReport unknown = Run();
        Assert.Equal((2, 2), (unknown.Files, unknown.Unverifiable));
        Assert.Empty(unknown.Damaged);

        foreach ((ChunkScope indexes, ChunkScope _, Proof proof) in kept)
        {
            Directory.CreateDirectory(Path.Combine(_cache.GetDirectory("image-layers"), indexes.Key!));
            Write(Path.Combine("image-layers", indexes.Key!), LayerIndexFileTests.Sample() with { Digest = blob.Digest, Proof = proof }, _ => { });
        }
        CacheReport report = Run();
        Assert.Equal((4, 0), (report.Files, report.Unverifiable));
        Assert.Equal(kept.Select(one => Path.Combine(_cache.Root, "v1", "chunks", one.Chunks.Key!, blob.Digest.Hex, "0")).Order(), report.Damaged.Order());
        Assert.Empty(Run().Damaged); // only what was wrong is gone
    }
}
