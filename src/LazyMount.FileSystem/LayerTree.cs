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
/// <para>What stands below a reserved name, such as the content that AUFS keeps in <c>.wh..wh.plnk</c>, is applied as all else, so
/// that hard links find it, and taken out at the end.</para>
/// </summary>
internal sealed class LayerTree
{
    // Hard links to later hard links that are tried more than once, in all: a chain of n in the wrong order takes n * n / 2.
    private const int MaxRetriedLinks = 5_000_000;

    private const int NameMax = 255;

    private readonly MergedTree _below;
    private readonly LayerIndex _index;
    private readonly short _layer;
    private readonly int _number;
    private readonly TreeSlots _tree;
    private readonly LayerDirectories _directories;
    private readonly LinkTargets _linkTargets;

    /// <param name="below">The lower layers, merged.</param>
    /// <param name="layer">Which of the layers of <paramref name="below"/> is applied.</param>
    public LayerTree(MergedTree below, short layer)
    {
        (_below, _index, _layer, _number) = (below, below.Layers[layer], layer, below.NumberOf(layer));
        _tree = new TreeSlots(_index.Paths.Count, _index.Paths.Names);
        _directories = new LayerDirectories(_tree, below, _index.Paths, _number);
        _linkTargets = new LinkTargets(_tree, below, _index.Paths, _number);
        _below.Budget.Allow(_index.Paths.Count, _index.Entries.Length);
    }

    /// <summary>
    /// The layer is looked at by itself: whiteouts are ordinary files, left out when their names are too long for that, and a
    /// hard link without a target is no error but one of <see cref="DanglingLinks"/>.
    /// </summary>
    public bool IsAlone { get; init; }

    /// <summary>Entries that are hard links to what this layer does not have, and how many directories their names stand in. Null: none.</summary>
    public List<(int Entry, int Depth)>? DanglingLinks { get; private set; }

    /// <summary>Applies all entries. Throws <see cref="InvalidDataException"/> for a hard link without a target, and for a whiteout of no name.</summary>
    public TreeSlots Apply()
    {
        bool[] reserved = FindReserved(out bool hasMarkers);
        List<int>? waiting = null;
        for (int i = 0; i < _index.Entries.Length; i++)
        {
            ref readonly LayerEntry entry = ref _index.Entries[i];
            if (reserved[entry.Path] && IsReserved(_index.Paths.Name(entry.Path)))
            {
                if (!IsAlone && !reserved[_index.Paths.Parent(entry.Path)])
                {
                    Hide(entry.Path);
                }
            }
            else if (entry.Type != EntryType.HardLink)
            {
                Place(entry.Path, _below.AddObject(_layer, i), entry.Type == EntryType.Directory);
            }
            else if (!TryLink(i))
            {
                (waiting ??= []).Add(i);
            }
        }
        LinkForward(waiting);
        RemoveReserved();
        if (HideBehindDevices() || hasMarkers)
        {
            DropHollowDirectories();
        }
        return _tree;
    }

    // Names that are never shown: those of whiteouts and AUFS's own files (alone: what no file can be called).
    private bool IsReserved(ReadOnlySpan<byte> name) => IsAlone ? name.Length > NameMax : Whiteout.IsReserved(name);

    // By path: whether it has such a name or stands below one.
    private bool[] FindReserved(out bool any)
    {
        var paths = _index.Paths;
        var reserved = new bool[paths.Count];
        any = false;
        for (int path = 1; path < paths.Count; path++)
        {
            reserved[path] = reserved[paths.Parent(path)] || IsReserved(paths.Name(path));
            any |= reserved[path];
        }
        return reserved;
    }

    // Symbolic links can have led to such names as well, which no path of the layer tells.
    private void RemoveReserved()
    {
        for (int slot = 1; slot < _tree.Count; slot++)
        {
            if (_tree.ObjectOf(slot) >= 0 && IsReserved(_tree.NameOf(slot)))
            {
                _tree.Remove(slot);
            }
        }
    }

    private void Hide(int marker)
    {
        var name = _index.Paths.Name(marker);
        if (Whiteout.IsNameless(name))
        {
            throw new InvalidDataException($"layer {_number} has the entry '{PathText(marker)}', a whiteout without a name");
        }
        bool isOpaque = Whiteout.IsOpaque(name);
        if (!isOpaque && !Whiteout.TryGetTarget(name, out _))
        {
            return;
        }
        int directory = _directories.DirectoryOf(marker, Missing.MakeButNotOverFiles);
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
            _tree.Hide(_directories.FindOrAdd(directory, target), Hides.All);
        }
    }

    // overlayfs's own form of a whiteout: what a tar of its upper directory holds, and what containers see of such an entry.
    private bool HideBehindDevices()
    {
        bool any = false;
        for (int slot = 1; slot < _tree.Count && !IsAlone; slot++)
        {
            if (_tree.ObjectOf(slot) is > TreeSlots.ImplicitDirectory and var target
                && _below.EntryOf(target) is { Type: EntryType.CharacterDevice, DeviceMajor: 0, DeviceMinor: 0 })
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
            holds[_tree.ParentOf(slot)] |= holds[slot];
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
        int slot = _directories.SlotAt(path);
        if (isDirectory && _tree.IsDirectory(slot))
        {
            _tree.SetObject(slot, target);
            return;
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
                throw new InvalidDataException($"layer {_number} has hard links to later hard links, in chains too long to follow");
            }
            if (waiting.RemoveAll(TryLink) == 0)
            {
                if (IsAlone)
                {
                    DanglingLinks = [.. waiting.Select(entry => (entry, DepthOf(_index.Entries[entry].Path)))];
                    return;
                }
                ref readonly LayerEntry entry = ref _index.Entries[waiting[0]];
                throw new InvalidDataException($"layer {_number} has a hard link '{PathText(entry.Path)}' to '{PathText(entry.LinkPath)}', which does not exist or is a directory");
            }
        }
    }

    private int DepthOf(int path)
    {
        int depth = 0;
        for (int slot = _directories.DirectoryOf(path, Missing.Make); slot != TreeSlots.Root; slot = _tree.ParentOf(slot))
        {
            depth++;
        }
        _below.Budget.CountNames(_number, depth);
        return depth;
    }

    private bool TryLink(int i)
    {
        ref readonly LayerEntry entry = ref _index.Entries[i];
        if (entry.LinkPath == 0)
        {
            return false;
        }
        int parent = _directories.DirectoryOf(entry.LinkPath, Missing.Fail);
        int slot = parent < 0 ? -1 : _tree.Find(parent, _index.Paths.Name(entry.LinkPath));
        int target = slot >= 0 ? (_tree.IsDirectory(slot) ? -1 : _tree.ObjectOf(slot)) : _linkTargets.Find(entry.LinkPath);
        if (target < 0)
        {
            return false;
        }
        // A link onto itself changes nothing.
        if (_tree.ObjectOf(_directories.SlotAt(entry.Path)) != target)
        {
            Place(entry.Path, target, isDirectory: false);
        }
        // As containerd has it; a lower layer's file stays as it is.
        if (_below.LayerOf(target) == _layer)
        {
            _below.SetAttributes(target, i);
        }
        return true;
    }

    private string PathText(int path)
    {
        const int MaxShown = 200;
        string text = Encoding.UTF8.GetString(_index.Paths.PathOf(path));
        return text.Length <= MaxShown ? text : text[..MaxShown] + "…";
    }
}
