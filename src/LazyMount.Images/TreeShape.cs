using System.Globalization;
using LazyMount.Blobs.Images;
using LazyMount.FileSystem;
using LazyMount.FileSystem.Erofs;
using LazyMount.Indexes.Model;

namespace LazyMount.Images;

/// <summary>What the tree of an opened image is of: all layers merged, one layer alone, or both of that side by side.</summary>
internal sealed class TreeShape
{
    private readonly bool _hasLayers;

    /// <exception cref="ImageException">The image does not have the layer.</exception>
    public TreeShape(OpeningOptions options, Image image) => (Alone, _hasLayers) = (options.Layer?.Find(image), options.ShowsLayers);

    /// <summary>The number of the one layer that is shown alone, or null.</summary>
    public int? Alone { get; }

    /// <summary>What tells the shape from others, in the keys and identities of trees.</summary>
    public override string ToString() => _hasLayers ? "layers" : Alone?.ToString(CultureInfo.InvariantCulture) ?? "";

    /// <summary>Makes the tree.</summary>
    /// <param name="layers">All layers, or the one that is shown alone.</param>
    /// <param name="identity">As in <see cref="TreeBuilder.Merge(IReadOnlyList{LayerIndex}, Guid, byte[])"/>.</param>
    /// <param name="key">The same.</param>
    /// <exception cref="InvalidDataException">The layers make no tree; says why in a clause.</exception>
    public TreeWriter Make(IReadOnlyList<LayerIndex> layers, Guid identity, byte[] key)
        => _hasLayers ? TreeBuilder.MergeWithLayers(layers, identity, key)
            : Alone is int number ? TreeBuilder.MergeAlone(layers[0], number, identity, key)
            : TreeBuilder.Merge(layers, identity, key);

    /// <summary>Where the root of the image, or of the layer, is in the tree.</summary>
    public ulong RootOf(ImageTree tree) => _hasLayers ? tree.Find(ImageTree.RootId, TreeBuilder.MergedName) : ImageTree.RootId;
}
