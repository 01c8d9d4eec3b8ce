using System.Text;
using System.Text.RegularExpressions;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Toc;
using LazyMount.Layers;
using LazyMount.TestKit;
using LazyMount.Tests.Blobs;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Layers.Toc;

/// <summary>Layers as today's tools write them, and as a liar would: read by their tables and held against what was put in.</summary>
public sealed class TocBlobTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly SpanCache _spans = new(8 << 20);
    private readonly RecordingLoggers _loggers = new();
    private readonly Dictionary<string, byte[]> _files = new()
    {
        ["first"] = "in the first member, where the tar begins"u8.ToArray(),
        ["empty"] = [],
        ["second"] = "and another"u8.ToArray(),
        ["large"] = RandomBytes(1_050_000),
        ["small"] = RandomBytes(300),
        ["zeros"] = new byte[20_000_000], // one chunk to zstd:chunked, though it cuts other content into some 64 KiB
        ["last"] = RandomBytes(5000),
    };

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _spans.Dispose();
        _directory.Dispose();
    }

    [Theory]
    [InlineData(CompressionFormat.Gzip, true)]
    [InlineData(CompressionFormat.Gzip, false)]
    [InlineData(CompressionFormat.Zstd, true)]
    [InlineData(CompressionFormat.Zstd, false)]
    public async Task FilesThatShareMembers_AreRead_FromTheFirstByteOn(CompressionFormat format, bool annotated)
    {
        (byte[] bytes, Descriptor blob) = Write(format).Finish();
        LayerIndex? index = await ReadAsync(bytes, annotated ? blob : blob with { Annotations = null });
        Assert.True(index is not null, string.Join('\n', _loggers.Lines));
        Assert.Equal((format == CompressionFormat.Gzip ? IndexOrigin.Estargz : IndexOrigin.ZstdChunked, annotated), (index.Origin, index.Proof.By >= Voucher.Manifest));
        Assert.NotNull(LayerIndexFile.TryDecode(LayerIndexFile.Encode(index), index.Digest));
        Assert.Equal(_files.Keys, index.Entries.Select(entry => NameOf(index, entry)));
        foreach (LayerEntry entry in index.Entries)
        {
            byte[] content = await ReadFileAsync(index, entry, blob, bytes);
            Assert.True(_files[NameOf(index, entry)].AsSpan().SequenceEqual(content), NameOf(index, entry));
        }
    }

    /// <summary>A pass over such a layer sees the same: what is written above is a tar.</summary>
    [Theory]
    [InlineData(CompressionFormat.Gzip)]
    [InlineData(CompressionFormat.Zstd)]
    public async Task PassOverTheSameLayer_FindsTheSameFiles(CompressionFormat format)
    {
        _files["zeros"] = new byte[50_000];
        (byte[] bytes, Descriptor blob) = Write(format).Finish();
        LayerIndex index = await new LayerIndexer(_loggers).IndexAsync(blob, new MemoryStream(bytes), null, Cancellation);
        Assert.Equal(_files.Keys, index.Entries.Select(entry => NameOf(index, entry)));
        Assert.Equal(_files.Values.Select(content => (long)content.Length), index.Entries.Select(entry => entry.Size));
    }

    /// <summary>
    /// Every number of the table changed, one at a time, by somebody who also makes the digest right: the table is refused, or reading
    /// fails, or what is read is what was put in. The names and digests stay, so nothing else is right.
    /// </summary>
    [Theory]
    [InlineData(CompressionFormat.Gzip)]
    [InlineData(CompressionFormat.Zstd)]
    public async Task LyingNumbers_NeverGiveAWrongByte(CompressionFormat format)
    {
        _files["zeros"] = new byte[50_000];
        string sound = "";
        (byte[] _, Descriptor _) = Write(format, json => sound = json).Finish();
        int refused = 0, failed = 0, read = 0;
        foreach (Match number in Regex.Matches(sound, "\"(size|offset|innerOffset|chunkOffset|chunkSize)\":([0-9]+)"))
        {
            long value = long.Parse(number.Groups[2].ValueSpan);
            foreach (long other in (long[])[0, -1, value + 1, value - 1, value * 2, 1_000_000, long.MaxValue])
            {
                if (other == value)
                    continue;
                (byte[] bytes, Descriptor blob) = Write(format, json => json[..number.Groups[2].Index] + other + json[(number.Groups[2].Index + number.Groups[2].Length)..]).Finish();
                if (await ReadAsync(bytes, blob) is not { } index)
                {
                    refused++;
                    continue;
                }
                foreach (LayerEntry entry in index.Entries)
                {
                    try
                    {
                        byte[] content = await ReadFileAsync(index, entry, blob, bytes);
                        Assert.True(_files[NameOf(index, entry)].AsSpan().SequenceEqual(content) || content.Length == 0, $"{number.Value} changed to {other}: {NameOf(index, entry)}");
                        read++;
                    }
                    catch (ImageException e) when (e.Error == ImageError.Verification)
                    {
                        failed++;
                    }
                }
            }
        }
        Assert.True(refused > 50 && failed > 10 && read > 100, $"{refused} {failed} {read}");
    }

    [Theory]
    [InlineData(CompressionFormat.Gzip)]
    [InlineData(CompressionFormat.Zstd)]
    public async Task MissingDigest_MakesATableNone(CompressionFormat format)
    {
        (byte[] bytes, Descriptor blob) = Write(format, json => json.Replace("chunkDigest", "x", StringComparison.Ordinal)).Finish();
        Assert.Null(await ReadAsync(bytes, blob));
        Assert.Contains("a chunk of \"first\" has no digest", Assert.Single(_loggers.Lines), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(CompressionFormat.Gzip)]
    [InlineData(CompressionFormat.Zstd)]
    public async Task CutTable_IsNone(CompressionFormat format)
    {
        (byte[] bytes, Descriptor blob) = Write(format, json => json[..^10]).Finish();
        Assert.Null(await ReadAsync(bytes, blob));
        Assert.Contains("its JSON is malformed", Assert.Single(_loggers.Lines), StringComparison.Ordinal);
    }

    /// <summary>A file in chunks of one byte, each in a member of its own, costs memory by its size, and a read begins few spans.</summary>
    [Theory]
    [InlineData(CompressionFormat.Gzip)]
    [InlineData(CompressionFormat.Zstd)]
    public async Task TinyChunks_AreSpansOfManyChunks(CompressionFormat format)
    {
        byte[] content = RandomBytes(20_000), other = RandomBytes(100_000);
        (byte[] bytes, Descriptor blob) = new TocBlob(format).File("a", other).File("tiny", content, chunkSize: 1).File("b", other).File("c", RandomBytes(1_000_000)).Finish();
        LayerIndex? index = await ReadAsync(bytes, blob);
        Assert.NotNull(index);
        Assert.InRange(index.Checkpoints.Count, 20_000, 21_000);
        var spans = new SpanMap(index.Checkpoints);
        Assert.InRange(spans.Count, 4, 20);
        foreach (LayerEntry entry in index.Entries)
        {
            byte[] expected = NameOf(index, entry) switch { "tiny" => content, "c" => RandomBytes(1_000_000), _ => other };
            Assert.True(Enumerable.SequenceEqual(expected, await ReadFileAsync(index, entry, blob, bytes)), NameOf(index, entry));
        }
        // Every byte is in the span that is said to hold it.
        for (int span = 0; span < spans.Count; span++)
        {
            for (long at = spans.UncompressedOffset(span); at < spans.UncompressedOffset(span + 1); at += 777)
            {
                Assert.Equal(span, spans.Find(at));
            }
            Assert.True(spans.Length(span) <= 64 << 10 || spans.First(span + 1) - spans.First(span) == 1, "a merged span is short");
        }
        Assert.Equal(index.UncompressedSize, spans.UncompressedOffset(spans.Count));

        // One byte of the file wrong: its whole span is an error, and nothing else.
        bytes[index.Checkpoints.CompressedOffset(index.Checkpoints.Find(index.Entries[1].DataOffset + 10_000)) + 10] ^= 1;
        await Assert.ThrowsAsync<ImageException>(() => ReadFileAsync(index, index.Entries[1], blob, bytes));
        Assert.Equal(other, await ReadFileAsync(index, index.Entries[2], blob, bytes));
    }

    private TocBlob Write(CompressionFormat format, Func<string, string>? edit = null)
    {
        var layer = new TocBlob(format) { Edit = edit ?? (json => json) };
        return layer.File("first", _files["first"], cut: false).File("empty", []).File("second", _files["second"], cut: false)
            .File("large", _files["large"], 500_000).File("small", _files["small"], cut: false).File("zeros", _files["zeros"]).File("last", _files["last"]);
    }

    private Task<LayerIndex?> ReadAsync(byte[] bytes, Descriptor blob)
        => new LayerToc(new BytesSource(bytes), acceptsUnannounced: true, _loggers).TryGetAsync(blob, Cancellation).AsTask();

    private static string NameOf(LayerIndex index, LayerEntry entry) => Encoding.UTF8.GetString(index.Paths.Name(entry.Path));

    private async Task<byte[]> ReadFileAsync(LayerIndex index, LayerEntry entry, Descriptor blob, byte[] bytes)
    {
        var source = new BytesSource(bytes);
        using var layer = new Layer(index, new SpanSource(source, new BlobCache(_directory["cache"]), NullLoggerFactory.Instance).Open(blob, index, ChunkScope.Shared, () => throw new InvalidOperationException()), _spans);
        var content = new byte[entry.Size];
        for (int at = 0; at < content.Length;)
        {
            SpanLease span = await layer.GetSpanAsync(entry.DataOffset + at, Cancellation);
            ReadOnlySpan<byte> part = span.Bytes[(int)(entry.DataOffset + at - span.UncompressedOffset)..];
            part[..Math.Min(part.Length, content.Length - at)].CopyTo(content.AsSpan(at));
            at += Math.Min(part.Length, content.Length - at);
            span.Dispose();
        }
        return content;
    }

    private static byte[] RandomBytes(int length)
    {
        var bytes = new byte[length];
        new Random(length).NextBytes(bytes);
        return bytes;
    }
}
