using System.Buffers.Binary;
using LazyMount.Indexes.Model;

namespace LazyMount.FileSystem;

/// <summary>
/// The tree while layers are stacked into it: <see cref="TreeSlots"/> and what their objects are. An <b>object</b> is what
/// an entry made.
/// </summary>
internal sealed class MergedTree
{
    private const int None = TreeSlots.None;

    // All layers together, replaced names too: a directory entry takes some 100 bytes until it is in the finished tree.
    internal const int MaxNames = 64_000_000;
    private const int MaxNameBytes = 1 << 30;

    /// <summary>The most levels of a tree, as many as one path may have, and the most bytes of a path.</summary>
    internal const int MaxDepth = 2048;

    private const int MaxPathLength = 32 << 10;

    private readonly int _firstNumber, _maxNames;
    private readonly List<LayerIndex> _layers;
    private readonly List<short> _formsOf = []; // of the layers behind the image's own
    private (int Entry, int Attributes, short Layer)[] _objects;
    private int _objectCount;

    /// <param name="layers">Lowest first.</param>
    /// <param name="firstNumber">The number of the first of them in the image.</param>
    /// <param name="maxNames">The most names that there may be.</param>
    public MergedTree(IReadOnlyList<LayerIndex> layers, int firstNumber = 0, int maxNames = MaxNames)
    {
        (_layers, LayerCount, _firstNumber, _maxNames) = ([.. layers], layers.Count, firstNumber, maxNames);
        _objects = new (int, int, short)[1 + layers.Sum(layer => (long)layer.Entries.Length)]; // most of them become one
        AddObject(layer: -1, entry: -1); // ImplicitDirectory
    }

    /// <summary>The layers, and behind them other forms of some.</summary>
    public IReadOnlyList<LayerIndex> Layers => _layers;

    /// <summary>The layers without those forms.</summary>
    public int LayerCount { get; }

    public TreeSlots Slots { get; private set; } = new(0, default);

    /// <summary>The slot of the directory that layers are stacked into: there the image's root is.</summary>
    public int Base { get; set; } = TreeSlots.Root;

    public WalkBudget Budget { get; } = new();

    /// <summary>Adds another form of a layer, with the same bytes; returns its place in <see cref="Layers"/>.</summary>
    public short AddForm(short layer, LayerIndex form)
    {
        _layers.Add(form);
        _formsOf.Add(layer);
        return checked((short)(_layers.Count - 1));
    }

    /// <summary>Which of the layers one of <see cref="Layers"/> is, or is a form of.</summary>
    public short OriginOf(short layer) => layer < LayerCount ? layer : _formsOf[layer - LayerCount];

    /// <summary>Told of each slot that <see cref="Stack"/> takes something away from, before it is taken away.</summary>
    public Action<int, Covering>? Covers { get; set; }

    /// <summary>The number that one of <see cref="Layers"/> has in the image.</summary>
    public int NumberOf(short layer) => _firstNumber + OriginOf(layer);

    public short LayerOf(int target) => _objects[target].Layer;

    /// <summary>The entry that made an object; not for <see cref="TreeSlots.ImplicitDirectory"/>.</summary>
    public ref readonly LayerEntry EntryOf(int target)
    {
        var (entry, _, layer) = _objects[target];
        return ref Layers[layer].Entries[entry];
    }

    /// <summary>Lets another entry of its layer, a hard link to it, say an object's attributes.</summary>
    public void SetAttributes(int target, int entry) => _objects[target].Attributes = entry;

    /// <summary>Whether an object is a symbolic link, and where to.</summary>
    public bool TryGetLinkTarget(int target, out ReadOnlyMemory<byte> link)
    {
        bool isLink = target != TreeSlots.ImplicitDirectory && EntryOf(target).Type == EntryType.Symlink;
        link = isLink ? Layers[LayerOf(target)].LinkTargets[EntryOf(target).LinkTarget] : default;
        return isLink;
    }

    public int AddObject(short layer, int entry)
    {
        if (_objectCount == _objects.Length)
        {
            Array.Resize(ref _objects, _objectCount * 2); // a layer that is stacked twice
        }
        _objects[_objectCount] = (entry, entry, layer);
        return _objectCount++;
    }

    /// <summary>
    /// Lays a layer's own tree over what there is below <see cref="Base"/>, as overlayfs does: a directory over a directory shows the children of
    /// both and the upper one's attributes, anything else covers what is below.
    /// </summary>
    public void Stack(TreeSlots upper)
    {
        if (Slots.Count == 1)
        {
            if (upper.ObjectOf(TreeSlots.Root) == TreeSlots.ImplicitDirectory)
            {
                upper.SetObject(TreeSlots.Root, Slots.ObjectOf(TreeSlots.Root));
            }
            Slots = upper;
            CheckSize();
            return;
        }
        // By upper slot: the slot here, None for what is no directory or out of reach.
        int[] places = new int[upper.Count];
        places[TreeSlots.Root] = Base;
        StackDirectory(Base, upper, TreeSlots.Root);
        for (int slot = 1; slot < places.Length; slot++)
        {
            int directory = places[upper.ParentOf(slot)];
            places[slot] = directory >= 0 ? StackSlot(directory, upper, slot) : None;
        }
        CheckSize();
    }

