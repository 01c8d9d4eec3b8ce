using System.Globalization;
using System.Text;
using LazyMount.Blobs.Cache;
using LazyMount.FileSystem.Erofs;
using LazyMount.Indexes.Model;

namespace LazyMount.FileSystem;

/// <summary>
/// Merges layers into one tree with overlay semantics (image-spec v1.1, layer.md "Applying Changesets"): each layer is
/// applied on its own (<see cref="LayerTree"/>), as an extractor would in a directory of its own, and the trees are
/// stacked (<see cref="MergedTree.Stack"/>), as the kernel would stack those directories.
/// </summary>
public static class TreeBuilder
{
    /// <summary>The version of tree files: another one is of no use.</summary>
    public const uint Version = TreeHeader.Version;

    private const int MaxLinkTarget = 4096; // PATH_MAX, which counts a zero byte
    private const long MaxLinkBytes = 512 << 20;
    private const long MaxInMemory = 2_000_000_000;

    private static readonly byte[] s_noKey = new byte[TreeHeader.KeySize];

    /// <summary>
    /// Merges, lowest layer first. Throws <see cref="InvalidDataException"/> for layers that make no tree: a hard link without a target, a
    /// whiteout that names nothing, directories too deep, or more work than honest layers ask for.
    /// </summary>
    /// <param name="layers">The layers.</param>
    /// <param name="identity">What tells this tree from others: the UUID of its EROFS image.</param>
    /// <param name="key">What the tree is kept under: 32 bytes.</param>
    public static TreeWriter Merge(IReadOnlyList<LayerIndex> layers, Guid identity, byte[] key) => LayOut(Merge(layers, MergedTree.MaxNames), identity, key, danglingLinks: 0);

    /// <summary>
    /// One layer of an image by itself: whiteouts are the files that stand in its tar, and hard links to files of lower
    /// layers are relative symbolic links to where those would be (<see cref="ImageTree.DanglingLinks"/>).
    /// </summary>
    /// <param name="layer">The layer.</param>
    /// <param name="number">Its number in the image, which <see cref="ImageTree.LayerNumberOf"/> then says.</param>
    /// <param name="identity">As in <see cref="Merge(IReadOnlyList{LayerIndex}, Guid, byte[])"/>.</param>
    /// <param name="key">The same.</param>
    public static TreeWriter MergeAlone(LayerIndex layer, int number, Guid identity, byte[] key)
    {
        var tree = new MergedTree([layer], number);
        int danglingLinks = StackAlone(tree, 0);
        return LayOut(tree.Flatten(), identity, key, danglingLinks);
    }

    /// <summary>
    /// The merged tree in the directory <see cref="MergedName"/>, and beside it, in <c>layers</c>, each layer by itself as
    /// <see cref="MergeAlone"/> has it, in a directory of its number. Nodes of one directory are never those of another, although their
    /// bytes may be the same. Throws as <see cref="Merge(IReadOnlyList{LayerIndex}, Guid, byte[])"/>.
    /// </summary>
    /// <param name="layers">The layers.</param>
    /// <param name="identity">As in <see cref="Merge(IReadOnlyList{LayerIndex}, Guid, byte[])"/>.</param>
    /// <param name="key">The same.</param>
    public static TreeWriter MergeWithLayers(IReadOnlyList<LayerIndex> layers, Guid identity, byte[] key)
    {
        var tree = new MergedTree(layers);
        tree.Base = tree.Slots.MakeDirectory(TreeSlots.Root, MergedName);
        StackAll(tree);
        int each = tree.Slots.MakeDirectory(TreeSlots.Root, "layers"u8), danglingLinks = 0;
        for (short layer = 0; layer < layers.Count; layer++)
        {
            tree.Base = tree.Slots.MakeDirectory(each, Encoding.ASCII.GetBytes(NumberText(layer, layers.Count)));
            danglingLinks += StackAlone(tree, layer);
        }
        return LayOut(tree.Flatten(), identity, key, danglingLinks);
    }

    /// <summary>Where the merged tree is beside that of each layer.</summary>
    public static ReadOnlySpan<byte> MergedName => "merged"u8;

    // As wide as the widest, so that names sort as numbers do.
    private static string NumberText(int layer, int count)
    {
        int width = Math.Max(2, (count - 1).ToString(CultureInfo.InvariantCulture).Length);
        return layer.ToString(CultureInfo.InvariantCulture).PadLeft(width, '0');
    }

    /// <summary>The merged tree in memory. Throws as <see cref="Merge(IReadOnlyList{LayerIndex}, Guid, byte[])"/>.</summary>
    public static ImageTree Build(IReadOnlyList<LayerIndex> layers) => Build(layers, MergedTree.MaxNames);

    internal static ImageTree Build(IReadOnlyList<LayerIndex> layers, int maxNames) => InMemory(LayOut(Merge(layers, maxNames), Guid.Empty, s_noKey, danglingLinks: 0));

