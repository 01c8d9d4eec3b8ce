using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using CsCheck;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;
using LazyMount.Indexes.Toc;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Layers;

/// <summary>
/// What a hostile index, table or layer takes of memory while it is decoded: at most three times what its blob's size allows, however
/// few bytes it has. Measured by what the thread allocates, so nothing depends on the machine.
/// </summary>
public sealed class IndexBudgetTests
{
    private const long SmallLayer = 8 << 10;

    private static readonly Digest s_digest = Digest.OfSha256("a layer"u8);

    private static long MemoryOfSmallLayer => IndexLimits.Default.MemoryFor(SmallLayer);

    // An index file as an enemy would write it: any columns, a layer of 8 KB, one span.
    private static byte[] File(ReadOnlySpan<byte> columns, int prefetch = 0)
    {
        using var compressor = new ZstdSharp.Compressor(19);
        byte[] packed = compressor.Wrap(columns).ToArray();
        while (packed.Length < columns.Length / 4096)
        {
            packed = [.. packed, .. SkippableFrame(columns.Length / 4096 - packed.Length)];
        }
        packed = packed.Length < columns.Length ? packed : columns.ToArray();
        return LayerIndexFile.Encode(new LayerHead
        {
            Digest = s_digest,
            CompressedSize = SmallLayer,
            UncompressedSize = SmallLayer,
            Format = CompressionFormat.None,
            Proof = Proof.ByLayer(new ChunkDigests((int)SmallLayer, new byte[32])),
            Prefetch = new PrefetchRange[prefetch],
            Checkpoints = new CheckpointTable([0, SmallLayer], [0, SmallLayer], [0x80], [0], [0], []),
        }, columns.Length, packed);
    }

    private static byte[] SkippableFrame(int length)
    {
        var frame = new byte[Math.Max(8, length)];
        BinaryPrimitives.WriteUInt32LittleEndian(frame, 0x184D2A50);
        BinaryPrimitives.WriteInt32LittleEndian(frame.AsSpan(4), frame.Length - 8);
        return frame;
    }

    /// <summary>Columns of so many equal things of one kind, as far as they stand before what is refused.</summary>
    private static byte[] Columns(string kind, int count)
    {
        var columns = new IndexWriter();
        columns.Unsigned(kind == "paths" ? (uint)count + 1 : 1);
        if (kind == "paths")
        {
            byte[] sameParent = new byte[count], length = [.. Enumerable.Repeat((byte)1, count)], name = [.. Enumerable.Repeat((byte)'a', count)];
            columns.Raw(sameParent);
            columns.Raw(length);
            columns.Raw(name);
        }
        columns.Unsigned(kind == "link targets" ? (uint)count : 0);
        if (kind == "link targets")
        {
            columns.Raw([.. Enumerable.Repeat((byte)1, count)]);
            columns.Raw([.. Enumerable.Repeat((byte)'t', count)]);
        }
        columns.Unsigned(kind is "empty attribute sets" or "attribute sets" or "equal attribute sets" ? (uint)count : 0);
        switch (kind)
        {
            case "empty attribute sets":
                columns.Raw(new byte[count]);
                break;
            case "attribute sets":
            case "equal attribute sets":
                for (int i = 0; i < count; i++)
                {
                    byte[] name = kind == "attribute sets" ? Encoding.ASCII.GetBytes(i.ToString(CultureInfo.InvariantCulture)) : [1];
                    columns.Raw([1, (byte)name.Length, .. name, 0]);
                }
                break;
        }
        columns.Unsigned(kind == "sparse maps" ? (uint)count : kind == "sparse extents" ? 1u : 0);
        if (kind == "sparse maps")
        {
            columns.Raw(new byte[count]);
        }
        if (kind == "sparse extents")
        {
            columns.Unsigned((uint)count);
            columns.Raw([.. Enumerable.Repeat((byte)1, 2 * count)]);
        }
        columns.Unsigned(kind == "entries" ? (uint)count : 0);
        for (int column = 0; column < 12; column++)
        {
            columns.Unsigned(kind == "entries" && column < 10 ? (uint)count : 0);
        }
        columns.Raw(new byte[kind == "entries" ? 10 * count : 0]);
        return columns.Bytes.ToArray();
    }

