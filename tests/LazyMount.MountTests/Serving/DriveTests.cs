using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Xml.Linq;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Serving;

/// <summary>One server over images of all kinds of names, links and files.</summary>
public sealed class DriveFixture : IDisposable
{
    public const int Many = 100_000, LargeSize = 24 << 20;

    /// <summary>Names that mean something to HTML, URLs, terminals or systems, in Latin-1: byte by byte.</summary>
    public static readonly string[] Names = ["a b", "<b>&amp;\"'", "new\nline", "\u00FF\u00FE", "100%", "q?a#b", "back\\slash", "\u00E2\u0080\u00AE.txt", "%2e%2e", "plus+", ":colon", "~"];

    public DriveFixture()
    {
        var layout = new OciLayoutBuilder(LazyMount.Directory["layout"]);
        Large = new byte[LargeSize];
        new Random(5).NextBytes(Large);
        var tar = new TarBytes().Directory("names").Directory("dir/sub").File("dir/sub/file", "0123456789").File("dir/f", "f").Symlink("dir/up", "..").Symlink("dir/here", ".")
            .Symlink("to-sub", "dir/sub").Symlink("to-file", "/dir/sub/file").Symlink("dangling", "nowhere").Symlink("loop", "loop").Symlink("outside", "../../../../dir/f")
            .Fifo("fifo").CharacterDevice("null", 1, 3).File("large", Large).File("empty", "").Directory("many").File("evil.html", "<script>alert(1)</script>")
            .Symlink("dir/sub/cross", "/other").Symlink("other/back", "/dir/sub").File("other/o", "o");
        foreach (string name in Names)
        {
            tar.File($"names/{name}", $"content of {name}");
        }
        var many = new TarBytes();
        for (int i = 0; i < Many; i++)
        {
            many.File($"many/file-{i:D6}", "");
        }
        layout.AddLayer(tar).AddLayer(many).WriteImage("v1");
        Image = layout.Reference("v1");
        Served = new Served(LazyMount, Image, "--public");
    }

    public LazyMountCli LazyMount { get; } = new();

    public string Image { get; }

    public byte[] Large { get; }

    internal Served Served { get; }

    public void Dispose()
    {
        Served.Dispose();
        LazyMount.Dispose();
    }
}

/// <summary>The drive of `lazymount serve`: WebDAV, byte by byte over HTTP.</summary>
public sealed class DriveTests(DriveFixture fixture) : IClassFixture<DriveFixture>
{
    private const string Root = "/files/layout-v1";
    private static readonly XNamespace s_dav = "DAV:";

    private readonly Served _served = fixture.Served;

    [Theory]
    [InlineData("/")]
    [InlineData("/files/")]
    [InlineData(Root + "/dir/f")]
    public void Options_TellClass1AndNoWriting(string path)
    {
        using HttpResponseMessage response = _served.Send("OPTIONS", path);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal("1", response.Headers.GetValues("DAV").Single());
        Assert.Equal(["OPTIONS", "GET", "HEAD", "PROPFIND"], response.Content.Headers.Allow);
    }

    [Theory]
    [InlineData("PUT")]
    [InlineData("DELETE")]
    [InlineData("MKCOL")]
    [InlineData("COPY")]
    [InlineData("MOVE")]
    [InlineData("LOCK")]
    [InlineData("UNLOCK")]
    [InlineData("PROPPATCH")]
    [InlineData("POST")]
    [InlineData("PATCH")]
    public void WhatWrites_IsNotAllowed(string method)
    {
        using HttpResponseMessage response = _served.Send(method, $"{Root}/dir/f");
        Assert.Equal(HttpStatusCode.MethodNotAllowed, response.StatusCode);
        Assert.Contains("PROPFIND", response.Content.Headers.Allow);
        Assert.Equal("f", _served.Text($"{Root}/dir/f"));
    }

