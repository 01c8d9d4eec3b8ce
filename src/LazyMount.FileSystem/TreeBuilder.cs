using LazyMount.Indexes.Model;

namespace LazyMount.FileSystem;

/// <summary>
/// Merges layers into one tree with overlay semantics (image-spec v1.1, layer.md "Applying Changesets"): each layer is
/// applied on its own (<see cref="LayerTree"/>), as an extractor would in a directory of its own, and the trees are
/// stacked (<see cref="MergedTree.Stack"/>), as the kernel would stack those directories.
/// </summary>
public static class TreeBuilder
{
    private const int MaxLinkTarget = 4096; // with a slash at its end: PATH_MAX counts a zero byte
    private const long MaxLinkBytes = 512 << 20;

    /// <summary>Merges, lowest layer first. Throws <see cref="InvalidDataException"/> for a hard link without a target.</summary>
    public static ImageTree Build(IReadOnlyList<LayerIndex> layers)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(layers.Count, short.MaxValue);
        var tree = new MergedTree(layers);
        for (int layer = 0; layer < layers.Count; layer++)
        {
            tree.Stack(new LayerTree(tree, layers[layer], (short)layer).Apply());
        }
        return tree.Flatten();
    }

    /// <summary>
    /// One layer of an image by itself: whiteouts are the files that stand in its tar, and hard links to files of lower
    /// layers are relative symbolic links to where those would be.
    /// </summary>
    /// <param name="layer">The layer.</param>
    /// <param name="number">Its number in the image, which <see cref="ImageTree.LayerOf"/> then says.</param>
    /// <param name="danglingLinks">How many hard links lead to lower layers.</param>
    public static ImageTree BuildAlone(LayerIndex layer, int number, out int danglingLinks)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(number, short.MaxValue);
        var tree = new MergedTree([.. Enumerable.Repeat(layer, number + 1)]);
        var alone = new LayerTree(tree, layer, (short)number) { IsAlone = true };
        tree.Stack(alone.Apply());
        if (alone.DanglingLinks is { Count: > 0 } links)
        {
            layer = LinkSymbolically(layer, links);
            tree = new MergedTree([.. Enumerable.Repeat(layer, number + 1)]);
            tree.Stack(new LayerTree(tree, layer, (short)number) { IsAlone = true }.Apply());
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
        int length = depth * 3;
        for (int at = path; at > 0; at = paths.Parent(at))
        {
            length += paths.Name(at).Length + 1;
        }
        if (length is 0 or > MaxLinkTarget)
        {
            return "."u8.ToArray(); // what Linux could not show; nothing that anybody writes
        }
        byte[] target = new byte[length];
        int end = length;
        for (int at = path; at > 0; at = paths.Parent(at))
        {
            target[--end] = (byte)'/';
            end -= paths.Name(at).Length;
            paths.Name(at).CopyTo(target.AsSpan(end));
        }
        for (; end > 0; end -= 3)
        {
            "../"u8.CopyTo(target.AsSpan(end - 3));
        }
        return target[..^1];
    }
}
