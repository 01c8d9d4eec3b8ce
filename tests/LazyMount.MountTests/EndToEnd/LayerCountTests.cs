using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>One layer, as many as docker makes at the most, and as many as we take.</summary>
public sealed class LayerCountTests : IDisposable
{
    private readonly LazyMountCli _lazymount = new();

    public void Dispose() => _lazymount.Dispose();

    [Theory]
    [InlineData(1)]
    [InlineData(127)]
    public void Tree_IsWhatOverlayfsShows(int count)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root can mount overlayfs");
        byte[][] layers = Layers(count);
        string mounted = _lazymount.Mount(Write(layers));
        using var overlay = new OverlayMount(layers);
        AssertSame(TreeSnapshot.Take(overlay.Root), TreeSnapshot.Take(mounted));
    }

    // The kernel stacks 500 at the most, so umoci is asked.
    [Fact]
    public void ThousandLayers_AreWhatUmociUnpacks()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "umoci sets owners only as root");
        string image = Write(Layers(1000));
        string mounted = _lazymount.Mount(image);
        AssertSame(TreeSnapshot.Take(Umoci.Unpack(image, _lazymount.Directory["bundle"])), TreeSnapshot.Take(mounted));
    }

    [Fact]
    public void OneLayerMore_IsRefused()
    {
        ToolResult result = _lazymount.Run("mount", Write(Layers(1001)), _lazymount.NewMountPoint());
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("1001 layers", result.Error, StringComparison.Ordinal);
        Assert.Contains("1000", result.Error, StringComparison.Ordinal);
    }

    // Every layer adds a file and a link, replaces one, hides the last layer's, and now and then makes a directory anew.
    private static byte[][] Layers(int count) => [.. Enumerable.Range(0, count).Select(i =>
    {
        TarBytes tar = new TarBytes().Directory("./").Directory("d", 0x1C0 + i % 64).File("d/always", $"{i}").File($"d/{i}", "only until the next")
            .File($"kept{i}", $"{i}", 0x1A4, TarBytes.OwnedBy(i, i)).Symlink("last", $"kept{i}").Directory($"by-ten/{i / 10}").File($"by-ten/{i / 10}/{i}").Directory("by-ten");
        if (i > 0)
        {
            tar.Whiteout($"d/{i - 1}");
        }
        if (i % 25 == 24)
        {
            tar.Directory("by-ten").Opaque("by-ten");
        }
        return tar.ToArray();
    })];

    private string Write(byte[][] layers)
    {
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        foreach (byte[] layer in layers)
        {
            layout.AddLayer(layer);
        }
        layout.WriteImage("v1");
        return layout.Reference("v1");
    }

    private static void AssertSame(TreeSnapshot expected, TreeSnapshot actual)
    {
        string difference = TreeText.Difference(TreeText.Of(actual), expected);
        Assert.True(difference.Length == 0, $"only ours (-), only the oracle's (+):\n{difference}");
    }
}
