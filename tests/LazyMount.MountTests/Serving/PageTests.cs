using System.IO.Compression;
using System.Text;
using System.Text.Json.Nodes;
using LazyMount.MountTests.EndToEnd;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Serving;

/// <summary>A browser that has opened the printed URL of a server with an ordinary and a hostile image.</summary>
public sealed class PageFixture : IDisposable
{
    /// <summary>Names that would do something if they were taken for markup, a link or a command of a terminal; in Latin-1, byte by byte.</summary>
    public static readonly string[] Names =
        ["<img src=x onerror=evil()>", "<script>evil()</script>", "\"onmouseover=\"evil()", "'&lt;b&gt;", "javascript:evil()", "new\nline", "\u00FF\u00FE not UTF-8", "\u00E2\u0080\u00AEtxt.exe", "%3Cb%3E", "?q=1&a=2#x", "\u001B[31mred"];

    public PageFixture(DebianImages debian)
    {
        var hostile = new OciLayoutBuilder(LazyMount.Directory["hostile"]);
        var tar = new TarBytes().Directory("names").Directory("deleted-later").File("deleted-later/secret", "s").File("changed", "before").File("page.html", "<script>evil()</script>")
            .File("picture.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 9 9\"><script>evil()</script><circle cx=\"4\" cy=\"4\" r=\"4\"/></svg>").File("picture.png", s_png)
            .File("program", File.ReadAllBytes("/bin/true"), 0x1ED).File("archive.zip", Zip()).File("archive.tar", new TarBytes().File("inside <b>", "x").ToArray())
            .File("script.sh", "#!/bin/sh\n# </code></pre><script>evil()</script>\necho \"$1\"\n").Symlink("dangling", "<b>nowhere").Symlink("link", "names").Directory("many").File("empty", "").Fifo("pipe");
        foreach (string name in Names)
        {
            tar.File($"names/{name}", $"content of {name}");
        }
        for (int i = 0; i < DriveFixture.Many; i++)
        {
            tar.File($"many/{i:D6}", "");
        }
        hostile.AddHistory("RUN <script>evil()</script>").AddHistory("COPY --link \u202Eexe.txt /").AddLayer(tar)
            .AddLayer(new TarBytes().Whiteout("deleted-later").File("changed", "after")).WriteImage("v1");
        hostile.AddLayer(new TarBytes().File("changed", "one\ntwo\nthree\n").File("page.html", "<script>evil()</script>\n<p>")).WriteImage("v2");
        hostile.AddLayer(new TarBytes().File("f", "f")).WriteImageIndex("multi", "linux/amd64", "linux/arm64");
        Served = new Served(LazyMount, debian.Sample, hostile.Reference("v1"), hostile.Reference("v2"), hostile.Reference("multi"));
        Browser.Look(1280, 900, isDark: false);
        Browser.Open(Served.Url);
        while ((string?)Browser.Evaluate("location.search + document.readyState") != "complete")
        {
            Thread.Sleep(20);
        }
    }

    public LazyMountCli LazyMount { get; } = new();

    public Browser Browser { get; } = new();

    internal Served Served { get; }

    public void Dispose()
    {
        Browser.Dispose();
        Served.Dispose();
        LazyMount.Dispose();
    }

    // One pixel.
    private static readonly byte[] s_png = Convert.FromBase64String("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==");

    private static byte[] Zip()
    {
        using var bytes = new MemoryStream();
        using (var zip = new ZipArchive(bytes, ZipArchiveMode.Create, leaveOpen: true))
        {
            using StreamWriter member = new(zip.CreateEntry("folder/<b>member").Open());
            member.Write("zipped");
        }
        return bytes.ToArray();
    }
}

/// <summary>Every page of `lazymount serve` in a real browser: nothing fails, nothing is asked for elsewhere, nothing of an image runs, and axe-core finds no barrier.</summary>
public sealed class PageTests(PageFixture fixture) : IClassFixture<PageFixture>
{
    private static readonly string s_axe = File.ReadAllText(Path.Combine(RepositoryRoot.Path, "artifacts", "npm", "axe-core", "axe.min.js"));
    private static readonly string s_pictures = Directory.CreateDirectory(Path.Combine(RepositoryRoot.Path, "artifacts", "serve-pictures")).FullName;

    private readonly Browser _browser = fixture.Browser;

