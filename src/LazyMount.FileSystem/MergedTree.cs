using System.Buffers.Binary;
using System.Diagnostics;
using System.IO.Hashing;
using LazyMount.Layers;

namespace LazyMount.FileSystem;

/// <summary>
/// The tree while layers are merged into it.
/// <para>A <b>slot</b> is a name in a directory, found by hash of (directory, name); it is empty until an object is put
/// there. An <b>object</b> is what an entry made; hard links are slots with the same object. A slot that becomes a
/// directory gets a fresh directory number, and its children are keyed by that: so whatever an earlier directory at the
/// same slot held is out of reach at once, at no cost, however large it was.</para>
/// </summary>
internal sealed class MergedTree
{
    public const int Root = 0;

    /// <summary>The object of every directory that no layer lists.</summary>
    public const int ImplicitDirectory = 0;

    private const int None = -1;

    private readonly IReadOnlyList<LayerIndex> _layers;

    private struct Slot
    {
        public int InDirectory; // directory number that it is a name of
        public int NameStart;
        public int NameLength;
        public int Object;      // None: nothing here
        public int Directory;   // its own directory number, None unless it is a directory
        public int Parent;      // slot of the directory
        public int Next;        // next slot of the same directory
    }

    private Slot[] _slots = new Slot[1024];
    private int _slotCount;
    private int[] _firstChildren = new int[256]; // by directory number
    private int _directoryCount;
    private (int Entry, short Layer)[] _objects = new (int, short)[1024];
    private int _objectCount;
    private byte[] _names = new byte[16 << 10];
    private int _nameEnd;
    private int[] _table = new int[4096]; // open addressing; slot + 1, 0 is free

    public MergedTree(IReadOnlyList<LayerIndex> layers)
    {
        _layers = layers;
        AddObject(layer: -1, entry: -1);
        _slots[Root] = new Slot { InDirectory = None, Object = ImplicitDirectory, Directory = AddDirectory(), Next = None };
        _slotCount = 1;
    }

    public bool IsDirectory(int slot) => _slots[slot].Directory >= 0 && _slots[slot].Object >= 0;

    public int ObjectOf(int slot) => _slots[slot].Object;

    public int ParentOf(int slot) => _slots[slot].Parent;

    public short LayerOf(int target) => _objects[target].Layer;

    /// <summary>The entry that made an object; not for <see cref="ImplicitDirectory"/>.</summary>
    public ref readonly LayerEntry EntryOf(int target)
    {
        var (entry, layer) = _objects[target];
        return ref _layers[layer].Entries[entry];
    }

    public int AddObject(short layer, int entry)
    {
        Grow(ref _objects, _objectCount);
        _objects[_objectCount] = (entry, layer);
        return _objectCount++;
    }

    /// <summary>The slot of a name that has something at it, or -1.</summary>
    public int Find(int directory, ReadOnlySpan<byte> name)
    {
        int slot = _table[Probe(_slots[directory].Directory, name)] - 1;
        return slot >= 0 && _slots[slot].Object >= 0 ? slot : None;
    }

    /// <summary>The slot of a name, empty if it is new.</summary>
    public int FindOrAdd(int directory, ReadOnlySpan<byte> name)
    {
        int number = _slots[directory].Directory;
        int place = Probe(number, name);
        if (_table[place] != 0)
        {
            return _table[place] - 1;
        }
        Grow(ref _slots, _slotCount);
        while (_names.Length - _nameEnd < name.Length)
        {
            Grow(ref _names, _names.Length);
        }
        name.CopyTo(_names.AsSpan(_nameEnd));
        _slots[_slotCount] = new Slot
        {
            InDirectory = number,
            NameStart = _nameEnd,
            NameLength = name.Length,
            Object = None,
            Directory = None,
            Parent = directory,
            Next = _firstChildren[number],
        };
        _nameEnd += name.Length;
        _firstChildren[number] = _slotCount;
        _table[place] = ++_slotCount;
        if (_slotCount > _table.Length / 2)
        {
            Rehash();
        }
        return _slotCount - 1;
    }

    /// <summary>Changes what is at a slot, keeping the children of a directory.</summary>
    public void SetObject(int slot, int target) => _slots[slot].Object = target;

    /// <summary>Puts an object at a slot in place of whatever was there; a directory starts empty.</summary>
    public void Replace(int slot, int target, bool isDirectory)
    {
        _slots[slot].Object = target;
        _slots[slot].Directory = isDirectory ? AddDirectory() : None;
    }

