using LazyMount.Layers;

namespace LazyMount.FileSystem;

/// <summary>Merges layers into one tree with overlay semantics (image-spec v1.1, layer.md "Applying Changesets").</summary>
public static class TreeBuilder
{
    /// <summary>Merges, lowest layer first.</summary>
    public static ImageTree Build(IReadOnlyList<LayerIndex> layers) => throw new NotImplementedException();
}
