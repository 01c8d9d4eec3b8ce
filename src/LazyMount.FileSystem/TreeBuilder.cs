using LazyMount.Layers;

namespace LazyMount.FileSystem;

/// <summary>
/// Merges layers into one tree with overlay semantics (image-spec v1.1, layer.md "Applying Changesets"): each layer is
/// applied on its own (<see cref="LayerTree"/>), as an extractor would in a directory of its own, and the trees are
/// stacked (<see cref="MergedTree.Stack"/>), as the kernel would stack those directories.
/// </summary>
public static class TreeBuilder
{
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
}
