using System.Globalization;
using System.Text;
using CsCheck;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.FileSystem;
using LazyMount.Images;
using LazyMount.TestKit;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Tests.FileSystem;

/// <summary>
/// Random layers: what `log` says of each layer and path is what differs between the trees of the images that have the layers below it, and
/// those and the layer; and what `waste` says is seen is what the tree of the whole image holds.
/// </summary>
public sealed class PathLogPropertyTests : IDisposable
{
    private const int FileSize = 9;

    private static readonly string[] s_names = ["a", "b", "c"];
    private static readonly Gen<string> s_path = Gen.OneOf(s_names).Array[1, 3].Select(names => string.Join('/', names));
    private static readonly Gen<string> s_target = Gen.Select(Gen.OneOf("", "/", "../"), s_path, (start, path) => start + path);

    private static readonly Gen<Entry[][]> s_layers = Gen.Select(
        Gen.Frequency((6, Gen.Const('-')), (5, Gen.Const('d')), (3, Gen.Const('l')), (2, Gen.Const('h')), (1, Gen.Const('p')), (3, Gen.Const('w')), (2, Gen.Const('o'))),
        s_path, s_target, Gen.Int[0, 3], (type, path, target, variant) => new Entry(type, path, target, variant)).Array[0, 8].Array[1, 5];

    // All paths of such names, also below links and files.
    private static readonly string[] s_paths = ["/", .. s_names, .. s_names.SelectMany(a => s_names.Select(b => $"{a}/{b}")), .. s_names.SelectMany(a => s_names.SelectMany(b => s_names.Select(c => $"{a}/{b}/{c}"))), "a/", "a/../b"];

    private readonly TemporaryDirectory _directory = new();
    private int _images;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Log_IsTheDifferenceOfTheTreesBeforeAndAfterEachLayer()
        => await s_layers.SampleAsync(CheckAsync, iter: 60, threads: 1, print: layers => "\n" + string.Join('\n', layers.Select(layer => string.Join(' ', layer.AsEnumerable()))));

    private async Task CheckAsync(Entry[][] layers)
    {
        var layout = new OciLayoutBuilder(_directory.CreateDirectory(string.Create(CultureInfo.InvariantCulture, $"image{_images++}")));
        int number = 0;
        byte[][] tars = [.. layers.Select(layer => ToTar(layer, ref number).ToArray())];
        var cache = new BlobCache(_directory["cache"], BlobCache.DefaultLimit);
        var trees = new List<OpenedImage>();
        try
        {
            for (int count = 1; count <= tars.Length; count++)
            {
                tars.Take(count).ToList().ForEach(tar => layout.AddLayer(tar));
                layout.WriteImage($"v{count}");
                trees.Add(await OpenAsync($"v{count}", null));
            }
            await using IndexedImage image = await IndexedImage.OpenAsync(ImageReference.Parse(layout.Reference($"v{tars.Length}")), new OpeningOptions { Cache = cache }, OpeningObserver.None, NullLoggerFactory.Instance, Cancellation);
            var alone = new List<OpenedImage>();
            for (int layer = 0; layer < tars.Length; layer++)
            {
                trees.Add(await OpenAsync($"v{tars.Length}", layer));
                alone.Add(trees[^1]);
            }
            foreach (string path in s_paths)
            {
                CheckPath(path, [.. image.LogOf(Encoding.UTF8.GetBytes(path), TestContext.Current.CancellationToken)], [.. trees.Take(tars.Length).Select(tree => tree.Tree)], [.. alone.Select(tree => tree.Tree)]);
            }
            WastedBytes waste = image.MeasureWaste(1000, int.MaxValue, TestContext.Current.CancellationToken);
            Assert.Equal(layers.Sum(layer => (long)layer.Count(entry => entry.Type == '-')) * FileSize, waste.Size);
            Assert.Equal(trees[tars.Length - 1].Tree.TotalFileSize, waste.Size - waste.Wasted);
            Assert.Equal(waste.Wasted, waste.Paths.Sum(path => path.Size));
        }
        catch (ImageException e) when (e.Error == ImageError.Invalid)
        {
            // A hard link to nothing, or links that lead to themselves, which is the trees' tests' business.
        }
        finally
        {
            foreach (OpenedImage tree in trees)
            {
                await tree.DisposeAsync();
            }
        }

        Task<OpenedImage> OpenAsync(string tag, int? layer) => OpenedImage.OpenAsync(
            ImageReference.Parse(layout.Reference(tag)),
            new OpeningOptions { Cache = cache, Layer = layer is int one ? LayerChoice.Parse(one.ToString(CultureInfo.InvariantCulture)) : null },
            OpeningObserver.None, NullLoggerFactory.Instance, Cancellation);
    }

