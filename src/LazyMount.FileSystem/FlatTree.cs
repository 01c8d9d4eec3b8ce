using LazyMount.Indexes.Model;

namespace LazyMount.FileSystem;

/// <summary>
/// The merged tree in memory, breadth first: what <see cref="Erofs.TreeWriter"/> writes down. A <b>position</b> is a name: position 0 is the root,
/// the children of a directory are contiguous and sorted bytewise. Everything else is looked up in the layers' indexes when it is asked for.
/// </summary>
internal sealed class FlatTree
{
    private readonly MergedTree _tree;
    private readonly Names _names;
    private readonly int[] _firstNames;
    private readonly int[] _linkCounts; // by first name
    private readonly Xattr[][] _xattrSets;
    private readonly int[] _firstSets; // by layer: the number of its first set of extended attributes

    /// <param name="tree">Where names and objects are.</param>
    /// <param name="names">The names, breadth first.</param>
    /// <param name="firstNumber">The number in the image of the first of the merged layers.</param>
    public FlatTree(MergedTree tree, Names names, int firstNumber)
    {
        (_tree, _names, FirstNumber) = (tree, names, firstNumber);
        (_firstNames, _linkCounts) = (new int[names.Count], new int[names.Count]);
        _xattrSets = [.. tree.Layers.SelectMany(layer => layer.XattrSets)];
        _firstSets = new int[tree.Layers.Count];
        for (int layer = 1; layer < _firstSets.Length; layer++)
        {
            _firstSets[layer] = _firstSets[layer - 1] + tree.Layers[layer - 1].XattrSets.Length;
        }
        int[] firstOfObject = new int[tree.ObjectCount];
        Array.Fill(firstOfObject, -1);
        for (int position = 0; position < names.Count; position++)
        {
            if (IsDirectory(position))
            {
                NodeCount++;
                _firstNames[position] = position;
                _linkCounts[position] = 2; // its name and its "."; each subdirectory's ".." adds one
                _linkCounts[names.Parents[position]] += position == 0 ? 0 : 1;
                continue;
            }
            ref int first = ref firstOfObject[tree.Slots.ObjectOf(names.Slots[position])];
            if (first < 0)
            {
                first = position;
                NodeCount++;
            }
            _firstNames[position] = first;
            _linkCounts[first]++;
        }
    }

    /// <summary>The names of a tree in the order of their positions.</summary>
    /// <param name="Count">Number of names.</param>
    /// <param name="Slots">By position: its slot.</param>
    /// <param name="Parents">By position: the position of its directory; the root's is the root.</param>
    /// <param name="Directories">The positions of all directories, in order.</param>
    /// <param name="FirstChildren">Of each of them: the position of its first child, which that of the next one's follows on; and one more at the end.</param>
    internal sealed record Names(int Count, int[] Slots, int[] Parents, int[] Directories, int[] FirstChildren);

    /// <summary>Number of names.</summary>
    public int Count => _names.Count;

    /// <summary>Number of distinct nodes: names less the further names of hard-linked files.</summary>
    public int NodeCount { get; }

    /// <summary>The number in the image (lowest 0) of the first of the merged layers.</summary>
    public int FirstNumber { get; }

    /// <summary>Number of layers that were merged.</summary>
    public int LayerCount => _tree.LayerCount;

    /// <summary>The byte-exact name at a position; empty for the root.</summary>
    public ReadOnlySpan<byte> NameAt(int position) => _tree.Slots.NameOf(_names.Slots[position]);

    /// <summary>Whether the position is a directory's.</summary>
    public bool IsDirectory(int position) => _tree.Slots.IsDirectory(_names.Slots[position]);

    /// <summary>The position of the same node's first name.</summary>
    public int FirstNameOf(int position) => _firstNames[position];

    /// <summary>Whether the position is a node's first name.</summary>
    public bool IsFirstName(int position) => _firstNames[position] == position;

    /// <summary>The position of the directory that holds a name; the root's is the root.</summary>
    public int ParentOf(int position) => _names.Parents[position];

    /// <summary>First child position and number of children of a directory.</summary>
    public (int First, int Count) Children(int position)
    {
        int number = Array.BinarySearch(_names.Directories, position);
        return (_names.FirstChildren[number], _names.FirstChildren[number + 1] - _names.FirstChildren[number]);
    }

    /// <summary>Absolute path, byte-exact.</summary>
    public byte[] PathOf(int position)
    {
        List<byte[]> names = [];
        for (int at = position; at > 0; at = ParentOf(at))
        {
            names.Add(NameAt(at).ToArray());
        }
        names.Reverse();
        return TreePath.Of(names);
    }

