using LazyMount.Cli;
using LazyMount.FileSystem;
using LazyMount.Images;
using LazyMount.Layers;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Mounting;

/// <summary>What a mount fetches in the background before anybody reads it.</summary>
internal static class Prefetch
{
    /// <summary>
    /// The ranges of layers that are meant, in the order to fetch them. Nothing said: what those who made the layers expect to be read
    /// first. "all": everything. "none": nothing. Else files, and directories with all that is below them.
    /// </summary>
    /// <exception cref="CommandException">A path names nothing.</exception>
    public static IReadOnlyList<(Layer Layer, long Offset, long End)> RangesOf(IReadOnlyList<string> words, OpenedImage image)
        => words switch
        {
            [] => [.. image.Layers.Distinct().SelectMany(layer => layer.Prefetch.Select(range => (layer, range.Offset, range.End)))],
            ["none"] => [],
            ["all"] => [.. image.Layers.Distinct().Select(layer => (layer, 0L, layer.UncompressedSize))],
            _ => FilesOf(words, image),
        };

    private static List<(Layer Layer, long Offset, long End)> FilesOf(IReadOnlyList<string> paths, OpenedImage image)
    {
        var ranges = new List<(int Layer, long Offset, long End)>();
        foreach (string path in paths)
        {
            if (PathResolver.Resolve(image.Tree, ImagePathText.Encode(path), followFinal: true, out ResolvedPath resolved, image.Root) != Errno.None)
            {
                throw new CommandException($"cannot prefetch '{path}': no such file or directory in '{image.Image.Reference}'; --prefetch takes all, none or paths in the image");
            }
            Collect(image.Tree, resolved.Node, ranges);
        }
        // In the order of the layers' bytes, so that neighbours come by one request.
        ranges.Sort();
        var merged = new List<(Layer, long, long)>();
        for (int i = 0; i < ranges.Count;)
        {
            (int layer, long offset, long end) = ranges[i];
            for (i++; i < ranges.Count && ranges[i].Layer == layer && ranges[i].Offset <= end + Near; i++)
            {
                end = Math.Max(end, ranges[i].End);
            }
            merged.Add((image.Layers[layer], offset, end));
        }
        return merged;
    }

    /// <summary>Bytes between two files that are fetched with them: the headers and padding of a tar.</summary>
    private const long Near = 64 << 10;

    private static void Collect(ImageTree tree, ulong start, List<(int Layer, long Offset, long End)> ranges)
    {
        var waiting = new Stack<ulong>([start]);
        while (waiting.TryPop(out ulong node))
        {
            foreach (TreeName name in tree.NamesIn(node))
            {
                waiting.Push(name.Node);
            }
            if (FileMode.IsRegular(tree.Mode(node)))
            {
                int layer = tree.LayerOf(node);
                ranges.AddRange(tree.Extents(node).Select(extent => (layer, extent.At, extent.At + extent.Length)));
            }
        }
    }
}
