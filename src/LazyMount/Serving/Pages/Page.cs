using System.Text;
using LazyMount.Blobs.Counting;
using LazyMount.Cli;
using Microsoft.AspNetCore.Http;

namespace LazyMount.Serving.Pages;

/// <summary>One page: the frame around what a view writes into <see cref="Body"/>.</summary>
/// <param name="request">The request that it answers.</param>
/// <param name="title">Its title, also of the window.</param>
/// <param name="counters">Whose fetched bytes stand in the corner.</param>
internal sealed class Page(WebRequest request, string title, ServingCounters counters)
{
    public Html Body { get; } = new();

    /// <summary>The image that the page is about: its views are offered.</summary>
    public ServedImage? Image { get; init; }

    /// <summary>Which of these views it is.</summary>
    public string View { get; init; } = "";

    /// <summary>Several images are served: they can be compared.</summary>
    public bool OffersDiff { get; init; }

    /// <summary>Scripts before that of every page, which uses them.</summary>
    public string[] Scripts { get; init; } = [];

    /// <summary>The head line; null: the title.</summary>
    public Markup? Heading { get; init; }

    public Task SendAsync(int status = StatusCodes.Status200OK)
    {
        var html = new Html();
        html.Add($"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\"><title>{title} · LazyMount</title><link rel=\"icon\" href=\"/static/icon.svg\"><link rel=\"stylesheet\" href=\"/static/page.css\">");
        foreach (string script in Scripts)
        {
            html.Add($"<script src=\"/static/{script}\" defer></script>");
        }
        html.Add($"<script src=\"/static/page.js\" defer></script></head><body><a class=\"skip\" href=\"#main\">Skip to the content</a><header><a class=\"brand\" href=\"/\"><svg viewBox=\"0 0 16 16\" width=\"18\" height=\"18\" aria-hidden=\"true\"><path d=\"M8 1 15 4.5 8 8 1 4.5Z\"/><path d=\"M2.6 7.3 8 10l5.4-2.7L15 8.2 8 11.7 1 8.2Z\" opacity=\".7\"/><path d=\"M2.6 10.6 8 13.3l5.4-2.7L15 11.5 8 15 1 11.5Z\" opacity=\".45\"/></svg>LazyMount</a>");
        if (Image is { } image)
        {
            html.Add($"<nav aria-label=\"Views of the image\"><ul>");
            foreach ((string name, string text, string link) in ((string, string, string)[])
                [("image", "Overview", PageLink.ToImage(image)), ("tree", "Files", PageLink.ToTree(image, "/"u8, null)), ("search", "Search", $"/search/{image.Name}"),
                 ("sizes", "Sizes", PageLink.ToSizes(image, "/"u8, null)), ("waste", "Waste", $"/waste/{image.Name}")])
            {
                html.Add($"<li><a href=\"{link}\"{(name == View ? new Markup(" aria-current=\"page\"") : default)}>{text}</a></li>");
            }
            if (OffersDiff)
            {
                html.Add($"<li><a href=\"/diff?before={image.Name}\">Compare</a></li>");
            }
            html.Add($"</ul></nav>");
        }
        else if (OffersDiff)
        {
            html.Add($"<nav aria-label=\"Views\"><ul><li><a href=\"/diff\"{(View == "diff" ? new Markup(" aria-current=\"page\"") : default)}>Compare</a></li></ul></nav>");
        }
        html.Add($"</header><main id=\"main\" tabindex=\"-1\">");
        if (Image is not null && View != "image")
        {
            html.Add($"<p class=\"of\"><a href=\"{PageLink.ToImage(Image)}\">{Image.Reference.ToString()}</a></p>");
        }
        html.Add($"<h1>{Heading ?? new Markup(Html.Encode(title))}</h1>{new Markup(Body.ToString())}</main><footer><span>Fetched so far: <strong id=\"fetched\">{ByteSize.Format(counters[Counter.FetchedBytes])}</strong></span><span>Only what you look at is fetched.</span></footer></body></html>\n");
        request.Response.StatusCode = status;
        request.Response.ContentType = "text/html; charset=utf-8";
        return SendAsync(request, html.ToString());
    }

    /// <summary>Sends text, but not to HEAD.</summary>
    public static Task SendAsync(WebRequest request, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        request.Response.ContentLength = bytes.Length;
        return HttpMethods.IsHead(request.Context.Request.Method) ? Task.CompletedTask : request.Response.Body.WriteAsync(bytes, request.Aborted).AsTask();
    }
}
