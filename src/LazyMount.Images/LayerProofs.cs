using LazyMount.Indexes.Model;

namespace LazyMount.Images;

/// <summary>Who vouches for the layers of an opened image.</summary>
/// <param name="layers">Of each opened layer, lowest first.</param>
/// <param name="first">Number in the image of the first one.</param>
public sealed class LayerProofs(IReadOnlyList<Voucher> layers, int first)
{
    /// <summary>Of the layer with this number in the image.</summary>
    public string Of(int layer) => NameOf(layers[layer - first]);

    /// <summary>The weakest proof of all layers, which is the proof of the whole tree. The proof of an image without layers is its manifest.</summary>
    public string Weakest => NameOf(layers.Count == 0 ? Voucher.Manifest : layers.Min());

    /// <summary>Such as "2 layer, 1 manifest".</summary>
    public string Summary => layers.Count == 0 ? "no layers"
        : string.Join(", ", layers.GroupBy(by => by).OrderByDescending(group => group.Key).Select(group => $"{group.Count()} {NameOf(group.Key)}"));

    /// <summary>As listings show it.</summary>
    public static string NameOf(Voucher by) => by switch
    {
        Voucher.Layer => "layer",
        Voucher.Manifest => "manifest",
        Voucher.Repository => "repository",
        _ => "source",
    };
}