    [Theory]
    [InlineData("infinity")]
    [InlineData(null)]
    public void Propfind_OfEverything_IsRefusedAsTheStandardSays(string? depth)
    {
        using HttpResponseMessage response = _served.Send("PROPFIND", $"{Root}/", depth is null ? [] : [("Depth", depth)]);
        Assert.Equal(HttpStatusCode.Forbidden, response.StatusCode);
        XDocument error = XDocument.Load(response.Content.ReadAsStream(TestContext.Current.CancellationToken));
        Assert.Equal(s_dav + "propfind-finite-depth", error.Root!.Elements().Single().Name);
    }

    [Fact]
    public void Propfind_WalksFromTheRootOfTheServer()
    {
        Assert.Equal(["/", "/files/"], Hrefs("/", "1"));
        Assert.Equal(["/files/", "/files/layout-v1/"], Hrefs("/files/", "1"));
        Assert.Equal([$"{Root}/dir/"], Hrefs($"{Root}/dir", "0"));
        Assert.Equal(HttpStatusCode.NotFound, Status("PROPFIND", $"{Root}/nothing", ("Depth", "1")));
        Assert.Equal(HttpStatusCode.NotFound, Status("PROPFIND", "/files/debian/", ("Depth", "1")));
    }

    [Fact]
    public void Links_AreFollowedInside_AndThoseThatEndNowhereOrNeverAreLeftOut()
    {
        Assert.Equal(
            ["dir/", "empty", "evil.html", "large", "many/", "names/", "other/", "outside", "to-file", "to-sub/"],
            Hrefs($"{Root}/", "1").Skip(1).Select(href => href[(Root.Length + 1)..]));
        Assert.Equal(["f", "sub/"], Hrefs($"{Root}/dir/", "1").Skip(1).Select(href => href[$"{Root}/dir/".Length..]));
        Assert.Equal("f", _served.Text($"{Root}/outside"));
        Assert.Equal("0123456789", _served.Text($"{Root}/to-file"));
        Assert.Equal("0123456789", _served.Text($"{Root}/to-sub/file"));
        // Two directories with links to each other: the second time round the link is left out.
        Assert.Equal(["cross/", "file"], Hrefs($"{Root}/dir/sub/", "1").Skip(1).Select(href => href[$"{Root}/dir/sub/".Length..]));
        Assert.Equal(["o"], Hrefs($"{Root}/dir/sub/cross/", "1").Skip(1).Select(href => href[$"{Root}/dir/sub/cross/".Length..]));
        foreach (string path in (string[])["dangling", "loop", "fifo", "null", "dir/f/x"])
        {
            Assert.Equal(HttpStatusCode.NotFound, Status("GET", $"{Root}/{path}"));
        }
    }

    [Fact]
    public void Names_AreKeptByteForByte()
    {
        string[] hrefs = [.. Hrefs($"{Root}/names/", "1").Skip(1)];
        Assert.Equal(
            DriveFixture.Names.Order(StringComparer.Ordinal),
            hrefs.Select(href => Encoding.Latin1.GetString(ServedTree.Unescape(href[$"{Root}/names/".Length..]))));
        foreach (string href in hrefs)
        {
            Assert.All(href, each => Assert.True(char.IsAsciiLetterOrDigit(each) || "/%-._~".Contains(each), href));
            Assert.Equal($"content of {Encoding.Latin1.GetString(ServedTree.Unescape(href[$"{Root}/names/".Length..]))}", Encoding.Latin1.GetString(_served.Get(href)));
        }
    }

    [Theory]
    [InlineData("..")]
    [InlineData("%2e%2e")]
    [InlineData("dir%2Ff")]
    [InlineData("dir/../../secret")]
    [InlineData("%")]
    [InlineData("%4")]
    [InlineData("%zz")]
    public void PathsThatAreNone_AreNotFound(string path)
        => Assert.Contains(_served.Raw($"GET {Root}/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").Split(' ')[1], (string[])["404", "400"]);

