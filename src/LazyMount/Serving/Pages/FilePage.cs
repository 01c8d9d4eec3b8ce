using System.Globalization;
using System.Text;
using System.Text.Unicode;
using LazyMount.Cli;
using LazyMount.Comparing;
using LazyMount.FileSystem;
using LazyMount.Output;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Serving.Pages;

/// <summary>A file, link or device: what is known of it, and of a file a part of its bytes, as text, as a picture, as what they say of themselves, or in hexadecimal.</summary>
/// <param name="image">The image.</param>
/// <param name="view">Its tree.</param>
/// <param name="directory">Tells of layers.</param>
internal sealed class FilePage(ServedImage image, TreeView view, DirectoryPage directory)
{
    private const int HeadSize = 4 << 10;
    private const int TextSize = 256 << 10;
    private const int HexSize = 4 << 10;
    private const long LargestPicture = 32 << 20;

    /// <summary>Names of languages as the library of the page has them, by the ends of file names.</summary>
    private static readonly Dictionary<string, string> s_languages =
        ("c=c h=c cc=cpp cpp=cpp hpp=cpp cs=csharp css=css diff=diff patch=diff go=go html=xml xml=xml svg=xml ini=ini conf=ini "
        + "toml=ini service=ini java=java js=javascript mjs=javascript json=json lua=lua md=markdown mk=makefile php=php pl=perl "
        + "pm=perl py=python r=r rb=ruby rs=rust sh=bash bash=bash sql=sql ts=typescript yaml=yaml yml=yaml")
        .Split(' ').Select(pair => pair.Split('=')).ToDictionary(pair => pair[0], pair => pair[1], StringComparer.OrdinalIgnoreCase);

