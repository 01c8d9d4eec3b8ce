using System.Text.Json;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>`mount --layers 0..N`: the merged tree of an image's lower layers, as an image of those alone shows it.</summary>
public sealed class LayersUpToTests(SharedRegistry registry) : IDisposable
{
    private readonly LazyMountCli _lazymount = new();

    public void Dispose() => _lazymount.Dispose();

    [Theory]
    [InlineData("fuse", "oci")]
    [InlineData("erofs", "oci")]
    [InlineData("auto", "registry")]
    [InlineData("auto", "oci-archive")]
    [InlineData("auto", "docker-archive")]
    public void EveryPrefix_IsTheImageOfThoseLayers(string face, string format)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "EROFS is for root");
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        for (int top = 0; top < Layers.Length; top++)
        {
            foreach (TarBytes layer in Layers.Take(top + 1))
            {
                layout.AddLayer(layer);
            }
            layout.WriteImage($"v{top}");
        }
        string whole = layout.Reference($"v{Layers.Length - 1}"), image = format switch
        {
            "registry" => registry.Push(whole),
            "oci-archive" or "docker-archive" => Copy(whole, $"{format}:{_lazymount.Directory["image.tar"]}{(format == "oci-archive" ? ":v1" : ":localhost/app:v1")}"),
            _ => whole,
        };
        for (int top = 0; top < Layers.Length; top++)
        {
            string expected = _lazymount.Mount(layout.Reference($"v{top}"), "--as", face);
            string actual = _lazymount.Mount(image, "--as", face, "--layers", $"0..{top}");
            string difference = TreeSnapshot.Take(expected).Difference(TreeSnapshot.Take(actual));
            Assert.True(difference.Length == 0, difference);
            Tool.Run("diff", "-r", "--no-dereference", expected, actual).EnsureSuccess();
        }
    }

    [Fact]
    public void List_TellsThePart_AndARestartKeepsIt()
    {
        string image = SmallImage(), directory = _lazymount.Mount(image, "--layers", "0..-2");
        JsonElement listing = JsonDocument.Parse(_lazymount.Run("list", "--json").EnsureSuccess().Output).RootElement.EnumerateArray().Single(mount => mount.GetProperty("mountPoint").GetString() == directory);
        Assert.Equal(1, listing.GetProperty("topLayer").GetInt32());
        Assert.Contains("layers 0..1", _lazymount.Run("list").Output, StringComparison.Ordinal);
        Assert.False(File.Exists($"{directory}/top"));
        _lazymount.Run("restart", directory).EnsureSuccess();
        Assert.Equal("2", File.ReadAllText($"{directory}/d/two"));
        Assert.False(File.Exists($"{directory}/top"));
    }

    [Theory]
    [InlineData("1..2", 2, "--layers '1..2' is no range of layers that begins with the lowest, such as 0..2 or 0..-2")]
    [InlineData("0..", 2, "--layers '0..' is no range of layers that begins with the lowest, such as 0..2 or 0..-2")]
    [InlineData("2", 2, "--layers '2' is no range of layers that begins with the lowest, such as 0..2 or 0..-2")]
    [InlineData("0..x", 2, "--layers 'x' is neither a layer's number nor the beginning of a digest")]
    [InlineData("0..3", 1, "its layers are 0 to 2, lowest first")]
    [InlineData("0..-4", 1, "its layers are 0 to 2, lowest first")]
    [InlineData("0..1 --layer 1", 2, "--layer shows one layer alone, and --layers several merged: leave out one of the two")]
    [InlineData("0..1 --view layers", 2, "--view layers shows all layers: leave out --layers, or --view")]
    public void BadRanges_GetOneSentence(string words, int exitCode, string sentence)
    {
        string directory = _lazymount.NewMountPoint();
        ToolResult result = _lazymount.Run(["mount", "--layers", .. words.Split(' '), SmallImage(), directory]);
        Assert.Equal(exitCode, result.ExitCode);
        Assert.Contains(sentence, result.Error, StringComparison.Ordinal);
        Assert.Single(result.Error.TrimEnd('\n').Split('\n'));
        Assert.False(LazyMountCli.IsMounted(directory));
    }

    private static TarBytes[] Layers =>
    [
        new TarBytes().Directory("./").Directory("d").File("d/one", "1").File("gone", "x").HardLink("d/same", "d/one").File("o/lower", "x"),
        new TarBytes().File("d/two", "2").Whiteout("gone").Symlink("link", "d/two"),
        new TarBytes().Whiteout("d/two").File("top", "3").File("d/one", "changed"),
    ];

    private string SmallImage()
    {
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        foreach (TarBytes layer in Layers)
        {
            layout.AddLayer(layer);
        }
        layout.WriteImage("v1");
        return layout.Reference("v1");
    }

    private static string Copy(string from, string to)
    {
        Tool.Run("skopeo", "copy", "--insecure-policy", "-q", from, to).EnsureSuccess();
        return to;
    }
}
