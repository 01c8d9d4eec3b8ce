using System.Buffers.Binary;
using System.IO.Hashing;
using System.Security.Cryptography;
using CsCheck;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Layers;

public sealed class LayerIndexFileTests
{
    private static readonly Digest s_digest = Digest.OfSha256("a layer"u8);

    internal static LayerIndex Sample(int files = 30)
    {
        var tar = new TarBytes().Directory(".").Directory("d").CharacterDevice("d/null", 1, 3).Fifo("p").Symlink("s", "../target").Symlink("t", "s");
        for (int i = 0; i < files; i++)
        {
            if (i % 7 == 3)
            {
                tar.Sparse((SparseFormat)(i % 4), $"d/sparse-{i}", i * 1_000_000_000L, [(512, 10), (i * 100_000L, 600)], new byte[610]);
            }
            tar.Pax(("mtime", $"-{i}.{i}5"), ("SCHILY.xattr.user.x", $"{i % 3}"))
                .File($"d/file-{i}", new string('x', i % 40 * 17), edit: TarBytes.OwnedBy(i % 2 * 1000, i));
        }
        tar.Pax(("path", "d/.wh." + new string('n', 255))).File("whiteout");
        LayerEntriesBuilder entries = ScannedTar.Collect(tar.HardLink("d/h", "elsewhere/f").ToArray());
        using var checkpoints = new CheckpointTableBuilder(new IndexBudget(IndexLimits.Default));
        checkpoints.Add(new Checkpoint(0, 0, 0, true, default));
        checkpoints.Add(new Checkpoint(70_000, 5, 4_000_000, false, new byte[32 << 10]));
        checkpoints.Add(new Checkpoint(150_000, 0, 8_000_000, true, default));
        checkpoints.Add(new Checkpoint(300_000, 7, 9_999_999, false, new byte[] { 1, 2, 3 }));
        return new LayerIndex
        {
            SparseMaps = entries.BuildSparseMaps(),
            Digest = s_digest,
            CompressedSize = 600_000,
            UncompressedSize = 10_000_000,
            Format = CompressionFormat.Gzip,
            Proof = Proof.ByLayer(new ChunkDigests(256 << 10, [.. Enumerable.Range(0, 96).Select(i => (byte)i)])),
            Checkpoints = checkpoints.Build(10_000_000, 600_000),
            Paths = entries.BuildPaths(),
            Entries = entries.BuildEntries(),
            LinkTargets = entries.BuildLinkTargets(),
            XattrSets = entries.BuildXattrSets(),
        };
    }

    private static void AssertSame(LayerIndex expected, LayerIndex? actual)
    {
        Assert.NotNull(actual);
        Assert.Equal(expected.Digest, actual.Digest);
        Assert.Equal((expected.CompressedSize, expected.UncompressedSize, expected.Format), (actual.CompressedSize, actual.UncompressedSize, actual.Format));
        Assert.Equal(expected.Proof.Chunks?.ChunkSize, actual.Proof.Chunks?.ChunkSize);
        Assert.Equal(expected.Proof.Chunks is null, actual.Proof.Chunks is null);
        if (expected.Proof.Chunks is not null)
            Assert.Equal(expected.Proof.Chunks.ToArray(), actual.Proof.Chunks!.ToArray());
        Assert.Equal((expected.Origin, (expected.Proof.By, expected.Proof.Document, expected.Proof.IsFromVerified), expected.Proof.Ranges?.OfCompressed, expected.Proof.Ranges?.Count), (actual.Origin, (actual.Proof.By, actual.Proof.Document, actual.Proof.IsFromVerified), actual.Proof.Ranges?.OfCompressed, actual.Proof.Ranges?.Count));
        for (int i = 0; i < expected.Proof.Ranges?.Count; i++)
        {
            Assert.Equal(expected.Proof.Ranges[i], actual.Proof.Ranges![i]);
        }
        Assert.Equal(expected.Proof.Ranges?.Digests.ToArray(), actual.Proof.Ranges?.Digests.ToArray());
        Assert.Equal(expected.Entries, actual.Entries);
        Assert.Equal(Paths(expected), Paths(actual));
        Assert.Equal(expected.LinkTargets.Select(target => target.ToArray()), actual.LinkTargets.Select(target => target.ToArray()));
        Assert.Equal(Xattrs(expected), Xattrs(actual));
        Assert.Equal(Extents(expected), Extents(actual));
        Assert.Equal(expected.Checkpoints.Count, actual.Checkpoints.Count);
        for (int i = 0; i < expected.Checkpoints.Count; i++)
        {
            (Checkpoint a, Checkpoint b) = (expected.Checkpoints[i], actual.Checkpoints[i]);
            Assert.Equal(a.Window.ToArray(), b.Window.ToArray());
            Assert.Equal(a with { Window = default }, b with { Window = default });
        }
        Assert.Equal(expected.Checkpoints.CompressedOffset(expected.Checkpoints.Count), actual.Checkpoints.CompressedOffset(actual.Checkpoints.Count));

        static IEnumerable<string> Paths(LayerIndex index) => Enumerable.Range(0, index.Paths.Count).Select(node => ScannedTar.PathOf(index.Paths, node));
        static IEnumerable<string> Extents(LayerIndex index) => index.SparseMaps.Select(map => string.Join(';', Enumerable.Range(0, map.Count).Select(i => $"{map[i]} {map.End(i)}")) + map.Blocks);
        static IEnumerable<string> Xattrs(LayerIndex index) => index.XattrSets.Select(set => string.Join(';', set.Select(x => $"{Convert.ToHexString(x.Name.Span)}={Convert.ToHexString(x.Value.Span)}")));
    }

