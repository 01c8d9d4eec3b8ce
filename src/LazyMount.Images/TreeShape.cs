using System.Globalization;
using LazyMount.Blobs.Images;
using LazyMount.FileSystem;
using LazyMount.FileSystem.Erofs;
using LazyMount.Indexes.Model;

namespace LazyMount.Images;

/// <summary>What the tree of an opened image is of: all layers merged or the lower ones, one layer alone, or all merged and each alone side by side.</summary>
internal sealed class TreeShape
{
    private readonly bool _hasLayers;

    /// <exception cref="ImageException">The image does not have the layer.</exception>
    public TreeShape(OpeningOptions options, Image image)
    {
        (Alone, _hasLayers) = (options.Layer?.Find(image), options.ShowsLayers);
        Top = options.TopLayer?.Find(image) is int top && top < image.Layers.Count - 1 ? top : null;
    }

    /// <summary>The number of the one layer that is shown alone, or null.</summary>
    public int? Alone { get; }

    /// <summary>The number of the topmost layer that is merged; null when the image has none above it.</summary>
    public int? Top { get; }

    /// <summary>The image with those of its layers that the tree is of.</summary>
    public Image Part(Image image) => Alone is int number ? image.WithLayer(number) : Top is int top ? image.WithLayersUpTo(top) : image;

    /// <summary>What tells the shape from others, in the keys and identities of trees.</summary>
    public override string ToString() => _hasLayers ? "layers"
        : Top is int top ? string.Create(CultureInfo.InvariantCulture, $"0..{top}")
        : Alone?.ToString(CultureInfo.InvariantCulture) ?? "";

    /// <summary>Makes the tree.</summary>
    /// <param name="layers">The layers that the tree is of, lowest first.</param>
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
