using System.Text;
using LazyMount.Indexes.Model;

namespace LazyMount.FileSystem;

/// <summary>
/// One layer applied on its own, in tar order, the later entry winning: a directory over a directory takes the new
/// attributes and keeps the children, anything else replaces what stood there. Whiteouts and opaque markers are marks on
/// slots; where they stand in the tar makes no difference, for they hide only lower layers.
/// <para>Paths are followed as in the layer's own directory: a symbolic link of this layer is followed (within the root),
/// what lower layers have is not looked at. Directories that it does not list, those of its whiteouts too, are made, and
/// show the attributes of a lower directory of that path if there is one.</para>
/// <para>Hard links may also name what lower layers have.</para>
/// </summary>
internal sealed class LayerTree(MergedTree below, LayerIndex index, short layer)
{
    // As containerd has it, in one look-up.
    private const int MaxFollowedLinks = 255;

    // Names looked up in link targets, in the whole layer: some seconds.
    private const int MaxFollowedNames = 20_000_000;

    // Hard links to later hard links that are tried more than once, in all: a chain of n in the wrong order takes n * n / 2.
    private const int MaxRetriedLinks = 5_000_000;

    private const int MaxPathShown = 200;

    private const int NameMax = 255;

    private readonly TreeSlots _tree = new(index.Paths.Count);

    // Path node -> slot, valid while _epochs[path] equals _epoch: which is until a directory or link is replaced, for then
    // what was remembered below it leads into the old one.
    private readonly int[] _slots = new int[index.Paths.Count];
    private readonly int[] _epochs = new int[index.Paths.Count];
    private readonly Stack<int> _chain = new();
    private int _epoch = 1;
    private int _followedLinks;
    private int _followedNames;

    /// <summary>
    /// The layer is looked at by itself: whiteouts are ordinary files, left out when their names are too long for that, and a
    /// hard link without a target is no error but one of <see cref="DanglingLinks"/>.
    /// </summary>
    public bool IsAlone { get; init; }

    /// <summary>Entries that are hard links to what this layer does not have, and how many directories their names stand in. Null: none.</summary>
    public List<(int Entry, int Depth)>? DanglingLinks { get; private set; }

    /// <summary>Applies all entries. Throws <see cref="InvalidDataException"/> for a hard link without a target.</summary>
    public TreeSlots Apply()
    {
        bool[] reserved = FindReserved(out bool hasWhiteouts);
        List<int>? waiting = null;
        for (int i = 0; i < index.Entries.Length; i++)
        {
            ref readonly LayerEntry entry = ref index.Entries[i];
            if (reserved[entry.Path])
            {
                if (!IsAlone && !reserved[index.Paths.Parent(entry.Path)])
                {
                    Hide(entry.Path);
                }
            }
            else if (entry.Type != EntryType.HardLink)
            {
                Place(entry.Path, below.AddObject(layer, i), entry.Type == EntryType.Directory);
            }
            else if (!reserved[entry.LinkPath] && !TryLink(i))
            {
                (waiting ??= []).Add(i);
            }
        }
        LinkForward(waiting);
        if (HideBehindDevices() || hasWhiteouts)
        {
            DropHollowDirectories();
        }
        return _tree;
    }

    // Which paths are never shown: whiteouts, AUFS's own files (alone: what no file can be called) and whatever stands below such a name.
    private bool[] FindReserved(out bool any)
    {
        var paths = index.Paths;
        var reserved = new bool[paths.Count];
        any = false;
        for (int path = 1; path < paths.Count; path++)
        {
            var name = paths.Name(path);
            reserved[path] = reserved[paths.Parent(path)] || (IsAlone ? name.Length > NameMax : Whiteout.IsReserved(name));
            any |= reserved[path];
        }
        return reserved;
    }

    private void Hide(int marker)
    {
        var name = index.Paths.Name(marker);
        bool isOpaque = Whiteout.IsOpaque(name);
        if (!isOpaque && !Whiteout.TryGetTarget(name, out _))
        {
            return;
        }
        int directory = DirectoryOf(marker, Missing.MakeButNotOverFiles);
        if (directory < 0)
        {
            return; // umoci repack writes a/.wh.b beside the file that a became
        }
        if (isOpaque)
        {
            _tree.Hide(directory, Hides.Children);
        }
        else if (Whiteout.TryGetTarget(name, out var target))
        {
            _tree.Hide(_tree.FindOrAdd(directory, target), Hides.All);
        }
    }

    // overlayfs's own form of a whiteout: what a tar of its upper directory holds, and what containers see of such an entry.
    private bool HideBehindDevices()
    {
        bool any = false;
        for (int slot = 1; slot < _tree.Count && !IsAlone; slot++)
        {
            if (_tree.ObjectOf(slot) is > TreeSlots.ImplicitDirectory and var target
                && below.EntryOf(target) is { Type: EntryType.CharacterDevice, DeviceMajor: 0, DeviceMinor: 0 })
            {
                _tree.Remove(slot);
                _tree.Hide(slot, Hides.All);
                any = true;
            }
        }
        return any;
    }