    private void CheckSize()
    {
        if (Slots.Count > _maxNames || Slots.NameBytes > MaxNameBytes)
        {
            throw new InvalidDataException($"they have more than {_maxNames} names together, or names of more than {MaxNameBytes} bytes");
        }
    }

    private int StackSlot(int directory, TreeSlots upper, int from)
    {
        bool covers = (upper.HidesOf(from) & Hides.All) != 0;
        if (upper.ObjectOf(from) < 0)
        {
            if (covers && Slots.Find(directory, upper.NameOf(from)) is >= 0 and var hidden)
            {
                Covers?.Invoke(hidden, Covering.Whiteout);
                Slots.Remove(hidden);
            }
            return None;
        }
        int slot = Slots.FindOrAdd(directory, upper.NameOf(from));
        if (!upper.IsDirectory(from))
        {
            Covers?.Invoke(slot, Covering.Replaced);
            Slots.Replace(slot, upper.ObjectOf(from), isDirectory: false);
            return None;
        }
        if (covers || !Slots.IsDirectory(slot))
        {
            Covers?.Invoke(slot, covers ? Covering.Whiteout : Covering.Replaced);
            Slots.Replace(slot, upper.ObjectOf(from), isDirectory: true);
        }
        else
        {
            StackDirectory(slot, upper, from);
        }
        return slot;
    }

    private void StackDirectory(int slot, TreeSlots upper, int from)
    {
        if (upper.ObjectOf(from) != TreeSlots.ImplicitDirectory)
        {
            Slots.SetObject(slot, upper.ObjectOf(from));
        }
        if ((upper.HidesOf(from) & Hides.Children) != 0)
        {
            Covers?.Invoke(slot, Covering.Opaque);
            Slots.DropChildren(slot);
        }
    }

    /// <summary>
    /// The finished tree: breadth first, so that the children of a directory are contiguous. Throws <see cref="InvalidDataException"/>
    /// when it is too deep.
    /// </summary>
    public FlatTree Flatten() => new(this, Order(), _firstNumber);

    /// <summary>What made an object: its entry, the entry that says its attributes (itself, or the last hard link to it), and their layer.</summary>
    public (int Entry, int Attributes, short Layer) ObjectAt(int target) => _objects[target];

    /// <summary>Objects that there are.</summary>
    public int ObjectCount => _objectCount;

    private FlatTree.Names Order()
    {
        int[] slots = new int[Slots.Count], parents = new int[Slots.Count];
        List<int> directories = [], firstChildren = [];
        var pathLengths = new Queue<int>([0]); // of the directories to come
        var keys = new ulong[64];
        int count = 1, depth = 0, nextLevel = 1; // the depth of what is at a position, and where the next level begins
        for (int position = 0; position < count; position++)
        {
            if (position == nextLevel)
            {
                (depth, nextLevel) = (depth + 1, count);
            }
            if (!Slots.IsDirectory(slots[position]))
            {
                continue;
            }
            int first = count, pathLength = pathLengths.Dequeue();
            directories.Add(position);
            firstChildren.Add(first);
            count += Slots.CopyChildren(slots[position], slots.AsSpan(count));
            Sort(slots.AsSpan(first, count - first), ref keys);
            for (int i = first; i < count; i++)
            {
                parents[i] = position;
                int length = pathLength + 1 + Slots.NameOf(slots[i]).Length;
                if (depth == MaxDepth || length > MaxPathLength)
                {
                    throw new InvalidDataException($"they make directories more than {MaxDepth} levels deep, or a path of more than {MaxPathLength} bytes");
                }
                if (Slots.IsDirectory(slots[i]))
                {
                    pathLengths.Enqueue(length);
                }
            }
        }
        firstChildren.Add(count);
        return new FlatTree.Names(count, slots, parents, [.. directories], [.. firstChildren]);
    }

    // By the first eight bytes as a number, then the few that agree in those by the whole name.
    private void Sort(Span<int> slots, ref ulong[] keys)
    {
        if (keys.Length < slots.Length)
        {
            keys = new ulong[Math.Max(slots.Length, keys.Length * 2)];
        }
        Span<byte> prefix = stackalloc byte[8];
        for (int i = 0; i < slots.Length; i++)
        {
            var name = Slots.NameOf(slots[i]);
            prefix.Clear();
            name[..Math.Min(8, name.Length)].CopyTo(prefix);
            keys[i] = BinaryPrimitives.ReadUInt64BigEndian(prefix);
        }
        keys.AsSpan(0, slots.Length).Sort(slots);
        for (int i = 0, next; i < slots.Length; i = next)
        {
            for (next = i + 1; next < slots.Length && keys[next] == keys[i]; next++)
            {
            }
            if (next - i > 1)
            {
                slots[i..next].Sort((a, b) => Slots.NameOf(a).SequenceCompareTo(Slots.NameOf(b)));
            }
        }
    }
}
