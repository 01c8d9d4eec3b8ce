using System.Buffers.Binary;
using System.Text;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Published;
using LazyMount.Indexes.Published.Soci;
using LazyMount.TestKit;
using LazyMount.Tests.Layers.Toc;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Trust;

/// <summary>The ways to give other content for a layer than its digest says, one for each way to read a layer without reading all of it.</summary>
public enum LieFormat
{
    EstargzFooter,
    ChunkedFooter,
    SeekableZstd,
    TarHeaders,
    PublishedIndex,
    PublishedZtoc,
}

/// <summary>An honest layer, and another with other files and as many bytes, which somebody gives in its place.</summary>
internal sealed class LyingLayer
{
    private const string GzipType = OciLayoutBuilder.GzipLayer;

    private LyingLayer(LieFormat format, int seed)
    {
        var random = new Random(seed);
        byte[] tar = Tar(random, ("script", "echo honest\n", 0x1ED), ("etc/passwd", "root:x\n", 0x1A4));
        MediaType = format == LieFormat.TarHeaders ? OciLayoutBuilder.TarLayer : GzipType;
        Honest = format == LieFormat.TarHeaders ? tar : OciLayoutBuilder.Gzip(tar);
        Assert.True(Honest.Length > 1 << 20, "a smaller layer is read whole in any case");
        (Lying, Annotations) = format switch
        {
            LieFormat.EstargzFooter => Toc(CompressionFormat.Gzip),
            LieFormat.ChunkedFooter => Toc(CompressionFormat.Zstd),
            LieFormat.SeekableZstd => (Seekable(LyingTar(2_500_000)), null),
            LieFormat.TarHeaders => ([.. LyingTar(), .. new byte[Honest.Length - LyingTar().Length]], null),
            _ => (Padded(OciLayoutBuilder.Gzip(LyingTar())), (IReadOnlyDictionary<string, string>?)null),
        };
        Assert.Equal(Honest.Length, Lying.Length);
    }

    /// <summary>What is in no honest layer.</summary>
    public const string Mark = "EVIL";

    public byte[] Honest { get; }

    public string MediaType { get; }

    public byte[] Lying { get; }

    /// <summary>Those with which the manifest of an image would vouch for the lying table; null for formats that have none.</summary>
    public IReadOnlyDictionary<string, string>? Annotations { get; }

    public static LyingLayer Make(LieFormat format, int seed) => new(format, seed);

    /// <summary>Publishes an index of the lying bytes as one of the honest layer, where the format is one that is published.</summary>
    public async Task PublishAsync(LieFormat format, LyingRegistry registry, string repository, Digest image, int imageSize)
    {
        if (format is not (LieFormat.PublishedIndex or LieFormat.PublishedZtoc))
            return;
        CancellationToken token = TestContext.Current.CancellationToken;
        var lying = new Descriptor(MediaType, Digest.OfSha256(Lying), Lying.Length);
        var honest = lying with { Digest = Digest.OfSha256(Honest) };
        var subject = new Descriptor(MediaTypes.OciManifest, image, imageSize);
        LayerIndex index = await new LayerIndexer(NullLogger.Instance).IndexAsync(lying, new MemoryStream(Lying), null, token);
        if (format == LieFormat.PublishedIndex)
        {
            (Descriptor blob, byte[] bytes) = LayerIndexArtifact.Encode(index with { Digest = honest.Digest });
            registry.AddReferrer(repository, image, LayerIndexArtifact.CreateManifest([blob], subject), bytes);
            return;
        }
        (byte[]? ztoc, string? reason) = await ZtocBuilder.BuildAsync(index, new MemoryStream(Lying), token);
        Assert.True(ztoc is not null, reason);
        registry.AddReferrer(repository, image, SociIndex.CreateManifest(SociIndex.Version1, [SociIndex.DescribeZtoc(ztoc, honest)], subject), ztoc);
    }

    private static byte[] Tar(Random random, params (string Name, string Content, int Mode)[] files)
    {
        var tar = new TarBytes();
        foreach ((string name, string content, int mode) in files)
        {
            tar.File(name, Encoding.ASCII.GetBytes(content), mode);
        }
        return [.. tar.File("data/large", Text(random, 3 << 20)).ToArray(), .. new byte[1024]];
    }

    private static byte[] LyingTar(int large = 500_000)
        => [.. new TarBytes().File("script", Encoding.ASCII.GetBytes($"echo {Mark}\n"), 0x9ED).File("etc/shadow", Text(new Random(1), large)).ToArray(), .. new byte[1024]];

    // Hexadecimal digits: half of the bytes stay when it is compressed.
    private static byte[] Text(Random random, int length)
    {
        var text = new byte[length];
        for (int i = 0; i < length; i++)
        {
            text[i] = (byte)"0123456789abcdef"[random.Next(16)];
        }
        return text;
    }

    private (byte[], IReadOnlyDictionary<string, string>?) Toc(CompressionFormat format)
    {
        (byte[] bytes, Descriptor blob) = new TocBlob(format) { Size = Honest.Length }.File("script", Encoding.ASCII.GetBytes($"echo {Mark}\n")).File("etc/shadow", Text(new Random(1), 1000)).Finish();
        return (bytes, blob.Annotations);
    }

    private byte[] Padded(byte[] gzip) => [.. gzip, .. new byte[Honest.Length - gzip.Length]];

    // One frame of the tar, one that is skipped, and the table of both.
    private byte[] Seekable(byte[] tar)
    {
        const int TableSize = 8 + 2 * 8 + 9;
        using var compressor = new ZstdSharp.Compressor(1);
        byte[] frame = compressor.Wrap(tar).ToArray();
        int skipped = Honest.Length - frame.Length - TableSize;
        byte[] bytes = new byte[Honest.Length];
        frame.CopyTo(bytes, 0);
        Span<byte> rest = bytes.AsSpan(frame.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(rest, 0x184D2A50);
        BinaryPrimitives.WriteInt32LittleEndian(rest[4..], skipped - 8);
        int[] table = [0x184D2A5E, TableSize - 8, frame.Length, tar.Length, skipped, 0, 2];
        rest = rest[skipped..];
        for (int i = 0; i < table.Length; i++)
        {
            BinaryPrimitives.WriteInt32LittleEndian(rest[(i * 4)..], table[i]);
        }
        BinaryPrimitives.WriteUInt32LittleEndian(rest[^4..], 0x8F92EAB1);
        return bytes;
    }
}
