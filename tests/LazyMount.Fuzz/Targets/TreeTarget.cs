using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.FileSystem;
using LazyMount.FileSystem.Erofs;
using LazyMount.TestKit;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Fuzz.Targets;

/// <summary>Tree files: whatever bytes one holds, each question to it is answered, or refused as damage. Checksums do not stand in the fuzzer's way.</summary>
internal static class TreeTarget
{
    // Names that are looked at in one directory, nodes in one tree, and pieces of one file: directories can stand in themselves.
    private const int MaxNames = 1000, MaxNodes = 1000, MaxPieces = 1000;

    public static void Run(byte[] input)
    {
        try
        {
            if (ImageTree.TryOpen(new CheckedFile(input)) is not { } tree)
                return;
            for (int number = 0; number < Math.Min(tree.NodeCount, MaxNodes); number++)
                Ask(() => Visit(tree, tree.NodeAt(number)));
            Ask(() => _ = tree.FilesInTarOrder().Length);
            Ask(() => VisitImage(tree));
        }
        catch (ImageException e) when (e.Error == ImageError.Local)
        {
        }
    }

    // What is damaged in one place says nothing of others.
    private static void Ask(Action question)
    {
        try
        {
            question();
        }
        catch (ImageException e) when (e.Error == ImageError.Local)
        {
        }
    }

    private static void Visit(ImageTree tree, ulong id)
    {
        if (!tree.IsNode(id))
            return;
        NodeAttributes attributes = tree.Attributes(id);
        FuzzException.Require(attributes is { Size: >= 0 }, "a size below nothing");
        int layer = tree.LayerOf(id);
        FuzzException.Require(layer >= -1 && layer < short.MaxValue, "no such layer");
        Ask(() => _ = tree.PathOf(id));
        Ask(() => _ = tree.LinkTarget(id).Length);
        Ask(() => _ = tree.XattrsOf(id));
        Ask(() => _ = tree.WriteXattrNames(id, new byte[100]));
        Ask(() => _ = tree.ReadXattr(id, "user.a"u8, new byte[100]));
        Ask(() => _ = tree.Find(id, "name"u8));
        Ask(() =>
        {
            foreach (TreeName name in tree.NamesIn(id).Take(MaxNames))
                Ask(() => _ = tree.Find(id, name.Name));
        });
        if (FileMode.IsRegular(attributes.Mode))
            Ask(() => FuzzException.Require(tree.Extents(id).Take(MaxPieces).All(extent => extent.Length > 0 && extent.Offset >= 0), "an extent of nothing"));
    }

    private static void VisitImage(ImageTree tree)
    {
        ErofsImage image;
        try
        {
            image = new ErofsImage(tree);
        }
        catch (InvalidDataException)
        {
            return;
        }
        foreach ((ulong id, long address) in image.Files.Take(MaxNodes))
            Ask(() => _ = image.DataOf(id, address).Take(MaxPieces).Sum(piece => piece.Length & 1));
        long at = image.MetadataSize;
        for (int i = 0; i < MaxPieces && at < image.Size; i++)
        {
            (_, _, long end) = image.Find(at);
            FuzzException.Require(end > at, "an address does not go on");
            at = end;
        }
    }

    public static IEnumerable<byte[]> Seeds()
    {
        var tars = new[]
        {
            new TarBytes(),
            new TarBytes().Directory("d").File("d/f", "content").Symlink("s", "d/f").HardLink("h", "d/f").Fifo("p").CharacterDevice("c", 1, 3),
            new TarBytes().Pax(("mtime", "1.5"), ("SCHILY.xattr.user.a", "v")).File("a").Pax(("SCHILY.xattr.user.a", "v"), ("SCHILY.xattr.user.b", "w")).File("b"),
            new TarBytes().Sparse(SparseFormat.Pax01, "sparse", 9000, [(0, 10), (5000, 100)], new byte[110]).File("f", "x").Sparse(SparseFormat.Old, "hole", 1 << 30, [], []),
        };
        return tars.Select(tar => TreeWalk.Write([TreeWalk.Index(tar)]));
    }
}
