using System.Collections.Frozen;
using System.Globalization;
using System.Text;
using LazyMount.Blobs.Counting;
using LazyMount.Blobs.Oci;
using LazyMount.Cli;
using LazyMount.FileSystem;
using LazyMount.Output;
using Microsoft.AspNetCore.Http;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Serving.Pages;

/// <summary>The pages: each view is made on the server, and most need no script.</summary>
internal sealed class Site(ServedImages images, ServingCounters counters)
{
    private static readonly FrozenDictionary<string, string> s_types = new Dictionary<string, string>
    {
        ["page.css"] = "text/css; charset=utf-8",
        ["page.js"] = "text/javascript; charset=utf-8",
        ["highlight.min.js"] = "text/javascript; charset=utf-8",
        ["icon.svg"] = "image/svg+xml",
    }.ToFrozenDictionary();

    /// <summary>Answers GET and HEAD of a page.</summary>
    public async Task SendAsync(WebRequest request)
    {
        IReadOnlyList<byte[]> names = request.Names!;
        string page = names.Count == 0 ? "" : Encoding.Latin1.GetString(names[0]);
        if (names.Count < 2 || page == "static")
        {
            await (page switch
            {
                "" => SendImagesAsync(request),
                "static" when names.Count == 2 => SendStaticAsync(request),
                "status" => SendStatusAsync(request),
                "diff" => Gate.RunAsync(Gate.Work, request, () => SendDiffAsync(request)),
                _ => WebServer.SendNotFoundAsync(request),
            });
            return;
        }
        if (images.Find(names[1]) is not { } image || !Drive.TryReadLayer(request, out int? layer))
        {
            await WebServer.SendNotFoundAsync(request);
            return;
        }
        byte[] path = UrlPath.Join(names.Skip(2));
        await (page switch
        {
            "image" when names.Count == 2 => SendOverviewAsync(request, image),
            "tree" => SendTreeAsync(request, image, path, layer),
            "log" => Gate.RunAsync(Gate.Work, request, () => SendLogAsync(request, image, path)),
            "tar" => Gate.RunAsync(Gate.Tars, request, () => SendTarAsync(request, image, path, layer)),
            "search" when names.Count == 2 => Gate.RunAsync(Gate.Work, request, () => SendSearchAsync(request, image)),
            "sizes" => Gate.RunAsync(Gate.Work, request, () => SendSizesAsync(request, image, path, layer)),
            "waste" when names.Count == 2 => Gate.RunAsync(Gate.Work, request, () => SendWasteAsync(request, image)),
            _ => WebServer.SendNotFoundAsync(request),
        });
    }

    private async Task SendOverviewAsync(WebRequest request, ServedImage image)
    {
        Page page = NewPage(request, image.Reference.ToString(), image, "image");
        await OverviewPage.WriteAsync(page.Body, image, request.Aborted);
        await page.SendAsync();
    }

    private async Task SendTreeAsync(WebRequest request, ServedImage image, byte[] path, int? layer)
    {
        using TreeView view = await image.UseTreeAsync(layer, request.Aborted);
        if (!TryFind(view, path, out ResolvedPath found))
        {
            await SendMissingAsync(request, image, path, layer);
            return;
        }
        if (!found.Path.AsSpan().SequenceEqual(path))
        {
            request.Response.Redirect(PageLink.ToTree(image, found.Path, layer));
            return;
        }
        Page page = NewPage(request, Title(path, layer), image, layer is null ? "tree" : "", Crumbs(image, path, layer));
        ImageHistory history = ImageHistory.Read(view.Opened.Image.Image.ConfigBytes.Span, view.Opened.Image.Image.Layers.Count);
        if (layer is int number)
        {
            page.Body.Add($"<p class=\"note\">What layer {number} holds by itself. <a href=\"{PageLink.ToTree(image, "/"u8, null)}\">All layers merged</a></p>");
        }
        var directory = new DirectoryPage(image, view, history);
        if (FileMode.IsDirectory(view.Tree.Mode(found.Node)))
        {
            _ = int.TryParse(request.Query("part"), NumberStyles.None, CultureInfo.InvariantCulture, out int part);
            directory.Write(page.Body, found.Node, path, part);
        }
        else
        {
            await new FilePage(image, view, directory).WriteAsync(page.Body, found, request);
        }
        await page.SendAsync();
    }

