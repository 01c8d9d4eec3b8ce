using System.Runtime.InteropServices;
using LazyMount.Indexes.Model;

namespace LazyMount.FileSystem;

/// <summary>Why nobody sees bytes of a layer, or sees them elsewhere already.</summary>
public enum WasteReason
{
    /// <summary>The bytes are of use.</summary>
    None,

    /// <summary>Something else stands at the file's path: of a higher layer, or later in the same one.</summary>
    Replaced,

    /// <summary>A higher layer deleted the file.</summary>
    Deleted,

    /// <summary>A lower layer has a visible file of the same content, as digests tell.</summary>
    Duplicate,
}

/// <summary>The files of one layer.</summary>
/// <param name="Layer">The layer's number, lowest 0.</param>
/// <param name="Files">Number of files. One of several names is counted once.</param>
/// <param name="Size">Their bytes.</param>
/// <param name="Replaced">Bytes of those that are <see cref="WasteReason.Replaced"/>.</param>
/// <param name="Deleted">Bytes of those that are <see cref="WasteReason.Deleted"/>.</param>
/// <param name="Duplicate">Bytes of those that are <see cref="WasteReason.Duplicate"/>.</param>
public sealed record LayerWaste(int Layer, long Files, long Size, long Replaced, long Deleted, long Duplicate)
{
    /// <summary>All bytes that are wasted.</summary>
    public long Wasted => Replaced + Deleted + Duplicate;
}

/// <summary>The wasted files of one path in all layers.</summary>
/// <param name="Path">The path as layers list it.</param>
/// <param name="Size">Their bytes.</param>
/// <param name="Layers">The layers that hold them, lowest first.</param>
/// <param name="Reasons">Why they are wasted, each reason once.</param>
public sealed record PathWaste(byte[] Path, long Size, IReadOnlyList<int> Layers, IReadOnlyList<WasteReason> Reasons);

/// <summary>
/// Bytes of an image's files that no one can see, or that a lower layer has already. Sizes are those that the layers store, uncompressed and
/// without holes.
/// </summary>
/// <param name="Layers">Every layer, lowest first.</param>
/// <param name="Paths">The paths with the most waste, most first.</param>
public sealed record WastedBytes(IReadOnlyList<LayerWaste> Layers, IReadOnlyList<PathWaste> Paths)
{
    /// <summary>Number of all files of all layers.</summary>
    public long Files => Layers.Sum(layer => layer.Files);

    /// <summary>Their bytes.</summary>
    public long Size => Layers.Sum(layer => layer.Size);

    /// <summary>Those of them that are wasted.</summary>
    public long Wasted => Layers.Sum(layer => layer.Wasted);

    /// <summary>The share of all bytes that is not wasted, from 0 to 1; 1 for an image without files.</summary>
    public double Efficiency => Size == 0 ? 1 : 1 - ((double)Wasted / Size);

    /// <summary>Measures the waste of an image. Reads no content.</summary>
    /// <param name="layers">All layers, lowest first.</param>
    /// <param name="pathCount">The most paths to list.</param>
    /// <param name="pathDepth">Paths of more names than this are summed in their directory of so many names.</param>
    /// <param name="cancellationToken">Ends it between two layers.</param>
    /// <exception cref="InvalidDataException">The layers make no tree.</exception>
    public static WastedBytes Measure(IReadOnlyList<LayerIndex> layers, int pathCount, int pathDepth, CancellationToken cancellationToken)
    {
        MergedTree tree = Merge(layers, cancellationToken, out WasteReason[] reasons);
        var files = new long[layers.Count];
        var sizes = new long[layers.Count, 1 + (int)WasteReason.Duplicate];
        var paths = new WastedPaths(tree, pathDepth);
        for (int target = 1; target < reasons.Length; target++)
        {
            if (tree.EntryOf(target).Type != EntryType.File)
            {
                continue;
            }
            long size = StoredSize(tree, target);
            files[tree.LayerOf(target)]++;
            sizes[tree.LayerOf(target), (int)reasons[target]] += size;
            if (reasons[target] != WasteReason.None)
            {
                paths.Add(target, size);
            }
        }
        long Of(int layer, WasteReason reason) => sizes[layer, (int)reason];
        return new WastedBytes(
            [.. files.Select((count, layer) => new LayerWaste(layer, count, Enum.GetValues<WasteReason>().Sum(reason => Of(layer, reason)),
                Of(layer, WasteReason.Replaced), Of(layer, WasteReason.Deleted), Of(layer, WasteReason.Duplicate)))],
            paths.Largest(pathCount, reasons));
    }

