using System.Text;
using LazyMount.FileSystem;
using LazyMount.Indexes.Model;
using Xunit;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Tests.FileSystem;

public sealed class TreeBuilderTests
{
    [Fact]
    public void OneLayer_SortsChildrenBytewiseAndNumbersBreadthFirst()
    {
        var tree = Build(L.Directory("b").File("b/z").File("b/prefix-long-2").File("b/prefix-long-1").File("a").File("\u00ff"));
        Assert.Equal(["/", "/a", "/b", "/\u00ff", "/b/prefix-long-1", "/b/prefix-long-2", "/b/z"], ["/", .. Names(tree).Select(name => name.Path)]);
        Assert.Equal(ImageTree.RootId, tree.NodeAt(0));
    }

    [Fact]
    public void NoLayers_GiveAnEmptyRoot()
    {
        var tree = TreeBuilder.Build([]);
        Assert.Equal(1, tree.Count);
        Assert.Equal(FileMode.Directory | 0b111_101_101, tree.Mode(1));
        Assert.Equal(2u, tree.Attributes(1).LinkCount);
        Assert.Equal(-1, tree.LayerOf(1));
    }

    [Fact]
    public void UpperFile_ReplacesLowerOne() => Expect(["/a 1:7"], L.File("a", 3), L.File("a", 7));

    [Fact]
    public void Duplicate_LaterEntryOfALayerWins() => Expect(["/a 0:2"], L.File("a", 1).File("a", 2));

    [Fact]
    public void Whiteout_HidesLowerFile() => Expect(["/b 0:1"], L.File("a").File("b"), L.File(".wh.a"));

