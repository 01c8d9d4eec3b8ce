using System.Text;
using LazyMount.Blobs.Oci;
using LazyMount.FileSystem;
using LazyMount.Indexes.Model;
using Xunit;

namespace LazyMount.Tests.FileSystem;

/// <summary>What `log` finds, case by case; <see cref="PathLogPropertyTests"/> holds it against trees of random layers.</summary>
public sealed class PathLogTests
{
    private static LayerBuilder L => new();

    [Fact]
    public void File_AddedChangedAndDeleted() => Expect("a",
        ["0 added /a", "1 changed /a [Content]", "2 changed /a [Content, Mode]", "3 deleted /a", "5 added /a"],
        L.File("a", 3), L.File("a", 4), L.File("a", 4, mode: 0b111_000_000), L.File(".wh.a"), L.File("b"), L.File("a"));

    [Fact]
    public void WhatDiffers_IsNamed()
    {
        Expect("a", ["0 added /a", "1 changed /a [Content, Owner, Time]"], L.File("a"), L.File("a", uid: 5, mtime: 7));
        Expect("a", ["0 added /a", "1 changed /a [Content, Xattrs]"], L.File("a"), L.File("a", xattrs: ("user.k", "v")));
        Expect("a", ["0 added /a", "1 changed /a [Target]", "2 changed /a [Rewritten]"], L.Symlink("a", "x"), L.Symlink("a", "y"), L.Symlink("a", "y"));
        Expect("a", ["0 added /a", "1 changed /a [Device]"], L.Device("a", 1, 3), L.Device("a", 1, 5));
        Expect("a", ["0 added /a", "1 changed /a [Type]", "2 changed /a [Type, Mode] +1 (1) ~0 (0) -0 (0)"], L.File("a", mode: 0b110_000_000), L.Fifo("a"), L.File("a/b"));
        Expect("a", ["0 added /a", "1 changed /a [Rewritten]"], L.File("a", 0), L.File("a", 0));
    }

    [Fact]
    public void SameLayerTwice_StoresTheSameBytes()
    {
        LayerIndex layer = L.File("a", 9).Build();
        Assert.Equal(["0 added /a", "1 changed /a [Rewritten]"], Lines([layer, layer], "a"));
    }

    [Fact]
    public void Whiteout_AndTheNameAgainInOneLayer_IsAChange() => Expect("a", ["0 added /a", "1 changed /a [Content]"], L.File("a", 1), L.File("a", 2).File(".wh.a"));

    [Fact]
    public void DeletedParent_Hides()
    {
        Expect("d/e/f", ["0 added /d/e/f", "1 hidden /d/e/f by /d Whiteout"], L.File("d/e/f"), L.File(".wh.d"));
        Expect("d/e/f", ["0 added /d/e/f", "1 hidden /d/e/f by /d Whiteout"], L.File("d/e/f"), L.File(".wh.d").File("d/e/other"));
        Expect("d/e/f", ["0 added /d/e/f", "1 hidden /d/e/f by /d/e Replaced"], L.File("d/e/f"), L.File("d/e"));
        Expect("d/e/f", ["0 added /d/e/f", "1 hidden /d/e/f by /d Opaque"], L.File("d/e/f"), L.File("d/.wh..wh..opq"));
        Expect("d/e/f", ["0 added /d/e/f", "1 hidden /d/e/f by / Opaque"], L.File("d/e/f"), L.File(".wh..wh..opq"));
        Expect("d/e/f", ["0 added /d/e/f", "1 deleted /d/e/f"], L.File("d/e/f"), L.File("d/e/.wh.f"));
        Expect("d/e/f", ["0 added /d/e/f", "1 deleted /d/e/f"], L.File("d/e/f"), L.Device("d/e/f", 0, 0));
    }

    [Fact]
    public void OpaqueDirectory_ThatHasTheNameAgain_Changes() => Expect("d/f", ["0 added /d/f", "1 changed /d/f [Content]"], L.File("d/f"), L.File("d/.wh..wh..opq").File("d/f"));

    [Fact]
    public void HardLinks_AreTold()
    {
        Expect("b", ["0 linked /b by /a"], L.File("a").HardLink("b", "a"));
        Expect("a", ["0 added /a"], L.File("a").HardLink("b", "a"));
        Expect("b", ["1 linked /b by /a"], L.File("a"), L.HardLink("b", "a"));
        Expect("a", ["0 added /a", "1 linked /a by /b", "2 deleted /a"], L.File("a"), L.HardLink("b", "a"), L.File(".wh.a"));
        Expect("a", ["0 added /a"], L.File("a").HardLink("d/b", "a"), L.File(".wh.d").HardLink("d/b", "a"));
        Expect("b", ["0 added /b", "1 linked /b [Content] by /a"], L.File("a").File("b"), L.HardLink("b", "a"));
    }

