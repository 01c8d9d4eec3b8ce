using System.Text;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Layers;

public sealed class LayerEntriesBuilderTests
{
    [Fact]
    public void Entries_KeepTarOrderAndEveryDuplicate()
    {
        LayerEntriesBuilder entries = ScannedTar.Collect(new TarBytes()
            .Directory(".", 0x1C0).Directory("d").File("d/f", "1").File("./d/f", "22").HardLink("d/h", "/d/../d/f").Symlink("s", "../d//f").ToArray());
        LayerPaths paths = entries.BuildPaths();
        LayerEntry[] built = entries.BuildEntries();
        Assert.Equal(["/", "/d", "/d/f", "/d/f", "/d/h", "/s"], built.Select(entry => ScannedTar.PathOf(paths, entry.Path)));
        Assert.Equal(0x1C0, built[0].Mode);
        Assert.Equal((1, 2), (built[2].Size, built[3].Size));
        Assert.Equal(built[2].Path, built[4].LinkPath);
        Assert.Equal("../d//f", Encoding.ASCII.GetString(entries.BuildLinkTargets()[built[5].LinkTarget].Span));
    }

    [Fact]
    public void EqualXattrSets_AreShared()
    {
        LayerEntriesBuilder entries = ScannedTar.Collect(new TarBytes()
            .Pax(("SCHILY.xattr.user.b", "2"), ("SCHILY.xattr.user.a", "1")).File("f")
            .Pax(("SCHILY.xattr.user.a", "1"), ("SCHILY.xattr.user.b", "2")).File("g")
            .Pax(("SCHILY.xattr.user.a", "other")).File("h").File("i").ToArray());
        Assert.Equal([0, 0, 1, -1], entries.BuildEntries().Select(entry => entry.XattrSet));
        Assert.Equal(["user.a", "user.b"], entries.BuildXattrSets()[0].Select(xattr => Encoding.ASCII.GetString(xattr.Name.Span)));
    }

    [Fact]
    public void WhatLinuxCannotHold_IsLeftOutOrRefused()
    {
        var builder = new LayerEntriesBuilder(new IndexBudget(IndexLimits.Default));
        var told = new List<string?>();
        ScannedTar.Scan(new TarBytes().File("..", "x").Pax(("SCHILY.xattr.user.big", new string('v', (64 << 10) + 1))).File("f").ToArray(), member => told.Add(builder.Add(member)));
        Assert.Equal("it would replace the root directory", told[0]);
        Assert.Contains("user.big", told[1], StringComparison.Ordinal);
        LayerEntry entry = Assert.Single(builder.BuildEntries());
        Assert.Equal(-1, entry.XattrSet);

        Assert.Throws<InvalidDataException>(() => ScannedTar.Collect(new TarBytes().Pax(("linkpath", new string('t', 4096))).Symlink("s", "").ToArray()));
        Assert.Throws<InvalidDataException>(() => ScannedTar.Collect(new TarBytes().Pax(("path", new string('n', 256))).File("f").ToArray()));
    }
}
