using System.Text;
using LazyMount.Blobs.Oci;
using LazyMount.FileSystem;
using LazyMount.Indexes.Model;
using Xunit;

namespace LazyMount.Tests.FileSystem;

public sealed class WastedBytesTests
{
    private static LayerBuilder L => new();

    [Fact]
    public void ReplacedAndDeletedFiles_AreWaste()
    {
        WastedBytes waste = Measure(L.File("a", 10).File("b", 20).File("c/d", 40).File("e", 5), L.File("a", 11).File(".wh.b").File(".wh.c"), L.File("a", 12));
        Assert.Equal([new LayerWaste(0, 4, 75, 10, 60, 0), new LayerWaste(1, 1, 11, 11, 0, 0), new LayerWaste(2, 1, 12, 0, 0, 0)], waste.Layers);
        Assert.Equal((98, 81), (waste.Size, waste.Wasted));
        Assert.Equal(1 - (81 / 98.0), waste.Efficiency, 12);
        Assert.Equal(["/c/d 40 0 Deleted", "/a 21 0,1 Replaced", "/b 20 0 Deleted"], Lines(waste));
    }

    [Fact]
    public void OnlyTheFirstPaths_AreListed() => Assert.Equal(["/c 3 0 Deleted"], Lines(Measure(1, L.File("a", 1).File("b", 2).File("c", 3), L.File(".wh.a").File(".wh.b").File(".wh.c"))));

    [Theory]
    [InlineData(1, "/a 12 0,1 Replaced,Deleted", "/x 8 0 Deleted")]
    [InlineData(2, "/a/b 11 0,1 Replaced,Deleted", "/x 8 0 Deleted", "/a/e 1 0 Deleted")]
    [InlineData(3, "/x 8 0 Deleted", "/a/b/d 6 0,1 Replaced,Deleted", "/a/b/c 5 0 Deleted", "/a/e 1 0 Deleted")]
    public void DeeperPaths_AreSummedByDirectory(int depth, params string[] lines)
    {
        LayerIndex[] layers =
        [
            L.File("a/b/c/1", 2).File("a/b/c/2", 3).File("a/b/d", 2).File("a/e", 1).File("x", 8).Build(),
            L.File("a/b/d", 4).Build(), L.File(".wh.a").File(".wh.x").Build(),
        ];
        Assert.Equal(lines, Lines(WastedBytes.Measure(layers, 20, depth, TestContext.Current.CancellationToken)));
    }

    [Fact]
    public void PathOfSeveralReasons_NamesThem()
        => Assert.Equal(["/a 3 0,1 Replaced,Deleted"], Lines(Measure(L.File("a", 1), L.File("a", 2), L.File(".wh.a"))));

    [Fact]
    public void FileOfSeveralNames_IsCountedOnce_AndIsSeenByItsLastName()
    {
        Assert.Equal((7, 0), Totals(L.File("a", 7).HardLink("b", "a"), L.File(".wh.a")));
        Assert.Equal((7, 7), Totals(L.File("a", 7).HardLink("b", "a"), L.File(".wh.a"), L.File(".wh.b")));
        Assert.Equal((7, 0), Totals(L.File("a", 7), L.HardLink("b", "a"), L.File(".wh.a")));
    }

    [Fact]
    public void FileThatItsOwnLayerReplaces_IsWaste() => Assert.Equal(["/a 5 0 Replaced"], Lines(Measure(L.File("a", 5).File("a", 6))));

    [Fact]
    public void DirectoriesReplacedAndMadeAnew_AreSeenByPath()
    {
        Assert.Equal(["/d/b 2 0 Deleted", "/d/a 1 0 Replaced"], Lines(Measure(L.File("d/a", 1).File("d/b", 2), L.File("d/.wh..wh..opq").File("d/a", 3))));
        Assert.Equal(["/d/a 1 0 Deleted"], Lines(Measure(L.File("d/a", 1), L.File("d", 3))));
    }

    [Fact]
    public void Holes_AreNotCounted() => Assert.Equal((30, 30), Totals(L.Sparse("a", 1_000_000, (0, 10), (5000, 20)), L.File(".wh.a")));

    [Fact]
    public void NoFiles_AreEfficient()
    {
        Assert.Equal(1, Measure().Efficiency);
        Assert.Equal(1, Measure(L.Directory("a"), L.File(".wh.a")).Efficiency);
    }