    [Fact]
    public void Propfind_OfManyEntries_IsStreamed()
    {
        _ = Hrefs($"{Root}/dir/", "1");
        long before = _served.PrivateMemory;
        XElement[] responses = [.. Propfind($"{Root}/many/", "1").Elements(s_dav + "response")];
        Assert.Equal(DriveFixture.Many + 1, responses.Length);
        Assert.Equal($"{Root}/many/file-099999", responses[^1].Element(s_dav + "href")!.Value);
        Assert.True(_served.PrivateMemory - before < 48 << 10, $"{_served.PrivateMemory - before} KiB for one answer");
    }

    [Fact]
    public void Properties_AreThoseThatAreAskedFor()
    {
        XElement all = Propfind($"{Root}/dir/sub/file", "0").Element(s_dav + "response")!.Element(s_dav + "propstat")!.Element(s_dav + "prop")!;
        Assert.Equal("10", all.Element(s_dav + "getcontentlength")!.Value);
        Assert.Empty(all.Element(s_dav + "resourcetype")!.Elements());
        using HttpResponseMessage head = _served.Send("HEAD", $"{Root}/dir/sub/file");
        Assert.Equal(head.Headers.ETag!.ToString(), all.Element(s_dav + "getetag")!.Value);
        Assert.Equal(head.Content.Headers.LastModified!.Value.ToString("R"), all.Element(s_dav + "getlastmodified")!.Value);

        XElement[] some = [.. Propfind($"{Root}/dir/", "0", "<propfind xmlns='DAV:'><prop><resourcetype/><x xmlns='urn:of others'/></prop></propfind>").Element(s_dav + "response")!.Elements(s_dav + "propstat")];
        Assert.Equal(["HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found"], some.Select(each => each.Element(s_dav + "status")!.Value));
        Assert.Equal(s_dav + "collection", some[0].Element(s_dav + "prop")!.Elements().Single().Elements().Single().Name);
        Assert.Equal(XName.Get("x", "urn:of others"), some[1].Element(s_dav + "prop")!.Elements().Single().Name);
    }

    [Theory]
    [InlineData("no xml")]
    [InlineData("<propfind xmlns='urn:x'/>")]
    [InlineData("<!DOCTYPE x [<!ENTITY a 'aaaa'>]><propfind xmlns='DAV:'><prop>&a;</prop></propfind>")]
    public void BodiesThatAreNoPropfind_AreBadRequests(string body)
        => Assert.StartsWith("HTTP/1.1 400", _served.Raw($"PROPFIND {Root}/ HTTP/1.1\r\nHost: localhost\r\nDepth: 0\r\nConnection: close\r\nContent-Length: {body.Length}\r\n\r\n{body}"), StringComparison.Ordinal);

    [Fact]
    public void BodiesWithoutEnd_AreRefused()
        => Assert.StartsWith("HTTP/1.1 413", _served.Raw($"PROPFIND {Root}/ HTTP/1.1\r\nHost: localhost\r\nDepth: 0\r\nConnection: close\r\nContent-Length: 100000000\r\n\r\n"), StringComparison.Ordinal);

    [Theory]
    [InlineData("bytes=0-3", 206, "0123", "bytes 0-3/10")]
    [InlineData("bytes=4-", 206, "456789", "bytes 4-9/10")]
    [InlineData("bytes=-3", 206, "789", "bytes 7-9/10")]
    [InlineData("bytes=-30", 206, "0123456789", "bytes 0-9/10")]
    [InlineData("bytes=8-9223372036854775807", 206, "89", "bytes 8-9/10")]
    [InlineData("bytes=10-", 416, "", "bytes */10")]
    [InlineData("bytes=-0", 416, "", "bytes */10")]
    [InlineData("bytes=0-1,4-5", 200, "0123456789", null)]
    [InlineData("bytes=5-2", 200, "0123456789", null)]
    [InlineData("lines=1-2", 200, "0123456789", null)]
    public void Ranges_AreServed(string range, int status, string content, string? contentRange)
    {
        using HttpResponseMessage response = _served.Send("GET", $"{Root}/dir/sub/file", ("Range", range));
        Assert.Equal(status, (int)response.StatusCode);
        Assert.Equal(content, Served.TextOf(response));
        Assert.Equal(contentRange, response.Content.Headers.ContentRange?.ToString());
    }

