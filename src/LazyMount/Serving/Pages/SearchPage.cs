using System.Globalization;
using LazyMount.Cli;
using LazyMount.FileSystem;
using LazyMount.Finding;
using LazyMount.Output;
using LazyMount.Trees;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Serving.Pages;

/// <summary>Names of an image that hold a word, or match a pattern of the shell, in any case. With a script the results come while one types.</summary>
internal static class SearchPage
{
    private const int MaxResults = 200, MaxPattern = 200;

    public static void WriteForm(Html html, ServedImage image, string query)
        => html.Add($"<form role=\"search\" class=\"search\" action=\"/search/{image.Name}\"><label for=\"q\">Name, or a pattern such as *.conf</label><input id=\"q\" name=\"q\" type=\"search\" value=\"{query}\" autocomplete=\"off\" spellcheck=\"false\" maxlength=\"{MaxPattern}\"><button>Search</button></form>");

    /// <summary>Writes the results alone.</summary>
    public static void WriteResults(Html html, ServedImage image, TreeView view, string query, CancellationToken cancellationToken)
    {
        if (query.Length is 0 or > MaxPattern)
        {
            return;
        }
        bool isPattern = query.IndexOfAny(['*', '?', '[']) >= 0;
        var pattern = new GlobPattern(ImagePathText.Encode(isPattern ? query : $"*{query.Replace("\\", "\\\\", StringComparison.Ordinal)}*"), ignoresCase: true);
        int count = 0;
        var rows = new Html();
        var walk = new DepthFirstWalk(view.Tree, view.Root, "/"u8);
        while (count < MaxResults && walk.MoveNext())
        {
            cancellationToken.ThrowIfCancellationRequested();
            ReadOnlySpan<byte> path = walk.Path, name = path[(path.LastIndexOf((byte)'/') + 1)..];
            if (walk.IsLeaving || !pattern.Matches(name))
            {
                continue;
            }
            count++;
            NodeAttributes attributes = view.Tree.Attributes(walk.Node);
            rows.Add($"<tr><th scope=\"row\"><a href=\"{PageLink.ToTree(image, path, null)}\">{NameText.Show(path)}</a></th><td>{EntryFormat.TypeName(attributes.Mode)}</td><td class=\"number\">{(FileMode.IsRegular(attributes.Mode) ? ByteSize.Format(attributes.Size) : "")}</td></tr>");
        }
        string said = count == 0 ? "No name is like that." : count < MaxResults ? $"{count.ToString(CultureInfo.InvariantCulture)} {(count == 1 ? "name" : "names")}" : $"The first {MaxResults} names; type more to see fewer";
        html.Add($"<p class=\"hint\">{said}</p>");
        if (count > 0)
        {
            html.Add($"<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Names found\"><table><thead><tr><th scope=\"col\">Path</th><th scope=\"col\">Type</th><th scope=\"col\" class=\"number\">Size</th></tr></thead><tbody>{new Markup(rows.ToString())}</tbody></table></div>");
        }
    }
}
