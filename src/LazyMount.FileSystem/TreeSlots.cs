using System.Diagnostics;
using System.IO.Hashing;
using System.Numerics;

namespace LazyMount.FileSystem;

/// <summary>What a layer's whiteouts say of a slot.</summary>
[Flags]
internal enum Hides : byte
{
    Nothing = 0,

    /// <summary>An opaque marker: hides all names that lower layers have in this directory.</summary>
    Children = 1,

    /// <summary>A whiteout: hides this name in lower layers.</summary>
    All = 2,
}

/// <summary>
/// A tree that is being made: of one layer, or of all.
/// <para>A <b>slot</b> is a name in a directory; it is empty until an object is put there. Hard links are slots with the same object. A slot that
/// becomes a directory gets a fresh directory number, and its children are kept by that. What an earlier directory at the same slot held is dropped, each slot once: who keeps a slot
/// can ask whether it is still there.</para>
/// </summary>
internal sealed class TreeSlots
{
    public const int Root = 0;

    /// <summary>The object of every directory that no layer lists.</summary>
    public const int ImplicitDirectory = 0;

    public const int None = -1;

    // Secret per process, so that no layer can be made whose names all collide.
    private static readonly long s_seed = Random.Shared.NextInt64();

    private struct Slot
    {
        public int InDirectory; // directory number that it is a name of, None once it is dropped
        public int NameStart;
        public int Object;      // None: nothing here
        public int Directory;   // its own directory number, None unless it is a directory
        public int Parent;      // slot of the directory
        public int Next;        // next slot of the same directory
        public ushort NameLength;
        public Hides Hides;
    }

    private struct Directory
    {
        public int FirstChild; // the others by Slot.Next
        public int Count;
        public int[]? Table; // of more than MaxListed children: open addressing; slot + 1, 0 is free
    }

    // A table of its own for each directory, because the entries of a tar stand together by directory: with one table for all, the million
    // look-ups of 1,000,000 entries missed the CPU's caches and took 150 of 250 ms.
    private const int MaxListed = 8;

    private Slot[] _slots;
    private Directory[] _directories = new Directory[16]; // by directory number
    private int _directoryCount;
    private readonly ReadOnlyMemory<byte> _given; // names that stand in memory already, and stay there
    private byte[] _names = new byte[16]; // all others; a name that starts behind those given is here
    private int _nameEnd;
    private readonly Stack<int> _dropped = new();

    /// <summary>An empty root that no layer lists.</summary>
    /// <param name="capacity">How many slots there will be, more or less.</param>
    /// <param name="names">Memory that does not change, in which many of the names to come stand: those are not copied.</param>
    public TreeSlots(int capacity, ReadOnlyMemory<byte> names)
    {
        _slots = new Slot[capacity + 1];
        _given = names;
        _slots[Root] = new Slot { InDirectory = int.MaxValue, Object = ImplicitDirectory, Directory = AddDirectory(), Next = None };
        Count = 1;
    }

    /// <summary>All slots, dropped ones too. A slot comes after its directory.</summary>
    public int Count { get; private set; }

    public long NameBytes => (long)_given.Length + _nameEnd;

    public bool IsDirectory(int slot) => _slots[slot].Directory >= 0;

    public int ObjectOf(int slot) => _slots[slot].Object;

    public int ParentOf(int slot) => _slots[slot].Parent;

    public Hides HidesOf(int slot) => _slots[slot].Hides;

    public ReadOnlySpan<byte> NameOf(int slot) => NameOf(_slots[slot]);

    /// <summary>False once a directory that the slot stood in was replaced. It is then empty for good.</summary>
    public bool IsThere(int slot) => _slots[slot].InDirectory != None;

    /// <summary>The slot of a name that has something at it, or -1.</summary>
    public int Find(int directory, ReadOnlySpan<byte> name) => FindSlot(directory, name) is >= 0 and var slot && _slots[slot].Object >= 0 ? slot : None;

    /// <summary>The slot of a name, empty or not, or -1.</summary>
    public int FindSlot(int directory, ReadOnlySpan<byte> name) => FindChild(_slots[directory].Directory, name);

    /// <summary>The slot of a name, empty if it is new.</summary>
    public int FindOrAdd(int directory, ReadOnlySpan<byte> name)
    {
        int number = _slots[directory].Directory;
        if (FindChild(number, name) is >= 0 and int known)
        {
            return known;
        }
        Grow(ref _slots, Count);
        _slots[Count] = new Slot
        {
            InDirectory = number,
            NameStart = Keep(name),
            NameLength = (ushort)name.Length,
            Object = None,
            Directory = None,
            Parent = directory,
            Next = _directories[number].FirstChild,
        };
        AddChild(ref _directories[number], Count);
        return Count++;
    }

    /// <summary>Makes an empty directory that no layer lists; returns its slot.</summary>
    public int MakeDirectory(int directory, ReadOnlySpan<byte> name)
    {
        int slot = FindOrAdd(directory, name);
        Replace(slot, ImplicitDirectory, isDirectory: true);
        return slot;
    }

    /// <summary>Changes what is at a slot, keeping the children of a directory.</summary>
    public void SetObject(int slot, int target) => _slots[slot].Object = target;

