using System.Buffers.Binary;
using System.IO.Hashing;
using System.Security.Cryptography;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Compression;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using LazyMount.TestKit;

namespace LazyMount.Fuzz.Targets;

/// <summary>
/// Index files: whatever they hold gives an index that can be used, or none, whether it is decoded as somebody else's or read in place as
/// our own. The first byte chooses the form of the
/// input: a file, whose hash and digest are set right; or columns before they are packed, each with its length before it, in a sound
/// file. Neither hashes nor zstd nor lengths stand in the fuzzer's way then.
/// </summary>
internal static class IndexTarget
{
    private const int PayloadStart = 12, HashStart = 16, ContentsStart = 32;
    private const int EntryColumns = 12;

    private static readonly byte[] s_zeros = new byte[1 << 16];

    public static void Run(byte[] input)
    {
        var reader = new InputReader(input);
        byte[] file = (reader.Byte() & 1) == 0 ? FromPayload(reader.Rest) : FromColumns(ref reader);
        LayerIndex? layer = LayerIndexFile.TryDecode(file, TreeWalk.Digest);
        if (Open(file) is { } head)
        {
            CheckTables(head);
            LayerIndex? ours = LayerIndexFile.TryRead(head, new IndexBudget(IndexLimits.Default));
            FuzzException.Require(layer is null || (ours is not null && ours.Entries.AsSpan().SequenceEqual(layer.Entries)), "what is read in place is something else");
        }
        if (layer is null)
        {
            return;
        }
        TreeWalk.CheckLayer(layer);
        TreeWalk.Merge([layer]);
        TreeWalk.Merge([layer, layer]);
        CheckTables(layer);
        byte[] again = LayerIndexFile.Encode(layer);
        FuzzException.Require(LayerIndexFile.TryDecode(again, TreeWalk.Digest) is { } copy
            && copy.Entries.AsSpan().SequenceEqual(layer.Entries) && LayerIndexFile.Encode(copy).AsSpan().SequenceEqual(again), "what was read cannot be written and read again");
    }

    // The tables as they are read in a file of the cache, where each thing is checked when it is used.
    private static void CheckTables(LayerHead head)
    {
        for (int i = 0; i < head.Checkpoints.Count; i++)
        {
            CheckCheckpoint(head, i);
        }
        for (int i = 0; i < head.Proof.Ranges?.Count; i++)
        {
            Try(() => head.Proof.Ranges.Verifies(head.Proof.Ranges[i].Offset, s_zeros));
        }
        for (int i = 0; i < head.Proof.Chunks?.Count; i++)
        {
            FuzzException.Require(head.Proof.Chunks[i].Length == ChunkDigests.DigestSize, "no digest");
        }
    }

    private static void CheckCheckpoint(LayerHead head, int number)
    {
        CheckpointTable checkpoints = head.Checkpoints;
        Try(() =>
        {
            Checkpoint checkpoint = checkpoints[number];
            try
            {
                using Decompressor decompressor = Decompressor.Resume(head.SpanFormat, checkpoint);
                FuzzException.Require(decompressor.UncompressedOffset == checkpoints.UncompressedOffset(number), "resumed elsewhere");
            }
            catch (ArgumentException)
            {
                // Not one of its format.
            }
        });
        Try(() =>
        {
            if (checkpoints.Length(number) > 0)
            {
                long offset = checkpoints.UncompressedOffset(number);
                int found = checkpoints.Find(offset);
                FuzzException.Require(checkpoints.UncompressedOffset(found) <= offset && offset < checkpoints.UncompressedOffset(found + 1), "a byte is not where it was found");
                FuzzException.Require(head.Stored is not null || found == number, "a checkpoint is not found");
            }
        });
        Try(() => FuzzException.Require(checkpoints.CompressedEnd(number) >= 0 && checkpoints.CompressedEnd(number) <= checkpoints.CompressedOffset(checkpoints.Count), "a stretch ends outside the blob"));
        Try(() =>
        {
            int span = checkpoints.SpanOf(number);
            FuzzException.Require(checkpoints.FirstOf(span) <= number && number < checkpoints.FirstOf(span + 1), "it is not in its span");
        });
    }

    private static void Try(Action use)
    {
        try
        {
            use();
        }
        catch (Exception e) when (e is ImageException { Error: ImageError.Local } or InvalidDataException)
        {
        }
    }

    // What stands behind the version, with hash and digest of the columns set right.
    private static byte[] FromPayload(ReadOnlySpan<byte> payload)
    {
        byte[] file = new byte[PayloadStart + payload.Length];
        "LMLAYER\n"u8.CopyTo(file);
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(8), LayerIndexFile.Version);
        payload.CopyTo(file.AsSpan(PayloadStart));
        if (Open(file) is { Stored: { } columns })
        {
            SHA256.HashData(file.AsSpan((int)columns.Offset, columns.PackedLength), file.AsSpan(ContentsStart));
        }
        if (file.Length > ContentsStart)
        {
            XxHash128.Hash(file.AsSpan(ContentsStart), file.AsSpan(HashStart));
        }
        return file;
    }

    private static LayerHead? Open(byte[] file) => LayerIndexFile.TryOpen(new CheckedFile(file), TreeWalk.Digest, new IndexBudget(IndexLimits.Default));

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
        const int Size = 1 << 20;
        return LayerIndexFile.Encode(new LayerHead
        {
            Digest = TreeWalk.Digest,
            CompressedSize = Size,
            UncompressedSize = Size,
            Format = CompressionFormat.None,
            Proof = Proof.ByLayer(new ChunkDigests(Size, new byte[ChunkDigests.DigestSize])),
            Checkpoints = new CheckpointTable([0, Size], [0, Size], [0x80], [0], [0], []),
        }, columns.Bytes.Length, columns.Bytes);
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
            LayerIndex layer = TreeWalk.Index(tar);
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
        // Entries come last; without any, they take one byte for the count and one for the length of each column.
        int head = LayerIndexColumns.Encode(WithoutEntries(layer)).Length - 1 - EntryColumns;
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