    /// <summary>Writes the page.</summary>
    /// <param name="html">Where to.</param>
    /// <param name="found">The node and its path.</param>
    /// <param name="request">Its query chooses the form ("show") and the part ("from").</param>
    public async Task WriteAsync(Html html, ResolvedPath found, WebRequest request)
    {
        NodeAttributes attributes = view.Tree.Attributes(found.Node);
        byte[] name = found.Path[(found.Path.AsSpan().LastIndexOf((byte)'/') + 1)..];
        WriteFacts(html, found, attributes);
        if (!FileMode.IsRegular(attributes.Mode))
        {
            return;
        }
        if (attributes.Size == 0)
        {
            html.Add($"<p>The file is empty.</p>");
            return;
        }
        string text = CommandOutput.Displayable(found.Path);
        byte[] head = await FileAnswer.ReadAsync(view, found.Node, 0, HeadSize, text, request.Aborted);
        string? picture = attributes.Size <= LargestPicture ? PictureType.Of(head, name) : null;
        bool isText = !UnifiedDiff.IsBinary(head);
        string form = request.Query("show") ?? (picture is not null ? "picture" : isText ? "text" : "hex");
        html.Add($"<ul class=\"forms\" aria-label=\"Forms\">");
        foreach ((string id, string title, bool isOffered) in ((string, string, bool)[])[("picture", "Picture", picture is not null), ("text", "Text", true), ("hex", "Hexadecimal", true)])
        {
            if (isOffered)
            {
                html.Add($"<li><a href=\"{PageLink.ToTree(image, found.Path, view.Layer, $"show={id}")}\"{(id == form ? new Markup(" aria-current=\"true\"") : default)}>{title}</a></li>");
            }
        }
        html.Add($"</ul>");
        if (form == "picture" && picture is not null)
        {
            html.Add($"<figure><img src=\"{PageLink.ToFile(image, found.Path, view.Layer, "show=picture")}\" alt=\"The picture in the file {NameText.Plain(name)}\"></figure>");
            return;
        }
        if (request.Query("show") is null)
        {
            await WriteWhatItSaysAsync(html, found, head, text, request.Aborted);
        }
        _ = long.TryParse(request.Query("from"), NumberStyles.None, CultureInfo.InvariantCulture, out long from);
        from = Math.Min(from, attributes.Size - 1);
        if (form == "hex")
        {
            from -= from % 16;
            WriteHex(html, await FileAnswer.ReadAsync(view, found.Node, from, HexSize, text, request.Aborted), from);
            WriteParts(html, found, "hex", from, HexSize, attributes.Size);
            return;
        }
        byte[] part = await FileAnswer.ReadAsync(view, found.Node, from, TextSize, text, request.Aborted);
        string ending = Encoding.UTF8.GetString(name).Split('.') is [_, .., var last] ? last : name.AsSpan().SequenceEqual("Makefile"u8) ? "mk" : name.AsSpan().SequenceEqual("Dockerfile"u8) ? "sh" : part.AsSpan().StartsWith("#!"u8) && part.AsSpan(0, Math.Min(part.Length, 40)).IndexOf("sh"u8) > 0 ? "sh" : "";
        string language = s_languages.GetValueOrDefault(ending, "plaintext");
        html.Add($"<pre class=\"text\" tabindex=\"0\" role=\"region\" aria-label=\"Text of the file\"><code class=\"language-{language}\">{TextOf(part)}</code></pre>");
        WriteParts(html, found, "text", from, TextSize, attributes.Size);
    }

    private void WriteFacts(Html html, ResolvedPath found, in NodeAttributes attributes)
    {
        html.Add($"<dl class=\"facts\"><dt>Type</dt><dd>{EntryFormat.TypeName(attributes.Mode)}</dd>");
        if (FileMode.IsRegular(attributes.Mode))
        {
            html.Add($"<dt>Size</dt><dd>{ByteSize.Format(attributes.Size)}{(attributes.Size >= 1024 ? $" ({attributes.Size.ToString("N0", CultureInfo.InvariantCulture)} bytes)" : "")}</dd>");
        }
        if (EntryFormat.IsDevice(attributes.Mode))
        {
            html.Add($"<dt>Device</dt><dd>{EntryFormat.SizeColumn(attributes)}</dd>");
        }
        if (FileMode.IsSymlink(attributes.Mode))
        {
            WriteTarget(html, found);
        }
        html.Add($"<dt>Mode</dt><dd><code>{EntryFormat.ModeString(attributes.Mode)}</code> ({EntryFormat.Octal(attributes.Mode)})</dd><dt>Owner</dt><dd>{attributes.Uid}:{attributes.Gid}</dd><dt>Modified</dt><dd>{EntryFormat.FullTime(attributes.MtimeSeconds, attributes.MtimeNanoseconds)}</dd>");
        if (attributes.LinkCount > 1)
        {
            html.Add($"<dt>Names</dt><dd>{attributes.LinkCount} hard links</dd>");
        }
        foreach ((byte[] key, byte[] value) in view.Tree.XattrsOf(found.Node))
        {
            html.Add($"<dt>{NameText.Show(key)}</dt><dd><code>{(Utf8.IsValid(value) ? NameText.Show(value) : new Markup(Convert.ToHexStringLower(value)))}</code></dd>");
        }
        int layer = view.Tree.LayerNumberOf(found.Node);
        if (layer >= 0)
        {
            html.Add($"<dt>Comes from</dt><dd>{directory.LayerLink(found.Node, found.Path)}{(directory.HistoryCommandOf(layer) is { Length: > 0 } made ? Html.Of(command => command.Add($" <code class=\"made\">{made}</code>")) : default)}</dd>");
        }
        html.Add($"</dl><div class=\"actions\">");
        if (FileMode.IsRegular(attributes.Mode))
        {
            html.Add($"<a class=\"button\" href=\"{PageLink.ToFile(image, found.Path, view.Layer)}\">Download</a>");
        }
        html.Add($"<a class=\"button\" href=\"{PageLink.ToLog(image, found.Path)}\">What layers did here</a></div>");
    }

    private void WriteTarget(Html html, ResolvedPath found)
    {
        byte[] target = view.Tree.LinkTarget(found.Node);
        html.Add($"<dt>Leads to</dt><dd>");
        if (view.Resolve(found.Path, follow: true, out ResolvedPath end) == Errno.None)
        {
            html.Add($"<a href=\"{PageLink.ToTree(image, end.Path, view.Layer)}\">{NameText.Show(target)}</a>");
        }
        else
        {
            html.Add($"{NameText.Show(target)} <span class=\"badge removed\">leads to nothing</span>");
        }
        html.Add($"</dd>");
    }

    // What the first or last bytes tell: of a program, of a zip file, of a tar.
    private async Task WriteWhatItSaysAsync(Html html, ResolvedPath found, byte[] head, string text, CancellationToken cancellationToken)
    {
        Task<byte[]> ReadAsync(long start, int length) => FileAnswer.ReadAsync(view, found.Node, start, length, text, cancellationToken);
        long size = view.Tree.Size(found.Node);
        if (await ElfFacts.ReadAsync(head, size, ReadAsync) is { } facts)
        {
            html.Add($"<h2>Program</h2><dl class=\"facts\">");
            foreach ((string title, string value) in facts)
            {
                html.Add($"<dt>{title}</dt><dd><code>{CommandOutput.Displayable(value)}</code></dd>");
            }
            html.Add($"</dl>");
        }
        else if (await ArchiveListing.ReadAsync(head, size, ReadAsync) is { } listing)
        {
            html.Add($"<h2>Contents</h2><p class=\"hint\">{(listing.IsWhole ? $"{listing.Members.Count} {(listing.Members.Count == 1 ? "member" : "members")}" : $"the first {listing.Members.Count} members")}</p><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Contents\"><table><thead><tr><th scope=\"col\">Name</th><th scope=\"col\" class=\"number\">Size</th></tr></thead><tbody>");
            foreach ((byte[] name, long length) in listing.Members)
            {
                html.Add($"<tr><th scope=\"row\">{NameText.Show(name)}</th><td class=\"number\">{ByteSize.Format(length)}</td></tr>");
            }
            html.Add($"</tbody></table></div>");
        }
    }

    private static void WriteHex(Html html, byte[] bytes, long from)
    {
        var text = new StringBuilder();
        for (int row = 0; row < bytes.Length; row += 16)
        {
            text.Append((from + row).ToString("x8", CultureInfo.InvariantCulture)).Append("  ");
            for (int i = 0; i < 16; i++)
            {
                text.Append(row + i < bytes.Length ? bytes[row + i].ToString("x2", CultureInfo.InvariantCulture) : "  ").Append(i == 7 ? "  " : " ");
            }
            text.Append(' ');
            foreach (byte each in bytes.AsSpan(row, Math.Min(16, bytes.Length - row)))
            {
                text.Append(each is >= 0x20 and < 0x7F ? (char)each : '.');
            }
            text.Append('\n');
        }
        html.Add($"<pre class=\"hex\" tabindex=\"0\" role=\"region\" aria-label=\"Bytes of the file\">{text.ToString()}</pre>");
    }

    private void WriteParts(Html html, ResolvedPath found, string form, long from, int step, long size)
    {
        if (size <= step)
        {
            return;
        }
        html.Add($"<p class=\"parts\">Bytes {from.ToString("N0", CultureInfo.InvariantCulture)} to {(Math.Min(from + step, size) - 1).ToString("N0", CultureInfo.InvariantCulture)} of {size.ToString("N0", CultureInfo.InvariantCulture)}. ");
        long last = (size - 1) / step * step;
        foreach ((string title, long to) in ((string, long)[])[("First", 0), ("Previous", Math.Max(0, from - step)), ("Next", from + step), ("Last", last)])
        {
            if (to != from && to < size)
            {
                html.Add($"<a href=\"{PageLink.ToTree(image, found.Path, view.Layer, string.Create(CultureInfo.InvariantCulture, $"show={form}&from={to}"))}\">{title}</a> ");
            }
        }
        html.Add($"</p>");
    }

    // Control characters and what turns the direction of text are shown as such; lines and tabs stay.
    private static Markup TextOf(ReadOnlySpan<byte> bytes)
    {
        var text = new StringBuilder();
        foreach (char each in Encoding.UTF8.GetString(bytes))
        {
            if (each != '\r')
            {
                text.Append(each is '\n' or '\t' || !(char.IsControl(each) || char.GetUnicodeCategory(each) == UnicodeCategory.Format) ? each : '\uFFFD');
            }
        }
        return new Markup(Html.Encode(text.ToString()));
    }
}
