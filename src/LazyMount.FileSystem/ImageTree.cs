using System.Diagnostics;
using LazyMount.Indexes.Model;

namespace LazyMount.FileSystem;

/// <summary>
/// One read-only tree out of ordered layers, in flat arrays. Immutable.
/// <para>A <b>position</b> is a directory entry: position 0 is the root, the children of a directory are contiguous and
/// sorted bytewise by name. A <b>node id</b> is the position of a file's first name plus 1, so that the root is 1 and all
/// names of a hard-linked file share one id. Node ids depend on nothing but the layers' digests.</para>
/// </summary>
public sealed class ImageTree
{
    /// <summary>The root's node id.</summary>
    public const ulong RootId = 1;

    private readonly int[] _nameEnds;
    private readonly byte[] _names;
    private readonly int[] _firstNames;
    private readonly Node[] _nodes;
    private readonly byte[] _linkTargets;
    private readonly XattrSet[] _xattrSets;
    private readonly SparseMap[] _sparseMaps;
    private readonly int _firstNumber;

    /// <param name="nameEnds">By position: where its name ends in <paramref name="names"/>; it begins where the one before ends.</param>
    /// <param name="names">All names in the order of positions.</param>
    /// <param name="firstNames">By position: the position of the same node's first name (itself unless hard-linked).</param>
    /// <param name="nodes">By position; filled at first names only.</param>
    /// <param name="linkTargets">Targets of symbolic links, found by <see cref="Node.Place"/> and <see cref="Node.Size"/>.</param>
    /// <param name="xattrSets">Found by <see cref="Node.XattrSet"/>.</param>
    /// <param name="sparseMaps">Found by <see cref="Node.SparseMap"/>.</param>
    /// <param name="firstNumber">The number in the image of the first of the merged layers.</param>
    internal ImageTree(int[] nameEnds, byte[] names, int[] firstNames, Node[] nodes, byte[] linkTargets, XattrSet[] xattrSets, SparseMap[] sparseMaps, int firstNumber)
    {
        _firstNumber = firstNumber;
        Debug.Assert(nameEnds.Length == nodes.Length && firstNames.Length == nodes.Length, "one of each per position");
        (_nameEnds, _names, _firstNames, _nodes, _linkTargets, _xattrSets, _sparseMaps) = (nameEnds, names, firstNames, nodes, linkTargets, xattrSets, sparseMaps);
        for (int position = 0; position < nodes.Length; position++)
        {
            if (firstNames[position] == position)
            {
                NodeCount++;
                TotalFileSize += FileMode.IsRegular(nodes[position].Mode) ? StoredSize(nodes[position]) : 0;
            }
        }
    }

    /// <summary>A directory with one file in it, whose bytes stand in no layer.</summary>
    internal static ImageTree OfFile(ReadOnlySpan<byte> name, long size, (long Seconds, uint Nanoseconds) time)
    {
        var directory = new Node { Mode = (ushort)(FileMode.Directory | 0b101_101_101), LinkCount = 2, Place = 1, ChildCount = 1 };
        var file = new Node { Mode = (ushort)(FileMode.Regular | 0b100_100_100), LinkCount = 1, Size = size };
        Node[] nodes = [directory, file];
        for (int i = 0; i < nodes.Length; i++)
        {
            (nodes[i].XattrSet, nodes[i].Layer, nodes[i].MtimeSeconds, nodes[i].MtimeNanoseconds) = (-1, -1, time.Seconds, time.Nanoseconds);
        }
        return new ImageTree([0, name.Length], name.ToArray(), [0, 1], nodes, [], [], [], 0);
    }

    /// <summary>Number of positions (names) in the tree.</summary>
    public int Count => _nodes.Length;

    /// <summary>Number of distinct nodes: names less the further names of hard-linked files.</summary>
    public int NodeCount { get; }

    /// <summary>True when some node has extended attributes.</summary>
    public bool HasXattrs => _xattrSets.Length > 0;

    /// <summary>True when some file has holes.</summary>
    public bool HasSparseFiles => _sparseMaps.Length > 0;

    /// <summary>Sum of the stored bytes of all distinct regular files: holes are not counted.</summary>
    public long TotalFileSize { get; }

    /// <summary>True when <paramref name="id"/> is a node of this tree.</summary>
    public bool IsNode(ulong id) => id - 1 < (ulong)_firstNames.Length && _firstNames[id - 1] == (int)(id - 1);