    private static (LayerIndex? Index, InvalidDataException? Refusal, long Allocated) Decode(byte[] file)
    {
        var budget = new IndexBudget(SmallLayer);
        long before = GC.GetAllocatedBytesForCurrentThread();
        try
        {
            LayerIndex? index = LayerIndexFile.Decode(file, s_digest, budget);
            return (index, null, GC.GetAllocatedBytesForCurrentThread() - before);
        }
        catch (InvalidDataException e)
        {
            return (null, e, GC.GetAllocatedBytesForCurrentThread() - before);
        }
    }

    public static TheoryData<string> Kinds => ["paths", "link targets", "empty attribute sets", "attribute sets", "equal attribute sets", "sparse maps", "sparse extents", "entries"];

    [Theory]
    [MemberData(nameof(Kinds))]
    public void HostileIndex_OfASmallLayer_TakesLittleMemory(string kind)
    {
        // As many as fit the columns that such an index may have: each would take many times its bytes.
        foreach (int count in (int[])[250_000, 390_000, 20_000_000])
        {
            if (kind == "attribute sets" && count > 1_000_000)
            {
                continue; // distinct ones do not pack
            }
            byte[] file = File(Columns(kind, count));
            (LayerIndex? index, InvalidDataException? refusal, long allocated) = Decode(file);
            if (kind != "equal attribute sets") // which are kept once
            {
                Assert.Null(index);
                Assert.NotNull(refusal);
            }
            Assert.InRange(allocated, 0, 3 * MemoryOfSmallLayer);
        }
    }

    [Theory]
    [InlineData("paths")]
    [InlineData("link targets")]
    [InlineData("attribute sets")]
    [InlineData("sparse maps")]
    [InlineData("entries")]
    public void WhatPassesTheMemoryOfALayer_IsToldSo(string kind)
        => Assert.Contains("bytes of memory, the maximum for a layer of its size", Decode(File(Columns(kind, 300_000))).Refusal!.Message, StringComparison.Ordinal);

    [Fact]
    public void ListOfRangesToFetchFirst_IsCounted_AndMayNotRepeatItself()
    {
        byte[] columns = Columns("", 0);
        Assert.NotNull(Decode(File(columns)).Index);
        Assert.Contains("bytes of memory", Decode(File(columns, prefetch: 400_000)).Refusal!.Message, StringComparison.Ordinal);
        Assert.True(PrefetchRange.AreApart([new(10, 20), new(0, 10), new(20, 21)]));
        Assert.False(PrefetchRange.AreApart([new(10, 20), new(0, 11)]));
    }

    /// <summary>Columns of all kinds at once, cut off and continued with any byte: refused or read, always within the bound.</summary>
    [Fact]
    public void GeneratedIndexes_StayWithinTheBound()
    {
        Gen<byte[]> part = Gen.Select(Gen.Int[0, 7].Select(i => Kinds.Select(row => row.Data).ElementAt(i)), Gen.Int[0, 60_000], Columns);
        Gen.Select(part, part, Gen.Int[0, 1_000_000], Gen.Byte, Gen.Int[0, 500_000]).Sample((first, second, cut, fill, more) =>
        {
            byte[] columns = [.. first.AsSpan(0, Math.Min(cut, first.Length)), .. Enumerable.Repeat(fill, more), .. second];
            Assert.InRange(Decode(File(columns)).Allocated, 0, 3 * MemoryOfSmallLayer);
        }, iter: 150, threads: 1);
    }