    [Fact]
    public void SameContentInALowerLayer_IsADuplicate_WhereDigestsTell()
    {
        LayerIndex lower = WithDigests(L.File("a", 10).File("a2", 10).File("gone", 30), "x", "x", "y"), upper = WithDigests(L.File("b", 10).File("b2", 10).File("c", 30).File(".wh.gone", 0), "x", "x", "y");
        WastedBytes waste = WastedBytes.Measure([lower, upper], 10, int.MaxValue, TestContext.Current.CancellationToken);
        Assert.Equal([new LayerWaste(0, 3, 50, 0, 30, 0), new LayerWaste(1, 3, 50, 0, 0, 20)], waste.Layers); // what is gone is moved, not twice there
        Assert.Equal(["/gone 30 0 Deleted", "/b 10 1 Duplicate", "/b2 10 1 Duplicate"], Lines(waste));
        Assert.Equal(30, WastedBytes.Measure([lower, L.File("b", 10).File("b2", 10).File(".wh.gone", 0).Build()], 10, int.MaxValue, TestContext.Current.CancellationToken).Wasted);
    }

    [Fact]
    public void DifferentContent_IsNoDuplicate()
    {
        Assert.Equal(0, WastedBytes.Measure([WithDigests(L.File("a", 10), "x"), WithDigests(L.File("b", 10), "y")], 10, int.MaxValue, TestContext.Current.CancellationToken).Wasted);
        Assert.Equal(0, WastedBytes.Measure([WithDigests(L.File("a", 10), "x"), WithDigests(L.File("b", 11), "x")], 10, int.MaxValue, TestContext.Current.CancellationToken).Wasted);
    }

    [Fact]
    public void RewrittenFile_IsToldFromAChangedOne()
    {
        LayerIndex[] layers = [WithDigests(L.File("a", 10), "x"), WithDigests(L.File("a", 10, mode: 0b111_000_000), "x"), WithDigests(L.File("a", 10), "y")];
        Assert.Equal([PathChanges.None, PathChanges.Rewritten | PathChanges.Mode, PathChanges.Content | PathChanges.Mode], PathLog.Of(layers, "a"u8.ToArray(), TestContext.Current.CancellationToken).Select(found => found.Changes));
    }

    [Fact]
    public void Cancelled_EndsBetweenTwoLayers()
    {
        using var cancelled = new CancellationTokenSource();
        LayerIndex[] layers = [L.File("a").Build(), L.File("b").Build()];
        using IEnumerator<PathEvent> events = PathLog.Of(layers, "a"u8.ToArray(), cancelled.Token).GetEnumerator();
        Assert.True(events.MoveNext());
        cancelled.Cancel();
        Assert.Throws<OperationCanceledException>(() => events.MoveNext());
        Assert.Throws<OperationCanceledException>(() => WastedBytes.Measure(layers, 10, int.MaxValue, cancelled.Token));
    }

    // A layer whose table of contents has the digest of each file, here of the text in its place.
    private static LayerIndex WithDigests(LayerBuilder builder, params string[] contents)
    {
        LayerIndex layer = builder.Build();
        LayerEntry[] files = [.. layer.Entries.Where(entry => entry is { Type: EntryType.File, Size: > 0 })];
        byte[] digests = [.. contents.SelectMany(content => Convert.FromHexString(Digest.OfSha256(Encoding.UTF8.GetBytes(content)).Hex))];
        return layer with { Digest = Digest.OfSha256(digests), Proof = Proof.OfParser(new RangeDigests(ofCompressed: false, [.. files.Select(file => file.DataOffset)], [.. files.Select(file => (int)file.Size)], digests)) };
    }

    private static WastedBytes Measure(params LayerBuilder[] layers) => Measure(10, layers);

    private static WastedBytes Measure(int paths, params LayerBuilder[] layers) => WastedBytes.Measure([.. layers.Select(layer => layer.Build())], paths, int.MaxValue, TestContext.Current.CancellationToken);

    private static (long Size, long Wasted) Totals(params LayerBuilder[] layers) => Measure(layers) is var waste ? (waste.Size, waste.Wasted) : default;

    private static IEnumerable<string> Lines(WastedBytes waste)
        => waste.Paths.Select(path => $"{Encoding.UTF8.GetString(path.Path)} {path.Size} {string.Join(',', path.Layers)} {string.Join(',', path.Reasons)}");
}
