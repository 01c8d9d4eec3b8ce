using LazyMount.Indexes.Model;

namespace LazyMount.FileSystem;

/// <summary>
/// What each layer of an image did to one path. It asks the merge what stands at the path before and after each layer, and compares:
/// there are no rules here about what layers hide.
/// </summary>
public sealed class PathLog
{
    private readonly LayerSteps _steps;
    private readonly byte[] _path;

    // What was looked at on the way to the path, root first, and the first of it that a layer takes something away from.
    private readonly List<int> _way = [];
    private (int Step, int Slot, Covering How)? _cover;

    private PathLog(IReadOnlyList<LayerIndex> layers, byte[] path, CancellationToken cancellationToken)
    {
        (_steps, _path) = (new LayerSteps(layers, cancellationToken), path);
        _steps.Tree.Covers = Note;
    }

    /// <summary>
    /// The layers that did something to a path, lowest first, merged one after the other as they are asked for. Symbolic links on the way are
    /// followed in the tree of the moment, one at the path itself is not.
    /// </summary>
    /// <param name="layers">All layers, lowest first.</param>
    /// <param name="path">The path; a relative one starts at the root.</param>
    /// <param name="cancellationToken">Ends it between two layers.</param>
    /// <exception cref="InvalidDataException">The layers make no tree.</exception>
    public static IEnumerable<PathEvent> Of(IReadOnlyList<LayerIndex> layers, byte[] path, CancellationToken cancellationToken)
        => new PathLog(layers, path, cancellationToken).Follow();

    private IEnumerable<PathEvent> Follow()
    {
        Standing? before = null;
        while (Next(out Standing? now))
        {
            if (Compare(before, now) is { } found)
            {
                yield return found;
            }
            before = now;
        }
    }

    private bool Next(out Standing? now)
    {
        _cover = null;
        now = null;
        if (!_steps.Next())
        {
            return false;
        }
        _way.Clear();
        _way.Add(TreeSlots.Root);
        if (PathResolver.Resolve(new Slots(_steps.Tree, _way), _path, followFinal: false, out ResolvedPath found) == Errno.None)
        {
            int slot = (int)found.Node;
            now = new Standing(slot, _steps.Tree.Slots.ObjectOf(slot), _steps.Tree.Slots.IsDirectory(slot), found.Path);
        }
        return true;
    }

    private void Note(int slot, Covering how)
    {
        int step = _way.IndexOf(slot);
        if (step >= 0 && (_cover is null || step < _cover.Value.Step))
        {
            _cover = (step, slot, how);
        }
    }

    private PathEvent? Compare(Standing? before, Standing? now) => (before, now) switch
    {
        (null, null) => null,
        (null, { } there) => Added(there),
        ({ } gone, null) => Gone(gone),
        ({ } old, { } there) => Changed(old, there),
    };

    private PathEvent Added(Standing now)
    {
        PathEvent found = Event(PathAction.Added, now, BelowSums(TreeSlots.None, DirectoryOf(now)));
        if (_steps.Layer > 0 && _steps.Before(now.Slot) >= 0)
        {
            // It stood there already: what is new is a link on the way, or a directory that the path leaves by "..".
            int through = _way.Find(slot => _steps.Before(slot) != _steps.Tree.Slots.ObjectOf(slot) && !(WasDirectory(slot) && _steps.Tree.Slots.IsDirectory(slot)));
            return found with { By = _steps.Tree.Slots.PathOf(through), Covering = Covering.Replaced };
        }
        return LinkedTo(now) is { } name ? found with { Action = PathAction.Linked, By = name } : found;
    }

    private bool WasDirectory(int slot) => _steps.Before(slot) is >= 0 and var was && FileMode.IsDirectory(FlatTree.NodeOf(_steps.Tree, was).Mode);