    /// <summary>The tree of one layer in memory; see <see cref="MergeAlone"/>.</summary>
    public static ImageTree BuildAlone(LayerIndex layer, int number) => InMemory(MergeAlone(layer, number, Guid.Empty, s_noKey));

    /// <summary>The merged tree and that of each layer in memory; see <see cref="MergeWithLayers"/>.</summary>
    public static ImageTree BuildWithLayers(IReadOnlyList<LayerIndex> layers) => InMemory(MergeWithLayers(layers, Guid.Empty, s_noKey));

    /// <summary>A tree in memory, for one that is small or cannot be kept in a file.</summary>
    /// <exception cref="InvalidDataException">It is larger than an array.</exception>
    public static ImageTree InMemory(TreeWriter tree)
    {
        if (tree.Size > MaxInMemory)
        {
            throw new InvalidDataException($"they make a tree of {tree.Size} bytes, too large for memory, and the cache cannot keep it");
        }
        using var stream = new MemoryStream((int)(tree.Size + (tree.Size / 256) + (CheckedFile.BlockSize * 8))); // with the checksums, which are not needed here
        using var writer = new CheckedFile.Writer(stream);
        tree.Write(writer);
        writer.Finish();
        return ImageTree.TryOpen(new CheckedFile(stream.GetBuffer().AsMemory(0, (int)tree.Size))) ?? throw new InvalidOperationException("a tree that was just written cannot be read");
    }

    private static TreeWriter LayOut(FlatTree tree, Guid identity, byte[] key, int danglingLinks)
    {
        try
        {
            return new TreeWriter(tree, identity, key, danglingLinks);
        }
        catch (OverflowException e)
        {
            throw new InvalidDataException("they make a tree with more names or attributes than can be numbered", e);
        }
    }

    /// <summary>A directory with one file in it, whose bytes stand in no layer.</summary>
    internal static ImageTree OfFile(byte[] name, long size, (long Seconds, uint Nanoseconds) time) => Build([SingleFile.Index(name, size, time)]);

    private static FlatTree Merge(IReadOnlyList<LayerIndex> layers, int maxNames)
    {
        var tree = new MergedTree(layers, maxNames: maxNames);
        StackAll(tree);
        return tree.Flatten();
    }

    private static void StackAll(MergedTree tree)
    {
        // :: Step 4: one layer over the other, lowest first.
        ArgumentOutOfRangeException.ThrowIfGreaterThan(tree.LayerCount, short.MaxValue - 1);
        for (short layer = 0; layer < tree.LayerCount; layer++)
        {
            tree.Stack(new LayerTree(tree, layer).Apply());
        }
    }

    // Stacks a layer as it is where there is nothing yet. Returns the number of its hard links to lower layers, which become symbolic.
    private static int StackAlone(MergedTree tree, short layer)
    {
        var alone = new LayerTree(tree, layer) { IsAlone = true };
        TreeSlots slots = alone.Apply();
        if (alone.DanglingLinks is not { Count: > 0 } links)
        {
            tree.Stack(slots);
            return 0;
        }
        short linked = tree.AddForm(layer, LinkSymbolically(tree.Layers[layer], links));
        tree.Stack(new LayerTree(tree, linked) { IsAlone = true }.Apply());
        return links.Count;
    }

    // The same layer with some of its hard links made symbolic. Depth: how many directories an entry's name stands in.
    private static LayerIndex LinkSymbolically(LayerIndex layer, IReadOnlyList<(int Entry, int Depth)> links)
    {
        LayerEntry[] entries = [.. layer.Entries];
        List<ReadOnlyMemory<byte>> targets = [.. layer.LinkTargets];
        Dictionary<(int Path, int Depth), int> known = [];
        long bytes = 0;
        foreach ((int entry, int depth) in links)
        {
            int path = entries[entry].LinkPath;
            if (!known.TryGetValue((path, depth), out int target))
            {
                targets.Add(RelativePath(layer.Paths, path, depth));
                known[(path, depth)] = target = targets.Count - 1;
                bytes += targets[target].Length;
                if (bytes > MaxLinkBytes)
                {
                    throw new InvalidDataException($"its hard links to lower layers have more than {MaxLinkBytes} bytes of targets together");
                }
            }
            entries[entry] = entries[entry] with { Type = EntryType.Symlink, LinkTarget = target };
        }
        return layer with { Entries = entries, LinkTargets = [.. targets] };
    }

    private static byte[] RelativePath(LayerPaths paths, int path, int depth)
    {
        byte[] target = paths.PathOf(path); // with a slash at its beginning, where the last of "../" has one at its end
        int length = depth * 3 + target.Length - 1;
        if (length is 0 or >= MaxLinkTarget)
        {
            return "."u8.ToArray(); // what Linux could not show; nothing that anybody writes
        }
        byte[] up = [.. Enumerable.Repeat("../"u8.ToArray(), depth).SelectMany(bytes => bytes)];
        return [.. ((ReadOnlySpan<byte>)[.. up, .. target.AsSpan(1)]).TrimEnd((byte)'/')];
    }
}
