using System.Text;
using LazyMount.Exporting;
using LazyMount.FileSystem;
using LazyMount.Trees;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace LazyMount.Serving.Pages;

/// <summary>Sends a directory, or whatever else a path names, as one tar.</summary>
internal static class TarAnswer
{
    /// <param name="request">The request.</param>
    /// <param name="view">The tree.</param>
    /// <param name="found">What is sent.</param>
    /// <param name="image">What the tar of the whole image is called.</param>
    public static async Task SendAsync(WebRequest request, TreeView view, ResolvedPath found, string image)
    {
        byte[] name = found.Path[(found.Path.AsSpan().LastIndexOf((byte)'/') + 1)..];
        string file = name.Length == 0 ? image : new string([.. Encoding.UTF8.GetString(name).Select(each => char.IsAsciiLetterOrDigit(each) || each is '.' or '_' or '-' ? each : '_')]);
        request.Response.ContentType = "application/x-tar";
        request.Response.Headers.ContentDisposition = $"attachment; filename=\"{file}.tar\"";
        if (HttpMethods.IsHead(request.Context.Request.Method))
        {
            return;
        }
        // The exporter writes while it reads, in a thread of its own that a slow client keeps waiting.
        request.Context.Features.GetRequiredFeature<IHttpBodyControlFeature>().AllowSynchronousIO = true;
        TreePaths paths = name.Length == 0 ? new TreePaths(view.Tree, found.Node, view.Tree.NamesIn(found.Node)) : new TreePaths(view.Tree, TreePaths.NoNode, [new TreeName(name, found.Node)]);
        var output = new BufferedStream(request.Response.Body, 64 << 10);
        await Task.Run(() => new TreeExporter(view.Opened.Image, paths, output).ExportAsync(_ => { }, request.Aborted), request.Aborted);
        await output.FlushAsync(request.Aborted);
    }
}
