using System.Buffers.Binary;
using System.IO.Hashing;
using System.Security.Cryptography;
using CsCheck;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;
using LazyMount.Fuzz.Targets;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using LazyMount.Layers;
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

    // 1,500 checkpoints with windows, some of them close to each other, and 1,000 chunks: each table takes several blocks.
    private static LayerIndex Large(int prefetch = 0)
    {
        var random = new Random(4);
        using var checkpoints = new CheckpointTableBuilder(new IndexBudget(IndexLimits.Default));
        long uncompressed = 0, compressed = 0;
        for (int i = 0; i < 1500; i++)
        {
            byte[] window = new byte[i % 9 == 0 ? 0 : random.Next(1, 900)];
            random.NextBytes(window);
            checkpoints.Add(new Checkpoint(compressed, (byte)(window.Length == 0 ? 0 : i % 8), uncompressed, window.Length == 0, window));
            uncompressed += random.Next(4) switch { 0 => 0, 1 => random.Next(1, 20_000), _ => random.Next(1, 2 << 20) };
            compressed += random.Next(1, 40_000);
        }
        byte[] digests = new byte[1000 * ChunkDigests.DigestSize];
        random.NextBytes(digests);
        return Sample(1500) with
        {
            UncompressedSize = Math.Max(uncompressed, 10_000_000) + 1,
            CompressedSize = compressed,
            Prefetch = [.. Enumerable.Range(0, prefetch).Select(i => new PrefetchRange(i, i + 1))],
            Proof = Proof.ByLayer(new ChunkDigests((int)(compressed / 1000) + (compressed % 1000 == 0 ? 0 : 1), digests)),
            Checkpoints = checkpoints.Build(Math.Max(uncompressed, 10_000_000) + 1, compressed),
        };
    }

    /// <summary>All that a head answers, one line for each question; "failed" for what cannot be had.</summary>
    private static List<string> Answers(LayerHead head)
    {
        var answers = new List<string>();
        CheckpointTable table = head.Checkpoints;
        for (int i = 0; i < table.Count; i++)
        {
            Add(() => $"{table[i] with { Window = default }} {Convert.ToHexString(table[i].Window.Span)} {table.Length(i)} {table.CompressedEnd(i)}");
            Add(() => $"{table.SpanOf(i)} {table.FirstOf(table.SpanOf(i))}");
        }
        for (long offset = 0; offset < head.UncompressedSize; offset += 99_991)
        {
            Add(() => $"{table.Find(offset)}");
        }
        for (int i = 0; i < head.Proof.Chunks!.Count; i++)
        {
            Add(() => Convert.ToHexString(head.Proof.Chunks[i]));
        }
        return answers;

        void Add(Func<string> ask)
        {
            try
            {
                answers.Add(ask());
            }
            catch (ImageException e) when (e.Error == ImageError.Local)
            {
                answers.Add("failed");
            }
        }
    }

    private static LayerHead? Open(string path) => LayerIndexFile.TryOpen(path, s_digest, new IndexBudget(long.MaxValue));

    /// <summary>Wherever the table stands in a block, it gives what the offsets say.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(57)]
    [InlineData(1200)]
    [InlineData(5000)]
    public void TablesInAFile_AnswerAsThoseInMemory(int prefetch)
    {
        LayerIndex index = Large(prefetch);
        byte[] file = LayerIndexFile.Encode(index);
        LayerHead head = LayerIndexFile.TryOpen(new CheckedFile(file), s_digest, new IndexBudget(long.MaxValue))!;
        List<string> expected = Answers(index);
        Assert.Equal(expected, Answers(head));
        Assert.DoesNotContain("failed", expected);
        CheckpointTable table = head.Checkpoints;
        Assert.InRange(table.SpanCount, 2, table.Count - 1);
        for (int i = 0; i < table.Count; i++)
        {
            for (long offset = table.UncompressedOffset(i); offset < table.UncompressedOffset(i + 1); offset += 40_000)
            {
                Assert.Equal(i, table.Find(offset));
            }
        }
        Assert.Equal(file, LayerIndexFile.Encode(LayerIndexFile.TryDecode(file, s_digest)!));
    }

    /// <summary>A layer of 20 GB: 10,000 checkpoints with windows, 320,000 chunks. What is open of it does not grow with it.</summary>
    [Fact]
    public void LayerThatIsOpen_TakesLittleMemory()
    {
        using var directory = new TemporaryDirectory();
        string path = Path.Combine(directory.Path, "x");
        const long Size = 10_000L << 21;
        using var checkpoints = new CheckpointTableBuilder(new IndexBudget(IndexLimits.Default));
        for (long i = 0; i < 10_000; i++)
        {
            checkpoints.Add(new Checkpoint(i << 20, 0, i << 21, i == 0, i == 0 ? default : "a window"u8.ToArray()));
        }
        var cache = new BlobCache(directory["cache"]);
        LayerIndexFile.Save(path, Sample() with
        {
            CompressedSize = Size / 2,
            UncompressedSize = Size,
            Proof = Proof.ByLayer(new ChunkDigests(ChunkDigests.DefaultChunkSize, new byte[Size / 2 / ChunkDigests.DefaultChunkSize * ChunkDigests.DigestSize])),
            Checkpoints = checkpoints.Build(Size, Size / 2),
        }, cache).Close();
        using var spans = new SpanCache(0);
        var source = new BytesSource([]);
        long before = GC.GetAllocatedBytesForCurrentThread();
        LayerHead head = Open(path)!;
        using var layer = new Layer(head, new BlobReader(new Descriptor("", s_digest, Size / 2), head.Proof.Chunks, source, cache), spans);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 1, 60_000);
        Assert.Equal(9_999, layer.Spans.Find(Size - 1));
    }

    [Fact]
    public void TableInAFile_IsSearchedWithoutAllocating()
    {
        using var directory = new TemporaryDirectory();
        LayerIndex index = LayerIndexFile.Save(Path.Combine(directory.Path, "x"), Large(), new BlobCache(directory["cache"]));
        Assert.NotNull(index.Stored);
        Search();
        long before = GC.GetAllocatedBytesForCurrentThread();
        Search();
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
        index.Close();

        void Search()
        {
            for (long offset = 0; offset < index.UncompressedSize; offset += 1_000_003)
            {
                _ = index.Checkpoints.SpanOf(index.Checkpoints.Find(offset));
            }
        }
    }

    /// <summary>What is damaged and not needed does not matter; columns that are damaged are found when they are read, and the file is deleted.</summary>
    [Fact]
    public void ColumnsThatAreDamaged_AreNotReadWithTheHead_AndAsGoodAsAbsent()
    {
        using var directory = new TemporaryDirectory();
        string path = Path.Combine(directory.Path, "x");
        LayerIndex saved = LayerIndexFile.Save(path, Large(), new BlobCache(directory["cache"]));
        List<string> expected = Answers(saved);
        StoredContents columns = saved.Stored!;
        saved.Close();
        byte[] file = File.ReadAllBytes(path);
        file[columns.Offset + columns.PackedLength / 2] ^= 4;
        File.WriteAllBytes(path, file);

        LayerHead head = Open(path)!;
        Assert.Equal(saved.ContentsDigest, head.ContentsDigest);
        Assert.Null(LayerIndexFile.TryRead(head, new IndexBudget(long.MaxValue)));
        Assert.False(File.Exists(path));
        List<string> seen = Answers(head);
        head.Close();
        Assert.True(expected.Zip(seen).Count(pair => pair.First == pair.Second) > expected.Count / 2);
    }

    /// <summary>Damaged or cut before or while it is used: an answer is right, or fails and has the file deleted.</summary>
    [Fact]
    public void TablesThatAreDamagedWhileTheyAreUsed_GiveTheirAnswersOrFail()
    {
        using var directory = new TemporaryDirectory();
        string path = Path.Combine(directory.Path, "x");
        LayerIndex saved = LayerIndexFile.Save(path, Large(), new BlobCache(directory["cache"]));
        List<string> expected = Answers(saved);
        saved.Close();
        byte[] good = File.ReadAllBytes(path);
        var random = new Random(8);
        int failed = 0, absent = 0;
        for (int round = 0; round < 60; round++)
        {
            byte[] bad = [.. good];
            bad[random.Next(bad.Length)] ^= 0x20;
            File.WriteAllBytes(path, round % 3 == 0 ? bad : good);
            if (Open(path) is not { } head)
            {
                absent++;
                Assert.False(File.Exists(path));
                continue;
            }
            if (round % 3 > 0)
            {
                using var file = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
                file.Write(bad);
                file.SetLength(round % 3 == 2 ? random.Next(bad.Length) : bad.Length);
            }
            List<string> seen = Answers(head);
            head.Close();
            Assert.All(expected.Zip(seen), pair => Assert.True(pair.Second == "failed" || pair.First == pair.Second, $"{pair.Second} in the place of {pair.First}"));
            failed += seen.Contains("failed") ? 1 : 0;
            Assert.Equal(seen.Contains("failed"), !File.Exists(path));
        }
        Assert.True(failed > 30, $"{failed} failed, {absent} absent");
    }

    /// <summary>Whatever bytes a file has, with hashes set right: it is refused, or what is asked of it is answered or fails.</summary>
    [Fact]
    public void BytesAtRandom_AreAnsweredOrRefused()
    {
        var random = new Random(11);
        foreach (byte[] seed in IndexTarget.Seeds())
        {
            for (int round = 0; round < 300; round++)
            {
                byte[] bytes = [.. seed];
                for (int changes = random.Next(1, 6); changes > 0; changes--)
                {
                    // Mostly in the numbers at the beginning and in the tables at the end.
                    int at = random.Next(3) switch { 0 => random.Next(bytes.Length), 1 => random.Next(Math.Min(bytes.Length, 300)), _ => bytes.Length - 1 - random.Next(Math.Min(bytes.Length, 200)) };
                    bytes[at] = random.Next(4) switch { 0 => 0, 1 => 0xFF, 2 => (byte)(bytes[at] + 1), _ => (byte)random.Next(256) };
                }
                IndexTarget.Run(bytes);
            }
        }
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