    /// <summary>Node id of the thing named at a position.</summary>
    public ulong NodeAt(int position) => (ulong)_firstNames[position] + 1;

    /// <summary>The byte-exact name at a position; empty for the root.</summary>
    public ReadOnlySpan<byte> NameAt(int position)
    {
        int start = position == 0 ? 0 : _nameEnds[position - 1];
        return _names.AsSpan(start, _nameEnds[position] - start);
    }

    /// <summary>st_mode of a node: file type and permissions.</summary>
    public uint Mode(ulong id) => _nodes[id - 1].Mode;

    /// <summary>Content bytes of a file, holes included, length of a symbolic link's target, 0 for others.</summary>
    public long Size(ulong id) => _nodes[id - 1].Size;

    /// <summary>All attributes of a node.</summary>
    public NodeAttributes Attributes(ulong id)
    {
        ref readonly Node node = ref _nodes[id - 1];
        uint type = node.Mode & FileMode.TypeMask;
        bool isDevice = type is FileMode.CharacterDevice or FileMode.BlockDevice;
        return new NodeAttributes
        {
            Inode = id,
            Mode = node.Mode,
            LinkCount = node.LinkCount,
            Uid = node.Uid,
            Gid = node.Gid,
            Size = node.Size,
            Blocks = type != FileMode.Regular ? 0 : node.SparseMap > 0 ? _sparseMaps[node.SparseMap - 1].Blocks : (node.Size + 511) / 512,
            MtimeSeconds = node.MtimeSeconds,
            MtimeNanoseconds = node.MtimeNanoseconds,
            DeviceMajor = isDevice ? (uint)(node.Place >> 32) : 0,
            DeviceMinor = isDevice ? (uint)node.Place : 0,
        };
    }

    /// <summary>First child position and number of children of a directory (0, 0 for others).</summary>
    public (int First, int Count) Children(ulong directory)
    {
        ref readonly Node node = ref _nodes[directory - 1];
        return FileMode.IsDirectory(node.Mode) ? ((int)node.Place, node.ChildCount) : (0, 0);
    }

    /// <summary>Node id of the directory that holds the first name of a node (the root's is itself).</summary>
    public ulong ParentOf(ulong id) => (ulong)_nodes[id - 1].Parent + 1;

    /// <summary>Absolute path of the first name of a node, byte-exact.</summary>
    public byte[] PathOf(ulong id)
    {
        if (id == RootId)
        {
            return [(byte)'/'];
        }
        int length = 0;
        for (ulong at = id; at != RootId; at = ParentOf(at))
        {
            length += 1 + NameAt((int)at - 1).Length;
        }
        var path = new byte[length];
        for (ulong at = id; at != RootId; at = ParentOf(at))
        {
            ReadOnlySpan<byte> name = NameAt((int)at - 1);
            name.CopyTo(path.AsSpan(length -= name.Length));
            path[--length] = (byte)'/';
        }
        return path;
    }

    /// <summary>Finds a child position by name: binary search; -1 when there is none.</summary>
    public int Find(ulong directory, ReadOnlySpan<byte> name)
    {
        var (low, count) = Children(directory);
        int high = low + count - 1;
        while (low <= high)
        {
            int middle = low + ((high - low) >> 1);
            int order = NameAt(middle).SequenceCompareTo(name);
            if (order == 0)
            {
                return middle;
            }
            if (order < 0)
            {
                low = middle + 1;
            }
            else
            {
                high = middle - 1;
            }
        }
        return -1;
    }

    /// <summary>Target of a symbolic link.</summary>
    public ReadOnlySpan<byte> LinkTarget(ulong id)
    {
        ref readonly Node node = ref _nodes[id - 1];
        return FileMode.IsSymlink(node.Mode) ? _linkTargets.AsSpan((int)node.Place, (int)node.Size) : default;
    }

    /// <summary>Value of an extended attribute; false when there is none.</summary>
    public bool TryGetXattr(ulong id, ReadOnlySpan<byte> name, out ReadOnlySpan<byte> value)
    {
        int set = _nodes[id - 1].XattrSet;
        if (set >= 0)
        {
            foreach (var xattr in _xattrSets[set].Xattrs)
            {
                if (xattr.Name.Span.SequenceEqual(name))
                {
                    value = xattr.Value.Span;
                    return true;
                }
            }
        }
        value = default;
        return false;
    }

