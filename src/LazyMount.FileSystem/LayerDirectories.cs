using LazyMount.Indexes.Model;

namespace LazyMount.FileSystem;

/// <summary>What to do where a directory is wanted and there is none.</summary>
internal enum Missing
{
    /// <summary>Look only.</summary>
    Fail,

    /// <summary>Make one, also in place of a file.</summary>
    Make,

    /// <summary>Make one, but not where a file stands.</summary>
    MakeButNotOverFiles,
}

/// <summary>
/// Where the paths of one layer lead in its own tree: symbolic links of this layer are followed, within the root, and
/// directories are made where they are missing.
/// <para>The slot of a path that leads over no symbolic link is remembered until <see cref="TreeSlots"/> drops it, so that an
/// entry costs one look-up however deep it stands. Paths below links are walked from the link each time.</para>
/// </summary>
internal sealed class LayerDirectories(TreeSlots tree, MergedTree below, LayerPaths paths, int number)
{
    // Directories that a layer may make besides those of its own paths: below link targets, and again where they were replaced.
    private const int MaxFurtherNames = 1_000_000;

    private const int NameMax = 255;

    private const int Unknown = 0; // the root's slot, which is not kept here

    private readonly int[] _slots = new int[paths.Count];
    private readonly Stack<int> _chain = new();

    /// <summary>The slot of a path, its directories made where missing.</summary>
    public int SlotAt(int path)
    {
        if (IsKnown(path))
        {
            return _slots[path];
        }
        int directory = Walk(path, Missing.Make, out bool isPlain);
        int slot = FindOrAdd(directory, paths.Name(path));
        _slots[path] = isPlain ? slot : Unknown;
        return slot;
    }

    /// <summary>The slot of the directory that holds a path, or -1.</summary>
    public int DirectoryOf(int path, Missing missing) => Walk(path, missing, out _);

    /// <summary>The slot of a name in a directory, empty if it is new.</summary>
    public int FindOrAdd(int directory, ReadOnlySpan<byte> name)
    {
        int slot = tree.FindOrAdd(directory, name);
        if (tree.Count > paths.Count + MaxFurtherNames)
        {
            throw new InvalidDataException($"layer {number} makes more than {MaxFurtherNames} names besides its {paths.Count} paths, below symbolic links or below the entries that it replaces");
        }
        return slot;
    }

    private bool IsKnown(int path) => _slots[path] != Unknown && tree.IsThere(_slots[path]);

    // A loop, not recursion: paths may be thousands of levels deep. Plain: no symbolic link was followed.
    private int Walk(int path, Missing missing, out bool isPlain)
    {
        below.Budget.Begin();
        int known = paths.Parent(path);
        for (; known != 0 && !IsKnown(known); known = paths.Parent(known))
        {
            _chain.Push(known);
        }
        below.Budget.CountNames(number, 1 + _chain.Count);
        int slot = known == 0 ? TreeSlots.Root : _slots[known];
        int directory = AsDirectory(slot, missing);
        isPlain = directory == slot;
        while (directory >= 0 && _chain.TryPop(out int at))
        {
            slot = missing == Missing.Fail ? tree.Find(directory, paths.Name(at)) : FindOrAdd(directory, paths.Name(at));
            if (slot < 0)
            {
                directory = -1;
                break;
            }
            if (isPlain)
            {
                _slots[at] = slot;
            }
            directory = AsDirectory(slot, missing);
            isPlain &= directory == slot;
        }
        _chain.Clear();
        return directory;
    }

    private int AsDirectory(int slot, Missing missing)
    {
        if (tree.IsDirectory(slot))
        {
            return slot;
        }
        int target = tree.ObjectOf(slot);
        if (target >= 0 && below.TryGetLinkTarget(target, out ReadOnlyMemory<byte> link))
        {
            below.Budget.CountLink(number);
            return Follow(tree.ParentOf(slot), link.Span, missing);
        }
        if (missing == Missing.Fail || (target >= 0 && missing == Missing.MakeButNotOverFiles))
        {
            return -1;
        }
        tree.Replace(slot, TreeSlots.ImplicitDirectory, isDirectory: true);
        return slot;
    }

    // Recursion, with AsDirectory, is as deep as links lead to links: WalkBudget has the bound.
    private int Follow(int directory, ReadOnlySpan<byte> target, Missing missing)
    {
        int at = target.StartsWith((byte)'/') ? TreeSlots.Root : directory;
        foreach (var range in target.Split((byte)'/'))
        {
            var name = target[range];
            below.Budget.CountNames(number);
            if (name.IsEmpty || name.SequenceEqual("."u8))
            {
                continue;
            }
            if (name.SequenceEqual(".."u8))
            {
                at = tree.ParentOf(at);
                continue;
            }
            if (name.Length > NameMax)
            {
                throw new InvalidDataException($"layer {number} has an entry below a symbolic link to a name of {name.Length} bytes, longer than the {NameMax} that Linux allows");
            }
            int slot = missing == Missing.Fail ? tree.Find(at, name) : FindOrAdd(at, name);
            at = slot < 0 ? -1 : AsDirectory(slot, missing);
            if (at < 0)
            {
                return -1;
            }
        }
        return at;
    }
}