    private async Task SendTarAsync(WebRequest request, ServedImage image, byte[] path, int? layer)
    {
        using TreeView view = await image.UseTreeAsync(layer, request.Aborted);
        await (TryFind(view, path, out ResolvedPath found) ? TarAnswer.SendAsync(request, view, found, image.Name) : SendMissingAsync(request, image, path, layer));
    }

    private async Task SendLogAsync(WebRequest request, ServedImage image, byte[] path)
    {
        Page page = NewPage(request, $"What layers did to {NameText.Plain(path)}", image, "");
        await LogPage.WriteAsync(page.Body, image, path, request.Aborted);
        await page.SendAsync();
    }

    private async Task SendSearchAsync(WebRequest request, ServedImage image)
    {
        string query = request.Query("q") ?? "";
        using TreeView view = await image.UseTreeAsync(null, request.Aborted);
        var results = new Html();
        await Task.Run(() => SearchPage.WriteResults(results, image, view, query, request.Aborted), request.Aborted);
        if (request.Query("only") == "results")
        {
            request.Response.ContentType = "text/html; charset=utf-8";
            await Page.SendAsync(request, results.ToString());
            return;
        }
        Page page = NewPage(request, "Search", image, "search");
        SearchPage.WriteForm(page.Body, image, query);
        page.Body.Add($"<div id=\"results\" aria-live=\"polite\">{new Markup(results.ToString())}</div>");
        await page.SendAsync();
    }

    private async Task SendSizesAsync(WebRequest request, ServedImage image, byte[] path, int? layer)
    {
        using TreeView view = await image.UseTreeAsync(layer, request.Aborted);
        if (!TryFind(view, path, out ResolvedPath found))
        {
            await SendMissingAsync(request, image, path, layer);
            return;
        }
        Page page = NewPage(request, $"Sizes in {Title(path, layer)}", image, "sizes", Html.Of(heading => heading.Add($"Sizes in {Crumbs(image, found.Path, layer, PageLink.ToSizes)}")));
        await Task.Run(() => SizesPage.WriteSizes(page.Body, image, view, found.Node, found.Path, request.Aborted), request.Aborted);
        await page.SendAsync();
    }

    private async Task SendWasteAsync(WebRequest request, ServedImage image)
    {
        Page page = NewPage(request, "Waste", image, "waste");
        await SizesPage.WriteWasteAsync(page.Body, image, request.Aborted);
        await page.SendAsync();
    }

    private async Task SendDiffAsync(WebRequest request)
    {
        Page page = NewPage(request, "Compare two images", view: "diff");
        ServedImage? Chosen(string name) => request.Query(name) is { } text ? images.Find(ImagePathText.Encode(text)) : null;
        ServedImage before = Chosen("before") ?? images.All[0];
        ServedImage after = Chosen("after") ?? images.All.FirstOrDefault(image => image != before) ?? before;
        string path = request.Query("path") is { Length: > 0 } given ? given : "/";
        bool readsContent = request.Query("content") == "1";
        DiffPage.WriteForm(page.Body, images.All, before, after, path, readsContent);
        if (request.Query("after") is not null)
        {
            await DiffPage.WriteAsync(page.Body, before, after, ImagePathText.Encode(path), readsContent, request.Aborted);
        }
        await page.SendAsync();
    }

    // Links on the way are followed, one at the end is not: it has a page of its own.
    private static bool TryFind(TreeView view, byte[] path, out ResolvedPath found) => view.Resolve(path, follow: false, out found) == Errno.None;

    private Task SendMissingAsync(WebRequest request, ServedImage image, byte[] path, int? layer)
    {
        Page page = NewPage(request, "Not found", image);
        page.Body.Add($"<p class=\"failure\">{NameText.Show(path)} is not in {(layer is int number ? $"layer {number}" : "the image")}.</p><p><a href=\"{PageLink.ToLog(image, path)}\">See whether a layer had it</a></p>");
        return page.SendAsync(StatusCodes.Status404NotFound);
    }

    private static string Title(byte[] path, int? layer) => layer is int number ? string.Create(CultureInfo.InvariantCulture, $"{NameText.Plain(path)} in layer {number}") : NameText.Plain(path);

