using System.Text;
using System.Text.RegularExpressions;
using CsCheck;
using LazyMount.FileSystem;
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

    // In all but inode numbers: merged/ is the tree that is shown alone, and layers/NN that of the layer alone.
    [Fact]
    public void AnyLayers_AreTheSameTrees_BesideEachOther() => LayerScript.Images.Sample(
        layers =>
        {
            using var directory = new TemporaryDirectory();
            CompareBesideEachOther(directory, [.. layers.Select(layer => layer.ToTar())]).GetAwaiter().GetResult();
        },
        iter: Cases, threads: 2, print: LayerScript.Print);

    private static async Task CompareBesideEachOther(TemporaryDirectory directory, TarBytes[] tars)
    {
        await using TestImage image = await TestImage.CreateAsync(directory, tars);
        using ImageTree view = TreeBuilder.BuildWithLayers(image.Indexes);
        ulong layers = view.Find(ImageTree.RootId, "layers"u8);
        Assert.Equal(LinesOf(image.FileSystem.Tree, ImageTree.RootId), LinesOf(view, view.Find(ImageTree.RootId, "merged"u8)));
        int names = 3 + image.FileSystem.Tree.Count - 1 + tars.Length;
        for (int layer = 0; layer < tars.Length; layer++)
        {
            using ImageTree alone = TreeBuilder.BuildAlone(image.Indexes[layer], layer);
            Assert.Equal(LinesOf(alone, ImageTree.RootId), LinesOf(view, view.Find(layers, Encoding.ASCII.GetBytes($"{layer:D2}"))));
            names += alone.Count - 1;
        }
        Assert.Equal(names, view.Count);
    }

    // All that a tree says of what is below a directory.
    private static List<string> LinesOf(ImageTree tree, ulong root)
    {
        var firstNames = new Dictionary<ulong, string>();
        List<(string Path, ulong Node)> names = [("/", root)];
        List<string> lines = [];
        for (int i = 0; i < names.Count; i++)
        {
            (string path, ulong node) = names[i];
            firstNames.TryAdd(node, path);
            string extents = (tree.Mode(node) & 0xF000) == 0x8000 ? string.Join(' ', tree.Extents(node)) : "";
            string xattrs = string.Join(' ', tree.XattrsOf(node).Select(xattr => $"{Convert.ToHexString(xattr.Name)}={Convert.ToHexString(xattr.Value)}"));
            lines.Add($"{path} {tree.Attributes(node) with { Inode = 0 }} of {tree.LayerNumberOf(node)} is {firstNames[node]} -> {Encoding.Latin1.GetString(tree.LinkTarget(node))} {extents} {xattrs}");
            names.AddRange(tree.NamesIn(node).Select(name => ($"{path}{Encoding.Latin1.GetString(name.Name)}/", name.Node)));
        }
        return lines;
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