    /// <summary>Names for pictures, paths, and what the page must say.</summary>
    public static TheoryData<string, string, string> Views
    {
        get
        {
            var views = new TheoryData<string, string, string>
            {
                { "images", "/", "network drive" },
                { "overview", "/image/sample-sample", "Layers and history" },
                { "overview-hostile", "/image/hostile-v1", "RUN <script>evil()</script>" },
                { "overview-platforms", "/image/hostile-multi", "linux/arm64" },
                { "directory", "/tree/sample-sample/usr", "share" },
                { "directory-layer", "/tree/sample-sample/usr/share/doc?layer=4", "deletes tzdata" },
                { "directory-empty", "/tree/hostile-v1/many?layer=1", "not in layer 1" },
                { "names", "/tree/hostile-v1/names", "<img src=x onerror=evil()>" },
                { "many", "/tree/hostile-v1/many", "100,000 names, part 1 of 200" },
                { "many-last", "/tree/hostile-v1/many?part=200", "099999" },
                { "file-html", "/tree/hostile-v1/page.html", "<script>evil()</script>" },
                { "file-text", "/tree/hostile-v1/script.sh", "</code></pre><script>evil()</script>" },
                { "file-svg", "/tree/hostile-v1/picture.svg", "Picture" },
                { "file-png", "/tree/hostile-v1/picture.png", "Picture" },
                { "file-hex", "/tree/hostile-v1/picture.png?show=hex", "89 50 4e 47" },
                { "file-program", "/tree/hostile-v1/program", "libc.so.6" },
                { "file-zip", "/tree/hostile-v1/archive.zip", "folder/<b>member" },
                { "file-tar", "/tree/hostile-v1/archive.tar", "inside <b>" },
                { "file-empty", "/tree/hostile-v1/empty", "The file is empty" },
                { "file-changed", "/tree/hostile-v1/changed?layer=0", "before" },
                { "link", "/tree/hostile-v1/link", "Leads to" },
                { "link-dangling", "/tree/hostile-v1/dangling", "leads to nothing" },
                { "pipe", "/tree/hostile-v1/pipe", "fifo" },
                { "log-deleted", "/log/hostile-v1/deleted-later/secret", "hidden" },
                { "log-changed", "/log/hostile-v1/changed", "changed" },
                { "search", "/search/sample-sample?q=copyright", "/usr/share/doc" },
                { "search-none", "/search/hostile-v1?q=%3Cscript%3Enothing", "No name is like that" },
                { "sizes", "/sizes/sample-sample/", "The same as a table" },
                { "sizes-hostile", "/sizes/hostile-v1/names", "onerror" },
                { "waste", "/waste/sample-sample", "no one can see" },
                { "waste-hostile", "/waste/hostile-v1", "deleted-later/secret" },
                { "diff", "/diff?before=hostile-v1&after=hostile-v2", "deleted" },
                { "diff-text", "/diff?before=hostile-v1&after=hostile-v2&path=/changed&content=1", "+one" },
                { "missing", "/tree/hostile-v1/nothing", "See whether a layer had it" },
            };
            foreach (string name in PageFixture.Names)
            {
                views.Add($"name-{Array.IndexOf(PageFixture.Names, name)}", $"/tree/hostile-v1/names/{ServedTree.Escape(name)}", "content of");
            }
            return views;
        }
    }

