using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;
using LazyMount.FileSystem;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;
using LazyMount.TestKit;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Fuzz;

/// <summary>Uses a layer's table of contents as mounting does, and checks what the layers above rely on.</summary>
internal static class TreeWalk
{
    public static readonly Digest Digest = Digest.OfSha256([]);

    /// <summary>An index of an uncompressed blob, without chunks.</summary>
    public static LayerIndex Index(LayerEntriesBuilder entries, long size) => new()
    {
        Digest = Digest,
        CompressedSize = size,
        UncompressedSize = size,
        Format = CompressionFormat.None,
        Proof = Proof.ByLayer(new ChunkDigests(ChunkDigests.DefaultChunkSize, new byte[(size + ChunkDigests.DefaultChunkSize - 1) / ChunkDigests.DefaultChunkSize * ChunkDigests.DigestSize])),
        Checkpoints = new CheckpointTable([0, size], [0, size], [0x80], [0], [0], []),
        Paths = entries.BuildPaths(),
        Entries = entries.BuildEntries(),
        SparseMaps = entries.BuildSparseMaps(),
        LinkTargets = entries.BuildLinkTargets(),
        XattrSets = entries.BuildXattrSets(),
    };

    /// <summary>What <see cref="LayerPaths"/> and <see cref="LayerIndex"/> promise.</summary>
    public static void CheckLayer(LayerIndex layer)
    {
        for (int path = 1; path < layer.Paths.Count; path++)
        {
            FuzzException.Require(layer.Paths.Parent(path) is var parent && parent >= 0 && parent < path, "a parent stands after its child");
            CheckName(layer.Paths.Name(path));
        }
        foreach (LayerEntry entry in layer.Entries)
        {
            SparseMap? map = entry.SparseMap == 0 ? null : layer.SparseMaps[entry.SparseMap - 1];
            FuzzException.Require(entry.Size >= 0 && entry.DataOffset >= 0 && entry.DataOffset <= long.MaxValue - (map?.StoredSize ?? entry.Size), "content is out of bounds");
            long end = -1;
            for (int i = 0; i < map?.Count; i++)
            {
                FuzzException.Require(map[i].Offset > end && map.End(i) > map[i].Offset && map.End(i) <= entry.Size, "an extent is out of order or bounds");
                end = map.End(i);
            }
            FuzzException.Require(map is null || map.Blocks <= entry.Size / 512 + 1, "more blocks than the file has");
            FuzzException.Require(entry.MtimeNanoseconds < 1_000_000_000 && entry.Mode <= 0xFFF, "mode or time is out of bounds");
        }
    }

    /// <summary>The index of an uncompressed tar that is sound.</summary>
    public static LayerIndex Index(TarBytes tar)
    {
        byte[] bytes = tar.ToArray();
        var scanner = new TarScanner();
        var entries = new LayerEntriesBuilder(new IndexBudget(IndexLimits.Default));
        ReadOnlySpan<byte> piece = bytes;
        while (scanner.TryRead(ref piece))
        {
            entries.Add(scanner.Member);
        }
        return Index(entries, bytes.Length);
    }

    /// <summary>The data of a tree file.</summary>
    public static byte[] Write(LayerIndex[] layers)
    {
        using var stream = new MemoryStream();
        using var writer = new CheckedFile.Writer(stream);
        TreeBuilder.Merge(layers, Guid.Empty, new byte[32]).Write(writer);
        writer.Finish();
        return stream.ToArray().AsSpan(0, (int)writer.Length).ToArray();
    }

    /// <summary>Merges, walks all of the tree; a layer may only be refused as <see cref="TreeBuilder"/> says.</summary>
    public static void Merge(LayerIndex[] layers)
    {
        ImageTree tree;
        try
        {
            tree = TreeBuilder.Build(layers);
        }
        catch (InvalidDataException)
        {
            return;
        }
        int reached = 1;
        for (int number = 0; number < tree.NodeCount; number++)
        {
            ulong id = tree.NodeAt(number);
            FuzzException.Require(tree.IsNode(id) && tree.NumberOf(id) == number, "no such node");
            CheckNode(tree, id);
            foreach ((byte[] name, ulong child) in tree.NamesIn(id))
            {
                FuzzException.Require(tree.NumberOf(child) > number || tree.Attributes(child).LinkCount > 1, "a child comes before its directory");
                FuzzException.Require(tree.Find(id, name) == child, "a child is not found");
                FuzzException.Require(!FileMode.IsDirectory(tree.Mode(child)) || tree.ParentOf(child) == id, "a directory does not know its parent");
                CheckName(name);
                reached++;
            }
        }
        FuzzException.Require(reached == tree.Count, "a name belongs to no directory");
    }

    private static void CheckNode(ImageTree tree, ulong id)
    {
        NodeAttributes attributes = tree.Attributes(id);
        FuzzException.Require(attributes is { LinkCount: > 0, Size: >= 0, Blocks: >= 0, MtimeNanoseconds: < 1_000_000_000 }, "wrong attributes");
        for (long offset = 0; FileMode.IsRegular(attributes.Mode) && offset < attributes.Size;)
        {
            (long dataOffset, long end) = tree.Extent(id, offset);
            FuzzException.Require(dataOffset >= -1 && end > offset && end <= attributes.Size, "an extent does not go on");
            offset = end;
        }
        _ = tree.LinkTarget(id);
        foreach ((byte[] name, byte[] value) in tree.XattrsOf(id))
        {
            byte[] found = new byte[value.Length];
            FuzzException.Require(tree.ReadXattr(id, name, found) == value.Length && found.AsSpan().SequenceEqual(value), "an attribute is not found");
        }
    }

    private static void CheckName(ReadOnlySpan<byte> name)
        => FuzzException.Require(name.Length is > 0 and <= 255 && !name.ContainsAny((byte)0, (byte)'/') && !name.SequenceEqual("."u8) && !name.SequenceEqual(".."u8), "no name that Linux can show");
}
