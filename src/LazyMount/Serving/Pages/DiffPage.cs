using System.Text;
using LazyMount.Cli;
using LazyMount.Comparing;
using LazyMount.FileSystem;
using LazyMount.Output;
using LazyMount.Trees;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Serving.Pages;

/// <summary>Two images side by side: what was added, deleted, changed and renamed, or the text of one file.</summary>
internal static class DiffPage
{
    private const int MaxRows = 1000;
    private const int MaxText = 1 << 20;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    public static void WriteForm(Html html, IReadOnlyList<ServedImage> images, ServedImage before, ServedImage after, string path, bool readsContent)
    {
        html.Add($"<form class=\"choice\" action=\"/diff\">");
        foreach ((string name, string title, ServedImage chosen) in ((string, string, ServedImage)[])[("before", "Before", before), ("after", "After", after)])
        {
            html.Add($"<label for=\"{name}\">{title}</label><select id=\"{name}\" name=\"{name}\">");
            foreach (ServedImage image in images)
            {
                html.Add($"<option value=\"{image.Name}\"{(image == chosen ? new Markup(" selected") : default)}>{image.Reference.ToString()}</option>");
            }
            html.Add($"</select>");
        }
        html.Add($"<label for=\"path\">Below</label><input id=\"path\" name=\"path\" value=\"{CommandOutput.Displayable(path)}\"><label class=\"check\"><input type=\"checkbox\" name=\"content\" value=\"1\"{(readsContent ? new Markup(" checked") : default)}> Read files of equal size</label><button>Compare</button></form>");
    }

    /// <summary>Writes what differs below a path.</summary>
    /// <param name="html">Where to.</param>
    /// <param name="before">The first image.</param>
    /// <param name="after">The second image.</param>
    /// <param name="path">The path.</param>
    /// <param name="readsContent">Files of equal size and unknown content are read; else they count as equal.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public static async Task WriteAsync(Html html, ServedImage before, ServedImage after, byte[] path, bool readsContent, CancellationToken cancellationToken)
    {
        using TreeView old = await before.UseTreeAsync(null, cancellationToken), current = await after.UseTreeAsync(null, cancellationToken);
        (ComparedTree? first, ComparedTree? second) = (Find(old, path), Find(current, path));
        if (first is null && second is null)
        {
            html.Add($"<p>Neither image has this path.</p>");
            return;
        }
        if (IsFile(old, first) && IsFile(current, second))
        {
            await WriteTextAsync(html, old, current, first!, second!, cancellationToken);
            return;
        }
        var comparison = await Task.Run(() => new TreeComparison(
            first ?? new ComparedTree(old.Opened, TreePaths.NoNode, second!.Path), second ?? new ComparedTree(current.Opened, TreePaths.NoNode, first!.Path),
            readsContent ? Changes.Time : Changes.Time | Changes.Content, findsRenames: true, cancellationToken), cancellationToken);
        await Task.Run(() => comparison.ReadAsync(_ => { }, cancellationToken), cancellationToken);
        int[] counts = new int[4];
        var rows = new Html();
        int shown = 0;
        (DifferenceKind Kind, byte[] Below)? whole = null; // a directory that is on one side only stands for all that is below it
        foreach (Difference difference in comparison.Differences())
        {
            cancellationToken.ThrowIfCancellationRequested();
            counts[(int)difference.Kind]++;
            byte[] at = (difference.After ?? difference.Before)!.Value.Path;
            if (whole is { } directory && directory.Kind == difference.Kind && at.AsSpan().StartsWith(directory.Below))
            {
                continue;
            }
            bool isWhole = difference.Kind is DifferenceKind.Added or DifferenceKind.Deleted && FileMode.IsDirectory(difference.After is { } it ? current.Tree.Mode(it.Node) : old.Tree.Mode(difference.Before!.Value.Node));
            whole = isWhole ? (difference.Kind, [.. at, (byte)'/']) : whole;
            if (shown++ < MaxRows)
            {
                WriteRow(rows, difference, isWhole, (before, old), (after, current), readsContent);
            }
        }
        if (shown == 0)
        {
            html.Add($"<p>There is no difference{(readsContent ? "" : ", as far as names, sizes and attributes tell")}.</p>");
            return;
        }
        html.Add($"<p class=\"hint\"><span class=\"badge added\">{counts[(int)DifferenceKind.Added]} added</span> <span class=\"badge deleted\">{counts[(int)DifferenceKind.Deleted]} deleted</span> <span class=\"badge changed\">{counts[(int)DifferenceKind.Changed]} changed</span> <span class=\"badge linked\">{counts[(int)DifferenceKind.Renamed]} renamed</span>{(shown > MaxRows ? $" The first {MaxRows} rows are shown: choose a directory to see the others." : "")} Times of modification are not compared.</p>");
        html.Add($"<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Differences\"><table class=\"sides\"><thead><tr><th scope=\"col\">{before.Reference.ToString()}</th><th scope=\"col\">What</th><th scope=\"col\">{after.Reference.ToString()}</th></tr></thead><tbody>{new Markup(rows.ToString())}</tbody></table></div>");
    }