    private static void CheckPath(string path, IReadOnlyList<PathEvent> events, ImageTree[] trees, ImageTree[] alone)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(path);
        Dictionary<int, PathEvent> byLayer = events.ToDictionary(found => found.Layer);
        ResolvedPath? before = null;
        for (int layer = 0; layer < trees.Length; layer++)
        {
            ImageTree tree = trees[layer];
            ImageTree? lower = layer == 0 ? null : trees[layer - 1];
            ResolvedPath? now = PathResolver.Resolve(tree, bytes, followFinal: false, out ResolvedPath resolved) == Errno.None ? resolved : null;
            byLayer.TryGetValue(layer, out PathEvent? found);
            string where = $"{path} in layer {layer}: {found}";
            if (now is { } there)
            {
                Below expected = before is { } then ? Difference(lower!, then, tree, there) : Difference(null, default, tree, there);
                bool hasNewName = before is { } old && !FileMode.IsDirectory(tree.Mode(there.Node)) && NamesOf(tree, there.Node).Except(NamesOf(lower!, old.Node)).Any();
                bool isChanged = before is not { } was || Print(lower!, was.Node) != Print(tree, there.Node);
                Assert.True((isChanged || hasNewName || expected.Sums != default) == found is not null, where);
                if (found is not null)
                {
                    Assert.True(before is null ? found.Action is PathAction.Added or PathAction.Linked : found.Action is PathAction.Changed or PathAction.Linked, where);
                    Assert.True(before is null || isChanged == (found.Changes != PathChanges.None), where);
                    bool isOfLower = !FileMode.IsDirectory(tree.Mode(there.Node)) && tree.LayerOf(there.Node) < layer;
                    Assert.True(before is not null || !isOfLower || found.Action == PathAction.Linked || found.Covering is not null, where); // no layer adds another one's file
                    ExpectNode(found, tree, there, where);
                    Assert.True(expected.HasDirectory == found.Below is not null && (found.Below ?? default) == expected.Sums, $"{where}, expected {expected}");
                }
            }
            else
            {
                Assert.True(before is not null == found is not null, where);
                if (before is { } gone)
                {
                    ExpectNode(found!, lower!, gone, where);
                    Assert.True((found!.Below ?? default) == Difference(lower!, gone, null, default).Sums, where);
                    Assert.True(IsWhiteout(alone[layer], gone.Path) ? found.Action == PathAction.Deleted || HasHidden(found.By, lower!, tree, alone[layer]) : found.Action == PathAction.Hidden && HasHidden(found.By, lower!, tree, alone[layer]), where);
                }
            }
            before = now;
        }
    }

    private static void ExpectNode(PathEvent found, ImageTree tree, ResolvedPath at, string where)
    {
        NodeAttributes attributes = tree.Attributes(at.Node);
        Assert.Equal(at.Path, found.Path);
        Assert.True((attributes.Mode, attributes.Uid, attributes.Gid, attributes.Size, attributes.MtimeSeconds, tree.LayerOf(at.Node))
            == (found.Node.Mode, found.Node.Uid, found.Node.Gid, found.Node.Size, found.Node.MtimeSeconds, found.Node.Layer), where);
    }

    private static bool IsWhiteout(ImageTree alone, byte[] path)
    {
        int name = path.AsSpan().LastIndexOf((byte)'/') + 1;
        return PathResolver.Resolve(alone, [.. path.AsSpan(0, name), .. ".wh."u8, .. path.AsSpan(name)], followFinal: false, out _) == Errno.None;
    }

    // What hides is opaque, or not what it was any more.
    private static bool HasHidden(byte[]? by, ImageTree lower, ImageTree tree, ImageTree alone)
        => by is not null
            && PathResolver.Resolve(lower, by, followFinal: false, out ResolvedPath was) == Errno.None
            && (PathResolver.Resolve(alone, [.. by, .. "/.wh..wh..opq"u8], followFinal: false, out _) == Errno.None
                || IsWhiteout(alone, by)
                || PathResolver.Resolve(tree, by, followFinal: false, out ResolvedPath now) != Errno.None
                || Print(lower, was.Node) != Print(tree, now.Node));

    // Every entry that is no directory has a time of its own.
    private static string Print(ImageTree tree, ulong node)
    {
        NodeAttributes attributes = tree.Attributes(node);
        return string.Create(CultureInfo.InvariantCulture, $"{attributes.Mode:x} {attributes.Uid} {attributes.Size} {attributes.MtimeSeconds}");
    }

    private static HashSet<string> NamesOf(ImageTree tree, ulong node) => [.. Walk(tree, ImageTree.RootId, "").Where(name => name.Node == node).Select(name => name.Path)];

    private static IEnumerable<(string Path, ulong Node)> Walk(ImageTree tree, ulong directory, string path)
        => !FileMode.IsDirectory(tree.Mode(directory)) ? []
            : tree.NamesIn(directory).SelectMany(name => Walk(tree, name.Node, $"{path}/{Encoding.UTF8.GetString(name.Name)}").Prepend(($"{path}/{Encoding.UTF8.GetString(name.Name)}", name.Node)));

    private sealed record Below(BelowSums Sums, bool HasDirectory);

    private static Below Difference(ImageTree? lower, ResolvedPath before, ImageTree? tree, ResolvedPath now)
    {
        Dictionary<string, ulong> was = lower is null ? [] : Walk(lower, before.Node, "").ToDictionary(name => name.Path, name => name.Node);
        Dictionary<string, ulong> current = tree is null ? [] : Walk(tree, now.Node, "").ToDictionary(name => name.Path, name => name.Node);
        NameSum added = Sum(tree, current.Where(name => !was.ContainsKey(name.Key)));
        NameSum deleted = Sum(lower, was.Where(name => !current.ContainsKey(name.Key)));
        NameSum changed = Sum(tree, current.Where(name => was.TryGetValue(name.Key, out ulong old) && Print(lower!, old) != Print(tree!, name.Value)));
        bool hasDirectory = (lower is not null && FileMode.IsDirectory(lower.Mode(before.Node))) || (tree is not null && FileMode.IsDirectory(tree.Mode(now.Node)));
        return new Below(new BelowSums(added, changed, deleted), hasDirectory);
    }

    private static NameSum Sum(ImageTree? tree, IEnumerable<KeyValuePair<string, ulong>> names)
    {
        List<ulong> nodes = [.. names.Select(name => name.Value)];
        return new NameSum(nodes.Count, nodes.Distinct().Where(node => FileMode.IsRegular(tree!.Mode(node))).Sum(node => tree!.Size(node)));
    }

    private static TarBytes ToTar(Entry[] entries, ref int number)
    {
        var tar = new TarBytes();
        foreach (Entry entry in entries)
        {
            if (entry.Type is not ('d' or 'w' or 'o'))
            {
                tar.Pax(("mtime", (++number).ToString(CultureInfo.InvariantCulture)));
            }
            _ = entry.Type switch
            {
                '-' => tar.File(entry.Path, new string('x', FileSize), 0x1A4 - entry.Variant),
                'd' => tar.Directory(entry.Path, 0x1ED - (entry.Variant / 2)),
                'l' => tar.Symlink(entry.Path, entry.Target),
                'h' => tar.HardLink(entry.Path, entry.Target.TrimStart('.', '/')),
                'p' => tar.Fifo(entry.Path),
                'w' => tar.Whiteout(entry.Path),
                _ => tar.Opaque(entry.Path),
            };
        }
        return tar;
    }

    private sealed record Entry(char Type, string Path, string Target, int Variant)
    {
        public override string ToString() => $"{Type}:{Path}{(Type is 'l' or 'h' ? $"->{Target}" : Type is '-' or 'd' ? $"#{Variant}" : "")}";
    }
}