    // A directory that is whited out and was only made for the sake of whiteouts below it is not there.
    private void DropHollowDirectories()
    {
        var holds = new bool[_tree.Count];
        for (int slot = _tree.Count - 1; slot > 0; slot--)
        {
            int target = _tree.ObjectOf(slot);
            holds[slot] |= target > TreeSlots.ImplicitDirectory;
            if (target == TreeSlots.ImplicitDirectory && !holds[slot] && (_tree.HidesOf(slot) & Hides.All) != 0)
            {
                _tree.Remove(slot);
            }
            holds[_tree.ParentOf(slot)] |= holds[slot] && _tree.IsInParent(slot);
        }
    }

    private void Place(int path, int target, bool isDirectory)
    {
        if (path == 0)
        {
            if (isDirectory)
            {
                _tree.SetObject(TreeSlots.Root, target);
            }
            return;
        }
        int slot = SlotAt(path);
        if (_tree.IsDirectory(slot))
        {
            if (isDirectory)
            {
                _tree.SetObject(slot, target);
                return;
            }
            _epoch++;
        }
        else if (_tree.ObjectOf(slot) is >= 0 and var old && below.TryGetLinkTarget(old, out _))
        {
            _epoch++;
        }
        _tree.Replace(slot, target, isDirectory);
    }

    // A link may stand before its target (no tool writes that, but nothing forbids it), even before another link.
    private void LinkForward(List<int>? waiting)
    {
        for (long retried = 0; waiting is { Count: > 0 }; retried += waiting.Count)
        {
            if (retried > MaxRetriedLinks)
            {
                throw new InvalidDataException($"layer {layer} has hard links to later hard links, and those to later ones again, too deep to follow");
            }
            if (waiting.RemoveAll(TryLink) == 0)
            {
                if (IsAlone)
                {
                    DanglingLinks = [.. waiting.Select(entry => (entry, DepthOf(index.Entries[entry].Path)))];
                    return;
                }
                ref readonly LayerEntry entry = ref index.Entries[waiting[0]];
                throw new InvalidDataException($"layer {layer} has a hard link '{PathText(entry.Path)}' to '{PathText(entry.LinkPath)}', which does not exist or is a directory");
            }
        }
    }

    private int DepthOf(int path)
    {
        int depth = 0;
        for (int slot = DirectoryOf(path, Missing.Make); slot != TreeSlots.Root; slot = _tree.ParentOf(slot))
        {
            depth++;
        }
        return depth;
    }

    private bool TryLink(int i)
    {
        ref readonly LayerEntry entry = ref index.Entries[i];
        if (entry.LinkPath == 0)
        {
            return false;
        }
        int parent = DirectoryOf(entry.LinkPath, Missing.Fail);
        int slot = parent < 0 ? -1 : _tree.Find(parent, index.Paths.Name(entry.LinkPath));
        int target = slot >= 0 ? (_tree.IsDirectory(slot) ? -1 : _tree.ObjectOf(slot)) : FindInBoth(entry.LinkPath);
        if (target < 0)
        {
            return false;
        }
        // A link onto itself changes nothing.
        if (_tree.ObjectOf(SlotAt(entry.Path)) != target)
        {
            Place(entry.Path, target, isDirectory: false);
        }
        // As containerd has it; a lower layer's file stays as it is.
        if (below.LayerOf(target) == layer)
        {
            below.SetAttributes(target, i);
        }
        return true;
    }

    // The object at a path of this layer over those below, which is no directory; or -1.
    private int FindInBoth(int path)
    {
        var names = new Stack<ReadOnlyMemory<byte>>();
        for (int at = path; at != 0; at = index.Paths.Parent(at))
        {
            names.Push(index.Paths.Name(at).ToArray());
        }
        var trail = new List<(int Here, int Below)> { (TreeSlots.Root, TreeSlots.Root) };
        _followedLinks = 0;
        while (names.TryPop(out ReadOnlyMemory<byte> name))
        {
            CountName();
            if (name.Span.SequenceEqual(".."u8))
            {
                trail.RemoveRange(Math.Max(1, trail.Count - 1), trail.Count > 1 ? 1 : 0);
                continue;
            }
            (int here, int under) = trail[^1];
            int slot = here < 0 ? -1 : _tree.FindSlot(here, name.Span);
            bool isHidden = here >= 0 && ((_tree.HidesOf(here) & Hides.Children) != 0 || (slot >= 0 && (_tree.HidesOf(slot) & Hides.All) != 0));
            int lower = isHidden || under < 0 ? -1 : below.Slots.Find(under, name.Span);
            int target = slot >= 0 && _tree.ObjectOf(slot) >= 0 ? _tree.ObjectOf(slot) : lower >= 0 ? below.Slots.ObjectOf(lower) : -1;
            if (target < 0)
            {
                return -1;
            }
            bool isHere = slot >= 0 && _tree.ObjectOf(slot) >= 0;
            if (isHere ? _tree.IsDirectory(slot) : below.Slots.IsDirectory(lower))
            {
                trail.Add((isHere ? slot : -1, lower >= 0 && below.Slots.IsDirectory(lower) ? lower : -1));
                continue;
            }
            if (names.Count == 0)
            {
                return target;
            }
            if (!below.TryGetLinkTarget(target, out ReadOnlyMemory<byte> link))
            {
                return -1;
            }
            CountLink();
            if (link.Span.StartsWith((byte)'/'))
            {
                trail.RemoveRange(1, trail.Count - 1);
            }
            for (int end = link.Length; end > 0;)
            {
                int start = link.Span[..end].LastIndexOf((byte)'/') + 1;
                if (end > start && !link.Span[start..end].SequenceEqual("."u8))
                {
                    names.Push(link[start..end]);
                }
                end = start - 1;
            }
        }
        return -1;
    }

