using System.Buffers.Binary;
using System.Globalization;
using System.IO.Compression;
using System.Text;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;
using LazyMount.TestKit;

namespace LazyMount.Tests.Layers.Toc;

/// <summary>
/// Writes a layer with a table of contents as stargz-snapshotter (estargz.Writer, also with MinChunkSize, which Debian's is too old
/// for) and containers/storage (pkg/chunked/compressor, with a tar-split) do: file by file, a compressed member begins where told.
/// </summary>
internal sealed class TocBlob(CompressionFormat format)
{
    private readonly List<byte> _blob = [];
    private readonly List<byte> _member = [];
    private readonly List<string> _entries = [];

    /// <summary>The entries' JSON, to be changed by whoever lies.</summary>
    public Func<string, string> Edit { get; init; } = json => json;

    /// <summary>Bytes that the blob has in the end, filled up before the table; 0: as few as it needs.</summary>
    public int Size { get; init; }

    /// <summary>Ends the member or frame that is being filled.</summary>
    public TocBlob Cut()
    {
        if (_member.Count > 0)
        {
            _blob.AddRange(Compress([.. _member]));
            _member.Clear();
        }
        return this;
    }

    /// <summary>A header, and its content in chunks, before each of which a member may end.</summary>
    public TocBlob File(string name, byte[] content, int chunkSize = int.MaxValue, bool cut = true)
    {
        _member.AddRange(TarBytes.Header(name, '0', content.Length, 0x1A4));
        if (content.Length == 0)
        {
            _entries.Add($$"""{"name":"{{name}}","type":"reg","mode":420}""");
        }
        string more = string.Create(CultureInfo.InvariantCulture, $"\"type\":\"reg\",\"size\":{content.Length},\"mode\":420");
        for (int at = 0; at < content.Length; at += Math.Min(chunkSize, content.Length))
        {
            byte[] chunk = content[at..(int)Math.Min(content.Length, (long)at + chunkSize)];
            if (cut)
            {
                Cut();
            }
            _entries.Add(string.Create(CultureInfo.InvariantCulture,
                $"{{\"name\":\"{name}\",{more},\"offset\":{_blob.Count},\"innerOffset\":{_member.Count},\"chunkOffset\":{at},\"chunkSize\":{chunk.Length},\"chunkDigest\":\"{Digest.OfSha256(chunk)}\"}}"));
            more = "\"type\":\"chunk\"";
            _member.AddRange(chunk);
        }
        _member.AddRange(new byte[-content.Length & 511]);
        return this;
    }

    /// <summary>The blob, and its descriptor with the annotations that its writer gives it.</summary>
    public (byte[] Bytes, Descriptor Blob) Finish()
    {
        _member.AddRange(new byte[1024]);
        Cut();
        byte[] json = Encoding.UTF8.GetBytes(Edit($"{{\"version\":1,\"entries\":[\n{string.Join(",\n", _entries)}\n]}}"));
        if (Size > 0)
        {
            byte[] unpadded = [.. _blob];
            _ = format == CompressionFormat.Gzip ? FinishEstargz(json) : FinishChunked(json);
            int padding = Size - _blob.Count;
            _blob.Clear();
            _blob.AddRange(unpadded);
            _blob.AddRange(new byte[padding]);
        }
        Dictionary<string, string> annotations = format == CompressionFormat.Gzip ? FinishEstargz(json) : FinishChunked(json);
        byte[] bytes = [.. _blob];
        return (bytes, new Descriptor("", Digest.OfSha256(bytes), bytes.Length) { Annotations = annotations });
    }

    private Dictionary<string, string> FinishEstargz(byte[] json)
    {
        long offset = _blob.Count;
        _blob.AddRange(Compress(new TarBytes().Raw(TarBytes.Header("stargz.index.json", '0', json.Length, 0x1A4)).Data(json).ToArray()));
        _blob.AddRange([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, .. Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"SG\u0016\0{offset:x16}STARGZ")), 1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
        return new() { ["containerd.io/snapshot/stargz/toc.digest"] = Digest.OfSha256(json).ToString() };
    }

    private Dictionary<string, string> FinishChunked(byte[] json)
    {
        const int Header = 8;
        byte[] manifest = Compress(json), tarSplit = Compress("{}"u8.ToArray());
        long offset = _blob.Count + Header, tarSplitOffset = offset + manifest.Length + Header;
        Skippable(manifest);
        Skippable(tarSplit);
        var footer = new byte[64];
        long[] numbers = [offset, manifest.Length, json.Length, 1, tarSplitOffset, tarSplit.Length, 2];
        for (int i = 0; i < numbers.Length; i++)
        {
            BinaryPrimitives.WriteInt64LittleEndian(footer.AsSpan(i * 8), numbers[i]);
        }
        "GNUlInUx"u8.CopyTo(footer.AsSpan(56));
        Skippable(footer);
        return new()
        {
            ["io.github.containers.zstd-chunked.manifest-position"] = string.Create(CultureInfo.InvariantCulture, $"{offset}:{manifest.Length}:{json.Length}:1"),
            ["io.github.containers.zstd-chunked.manifest-checksum"] = Digest.OfSha256(manifest).ToString(),
            ["io.github.containers.zstd-chunked.tarsplit-position"] = string.Create(CultureInfo.InvariantCulture, $"{tarSplitOffset}:{tarSplit.Length}:2"),
        };
    }

    private void Skippable(byte[] payload)
    {
        var header = new byte[8];
        BinaryPrimitives.WriteUInt32LittleEndian(header, 0x184D2A50);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(4), payload.Length);
        _blob.AddRange(header);
        _blob.AddRange(payload);
    }

    private byte[] Compress(byte[] bytes)
    {
        if (format == CompressionFormat.Zstd)
        {
            using var compressor = new ZstdSharp.Compressor();
            return compressor.Wrap(bytes).ToArray();
        }
        var compressed = new MemoryStream();
        using (var gzip = new GZipStream(compressed, CompressionLevel.Fastest)) // zlib-ng's, which makes random bytes longer by a twentieth
        {
            gzip.Write(bytes);
        }
        return compressed.ToArray();
    }
}
