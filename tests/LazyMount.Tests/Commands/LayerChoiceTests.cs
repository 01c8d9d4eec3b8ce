using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Commands;

/// <summary>--layer on real images: what it names, what it shows, and what it says when it names nothing.</summary>
public sealed class LayerChoiceTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly string _image;
    private readonly string[] _digests;

    public LayerChoiceTests()
    {
        var layout = new OciLayoutBuilder(_directory["layout"]);
        layout.AddLayer(new TarBytes().Directory("d").File("d/a", "lower").File("gone", "lower"))
            .AddLayer(new TarBytes().Whiteout("gone").HardLink("d/link", "d/a").File("b", "upper"))
            .WriteImage("v1");
        _image = layout.Reference("v1");
        _digests = [.. RunAsync("layers", _image).Result.Output.Split('\n').SelectMany(line => line.Split(' ')).Where(word => word.StartsWith("sha256:", StringComparison.Ordinal))];
    }

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("0", "/d/a\n/gone\n")]
    [InlineData("-2", "/d/a\n/gone\n")]
    [InlineData("1", "/.wh.gone\n/b\n/d/link\n")]
    [InlineData("-1", "/.wh.gone\n/b\n/d/link\n")]
    public async Task Numbers_CountFromTheLowestOrFromTheTop(string layer, string files) => Assert.Equal(files, await FilesOf(layer));

    [Fact]
    public async Task Whiteouts_AreListedWithoutAskingForDotFiles()
    {
        Assert.Equal(".wh.gone\nb\nd\n", (await RunAsync("ls", "--layer", "1", _image)).Output);
        Assert.Contains("── .wh.gone\n", (await RunAsync("tree", "--layer", "1", _image)).Output);
    }

    [Fact]
    public async Task Digests_MayBeShortened()
    {
        Assert.Equal(2, _digests.Length);
        string[] names = [_digests[1], _digests[1][..20], _digests[1]["sha256:".Length..], _digests[1].Substring("sha256:".Length, 12)];
        foreach (string name in names)
        {
            Assert.Equal("/.wh.gone\n/b\n/d/link\n", await FilesOf(name));
        }
    }

    [Fact]
    public async Task WhatIsShown_IsTheLayersOwn()
    {
        Assert.Equal("upper", (await RunAsync("cat", "--layer", "1", _image, "/b")).Output);
        CommandRun stat = await RunAsync("stat", "--layer", "1", _image, "/b", "/d/link");
        Assert.Contains($" Layer: 1 {_digests[1]}\n", stat.Output);
        Assert.Contains("/d/link -> ../d/a\n", stat.Output);
        Assert.Equal("lazymount: note: 1 hard link(s) of layer 1 lead to files of lower layers and are shown as symbolic links\n", stat.Error);
        CommandRun lower = await RunAsync("cat", "--layer", "1", _image, "/d/a");
        Assert.Equal((1, ""), (lower.ExitCode, lower.Output));
    }

    [Theory]
    [InlineData("2", 1, "its layers are 0 to 1, lowest first")]
    [InlineData("-3", 1, "its layers are 0 to 1, lowest first")]
    [InlineData("sha256:0000000000000000", 1, "whose digest begins with 'sha256:0000000000000000': there is none; run lazymount layers ")]
    [InlineData("top", 2, "--layer 'top' is neither a layer's number nor the beginning of a digest (four characters at least); run lazymount layers IMAGE to see both")]
    [InlineData("", 2, "--layer '' is neither")]
    public async Task WhatIsNoLayer_IsSaid(string layer, int exitCode, string sentence)
    {
        CommandRun run = await RunAsync("ls", "--layer", layer, _image);
        Assert.Equal((exitCode, ""), (run.ExitCode, run.Output));
        Assert.Contains(sentence, run.Error);
    }

    private async Task<string> FilesOf(string layer)
    {
        CommandRun run = await RunAsync("ls", "-R", "--json", "--layer", layer, _image);
        Assert.Equal(0, run.ExitCode);
        return string.Concat(run.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => System.Text.Json.JsonDocument.Parse(line).RootElement).Where(entry => entry.GetProperty("type").GetString() != "directory").Select(entry => entry.GetProperty("path").GetString() + "\n"));
    }

    private Task<CommandRun> RunAsync(params string[] arguments) => CommandRun.RunAsync([.. arguments, "--cache-dir", _directory["cache"]]);
}
