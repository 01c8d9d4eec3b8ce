using System.Diagnostics;
using System.IO.Hashing;
using System.Numerics;

namespace LazyMount.FileSystem;

/// <summary>What a layer's whiteouts say of a slot.</summary>
[Flags]
internal enum Hides : byte
{
    Nothing = 0,

    /// <summary>An opaque marker: what lower layers have in this directory.</summary>
    Children = 1,

    /// <summary>A whiteout: whatever lower layers have at this name.</summary>
    All = 2,
}

/// <summary>
/// A tree that is being made: of one layer, or of all.
/// <para>A <b>slot</b> is a name in a directory, found by hash of (directory, name); it is empty until an object is put
/// there. Hard links are slots with the same object. A slot that becomes a directory gets a fresh directory number, and
/// its children are keyed by that. What an earlier directory at the same slot held is dropped, each slot once: who keeps a slot
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

    private Slot[] _slots;
    private int[] _firstChildren = new int[16]; // by directory number
    private int _directoryCount;
    private byte[] _names;
    private int _nameEnd;
    private int[] _table; // open addressing; slot + 1, 0 is free
    private readonly Stack<int> _dropped = new();

    /// <summary>An empty root that no layer lists.</summary>
    /// <param name="capacity">How many slots there will be, more or less.</param>
    public TreeSlots(int capacity)
    {
        _slots = new Slot[capacity + 1];
        _names = new byte[16 * capacity + 16];
        _table = new int[BitOperations.RoundUpToPowerOf2((uint)(2 * capacity + 2))];
        _slots[Root] = new Slot { InDirectory = int.MaxValue, Object = ImplicitDirectory, Directory = AddDirectory(), Next = None };
        Count = 1;
    }

    /// <summary>All slots, dropped ones too. A slot comes after its directory.</summary>
    public int Count { get; private set; }

    public int NameBytes => _nameEnd;

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
    public int FindSlot(int directory, ReadOnlySpan<byte> name) => _table[Probe(_slots[directory].Directory, name)] - 1;

    /// <summary>The slot of a name, empty if it is new.</summary>
    public int FindOrAdd(int directory, ReadOnlySpan<byte> name)
    {
        int number = _slots[directory].Directory;
        int place = Probe(number, name);
        if (_table[place] != 0)
        {
            return _table[place] - 1;
        }
        Grow(ref _slots, Count);
        while (_names.Length - _nameEnd < name.Length)
        {
            Grow(ref _names, _names.Length);
        }
        name.CopyTo(_names.AsSpan(_nameEnd));
        _slots[Count] = new Slot
        {
            InDirectory = number,
            NameStart = _nameEnd,
            NameLength = (ushort)name.Length,
            Object = None,
            Directory = None,
            Parent = directory,
            Next = _firstChildren[number],
        };
        _nameEnd += name.Length;
        _firstChildren[number] = Count;
        _table[place] = ++Count;
        if (Count > _table.Length / 2)
        {
            Rehash();
        }
        return Count - 1;
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
            for (int child = _firstChildren[number]; child >= 0; child = _slots[child].Next)
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

    /// <summary>Adds the slots of a directory's children to a list.</summary>
    public int CopyChildren(int directory, Span<int> to)
    {
        int count = 0;
        for (int child = _firstChildren[_slots[directory].Directory]; child >= 0; child = _slots[child].Next)
        {
            if (_slots[child].Object >= 0)
            {
                to[count++] = child;
            }
        }
        return count;
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
        int place = (int)XxHash3.HashToUInt64(name, s_seed ^ directory) & mask;
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
        for (int slot = 1; slot < Count; slot++)
        {
            if (IsThere(slot))
            {
                _table[Probe(_slots[slot].InDirectory, NameOf(_slots[slot]))] = slot + 1;
            }
        }
    }

    private static void Grow<T>(ref T[] array, int count)
    {
        if (count == array.Length)
        {
            Array.Resize(ref array, (int)Math.Min(count * 2L, Array.MaxLength));
        }
    }
}