    // The slot of a path, its parents made where missing.
    private int SlotAt(int path)
    {
        if (_epochs[path] != _epoch)
        {
            int slot = _tree.FindOrAdd(DirectoryOf(path, Missing.Make), index.Paths.Name(path));
            (_slots[path], _epochs[path]) = (slot, _epoch);
        }
        return _slots[path];
    }

    /// <summary>What to do where a directory is wanted and there is none.</summary>
    private enum Missing
    {
        Fail,
        Make,
        MakeButNotOverFiles,
    }

    // The slot of the directory that holds a path, or -1.
    // A loop, not recursion: paths may be thousands of levels deep.
    private int DirectoryOf(int path, Missing missing)
    {
        _followedLinks = 0;
        int known = index.Paths.Parent(path);
        while (known != 0 && _epochs[known] != _epoch)
        {
            _chain.Push(known);
            known = index.Paths.Parent(known);
        }
        int directory = known == 0 ? TreeSlots.Root : AsDirectory(_slots[known], missing);
        while (_chain.TryPop(out int at))
        {
            if (directory >= 0)
            {
                var name = index.Paths.Name(at);
                int slot = missing == Missing.Fail ? _tree.Find(directory, name) : _tree.FindOrAdd(directory, name);
                if (slot >= 0)
                {
                    (_slots[at], _epochs[at]) = (slot, _epoch);
                }
                directory = slot < 0 ? -1 : AsDirectory(slot, missing);
            }
        }
        return directory;
    }

    private int AsDirectory(int slot, Missing missing)
    {
        if (_tree.IsDirectory(slot))
        {
            return slot;
        }
        int target = _tree.ObjectOf(slot);
        if (target >= 0 && below.TryGetLinkTarget(target, out ReadOnlyMemory<byte> link))
        {
            CountLink();
            return Follow(_tree.ParentOf(slot), link.Span, missing);
        }
        if (missing == Missing.Fail || (target >= 0 && missing == Missing.MakeButNotOverFiles))
        {
            return -1;
        }
        _tree.Replace(slot, TreeSlots.ImplicitDirectory, isDirectory: true);
        return slot;
    }

    private int Follow(int directory, ReadOnlySpan<byte> target, Missing missing)
    {
        int at = target.StartsWith((byte)'/') ? TreeSlots.Root : directory;
        foreach (var range in target.Split((byte)'/'))
        {
            var name = target[range];
            CountName();
            if (name.IsEmpty || name.SequenceEqual("."u8))
            {
                continue;
            }
            if (name.SequenceEqual(".."u8))
            {
                at = _tree.ParentOf(at);
                continue;
            }
            if (name.Length > NameMax)
            {
                throw new InvalidDataException($"layer {layer} has an entry below a symbolic link to a name of {name.Length} bytes, longer than the {NameMax} that Linux allows");
            }
            int slot = missing == Missing.Fail ? _tree.Find(at, name) : _tree.FindOrAdd(at, name);
            at = slot < 0 ? -1 : AsDirectory(slot, missing);
            if (at < 0)
            {
                return -1;
            }
        }
        return at;
    }

    private void CountLink()
    {
        if (++_followedLinks > MaxFollowedLinks)
        {
            throw new InvalidDataException($"layer {layer} has an entry or a hard link below a symbolic link that leads to itself, or over more than {MaxFollowedLinks} others");
        }
    }

    private void CountName()
    {
        if (++_followedNames > MaxFollowedNames)
        {
            throw new InvalidDataException($"layer {layer} has entries below symbolic links that lead over more than {MaxFollowedNames} names together");
        }
    }

    private string PathText(int path)
    {
        var names = new Stack<string>();
        for (int at = path; at > 0; at = index.Paths.Parent(at))
        {
            names.Push(Encoding.UTF8.GetString(index.Paths.Name(at)));
        }
        string text = "/" + string.Join('/', names);
        return text.Length <= MaxPathShown ? text : text[..MaxPathShown] + "…";
    }
}