    [Fact]
    public void Index_ComesBackAsItWas()
    {
        using var directory = new TemporaryDirectory();
        LayerIndex index = Sample(2000);
        var cache = new BlobCache(directory["cache"]);
        string path = Path.Combine(cache.GetDirectory("layers"), "sha256", "x");
        LayerIndexFile.Save(path, index, cache);
        AssertSame(index, LayerIndexFile.TryLoad(path, s_digest));
        Assert.Single(Directory.GetFiles(Path.GetDirectoryName(path)!));
    }

    [Fact]
    public void Index_ThatIsLoaded_CountsAsUsed()
    {
        using var directory = new TemporaryDirectory();
        var cache = new BlobCache(directory["cache"]);
        string path = Path.Combine(cache.GetDirectory("layers"), "x");
        LayerIndexFile.Save(path, Sample(), cache);
        File.SetLastWriteTimeUtc(path, DateTime.UtcNow.AddDays(-2));
        Assert.NotNull(LayerIndexFile.TryLoad(path, s_digest));
        Assert.Equal((0, 0L), cache.Prune(0, DateTime.UtcNow.AddDays(-1)));
        Assert.True(File.Exists(path));
    }

    private static LayerIndex WithRanges(bool ofCompressed)
    {
        var digests = new byte[4 * ChunkDigests.DigestSize];
        new Random(1).NextBytes(digests);
        long[] offsets = ofCompressed ? [0, 69_999, 150_000, 300_000] : [0, 4_000_000, 8_000_000, 9_999_999];
        int[] lengths = ofCompressed ? [70_000, 80_001, 150_000, 300_000] : [3_999_000, 4_000_000, 17, 1];
        return Sample(4) with
        {
            Proof = ofCompressed
                ? Proof.OfParser(new RangeDigests(ofCompressed, offsets, lengths, digests)).ByManifest(s_digest)
                : Proof.OfParser(new RangeDigests(ofCompressed, offsets, lengths, digests)).ByRepository(s_digest, isFromVerified: true),
            Origin = IndexOrigin.Soci,
        };
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Ranges_ComeBackAsTheyWere(bool ofCompressed)
    {
        LayerIndex index = WithRanges(ofCompressed);
        AssertSame(index, LayerIndexFile.TryDecode(LayerIndexFile.Encode(index), s_digest));
        LayerIndex hopped = index with { Proof = Proof.OfParser(ranges: null).BySource(isFromVerified: ofCompressed) };
        AssertSame(hopped, LayerIndexFile.TryDecode(LayerIndexFile.Encode(hopped), s_digest));
    }

    [Fact]
    public void EmptyLayer_ComesBackAsItWas()
    {
        LayerEntriesBuilder entries = ScannedTar.Collect([]);
        using var checkpoints = new CheckpointTableBuilder(new IndexBudget(IndexLimits.Default));
        checkpoints.Add(new Checkpoint(0, 0, 0, true, default));
        var index = new LayerIndex
        {
            Digest = s_digest,
            CompressedSize = 0,
            UncompressedSize = 0,
            Format = CompressionFormat.None,
            Proof = Proof.ByLayer(new ChunkDigests(1, [])),
            Checkpoints = checkpoints.Build(0, 0),
            Paths = entries.BuildPaths(),
            Entries = entries.BuildEntries(),
            LinkTargets = entries.BuildLinkTargets(),
            XattrSets = entries.BuildXattrSets(),
        };
        AssertSame(index, LayerIndexFile.TryDecode(LayerIndexFile.Encode(index), s_digest));
    }

    [Fact]
    public void AbsentFileOtherDigestOtherVersion_GiveNull()
    {
        Assert.Null(LayerIndexFile.TryLoad("/nonexistent/file", s_digest));
        byte[] file = LayerIndexFile.Encode(Sample());
        Assert.Null(LayerIndexFile.TryDecode(file, Digest.OfSha256("another layer"u8)));
        foreach (uint version in (uint[])[0, LayerIndexFile.Version + 1])
        {
            BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(8), version);
            Assert.Null(LayerIndexFile.TryDecode(file, s_digest));
        }
    }

