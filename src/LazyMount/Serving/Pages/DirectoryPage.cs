using System.Globalization;
using LazyMount.Blobs.Oci;
using LazyMount.Cli;
using LazyMount.FileSystem;
using LazyMount.Output;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Serving.Pages;

/// <summary>A directory of an image, or of one layer: its names with the layer that each comes from.</summary>
/// <param name="image">The image.</param>
/// <param name="view">Its tree.</param>
/// <param name="history">What made each layer.</param>
internal sealed class DirectoryPage(ServedImage image, TreeView view, ImageHistory history)
{
    private const int NamesOnPage = 500;

    private static ReadOnlySpan<byte> WhiteoutPrefix => ".wh."u8;

    private static ReadOnlySpan<byte> Opaque => ".wh..wh..opq"u8;

    /// <summary>Writes a part of the names.</summary>
    /// <param name="html">Where to.</param>
    /// <param name="directory">The directory.</param>
    /// <param name="path">Its path.</param>
    /// <param name="number">Which part, from 1.</param>
    public void Write(Html html, ulong directory, byte[] path, int number)
    {
        html.Add($"<div class=\"actions\"><a class=\"button\" href=\"{PageLink.ToTar(image, path, view.Layer)}\">Download as tar</a><a class=\"button\" href=\"{PageLink.ToSizes(image, path, view.Layer)}\">Sizes</a><a class=\"button\" href=\"{PageLink.ToLog(image, path)}\">What layers did here</a></div>");
        int count = view.Tree.NamesIn(directory).Count();
        if (count == 0)
        {
            html.Add($"<p>The directory is empty.</p>");
            return;
        }
        int pages = (count + NamesOnPage - 1) / NamesOnPage;
        number = Math.Clamp(number, 1, pages);
        html.Add($"<p class=\"hint\">{count.ToString("N0", CultureInfo.InvariantCulture)} {(count == 1 ? "name" : "names")}{(pages > 1 ? $", part {number} of {pages}" : "")}</p>");
        WriteParts(html, path, number, pages);
        html.Add($"<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Names\"><table class=\"names\"><thead><tr><th scope=\"col\">Name</th><th scope=\"col\" class=\"number\">Size</th><th scope=\"col\">Mode</th><th scope=\"col\">Owner</th><th scope=\"col\">Modified (UTC)</th><th scope=\"col\">{(view.Layer is null ? "Layer" : "In the image")}</th></tr></thead><tbody>");
        foreach ((byte[] name, ulong node) in view.Tree.NamesIn(directory).Skip((number - 1) * NamesOnPage).Take(NamesOnPage))
        {
            WriteName(html, path, name, node);
        }
        html.Add($"</tbody></table></div>");
        WriteParts(html, path, number, pages);
    }

    /// <summary>What the layer of a node is, with what made it as its title.</summary>
    public Markup LayerLink(ulong node, ReadOnlySpan<byte> path)
    {
        int layer = view.Tree.LayerNumberOf(node);
        if (layer < 0)
        {
            return new Markup("<span class=\"quiet\">no layer lists it</span>");
        }
        string made = HistoryCommandOf(layer);
        string link = PageLink.ToTree(image, path, layer);
        return Html.Of(html => html.Add($"<a href=\"{link}\" title=\"{made}\">layer {layer}</a>"));
    }

    /// <summary>The command that made a layer, as far as the history tells.</summary>
    public string HistoryCommandOf(int layer) => layer < history.Steps.Count ? history.Of(layer)?.Command ?? "" : "";

    private void WriteName(Html html, byte[] path, byte[] name, ulong node)
    {
        NodeAttributes attributes = view.Tree.Attributes(node);
        byte[] child = path.AsSpan().SequenceEqual("/"u8) ? [(byte)'/', .. name] : [.. path, (byte)'/', .. name];
        bool isDirectory = FileMode.IsDirectory(attributes.Mode);
        string icon = isDirectory ? "directory" : FileMode.IsSymlink(attributes.Mode) ? "link" : FileMode.IsRegular(attributes.Mode) ? "file" : "special";
        string kind = isDirectory ? "directory" : EntryFormat.TypeName(attributes.Mode);
        html.Add($"<tr><th scope=\"row\"><span class=\"icon {icon}\" role=\"img\" aria-label=\"{kind}\"></span><a href=\"{PageLink.ToTree(image, child, view.Layer)}\">{NameText.Show(name)}</a>");
        if (FileMode.IsSymlink(attributes.Mode))
        {
            html.Add($"<span class=\"target\"> → {NameText.Show(view.Tree.LinkTarget(node))}</span>");
        }
        if (view.Layer is not null && name.AsSpan().StartsWith(WhiteoutPrefix))
        {
            html.Add($"<span class=\"badge removed\">{(name.AsSpan().SequenceEqual(Opaque) ? new Markup("hides what lower layers have here") : Html.Of(badge => badge.Add($"deletes {NameText.Show(name.AsSpan(WhiteoutPrefix.Length))}")))}</span>");
        }
        string size = isDirectory ? "" : EntryFormat.IsDevice(attributes.Mode) ? EntryFormat.SizeColumn(attributes) : ByteSize.Format(attributes.Size);
        html.Add($"</th><td class=\"number\">{size}</td><td><code>{EntryFormat.ModeString(attributes.Mode)}</code></td><td>{attributes.Uid}:{attributes.Gid}</td><td>{EntryFormat.ShortTime(attributes.MtimeSeconds)}</td><td>{(view.Layer is null ? LayerLink(node, path) : StateInImage(child, name, isDirectory))}</td></tr>");
    }

    // Of a name of one layer: whether the merged image still has it.
    private Markup StateInImage(byte[] path, byte[] name, bool isDirectory)
    {
        if (name.AsSpan().StartsWith(WhiteoutPrefix))
        {
            return default;
        }
        ulong merged = view.Tree.Find(ImageTree.RootId, TreeBuilder.MergedName);
        bool isThere = PathResolver.Resolve(view.Tree, path, followFinal: false, out ResolvedPath found, merged) == Errno.None;
        int owner = isThere ? view.Tree.LayerNumberOf(found.Node) : -1;
        return Html.Of(html =>
        {
            if (!isThere)
            {
                html.Add($"<a class=\"gone\" href=\"{PageLink.ToLog(image, path)}\">deleted or hidden later</a>");
            }
            else if (owner == view.Layer || isDirectory)
            {
                html.Add($"<a href=\"{PageLink.ToTree(image, path, null)}\">there</a>");
            }
            else
            {
                html.Add($"<a class=\"gone\" href=\"{PageLink.ToLog(image, path)}\">changed by layer {owner}</a>");
            }
        });
    }

    private void WriteParts(Html html, byte[] path, int number, int pages)
    {
        if (pages == 1)
        {
            return;
        }
        html.Add($"<p class=\"parts\">");
        foreach ((string text, int to) in ((string, int)[])[("First", 1), ("Previous", number - 1), ("Next", number + 1), ("Last", pages)])
        {
            if (to >= 1 && to <= pages && to != number)
            {
                html.Add($"<a href=\"{PageLink.ToTree(image, path, view.Layer, $"part={to.ToString(CultureInfo.InvariantCulture)}")}\">{text}</a> ");
            }
        }
        html.Add($"</p>");
    }
}
