using System.Globalization;
using LazyMount.Cli;
using LazyMount.Commands;
using LazyMount.FileSystem;
using LazyMount.Images;
using LazyMount.Trees;

namespace LazyMount.Serving.Pages;

/// <summary>Where the bytes of an image are: those that it shows, directory by directory, and those that no one can see.</summary>
internal static class SizesPage
{
    private const int MaxParts = 60, MaxWaste = 100;

    private sealed record Entry(byte[] Path, long Size, bool IsDirectory);

    /// <summary>Writes the sizes in a directory.</summary>
    public static void WriteSizes(Html html, ServedImage image, TreeView view, ulong directory, byte[] path, CancellationToken cancellationToken)
    {
        List<Entry> entries = [];
        var usage = new DiskUsage(view.Tree, countsContent: true);
        usage.Count(directory, path, entry =>
        {
            if (entry.Depth == 1)
            {
                entries.Add(new Entry(entry.Path.ToArray(), entry.Bytes, entry.IsDirectory));
            }
        }, cancellationToken);
        if (usage.Total == 0)
        {
            html.Add($"<p>No file here has a byte.</p>");
            return;
        }
        Entry[] largest = [.. entries.Where(entry => entry.Size > 0).OrderByDescending(entry => entry.Size)];
        long others = largest.Skip(MaxParts).Sum(entry => entry.Size);
        int otherCount = Math.Max(0, largest.Length - MaxParts);
        html.Add($"<p class=\"hint\">{ByteSize.Format(usage.Total)} in all; a file of several names is counted once. A directory leads to its own sizes.</p>");
        IEnumerable<TreemapPart> parts = largest.Take(MaxParts).Select(entry => new TreemapPart(Name(entry), LinkOf(entry), entry.Size, entry.IsDirectory ? "directory" : "file", ByteSize.Format(entry.Size)));
        Treemap.Write(html, "Sizes as areas", others == 0 ? parts : parts.Append(new TreemapPart($"{otherCount} others", PageLink.ToTree(image, path, view.Layer), others, "others", ByteSize.Format(others))));
        html.Add($"<h2>The same as a table</h2><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Sizes\"><table><thead><tr><th scope=\"col\">Name</th><th scope=\"col\" class=\"number\">Size</th><th scope=\"col\" class=\"number\">Share</th></tr></thead><tbody>");
        foreach (Entry entry in largest.Take(MaxParts))
        {
            html.Add($"<tr><th scope=\"row\"><a href=\"{LinkOf(entry)}\">{NameText.Show(entry.Path.AsSpan(entry.Path.AsSpan().LastIndexOf((byte)'/') + 1))}{(entry.IsDirectory ? "/" : "")}</a></th><td class=\"number\">{ByteSize.Format(entry.Size)}</td><td class=\"number\">{Share(entry.Size, usage.Total)}</td></tr>");
        }
        html.Add($"</tbody></table></div>");

        string LinkOf(Entry entry) => entry.IsDirectory ? PageLink.ToSizes(image, entry.Path, view.Layer) : PageLink.ToTree(image, entry.Path, view.Layer);

        static string Name(Entry entry) => NameText.Plain(entry.Path.AsSpan(entry.Path.AsSpan().LastIndexOf((byte)'/') + 1)) + (entry.IsDirectory ? "/" : "");
    }

    /// <summary>Writes the bytes that no one can see.</summary>
    public static async Task WriteWasteAsync(Html html, ServedImage image, CancellationToken cancellationToken)
    {
        using IdleResource<IndexedImage>.Lease lease = await image.UseIndexesAsync(cancellationToken);
        WastedBytes waste = await Task.Run(() => lease.Value.MeasureWaste(MaxWaste, int.MaxValue, cancellationToken), cancellationToken);
        html.Add($"<p>{ByteSize.Format(waste.Wasted)} of {ByteSize.Format(waste.Size)} ({WasteCommand.Percent(1 - waste.Efficiency)}) are bytes that no one can see: of files that a later layer replaced or deleted, or whose content a lower layer has already.</p>");
        if (waste.Paths.Count > 0)
        {
            Treemap.Write(html, "Wasted bytes as areas", waste.Paths.Take(MaxParts).Select(path
                => new TreemapPart(NameText.Plain(path.Path), PageLink.ToLog(image, path.Path), path.Size, WasteCommand.NameOf(path.Reasons[0]), $"{ByteSize.Format(path.Size)}, {string.Join(", ", path.Reasons.Select(WasteCommand.NameOf))}")));
        }
        html.Add($"<h2>By layer</h2><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Waste of each layer\"><table><thead><tr><th scope=\"col\">Layer</th><th scope=\"col\" class=\"number\">Files</th><th scope=\"col\" class=\"number\">Size</th><th scope=\"col\" class=\"number\">Replaced</th><th scope=\"col\" class=\"number\">Deleted</th><th scope=\"col\" class=\"number\">Duplicate</th></tr></thead><tbody>");
        foreach (LayerWaste layer in waste.Layers)
        {
            html.Add($"<tr><th scope=\"row\"><a href=\"{PageLink.ToTree(image, "/"u8, layer.Layer)}\">Layer {layer.Layer}</a></th><td class=\"number\">{layer.Files}</td><td class=\"number\">{ByteSize.Format(layer.Size)}</td><td class=\"number\">{Cell(layer.Replaced)}</td><td class=\"number\">{Cell(layer.Deleted)}</td><td class=\"number\">{Cell(layer.Duplicate)}</td></tr>");
        }
        html.Add($"</tbody></table></div>");
        if (waste.Paths.Count == 0)
        {
            return;
        }
        html.Add($"<h2>By path</h2><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Waste of each path\"><table><thead><tr><th scope=\"col\">Path</th><th scope=\"col\" class=\"number\">Wasted</th><th scope=\"col\">Layers</th><th scope=\"col\">Reason</th></tr></thead><tbody>");
        foreach (PathWaste path in waste.Paths)
        {
            html.Add($"<tr><th scope=\"row\"><a href=\"{PageLink.ToLog(image, path.Path)}\">{NameText.Show(path.Path)}</a></th><td class=\"number\">{ByteSize.Format(path.Size)}</td><td>{string.Join(", ", path.Layers)}</td><td>{string.Join(", ", path.Reasons.Select(WasteCommand.NameOf))}</td></tr>");
        }
        html.Add($"</tbody></table></div>");

        static string Cell(long bytes) => bytes == 0 ? "–" : ByteSize.Format(bytes);
    }

    private static string Share(long part, long whole) => string.Create(CultureInfo.InvariantCulture, $"{100.0 * part / whole:0.0} %");
}
