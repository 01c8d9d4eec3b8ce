using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;
using LazyMount.Compression;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;
using LazyMount.TestKit;

namespace LazyMount.Fuzz.Targets;

/// <summary>
/// Index files: whatever they hold gives an index that can be used, or none. The first byte chooses the form of the
/// input: a file, whose hash is set right; or columns before they are packed, each with its length before it, in a sound
/// file. Neither hash nor zstd nor lengths stand in the fuzzer's way then.
/// </summary>
internal static class IndexTarget
{
    private const int PayloadStart = 32;
    private const int EntryColumns = 12;

    public static void Run(byte[] input)
    {
        var reader = new InputReader(input);
        byte[] file = (reader.Byte() & 1) == 0 ? FromPayload(reader.Rest) : FromColumns(ref reader);
        if (LayerIndexFile.TryDecode(file, TreeWalk.Digest) is not { } layer)
        {
            return;
        }
        TreeWalk.CheckLayer(layer);
        TreeWalk.Merge([layer]);
        TreeWalk.Merge([layer, layer]);
        CheckCheckpoints(layer);
        byte[] again = LayerIndexFile.Encode(layer);
        FuzzException.Require(LayerIndexFile.TryDecode(again, TreeWalk.Digest) is { } copy
            && copy.Entries.AsSpan().SequenceEqual(layer.Entries) && LayerIndexFile.Encode(copy).AsSpan().SequenceEqual(again), "what was read cannot be written and read again");
    }

    private static void CheckCheckpoints(LayerIndex layer)
    {
        CheckpointTable checkpoints = layer.Checkpoints;
        for (int span = 0; span < checkpoints.Count; span++)
        {
            try
            {
                Checkpoint checkpoint = checkpoints[span];
                using Decompressor decompressor = Decompressor.Resume(layer.Format, checkpoint);
                FuzzException.Require(decompressor.UncompressedOffset == checkpoints.UncompressedOffset(span), "resumed elsewhere");
            }
            catch (InvalidDataException)
            {
            }
            if (checkpoints.Length(span) > 0)
            {
                FuzzException.Require(checkpoints.Find(checkpoints.UncompressedOffset(span)) == span, "a span is not found");
            }
            FuzzException.Require(checkpoints.CompressedEnd(span) >= checkpoints.CompressedOffset(span), "a span ends before it begins");
        }
    }

