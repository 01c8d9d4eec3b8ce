using System.Net;
using System.Text;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Serving;

/// <summary>Who may use `lazymount serve`, and what it refuses.</summary>
public sealed class AccessTests : IDisposable
{
    private const string File = "/files/layout-v1/f";

    private readonly LazyMountCli _lazymount = new();
    private readonly string _image;

    public AccessTests()
    {
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        layout.AddLayer(new TarBytes().File("f", "content")).WriteImage("v1");
        _image = layout.Reference("v1");
    }

    public void Dispose() => _lazymount.Dispose();

    [Fact]
    public void Token_BecomesACookie_AndIsThePasswordOfTheDrive()
    {
        using var served = new Served(_lazymount, _image);
        foreach (string path in (string[])["/", File, "/status", "/static/page.css", "/image/layout-v1"])
        {
            using HttpResponseMessage refused = served.Send("GET", path);
            Assert.Equal(HttpStatusCode.Unauthorized, refused.StatusCode);
            Assert.Equal("Basic", refused.Headers.WwwAuthenticate.Single().Scheme);
        }
        Assert.Equal(HttpStatusCode.Unauthorized, Status(served, "/?token=wrong"));
        using HttpResponseMessage welcome = served.Send("GET", $"/?token={served.Token}");
        string cookie = welcome.Headers.GetValues("Set-Cookie").Single();
        Assert.Equal(["httponly", "path=/", "samesite=strict"], cookie.Split("; ").Skip(1).Order(StringComparer.Ordinal));
        Assert.DoesNotContain(served.Token, cookie, StringComparison.Ordinal); // other servers on this host are sent it as well
        Assert.DoesNotContain(served.Token, Served.TextOf(welcome), StringComparison.Ordinal);
        Assert.Equal("content", served.Text(File, ("Cookie", cookie.Split(';')[0])));
        Assert.Equal(HttpStatusCode.Unauthorized, Status(served, File, ("Cookie", $"{cookie.Split('=')[0]}={served.Token}")));
        Assert.Equal("content", served.Text(File, ("Authorization", Basic("anybody", served.Token))));
        Assert.Equal(HttpStatusCode.Unauthorized, Status(served, File, ("Authorization", Basic(served.Token, ""))));
        Assert.Equal(HttpStatusCode.Unauthorized, Status(served, File, ("Authorization", "Basic !")));
        Assert.Equal(HttpStatusCode.Unauthorized, Status(served, File, ("Authorization", $"Bearer {served.Token}")));
        Assert.Equal(0, served.Stop().ExitCode);
    }

    [Fact]
    public void PasswordOfOnesOwn_ComesFromAFile()
    {
        string file = _lazymount.Directory["password"];
        System.IO.File.WriteAllText(file, "pass:wörd\nsecond line\n");
        using var served = new Served(_lazymount, _image, "--password-file", file);
        Assert.Equal("", served.Url.Query);
        Assert.Equal("content", served.Text(File, ("Authorization", Basic("me", "pass:wörd"))));
        Assert.Equal(HttpStatusCode.Unauthorized, Status(served, File, ("Authorization", Basic("me", "pass"))));
        Assert.Equal(HttpStatusCode.Unauthorized, Status(served, "/?token=pass:w%C3%B6rd"));
    }

    [Theory]
    [InlineData("localhost:{0}", 200)]
    [InlineData("127.0.0.1:{0}", 200)]
    [InlineData("127.0.0.1:1", 200)] // behind a forwarded port
    [InlineData("[::1]:{0}", 200)]
    [InlineData("images.example.com", 200)]
    [InlineData("evil.example:{0}", 421)]
    [InlineData("192.0.2.7", 421)]
    [InlineData("localhost.evil.example", 421)]
    [InlineData("127.0.0.1.evil.example", 421)]
    public void OnlyOurHosts_AreAnswered(string host, int status)
    {
        using var served = new Served(_lazymount, _image, "--public", "--host", "images.example.com");
        Assert.Equal(status, (int)Status(served, File, ("Host", string.Format(null, host, served.Url.Port))));
    }