    [Fact]
    public void Whiteout_HidesLowerDirectoryWhole() => Expect([], L.Directory("a").File("a/b").File("a/c/d"), L.File(".wh.a"));

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Whiteout_NeverHidesASiblingOfItsOwnLayer(bool first)
    {
        var upper = first ? L.File(".wh.a").File("a", 9) : L.File("a", 9).File(".wh.a");
        Expect(["/a 1:9"], L.File("a", 1), upper);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Whiteout_OfADirectoryThatTheLayerMakesAnew_HidesOnlyWhatWasBelow(bool first)
    {
        var upper = first ? L.File(".wh.a").Directory("a").File("a/new") : L.Directory("a").File("a/new").File(".wh.a");
        Expect(["/a/ 1", "/a/new 1:1"], L.Directory("a").File("a/old"), upper);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Opaque_HidesLowerChildrenWhereverItStands(bool first)
    {
        var upper = first ? L.File("a/.wh..wh..opq").File("a/new") : L.File("a/new").File("a/.wh..wh..opq");
        Expect(["/a/ 0", "/a/new 1:1"], L.Directory("a").File("a/old").File("a/deep/er"), upper);
    }

    [Fact]
    public void Opaque_AtTheRootHidesEverythingBelow() => Expect(["/n 1:1"], L.File("a").File("b/c"), L.File(".wh..wh..opq").File("n"));

    [Fact]
    public void Whiteouts_MakeTheirDirectoriesAndNothingElse() =>
        Expect(["/b/ -1", "/d/ -1"], L.File(".wh.a").File("b/.wh.c").File("d/.wh..wh..opq"));

    [Theory]
    [InlineData(".wh.")]
    [InlineData(".wh..")]
    [InlineData("e/.wh...")]
    public void WhiteoutThatNamesNothing_IsRefusedByName(string path)
    {
        var refusal = Assert.Throws<InvalidDataException>(() => Build(L.File("e/a"), L.File("a").File(path)));
        Assert.Contains($"layer 1 has the entry '/{path}', a whiteout without a name", refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void WhiteoutBelowAWhiteout_MakesNothing(bool first) =>
        Expect([], L.File("a/b"), first ? L.File(".wh.a").File("a/.wh.b") : L.File("a/.wh.b").File(".wh.a"));

    [Fact]
    public void Whiteout_AlsoHidesTheAttributesOfADirectoryThatIsMadeAnew()
    {
        var tree = Build(L.Directory("a", mode: 0b111_000_000, uid: 1).File("a/b"), L.File("a/c").File(".wh.a"));
        Assert.Equal(["/a/ -1", "/a/c 1:1"], Listing(tree));
    }

    [Fact]
    public void FileThenDirectoryInOneLayer_ShowsTheLowerDirectoryAgain() =>
        Expect(["/a/ 1", "/a/low 0:1"], L.Directory("a").File("a/low"), L.Directory("a").File("a/gone").File("a").Directory("a"));

    [Fact]
    public void SymlinkReplacedByADirectory_LeadsNowhereAnyMore() =>
        Expect(["/d/ 0", "/d/x 0:1", "/l/ 0", "/l/x 0:2"], L.Directory("d").Symlink("l", "d").File("l/x", 1).Directory("l").File("l/x", 2));

    [Fact]
    public void SymlinkReplacedByAnother_LeadsElsewhere() =>
        Expect(["/d/ -1", "/d/x 0:1", "/e/ -1", "/e/x 0:2", "/l -> e"], L.Symlink("l", "d").File("l/x", 1).Symlink("l", "e").File("l/x", 2));

    // Every link doubles the work of the one before.
    [Fact]
    public void SymlinksThatFanOut_AreRefusedInTime()
    {
        var layer = L.Directory("d").Symlink("l0", "d");
        for (int i = 1; i < 60; i++)
        {
            layer.Symlink($"l{i}", $"l{i - 1}/../l{i - 1}");
        }
        Assert.Throws<InvalidDataException>(() => Build(layer.File("l59/x")));
    }

    [Fact]
    public void SymlinkToATooLongName_IsRefusedWhenAnEntryStandsBelow() =>
        Assert.Throws<InvalidDataException>(() => Build(L.Symlink("l", new string('n', 256)).File("l/x")));

    [Fact]
    public void HardLinkTarget_IsFoundOverLowerLinksAndDirectories()
    {
        var lower = L.Directory("usr/bin").File("usr/bin/sh", 4).Symlink("bin", "usr/bin").Symlink("abs", "/usr/./../bin");
        Expect(["/a 0:4", "/abs -> /usr/./../bin", "/b 0:4", "/bin -> usr/bin", "/c 0:4", "/usr/ -1", "/usr/bin/ 0", "/usr/bin/sh 0:4", "/usr/bin/sh2 0:4"],
            lower, L.HardLink("a", "bin/sh").HardLink("b", "abs/sh").HardLink("usr/bin/sh2", "usr/bin/sh").HardLink("c", "usr/bin/sh2"));
    }

    [Theory]
    [InlineData("a")]
    [InlineData("d/f")]
    public void HardLinkToWhatTheLayerHasHiddenBefore_IsRefused(string target) => Assert.Throws<InvalidDataException>(() =>
        Build(L.File("a").Directory("d").File("d/f"), L.File(".wh.a").File("d/.wh..wh..opq").HardLink("b", target)));

    [Fact]
    public void HardLinkToWhatTheLayerHidesAfterwards_KeepsIt() => Expect(["/b 0:3"], L.File("a", 3), L.HardLink("b", "a").File(".wh.a"));

    [Fact]
    public void RootEntryOfAnOtherwiseEmptyLayer_IsKept() =>
        Assert.Equal(9u, Build(L.Directory("", uid: 9), L.File("a")).Attributes(ImageTree.RootId).Uid);

    [Fact]
    public void AufsLeftovers_AreNotShown() => Expect(["/a 0:1"], L.File("a").Directory(".wh..wh.plnk").File(".wh..wh.plnk/1.2").File(".wh..wh.aufs"));

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void AufsPseudoLinks_ShowTheContentThatTheyLeadTo(bool contentIsLast)
    {
        var upper = contentIsLast
            ? L.HardLink("lib/c", "lib/b").HardLink("lib/b", ".wh..wh.plnk/123.456").HardLink("lib/a", ".wh..wh.plnk/123.456").File(".wh..wh.plnk/123.456", 7)
            : L.Directory(".wh..wh.plnk").File(".wh..wh.plnk/123.456", 7).HardLink("lib/a", ".wh..wh.plnk/123.456").HardLink("lib/b", ".wh..wh.plnk/123.456").HardLink("lib/c", "lib/a");
        var tree = Build(L.Directory("lib").File("lib/a", 3), upper);
        Assert.Equal(["/lib/ 0", "/lib/a 1:7", "/lib/b 1:7", "/lib/c 1:7"], Listing(tree));
        Assert.Equal(3u, tree.Attributes(Names(tree)[1].Node).LinkCount);
    }

    [Theory]
    [InlineData(".wh..wh.plnk/3.4")] // nothing there
    [InlineData(".wh..wh.plnk/5.6")] // in a lower layer only
    [InlineData(".wh..wh.plnk")]
    [InlineData(".wh..wh.aufs")]
    [InlineData(".wh.a")]
    [InlineData("d/.wh..wh..opq")]
    public void HardLinkToAReservedName_IsRefusedByName(string target)
    {
        var upper = L.File("a").File(".wh..wh.plnk/1.2").File(".wh..wh.aufs").File(".wh.a").File("d/.wh..wh..opq").HardLink("x/link", target);
        var refusal = Assert.Throws<InvalidDataException>(() => Build(L.File(".wh..wh.plnk/5.6"), upper));
        Assert.Contains($"layer 1 has a hard link '/x/link' to '/{target}', which does not exist", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void WhatStandsBelowAReservedName_IsLinkedToAndNotShown() =>
        Expect(["/d/ 1", "/d/x 1:4", "/e/ -1", "/l -> e/.wh.b", "/low 0:1"], L.File("low"),
            L.Directory("d").File("d/.wh.a/x", 4).HardLink("d/x", "d/.wh.a/x").Symlink("l", "e/.wh.b").File("l/y").File("l/.wh.z").File("d/.wh.a/.wh.low"));

    [Fact]
    public void LayerAlone_ShowsPseudoLinksAsTheFilesThatTheyAre() => ExpectAlone(0,
        ["/.wh..wh.plnk/ -1", "/.wh..wh.plnk/1.2 0:3", "/a 0:3"], 0, L.File(".wh..wh.plnk/1.2", 3).HardLink("a", ".wh..wh.plnk/1.2"));

    [Fact]
    public void FileOverDirectory_DropsItsChildren_AlsoWithAWhiteoutBelow() =>
        Expect(["/a 1:1"], L.Directory("a").File("a/b"), L.File("a").File("a/.wh.b"));

    [Fact]
    public void DirectoryOverFile_StartsEmpty() => Expect(["/a/ 1", "/a/b 1:1"], L.File("a"), L.Directory("a").File("a/b"));

    [Fact]
    public void DirectoryOverDirectory_KeepsChildrenAndTakesAttributes()
    {
        var tree = Build(L.Directory("a", mode: 0b111_000_000, uid: 1).File("a/b"), L.Directory("a", mode: 0b111_101_000, uid: 2));
        Assert.Equal(["/a/ 1", "/a/b 0:1"], Listing(tree));
        Assert.Equal((0b111_101_000u, 2u), (tree.Attributes(tree.Find(1, "a"u8)).Mode & 0xFFF, tree.Attributes(tree.Find(1, "a"u8)).Uid));
    }

    [Fact]
    public void DirectoryReplacedWithinALayer_LosesWhatWasBelow() =>
        Expect(["/a/ 0", "/a/d 0:1"], L.Directory("a").File("a/b").File("a/c/x").File("a").Directory("a").File("a/d"));

    [Fact]
    public void MissingParents_AreRootOwnedDirectories()
    {
        var tree = Build(L.File("a/b/c", uid: 7));
        Assert.Equal(["/a/ -1", "/a/b/ -1", "/a/b/c 0:1"], Listing(tree));
        Assert.Equal((FileMode.Directory | 0b111_101_101, 0u), (tree.Attributes(tree.Find(1, "a"u8)).Mode, tree.Attributes(tree.Find(1, "a"u8)).Uid));
    }

    [Fact]
    public void EntryBelowALowerSymlink_MakesADirectoryOfIt() =>
        Expect(["/d/ 0", "/l/ -1", "/l/x 1:1"], L.Directory("d").Symlink("l", "d"), L.File("l/x"));

    [Theory]
    [InlineData("usr/lib")]
    [InlineData("/usr/lib")]
    [InlineData("../../usr/./lib/")]
    public void EntryBelowASymlinkOfItsOwnLayer_FollowsItWithinTheRoot(string target) =>
        Expect(["/lib -> " + target, "/usr/ 0", "/usr/lib/ 0", "/usr/lib/x 0:1"], L.Directory("usr").Directory("usr/lib").Symlink("lib", target).File("lib/x"));

    [Fact]
    public void EntryBelowASymlinkLoop_IsRefused() =>
        Assert.Throws<InvalidDataException>(() => Build(L.Symlink("a", "b").Symlink("b", "a").File("a/x")));

    [Fact]
    public void HardLinks_ShareOneNode()
    {
        var tree = Build(L.File("b", 5, uid: 3).HardLink("a", "b", uid: 3).HardLink("d/c", "a", uid: 3));
        ulong id = tree.Find(1, "b"u8);
        Assert.Equal(tree.Find(1, "a"u8), id);
        Assert.Equal((3u, 3u, 5L), (tree.Attributes(id).LinkCount, tree.Attributes(id).Uid, tree.Attributes(id).Size));
        Assert.True(tree.IsNode(id));
        Assert.All(Enumerable.Range(0, 200).Select(i => (ulong)i), other => Assert.Equal(Enumerable.Range(0, tree.NodeCount).Any(n => tree.NodeAt(n) == other), tree.IsNode(other)));
        Assert.False(tree.IsNode(ulong.MaxValue));
        Assert.Equal((tree.Count - 2, 5L), (tree.NodeCount, tree.TotalFileSize));
    }

    [Fact]
    public void HardLinkToALowerFile_OutlivesTheReplacementOfItsTarget()
    {
        var tree = Build(L.File("a", 3), L.HardLink("b", "a"), L.File("a", 8));
        Assert.Equal(["/a 2:8", "/b 0:3"], Listing(tree));
        Assert.Equal(1u, tree.Attributes(tree.Find(1, "b"u8)).LinkCount);
    }

    [Fact]
    public void HardLinkEntry_SaysTheAttributesOfAFileOfItsLayerOnly()
    {
        var tree = Build(L.File("low", uid: 1), L.File("a", uid: 2, xattrs: [("user.k", "v")]).HardLink("b", "a", 0b110_000_000, uid: 3).HardLink("c", "low", 0, uid: 4));
        var (a, low) = (tree.Find(1, "a"u8), tree.Find(1, "low"u8));
        Assert.Equal((0b110_000_000u, 3u, 1u), (tree.Attributes(a).Mode & 0xFFF, tree.Attributes(a).Uid, tree.Attributes(low).Uid));
        Assert.Equal(1, tree.ReadXattr(a, "user.k"u8, default));
    }

    [Fact]
    public void HardLinkToALaterEntry_IsFound() => Expect(["/a 0:4", "/b 0:4", "/c 0:4"], L.HardLink("a", "b").HardLink("b", "c").File("c", 4));

    [Fact]
    public void HardLinkOntoItself_ChangesNothing() => Expect(["/a 0:4"], L.File("a", 4).HardLink("a", "a"));

    [Theory]
    [InlineData("missing")]
    [InlineData("dir")]
    [InlineData("")]
    public void HardLinkWithoutAFileToLinkTo_IsRefusedByName(string target)
    {
        var refusal = Assert.Throws<InvalidDataException>(() => Build(L.Directory("dir").HardLink("x/link", target)));
        Assert.Contains("'/x/link'", refusal.Message, StringComparison.Ordinal);
        Assert.Contains($"'/{target}'", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void HardLinkCycle_IsRefused() => Assert.Throws<InvalidDataException>(() => Build(L.HardLink("a", "b").HardLink("b", "a")));

    [Fact]
    public void RootEntry_GivesTheRootItsAttributes()
    {
        var root = Build(L.Directory("", mode: 0b111_000_000, uid: 9)).Attributes(ImageTree.RootId);
        Assert.Equal((0b111_000_000u, 9u), (root.Mode & 0xFFF, root.Uid));
    }

    [Fact]
    public void DirectoryLinkCount_CountsSubdirectories() => Assert.Equal(4u, Build(L.Directory("a").Directory("b").File("c")).Attributes(1).LinkCount);

    [Fact]
    public void OtherTypes_KeepWhatMakesThem()
    {
        var tree = Build(L.Device("tty", 4, 1_000_000).Fifo("pipe").Symlink("l", "where/ever"));
        var device = tree.Attributes(tree.Find(1, "tty"u8));
        Assert.Equal((4u, 1_000_000u, FileMode.CharacterDevice), (device.DeviceMajor, device.DeviceMinor, device.Mode & FileMode.TypeMask));
        Assert.Equal(FileMode.Fifo, tree.Mode(tree.Find(1, "pipe"u8)) & FileMode.TypeMask);
        ulong link = tree.Find(1, "l"u8);
        Assert.Equal("where/ever", Encoding.UTF8.GetString(tree.LinkTarget(link)));
        Assert.Equal((10, FileMode.Symlink | 0b111_111_111), (tree.Attributes(link).Size, tree.Mode(link)));
    }

    [Fact]
    public void Xattrs_AreFoundByNameAndListed()
    {
        var tree = Build(L.File("a", xattrs: [("security.capability", "x"), ("user.k", "v")]).File("b"));
        ulong a = tree.Find(1, "a"u8);
        byte[] value = new byte[1];
        Assert.Equal(1, tree.ReadXattr(a, "user.k"u8, value));
        Assert.Equal("v"u8.ToArray(), value);
        byte[] names = new byte[27];
        Assert.Equal(27, tree.WriteXattrNames(a, names));
        Assert.Equal("security.capability\0user.k\0", Encoding.UTF8.GetString(names));
        Assert.Equal(-1, tree.ReadXattr(a, "user"u8, value));
        Assert.True(tree.HasXattrs);
        Assert.False(Build(L.File("a", xattrs: [("user.k", "v")]), L.File("a")).HasXattrs);
    }

    [Theory]
    [InlineData("system.posix_acl_access", true)]
    [InlineData("system.posix_acl_default", true)]
    [InlineData("system.posix_acl", false)]
    [InlineData("user.k", false)]
    public void AccessLists_AreKnownOfTheTree(string name, bool isOne)
    {
        Assert.Equal(isOne, Build(L.File("a").File("b", xattrs: [("user.z", "v"), (name, "v")])).HasAccessLists);
        Assert.False(Build(L.File("a", xattrs: [(name, "v")]), L.File("a")).HasAccessLists);
    }

    [Theory]
    [InlineData(2048, true)]
    [InlineData(2049, false)]
    [InlineData(50_000, false)]
    public void Tree_HasAtMostSoManyLevels(int levels, bool isShown)
    {
        string deep = string.Concat(Enumerable.Repeat("d/", levels - 1));
        LayerBuilder[] layers = [L.File(deep + "f"), L.File(deep + "f").File(deep + ".wh.x")];
        if (isShown)
        {
            Assert.Equal(levels + 1, Build(layers).Count);
        }
        else
        {
            Assert.Contains("more than 2048 levels deep", Assert.Throws<InvalidDataException>(() => Build(layers)).Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void LevelsThatLinksAdd_CountToo()
    {
        // Every entry stands 20 levels below where the link before it leads.
        string step = string.Concat(Enumerable.Repeat("d/", 20));
        var layer = L.Directory("l0");
        for (int i = 1; i <= 200; i++)
        {
            layer.Directory($"l{i - 1}/{step}d").Symlink($"l{i}", $"l{i - 1}/{step}d");
        }
        Assert.Contains("more than 2048 levels deep", Assert.Throws<InvalidDataException>(() => Build(layer)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void PathThatLinksMakeTooLong_IsRefused()
    {
        string step = string.Concat(Enumerable.Repeat(new string('n', 250) + "/", 15));
        var layer = L.Directory("l0");
        for (int i = 1; i <= 10; i++)
        {
            layer.Directory($"l{i - 1}/{step}").Symlink($"l{i}", $"l{i - 1}/{step}");
        }
        Assert.Contains("a path of more than 32768 bytes", Assert.Throws<InvalidDataException>(() => Build(layer)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(30, true)]
    [InlineData(29, false)]
    public void NamesOfAllLayers_AreBounded(int bound, bool isShown)
    {
        LayerIndex[] layers = [.. Enumerable.Range(0, 3).Select(layer => Enumerable.Range(0, 10).Aggregate(L, (one, i) => i == 9 && layer == 0 ? one : one.File($"{layer}-{i}")).Build())];
        if (isShown)
        {
            Assert.Equal(30, TreeBuilder.Build(layers, bound).Count);
        }
        else
        {
            Assert.Contains($"more than {bound} names together", Assert.Throws<InvalidDataException>(() => TreeBuilder.Build(layers, bound)).Message, StringComparison.Ordinal);
        }
    }

    // Counted, not timed: before, each of these looked up or made a number of names that grew with depth times entries.
    [Theory]
    [InlineData("replaced beside")]
    [InlineData("replaced above")]
    [InlineData("below a link")]
    [InlineData("below a file")]
    [InlineData("links to nothing")]
    [InlineData("link replaced")]
    public void DepthTimesEntries_IsNotWhatALayerCosts(string shape)
    {
        const int Groups = 40_000;
        string deep = string.Concat(Enumerable.Repeat("d/", 1000));
        var layer = L.Symlink("l", "d").File("f");
        for (int i = 0; i < Groups; i++)
        {
            _ = shape switch
            {
                "replaced beside" => layer.Directory("x").File("x").File(deep + "a"),
                "replaced above" => layer.File("d/d").Directory(deep),
                "below a link" => layer.File("l/" + deep + "a"),
                "below a file" => layer.File("f").File($"f/{deep}.wh.a"),
                "links to nothing" => layer.HardLink("x", deep + "nothing"),
                _ => layer.Symlink("l", i % 2 == 0 ? "e" : "d").File($"l/{deep}a"),
            };
        }
        if (shape == "replaced beside")
        {
            Assert.Equal(1000 + 5, Build(layer).Count);
        }
        else
        {
            Assert.Contains("layer 0 ", Assert.Throws<InvalidDataException>(() => Build(layer)).Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void DirectoryReplacedHighAbove_ForgetsWhatWasBelow() =>
        Expect(["/a/ 0", "/a/b/ -1", "/a/b/c/ -1", "/a/b/c/y 0:2", "/l -> a/b"],
            L.File("a/b/c/x", 1).Symlink("l", "a/b").File("l/c/z", 1).File("a", 1).Directory("a").File("l/c/y", 2));

    [Fact]
    public void ManyNames_SortAndFindInOneDirectory()
    {
        var layer = L;
        var random = new Random(1);
        var names = Enumerable.Range(0, 20_000).Select(i => $"common-{random.Next():x}-{i}").ToList();
        names.ForEach(n => layer.File(n));
        var tree = Build(layer);
        var shown = tree.NamesIn(1).Select(name => Encoding.UTF8.GetString(name.Name)).ToList();
        Assert.Equal(names.Order(StringComparer.Ordinal), shown);
        Assert.All(names, n => Assert.Equal("/" + n, Encoding.UTF8.GetString(tree.PathOf(tree.Find(1, Encoding.UTF8.GetBytes(n))))));
        Assert.Equal(0ul, tree.Find(1, "common-"u8));
    }

    [Fact]
    public void LayerAlone_ShowsItsWhiteoutsAsFiles() => ExpectAlone(3,
        ["/.wh.gone 3:0", "/d/ 3", "/d/.wh..wh..opq 3:0", "/d/x 3:1", "/e/ -1", "/e/.wh.y 3:0"], 0,
        L.File(".wh.gone", 0).Directory("d").File("d/.wh..wh..opq", 0).File("d/x", 1).File("e/.wh.y", 0));

    [Fact]
    public void LayerAlone_ShowsHardLinksToLowerLayersAsSymbolicLinks() => ExpectAlone(1,
        ["/a -> lower/a", "/b -> a", "/d/ 1", "/d/e/ -1", "/d/e/c -> ../../lower/a", "/d/e/same 1:1", "/d/own 1:1"], 3,
        L.Directory("d").HardLink("b", "a").HardLink("a", "lower/a").HardLink("d/e/c", "lower/a").File("d/own", 1).HardLink("d/e/same", "d/own"));

    [Fact]
    public void LayerAlone_LinksToNoPlaceThatLinuxCouldShow_LeadToTheirDirectory() => ExpectAlone(0,
        ["/far -> .", "/root -> ."], 2, L.HardLink("far", string.Join('/', Enumerable.Repeat(new string('n', 200), 30))).HardLink("root", ""));

    [Fact]
    public void LayerAlone_ShowsWhiteoutsThatCanBeFiles() => ExpectAlone(1,
        ["/.wh.a 1:1", "/b 1:0", "/d/ 1"], 0, L.File(".wh.a").File(".wh." + new string('n', 252)).Directory("d").File("d/.wh." + new string('n', 255)).Device("b", 0, 0));

    [Fact]
    public void WithLayers_ShowsTheMergedTreeAndEachLayerByItself() => Assert.Equal(
        ["/layers/ -1", "/layers/00/ 0", "/layers/00/a 0:1", "/layers/00/d/ 0", "/layers/00/d/x 0:2", "/layers/01/ -1", "/layers/01/.wh.a 1:0",
            "/layers/01/d/ -1", "/layers/01/d/.wh..wh..opq 1:0", "/layers/01/d/y 1:3", "/merged/ 0", "/merged/d/ 0", "/merged/d/y 1:3"],
        Listing(BuildWithLayers(L.Directory("", uid: 5).File("a").Directory("d").File("d/x", 2), L.File(".wh.a", 0).File("d/.wh..wh..opq", 0).File("d/y", 3))));

    [Theory]
    [InlineData(0)]
    [InlineData(1, "00")]
    [InlineData(100, "00", "01", "99")]
    [InlineData(101, "000", "001", "100")]
    public void WithLayers_NumbersThemSoThatTheySort(int count, params string[] some)
    {
        ImageTree tree = BuildWithLayers([.. Enumerable.Range(0, count).Select(i => L.File("f", 1 + i))]);
        List<string> names = [.. tree.NamesIn(tree.Find(ImageTree.RootId, "layers"u8)).Select(name => Encoding.ASCII.GetString(name.Name))];
        Assert.Equal(count, names.Count);
        Assert.Equal(some, names.Take(2).Concat(names.Skip(2).TakeLast(1)));
        Assert.Equal(Enumerable.Range(1, count).Select(size => $"{size - 1}:{size}"), Names(tree)
            .Where(name => name.Path.StartsWith("/layers/", StringComparison.Ordinal) && name.Path.EndsWith("/f", StringComparison.Ordinal))
            .Select(name => $"{tree.LayerOf(name.Node)}:{tree.Size(name.Node)}"));
    }

    [Fact]
    public void WithLayers_BytesAreThoseOfTheSamePlace_AndNodesAreNot()
    {
        LayerBuilder lower = L.File("f", 5), upper = L.File("first").File("g", 6, xattrs: ("user.x", "y")).HardLink("d/h", "f").HardLink("d/i", "g");
        ImageTree plain = Build(lower, upper), tree = BuildWithLayers(lower, upper);
        Assert.Equal(1, tree.DanglingLinks);
        Assert.Equal("../f", Encoding.ASCII.GetString(tree.LinkTarget(NodeOf("/layers/01/d/h"))));
        Assert.Equal(0, tree.LayerOf(NodeOf("/merged/d/h")));
        Assert.Equal((2u, 2u, 1u), (LinksOf("/merged/f"), LinksOf("/layers/01/g"), LinksOf("/layers/00/f")));
        foreach (string path in (string[])["/merged/g", "/layers/01/g", "/layers/01/d/i"])
        {
            Assert.Equal(1, tree.LayerOf(NodeOf(path))); // not the form of the layer that the symbolic link made
            Assert.Equal(plain.Extent(Resolve(plain, "/g"), 0), tree.Extent(NodeOf(path), 0));
            Assert.Equal("user.x", Encoding.ASCII.GetString(Assert.Single(tree.XattrsOf(NodeOf(path))).Name));
        }
        Assert.NotEqual(NodeOf("/merged/g"), NodeOf("/layers/01/g"));
        Assert.Equal(NodeOf("/layers/01/d/i"), NodeOf("/layers/01/g"));
        Assert.Equal(NodeOf("/layers"), tree.ParentOf(NodeOf("/layers/01")));
        // What an absolute link of the image leads to is in the image.
        ImageTree links = BuildWithLayers(L.File("d/f").Symlink("link", "/d/f"));
        Assert.Equal(Errno.None, PathResolver.Resolve(links, "../link"u8, followFinal: true, out ResolvedPath resolved, links.Find(ImageTree.RootId, "merged"u8)));
        Assert.Equal(("/d/f", Resolve(links, "/merged/d/f")), (Encoding.ASCII.GetString(resolved.Path), resolved.Node));

        ulong NodeOf(string path) => Resolve(tree, path);
        uint LinksOf(string path) => tree.Attributes(NodeOf(path)).LinkCount;
    }

    private static ulong Resolve(ImageTree tree, string path)
    {
        Assert.Equal(Errno.None, PathResolver.Resolve(tree, Encoding.ASCII.GetBytes(path), followFinal: false, out ResolvedPath resolved));
        return resolved.Node;
    }

    private static ImageTree BuildWithLayers(params LayerBuilder[] layers) => TreeBuilder.BuildWithLayers([.. layers.Select(layer => layer.Build())]);

    private static LayerBuilder L => new();

    private static void ExpectAlone(int number, string[] listing, int danglingLinks, LayerBuilder layer)
    {
        ImageTree tree = TreeBuilder.BuildAlone(layer.Build(), number);
        Assert.Equal(listing, Listing(tree));
        Assert.Equal(danglingLinks, tree.DanglingLinks);
    }

    private static ImageTree Build(params LayerBuilder[] layers) => TreeBuilder.Build([.. layers.Select(l => l.Build())]);

    private static void Expect(string[] listing, params LayerBuilder[] layers) => Assert.Equal(listing, Listing(Build(layers)));

    // Everything but the root: "/dir/ LAYER", "/file LAYER:SIZE", "/link -> target", in order of path.
    private static List<string> Listing(ImageTree tree) => [.. Names(tree).Select(name => (tree.Mode(name.Node) & FileMode.TypeMask) switch
    {
        FileMode.Directory => $"{name.Path}/ {tree.LayerNumberOf(name.Node)}",
        FileMode.Symlink => $"{name.Path} -> {Encoding.UTF8.GetString(tree.LinkTarget(name.Node))}",
        _ => $"{name.Path} {tree.LayerNumberOf(name.Node)}:{tree.Attributes(name.Node).Size}",
    }).Order(StringComparer.Ordinal)];

    // All names but the root, breadth first.
    private static List<(string Path, ulong Node)> Names(ImageTree tree)
    {
        List<(string Path, ulong Node)> names = [("", ImageTree.RootId)];
        for (int i = 0; i < names.Count; i++)
        {
            (string path, ulong node) = names[i];
            names.AddRange(tree.NamesIn(node).Select(name => ($"{path}/{Encoding.Latin1.GetString(name.Name)}", name.Node)));
        }
        Assert.Equal(tree.Count, names.Count);
        return names[1..];
    }
}
