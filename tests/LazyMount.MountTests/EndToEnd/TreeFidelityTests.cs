using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>
/// Pushed with skopeo, and path for path what umoci unpacks as root: mounted from the registry, unpacked, and exported to
/// GNU tar.
/// </summary>
public sealed class TreeFidelityTests(SharedRegistry registry, DebianImages debian) : IDisposable
{
    private const string RootOnly = "umoci sets owners and makes devices only as root";

    private readonly LazyMountCli _lazymount = new();

    public void Dispose() => _lazymount.Dispose();

    [Fact]
    public void SampleImage_IsWhatUmociUnpacks()
    {
        TreeSnapshot tree = AssertSameAsUmoci(debian.Sample);

        // And the sample is what the quickstart promises.
        Assert.Equal("../usr/lib/os-release", tree["/etc/os-release"].LinkTarget);
        Assert.Equal("/srv/first", tree["/srv/second"].FirstName);
        Assert.Equal('l', tree["/etc/localtime"].Type);
        Assert.Equal(["/usr/share/zoneinfo/Europe/README"], tree.Nodes.Keys.Where(path => path.StartsWith("/usr/share/zoneinfo/Europe/", StringComparison.Ordinal)));
        Assert.False(tree.Nodes.ContainsKey("/usr/share/doc/tzdata"));
        Assert.Equal('-', tree["/usr/share/doc/perl-base"].Type);
    }

    [Fact]
    public void DebianRoot_IsWhatUmociUnpacks()
    {
        TreeSnapshot tree = AssertSameAsUmoci(debian.Root);
        Assert.True(tree.Nodes.Count > 2000, $"only {tree.Nodes.Count} paths");
        Assert.Equal(0x89EDu, tree["/usr/bin/passwd"].Mode); // setuid root
    }

    [Fact]
    public void Whiteouts_HideLowerLayersWhereverTheyStandInTheirLayer() => AssertSameAsUmoci([
        Root().Directory("d").File("d/before", "lower").File("d/after", "lower").File("d/alone", "lower").Directory("d/sub").File("d/sub/x", "lower").File("whole/file", "lower"),
        new TarBytes().Directory("d").Whiteout("d/before").File("d/before", "upper").File("d/after", "upper").Whiteout("d/after").Whiteout("d/alone").Whiteout("d/sub").Whiteout("whole").Whiteout("never-there")],
        ignoreMtimeOf: ["/"]);

    [Fact]
    public void OpaqueDirectories_HideAllLowerLayersButNotTheirOwn() => AssertSameAsUmoci(
        Root().Directory("o").File("o/lower").Directory("o/sub").File("o/sub/lower").Directory("p").File("p/lower"),
        new TarBytes().Directory("o").File("o/middle"),
        new TarBytes().Directory("o").File("o/first", "1").Opaque("o").File("o/last", "2").Directory("p").Opaque("p"),
        new TarBytes().Directory("o").File("o/later", "3"));

    [Fact]
    public void ReplacedTypes_ShowTheUpperLayerOnly() => AssertSameAsUmoci(
        Root().Directory("dir-to-file").File("dir-to-file/x").File("file-to-dir", "f").Symlink("link-to-dir", "/tmp").File("file-to-link", "f")
            .Directory("dir-to-link").File("dir-to-link/x").Fifo("fifo-to-file").Symlink("link-to-file", "nowhere").Directory("kept", 0x1C0).File("kept/x"),
        new TarBytes().File("dir-to-file", "now a file").Directory("file-to-dir").File("file-to-dir/x").Directory("link-to-dir").Symlink("file-to-link", "kept")
            .Symlink("dir-to-link", "kept").File("fifo-to-file", "file").File("link-to-file", "file").Directory("kept", 0x1ED));

    [Fact]
    public void HardLinks_AreOneFileAcrossLayers() => AssertSameAsUmoci(
        Root().File("a", "shared").HardLink("b", "a").Directory("d").HardLink("d/c", "b").File("alone"),
        new TarBytes().HardLink("upper", "a"),
        new TarBytes().File("a", "replaced: the others keep the old file").Whiteout("b"));

    [Fact]
    public void EverySortOfEntry_ShowsAllItsAttributes() => AssertSameAsUmoci(
        Root().File("empty").File("setuid", "x", 0x9ED).Directory("sticky", 0x3FF).Fifo("fifo").CharacterDevice("null", 1, 3)
            .File("owned", "x", 0x1A0, TarBytes.OwnedBy(1000, 100))
            .File("big-owner", "x", 0x1A0, header => TarBytes.Base256(header, 108, 8, 3_000_000_000))
            .Symlink("dangling", "/no/such/place").Symlink("relative", "../../owned")
            .File("latin1-\u00e4\u00ff", "a name that is not UTF-8").File("with space\n", "x").File("utf8-\u00c3\u00a4", "x")
            .Pax(("path", "long/" + new string('n', 200)), ("mtime", "1600000000.123456789")).File("long", "from PAX")
            .Pax(("uid", "70000"), ("SCHILY.xattr.user.color", "blue")).File("attributed", "x")
            .Pax(("mtime", "-5")).File("before-1970", "x"),
        ignoreMtimeOf: ["/", "/long"]);

