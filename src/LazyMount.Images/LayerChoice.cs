using System.Globalization;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;

namespace LazyMount.Images;

/// <summary>The choice of one layer of an image with --layer, by its number or its digest.</summary>
public sealed class LayerChoice
{
    private readonly string _text;
    private readonly int? _number; // below 0: from the top

    private LayerChoice(string text, int? number) => (_text, _number) = (text, number);

    /// <summary>Parses a number from 0, the lowest layer, or from -1, the topmost; or how a digest begins, with or without "sha256:".</summary>
    /// <exception cref="FormatException">The text is neither.</exception>
    public static LayerChoice Parse(string text)
    {
        // All-digit beginnings of digests are told from numbers by their length: images have at most a thousand layers.
        if (text.Length is > 0 and <= 5 && int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int number))
        {
            return new LayerChoice(text, number);
        }
        string hex = text[(text.IndexOf(':') + 1)..];
        bool isDigest = hex.Length >= 4 && hex.All(char.IsAsciiHexDigitLower);
        return isDigest ? new LayerChoice(text, null) : throw new FormatException($"'{text}' is neither a layer's number nor the beginning of a digest (four characters at least); run lazymount layers IMAGE to see both");
    }

    /// <summary>Parses what --layers takes, "0..LAYER": the choice of the topmost layer of a range that begins with the lowest.</summary>
    /// <exception cref="FormatException">The text is no such range.</exception>
    public static LayerChoice ParseTop(string text)
        => text.StartsWith("0..", StringComparison.Ordinal) && text.Length > 3
            ? Parse(text[3..])
            : throw new FormatException($"'{text}' is no range of layers that begins with the lowest, such as 0..2 or 0..-2");

    /// <summary>The layer's number, lowest 0.</summary>
    /// <exception cref="ImageException">There is no such layer, or several.</exception>
    public int Find(Image image)
    {
        IReadOnlyList<Descriptor> layers = image.Layers;
        if (_number is int number)
        {
            int layer = number < 0 ? layers.Count + number : number;
            return layer >= 0 && layer < layers.Count ? layer
                : throw NotFound(layers.Count == 0 ? $"cannot find the layer {number} of '{image.Reference}': the image has no layers" : $"cannot find the layer {number} of '{image.Reference}': its layers are 0 to {layers.Count - 1}, lowest first");
        }
        List<int> found = [.. Enumerable.Range(0, layers.Count).Where(i => Begins(layers[i].Digest))];
        return found.Select(i => layers[i].Digest).Distinct().Count() switch
        {
            1 => found[0],
            0 => throw NotFound($"cannot find a layer of '{image.Reference}' whose digest begins with '{_text}': there is none; run lazymount layers {image.Reference} to see all"),
            _ => throw NotFound($"cannot choose a layer of '{image.Reference}': the digests of layers {string.Join(", ", found)} begin with '{_text}'; give more characters"),
        };
    }

    /// <inheritdoc/>
    public override string ToString() => _text;

    private static ImageException NotFound(string sentence) => new(ImageError.NotFound, sentence);

    private bool Begins(Digest digest) => digest.Hex.StartsWith(_text, StringComparison.Ordinal) || digest.ToString().StartsWith(_text, StringComparison.Ordinal);
}