    /// <summary>All sets of extended attributes that the layers have, by <see cref="Node.XattrSet"/>.</summary>
    public IReadOnlyList<Xattr[]> XattrSets => _xattrSets;

    /// <summary>How many entries of the layers have each set.</summary>
    public int[] CountXattrSets()
    {
        int[] uses = new int[_xattrSets.Length];
        for (int layer = 0; layer < _firstSets.Length; layer++)
        {
            foreach (ref readonly LayerEntry entry in _tree.Layers[layer].Entries.AsSpan())
            {
                if (entry.XattrSet >= 0)
                {
                    uses[_firstSets[layer] + entry.XattrSet]++;
                }
            }
        }
        return uses;
    }

    /// <summary>The node at the position of its first name.</summary>
    public Node NodeAt(int position)
    {
        int target = _tree.Slots.ObjectOf(_names.Slots[position]);
        Node node = NodeOf(_tree, target);
        node.LinkCount = (uint)_linkCounts[position];
        node.XattrSet = XattrSetOf(_tree.LayerOf(target), node.XattrSet);
        return node;
    }

    /// <summary>What an object is, by itself: its names are not counted, and its set of extended attributes has its layer's number.</summary>
    public static Node NodeOf(MergedTree tree, int target)
    {
        if (target == TreeSlots.ImplicitDirectory)
        {
            // A directory that no layer lists: root-owned, 0755, as old as time.
            return new Node { Mode = FileMode.Directory | 0b111_101_101, Layer = -1, XattrSet = -1 };
        }
        (int number, int attributesNumber, short layer) = tree.ObjectAt(target);
        LayerIndex index = tree.Layers[layer];
        ref readonly LayerEntry entry = ref index.Entries[number];
        ref readonly LayerEntry attributes = ref index.Entries[attributesNumber];
        var node = new Node
        {
            // What Linux makes of every symbolic link, whatever the tar says.
            Mode = entry.Type == EntryType.Symlink ? FileMode.Symlink | 0b111_111_111 : FileMode.TypeOf(entry.Type) | (attributes.Mode & 0xFFFu),
            Uid = attributes.Uid,
            Gid = attributes.Gid,
            MtimeSeconds = attributes.MtimeSeconds,
            MtimeNanoseconds = attributes.MtimeNanoseconds,
            Layer = tree.OriginOf(layer),
            XattrSet = attributes.XattrSet >= 0 ? attributes.XattrSet : entry.XattrSet,
        };
        switch (entry.Type)
        {
            case EntryType.File:
                (node.Size, node.DataOffset) = (entry.Size, entry.DataOffset);
                node.SparseMap = entry.SparseMap > 0 ? index.SparseMaps[entry.SparseMap - 1] : null;
                break;
            case EntryType.Symlink:
                node.LinkTarget = index.LinkTargets[entry.LinkTarget];
                node.Size = node.LinkTarget.Length;
                break;
            case EntryType.CharacterDevice or EntryType.BlockDevice:
                (node.DeviceMajor, node.DeviceMinor) = (entry.DeviceMajor, entry.DeviceMinor);
                break;
            case EntryType.Directory or EntryType.Fifo:
                break;
            default:
                throw new InvalidOperationException($"an entry of type {entry.Type} makes no node");
        }
        return node;
    }

    private int XattrSetOf(short layer, int set) => set < 0 ? -1 : _firstSets[layer] + set;

    /// <summary>A file, directory, link or device with all its attributes.</summary>
    internal struct Node
    {
        public uint Mode;
        public uint Uid;
        public uint Gid;
        public uint LinkCount;
        public long MtimeSeconds;
        public uint MtimeNanoseconds;

        /// <summary>-1 for none.</summary>
        public int XattrSet;

        /// <summary>-1 for a directory that no layer lists.</summary>
        public short Layer;

        /// <summary>Content bytes of a file, length of a link target, else 0.</summary>
        public long Size;

        /// <summary>Files: where the stored bytes begin in the layer's tar.</summary>
        public long DataOffset;

        public SparseMap? SparseMap;
        public ReadOnlyMemory<byte> LinkTarget;
        public uint DeviceMajor;
        public uint DeviceMinor;

        /// <summary>Bytes that a layer holds of the file.</summary>
        public readonly long StoredSize => SparseMap?.StoredSize ?? Size;

        /// <summary>A file with holes.</summary>
        public readonly bool IsSparse => SparseMap is not null;
    }
}
