using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using LazyMount.Blobs.Oci;
using LazyMount.Cli;
using LazyMount.Output;
using LazyMount.TestKit;
using LazyMount.Tests.Published;
using Microsoft.Win32.SafeHandles;
using Xunit;

namespace LazyMount.Tests.Commands;

/// <summary>`history`, `layers`, `log` and `waste`: what layers did, and what of it nobody sees.</summary>
public sealed class LayerHistoryTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task History_IsThatOfUmoci()
    {
        string image = $"{_directory["umoci"]}:v1", file = _directory["file"];
        await File.WriteAllTextAsync(file, "content", TestContext.Current.CancellationToken);
        Umoci("init", "--layout", _directory["umoci"]);
        Umoci("new", "--image", image);
        Umoci("insert", "--image", image, "--history.created_by", "COPY file /file", file, "/file");
        Umoci("config", "--image", image, "--config.cmd", "x", "--history.created_by", "/bin/sh -c #(nop)  CMD [\"x\"]");
        Umoci("insert", "--image", image, "--history.created_by", "RUN  a\tb \\\n c", "--history.author", "somebody", "--history.comment", "why", file, "/file2");

        JsonArray expected = JsonNode.Parse(Umoci("stat", "--json", "--image", image))!["history"]!.AsArray();
        JsonArray actual = JsonNode.Parse((await RunAsync("history", "--json", $"oci:{image}")).Output)!.AsArray();
        Assert.Equal(3, actual.Count);
        foreach ((JsonNode? umoci, JsonNode? ours) in expected.Zip(actual))
        {
            Assert.Equal((string?)umoci!["layer"]?["digest"], (string?)ours!["layerDigest"]);
            Assert.Equal((long?)umoci["layer"]?["size"], (long?)ours["compressedSize"]);
            Assert.Equal((string?)umoci["created"], (string?)ours["created"]);
            foreach ((string theirs, string name) in ((string, string)[])[("created_by", "createdBy"), ("author", "author"), ("comment", "comment")])
                Assert.Equal((string?)umoci[theirs], (string?)ours[name]);
            Assert.Equal((bool?)umoci["empty_layer"] ?? false, (bool)ours["empty"]!);
        }
        Assert.Equal([0, null, 1], actual.Select(step => (int?)step!["layer"]));

        string[] lines = (await RunAsync("history", $"oci:{image}")).Output.TrimEnd('\n').Split('\n');
        Assert.Equal(["COPY file /file", "CMD [\"x\"]", "RUN a b \\ c"], lines.Skip(1).Select(line => line[lines[0].IndexOf("CREATED BY", StringComparison.Ordinal)..]));
        Assert.Contains((string)expected[0]!["layer"]!["digest"]!, lines[1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task HistoryThatDoesNotFit_ListsAllLayers_AndSaysSo()
    {
        var layout = new OciLayoutBuilder(_directory["layout"]);
        string[] none = layout.AddLayer(new TarBytes().File("a")).AddLayer(new TarBytes().File("b")).WriteImage("none");
        layout.AddLayer(new TarBytes().File("a")).AddLayer(new TarBytes().File("b")).AddHistory("first").AddHistory("nothing", isEmpty: true).WriteImage("short");

        CommandRun run = await RunAsync("history", "--json", layout.Reference("none"));
        Assert.Equal($"lazymount: the history of {layout.Reference("none")} does not tell what made which layer: its config has no history\n", run.Error);
        Assert.Equal(none, JsonNode.Parse(run.Output)!.AsArray().Select(step => (string?)step!["layerDigest"]));
        run = await RunAsync("history", layout.Reference("short"));
        Assert.Equal((0, $"lazymount: the history of {layout.Reference("short")} does not tell what made which layer: the history in its config names 1 layer(s), but the image has 2\n"), (run.ExitCode, run.Error));
        Assert.Equal([.. none, "-", "-"], run.Output.TrimEnd('\n').Split('\n').Skip(1).Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Select(words => Array.Find(words, word => word.StartsWith("sha256:", StringComparison.Ordinal)) ?? words[0]));
        Assert.Equal(["-", "-", "first", "nothing"], run.Output.TrimEnd('\n').Split('\n').Skip(1).Select(line => line.Split(' ')[^1]));
    }

    [Theory]
    [InlineData("""{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]},"history":"none"}""")]
    [InlineData("[]")]
    public void HistoryThatCannotBeRead_ListsAllLayers(string config)
    {
        var history = ImageHistory.Read(Encoding.UTF8.GetBytes(config), 2);
        Assert.Equal([0, 1], history.Steps.Select(step => step.Layer));
        Assert.NotNull(history.Problem);
    }

    [Fact]
    public async Task History_FetchesTheManifestAndTheConfigOnly()
    {
        var layout = new OciLayoutBuilder(_directory["layout"]);
        string[] layers = layout.AddLayer(new TarBytes().File("a")).AddHistory("first").WriteImage("v1");
        using var registry = new RegistryServer();
        Skopeo.Push(layout.Reference("v1"), registry, "app:v1");
        await using var recording = new RecordingRegistry(registry.Host);
        CommandRun run = await RunAsync("history", "--json", $"{recording.Host}/app:v1");
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        Assert.Equal("first", (string?)JsonNode.Parse(run.Output)![0]!["createdBy"]);
        Assert.Equal(0, recording.BytesOf(layers[0]));
        Assert.Single(recording.Kinds, "GET blobs");
        Assert.All(recording.Kinds, kind => Assert.Contains(kind, (string[])["HEAD manifests", "GET manifests", "GET blobs"]));
    }

    [Fact]
    public async Task Layers_OnATerminal_FitItsWidth()
    {
        var layout = new OciLayoutBuilder(_directory["layout"]);
        string[] digests = layout.AddLayer(new TarBytes().File("a")).AddLayer(new TarBytes().File("b"))
            .AddHistory("/bin/sh -c #(nop) ADD " + new string('x', 200)).AddHistory("ENV", isEmpty: true).AddHistory("COPY b /").WriteImage("v1");
        await RunAsync("ls", layout.Reference("v1"));

        string[] lines = (await RunOnTerminalAsync(80, "layers", layout.Reference("v1"))).TrimEnd('\n').Split('\n');
        Assert.Equal(["LAYER", "SIZE", "ENTRIES", "INDEX", "PROOF", "DIGEST", "CREATED", "BY"], lines[0].Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.All(lines, line => Assert.InRange(line.Length, 1, 80));
        Assert.EndsWith("xxx…", lines[1], StringComparison.Ordinal);
        Assert.Contains($" {digests[0][7..19]}  ADD xxx", lines[1], StringComparison.Ordinal);
        Assert.EndsWith("  COPY b /", lines[2], StringComparison.Ordinal);

        string wide = await RunOnTerminalAsync(80, "layers", "--wide", layout.Reference("v1"));
        Assert.Contains(digests[1], wide, StringComparison.Ordinal);
        Assert.Contains($"ADD {new string('x', 200)}\n", wide, StringComparison.Ordinal);

        string[] piped = (await RunAsync("layers", layout.Reference("v1"))).Output.TrimEnd('\n').Split('\n');
        Assert.EndsWith("DIGEST".PadRight(73) + "MEDIA TYPE", piped[0], StringComparison.Ordinal);
        Assert.Contains(digests[0], piped[1], StringComparison.Ordinal);

        JsonNode json = JsonNode.Parse((await RunAsync("layers", "--json", layout.Reference("v1"))).Output)!;
        Assert.Equal(("2024-02-29T11:30:00.25Z", "COPY b /"), ((string?)json[1]!["created"], (string?)json[1]!["createdBy"]));
    }

    [Fact]
    public async Task Log_FindsASecretThatALaterLayerDeleted()
    {
        OciLayoutBuilder layout = Secret(out string[] digests);
        string image = layout.Reference("v1");
        CommandRun run = await RunAsync("log", image, "/root/key");
        Assert.Equal((0, $"lazymount: '/root/key' is not in the image any more; 'lazymount cat --layer 1 {image} /root/key' reads what layer 1 has\n"), (run.ExitCode, run.Error));
        Assert.Equal(["LAYER ACTION MODE OWNER SIZE TIME DETAILS", "0 added -rw------- 0:0 6 2020-01-01 00:00", "1 changed -rw------- 7:0 9 2020-01-01 00:00 content, owner", "2 deleted -rw------- 7:0 9 2020-01-01 00:00"], Words(run.Output));
        Assert.Equal("secret 2\n", (await RunAsync("cat", "--layer", "1", image, "/root/key")).Output);
        Assert.Equal("secret", (await RunAsync("cat", "--layer", "0", image, "/root/key")).Output);

        run = await RunAsync("log", "--json", image, "root/key");
        JsonNode[] events = [.. run.Output.TrimEnd('\n').Split('\n').Select(line => JsonNode.Parse(line)!)];
        Assert.Equal("", run.Error);
        Assert.Equal($$"""{"layer":2,"layerDigest":"{{digests[2]}}","action":"deleted","path":"/root/key","changes":[],"before":{"path":"/root/key","name":"key","type":"file","mode":"0600","uid":7,"gid":0,"size":9,"mtime":"2020-01-01T00:00:00Z","layer":1,"layerDigest":"{{digests[1]}}"}""" + "}", events[2].ToJsonString());
        Assert.Equal("[\"content\",\"owner\"]", events[1]["changes"]!.ToJsonString());

        Assert.Equal(["3 hidden -rw-r--r-- 0:0 1 2020-01-01 00:00 by /root: opaque"], Words((await RunAsync("log", image, "/root/other")).Output)[^1..]);
        Assert.Equal("3 changed drwxr-xr-x 0:0 - 2020-01-01 00:00 below: +0 ~0 -1 (1)", Words((await RunAsync("log", image, "/root")).Output)[^1]);
        Assert.Equal("""{"added":{"names":0,"size":0},"deleted":{"names":1,"size":1},"changed":{"names":0,"size":0}}""", JsonNode.Parse((await RunAsync("log", "--json", image, "/root")).Output.TrimEnd('\n').Split('\n')[^1])!["below"]!.ToJsonString());
        Assert.Equal(["1 linked -rw-r--r-- 0:0 1 2020-01-01 00:00 with /root/other"], Words((await RunAsync("log", image, "/link")).Output)[1..]);
    }

    [Fact]
    public async Task Log_OfAPathThatNoLayerHad_Fails()
    {
        string image = Secret(out _).Reference("v1");
        foreach (string[] options in (string[][])[[], ["--json"]])
            Assert.Equal(new CommandRun(1, "", $"lazymount: cannot log '/nonesuch': no layer of '{image}' has it or ever had it; 'lazymount ls' shows what there is\n"), await RunAsync(["log", .. options, image, "/nonesuch"]));
        Assert.Equal(2, (await RunAsync("log", image)).ExitCode);
    }

    [Fact]
    public async Task Log_DoesNotOfferAHostilePathForPasting()
    {
        var layout = new OciLayoutBuilder(_directory["layout"]);
        layout.AddLayer(new TarBytes().File("x;reboot", "x")).AddLayer(new TarBytes().Whiteout("x;reboot")).WriteImage("v1");
        Assert.EndsWith("; 'lazymount cat --layer 0 IMAGE PATH' reads what layer 0 has\n", (await RunAsync("log", layout.Reference("v1"), "/x;reboot")).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Log_OfANameThatIsNoText()
    {
        var layout = new OciLayoutBuilder(_directory["layout"]);
        layout.AddLayer(new TarBytes().File("\u00ff")).WriteImage("v1");
        string path = ImagePathText.Decode([0xFF]);
        Assert.Equal(Convert.ToBase64String([(byte)'/', 0xFF]), (string?)JsonNode.Parse((await RunAsync("log", "--json", layout.Reference("v1"), path)).Output)!["pathBase64"]);
    }

    [Fact]
    public async Task Waste_IsWhatFindDoesNotFindOnTheUnpackedTree()
    {
        string image = Secret(out string[] digests).Reference("v1");
        string tree = TestKit.Umoci.Unpack(image, _directory["bundle"]);
        long visible = Tool.Run("find", tree, "-type", "f", "-printf", "%i %s\n").EnsureSuccess().Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Distinct().Sum(line => long.Parse(line.Split(' ')[1], CultureInfo.InvariantCulture));
        long all = digests.Sum(digest => Tool.Run("tar", "-tvzf", BlobFile(digest)).EnsureSuccess().Output
            .Split('\n').Where(line => line.StartsWith('-')).Sum(line => long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[2], CultureInfo.InvariantCulture)));

        JsonNode waste = JsonNode.Parse((await RunAsync("waste", "--json", image)).Output)!;
        Assert.Equal((all, all - visible), ((long)waste["storedSize"]!, (long)waste["wastedSize"]!));
        Assert.Equal(visible / (double)all, (double)waste["efficiency"]!, 12);
        Assert.Equal("""[{"path":"/root/key","wastedSize":15,"layerNumbers":[0,1],"reasons":["replaced","deleted"]}]""", waste["paths"]!.ToJsonString());
        Assert.Equal([6, 9, 0, 0], waste["layers"]!.AsArray().Select(layer => (int)layer!["wastedSize"]!));
        Assert.Equal("[]", JsonNode.Parse((await RunAsync("waste", "--json", "-n", "0", image)).Output)!["paths"]!.ToJsonString());

        string[] lines = Words((await RunAsync("waste", image)).Output);
        Assert.Equal($"0 2 7 6 6 0 0 {digests[0]} -", lines[1]);
        Assert.Equal("15 0,1 replaced,deleted /root/key", lines[^3]);
        Assert.Equal($"wasted 15 of {all} bytes (12.61 %), efficiency 87.39 %", lines[^1]);
        Assert.Contains("wasted 15 B of 119 B (12.61 %)", await RunOnTerminalAsync(80, "waste", image), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("15", 0)]
    [InlineData("14", 1)]
    [InlineData("1K", 0)]
    [InlineData("13%", 0)]
    [InlineData("12.5%", 1)]
    [InlineData("0%", 1)]
    [InlineData("0", 1)]
    [InlineData("5 %%", 2)]
    [InlineData("-1", 2)]
    [InlineData("101%", 2)]
    [InlineData("x", 2)]
    public async Task FailAbove_IsForContinuousIntegration(string limit, int exitCode)
    {
        string image = Secret(out _).Reference("v1");
        CommandRun run = await RunAsync("waste", $"--fail-above={limit}", image);
        Assert.Equal(exitCode, run.ExitCode);
        Assert.Equal(exitCode == 2, run.Output.Length == 0);
        Assert.Equal(exitCode switch
        {
            0 => "",
            1 => $"lazymount: cannot accept '{image}': 15 B of its files' bytes are wasted (12.61 %), more than {limit}; do not add to one layer what another one replaces or deletes\n",
            _ => $"lazymount: --fail-above '{limit}' is neither a size, such as 10M, nor a percentage, such as 5%\n",
        }, run.Error);
    }

    [Fact]
    public async Task FailAbove_TellsFailuresFromWaste()
    {
        OciLayoutBuilder layout = Secret(out _);
        Assert.Equal(1, (await RunAsync("waste", layout.Reference("nonesuch"))).ExitCode);
        CommandRun run = await RunAsync("waste", "--fail-above", "5%", layout.Reference("nonesuch"));
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("cannot find the tag 'nonesuch'", run.Error, StringComparison.Ordinal);
        Assert.Equal(3, (await RunAsync("waste", "--fail-above", "5%", "127.0.0.1:1/app:v1")).ExitCode);
        using SafeFileHandle full = File.OpenHandle("/dev/full", FileMode.Open, FileAccess.Write);
        var output = new CommandOutput(new StandardStream(full), isTerminal: false); // cannot be flushed, and so not be disposed of
        Assert.Equal(2, await CommandLine.RunAsync(new CommandHost { Arguments = ["waste", "--fail-above", "100%", layout.Reference("v1"), "--cache-dir", _directory["cache"]], Output = output, Error = TextWriter.Null }));
        layout.AddLayer(new TarBytes().HardLink("a", "nonesuch")).WriteImage("bad");
        Assert.Equal(2, (await RunAsync("waste", "--fail-above", "5%", layout.Reference("bad"))).ExitCode);
        Assert.Equal(1, (await RunAsync("log", layout.Reference("bad"), "a")).ExitCode);
        Assert.Equal("lazymount: --paths 'many' is not a number of paths, such as 20\n", (await RunAsync("waste", "-n", "many", layout.Reference("v1"))).Error);
    }

    [Fact]
    public async Task Waste_FindsDuplicates_WhereATableOfContentsHasDigests()
    {
        byte[] content = new byte[1_500_000]; // smaller layers are streamed as well
        new Random(5).NextBytes(content);
        var layout = new OciLayoutBuilder(_directory.CreateDirectory("plain"));
        layout.AddLayer(new TarBytes().File("a", content).File("b", content)).AddLayer(new TarBytes().Directory("c").File("c/copy", content).File("c/own", "text")).WriteImage("v1");
        Skopeo.ConvertToZstdChunked(_directory["plain"], _directory["chunked"], "v1");
        // Layers of this machine are streamed; those of a registry are read by their tables.
        using var server = new RegistryServer();
        Skopeo.Push($"oci:{_directory["chunked"]}:v1", server, "chunked:v1");
        string chunked = $"{server.Host}/chunked:v1";
        Assert.Equal("zstd:chunked", (string?)JsonNode.Parse((await RunAsync("layers", "--json", chunked)).Output)![1]!["origin"]);
        JsonNode waste = JsonNode.Parse((await RunAsync("waste", "--json", chunked)).Output)!;
        Assert.Equal((4_500_004, 1_500_000, 1_500_000), ((int)waste["storedSize"]!, (int)waste["wastedSize"]!, (int)waste["duplicateSize"]!));
        Assert.Equal("""[{"path":"/c/copy","wastedSize":1500000,"layerNumbers":[1],"reasons":["duplicate"]}]""", waste["paths"]!.ToJsonString());
        Assert.Equal(0, (int)JsonNode.Parse((await RunAsync("waste", "--json", layout.Reference("v1"))).Output)!["wastedSize"]!); // no digests, no claim
    }

    private OciLayoutBuilder Secret(out string[] digests)
    {
        var layout = new OciLayoutBuilder(_directory["layout"]);
        digests = layout
            .AddLayer(new TarBytes().Directory("root").File("root/key", "secret", 0x180).File("root/other", "x"))
            .AddLayer(new TarBytes().File("root/key", "secret 2\n", 0x180, TarBytes.OwnedBy(7, 0)).HardLink("link", "root/other"))
            .AddLayer(new TarBytes().Whiteout("root/key").File("big", new string('y', 100)))
            .AddLayer(new TarBytes().Opaque("root").File("third", "abc"))
            .WriteImage("v1");
        return layout;
    }

    private string BlobFile(string digest) => Path.Combine(_directory["layout"], "blobs", "sha256", digest["sha256:".Length..]);

    // With what pads columns taken out.
    private static string[] Words(string output) => [.. output.TrimEnd('\n').Split('\n').Select(line => string.Join(' ', line.Split(' ', StringSplitOptions.RemoveEmptyEntries)))];

    private Task<CommandRun> RunAsync(params string[] arguments) => CommandRun.RunAsync(["--cache-dir", _directory["cache"], .. arguments]);

    private async Task<string> RunOnTerminalAsync(int width, params string[] arguments)
    {
        using var bytes = new MemoryStream();
        using var output = new CommandOutput(bytes, isTerminal: true, width);
        Assert.Equal(0, await CommandLine.RunAsync(new CommandHost { Arguments = ["--cache-dir", _directory["cache"], .. arguments], Output = output, Error = new StringWriter() }));
        return Encoding.UTF8.GetString(bytes.ToArray());
    }

    private static string Umoci(params string[] arguments) => Tool.Run("umoci", arguments).EnsureSuccess().Output;
}
