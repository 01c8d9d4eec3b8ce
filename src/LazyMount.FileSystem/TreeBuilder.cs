using LazyMount.Indexes.Model;

namespace LazyMount.FileSystem;

/// <summary>
/// Merges layers into one tree with overlay semantics (image-spec v1.1, layer.md "Applying Changesets"): each layer is
/// applied on its own (<see cref="LayerTree"/>), as an extractor would in a directory of its own, and the trees are
/// stacked (<see cref="MergedTree.Stack"/>), as the kernel would stack those directories.
/// </summary>
public static class TreeBuilder
{
    private const int MaxLinkTarget = 4096; // PATH_MAX, which counts a zero byte
    private const long MaxLinkBytes = 512 << 20;

    /// <summary>
    /// Merges, lowest layer first. Throws <see cref="InvalidDataException"/> for layers that make no tree: a hard link without a
    /// target, a whiteout that names nothing, directories too deep, or more work than honest layers ask for.
    /// </summary>
    public static ImageTree Build(IReadOnlyList<LayerIndex> layers) => Build(layers, MergedTree.MaxNames);

    internal static ImageTree Build(IReadOnlyList<LayerIndex> layers, int maxNames)
    {
        // :: Step 4: one layer over the other, lowest first.
        ArgumentOutOfRangeException.ThrowIfGreaterThan(layers.Count, short.MaxValue);
        var tree = new MergedTree(layers, maxNames: maxNames);
        for (int layer = 0; layer < layers.Count; layer++)
        {
            tree.Stack(new LayerTree(tree, (short)layer).Apply());
        }
        return tree.Flatten();
    }

    /// <summary>
    /// One layer of an image by itself: whiteouts are the files that stand in its tar, and hard links to files of lower
    /// layers are relative symbolic links to where those would be.
    /// </summary>
    /// <param name="layer">The layer.</param>
    /// <param name="number">Its number in the image, which <see cref="ImageTree.LayerNumberOf"/> then says.</param>
    /// <param name="danglingLinks">How many hard links lead to lower layers.</param>
    public static ImageTree BuildAlone(LayerIndex layer, int number, out int danglingLinks)
    {
        var tree = new MergedTree([layer], number);
        var alone = new LayerTree(tree, 0) { IsAlone = true };
        tree.Stack(alone.Apply());
        if (alone.DanglingLinks is { Count: > 0 } links)
        {
            tree = new MergedTree([LinkSymbolically(layer, links)], number);
            tree.Stack(new LayerTree(tree, 0) { IsAlone = true }.Apply());
        }
        danglingLinks = alone.DanglingLinks?.Count ?? 0;
        return tree.Flatten();
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