    private PathEvent Gone(Standing before)
    {
        PathEvent found = Event(PathAction.Hidden, before, BelowSums(DirectoryOf(before), TreeSlots.None));
        if (_cover is not { } cover)
        {
            return found;
        }
        return cover.Slot == before.Slot && cover.How == Covering.Whiteout
            ? found with { Action = PathAction.Deleted }
            : found with { By = _steps.Tree.Slots.PathOf(cover.Slot), Covering = cover.How };
    }

    private PathEvent? Changed(Standing before, Standing now)
    {
        BelowSums? below = before.IsDirectory || now.IsDirectory ? BelowSums(DirectoryOf(before), DirectoryOf(now)) : null;
        PathChanges changes = before.Object == now.Object ? PathChanges.None : Difference(before.Object, now.Object);
        PathEvent found = Event(PathAction.Changed, now, below) with { Changes = changes };
        if (_cover is { } cover && cover.Slot != before.Slot && !before.Path.AsSpan().SequenceEqual(now.Path))
        {
            found = found with { By = _steps.Tree.Slots.PathOf(cover.Slot), Covering = cover.How };
        }
        else if (changes != PathChanges.None && LinkedTo(now) is { } name)
        {
            return found with { Action = PathAction.Linked, By = name };
        }
        if (changes != PathChanges.None || below is { IsEmpty: false })
        {
            return found;
        }
        return !now.IsDirectory && NewNameOf(now.Object) is { } further ? found with { Action = PathAction.Linked, By = further } : null;
    }

    private PathEvent Event(PathAction action, Standing at, BelowSums? below) => new()
    {
        Layer = _steps.Layer,
        Action = action,
        Path = at.Path,
        Node = PathNode.Of(FlatTree.NodeOf(_steps.Tree, at.Object)),
        Below = below,
    };

    private static int DirectoryOf(Standing at) => at.IsDirectory ? at.Slot : TreeSlots.None;

    // The name that a new hard link leads to, as the layer that has the file lists it; null for what is no hard link.
    private byte[]? LinkedTo(Standing now)
    {
        if (now.IsDirectory)
        {
            return null;
        }
        MergedTree tree = _steps.Tree;
        short layer = tree.LayerOf(now.Object);
        byte[] listed = tree.Layers[layer].Paths.PathOf(tree.EntryOf(now.Object).Path);
        bool isOwn = layer == _steps.Layer && PathResolver.Resolve(new Slots(tree, []), listed, followFinal: false, out ResolvedPath own) == Errno.None && (int)own.Node == now.Slot;
        return isOwn ? null : listed;
    }

    // A name that an object has now and had not before. A directory that is made anew has the same names in other slots.
    private byte[]? NewNameOf(int target)
    {
        TreeSlots slots = _steps.Tree.Slots;
        List<int> before = [], now = [];
        for (int slot = 1; slot < slots.Count; slot++)
        {
            bool was = _steps.Before(slot) == target, isNow = slots.ObjectOf(slot) == target;
            if (was != isNow)
            {
                (was ? before : now).Add(slot);
            }
        }
        List<byte[]> known = [.. before.Select(slots.PathOf)];
        return now.Select(slots.PathOf).FirstOrDefault(path => !known.Exists(old => old.AsSpan().SequenceEqual(path)));
    }

    private BelowSums? BelowSums(int before, int now)
    {
        if (before < 0 && now < 0)
        {
            return null;
        }
        var (added, changed, deleted) = (new Sum(_steps.Tree), new Sum(_steps.Tree), new Sum(_steps.Tree));
        foreach ((int was, int current) in _steps.ChangesBelow(before, now))
        {
            if (was < 0)
            {
                added.Add(current);
            }
            else if (current < 0)
            {
                deleted.Add(was);
            }
            else if (Difference(was, current) != PathChanges.None)
            {
                changed.Add(current);
            }
        }
        return new BelowSums(added.Total, changed.Total, deleted.Total);
    }

