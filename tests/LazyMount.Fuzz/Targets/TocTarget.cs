using System.Text;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Toc;
using LazyMount.Layers;
using LazyMount.TestKit;

namespace LazyMount.Fuzz.Targets;

/// <summary>
/// Tables of contents of eStargz and zstd:chunked: refused, or an index that the store takes and gives back. The first byte chooses
/// JSON for one of the two, a footer, or the tar that eStargz packs its JSON in, which the target compresses.
/// </summary>
internal static class TocTarget
{
    private const long DataEnd = 1L << 32;

    // Small, so that the bounds are met.
    private static readonly IndexLimits s_limits = new() { Entries = 100, SparseExtentsOfFile = 20, Memory = 40_000, SmallestMemory = 40_000 };

    public static void Run(byte[] input)
    {
        var reader = new InputReader(input);
        byte kind = reader.Byte();
        ReadOnlySpan<byte> rest = reader.Rest;
        try
        {
            switch (kind)
            {
                case (byte)'f':
                    _ = EstargzToc.ParseFooter(rest);
                    _ = ZstdChunkedToc.ParseFooter(rest);
                    break;
                case (byte)'t':
                    byte[] blob = [0, .. OciLayoutBuilder.Gzip(rest.ToArray())];
                    var ranges = new BlobRanges(new MemorySource(blob), new Descriptor("", TreeWalk.Digest, blob.Length));
                    Check(EstargzToc.ReadAsync(ranges, 1, new IndexBudget(s_limits), CancellationToken.None).GetAwaiter().GetResult());
                    break;
                default:
                    using (var builder = new TocIndexBuilder(new IndexBudget(s_limits), DataEnd))
                    {
                        TocJson.Read(rest, builder);
                        (CompressionFormat format, IndexOrigin origin) = kind == 'z' ? (CompressionFormat.Zstd, IndexOrigin.ZstdChunked) : (CompressionFormat.Gzip, IndexOrigin.Estargz);
                        Check(builder.Build(new Descriptor("", TreeWalk.Digest, DataEnd + 1000), format, origin));
                    }
                    break;
            }
        }
        catch (Exception e) when (e is InvalidDataException or NotSupportedException)
        {
        }
    }

    private static void Check(LayerIndex index)
    {
        LayerIndex? stored = LayerIndexFile.TryDecode(LayerIndexFile.Encode(index), index.Digest);
        FuzzException.Require(stored is not null, "an index of a table cannot be stored");
        FuzzException.Require(stored!.Entries.AsSpan().SequenceEqual(index.Entries), "a stored index of a table is another");
        TreeWalk.CheckLayer(stored);
        TreeWalk.Merge([stored]);
        var spans = new SpanMap(index.Checkpoints);
        for (int span = 0; span < spans.Count; span++)
        {
            FuzzException.Require(spans.Length(span) <= CheckpointTable.LongestSpan, "a span is too long to be decoded");
            FuzzException.Require(spans.Length(span) == 0 || spans.CompressedEnd(span) - spans.CompressedOffset(span) <= CheckpointTable.LongestSpan + (CheckpointTable.LongestSpan / 4), "a span is too long to be fetched");
        }
        foreach (LayerEntry entry in index.Entries)
        {
            FuzzException.Require(entry.DataOffset + (entry.SparseMap > 0 ? index.SparseMaps[entry.SparseMap - 1].StoredSize : entry.Size) <= index.UncompressedSize, "content lies behind the end");
        }
    }

    public static IEnumerable<byte[]> Seeds()
    {
        const string Hash = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        string json = """
            {"version":1,"entries":[
            {"name":"d","type":"dir","mode":493,"modtime":"2001-02-03T04:05:06.5+02:00","uid":1,"gid":-2,"xattrs":{"user.a":"AAE=","trusted.overlay.opaque":"eQ=="}},
            {"name":"a","type":"reg","size":100,"offset":200,"chunkSize":30,"chunkDigest":"HASH"},
            {"name":"a","type":"chunk","offset":300,"chunkOffset":30,"chunkSize":20,"chunkType":"zeros"},
            {"name":"a","type":"chunk","offset":400,"chunkOffset":50,"chunkDigest":"HASH"},
            {"name":"b","type":"reg","size":20,"offset":400,"innerOffset":1024,"digest":"HASH"},
            {"name":"l","type":"symlink","linkName":"a"},{"name":"h","type":"hardlink","linkName":"a"},
            {"name":"c","type":"char","devMajor":1,"devMinor":3},{"name":"stargz.index.json","type":"reg","size":1,"offset":900,"digest":"HASH"}]}
            """.Replace("HASH", Hash, StringComparison.Ordinal);
        yield return Encoding.UTF8.GetBytes("e" + json);
        yield return Encoding.UTF8.GetBytes("z" + json);
        yield return [(byte)'t', .. new TarBytes().File("stargz.index.json", json).ToArray()];
        yield return [(byte)'f', 0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, .. Encoding.ASCII.GetBytes("SG\u0016\00000000000000010STARGZ"), 1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
        yield return [(byte)'f', 0x50, 0x2a, 0x4d, 0x18, 64, 0, 0, 0, .. new byte[56], .. "GNUlInUx"u8];
    }
}
