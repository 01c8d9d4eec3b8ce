using CsCheck;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;
using LazyMount.FileSystem;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using LazyMount.Layers;
using LazyMount.TestKit;
using LazyMount.Tests.Layers;
using Xunit;

namespace LazyMount.Tests.FileSystem;

/// <summary>The pieces of a read: leases, zeros and copies in any order are the bytes in that order.</summary>
public sealed class FileDataTests : IDisposable
{
    private const int Span = 100_000, Spans = 10;

    private readonly TemporaryDirectory _directory = new();
    private readonly SpanCache _spans = new(0); // nothing is kept that is not held
    private readonly byte[] _tar = new byte[Span * Spans];
    private readonly Layer _layer;

    public FileDataTests()
    {
        new Random(1).NextBytes(_tar);
        using var checkpoints = new CheckpointTableBuilder(new IndexBudget(IndexLimits.Default));
        for (int i = 0; i < Spans; i++)
        {
            checkpoints.Add(new Checkpoint(i * Span, 0, i * Span, AtMemberStart: true, default));
        }
        var entries = new LayerEntriesBuilder(new IndexBudget(IndexLimits.Default));
        var blob = new Descriptor("", Digest.OfSha256(_tar), _tar.Length);
        var index = new LayerIndex
        {
            Digest = blob.Digest,
            CompressedSize = _tar.Length,
            UncompressedSize = _tar.Length,
            Format = CompressionFormat.None,
            Proof = Proof.OfParser((RangeDigests?)null),
            Checkpoints = checkpoints.Build(_tar.Length, _tar.Length),
            Paths = entries.BuildPaths(),
            Entries = entries.BuildEntries(),
            LinkTargets = entries.BuildLinkTargets(),
            XattrSets = entries.BuildXattrSets(),
        };
        _layer = new Layer(index, new BlobReader(blob, null, new BytesSource(_tar), new BlobCache(_directory["cache"])), _spans);
    }

    public void Dispose()
    {
        _layer.Dispose();
        _spans.Dispose();
        _directory.Dispose();
    }

    [Fact]
    public async Task PiecesOfAllKinds_AreTheBytesInTheirOrder()
        => await Gen.Select(Gen.Int[0, 2], Gen.Int[0, Spans - 1], Gen.Int[0, Span - 1], Gen.Int[1, 3000]).Array[1, 600].SampleAsync(async pieces =>
        {
            var data = new FileData();
            for (int round = 0; round < 2; round++)
            {
                var expected = new List<byte>();
                foreach ((int kind, int span, int start, int wanted) in pieces)
                {
                    int length = Math.Min(wanted, Span - start);
                    if (kind == 0)
                    {
                        data.AddZeros(length);
                        expected.AddRange(new byte[length]);
                        continue;
                    }
                    SpanLease lease = await _layer.GetSpanAsync(span * Span, CancellationToken.None);
                    if (kind == 1)
                    {
                        data.Add(lease, start, length);
                    }
                    else
                    {
                        data.AddCopy(lease, start, length);
                    }
                    expected.AddRange(_tar.AsSpan(span * Span + start, length));
                }
                Assert.InRange(data.Count, 1, FileData.MaxPieces);
                var bytes = new List<byte>();
                for (int i = 0; i < data.Count; i++)
                {
                    bytes.AddRange(data[i]);
                }
                Assert.Equal(expected.Count, data.Length);
                Assert.Equal(expected, bytes);
                data.Clear();
                Assert.Equal(0, _spans.AllocatedBytes); // every lease was given back
            }
        }, iter: 30, threads: 1);
}
