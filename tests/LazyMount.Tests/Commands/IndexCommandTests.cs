using System.Text.Json;
using LazyMount.TestKit;
using LazyMount.Tests.Layers;
using Xunit;

namespace LazyMount.Tests.Commands;

/// <summary>`index build`, `push` and `show`, and what `layers` says of it, on an OCI layout.</summary>
public sealed class IndexCommandTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly OciLayoutBuilder _layout;
    private readonly string _image;

    public IndexCommandTests()
    {
        _layout = new OciLayoutBuilder(_directory.CreateDirectory("layout"));
        _layout.AddLayer(IndexFinderTests.Tar(1, files: 3)).AddLayer(IndexFinderTests.Tar(2, files: 100)).WriteImage("test");
        _image = _layout.Reference("test");
    }

    public void Dispose() => _directory.Dispose();

    private async Task<string> RunAsync(string cache, params string[] arguments)
    {
        CommandRun run = await CommandRun.RunAsync([.. arguments, "--cache-dir", _directory[cache]]);
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        return run.Output;
    }

    private static string[] Values(string json, string name)
    {
        using JsonDocument document = JsonDocument.Parse(json);
        return [.. document.RootElement.EnumerateArray().Select(each => each.TryGetProperty(name, out JsonElement value) ? value.ToString() : "-")];
    }

    [Fact]
    public async Task PushedIndexes_AreShownAndServeAnotherCache()
    {
        Assert.Equal(["-", "-"], Values(await RunAsync("a", "layers", "--json", _image), "origin"));
        Assert.Equal(["built", "built"], Values(await RunAsync("a", "index", "build", "--json", _image), "origin"));
        Assert.Equal(["built", "built"], Values(await RunAsync("a", "layers", "--json", _image), "origin"));

        using JsonDocument pushed = JsonDocument.Parse(await RunAsync("a", "index", "push", "--json", _image));
        Assert.Equal(2, pushed.RootElement.GetProperty("layers").GetArrayLength());
        string table = await RunAsync("a", "index", "push", _image);
        Assert.Contains(pushed.RootElement.GetProperty("artifactDigest").GetString()!, table);
        Assert.Contains(" % of the layers\n", table);

        string listed = await RunAsync("b", "layers", "--json", _image);
        Assert.Equal(["published", "published"], Values(listed, "origin"));
        Assert.Equal(["False", "False"], Values(listed, "indexed"));
        Assert.All(Values(listed, "indexSize"), size => Assert.InRange(int.Parse(size, System.Globalization.CultureInfo.InvariantCulture), 1, 100_000));
        Assert.Equal(["-", "-"], Values(await RunAsync("b", "layers", "--index-trust=none", "--json", _image), "origin"));
        string shown = await RunAsync("b", "index", "show", "--json", _image);
        Assert.Equal(["published", "published"], Values(shown, "where"));
        Assert.Equal(["3", "100"], Values(shown, "entries"));

        await RunAsync("b", "ls", _image);
        Assert.Equal(["local published", "published published", "local published", "published published"],
            Values(await RunAsync("b", "index", "show", "--json", _image), "where").Zip(Values(await RunAsync("b", "index", "show", "--json", _image), "origin"), (where, origin) => $"{where} {origin}"));
        Assert.Equal(["built", "built"], Values(await RunAsync("b", "index", "build", "--json", _image), "origin"));
    }

    [Theory]
    [InlineData("lazymount: a command is missing; see 'lazymount index --help'", "index")]
    [InlineData("lazymount: unknown command 'pull'; see 'lazymount index --help'", "index", "pull")]
    [InlineData("lazymount: --index-trust 'all' is none of auto, bound, registry and none", "layers", "--index-trust", "all", "debian")]
    public async Task WrongUse_IsToldInOneSentence(string sentence, params string[] arguments)
    {
        CommandRun run = await CommandRun.RunAsync(arguments);
        Assert.Equal((2, "", sentence + "\n"), (run.ExitCode, run.Output, run.Error));
    }

    [Fact]
    public async Task Archive_TakesNoIndex()
    {
        CommandRun run = await CommandRun.RunAsync("index", "push", "docker-archive:x.tar");
        Assert.Equal(1, run.ExitCode);
        Assert.Contains("cannot push to 'docker-archive:x.tar': nothing is added to an archive", run.Error);
    }

    [Fact]
    public async Task Help_TeachesEachVerb()
    {
        foreach (string[] verb in (string[][])[["index"], ["index", "build"], ["index", "push"], ["index", "show"]])
        {
            CommandRun run = await CommandRun.RunAsync([.. verb, "--help"]);
            Assert.Equal(0, run.ExitCode);
            Assert.Contains($"  lazymount {string.Join(' ', verb)}", run.Output);
        }
    }
}
