using LazyMount.Cli;
using LazyMount.Commands;
using LazyMount.FileSystem;
using LazyMount.Images;
using LazyMount.Output;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Serving.Pages;

/// <summary>What each layer did to a path: who added, changed, hid or deleted it. Also of a path that is gone.</summary>
internal static class LogPage
{
    public static async Task WriteAsync(Html html, ServedImage image, byte[] path, CancellationToken cancellationToken)
    {
        using IdleResource<IndexedImage>.Lease lease = await image.UseIndexesAsync(cancellationToken);
        PathEvent[] events = await Task.Run(() => lease.Value.LogOf(path, cancellationToken).ToArray(), cancellationToken);
        if (events.Length == 0)
        {
            html.Add($"<p>No layer has this path or ever had it.</p>");
            return;
        }
        html.Add($"<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"What each layer did\"><table><thead><tr><th scope=\"col\">Layer</th><th scope=\"col\">Action</th><th scope=\"col\">What</th><th scope=\"col\" class=\"number\">Size</th><th scope=\"col\">Mode</th><th scope=\"col\">Modified (UTC)</th></tr></thead><tbody>");
        foreach (PathEvent each in events)
        {
            string action = LogCommand.NameOf(each.Action);
            bool isGone = LogCommand.IsGone(each);
            Markup link = isGone ? Html.Of(text => text.Add($"Layer {each.Layer}")) : Html.Of(text => text.Add($"<a href=\"{PageLink.ToTree(image, each.Path, each.Layer)}\">Layer {each.Layer}</a>"));
            html.Add($"<tr><th scope=\"row\">{link}</th><td><span class=\"badge {action}\">{action}</span></td><td>{Details(each)}</td><td class=\"number\">{(FileMode.IsDirectory(each.Node.Mode) ? "" : ByteSize.Format(each.Node.Size))}</td><td><code>{EntryFormat.ModeString(each.Node.Mode)}</code></td><td>{(each.Node.Layer < 0 ? "–" : EntryFormat.ShortTime(each.Node.MtimeSeconds))}</td></tr>");
        }
        html.Add($"</tbody></table></div>");
        bool isThere = !LogCommand.IsGone(events[^1]);
        html.Add($"<p>{(isThere ? Html.Of(text => text.Add($"<a href=\"{PageLink.ToTree(image, events[^1].Path, null)}\">See it in the image</a>")) : new Markup("It is not in the image any more. The layers above still have it."))}</p>");
    }

    private static Markup Details(PathEvent each) => Html.Of(html =>
    {
        html.Add($"{string.Join(", ", LogCommand.NamesOf(each.Changes))}");
        if (FileMode.IsSymlink(each.Node.Mode))
        {
            html.Add($" → {NameText.Show(each.Node.LinkTarget.Span)}");
        }
        if (each.By is { } by)
        {
            html.Add($" {(each.Covering is null ? "with" : each.Action == PathAction.Added ? "through" : "by")} {NameText.Show(by)}{(each.Covering is { } how ? $" ({LogCommand.NameOf(how)})" : "")}");
        }
        if (each.Below is { IsEmpty: false } below)
        {
            html.Add($" below: {below.Added.Names} added ({ByteSize.Format(below.Added.Size)}), {below.Changed.Names} changed ({ByteSize.Format(below.Changed.Size)}), {below.Deleted.Names} deleted ({ByteSize.Format(below.Deleted.Size)})");
        }
    });
}