    // Between two objects, which are not the same one.
    private PathChanges Difference(int was, int now)
    {
        MergedTree tree = _steps.Tree;
        FlatTree.Node old = FlatTree.NodeOf(tree, was), current = FlatTree.NodeOf(tree, now);
        bool isSameType = ((old.Mode ^ current.Mode) & FileMode.TypeMask) == 0;
        PathChanges changes = isSameType ? PathChanges.None : PathChanges.Type;
        changes |= ((old.Mode ^ current.Mode) & 0xFFF) != 0 ? PathChanges.Mode : 0;
        changes |= (old.Uid, old.Gid) != (current.Uid, current.Gid) ? PathChanges.Owner : 0;
        changes |= (old.MtimeSeconds, old.MtimeNanoseconds) != (current.MtimeSeconds, current.MtimeNanoseconds) ? PathChanges.Time : 0;
        changes |= !HasSameXattrs(old, current) ? PathChanges.Xattrs : 0;
        if (!isSameType)
        {
            return changes;
        }
        switch (current.Mode & FileMode.TypeMask)
        {
            case FileMode.Directory:
                return changes;
            case FileMode.Regular when !ContentIdentity.AreEqual(tree.Layers[old.Layer], tree.EntryOf(was), tree.Layers[current.Layer], tree.EntryOf(now)):
                return changes | PathChanges.Content;
            case FileMode.Symlink when !old.LinkTarget.Span.SequenceEqual(current.LinkTarget.Span):
                return changes | PathChanges.Target;
            case FileMode.CharacterDevice or FileMode.BlockDevice when (old.DeviceMajor, old.DeviceMinor) != (current.DeviceMajor, current.DeviceMinor):
                return changes | PathChanges.Device;
            default:
                return changes == PathChanges.None || FileMode.IsRegular(current.Mode) && current.Size > 0 ? changes | PathChanges.Rewritten : changes;
        }
    }

    private bool HasSameXattrs(in FlatTree.Node old, in FlatTree.Node current)
    {
        Xattr[] left = XattrsOf(old), right = XattrsOf(current);
        return left.Length == right.Length && left.Zip(right).All(pair => pair.First.Name.Span.SequenceEqual(pair.Second.Name.Span) && pair.First.Value.Span.SequenceEqual(pair.Second.Value.Span));
    }

    private Xattr[] XattrsOf(in FlatTree.Node node) => node.XattrSet < 0 ? [] : _steps.Tree.Layers[node.Layer].XattrSets[node.XattrSet];

    private sealed record Standing(int Slot, int Object, bool IsDirectory, byte[] Path);

    private sealed class Sum(MergedTree tree)
    {
        private readonly HashSet<int> _files = [];
        private long _names, _size;

        public NameSum Total => new(_names, _size);

        public void Add(int target)
        {
            _names++;
            if (target != TreeSlots.ImplicitDirectory && tree.EntryOf(target) is { Type: EntryType.File, Size: > 0 and var size } && _files.Add(target))
            {
                _size += size;
            }
        }
    }

    /// <summary>The merged tree as paths are walked in it; notes the slots that are looked at.</summary>
    private readonly struct Slots(MergedTree tree, List<int> way) : IPathTree
    {
        public ulong Root => TreeSlots.Root;

        public ulong? Find(ulong directory, ReadOnlySpan<byte> name)
        {
            int slot = tree.Slots.Find((int)directory, name);
            if (slot < 0)
            {
                return null;
            }
            way.Add(slot);
            return (ulong)slot;
        }

        public uint TypeOf(ulong node) => FlatTree.NodeOf(tree, tree.Slots.ObjectOf((int)node)).Mode & FileMode.TypeMask;

        public ReadOnlySpan<byte> LinkTarget(ulong node) => tree.TryGetLinkTarget(tree.Slots.ObjectOf((int)node), out ReadOnlyMemory<byte> link) ? link.Span : default;
    }
}