    [Fact]
    public void Links_OnTheWayAreFollowed_AtTheMoment()
    {
        Expect("bin/sh", ["0 added /bin/sh", "1 changed /usr/bin/sh [Content] by /bin Replaced", "2 changed /usr/bin/sh [Content]", "3 hidden /usr/bin/sh by /bin Whiteout"],
            L.File("bin/sh"), L.Symlink("bin", "usr/bin").File("usr/bin/sh"), L.File("usr/bin/sh", 2), L.File(".wh.bin"));
        Expect("l/f", ["1 added /d/f by /l Replaced", "2 hidden /d/f by /d Whiteout"], L.File("d/f"), L.Symlink("l", "/d").Directory("d"), L.File(".wh.d"));
        Expect("l", ["1 added /l"], L.File("d/f"), L.Symlink("l", "d"), L.File("d/g"));
        Expect("l/", ["1 added /d by /l Replaced +1 (1) ~0 (0) -0 (0)", "2 changed /d +1 (1) ~0 (0) -0 (0)"], L.File("d/f"), L.Symlink("l", "d"), L.File("d/g"));
        Expect("l/x", [], L.Symlink("l", "l"), L.File("d/g"));
    }

    [Fact]
    public void DirectoryThatThePathLeavesAgain_IsTold()
    {
        Expect("p/../a", ["1 added /a by /p Replaced", "2 hidden /a by /p Whiteout"], L.File("a"), L.Directory("p"), L.File(".wh.p"));
        Expect("l", ["0 added /l"], L.File("a").Symlink("l", "p/../a"), L.Directory("p"));
        Expect("p/../a", ["1 added /a by /p Replaced"], L.File("a").File("p"), L.Directory("p"));
        Expect("l/", ["1 added / by /p/q Replaced +3 (0) ~0 (0) -0 (0)"], L.Directory("p").Symlink("l", "p/q/../.."), L.Directory("p/q"));
    }

    [Fact]
    public void Directory_SumsWhatHappensBelow()
    {
        Expect("d", ["0 added /d +3 (6) ~0 (0) -0 (0)", "1 changed /d +2 (7) ~1 (5) -1 (2)", "2 changed /d [Mode] +0 (0) ~0 (0) -0 (0)", "4 deleted /d +0 (0) ~0 (0) -4 (15)"],
            L.Directory("d").File("d/a", 1).File("d/b", 2).File("d/c", 3), L.File("d/a", 5).File("d/.wh.b").File("d/e/f", 7), L.Directory("d", 0b111_000_000),
            L.Directory("d", 0b111_000_000), L.File(".wh.d").File("x"));
        Expect("/", ["0 added / +2 (1) ~0 (0) -0 (0)", "1 changed / +1 (0) ~0 (0) -2 (1)"], L.File("a").HardLink("b", "a"), L.File(".wh.a").File(".wh.b").Fifo("c"));
    }

    [Fact]
    public void DirectoryMadeAnew_IsComparedByPath() => Expect("d",
        ["0 added /d +3 (3) ~0 (0) -0 (0)", "1 changed /d +1 (1) ~1 (1) -2 (2)"],
        L.File("d/a").File("d/b").File("d/c"), L.File(".wh.d").Directory("d").File("d/a").File("d/new"));

    [Fact]
    public void FileInPlaceOfADirectory_AndBack() => Expect("d",
        ["0 added /d +1 (4) ~0 (0) -0 (0)", "1 changed /d [Type, Mode] +0 (0) ~0 (0) -1 (4)", "2 changed /d [Type, Mode] +1 (5) ~0 (0) -0 (0)"],
        L.Directory("d").File("d/a", 4), L.File("d"), L.Directory("d").File("d/b", 5));

    [Fact]
    public void EmptyLayers_AndNames_ThatNoLayerHas()
    {
        Expect("a", [], L.File("b"), L.File(".wh.a"));
        Expect("", [], L.File("b"));
        Expect("b/c", [], L.File("b"));
        Expect("../b", ["2 added /b"], L, L, L.File("b"));
    }

    [Fact]
    public void LayersThatMakeNoTree_Throw() => Assert.Throws<InvalidDataException>(() => Lines([L.HardLink("a", "b").Build()], "a"));

    private static void Expect(string path, string[] expected, params LayerBuilder[] layers) => Assert.Equal(expected, Lines([.. layers.Select((layer, number) => layer.Build() with { Digest = Digest.OfSha256([(byte)number]) })], path));

    private static string[] Lines(IReadOnlyList<LayerIndex> layers, string path) => [.. PathLog.Of(layers, Encoding.UTF8.GetBytes(path), TestContext.Current.CancellationToken).Select(Line)];

    private static string Line(PathEvent found) => string.Concat(
        $"{found.Layer} {found.Action.ToString().ToLowerInvariant()} {Encoding.UTF8.GetString(found.Path)}",
        found.Changes == PathChanges.None ? "" : $" [{found.Changes}]",
        found.By is null ? "" : $" by {Encoding.UTF8.GetString(found.By)}",
        found.Covering is null ? "" : $" {found.Covering}",
        found.Below is { } below ? $" +{Sum(below.Added)} ~{Sum(below.Changed)} -{Sum(below.Deleted)}" : "");

    private static string Sum(NameSum sum) => $"{sum.Names} ({sum.Size})";
}