    public void Remove(int slot) => (_slots[slot].Object, _slots[slot].Directory) = (None, None);

    public void DropChildren(int directory) => _slots[directory].Directory = AddDirectory();

    /// <summary>The finished tree: breadth first, so that the children of a directory are contiguous.</summary>
    public ImageTree Flatten()
    {
        int[] slots = Order(out var families);
        var nameEnds = new int[slots.Length];
        var names = new byte[_nameEnd];
        var firstNames = new int[slots.Length];
        var nodes = new ImageTree.Node[slots.Length];
        var firstOfObject = new int[_objectCount];
        Array.Fill(firstOfObject, None);
        var content = new ContentTable(_layers);

        int end = 0;
        for (int position = 0; position < slots.Length; position++)
        {
            ref readonly Slot slot = ref _slots[slots[position]];
            NameOf(slot).CopyTo(names.AsSpan(end));
            nameEnds[position] = end += slot.NameLength;
            if (slot.Directory >= 0)
            {
                firstNames[position] = position;
                ref ImageTree.Node node = ref nodes[position];
                node = slot.Object == ImplicitDirectory ? ContentTable.ImplicitDirectory : content.MakeNode(EntryOf(slot.Object), LayerOf(slot.Object));
                (node.Parent, node.Place, node.ChildCount) = families[position];
                node.LinkCount = 2; // its name and its "."; each subdirectory's ".." adds one
                nodes[node.Parent].LinkCount += position == 0 ? 0u : 1;
                continue;
            }
            ref int firstName = ref firstOfObject[slot.Object];
            if (firstName < 0)
            {
                firstName = position;
                nodes[position] = content.MakeNode(EntryOf(slot.Object), LayerOf(slot.Object));
            }
            firstNames[position] = firstName;
            nodes[firstName].LinkCount++;
        }
        Array.Resize(ref names, end);
        return new ImageTree(nameEnds, names, firstNames, nodes, content.LinkTargets, content.XattrSets, content.SparseMaps);
    }

    // Slots by position, and for directories by position: parent's position, first child's, number of children.
    private int[] Order(out (int Parent, int First, int Count)[] families)
    {
        var slots = new int[_slotCount];
        families = new (int, int, int)[_slotCount];
        var keys = new ulong[64];
        int count = 1;
        for (int position = 0; position < count; position++)
        {
            int directory = _slots[slots[position]].Directory;
            if (directory < 0)
            {
                continue;
            }
            int first = count;
            for (int child = _firstChildren[directory]; child >= 0; child = _slots[child].Next)
            {
                if (_slots[child].Object >= 0)
                {
                    slots[count++] = child;
                }
            }
            Sort(slots.AsSpan(first, count - first), ref keys);
            (families[position].First, families[position].Count) = (first, count - first);
            for (int i = first; i < count; i++)
            {
                families[i].Parent = position;
            }
        }
        Array.Resize(ref slots, count);
        return slots;
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
            var name = NameOf(_slots[slots[i]]);
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
                slots[i..next].Sort((a, b) => NameOf(_slots[a]).SequenceCompareTo(NameOf(_slots[b])));
            }
        }
    }

    private ReadOnlySpan<byte> NameOf(in Slot slot) => _names.AsSpan(slot.NameStart, slot.NameLength);

    private int AddDirectory()
    {
        Grow(ref _firstChildren, _directoryCount);
        _firstChildren[_directoryCount] = None;
        return _directoryCount++;
    }

    // The place of (directory, name) in the table, or of the free entry where it belongs.
    private int Probe(int directory, ReadOnlySpan<byte> name)
    {
        Debug.Assert(directory >= 0, "looked up in something that is no directory");
        int mask = _table.Length - 1;
        int place = (int)XxHash3.HashToUInt64(name, directory) & mask;
        while (_table[place] is > 0 and var found)
        {
            ref readonly Slot slot = ref _slots[found - 1];
            if (slot.InDirectory == directory && NameOf(slot).SequenceEqual(name))
            {
                break;
            }
            place = (place + 1) & mask;
        }
        return place;
    }

    private void Rehash()
    {
        _table = new int[_table.Length * 2];
        for (int slot = 1; slot < _slotCount; slot++)
        {
            _table[Probe(_slots[slot].InDirectory, NameOf(_slots[slot]))] = slot + 1;
        }
    }

    private static void Grow<T>(ref T[] array, int count)
    {
        if (count == array.Length)
        {
            Array.Resize(ref array, checked(count * 2));
        }
    }
}
