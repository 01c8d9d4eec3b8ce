using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Registry;
using LazyMount.Blobs.Registry.Connections;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Store;
using LazyMount.TestKit;
using LazyMount.Tests.Blobs;
using LazyMount.Tests.Layers;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Trust;

/// <summary>What a connection is worth, and what the choices of --index-trust make of it.</summary>
public sealed class ConnectionTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("https://registry.example/v2/", true)]
    [InlineData("http://registry.example/v2/", false)]
    [InlineData("http://10.0.0.1:5000/v2/", false)]
    [InlineData("http://localhost:5000/v2/", true)]
    [InlineData("http://127.9.9.9/v2/", true)]
    [InlineData("http://[::1]:5000/v2/", true)]
    [InlineData("http://[::ffff:127.0.0.1]:5000/v2/", true)]
    [InlineData("http://localhost.example/v2/", false)]
    [InlineData("http://127.0.0.1.example/v2/", false)]
    public void Connection_IsVerifiedByTlsOrByBeingThisMachine(string url, bool expected) => Assert.Equal(expected, RegistryHttp.IsVerifiedBy(new Uri(url), isTlsVerified: true));

    [Theory]
    [InlineData("http://localhost:5000/", false)]
    [InlineData("https://127.0.0.2/", false)]
    [InlineData("http://[::1]/", false)]
    [InlineData("https://registry.example/", true)]
    public void Proxy_IsNeverAskedForThisMachine(string url, bool expected)
    {
        var proxy = new ProxySettings(TestRegistries.With(variables: new Dictionary<string, string> { ["ALL_PROXY"] = "proxy.example:3128" }).Environment);
        Assert.Equal((!expected, expected), (proxy.IsBypassed(new Uri(url)), proxy.GetProxy(new Uri(url)) is not null));
    }

    public static TheoryData<IndexTrust, bool, bool, string> Beliefs()
    {
        // trust, named by digest, over a verified connection: the weakest voucher that is believed.
        var data = new TheoryData<IndexTrust, bool, bool, string>();
        foreach (bool pinned in (bool[])[false, true])
        {
            foreach (bool verified in (bool[])[false, true])
            {
                data.Add(IndexTrust.Auto, pinned, verified, !pinned && verified ? "Source" : "Manifest");
                data.Add(IndexTrust.Registry, pinned, verified, "Source");
                data.Add(IndexTrust.Bound, pinned, verified, "Manifest");
                data.Add(IndexTrust.None, pinned, verified, "Layer");
            }
        }
        return data;
    }

    [Theory]
    [MemberData(nameof(Beliefs))]
    public async Task Voucher_IsBelievedAsTheUserChose(IndexTrust trust, bool pinned, bool verified, string weakest)
    {
        var layout = new OciLayoutBuilder(_directory.CreateDirectory("layout"));
        layout.AddLayer(IndexFinderTests.Tar(1)).WriteImage("test");
        await using var source = new RemoteSource(layout.Reference("test"));
        var cache = new BlobCache(_directory["cache"]);
        Image image = await Image.ResolveAsync(ImageReference.Parse("registry.example/app:v1"), source, null, cache, TestContext.Current.CancellationToken);
        if (pinned)
            image = await Image.ResolveAsync(ImageReference.Parse($"registry.example/app@{image.RootDigest}"), source, null, cache, TestContext.Current.CancellationToken);
        source.IsVerified = verified;
        var policy = new IndexPolicy(trust, image);
        await using Stream stream = await source.OpenBlobAsync(image.Layers[0], 0, image.Layers[0].Size, TestContext.Current.CancellationToken);
        LayerIndex built = await new LayerIndexer(NullLogger.Instance).IndexAsync(image.Layers[0], stream, null, TestContext.Current.CancellationToken);
        Proof parsed = Proof.OfParser(built.Proof.Chunks!);

        Voucher least = Enum.Parse<Voucher>(weakest);
        Assert.True(policy.Accepts(built));
        Assert.Equal(least <= Voucher.Manifest, policy.Accepts(Of(parsed.ByManifest(built.Digest))));
        Assert.Equal(least <= Voucher.Repository, policy.Accepts(Of(parsed.ByRepository(built.Digest, isFromVerified: true))));
        Assert.Equal(least <= Voucher.Source, policy.Accepts(Of(parsed.BySource(isFromVerified: true))));
        // What came over a connection that was not verified is believed only by those who ask for it.
        Assert.Equal(trust == IndexTrust.Registry, policy.Accepts(Of(parsed.ByRepository(built.Digest, isFromVerified: false))));
        Assert.Equal(trust == IndexTrust.Registry, policy.Accepts(Of(parsed.BySource(isFromVerified: false))));

        LayerIndex Of(Proof proof) => built with { Origin = IndexOrigin.Published, Proof = proof };
    }

    /// <summary>Bytes that nothing but the connection vouches for are not taken once it is another.</summary>
    [Fact]
    public async Task HoppedLayer_IsAnErrorWhenAnUnverifiedConnectionAnswers()
    {
        byte[] tar = new TarBytes().File("large", new byte[3 << 20]).ToArray();
        var layout = new OciLayoutBuilder(_directory.CreateDirectory("layout"));
        layout.AddLayer(tar, OciLayoutBuilder.TarLayer, "").WriteImage("test");
        await using var source = new RemoteSource(layout.Reference("test"));
        var cache = new BlobCache(_directory["cache"]);
        Image image = await Image.ResolveAsync(ImageReference.Parse("registry.example/app:v1"), source, null, cache, TestContext.Current.CancellationToken);
        Proof hops = Proof.OfParser(ranges: null).BySource(isFromVerified: true);
        using var reader = new BlobReader(image.Layers[0], null, source, cache, scope: hops.ScopeFor(image));
        var bytes = new byte[1000];
        await reader.ReadAsync(0, bytes, TestContext.Current.CancellationToken);
        source.IsVerified = false;
        await reader.ReadAsync(0, bytes, TestContext.Current.CancellationToken); // from the cache
        var e = await Assert.ThrowsAsync<ImageException>(() => reader.ReadAsync(2 << 20, bytes, TestContext.Current.CancellationToken).AsTask());
        Assert.Equal(ImageError.Verification, e.Error);
    }

    /// <summary>But to those who take any connection it is all the same, whatever was believed before; and nobody else believes what they have kept.</summary>
    [Theory]
    [InlineData(IndexTrust.Auto)]
    [InlineData(IndexTrust.Registry)]
    public async Task HoppedLayer_IsReadOverAnyConnection_WhereTheRegistryIsTrusted(IndexTrust first)
    {
        byte[] tar = new TarBytes().File("large", new byte[3 << 20]).ToArray();
        var layout = new OciLayoutBuilder(_directory.CreateDirectory("layout"));
        layout.AddLayer(tar, OciLayoutBuilder.TarLayer, "").WriteImage("test");
        await using var source = new RemoteSource(layout.Reference("test"));
        var cache = new BlobCache(_directory["cache"]);
        Image image = await Image.ResolveAsync(ImageReference.Parse("registry.example/app:v1"), source, null, cache, TestContext.Current.CancellationToken);
        Assert.Equal((Voucher.Source, first == IndexTrust.Auto), await ProofAsync(first));
        Assert.Equal((Voucher.Source, false), await ProofAsync(IndexTrust.Registry));
        int opened = source.Opened;
        LayerIndex index = await IndexAsync(IndexTrust.Registry);
        Assert.Equal(opened, source.Opened); // it is stored
        using var reader = new BlobReader(image.Layers[0], null, source, cache, scope: index.Proof.ScopeFor(image));
        source.IsVerified = false;
        var bytes = new byte[1000];
        await reader.ReadAsync(2 << 20, bytes, TestContext.Current.CancellationToken);
        Assert.Equal(tar[(2 << 20)..][..1000], bytes);
        source.IsVerified = true;
        Assert.Equal((Voucher.Source, true), await ProofAsync(IndexTrust.Auto));

        async Task<LayerIndex> IndexAsync(IndexTrust trust)
            => Assert.Single(await new IndexFinder(cache, NullLoggerFactory.Instance) { Trust = trust }.GetAsync(image, null, TestContext.Current.CancellationToken));

        async Task<(Voucher, bool)> ProofAsync(IndexTrust trust) => await IndexAsync(trust) is var index ? (index.Proof.By, index.Proof.IsFromVerified) : default;
    }

    [Fact]
    public void BytesWithoutProof_HaveNoStoreOfEverybody()
    {
        var cache = new BlobCache(_directory["cache"]);
        var source = new RemoteSource(new OciLayoutBuilder(_directory.CreateDirectory("layout")).AddLayer([]).WriteImage("test") is { } ? $"oci:{_directory["layout"]}:test" : "");
        Assert.Throws<ArgumentException>(() => new BlobReader(Blobs.TestImage.DescriptorOf([1]), null, source, cache).Dispose());
    }
}