    [Fact]
    public void MissingParents_AreRootsDirectoriesOf0755()
        => AssertSameAsUmoci([Root().File("no/parent/here", "x"), new TarBytes().File("no/parent/there", "y")], ignoreMtimeOf: ["/", "/no", "/no/parent"]);

    [Fact]
    public void DuplicateEntries_TheLastOneWins() => AssertSameAsUmoci(
        Root().File("twice", "first", 0x180).File("twice", "second", 0x1A4).Directory("d", 0x1C0).File("d/x").Directory("d", 0x1ED).Symlink("l", "one").Symlink("l", "two"));

    [Fact]
    public void EmptyLayers_ChangeNothing() => AssertSameAsUmoci(Root().File("a"), new TarBytes(), new TarBytes().File("b"));

    [Fact]
    public void EntryBelowALowerSymlink_MakesADirectoryOfIt()
    {
        // Not umoci's way, which follows the link inside the root: a layer never writes where a lower layer's link points.
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        layout.AddLayer(Root().Directory("target").Symlink("link", "target")).AddLayer(new TarBytes().File("link/file", "x")).WriteImage("v1");
        TreeSnapshot tree = TreeSnapshot.Take(_lazymount.Mount(layout.Reference("v1")));
        Assert.Equal(["/", "/link", "/link/file", "/target"], tree.Nodes.Keys);
        Assert.Equal('d', tree["/link"].Type);
    }

    [Fact]
    public void PathsThatPointOutside_StayInside()
    {
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        layout.AddLayer(Root().File("../../escaped", "x").File("/absolute", "x").File("d/../../also", "x")).WriteImage("v1");
        TreeSnapshot tree = TreeSnapshot.Take(_lazymount.Mount(layout.Reference("v1")));
        Assert.Contains("/absolute", tree.Nodes.Keys);
        Assert.DoesNotContain(tree.Nodes.Keys, path => path.Contains("..", StringComparison.Ordinal));
        Assert.Equal(["absolute", "also", "escaped"], tree.Nodes.Keys.SelectMany(path => path.Split('/')).Where(name => name != "").Distinct().Order(StringComparer.Ordinal));
    }

    private static TarBytes Root() => new TarBytes().Directory("./");

    private void AssertSameAsUmoci(params TarBytes[] layers) => AssertSameAsUmoci(layers, []);

    private void AssertSameAsUmoci(TarBytes layer, string[] ignoreMtimeOf) => AssertSameAsUmoci([layer], ignoreMtimeOf);

    private void AssertSameAsUmoci(TarBytes[] layers, string[] ignoreMtimeOf)
    {
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        foreach (TarBytes layer in layers)
        {
            layout.AddLayer(layer);
        }
        layout.WriteImage("v1");
        AssertSameAsUmoci(layout.Reference("v1"), ignoreMtimeOf);
    }

    /// <param name="layout">The image.</param>
    /// <param name="ignoreMtimeOf">
    /// Directories without an entry, and the root when such a one is made or something is removed in it: umoci gives
    /// them the time of unpacking.
    /// </param>
    private TreeSnapshot AssertSameAsUmoci(string layout, params string[] ignoreMtimeOf)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        TreeSnapshot expected = TreeSnapshot.Take(Umoci.Unpack(layout, _lazymount.Directory["bundle"]));
        string image = registry.Push(layout);
        TreeSnapshot actual = TreeSnapshot.Take(_lazymount.Mount(image));
        foreach (string path in ignoreMtimeOf)
        {
            expected.Replace(path, node => node with { Mtime = actual[path].Mtime });
        }
        string difference = expected.Difference(actual);
        Assert.True(difference.Length == 0, difference);
        AssertSame("unpacked", expected, Unpacked.Take(_lazymount, image));
        AssertSame("exported", expected, Exported.Take(_lazymount, image));
        AssertSame("exported as EROFS", expected, ExportedErofs.Take(_lazymount, image));
        return actual;
    }

    private static void AssertSame(string how, TreeSnapshot expected, TreeSnapshot actual)
    {
        string difference = expected.Difference(actual);
        Assert.True(difference.Length == 0, $"{how}:\n{difference}");
    }
}