    [Theory]
    [MemberData(nameof(Views))]
    public void View_IsWhole_AndHarmless_AndForEverybody(string name, string path, string text)
    {
        foreach ((string look, int width, int height, bool isDark) in ((string, int, int, bool)[])[("light", 1280, 900, false), ("dark", 1280, 900, true), ("phone", 390, 844, false)])
        {
            Forget();
            _browser.Look(width, height, isDark);
            _browser.Open(new Uri(fixture.Served.Client.BaseAddress!.ToString().TrimEnd('/') + path, new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true }));
            File.WriteAllBytes(Path.Combine(s_pictures, $"{name}-{look}.png"), _browser.Picture());
            Assert.Contains(text, (string?)_browser.Evaluate("document.body.textContent + [...document.querySelectorAll('title')].map(each => each.textContent).join(' ')"), StringComparison.Ordinal);
            Assert.True((bool)_browser.Evaluate("document.documentElement.scrollWidth <= innerWidth")!, $"{path} is wider than the window of {width}");
            AssertHarmless(isFound: name is not ("missing" or "directory-empty"));
            _browser.Evaluate(s_axe);
            var violations = (JsonArray)JsonNode.Parse((string)_browser.Evaluate("axe.run().then(found => JSON.stringify(found.violations.map(each => [each.id, each.help, each.nodes.slice(0, 3).map(node => node.html + ' ' + node.failureSummary)])))")!)!;
            Assert.True(violations.Count == 0, $"{path} ({look}): {violations}");
        }
    }

    [Fact]
    public void Search_ShowsResultsWhileTyping()
    {
        Forget();
        _browser.Open(new Uri(fixture.Served.Client.BaseAddress!, "/search/hostile-v1"));
        _browser.Evaluate("document.getElementById('q').focus()");
        _browser.Type("onerror");
        WaitFor("document.getElementById('results').textContent.includes('<img src=x onerror=evil()>')");
        WaitFor("location.search == '?q=onerror'");
        _browser.Evaluate("document.getElementById('q').select()");
        _browser.Type("*.svg");
        WaitFor("document.querySelectorAll('#results tbody tr').length == 1 && document.getElementById('results').textContent.includes('/picture.svg')");
        AssertHarmless();
    }

    [Fact]
    public void Text_IsColoured_AndStaysText()
    {
        Forget();
        _browser.Open(new Uri(fixture.Served.Client.BaseAddress!, "/tree/hostile-v1/script.sh"));
        Assert.Equal("# </code></pre><script>evil()</script>", (string?)_browser.Evaluate("document.querySelectorAll('code .hljs-comment')[0].textContent"));
        AssertHarmless();
    }

    [Fact]
    public void Keyboard_ComesToTheContentFirst()
    {
        _browser.Open(new Uri(fixture.Served.Client.BaseAddress!, "/tree/hostile-v1/"));
        _browser.PressTab();
        Assert.Equal("Skip to the content", (string?)_browser.Evaluate("document.activeElement.textContent"));
        for (int i = 0; i < 12; i++)
        {
            _browser.PressTab();
            Assert.True((bool)_browser.Evaluate("document.activeElement != document.body && getComputedStyle(document.activeElement).outlineStyle != 'none'")!, (string?)_browser.Evaluate("document.activeElement.outerHTML"));
        }
    }

    [Fact]
    public void Treemap_CoversItsArea_InProportion()
    {
        _browser.Open(new Uri(fixture.Served.Client.BaseAddress!, "/sizes/sample-sample/usr"));
        var areas = (double)_browser.Evaluate("[...document.querySelectorAll('.map rect')].reduce((sum, each) => sum + each.width.baseVal.value * each.height.baseVal.value, 0)")!;
        Assert.InRange(areas, 1000 * 560 * 0.99, 1000 * 560 * 1.01);
        Assert.True((bool)_browser.Evaluate("[...document.querySelectorAll('.map rect')].every(each => each.x.baseVal.value >= 0 && each.x.baseVal.value + each.width.baseVal.value <= 1000.1 && each.y.baseVal.value + each.height.baseVal.value <= 560.1)")!);
    }

    [Fact]
    public void Tar_IsWhatExportWrites()
    {
        (string Name, string Value) basic = ("Authorization", $"Basic {Convert.ToBase64String(Encoding.UTF8.GetBytes($"x:{fixture.Served.Token}"))}");
        string directory = fixture.LazyMount.Directory.CreateDirectory($"tar{Guid.NewGuid():N}");
        File.WriteAllBytes($"{directory}/served.tar", fixture.Served.Get("/tar/sample-sample/", basic));
        File.WriteAllBytes($"{directory}/exported.tar", fixture.LazyMount.Run("export", $"oci:{RepositoryRoot.Path}/artifacts/test-images/sample:sample").EnsureSuccess().OutputBytes);
        Tool.Run("cmp", $"{directory}/served.tar", $"{directory}/exported.tar").EnsureSuccess();
        File.WriteAllBytes($"{directory}/part.tar", fixture.Served.Get("/tar/hostile-v1/names?layer=0", basic));
        Assert.Equal(PageFixture.Names.Length, Tool.Run("tar", "-tf", $"{directory}/part.tar").EnsureSuccess().Output.Split('\n').Count(line => line.StartsWith("names/", StringComparison.Ordinal) && !line.EndsWith('/')));
    }

    private void Forget()
    {
        _browser.Errors.Clear();
        _browser.Requests.Clear();
    }

    private void AssertHarmless(bool isFound = true)
    {
        // A page that says "not found" is told to the console as well.
        Assert.DoesNotContain(_browser.Errors, error => isFound || !error.Contains("404", StringComparison.Ordinal));
        Assert.All(_browser.Requests, address => Assert.StartsWith(fixture.Served.Client.BaseAddress!.ToString(), address, StringComparison.Ordinal));
        Assert.True((bool)_browser.Evaluate("typeof evil == 'undefined' && !document.querySelector('script:not([src^=\"/static/\"]), [onerror], [onmouseover], a[href^=\"javascript:\"], main img[src=x]')")!);
    }

    private void WaitFor(string condition)
    {
        for (DateTime limit = DateTime.UtcNow.AddSeconds(20); !(bool)_browser.Evaluate(condition)!; Thread.Sleep(50))
        {
            Assert.True(DateTime.UtcNow < limit, $"{condition}: {_browser.Evaluate("document.getElementById('results')?.textContent")}");
        }
    }
}