    private static byte[] FromPayload(ReadOnlySpan<byte> payload)
    {
        byte[] file = new byte[PayloadStart + payload.Length];
        "LMLAYER\n"u8.CopyTo(file);
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(8), LayerIndexFile.Version);
        payload.CopyTo(file.AsSpan(PayloadStart));
        XxHash128.Hash(payload, file.AsSpan(16));
        return file;
    }

    private static byte[] FromColumns(ref InputReader reader)
    {
        var columns = new IndexWriter();
        ushort count = reader.UInt16();
        columns.Raw(reader.Block()); // paths, targets, attributes
        columns.Unsigned(count);
        var entries = new IndexWriter();
        for (int i = 0; i < EntryColumns; i++)
        {
            ReadOnlySpan<byte> column = reader.Block();
            columns.Unsigned((uint)column.Length);
            entries.Raw(column);
        }
        columns.Raw(entries.Bytes);
        columns.Unsigned(0); // no ranges

        var payload = new IndexWriter();
        byte[] digest = Encoding.ASCII.GetBytes(TreeWalk.Digest.ToString());
        const ulong Size = 1 << 20;
        payload.Unsigned((uint)digest.Length);
        payload.Raw(digest);
        payload.Unsigned(0); // no diff id
        payload.Unsigned(Size);
        payload.Unsigned(Size);
        payload.Unsigned((ulong)CompressionFormat.None);
        payload.Unsigned(0); // no transcoding
        payload.Unsigned(0);
        payload.Unsigned((ulong)IndexOrigin.Built);
        payload.Unsigned((ulong)Voucher.Layer);
        payload.Unsigned(1); // from a verified source
        payload.Unsigned(0); // no document
        payload.Unsigned(0); // nothing to fetch first
        payload.Unsigned(Size); // one chunk
        payload.Unsigned(1);
        payload.Unsigned((uint)columns.Bytes.Length);
        payload.Unsigned((uint)columns.Bytes.Length); // as they are
        payload.Unsigned(0);
        payload.Unsigned(1); // one checkpoint
        payload.Unsigned(Size);
        payload.Unsigned(Size);
        payload.Raw([0x80, 0, 0]);
        payload.Raw(columns.Bytes);
        payload.Raw(new byte[32]);
        return FromPayload(payload.Bytes);
    }

    public static IEnumerable<byte[]> Seeds()
    {
        var tars = new[]
        {
            new TarBytes(),
            new TarBytes().Directory("d").File("d/f", "content").Symlink("s", "d/f").HardLink("h", "d/f").Fifo("p").CharacterDevice("c", 1, 3),
            new TarBytes().Pax(("mtime", "1.5"), ("SCHILY.xattr.user.a", "v")).File("a").Pax(("SCHILY.xattr.user.a", "v"), ("SCHILY.xattr.user.b", "w")).File("b").Whiteout("d/x").Opaque("e"),
            new TarBytes().Symlink("s", "d").File("s/under").Directory("d").HardLink("late", "s/under").File("d/a/b/c/d/e"),
            new TarBytes().Sparse(SparseFormat.Pax01, "sparse", 9000, [(0, 10), (5000, 100)], new byte[110]).File("f", "x").Sparse(SparseFormat.Old, "hole", 1 << 30, [], []),
        };
        foreach (TarBytes tar in tars)
        {
            byte[] bytes = tar.ToArray();
            var scanner = new TarScanner();
            var entries = new LayerEntriesBuilder(new IndexBudget(IndexLimits.Default));
            ReadOnlySpan<byte> piece = bytes;
            while (scanner.TryRead(ref piece))
            {
                entries.Add(scanner.Member);
            }
            LayerIndex layer = TreeWalk.Index(entries, bytes.Length);
            yield return [0, .. LayerIndexFile.Encode(layer).AsSpan(PayloadStart)];
            yield return [1, .. Columns(layer)];
            yield return [0, .. LayerIndexFile.Encode(WithCheckpoints(layer)).AsSpan(PayloadStart)];
        }
    }

    private static LayerIndex WithCheckpoints(LayerIndex layer)
    {
        using var table = new CheckpointTableBuilder(new IndexBudget(IndexLimits.Default));
        table.Add(new Checkpoint(0, 0, 0, AtMemberStart: true, default));
        table.Add(new Checkpoint(100, 3, 200, AtMemberStart: false, "a window"u8.ToArray()));
        table.Add(new Checkpoint(300, 0, 600, AtMemberStart: true, default));
        return new LayerIndex
        {
            Digest = layer.Digest,
            CompressedSize = layer.CompressedSize,
            UncompressedSize = layer.UncompressedSize,
            Format = CompressionFormat.Gzip,
            Proof = layer.Proof,
            Checkpoints = table.Build(layer.UncompressedSize, layer.CompressedSize),
            Paths = layer.Paths,
            Entries = layer.Entries,
            LinkTargets = layer.LinkTargets,
            XattrSets = layer.XattrSets,
            SparseMaps = layer.SparseMaps,
        };
    }

    /// <summary>The columns of an index in the form that <see cref="FromColumns"/> takes.</summary>
    private static byte[] Columns(LayerIndex layer)
    {
        byte[] columns = LayerIndexColumns.Encode(layer);
        // Entries come last but for the ranges; without any, they take one byte for the count, one for the length of each column, and ranges one.
        int head = LayerIndexColumns.Encode(WithoutEntries(layer)).Length - 1 - EntryColumns - 1;
        var reader = new IndexReader(columns.AsSpan(head));
        ushort count = (ushort)reader.Unsigned();
        int[] lengths = [.. new int[EntryColumns]];
        foreach (ref int length in lengths.AsSpan())
        {
            length = (int)reader.Unsigned();
        }
        var form = new List<byte>();
        form.AddRange(BitConverter.GetBytes(count));
        form.AddRange([.. BitConverter.GetBytes((ushort)head), .. columns.AsSpan(0, head)]);
        foreach (int length in lengths)
        {
            form.AddRange([.. BitConverter.GetBytes((ushort)length), .. reader.Raw(length)]);
        }
        return [.. form];
    }

    private static LayerIndex WithoutEntries(LayerIndex layer) => new()
    {
        Digest = layer.Digest,
        CompressedSize = layer.CompressedSize,
        UncompressedSize = layer.UncompressedSize,
        Format = layer.Format,
        Proof = layer.Proof,
        Checkpoints = layer.Checkpoints,
        Paths = layer.Paths,
        Entries = [],
        LinkTargets = layer.LinkTargets,
        XattrSets = layer.XattrSets,
        SparseMaps = layer.SparseMaps,
    };
}
