using System.IO.Compression;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>Layers that are damaged or are no layers: nothing is mounted, the sentence names the blob, nothing stays in the cache.</summary>
public sealed class BadBlobTests : IDisposable
{
    private readonly LazyMountCli _lazymount = new();
    private readonly OciLayoutBuilder _layout;

    public BadBlobTests() => _layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);

    public void Dispose() => _lazymount.Dispose();

    [Fact]
    public void BlobOfALayoutWithAnotherDigest_IsRefused() => AssertSubstitutionIsRefused(digest => _layout.BlobFile(digest), _layout.Reference("v1"));

    [Fact]
    public void BlobOfARegistryWithAnotherDigest_IsRefused()
    {
        using var server = new RegistryServer();
        AssertSubstitutionIsRefused(server.BlobFile, $"{server.Host}/app:v1", () => Skopeo.Push(_layout.Reference("v1"), server, "app:v1"));
    }

    [Fact]
    public void TruncatedGzip_IsSaid()
    {
        byte[] gzip = OciLayoutBuilder.Gzip(new TarBytes().File("file", Noise(300_000)).ToArray());
        AssertRefused(gzip[..(gzip.Length / 2)]);
    }

    [Fact]
    public void TruncatedGzipTrailer_IsSaid()
    {
        byte[] gzip = OciLayoutBuilder.Gzip(new TarBytes().File("file", Noise(300_000)).ToArray());
        AssertRefused(gzip[..^3]);
    }

    [Fact]
    public void CorruptDeflateData_IsSaid()
    {
        byte[] gzip = OciLayoutBuilder.Gzip(new TarBytes().File("file", string.Concat(Enumerable.Repeat("some text ", 50_000))).ToArray());
        gzip.AsSpan(gzip.Length / 2, 16).Fill(0xFF);
        AssertRefused(gzip);
    }

    [Fact]
    public void WrongGzipChecksum_IsSaid()
    {
        byte[] gzip = OciLayoutBuilder.Gzip(new TarBytes().File("file", "content").ToArray());
        gzip[^8] ^= 1;
        AssertRefused(gzip);
    }

    [Fact]
    public void GzipOfSomethingElse_IsNoTar() => AssertRefused(OciLayoutBuilder.Gzip(Noise(5000)), "tar");

    [Fact]
    public void NeitherGzipNorTar_IsNoTar() => AssertRefused(Noise(5000), "tar");

    [Fact]
    public void HardLinkWithoutATarget_IsNamed()
    {
        _layout.AddLayer(new TarBytes().HardLink("link", "nowhere")).WriteImage("v1");
        Sentence.AssertOne(_lazymount.Run("mount", _layout.Reference("v1"), _lazymount.NewMountPoint()), 1, "'/link'", "'/nowhere'");
        Sentence.AssertOne(_lazymount.Run("ls", _layout.Reference("v1")), 1, "'/link'", "'/nowhere'");
    }

    [Fact]
    public void TarThatEndsInTheMiddleOfAFile_IsSaid()
    {
        byte[] tar = new TarBytes().File("file", Noise(100_000)).ToArray();
        AssertRefused(OciLayoutBuilder.Gzip(tar[..50_000]));
    }

    [Fact]
    public void HeaderWithAWrongChecksum_IsSaid()
    {
        byte[] header = TarBytes.Header("file", '0', 0, 0x1A4);
        header[0] ^= 1;
        AssertRefused(OciLayoutBuilder.Gzip(new TarBytes().File("good").Raw(header).ToArray()));
    }

    [Fact]
    public void MissingBlob_IsNamed()
    {
        _layout.AddLayer(new TarBytes().File("file"));
        string digest = _layout.WriteImage("v1")[0];
        File.Delete(_layout.BlobFile(digest));
        Sentence.AssertOne(_lazymount.Run("mount", _layout.Reference("v1"), _lazymount.NewMountPoint()), 1, digest["sha256:".Length..]);
    }

    private void AssertRefused(byte[] blob, params string[] mentions)
    {
        _layout.AddLayer(blob, OciLayoutBuilder.GzipLayer, OciLayoutBuilder.DigestOf(blob));
        string digest = _layout.WriteImage("v1")[0];
        AssertRefused(_layout.Reference("v1"), digest, mentions);
    }

    private void AssertRefused(string image, string digest, params string[] mentions)
    {
        string directory = _lazymount.NewMountPoint();
        Sentence.AssertOne(_lazymount.Run("mount", image, directory), 1, [digest, .. mentions]);
        Assert.False(LazyMountCli.IsMounted(directory));
        Assert.Empty(CacheFiles.Unfinished(_lazymount));
        Assert.Empty(CacheFiles.Indexes(_lazymount, digest));
    }

    /// <summary>Puts a flawless layer of the same length in a blob's place: only the digest can tell.</summary>
    private void AssertSubstitutionIsRefused(Func<string, string> blobFile, string image, Action? push = null)
    {
        byte[] layer = Stored(new TarBytes().File("file", "the good content").ToArray());
        byte[] substitute = Stored(new TarBytes().File("file", "the evil content").ToArray());
        Assert.Equal(layer.Length, substitute.Length);
        _layout.AddLayer(layer, OciLayoutBuilder.GzipLayer, OciLayoutBuilder.DigestOf(layer));
        string digest = _layout.WriteImage("v1")[0];
        push?.Invoke();
        File.WriteAllBytes(blobFile(digest), substitute);
        AssertRefused(image, digest, "digest");
    }

    private static byte[] Stored(byte[] bytes)
    {
        var compressed = new MemoryStream();
        using (var gzip = new GZipStream(compressed, CompressionLevel.NoCompression))
        {
            gzip.Write(bytes);
        }
        return compressed.ToArray();
    }

    private static byte[] Noise(int length)
    {
        byte[] bytes = new byte[length];
        new Random(7).NextBytes(bytes);
        return bytes;
    }
}