    /// <summary>Puts an object at a slot in place of whatever was there; a directory starts empty.</summary>
    public void Replace(int slot, int target, bool isDirectory)
    {
        DropBelow(_slots[slot].Directory);
        _slots[slot].Object = target;
        _slots[slot].Directory = isDirectory ? AddDirectory() : None;
        _slots[slot].Hides &= ~Hides.Children;
    }

    public void Hide(int slot, Hides what) => _slots[slot].Hides |= what;

    /// <summary>Empties a slot.</summary>
    public void Remove(int slot)
    {
        DropBelow(_slots[slot].Directory);
        (_slots[slot].Object, _slots[slot].Directory) = (None, None);
    }

    /// <summary>Empties a directory.</summary>
    public void DropChildren(int directory)
    {
        DropBelow(_slots[directory].Directory);
        _slots[directory].Directory = AddDirectory();
    }

    // A loop, not recursion: trees may be thousands of levels deep. Every slot is dropped once.
    private void DropBelow(int directory)
    {
        if (directory == None)
        {
            return;
        }
        _dropped.Push(directory);
        while (_dropped.TryPop(out int number))
        {
            _directories[number].Table = null;
            for (int child = _directories[number].FirstChild; child >= 0; child = _slots[child].Next)
            {
                ref Slot slot = ref _slots[child];
                if (slot.Directory != None)
                {
                    _dropped.Push(slot.Directory);
                }
                (slot.InDirectory, slot.Object, slot.Directory, slot.Hides) = (None, None, None, Hides.Nothing);
            }
        }
    }

    /// <summary>Writes the object of every slot, or <see cref="None"/>, to a list of <see cref="Count"/>.</summary>
    public void CopyObjects(Span<int> to)
    {
        for (int slot = 0; slot < Count; slot++)
        {
            to[slot] = _slots[slot].Object;
        }
    }

    /// <summary>Path of a slot from the root, also of one that is dropped.</summary>
    public byte[] PathOf(int slot)
    {
        List<byte[]> names = [];
        for (int at = slot; at != Root; at = _slots[at].Parent)
        {
            names.Add(NameOf(at).ToArray());
        }
        names.Reverse();
        return TreePath.Of(names);
    }

    /// <summary>Adds the slots of a directory's children to a list.</summary>
    public int CopyChildren(int directory, Span<int> to)
    {
        int count = 0;
        for (int child = _directories[_slots[directory].Directory].FirstChild; child >= 0; child = _slots[child].Next)
        {
            if (_slots[child].Object >= 0)
            {
                to[count++] = child;
            }
        }
        return count;
    }

    private ReadOnlySpan<byte> NameOf(in Slot slot) => slot.NameStart < _given.Length
        ? _given.Span.Slice(slot.NameStart, slot.NameLength)
        : _names.AsSpan(slot.NameStart - _given.Length, slot.NameLength);

    // Where a name starts.
    private int Keep(ReadOnlySpan<byte> name)
    {
        if (_given.Span.Overlaps(name, out int offset) && offset >= 0 && offset + name.Length <= _given.Length)
        {
            return offset;
        }
        while (_names.Length - _nameEnd < name.Length)
        {
            Grow(ref _names, _names.Length);
        }
        name.CopyTo(_names.AsSpan(_nameEnd));
        _nameEnd += name.Length;
        return checked(_given.Length + _nameEnd - name.Length);
    }

    private int AddDirectory()
    {
        Grow(ref _directories, _directoryCount);
        _directories[_directoryCount] = new Directory { FirstChild = None };
        return _directoryCount++;
    }

    private int FindChild(int number, ReadOnlySpan<byte> name)
    {
        Debug.Assert(number >= 0, "looked up in something that is no directory");
        ref readonly Directory directory = ref _directories[number];
        if (directory.Table is { } table)
        {
            return table[Probe(table, name)] - 1;
        }
        int child = directory.FirstChild;
        while (child >= 0 && !NameOf(_slots[child]).SequenceEqual(name))
        {
            child = _slots[child].Next;
        }
        return child;
    }

    private void AddChild(ref Directory directory, int slot)
    {
        directory.FirstChild = slot;
        directory.Count++;
        if (directory.Count <= MaxListed)
        {
            return;
        }
        if (directory.Table is not { } table || directory.Count > table.Length / 2)
        {
            directory.Table = new int[BitOperations.RoundUpToPowerOf2((uint)(4 * directory.Count))];
            for (int child = slot; child >= 0; child = _slots[child].Next)
            {
                directory.Table[Probe(directory.Table, NameOf(child))] = child + 1;
            }
            return;
        }
        table[Probe(table, NameOf(slot))] = slot + 1;
    }

    // The place of a name in the table of its directory, or of the free entry where it belongs.
    private int Probe(int[] table, ReadOnlySpan<byte> name)
    {
        int mask = table.Length - 1;
        int place = (int)XxHash3.HashToUInt64(name, s_seed) & mask;
        while (table[place] is > 0 and int found && !NameOf(_slots[found - 1]).SequenceEqual(name))
        {
            place = (place + 1) & mask;
        }
        return place;
    }

    private static void Grow<T>(ref T[] array, int count)
    {
        if (count == array.Length)
        {
            Array.Resize(ref array, (int)Math.Min(count * 2L, Array.MaxLength));
        }
    }
}