    [Fact]
    public void PagesOfOtherSites_AreNotAnswered()
    {
        using var served = new Served(_lazymount, _image, "--public");
        Assert.Equal(HttpStatusCode.Forbidden, Status(served, File, ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")));
        Assert.Equal(HttpStatusCode.Forbidden, Status(served, File, ("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")));
        Assert.Equal(HttpStatusCode.Forbidden, Status(served, "/", ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")));
        Assert.Equal(HttpStatusCode.OK, Status(served, "/", ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")));
        using HttpResponseMessage page = served.Send("GET", "/", ("Origin", "http://evil.example"));
        Assert.DoesNotContain(page.Headers, header => header.Key.StartsWith("Access-Control", StringComparison.OrdinalIgnoreCase));
        string policy = page.Headers.GetValues("Content-Security-Policy").Single();
        Assert.Contains("default-src 'none'", policy, StringComparison.Ordinal);
        Assert.Contains("frame-ancestors 'none'", policy, StringComparison.Ordinal);
        Assert.DoesNotContain("unsafe", policy, StringComparison.Ordinal);
    }

    [Fact]
    public void Tls_ServesHttpsOnly_AndItsCookieIsSecure()
    {
        using var authority = new CertificateAuthority();
        (string certificate, string key) = authority.Issue("127.0.0.1");
        using var served = new Served(_lazymount, _image, "--listen", "0.0.0.0:0", "--tls-cert", certificate, "--tls-key", key);
        Assert.Equal("https", served.Url.Scheme);
        ToolResult fetched = Tool.Run("curl", "-sS", "--cacert", authority.Certificate, "-u", $"x:{served.Token}", new Uri(served.Url, File).ToString()).EnsureSuccess();
        Assert.Equal("content", fetched.Output);
        ToolResult welcome = Tool.Run("curl", "-sSi", "--cacert", authority.Certificate, served.Url.ToString()).EnsureSuccess();
        Assert.Contains("; secure; samesite=strict; httponly", welcome.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void ImagesOfOthers_AreNotServed()
    {
        using var served = new Served(_lazymount, _image, "--public");
        foreach (string path in (string[])["/files/debian/etc/passwd", "/image/debian:12", $"/files/{Uri.EscapeDataString(_image)}/f", "/tree/x"])
        {
            Assert.Equal(HttpStatusCode.NotFound, Status(served, path));
        }
    }

    [Fact]
    public void ImageThatCannotBeOpened_IsASentence_AndIsTriedAgain()
    {
        string late = _lazymount.Directory["late"];
        using var served = new Served(_lazymount, $"oci:{late}:v1", "--public");
        using HttpResponseMessage missing = served.Send("GET", "/files/late-v1/f");
        Assert.Contains((int)missing.StatusCode, (int[])[404, 502]);
        Assert.Contains("late", Served.TextOf(missing), StringComparison.Ordinal);
        new OciLayoutBuilder(late).AddLayer(new TarBytes().File("f", "now")).WriteImage("v1");
        Assert.Equal("now", served.Text("/files/late-v1/f"));
    }

    [Theory]
    [InlineData("--listen '0.0.0.0:0' is for other machines too: add --tls-cert and --tls-key, or --listen-plain-http", "--listen", "0.0.0.0:0")]
    [InlineData("cannot use --listen 'here:80': 'here' is no IP address", "--listen", "here:80")]
    [InlineData("cannot use --listen '127.0.0.1:x': 'x' is no port", "--listen", "127.0.0.1:x")]
    [InlineData("--tls-cert and --tls-key belong together: give both", "--tls-cert", "/dev/null")]
    [InlineData("--password-file, --password-stdin and --public exclude each other", "--public", "--password-stdin")]
    public void WrongUsage_IsOneSentence(string sentence, params string[] options)
    {
        ToolResult result = _lazymount.Run(["serve", _image, .. options]);
        Assert.Equal(2, result.ExitCode);
        Assert.Contains(sentence, result.Error, StringComparison.Ordinal);
        Assert.Single(result.Error.TrimEnd('\n').Split('\n'));
    }

    [Theory]
    [InlineData("cannot read the password from '/dev/null': its first line is empty; write the password there", "--password-file", "/dev/null")]
    [InlineData("cannot read the password from '/nowhere'", "--password-file", "/nowhere")]
    [InlineData("cannot read the password from standard input: its first line is empty", "--password-stdin")]
    [InlineData("cannot use the certificate '/dev/null' with the key '/dev/null'", "--tls-cert", "/dev/null", "--tls-key", "/dev/null")]
    [InlineData("cannot listen at '192.0.2.1:0': this machine does not have the address", "--listen", "192.0.2.1:0", "--listen-plain-http")]
    public void WhatCannotBeHad_IsOneSentence(string sentence, params string[] options)
    {
        ToolResult result = _lazymount.Run(["serve", _image, .. options]);
        Assert.Equal(1, result.ExitCode);
        Assert.Contains(sentence, result.Error, StringComparison.Ordinal);
        Assert.Single(result.Error.TrimEnd('\n').Split('\n'));
    }

    private static HttpStatusCode Status(Served served, string path, params (string Name, string Value)[] headers)
    {
        using HttpResponseMessage response = served.Send("GET", path, headers);
        return response.StatusCode;
    }

    private static string Basic(string user, string password) => $"Basic {Convert.ToBase64String(Encoding.UTF8.GetBytes($"{user}:{password}"))}";
}