    /// <summary>Layers of random members of all kinds: what the builder counts is what it takes.</summary>
    [Fact]
    public void GeneratedTars_TakeWhatIsCounted()
    {
        Gen.Select(Gen.Int[0, 5], Gen.Int[1, 60], Gen.Int[0, 40]).Array[200, 1500].Sample(members =>
        {
            var tar = new TarBytes();
            for (int i = 0; i < members.Length; i++)
            {
                (int kind, int length, int more) = members[i];
                string name = $"{i}-{new string('n', length)}";
                _ = kind switch
                {
                    0 => tar.File(name),
                    1 => tar.Symlink(name, new string('t', length + more)),
                    2 => tar.HardLink(name, $"elsewhere-{i}"),
                    3 => tar.Pax(($"SCHILY.xattr.user.{i}", new string('v', more))).File(name),
                    4 => tar.Sparse(SparseFormat.Pax10, name, 10_000, [.. Enumerable.Range(0, more).Select(j => (j * 10L, 1L))], new byte[more]),
                    _ => tar.File($"{new string('d', length / 3)}/{i % 20}/{name}"),
                };
            }
            byte[] bytes = tar.ToArray();
            var budget = new IndexBudget(IndexLimits.Default);
            var builder = new LayerEntriesBuilder(budget);
            ScannedTar.Scan(bytes, member => builder.Add(member));
            long before = GC.GetAllocatedBytesForCurrentThread();
            LayerPaths paths = builder.BuildPaths();
            LayerEntry[] entries = builder.BuildEntries();
            ReadOnlyMemory<byte>[] targets = builder.BuildLinkTargets();
            long built = GC.GetAllocatedBytesForCurrentThread() - before;
            Assert.True(built <= budget.Taken + 1000, $"{built} bytes for {budget.Taken} counted");
            Assert.Equal(members.Length, entries.Length);
            GC.KeepAlive((paths, targets));

            // With half of that the same tar is refused, before it has taken three times as much.
            long half = budget.Taken / 2;
            var small = new LayerEntriesBuilder(new IndexBudget(new IndexLimits { Memory = half, SmallestMemory = half }));
            var scanner = new TarScanner(IndexLimits.Default);
            before = GC.GetAllocatedBytesForCurrentThread();
            Assert.Throws<InvalidDataException>(() =>
            {
                ReadOnlySpan<byte> piece = bytes;
                while (scanner.TryRead(ref piece))
                {
                    small.Add(scanner.Member);
                }
            });
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 3 * half + (1 << 20)); // headers are read into buffers of their own
        }, iter: 30, threads: 1);
    }

    /// <summary>Tables of contents of random entries.</summary>
    [Fact]
    public void GeneratedTables_AreRefusedWithinTheBound()
    {
        const string Hash = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        Gen.Select(Gen.Int[0, 3], Gen.Int[1, 100], Gen.Int[1, 50]).Array[500, 3000].Sample(entries =>
        {
            var json = new StringBuilder("""{"version":1,"entries":[""");
            long offset = 100;
            for (int i = 0; i < entries.Length; i++)
            {
                (int kind, int length, int chunks) = entries[i];
                string name = $"{i}{new string('n', length)}";
                json.Append(i == 0 ? "" : ",").Append(CultureInfo.InvariantCulture, $$"""{"name":"{{name}}",""");
                switch (kind)
                {
                    case 0:
                        json.Append(""" "type":"dir"}""");
                        break;
                    case 1:
                        json.Append(CultureInfo.InvariantCulture, $$""" "type":"symlink","linkName":"{{new string('l', length)}}"}""");
                        break;
                    case 2:
                        json.Append(CultureInfo.InvariantCulture, $$$""" "type":"dir","xattrs":{"user.{{{i}}}":"AAAA"}}""");
                        break;
                    default:
                        for (int chunk = 0; chunk < chunks; chunk++)
                        {
                            json.Append(chunk == 0 ? "" : $$""",{"name":"{{name}}",""")
                                .Append(CultureInfo.InvariantCulture, $$""" "type":"{{(chunk == 0 ? "reg" : "chunk")}}","size":{{chunks}},"offset":{{offset += 30}},"chunkOffset":{{chunk}},"chunkSize":1,"chunkDigest":"{{Hash}}"}""");
                        }
                        break;
                }
            }
            byte[] bytes = Encoding.UTF8.GetBytes(json.Append("]}").ToString());
            long needed = Read(IndexLimits.Default, refused: false);
            long half = needed / 2;
            Read(new IndexLimits { Memory = half, SmallestMemory = half }, refused: true);

            long Read(IndexLimits limits, bool refused)
            {
                var budget = new IndexBudget(limits);
                long before = GC.GetAllocatedBytesForCurrentThread();
                using var builder = new TocIndexBuilder(budget, dataEnd: 1L << 40);
                if (refused)
                {
                    Assert.Throws<InvalidDataException>(() => TocJson.Read(bytes, builder));
                    Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 3 * limits.Memory + (1 << 20));
                }
                else
                {
                    TocJson.Read(bytes, builder);
                }
                return budget.Taken;
            }
        }, iter: 20, threads: 1);
    }

    [Fact]
    public void LayersOfAnImage_ShareATotal_WhichAFailedIndexGivesBack()
    {
        var image = new ImageBudget(1 << 20);
        var first = new IndexBudget(IndexLimits.Default, long.MaxValue, image);
        first.Take(800_000);
        using (var failed = new IndexBudget(IndexLimits.Default, long.MaxValue, image))
        {
            Assert.Contains("more than 1048576 bytes of memory together", Assert.Throws<InvalidDataException>(() => failed.Take(400_000)).Message, StringComparison.Ordinal);
            failed.Take(100_000);
        }
        using var next = new IndexBudget(IndexLimits.Default, long.MaxValue, image);
        next.Take(200_000);
        first.Dispose();
        next.Take(700_000);
    }

    [Fact]
    public void MemoryOfALayer_GrowsWithItsBlob_UpToTheBound()
    {
        IndexLimits limits = IndexLimits.Default;
        Assert.Equal(limits.SmallestMemory, limits.MemoryFor(0));
        Assert.Equal(limits.SmallestMemory + 256 * SmallLayer, limits.MemoryFor(SmallLayer));
        Assert.Equal(limits.Memory, limits.MemoryFor(1L << 40));
        Assert.Equal(limits.Memory, limits.MemoryFor(long.MaxValue));
        var budget = new IndexBudget(limits, 0);
        Assert.Throws<InvalidDataException>(() => budget.Take(int.MaxValue, int.MaxValue));
        Assert.Equal(0, budget.Taken);
    }

    [Fact]
    public void AttributeRules_HoldForTheStoredForm()
    {
        LayerIndex sample = LayerIndexFileTests.Sample(4);
        Xattr overlay = new("trusted.overlay.opaque"u8.ToArray(), "y"u8.ToArray()), user = new("user.a"u8.ToArray(), "v"u8.ToArray());
        Xattr tooLong = new(Encoding.ASCII.GetBytes("user." + new string('x', 255)), default);
        LayerIndex? read = Stored([overlay, user], [overlay], [user, tooLong]);
        Assert.Equal(["user.a"], read!.XattrSets.Single().Select(each => Encoding.ASCII.GetString(each.Name.Span)));
        Assert.Equal([0, -1, 0], read.Entries.Take(3).Select(entry => entry.XattrSet));
        Assert.Null(Stored([user, user], [user], [user])); // a name twice
        Assert.Null(Stored([], [user], [user]));

        LayerIndex? Stored(params Xattr[][] sets)
            => LayerIndexFile.TryDecode(LayerIndexFile.Encode(sample with { XattrSets = sets, Entries = [.. sample.Entries.Select((entry, i) => entry with { XattrSet = i < 3 ? i : -1 })] }), sample.Digest);
    }
}