    // Merges all layers, and says of each object, if it is a file, why it is wasted.
    private static MergedTree Merge(IReadOnlyList<LayerIndex> layers, CancellationToken cancellationToken, out WasteReason[] reasons)
    {
        var steps = new LayerSteps(layers, cancellationToken);
        MergedTree tree = steps.Tree;
        List<WasteReason> lost = []; // by object: what happened to the last name that it lost
        while (steps.Next())
        {
            CollectionsMarshal.SetCount(lost, tree.ObjectCount);
            foreach ((int was, int current) in steps.ChangesBelow(TreeSlots.Root, TreeSlots.Root))
            {
                if (was >= 0)
                {
                    lost[was] = current >= 0 ? WasteReason.Replaced : WasteReason.Deleted;
                }
            }
        }
        var isVisible = new bool[tree.ObjectCount];
        for (int slot = 0; slot < tree.Slots.Count; slot++)
        {
            if (tree.Slots.ObjectOf(slot) is >= 0 and var target)
            {
                isVisible[target] = true;
            }
        }
        var lowest = new Dictionary<ContentIdentity, short>(); // the layer that has a visible file of the content
        reasons = new WasteReason[isVisible.Length];
        for (int target = 1; target < reasons.Length; target++) // lower layers first
        {
            short layer = tree.LayerOf(target);
            ref readonly LayerEntry entry = ref tree.EntryOf(target);
            if (!isVisible[target])
            {
                reasons[target] = lost[target] == WasteReason.Deleted ? WasteReason.Deleted : WasteReason.Replaced; // none: by a later entry of its own layer
            }
            else if (entry is { Type: EntryType.File, Size: > 0 } && ContentIdentity.Of(tree.Layers[layer], entry) is { } identity && !lowest.TryAdd(identity, layer) && lowest[identity] < layer)
            {
                reasons[target] = WasteReason.Duplicate;
            }
        }
        return tree;
    }

    // Bytes that the layer stores of an object that is a file.
    private static long StoredSize(MergedTree tree, int target)
    {
        ref readonly LayerEntry entry = ref tree.EntryOf(target);
        return entry.SparseMap > 0 ? tree.Layers[tree.LayerOf(target)].SparseMaps[entry.SparseMap - 1].StoredSize : entry.Size;
    }

    /// <summary>Sums waste by path, or by directory where paths are deeper than asked for, whichever layers list the path. Takes memory for the paths that have waste.</summary>
    private sealed class WastedPaths(MergedTree tree, int depth)
    {
        private readonly TreeSlots _paths = new(0, default);
        private readonly int[]?[] _known = new int[]?[tree.Layers.Count]; // by layer and path of the layer: its slot; 0: not known yet
        private readonly List<long> _sizes = [0]; // by slot
        private readonly List<int> _depths = [0]; // by slot
        private readonly List<int> _files = [];

        public void Add(int target, long size)
        {
            int slot = SlotOf(target);
            if (_sizes.Count < _paths.Count)
            {
                CollectionsMarshal.SetCount(_sizes, _paths.Count);
            }
            _sizes[slot] += size;
            _files.Add(target);
        }

        public IReadOnlyList<PathWaste> Largest(int count, WasteReason[] reasons)
        {
            var smallestFirst = new PriorityQueue<int, (long Size, int Later)>(); // of two of one size, the one that was met first is listed
            for (int slot = 1; slot < _sizes.Count; slot++)
            {
                if (_sizes[slot] == 0)
                {
                    continue;
                }
                smallestFirst.Enqueue(slot, (_sizes[slot], -slot));
                if (smallestFirst.Count > count)
                {
                    smallestFirst.Dequeue();
                }
            }
            Dictionary<int, (SortedSet<int> Layers, SortedSet<WasteReason> Reasons)> found = smallestFirst.UnorderedItems.ToDictionary(item => item.Element, _ => (new SortedSet<int>(), new SortedSet<WasteReason>()));
            foreach (int target in _files)
            {
                if (found.TryGetValue(SlotOf(target), out var path))
                {
                    path.Layers.Add(tree.LayerOf(target));
                    path.Reasons.Add(reasons[target]);
                }
            }
            return [.. found.OrderByDescending(path => _sizes[path.Key]).ThenBy(path => path.Key)
                .Select(path => new PathWaste(_paths.PathOf(path.Key), _sizes[path.Key], [.. path.Value.Layers], [.. path.Value.Reasons]))];
        }

        private int SlotOf(int target)
        {
            short layer = tree.LayerOf(target);
            LayerPaths paths = tree.Layers[layer].Paths;
            int[] known = _known[layer] ??= new int[paths.Count];
            var names = new Stack<int>();
            int path = tree.EntryOf(target).Path;
            for (; path != 0 && known[path] == 0; path = paths.Parent(path))
            {
                names.Push(path);
            }
            int slot = known[path];
            while (names.TryPop(out path))
            {
                int directoryDepth = _depths[slot];
                if (directoryDepth >= depth)
                {
                    known[path] = slot;
                    continue;
                }
                slot = known[path] = _paths.FindOrAdd(slot, paths.Name(path));
                if (_depths.Count < _paths.Count)
                {
                    _depths.Add(directoryDepth + 1);
                }
                if (!_paths.IsDirectory(slot))
                {
                    _paths.Replace(slot, TreeSlots.ImplicitDirectory, isDirectory: true);
                }
            }
            return slot;
        }
    }
}