    private delegate string LinkTo(ServedImage image, ReadOnlySpan<byte> path, int? layer);

    // The path, each directory a link.
    private static Markup Crumbs(ServedImage image, byte[] path, int? layer) => Crumbs(image, path, layer, (image, path, layer) => PageLink.ToTree(image, path, layer));

    private static Markup Crumbs(ServedImage image, byte[] path, int? layer, LinkTo link) => Html.Of(html =>
    {
        html.Add($"<span class=\"path\"><a href=\"{link(image, "/"u8, layer)}\">{(layer is int number ? $"layer {number}" : "/")}</a>");
        for (int at = 1; at < path.Length;)
        {
            int slash = path.AsSpan(at).IndexOf((byte)'/'), end = slash < 0 ? path.Length : at + slash;
            Markup name = NameText.Show(path.AsSpan(at..end));
            html.Add($"{(at > 1 || layer is not null ? "/" : "")}");
            html.Add($"{(end == path.Length ? name : Html.Of(text => text.Add($"<a href=\"{link(image, path.AsSpan(0, end), layer)}\">{name}</a>")))}");
            at = end + 1;
        }
        html.Add($"</span>");
    });

    /// <summary>A page with one sentence: why there is no other one.</summary>
    public Task SendFailureAsync(WebRequest request, int status, string sentence)
    {
        Page page = NewPage(request, "This cannot be shown");
        page.Body.Add($"<p class=\"failure\">{CommandOutput.Displayable(sentence)}</p>");
        return page.SendAsync(status);
    }

    /// <summary>
    /// The answer to the URL with the token: the browser has the cookie now, and goes on without the token. By a page, because a browser that was sent
    /// here by another site's page would follow a redirection without the cookie.
    /// </summary>
    public Task SendWelcomeAsync(WebRequest request)
    {
        string next = $"/{string.Join('/', (request.Names ?? []).Select(name => UrlPath.Encode(name)))}";
        request.Response.Headers["Refresh"] = $"0; url={next}";
        Page page = NewPage(request, "Welcome");
        page.Body.Add($"<p><a href=\"{next}\">Go on to the images</a></p>");
        return page.SendAsync();
    }

    private Page NewPage(WebRequest request, string title, ServedImage? image = null, string view = "", Markup? heading = null)
        => new(request, title, counters) { Image = image, View = view, Heading = heading, OffersDiff = images.All.Count > 1, Scripts = image is null ? [] : ["highlight.min.js"] };

    private Task SendImagesAsync(WebRequest request)
    {
        Page page = NewPage(request, images.All.Count == 1 ? "Image" : "Images");
        page.Body.Add($"<ul class=\"cards\">");
        foreach (ServedImage image in images.All)
        {
            page.Body.Add($"<li><a class=\"card\" href=\"{PageLink.ToImage(image)}\">{image.Reference.ToString()}</a></li>");
        }
        page.Body.Add($"</ul><h2>As a network drive</h2><p>The same files are a read-only drive (WebDAV) at <code>{request.Context.Request.Scheme}://{request.Context.Request.Host.ToString()}/{Drive.Root}/</code>. Where it asks for a password, that is the token of the printed URL, or the password that the server was started with; any user name will do.</p>");
        return page.SendAsync();
    }

    private static Task SendStaticAsync(WebRequest request)
    {
        string name = Encoding.Latin1.GetString(request.Names![1]);
        if (!s_types.TryGetValue(name, out string? type) || typeof(Site).Assembly.GetManifestResourceStream(name) is not { } stream)
        {
            return WebServer.SendNotFoundAsync(request);
        }
        using var reader = new StreamReader(stream, Encoding.UTF8);
        request.Response.ContentType = type;
        request.Response.Headers.CacheControl = "private, max-age=600";
        return Page.SendAsync(request, reader.ReadToEnd());
    }

    private Task SendStatusAsync(WebRequest request)
    {
        request.Response.ContentType = "application/json";
        long fetched = counters[Counter.FetchedBytes];
        return Page.SendAsync(request, string.Create(CultureInfo.InvariantCulture, $"{{\"fetchedBytes\":{fetched},\"fetched\":\"{ByteSize.Format(fetched)}\"}}\n"));
    }
}