    [Fact]
    public void TruncatedAtEveryLength_GivesNull()
    {
        byte[] file = LayerIndexFile.Encode(Sample());
        for (int length = 0; length < file.Length; length++)
        {
            Assert.Null(LayerIndexFile.TryDecode(file.AsMemory(0, length), s_digest));
            Assert.Null(LayerIndexFile.TryDecode(Rehash(file[..length]), s_digest));
            Assert.Null(LayerIndexFile.TryOpen(new CheckedFile(file.AsMemory(0, length)), s_digest, new IndexBudget(long.MaxValue)));
        }
        Assert.Null(LayerIndexFile.TryDecode(Rehash([.. file, 0]), s_digest));
    }

    [Fact]
    public void EveryChangedByte_GivesNull()
    {
        byte[] file = LayerIndexFile.Encode(Sample());
        for (int i = 0; i < file.Length; i++)
        {
            file[i] ^= 0x10;
            Assert.Null(LayerIndexFile.TryDecode(file, s_digest));
            file[i] ^= 0x10;
        }
    }

    // The hashes put right after the damage, so that only the parser stands between it and us.
    [Fact]
    public void DamageUnderARightHash_NeverThrowsNorGivesReferencesOutOfBounds()
    {
        byte[] packed = LayerIndexFile.Encode(Sample());
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 12; i < packed.Length; i++)
        {
            foreach (byte value in (byte[])[0, 1, 0x7F, 0x80, 0xFF, (byte)(packed[i] + 1)])
            {
                byte[] file = [.. packed];
                file[i] = value;
                Walk(LayerIndexFile.TryDecode(Rehash(file), s_digest));
            }
        }
        Assert.True((GC.GetAllocatedBytesForCurrentThread() - before) / (packed.Length * 6) < 10 << 20, "allocates without bounds");

        byte[] columns = LayerIndexColumns.Encode(Sample(4));
        Gen.Select(Gen.Int[0, columns.Length - 1], Gen.Byte).Array[1, 4].Sample(damages =>
        {
            byte[] damaged = [.. columns];
            foreach ((int at, byte value) in damages)
            {
                damaged[at] = value;
            }
            try
            {
                LayerIndexColumns decoded = LayerIndexColumns.Decode(damaged, 10_000_000, new IndexBudget(IndexLimits.Default));
                Walk(decoded.Paths, decoded.Entries, decoded.LinkTargets, decoded.XattrSets, decoded.SparseMaps);
            }
            catch (Exception e) when (e is InvalidDataException or OverflowException)
            {
            }
        }, iter: 5000);
    }

    private static byte[] Rehash(byte[] file)
    {
        if (LayerIndexFile.TryOpen(new CheckedFile(file), s_digest, new IndexBudget(long.MaxValue)) is { Stored: { } columns })
        {
            SHA256.HashData(file.AsSpan((int)columns.Offset, columns.PackedLength), file.AsSpan(32));
        }
        if (file.Length > 32)
        {
            XxHash128.Hash(file.AsSpan(32), file.AsSpan(16));
        }
        return file;
    }

    private static void Walk(LayerIndex? index)
    {
        if (index is not null)
        {
            Walk(index.Paths, index.Entries, index.LinkTargets, index.XattrSets, index.SparseMaps);
            for (int i = 0; i < index.Checkpoints.Count; i++)
            {
                Assert.InRange(index.Checkpoints.CompressedEnd(i), index.Checkpoints.CompressedOffset(i), index.CompressedSize);
            }
        }
    }

    private static void Walk(LayerPaths paths, LayerEntry[] entries, ReadOnlyMemory<byte>[] linkTargets, Xattr[][] xattrSets, SparseMap[] sparseMaps)
    {
        int length = 0;
        for (int node = 1; node < paths.Count; node++)
        {
            length += paths.Name(node).Length;
            Assert.InRange(paths.Parent(node), 0, node - 1);
        }
        foreach (LayerEntry entry in entries)
        {
            Assert.InRange(entry.Path, 0, paths.Count - 1);
            Assert.InRange(entry.LinkPath, -1, paths.Count - 1);
            Assert.InRange(entry.LinkTarget, -1, linkTargets.Length - 1);
            Assert.InRange(entry.XattrSet, -1, xattrSets.Length - 1);
            SparseMap? map = entry.SparseMap == 0 ? null : sparseMaps[entry.SparseMap - 1];
            Assert.InRange(entry.DataOffset, 0, 10_000_000 - (map?.StoredSize ?? entry.Size));
            long end = -1;
            for (int i = 0; i < map?.Count; i++)
            {
                Assert.True(map[i].Offset > end && map.End(i) > map[i].Offset && map.End(i) <= entry.Size && map[i].Stored < map.StoredSize);
                end = map.End(i);
            }
        }
    }
}