    private static void WriteRow(Html html, in Difference difference, bool isWhole, (ServedImage Image, TreeView View) before, (ServedImage Image, TreeView View) after, bool readsContent)
    {
        string kind = difference.Kind switch { DifferenceKind.Added => "added", DifferenceKind.Deleted => "deleted", DifferenceKind.Changed => "changed", _ => "renamed" };
        Changes changes = difference.Changes;
        string what = string.Join(", ", NodeComparison.Names.Where(each => (changes & each.Change) != 0).Select(each => each.Name));
        Markup text = difference is { Kind: DifferenceKind.Changed, After: { } entry } && (changes & (Changes.Size | Changes.Content)) != 0
            ? Html.Of(link => link.Add($" <a href=\"/diff?before={before.Image.Name}&amp;after={after.Image.Name}&amp;path={UrlPath.Encode(entry.Path)}{(readsContent ? new Markup("&amp;content=1") : default)}\">text of {NameText.Show(entry.Path.AsSpan(entry.Path.AsSpan().LastIndexOf((byte)'/') + 1))}</a>")) : default;
        html.Add($"<tr class=\"{kind}\"><td>{Side(before, difference.Before)}</td><td><span class=\"badge {(kind == "renamed" ? "linked" : kind)}\">{kind}</span> {(isWhole ? "with all below it" : what)}{text}</td><td>{Side(after, difference.After)}</td></tr>");
    }

    private static Markup Side((ServedImage Image, TreeView View) side, ComparedEntry? entry) => Html.Of(html =>
    {
        if (entry is not { } it)
        {
            html.Add($"<span class=\"quiet\" aria-label=\"not there\">–</span>");
            return;
        }
        NodeAttributes attributes = side.View.Tree.Attributes(it.Node);
        html.Add($"<a href=\"{PageLink.ToTree(side.Image, it.Path, null)}\">{NameText.Show(it.Path)}</a><span class=\"quiet\"> {EntryFormat.ModeString(attributes.Mode)} {attributes.Uid}:{attributes.Gid}{(FileMode.IsRegular(attributes.Mode) ? $" {ByteSize.Format(attributes.Size)}" : "")}</span>");
    });

    private static async Task WriteTextAsync(Html html, TreeView before, TreeView after, ComparedTree first, ComparedTree second, CancellationToken cancellationToken)
    {
        if (before.Tree.Size(first.Start) > MaxText || after.Tree.Size(second.Start) > MaxText)
        {
            html.Add($"<p>Text of more than {ByteSize.Format(MaxText)} is not compared here; 'lazymount diff -u' does it.</p>");
            return;
        }
        string name = CommandOutput.Displayable(first.Path);
        byte[] old = await FileAnswer.ReadAsync(before, first.Start, 0, MaxText, name, cancellationToken), current = await FileAnswer.ReadAsync(after, second.Start, 0, MaxText, name, cancellationToken);
        if (old.AsSpan().SequenceEqual(current))
        {
            html.Add($"<p>The content is the same.</p>");
            return;
        }
        if (UnifiedDiff.IsBinary(old) || UnifiedDiff.IsBinary(current))
        {
            html.Add($"<p>The files differ, and are not text.</p>");
            return;
        }
        using var text = new MemoryStream();
        using (var output = new CommandOutput(text, isTerminal: false))
        {
            UnifiedDiff diff = await Task.Run(() => new UnifiedDiff(old, current), CancellationToken.None).WaitAsync(s_patience, cancellationToken);
            diff.Write(output);
            output.Flush();
        }
        html.Add($"<pre class=\"text\" tabindex=\"0\" role=\"region\" aria-label=\"Differences of the text\">");
        foreach (string line in Encoding.UTF8.GetString(text.ToArray()).Split('\n'))
        {
            string kind = line is ['+', ..] ? "added" : line is ['-', ..] ? "deleted" : line is ['@', ..] ? "place" : "";
            html.Add($"<span class=\"{kind}\">{CommandOutput.Displayable(line.Replace('\t', '\u2003'))}</span>\n");
        }
        html.Add($"</pre>");
    }

    private static bool IsFile(TreeView view, ComparedTree? side) => side is not null && FileMode.IsRegular(view.Tree.Mode(side.Start));

    private static ComparedTree? Find(TreeView view, byte[] path)
        => view.Resolve(path, follow: false, out ResolvedPath found) == Errno.None ? new ComparedTree(view.Opened, found.Node, found.Path) : null;
}
