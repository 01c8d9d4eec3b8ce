using LazyMount.FileSystem;
using LazyMount.Images;
using LazyMount.Layers;

namespace LazyMount.Comparing;

/// <summary>What is known of the content of two images' files without reading it.</summary>
internal sealed class KnownContent
{
    private readonly OpenedImage _before, _after;
    private readonly int[] _placeBefore, _placeAfter; // of each layer: a number that layers of the same bytes have in common, or -1 for one that only one image has

    public KnownContent(OpenedImage before, OpenedImage after)
    {
        (_before, _after) = (before, after);
        _placeAfter = [.. after.Layers.Select(layer => IndexOf(before.Layers, layer))];
        // A layer may be in an image twice.
        _placeBefore = [.. before.Layers.Select(layer => IndexOf(before.Layers, layer)).Select(first => Array.IndexOf(_placeAfter, first) >= 0 ? first : -1)];
    }

    /// <summary>Where the bytes of a file of the first image stand, or null when the second image does not have them at any place.</summary>
    public (int Layer, long Offset)? SharedPlaceBefore(ulong file) => PlaceOf(_before.Tree, file, _placeBefore);

    /// <summary>The same of a file of the second image: equal places hold the same bytes.</summary>
    public (int Layer, long Offset)? SharedPlaceAfter(ulong file) => PlaceOf(_after.Tree, file, _placeAfter);

    /// <summary>Whether two files of one size have the same content; null when they must be read to tell.</summary>
    public bool? AreEqual(ulong before, ulong after)
    {
        if (_before.Tree.Size(before) == 0 || (SharedPlaceAfter(after) is { } place && place == SharedPlaceBefore(before)))
        {
            return true;
        }
        // Tables of contents of the layers themselves have digests of files, or of the chunks of large ones.
        return Describe(_before, before) is { } old && Describe(_after, after) is { } current ? AreEqual(old, current) : null;
    }

    // Up to where the chunks of the two are no longer the same bytes of the file.
    private static bool? AreEqual(IReadOnlyList<(int Length, byte[] Sha256)> before, IReadOnlyList<(int Length, byte[] Sha256)> after)
    {
        foreach (((int Length, byte[] Sha256) old, (int Length, byte[] Sha256) current) in before.Zip(after))
        {
            if (old.Length != current.Length)
            {
                return null;
            }
            if (!old.Sha256.AsSpan().SequenceEqual(current.Sha256))
            {
                return false;
            }
        }
        return true;
    }

    private static IReadOnlyList<(int Length, byte[] Sha256)>? Describe(OpenedImage image, ulong file)
    {
        (int layer, long offset) = image.Tree.PlaceOf(file);
        return image.Tree.StoredSize(file) == image.Tree.Size(file) ? image.Layers[layer].TryDescribe(offset, image.Tree.Size(file)) : null;
    }

    private static (int Layer, long Offset)? PlaceOf(ImageTree tree, ulong file, int[] layers)
    {
        (int layer, long offset) = tree.PlaceOf(file);
        return layers[layer] is >= 0 and int shared ? (shared, offset) : null;
    }

    private static int IndexOf(IReadOnlyList<Layer> layers, Layer wanted)
    {
        for (int i = 0; i < layers.Count; i++)
        {
            if (layers[i].SharesOffsetsWith(wanted))
            {
                return i;
            }
        }
        return -1;
    }
}
