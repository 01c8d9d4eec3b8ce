using System.Buffers.Binary;
using System.Text;
using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Toc;
using LazyMount.Tests.Blobs;
using Xunit;

namespace LazyMount.Tests.Layers.Toc;

/// <summary>Footers of all versions, byte by byte as their formats' documents have them.</summary>
public sealed class FooterTests
{
    private const string Checksum = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    [Theory]
    [InlineData("SG\u0016\u00000000000000001234STARGZ", 51, 0x1234L)]
    [InlineData("00000000abcdef01STARGZ", 47, 0xabcdef01L)]
    [InlineData("SG\u0011\u0000STARGZEXTERNALTOC", 46, null)]
    [InlineData("SG\u0016\u000000000000000012-4STARGZ", 51, null)]
    [InlineData("SX\u0016\u00000000000000001234STARGZ", 51, null)]
    [InlineData("SG\u0015\u00000000000000001234STARGZ", 51, null)]
    [InlineData("SG\u0016\u00000000000000001234STARGX", 51, null)]
    public void Stargz(string extra, int length, long? offset)
    {
        byte[] footer = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, (byte)extra.Length, 0, .. Encoding.Latin1.GetBytes(extra), 1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
        Assert.Equal(length, footer.Length);
        Assert.Equal(offset, EstargzToc.ParseFooter([.. new byte[77], .. footer]));
        Assert.Null(EstargzToc.ParseFooter(footer.AsSpan(1)));
        Assert.Null(EstargzToc.ParseFooter([.. footer, 0]));
    }

    [Theory]
    [InlineData(4, "GnUlInUx")]
    [InlineData(7, "GNUlInUx")]
    public void ZstdChunked(int numbers, string magic)
    {
        var footer = new byte[8 + numbers * 8 + 8];
        BinaryPrimitives.WriteUInt32LittleEndian(footer, 0x184D2A50);
        BinaryPrimitives.WriteInt32LittleEndian(footer.AsSpan(4), footer.Length - 8);
        for (int i = 0; i < numbers; i++)
        {
            BinaryPrimitives.WriteInt64LittleEndian(footer.AsSpan(8 + i * 8), 1000 + i);
        }
        Encoding.ASCII.GetBytes(magic, footer.AsSpan(footer.Length - 8));
        Assert.Equal(new ZstdChunkedToc.Place(1000, 1001, 1002, 1003, null), ZstdChunkedToc.ParseFooter([.. new byte[77], .. footer]));
        Assert.Null(ZstdChunkedToc.ParseFooter(footer.AsSpan(1)));
        footer[4]++;
        Assert.Null(ZstdChunkedToc.ParseFooter(footer));
    }

    [Theory]
    [InlineData("io.github.containers.zstd-chunked.", "10:20:30:1", true)]
    [InlineData("io.containers.zstd-chunked.", "10:20:30:1", true)]
    [InlineData("io.containers.zstd-chunked.", "10:20:30", false)]
    [InlineData("io.containers.zstd-chunked.", "10:20:30:1:5", false)]
    [InlineData("io.containers.zstd-chunked.", "-10:20:30:1", false)]
    [InlineData("io.containers.zstd-chunked.", "99999999999999999999:20:30:1", false)]
    [InlineData("org.example.", "10:20:30:1", false)]
    public void ZstdChunkedAnnotations(string prefix, string position, bool found)
    {
        var annotations = new Dictionary<string, string> { [prefix + "manifest-position"] = position, [prefix + "manifest-checksum"] = Checksum };
        var blob = new Descriptor("", TestDigest.Parse(Checksum), 100) { Annotations = annotations };
        Assert.Equal(found ? new ZstdChunkedToc.Place(10, 20, 30, 1, TestDigest.Parse(Checksum)) : (ZstdChunkedToc.Place?)null, ZstdChunkedToc.FindAnnotated(blob));
        annotations[prefix + "manifest-checksum"] = "nonsense";
        Assert.Null(ZstdChunkedToc.FindAnnotated(blob));
    }
}
