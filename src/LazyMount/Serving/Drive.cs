using System.Globalization;
using LazyMount.FileSystem;
using LazyMount.Output;
using LazyMount.Serving.Pages;
using Microsoft.AspNetCore.Http;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Serving;

/// <summary>
/// The images as a network drive: WebDAV of class 1, read-only (RFC 4918). Below <c>/files/</c> each image is a directory. Links are followed
/// inside the image; those that lead to nothing, and those that lead to a directory on the way to them, are left out, so that who walks the drive
/// comes to an end. So are devices and pipes.
/// </summary>
internal sealed class Drive(ServedImages images)
{
    /// <summary>The first name of the drive's paths.</summary>
    public const string Root = "files";

    public const string Methods = "OPTIONS, GET, HEAD, PROPFIND";

    public static void SendOptions(HttpResponse response)
    {
        response.Headers["DAV"] = "1";
        response.Headers["MS-Author-Via"] = "DAV";
        response.Headers.Allow = Methods;
        response.ContentLength = 0;
    }

    /// <summary>Answers PROPFIND. The root of the server is a directory too: Windows asks for it before anything else.</summary>
    public async Task FindAsync(WebRequest request)
    {
        HttpResponse response = request.Response;
        string depth = request.Context.Request.Headers["Depth"].ToString();
        if (depth is not ("0" or "1"))
        {
            bool isKnown = depth.Length == 0 || depth.Equals("infinity", StringComparison.OrdinalIgnoreCase);
            response.StatusCode = isKnown ? StatusCodes.Status403Forbidden : StatusCodes.Status400BadRequest;
            response.ContentType = "application/xml; charset=utf-8";
            await response.WriteAsync(isKnown ? "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:error xmlns:D=\"DAV:\"><D:propfind-finite-depth/></D:error>\n" : "", request.Aborted);
            return;
        }
        if (await PropfindRequest.ReadAsync(request.Context.Request) is not { } wanted)
        {
            await WebServer.SendTextAsync(request, StatusCodes.Status400BadRequest, "cannot read the request: its body is no propfind element of WebDAV");
            return;
        }
        bool listsChildren = depth == "1";
        IReadOnlyList<byte[]> names = request.Names ?? [];
        if (names.Count == 0)
        {
            await SendAsync(request, wanted, [Directory("/"), .. listsChildren ? [Directory($"/{Root}/")] : (DavEntry[])[]]);
        }
        else if (names.Count == 1)
        {
            await SendAsync(request, wanted, [Directory($"/{Root}/"), .. listsChildren ? images.All.Select(image => Directory($"/{Root}/{image.Name}/")) : []]);
        }
        else if (images.Find(names[1]) is { } image)
        {
            using TreeView view = await image.UseTreeAsync(null, request.Aborted);
            if (FindNode(view, names.Skip(2)) is { } node)
            {
                await SendAsync(request, wanted, Entries(view, names, node, listsChildren));
                return;
            }
            await WebServer.SendNotFoundAsync(request);
        }
        else
        {
            await WebServer.SendNotFoundAsync(request);
        }
    }

    /// <summary>Answers GET and HEAD of a file; of a directory, the way to its page.</summary>
    public async Task SendFileAsync(WebRequest request)
    {
        IReadOnlyList<byte[]> names = request.Names!;
        if (names.Count < 2)
        {
            request.Response.Redirect("/");
            return;
        }
        if (images.Find(names[1]) is not { } image || !TryReadLayer(request, out int? layer))
        {
            await WebServer.SendNotFoundAsync(request);
            return;
        }
        using TreeView view = await image.UseTreeAsync(layer, request.Aborted);
        if (FindNode(view, names.Skip(2)) is not { } node)
        {
            await WebServer.SendNotFoundAsync(request);
            return;
        }
        if (FileMode.IsDirectory(view.Tree.Mode(node)))
        {
            request.Response.Redirect(PageLink.ToTree(image, UrlPath.Join(names.Skip(2)), layer));
            return;
        }
        string path = CommandOutput.Displayable(UrlPath.Join(names.Skip(2)));
        string? picture = request.Query("show") == "picture" ? await PictureType.OfAsync(view, node, names[^1], request.Aborted) : null;
        await FileAnswer.SendAsync(request, view, node, path, picture);
    }

    /// <summary>The layer that the query names; false when that is no number.</summary>
    public static bool TryReadLayer(WebRequest request, out int? layer)
    {
        layer = null;
        if (request.Query("layer") is not { Length: > 0 } text)
        {
            return true;
        }
        bool isNumber = int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number);
        layer = number;
        return isNumber;
    }

    private static ulong? FindNode(TreeView view, IEnumerable<byte[]> names)
        => view.Resolve(UrlPath.Join(names), follow: true, out ResolvedPath found) == Errno.None && IsShown(view.Tree.Mode(found.Node)) ? found.Node : null;

    private static bool IsShown(uint mode) => FileMode.IsDirectory(mode) || FileMode.IsRegular(mode);

    private static DavEntry Directory(string href) => new(href, IsDirectory: true, 0, null, null);

    private static IEnumerable<DavEntry> Entries(TreeView view, IReadOnlyList<byte[]> names, ulong node, bool listsChildren)
    {
        string href = $"/{string.Join('/', names.Select(name => UrlPath.Encode(name)))}";
        bool isDirectory = FileMode.IsDirectory(view.Tree.Mode(node));
        yield return Describe(view, node, isDirectory ? href + "/" : href);
        if (!listsChildren || !isDirectory)
        {
            yield break;
        }
        // The directories on the way, as the names of the path lead there.
        HashSet<ulong> way = [];
        for (int count = 2; count <= names.Count; count++)
        {
            if (FindNode(view, names.Take(count).Skip(2)) is { } directory)
            {
                way.Add(directory);
            }
        }
        byte[] path = UrlPath.Join(names.Skip(2));
        foreach ((byte[] name, ulong child) in view.Tree.NamesIn(node))
        {
            ulong target = child;
            if (FileMode.IsSymlink(view.Tree.Mode(child)))
            {
                if (view.Resolve([.. path, (byte)'/', .. name], follow: true, out ResolvedPath found) != Errno.None || way.Contains(found.Node))
                {
                    continue;
                }
                target = found.Node;
            }
            if (IsShown(view.Tree.Mode(target)))
            {
                yield return Describe(view, target, $"{href}/{UrlPath.Encode(name)}{(FileMode.IsDirectory(view.Tree.Mode(target)) ? "/" : "")}");
            }
        }
    }

    private static DavEntry Describe(TreeView view, ulong node, string href)
    {
        NodeAttributes attributes = view.Tree.Attributes(node);
        bool isDirectory = FileMode.IsDirectory(attributes.Mode);
        return new DavEntry(
            href, isDirectory, attributes.Size, isDirectory ? null : FileAnswer.TagOf(view, node),
            EntryFormat.IsInCalendar(attributes.MtimeSeconds) ? DateTimeOffset.FromUnixTimeSeconds(attributes.MtimeSeconds) : null);
    }

    private static async Task SendAsync(WebRequest request, PropfindRequest wanted, IEnumerable<DavEntry> entries)
    {
        request.Response.StatusCode = StatusCodes.Status207MultiStatus;
        request.Response.ContentType = "application/xml; charset=utf-8";
        var answer = new MultiStatus(request.Response.BodyWriter, wanted);
        answer.Begin();
        foreach (DavEntry entry in entries)
        {
            await answer.WriteAsync(entry, request.Aborted);
        }
        await answer.EndAsync(request.Aborted);
    }
}
