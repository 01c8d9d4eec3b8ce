using System.Text;
using CsCheck;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Published.Soci;
using LazyMount.Indexes.Toc;
using LazyMount.TestKit;
using LazyMount.Tests.Blobs;
using Xunit;

namespace LazyMount.Tests.Layers.Toc;

/// <summary>Whichever way a layer is read, its digest decides which files it shows: those that tables of contents bring along are hidden by one rule.</summary>
public sealed class SameTreeTests : IDisposable
{
    private readonly RecordingLoggers _loggers = new();

    public void Dispose() => _loggers.Dispose();

    private sealed record Member(string Path, int Size)
    {
        public override string ToString() => $"{Path} {Size}";
    }

    // Enough for the layer to be asked for a table at all, and for a tar to be worth hopping over.
    private static readonly byte[] s_large = RandomBytes(6_000_000);

    private static readonly Gen<Member[]> s_members = Gen.Select(
        Gen.OneOf<string>("a", ".prefetch.landmark", ".no.prefetch.landmark", "stargz.index.json", "./stargz.index.json", "d/stargz.index.json", "d/.prefetch.landmark", ".wh..wh.plnk/1.2"),
        Gen.OneOf<int>(0, 1, 1, 5), (path, size) => new Member(path, size)).Array[0, 6];

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Uncompressed_ByHops_AsStreamed() => await s_members.SampleAsync(async members =>
    {
        byte[] tar = Tar(members);
        await ExpectAsync(members, tar, "application/vnd.oci.image.layer.v1.tar", hides: false, IndexOrigin.TarHeaders);
    }, iter: 6, threads: 1);

    [Fact]
    public async Task PlainGzip_ByZtoc_AsStreamed() => await s_members.SampleAsync(async members =>
    {
        byte[] blob = OciLayoutBuilder.Gzip(Tar(members));
        LayerIndex streamed = await ExpectAsync(members, blob, OciLayoutBuilder.GzipLayer, hides: false, null);
        Assert.Equal(Names(streamed), Names(await ByZtocAsync(blob, streamed)));
    }, iter: 4, threads: 1);

    [Fact]
    public async Task Estargz_ByTableAndByZtoc_AsStreamed() => await s_members.SampleAsync(async members =>
    {
        (byte[] blob, Descriptor descriptor) = Toc(CompressionFormat.Gzip, members);
        LayerIndex streamed = await ExpectAsync(members, blob, "", hides: true, IndexOrigin.Estargz, descriptor.Annotations);
        Assert.Equal(Names(streamed), Names(await ByZtocAsync(blob, streamed)));
    }, iter: 4, threads: 1);

    [Fact]
    public async Task ZstdChunked_ByTable_AsStreamed() => await s_members.SampleAsync(async members =>
    {
        (byte[] blob, Descriptor descriptor) = Toc(CompressionFormat.Zstd, members);
        await ExpectAsync(members, blob, "", hides: true, IndexOrigin.ZstdChunked, descriptor.Annotations);
    }, iter: 6, threads: 1);

    // What a pass finds, which is what is to be seen and what the layer's own table or headers give.
    private async Task<LayerIndex> ExpectAsync(Member[] members, byte[] bytes, string mediaType, bool hides, IndexOrigin? own, IReadOnlyDictionary<string, string>? annotations = null)
    {
        var blob = new Descriptor(mediaType, Digest.OfSha256(bytes), bytes.Length) { Annotations = annotations };
        LayerIndex streamed = await new LayerIndexer(_loggers).IndexAsync(blob, new MemoryStream(bytes), null, Cancellation);
        IEnumerable<string> expected = members.Where(member => !hides || !IsAdded(member, own == IndexOrigin.Estargz)).Select(member => $"{member.Path.Replace("./", "", StringComparison.Ordinal)} {member.Size}").Append($"large {s_large.Length}");
        Assert.Equal(expected, Names(streamed));
        Assert.NotNull(LayerIndexFile.TryDecode(LayerIndexFile.Encode(streamed), streamed.Digest));
        foreach (IReadOnlyDictionary<string, string>? announced in annotations is null ? [null] : new[] { annotations, null })
        {
            LayerIndex? index = await new LayerToc(new BytesSource(bytes), acceptsUnannounced: true, _loggers).TryGetAsync(blob with { Annotations = announced }, Cancellation);
            Assert.True(own == index?.Origin, string.Join('\n', _loggers.Lines));
            Assert.Equal(expected, index is null ? expected : Names(index));
        }
        return streamed;
    }

    // Of two footers only eStargz's says that the table is a file of the tar.
    private static bool IsAdded(Member member, bool isEstargz)
        => member is { Path: ".prefetch.landmark" or ".no.prefetch.landmark", Size: 1 } || (isEstargz && member.Path is "stargz.index.json" or "./stargz.index.json");

    private static async Task<LayerIndex> ByZtocAsync(byte[] bytes, LayerIndex streamed)
    {
        (byte[]? ztoc, string? reason) = await ZtocBuilder.BuildAsync(streamed, new MemoryStream(bytes), Cancellation);
        Assert.True(ztoc is not null, reason);
        var blob = new Descriptor("", streamed.Digest, bytes.Length);
        return await TocFiles.HideAsync(ZtocReader.Read(ztoc, blob, new IndexBudget(IndexLimits.Default)).Index, new BlobRanges(new BytesSource(bytes), blob), Cancellation);
    }

    private static byte[] Tar(Member[] members)
    {
        var tar = new TarBytes();
        foreach (Member member in members)
        {
            tar.File(member.Path, new byte[member.Size]);
        }
        return tar.File("large", s_large).ToArray();
    }

    private static (byte[] Bytes, Descriptor Blob) Toc(CompressionFormat format, Member[] members)
    {
        var toc = new TocBlob(format);
        foreach (Member member in members)
        {
            toc.File(member.Path, new byte[member.Size]);
        }
        return toc.File("large", s_large, 4_000_000).Finish();
    }

    private static string[] Names(LayerIndex index) => [.. index.Entries.Select(entry => $"{Encoding.UTF8.GetString(index.Paths.PathOf(entry.Path))[1..]} {entry.Size}")];

    private static byte[] RandomBytes(int length)
    {
        var bytes = new byte[length];
        new Random(3).NextBytes(bytes);
        return bytes;
    }
}
