using System.Text.RegularExpressions;
using CsCheck;
using LazyMount.Fuse;
using LazyMount.MountTests.EndToEnd;
using LazyMount.MountTests.Posix;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Properties;

/// <summary>Random layers, mounted for real, show what the kernel's overlayfs shows over the same layers extracted by GNU tar.</summary>
public sealed partial class OverlayPropertyTests
{
    private const int Cases = 150, ErofsCases = 60;

    // For hours of it: CsCheck_Time (seconds), and CsCheck_Seed for one case again.
    [Fact]
    public void AnyLayers_ShowWhatOverlayfsShows()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root can mount overlayfs");
        int compared = 0, refused = 0;
        LayerScript.Images.Sample(layers => _ = Compare(layers) ? Interlocked.Increment(ref compared) : Interlocked.Increment(ref refused),
            iter: Cases, threads: 2, print: LayerScript.Print);
        TestContext.Current.TestOutputHelper?.WriteLine($"{compared} compared, {refused} refused by tar");
        Assert.True(compared > refused / 2, $"tar has refused {refused} of {compared + refused} images: that is no test");
    }

    [Fact]
    public void AnyLayers_AreTheSameTreeAsAnErofsImage()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root can mount a file system image");
        using var lazymount = new LazyMountCli();
        int number = 0;
        LayerScript.Images.Sample(
            layers =>
            {
                using var directory = new TemporaryDirectory();
                TarBytes[] tars = [.. layers.Select(layer => layer.ToTar())];
                var layout = new OciLayoutBuilder(directory[$"layout{Interlocked.Increment(ref number)}"]);
                foreach (TarBytes tar in tars)
                    layout.AddLayer(tar);
                layout.WriteImage("v1");
                string ours = Mounted(directory, tars).GetAwaiter().GetResult();
                Assert.Equal(ours, TreeText.Of(ExportedErofs.Take(lazymount, layout.Reference("v1"))));
            },
            iter: ErofsCases, threads: 2, print: LayerScript.Print);
    }

    // False when tar refuses to extract: nothing to compare with.
    private static bool Compare(LayerScript[] layers)
    {
        using var directory = new TemporaryDirectory();
        TarBytes[] tars = [.. layers.Select(layer => layer.ToTar())];
        OverlayMount overlay;
        try
        {
            overlay = new OverlayMount([.. tars.Select(tar => tar.ToArray())], Enumerable.Range(0, layers.Length).Where(i => layers[i].Replaces).ToHashSet());
        }
        catch (InvalidOperationException)
        {
            return false;
        }
        using (overlay)
        {
            string difference = TreeText.Difference(WithoutLinkCounts(Mounted(directory, tars).GetAwaiter().GetResult()), TreeSnapshot.Take(overlay.Root, ignoreGhosts: true), WithoutLinkCounts);
            Assert.True(difference.Length == 0, $"only ours (-), only overlayfs's (+):\n{difference}");
        }
        return true;
    }

    private static async Task<string> Mounted(TemporaryDirectory directory, TarBytes[] layers)
    {
        await using TestImage image = await TestImage.CreateAsync(directory, layers);
        string root = directory.CreateDirectory("mnt");
        string tree;
        await using (FuseMount mount = image.Mount(root))
        {
            tree = TreeText.Of(TreeSnapshot.Take(root));
        }
        // Another directory: a process that another test is just starting may hold the first one's lock for a moment.
        root = directory.CreateDirectory("erofs");
        await using (FuseMount mount = image.Mount(root, face: MountFace.Erofs))
        {
            Assert.Equal(tree, TreeText.Of(TreeSnapshot.Take(root)));
        }
        return tree;
    }

    // overlayfs counts hidden names too; the zoo has a case of it.
    private static string WithoutLinkCounts(string lines) => LinkCount().Replace(lines, "");

    [GeneratedRegex(" nlink [0-9]+$", RegexOptions.Multiline)]
    private static partial Regex LinkCount();
}
