using System.Text;
using LazyMount.Layers;

namespace LazyMount.FileSystem;

/// <summary>
/// Merges layers into one tree with overlay semantics (image-spec v1.1, layer.md "Applying Changesets").
/// <para>Each layer is applied in two passes. First its whiteouts and opaque markers hide what lower layers left, wherever
/// they stand in the tar; so they can never hide a sibling of their own layer. Then its entries are applied in tar order,
/// the later winning: a directory over a directory takes the new attributes and keeps the children, anything else
/// replaces what stood there.</para>
/// <para>Paths are followed as in the layer's own directory: a symbolic link of the same layer is followed (within the
/// root), one of a lower layer is covered by a directory. Parents that no layer lists are root-owned 0755 directories.</para>
/// </summary>
public static class TreeBuilder
{
    /// <summary>Merges, lowest layer first. Throws <see cref="InvalidDataException"/> for a hard link without a target.</summary>
    public static ImageTree Build(IReadOnlyList<LayerIndex> layers)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(layers.Count, short.MaxValue);
        var tree = new MergedTree(layers);
        for (int layer = 0; layer < layers.Count; layer++)
        {
            new LayerPass(tree, layers[layer], (short)layer).Apply();
        }
        return tree.Flatten();
    }

    /// <summary>One layer on its way into the tree.</summary>
    private sealed class LayerPass(MergedTree tree, LayerIndex index, short layer)
    {
        // As Linux has it (MAXSYMLINKS).
        private const int MaxFollowedLinks = 40;

        // Path node -> tree slot, valid while _epochs[path] equals _epoch: which is until a directory is replaced, for
        // then what was remembered below it leads into the old one.
        private readonly int[] _slots = new int[index.Paths.Count];
        private readonly int[] _epochs = new int[index.Paths.Count];
        private readonly Stack<int> _chain = new();
        private int _epoch = 1;

        public void Apply()
        {
            bool[] reserved = HideLower();
            List<int>? waiting = null;
            for (int i = 0; i < index.Entries.Length; i++)
            {
                ref readonly LayerEntry entry = ref index.Entries[i];
                if (reserved[entry.Path])
                {
                    continue;
                }
                if (entry.Type != EntryType.HardLink)
                {
                    Place(entry.Path, tree.AddObject(layer, i), entry.Type == EntryType.Directory);
                }
                else if (!reserved[entry.LinkPath] && !TryLink(entry))
                {
                    (waiting ??= []).Add(i);
                }
            }
            LinkForward(waiting);
        }

        // A link may stand before its target (no tool writes that, but nothing forbids it), even before another link.
        private void LinkForward(List<int>? waiting)
        {
            while (waiting is { Count: > 0 })
            {
                if (waiting.RemoveAll(i => TryLink(index.Entries[i])) == 0)
                {
                    ref readonly LayerEntry entry = ref index.Entries[waiting[0]];
                    throw new InvalidDataException($"layer {layer} has a hard link '{PathText(entry.Path)}' to '{PathText(entry.LinkPath)}', which does not exist or is a directory");
                }
            }
        }

        // Returns which paths are never shown: whiteouts, AUFS's own files and whatever stands below such a name.
        private bool[] HideLower()
        {
            var paths = index.Paths;
            var reserved = new bool[paths.Count];
            for (int path = 1; path < paths.Count; path++)
            {
                reserved[path] = reserved[paths.Parent(path)] || Whiteout.IsReserved(paths.Name(path));
            }
            foreach (ref readonly LayerEntry entry in index.Entries.AsSpan())
            {
                int parent = paths.Parent(entry.Path);
                if (!reserved[entry.Path] || reserved[parent] || FindDirectory(parent) is not (>= 0 and var directory))
                {
                    continue;
                }
                var name = paths.Name(entry.Path);
                if (Whiteout.IsOpaque(name))
                {
                    tree.DropChildren(directory);
                }
                else if (Whiteout.TryGetTarget(name, out var target) && tree.Find(directory, target) is >= 0 and var slot)
                {
                    tree.Remove(slot);
                }
            }
            return reserved;
        }

        // The directory slot at a path of the tree as the lower layers left it, or -1.
        private int FindDirectory(int path)
        {
            _chain.Clear();
            for (int at = path; at != 0; at = index.Paths.Parent(at))
            {
                _chain.Push(at);
            }
            int directory = MergedTree.Root;
            while (_chain.TryPop(out int at))
            {
                directory = tree.Find(directory, index.Paths.Name(at));
                if (directory < 0 || !tree.IsDirectory(directory))
                {
                    return -1;
                }
            }
            return directory;
        }

        private void Place(int path, int target, bool isDirectory)
        {
            if (path == 0)
            {
                if (isDirectory)
                {
                    tree.SetObject(MergedTree.Root, target);
                }
                return;
            }
            int slot = SlotAt(path);
            if (tree.IsDirectory(slot))
            {
                if (isDirectory)
                {
                    tree.SetObject(slot, target);
                    return;
                }
                _epoch++;
            }
            tree.Replace(slot, target, isDirectory);
        }

        private bool TryLink(in LayerEntry entry)
        {
            int parent = entry.LinkPath == 0 ? -1 : DirectoryOf(entry.LinkPath, create: false);
            int target = parent < 0 ? -1 : tree.Find(parent, index.Paths.Name(entry.LinkPath));
            if (target < 0 || tree.IsDirectory(target))
            {
                return false;
            }
            int linked = tree.ObjectOf(target);
            // A link onto itself changes nothing.
            if (SlotAt(entry.Path) != target)
            {
                Place(entry.Path, linked, isDirectory: false);
            }
            return true;
        }

        // The slot of a path, its parents made where missing.
        private int SlotAt(int path)
        {
            if (_epochs[path] != _epoch)
            {
                int slot = tree.FindOrAdd(DirectoryOf(path, create: true), index.Paths.Name(path));
                (_slots[path], _epochs[path]) = (slot, _epoch);
            }
            return _slots[path];
        }

        // The slot of the directory that holds a path, made where missing; without create, -1 when there is none.
        // A loop, not recursion: paths may be thousands of levels deep.
        private int DirectoryOf(int path, bool create)
        {
            int known = index.Paths.Parent(path);
            while (known != 0 && _epochs[known] != _epoch)
            {
                _chain.Push(known);
                known = index.Paths.Parent(known);
            }
            int directory = known == 0 ? MergedTree.Root : AsDirectory(_slots[known], create, followed: 0);
            while (_chain.TryPop(out int at))
            {
                if (directory >= 0)
                {
                    var name = index.Paths.Name(at);
                    int slot = create ? tree.FindOrAdd(directory, name) : tree.Find(directory, name);
                    if (slot >= 0)
                    {
                        (_slots[at], _epochs[at]) = (slot, _epoch);
                    }
                    directory = slot < 0 ? -1 : AsDirectory(slot, create, followed: 0);
                }
            }
            return directory;
        }

        private int AsDirectory(int slot, bool create, int followed)
        {
            if (tree.IsDirectory(slot))
            {
                return slot;
            }
            int target = tree.ObjectOf(slot);
            if (target >= 0 && tree.LayerOf(target) == layer && tree.EntryOf(target) is { Type: EntryType.Symlink } link)
            {
                return followed < MaxFollowedLinks
                    ? Follow(tree.ParentOf(slot), index.LinkTargets[link.LinkTarget].Span, create, followed + 1)
                    : throw new InvalidDataException($"layer {layer} has an entry below a symbolic link that leads to itself");
            }
            if (!create)
            {
                return -1;
            }
            tree.Replace(slot, MergedTree.ImplicitDirectory, isDirectory: true);
            return slot;
        }

        private int Follow(int directory, ReadOnlySpan<byte> target, bool create, int followed)
        {
            int at = target.StartsWith((byte)'/') ? MergedTree.Root : directory;
            foreach (var range in target.Split((byte)'/'))
            {
                var name = target[range];
                if (name.IsEmpty || name.SequenceEqual("."u8))
                {
                    continue;
                }
                if (name.SequenceEqual(".."u8))
                {
                    at = tree.ParentOf(at);
                    continue;
                }
                int slot = create ? tree.FindOrAdd(at, name) : tree.Find(at, name);
                at = slot < 0 ? -1 : AsDirectory(slot, create, followed);
                if (at < 0)
                {
                    return -1;
                }
            }
            return at;
        }

        private string PathText(int path)
        {
            var names = new Stack<string>();
            for (int at = path; at > 0; at = index.Paths.Parent(at))
            {
                names.Push(Encoding.UTF8.GetString(index.Paths.Name(at)));
            }
            return "/" + string.Join('/', names);
        }
    }
}