    /// <summary>Names of the extended attributes, each ended by a zero byte, as listxattr(2) gives them.</summary>
    public ReadOnlySpan<byte> XattrNames(ulong id)
    {
        int set = _nodes[id - 1].XattrSet;
        return set < 0 ? default : _xattrSets[set].Names;
    }

    /// <summary>
    /// Which of the layers that were merged (lowest 0) a node's entry comes from, and its bytes are to be read from; or -1 for a
    /// directory that no layer lists.
    /// </summary>
    public int LayerOf(ulong id) => _nodes[id - 1].Layer;

    /// <summary>
    /// The number in the image (lowest 0) of the layer that a node's entry comes from, or -1. Differs from <see cref="LayerOf"/> in
    /// the tree of one layer alone.
    /// </summary>
    public int LayerNumberOf(ulong id) => LayerOf(id) is >= 0 and int layer ? _firstNumber + layer : -1;

    /// <summary>
    /// What stands at an offset of a regular file before its end: where its bytes begin in the tar of <see cref="LayerOf"/>,
    /// or -1 for a hole; and the offset in the file up to which they, or the hole, go on.
    /// </summary>
    public (long DataOffset, long End) Extent(ulong id, long offset)
    {
        ref readonly Node node = ref _nodes[id - 1];
        if (node.SparseMap == 0)
        {
            return (node.Place + offset, node.Size);
        }
        var (stored, end) = _sparseMaps[node.SparseMap - 1].Find(offset);
        return (stored < 0 ? -1 : node.Place + stored, Math.Min(end, node.Size));
    }

    /// <summary>The stored bytes of a regular file: their offset in the file, in the tar of <see cref="LayerOf"/>, and their number.</summary>
    public IEnumerable<(long Offset, long At, long Length)> Extents(ulong id)
    {
        long size = Size(id);
        for (long offset = 0; offset < size;)
        {
            (long at, long end) = Extent(id, offset);
            if (at >= 0)
            {
                yield return (offset, at, end - offset);
            }
            offset = end;
        }
    }

    /// <summary>The positions of the first names of all regular files, in the order in which their bytes stand in the layers' tars, lowest layer first.</summary>
    public int[] FilesInTarOrder()
    {
        List<(int Layer, long At, int Position)> files = [];
        for (int position = 0; position < Count; position++)
        {
            ulong id = (ulong)position + 1;
            if (IsNode(id) && FileMode.IsRegular(Mode(id)))
            {
                files.Add((LayerOf(id), Extents(id).Select(extent => extent.At).FirstOrDefault(), position));
            }
        }
        files.Sort();
        return [.. files.Select(file => file.Position)];
    }

    /// <summary>True for a regular file with holes.</summary>
    internal bool IsSparse(ulong id) => _nodes[id - 1] is { SparseMap: > 0 } node && FileMode.IsRegular(node.Mode);

    /// <summary>The set of extended attributes of a node in <see cref="XattrSets"/>; -1 for none.</summary>
    internal int XattrSetOf(ulong id) => _nodes[id - 1].XattrSet;

    /// <summary>All sets of extended attributes.</summary>
    internal IReadOnlyList<XattrSet> XattrSets => _xattrSets;

    private long StoredSize(in Node node) => node.SparseMap > 0 ? _sparseMaps[node.SparseMap - 1].StoredSize : node.Size;

    /// <summary>What stands at a node's first position.</summary>
    internal struct Node
    {
        /// <summary>Content bytes of a file, length of a link target, else 0.</summary>
        public long Size;

        public long MtimeSeconds;

        /// <summary>
        /// A file's offset in its layer's tar; a symlink's in the link targets; a device's major &lt;&lt; 32 | minor;
        /// a directory's first child position.
        /// </summary>
        public long Place;

        public uint MtimeNanoseconds;
        public uint Uid;
        public uint Gid;
        public uint LinkCount;

        /// <summary>Directories; a file's <see cref="SparseMap"/> has the same place.</summary>
        public int ChildCount;

        /// <summary>Position of the directory that holds the first name.</summary>
        public int Parent;

        /// <summary>-1 for none.</summary>
        public int XattrSet;

        /// <summary>Files only: 1 more than the index of the sparse map, 0 for a file without holes.</summary>
        public int SparseMap
        {
            readonly get => ChildCount;
            set => ChildCount = value;
        }

        /// <summary>-1 for a directory that no layer lists.</summary>
        public short Layer;

        /// <summary>st_mode: its 16 bits suffice.</summary>
        public ushort Mode;
    }
}