    [Fact]
    public void Conditions_AreKept()
    {
        string path = $"{Root}/dir/sub/file";
        using HttpResponseMessage first = _served.Send("GET", path);
        string tag = first.Headers.ETag!.ToString(), time = first.Content.Headers.LastModified!.Value.ToString("R");
        Assert.False(first.Headers.ETag.IsWeak);
        Assert.Equal(HttpStatusCode.NotModified, Status("GET", path, ("If-None-Match", $"\"x\", {tag}")));
        Assert.Equal(HttpStatusCode.NotModified, Status("GET", path, ("If-None-Match", $"W/{tag}")));
        Assert.Equal(HttpStatusCode.OK, Status("GET", path, ("If-None-Match", "\"x\"")));
        Assert.Equal(HttpStatusCode.OK, Status("GET", path, ("If-Modified-Since", time))); // files of different images often have one time
        Assert.Equal(HttpStatusCode.PreconditionFailed, Status("GET", path, ("If-Match", "\"x\"")));
        Assert.Equal(HttpStatusCode.PreconditionFailed, Status("GET", path, ("If-Match", $"W/{tag}")));
        Assert.Equal(HttpStatusCode.OK, Status("GET", path, ("If-Match", tag)));
        Assert.Equal(HttpStatusCode.PreconditionFailed, Status("GET", path, ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT")));
        Assert.Equal(HttpStatusCode.PartialContent, Status("GET", path, ("Range", "bytes=0-1"), ("If-Range", tag)));
        Assert.Equal(HttpStatusCode.OK, Status("GET", path, ("Range", "bytes=0-1"), ("If-Range", "\"x\"")));
        Assert.Equal(HttpStatusCode.OK, Status("GET", path, ("Range", "bytes=0-1"), ("If-Range", time)));
        using HttpResponseMessage other = _served.Send("GET", $"{Root}/dir/f");
        Assert.NotEqual(tag, other.Headers.ETag!.ToString());
    }

    [Fact]
    public void Files_HaveTheirBytes_AndHeadTellsTheirLength()
    {
        Assert.Equal(fixture.Large, _served.Get($"{Root}/large"));
        Assert.Empty(_served.Get($"{Root}/empty"));
        using HttpResponseMessage head = _served.Send("HEAD", $"{Root}/large");
        Assert.Equal(DriveFixture.LargeSize, head.Content.Headers.ContentLength);
        using HttpResponseMessage html = _served.Send("GET", $"{Root}/evil.html");
        Assert.Equal("application/octet-stream", html.Content.Headers.ContentType!.ToString());
        Assert.Equal("attachment", html.Content.Headers.ContentDisposition!.DispositionType);
        Assert.Contains("sandbox", html.Headers.GetValues("Content-Security-Policy").Single(), StringComparison.Ordinal);
        Assert.Equal("nosniff", html.Headers.GetValues("X-Content-Type-Options").Single());
    }

    [Fact]
    public void ReadThatFails_BreaksTheConnection()
    {
        var layout = new OciLayoutBuilder(fixture.LazyMount.Directory["broken"]);
        string blob = layout.BlobFile(layout.AddLayer(new TarBytes().File("good", "good").File("large", fixture.Large)).WriteImage("v1")[0]);
        using var served = new Served(fixture.LazyMount, layout.Reference("v1"), "--public", "--no-keep");
        Assert.Equal("good", served.Text("/files/broken-v1/good"));
        using (FileStream file = File.OpenWrite(blob))
        {
            file.Position = file.Length - (4 << 20);
            file.Write(new byte[1 << 20]);
        }
        string answer = served.Raw("GET /files/broken-v1/large HTTP/1.1\r\nHost: localhost\r\n\r\n");
        int body = answer.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4;
        Assert.Contains($"Content-Length: {DriveFixture.LargeSize}", answer[..body], StringComparison.Ordinal);
        Assert.InRange(answer.Length - body, 1, DriveFixture.LargeSize - (2 << 20)); // the connection ended before the body did
        Assert.Equal(Encoding.Latin1.GetString(fixture.Large.AsSpan(0, answer.Length - body)), answer[body..]);
        Assert.Contains("cannot read", served.Messages, StringComparison.Ordinal);
        string end = served.Raw($"GET /files/broken-v1/large HTTP/1.1\r\nHost: localhost\r\nRange: bytes={DriveFixture.LargeSize - (3 << 20) - 10}-\r\nConnection: close\r\n\r\n");
        Assert.StartsWith("HTTP/1.1 502", end, StringComparison.Ordinal); // nothing was sent yet: the answer says so
    }

    [Fact]
    public void ManySlowClients_TakeLittleMemory_AndOthersAreServed()
    {
        const int Clients = 200;
        _ = _served.Get($"{Root}/large");
        long before = _served.PrivateMemory;
        List<TcpClient> clients = [];
        try
        {
            for (int i = 0; i < Clients; i++)
            {
                clients.Add(_served.Connect($"GET {Root}/large HTTP/1.1\r\nHost: localhost\r\n\r\n"));
            }
            foreach (TcpClient client in clients)
            {
                Assert.True(client.GetStream().Read(new byte[1000]) > 0);
            }
            Assert.Equal("f", _served.Text($"{Root}/dir/f"));
            long grown = _served.PrivateMemory - before;
            Assert.True(grown < 64 << 10, $"{grown} KiB for {Clients} clients");
        }
        finally
        {
            clients.ForEach(client => client.Dispose());
        }
        Assert.Equal("f", _served.Text($"{Root}/dir/f"));
    }

    [Fact]
    public void Drive_IsWhatAMountShows()
        => ServedTree.AssertSame(_served, "layout-v1", fixture.LazyMount.Mount(fixture.Image, "--as", "fuse"), fixture.LazyMount);

    [Fact]
    public void Cadaver_ListsAndFetches()
    {
        string home = fixture.LazyMount.Directory.CreateDirectory("cadaver");
        ToolResult result = Tool.Shell("cd \"$1\" && printf 'cd dir\\nls\\nget f got\\nquit\\n' | HOME=\"$1\" cadaver \"$2\"", home, $"{_served.Url}{Root[1..]}/").EnsureSuccess();
        Assert.Contains("sub", result.Output, StringComparison.Ordinal);
        Assert.Equal("f", File.ReadAllText(Path.Combine(home, "got")));
    }

    private HttpStatusCode Status(string method, string path, params (string Name, string Value)[] headers)
    {
        using HttpResponseMessage response = _served.Send(method, path, headers);
        return response.StatusCode;
    }

    private XElement Propfind(string path, string depth, string? body = null)
    {
        using var request = new HttpRequestMessage(new HttpMethod("PROPFIND"), path) { Content = body is null ? null : new StringContent(body) };
        request.Headers.Add("Depth", depth);
        using HttpResponseMessage response = _served.Client.Send(request);
        Assert.Equal(HttpStatusCode.MultiStatus, response.StatusCode);
        return XDocument.Load(response.Content.ReadAsStream()).Root!;
    }

    private string[] Hrefs(string path, string depth) => [.. Propfind(path, depth).Elements(s_dav + "response").Select(each => each.Element(s_dav + "href")!.Value)];
}
