using System.Buffers.Binary;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.FileSystem.Erofs;

namespace LazyMount.FileSystem;

/// <summary>A name in a directory.</summary>
/// <param name="Name">The name, byte-exact.</param>
/// <param name="Node">The node id of what it names.</param>
public readonly record struct TreeName(byte[] Name, ulong Node);

/// <summary>
/// One read-only tree out of ordered layers, read in place from a tree file (<see cref="TreeHeader"/>): nothing of it is in memory but the blocks
/// that were used last. Immutable, thread-safe.
/// <para>A <b>node id</b> is the nid of an inode in the EROFS metadata: the root's is 1, and all names of a hard-linked file share one. Node ids
/// depend on nothing but the layers' contents.</para>
/// <para>Everything that is read is bounded by what there is. What is damaged, or not as it was written, throws <see cref="ImageException"/>
/// (<see cref="ImageError.Local"/>), and the file is deleted: it is made again at the next start.</para>
/// </summary>
public sealed partial class ImageTree : IDisposable
{
    /// <summary>The root's node id.</summary>
    public const ulong RootId = ErofsFormat.RootNid;

    /// <summary>
    /// Blocks of 4 KiB that are kept in memory: 4 MiB when as many were used. With 1 MiB 40,000 look-ups at random in 1,000,000 names took a fifth longer.
    /// </summary>
    private const int CachedBlocks = 1024;

    // What readlink(2) could not give is kept all the same, within reason.
    private const int MaxLinkTarget = 1 << 20;

    private readonly CheckedFile _file;
    private readonly TreeHeader _header;

    private ImageTree(CheckedFile file, in TreeHeader header) => (_file, _header) = (file, header);

    /// <summary>Opens the tree in a file; null when there is none that can be used.</summary>
    /// <param name="path">The file.</param>
    /// <param name="key">What it must have been written for.</param>
    public static ImageTree? TryOpen(string path, ReadOnlySpan<byte> key)
    {
        CheckedFile? file = CheckedFile.TryOpen(path, CachedBlocks);
        try
        {
            if (file is not null && TryOpen(file) is { } tree && tree._header.Key.AsSpan().SequenceEqual(key))
                return tree;
        }
        catch (ImageException)
        {
            // It cannot be read: as good as none.
        }
        file?.Dispose();
        return null;
    }

    /// <summary>The tree in a file; owned from then on. Null when it is no tree of this version.</summary>
    internal static ImageTree? TryOpen(CheckedFile file)
    {
        if (file.Length < TreeHeader.Size)
            return null;
        Span<byte> bytes = stackalloc byte[TreeHeader.Size];
        file.Read(file.Length - TreeHeader.Size, bytes);
        if (!TreeHeader.TryParse(bytes, file.Length - TreeHeader.Size, out TreeHeader header))
            return null;
        var tree = new ImageTree(file, header);
        return tree.IsNode(RootId) && FileMode.IsDirectory(tree.Mode(RootId)) ? tree : null;
    }

    /// <summary>What the file holds besides inodes.</summary>
    internal TreeHeader Header => _header;

    /// <summary>Another tree has another digest, and the same tree by another version of the program may have another. What the tree was made from does not count.</summary>
    public Digest Digest => Digest.FromSha256(_header.Tree);

    /// <summary>Number of names in the tree, the root's included.</summary>
    public int Count => _header.NameCount;

    /// <summary>Number of distinct nodes: names less the further names of hard-linked files.</summary>
    public int NodeCount => _header.NodeCount;

    /// <summary>True when some node has extended attributes.</summary>
    public bool HasXattrs => _header.HasXattrs;

    /// <summary>True when some node has a POSIX access control list.</summary>
    public bool HasAccessLists => _header.HasAccessLists;

    /// <summary>True when some file has holes.</summary>
    public bool HasSparseFiles => _header.HasSparseFiles;

    /// <summary>Sum of the stored bytes of all distinct regular files: holes are not counted.</summary>
    public long TotalFileSize => _header.TotalFileSize;

    /// <summary>Hard links of layers that are shown by themselves that lead to lower layers, and are symbolic links here.</summary>
    public int DanglingLinks => _header.DanglingLinks;

    /// <summary>Node ids in the order in which they were given: a directory's before those in it that have no earlier name.</summary>
    public ulong NodeAt(int number) => RecordAt(number).Nid;

    /// <summary>The number of a node in the order of <see cref="NodeAt"/>.</summary>
    public int NumberOf(ulong id) => Number(id, ReadInode(id));

    /// <summary>True when <paramref name="id"/> is a node of this tree. Any number may be asked for.</summary>
    public bool IsNode(ulong id) => MayBeNode(id, out int number) && RecordAt(number).Nid == id;

    /// <summary>False for most numbers that are no node of this tree: enough for one that we gave to somebody. Costs no look at its record.</summary>
    public bool MayBeNode(ulong id) => MayBeNode(id, out _);

    private bool MayBeNode(ulong id, out int number)
    {
        number = -1;
        if (id == 0 || !HasSlot(id) || !TryReadInode(id, out Inode inode))
            return false;
        number = (int)inode.Number - 1;
        return (uint)number < (uint)NodeCount;
    }

    /// <summary>st_mode of a node: file type and permissions.</summary>
    public uint Mode(ulong id) => ReadInode(id).Mode;

    /// <summary>Content bytes of a file, holes included, length of a symbolic link's target, 0 for others.</summary>
    public long Size(ulong id) => SizeOf(ReadInode(id));

    /// <summary>All attributes of a node.</summary>
    public NodeAttributes Attributes(ulong id)
    {
        Inode inode = ReadInode(id);
        uint type = inode.Mode & FileMode.TypeMask;
        (uint Major, uint Minor) device = default;
        long blocks = type == FileMode.Regular ? (inode.Size + 511) / 512 : 0;
        if (type is FileMode.CharacterDevice or FileMode.BlockDevice)
            device = DetailOf(id, inode) is { } detail ? (detail.Major, detail.Minor) : ErofsFormat.DeviceOf(inode.Place);
        else if (type == FileMode.Regular && inode.Layout == ErofsFormat.DataLayout.Chunks)
            blocks = SparseDetailOf(id, inode).Blocks;
        return new NodeAttributes
        {
            Inode = id,
            Mode = inode.Mode,
            LinkCount = inode.LinkCount,
            Uid = inode.Uid,
            Gid = inode.Gid,
            Size = SizeOf(inode),
            Blocks = blocks,
            MtimeSeconds = inode.Seconds,
            MtimeNanoseconds = inode.Nanoseconds,
            DeviceMajor = device.Major,
            DeviceMinor = device.Minor,
        };
    }

    /// <summary>Node id of the directory that holds the first name of a node (the root's is itself).</summary>
    public ulong ParentOf(ulong id) => RecordOf(id, ReadInode(id)).Parent;

    /// <summary>Absolute path of the first name of a node, byte-exact. Looks through the directories on its way.</summary>
    public byte[] PathOf(ulong id)
    {
        List<byte[]> names = [];
        for (ulong at = id; at != RootId; at = ParentOf(at))
        {
            if (names.Count > MergedTree.MaxDepth)
                throw Damaged("a directory is inside itself");
            names.Add(NameIn(ParentOf(at), at));
        }
        names.Reverse();
        return TreePath.Of(names);
    }

    private byte[] NameIn(ulong directory, ulong id)
    {
        for (DirectoryCursor names = ReadDirectory(directory); names.MoveNext();)
        {
            if (names.Node == id && !names.IsDots)
                return names.Name.ToArray();
        }
        throw Damaged("a name is missing");
    }

    /// <summary>
    /// The names in a directory, "." and ".." included, sorted by bytes, from a place that <see cref="DirectoryCursor.Next"/> gave, or 0.
    /// Empty for what is no directory.
    /// </summary>
    public DirectoryCursor ReadDirectory(ulong directory, ulong from = 0) => new(this, directory, from);

    /// <summary>The names in a directory without "." and "..", sorted by bytes.</summary>
    public IEnumerable<TreeName> NamesIn(ulong directory)
    {
        for (ulong from = 0; ;)
        {
            List<TreeName> names = ReadSome(directory, ref from);
            foreach (TreeName name in names)
                yield return name;
            if (names.Count == 0)
                yield break;
        }
    }

    // A block's worth of names; none at the end.
    private List<TreeName> ReadSome(ulong directory, ref ulong from)
    {
        List<TreeName> names = [];
        for (DirectoryCursor cursor = ReadDirectory(directory, from); cursor.MoveNext();)
        {
            from = cursor.Next;
            if (!cursor.IsDots)
                names.Add(new TreeName(cursor.Name.ToArray(), cursor.Node));
            if (names.Count > 0 && cursor.EndsBlock)
                break;
        }
        return names;
    }

    /// <summary>Finds a name in a directory: its node, or 0 when there is none. Binary search.</summary>
    public ulong Find(ulong directory, ReadOnlySpan<byte> name)
    {
        if (name.SequenceEqual("."u8) || name.SequenceEqual(".."u8))
            return 0;
        Inode inode = ReadInode(directory);
        if (!FileMode.IsDirectory(inode.Mode))
            return 0;
        Span<byte> block = stackalloc byte[ErofsFormat.BlockSize];
        // The last block whose first name is not behind it.
        long low = 0, high = ErofsFormat.BlocksFor(inode.Size) - 1;
        while (low < high)
        {
            long middle = low + ((high - low + 1) >> 1);
            (low, high) = DirectoryBlock(inode, middle, block).NameAt(0).SequenceCompareTo(name) <= 0 ? (middle, high) : (low, middle - 1);
        }
        return high < 0 ? 0 : DirectoryBlock(inode, low, block).Find(name);
    }

    /// <summary>Target of a symbolic link; empty for others.</summary>
    public byte[] LinkTarget(ulong id)
    {
        byte[] target = new byte[ReadLinkTarget(id, default)];
        ReadLinkTarget(id, target);
        return target;
    }

    /// <summary>Reads the target of a symbolic link.</summary>
    /// <param name="id">The node.</param>
    /// <param name="to">Takes the target if it has room for it.</param>
    /// <returns>Bytes of the target; 0 for what is no symbolic link.</returns>
    public int ReadLinkTarget(ulong id, Span<byte> to)
    {
        Inode inode = ReadInode(id);
        if (!FileMode.IsSymlink(inode.Mode))
            return 0;
        bool isInline = inode.Layout == ErofsFormat.DataLayout.Inline;
        if (inode.Size > (isInline ? ErofsFormat.BlockSize : MaxLinkTarget))
            throw Damaged("a link is too long");
        int length = (int)inode.Size;
        if (length <= to.Length && isInline)
            ReadTail(inode, to[..length]);
        else if (length <= to.Length)
            ReadBlocks(inode.Place, to[..length]);
        return length;
    }

    /// <summary>
    /// Which of the layers that were merged (lowest 0) a node's entry comes from, and its bytes are to be read from; or -1 for a
    /// directory that no layer lists.
    /// </summary>
    public int LayerOf(ulong id) => RecordOf(id, ReadInode(id)).Layer;

    /// <summary>
    /// The number in the image (lowest 0) of the layer that a node's entry comes from, or -1. Differs from <see cref="LayerOf"/> in
    /// the tree of one layer alone.
    /// </summary>
    public int LayerNumberOf(ulong id) => LayerOf(id) is >= 0 and int layer ? _header.FirstNumber + layer : -1;

    /// <summary>
    /// What stands at an offset of a regular file before its end: where its bytes begin in the tar of <see cref="LayerOf"/>,
    /// or -1 for a hole; and the offset in the file up to which they, or the hole, go on.
    /// </summary>
    public (long DataOffset, long End) Extent(ulong id, long offset)
    {
        Inode inode = ReadInode(id);
        if (inode.Layout != ErofsFormat.DataLayout.Chunks)
            return (DataOffsetOf(RecordOf(id, inode)) + offset, inode.Size);
        Detail detail = SparseDetailOf(id, inode);
        int behind = CountExtents(detail, offset, long.MaxValue);
        if (behind > 0 && ExtentAt(detail, behind - 1) is var at && offset < at.End)
            return (detail.DataOffset + at.Stored + offset - at.Offset, Math.Min(at.End, inode.Size));
        return (-1, behind < detail.ExtentCount ? Math.Min(ExtentAt(detail, behind).Offset, inode.Size) : inode.Size);
    }

    /// <summary>The stored bytes of a regular file: their offset in the file, in the tar of <see cref="LayerOf"/>, and their number.</summary>
    public IEnumerable<(long Offset, long At, long Length)> Extents(ulong id)
    {
        long size = Size(id);
        for (long offset = 0; offset < size;)
        {
            (long at, long end) = Extent(id, offset);
            if (end <= offset)
                throw Damaged("an extent is empty");
            if (at >= 0)
                yield return (offset, at, end - offset);
            offset = end;
        }
    }

    /// <summary>Bytes that a layer holds of a regular file: holes are not counted.</summary>
    public long StoredSize(ulong file) => IsSparse(file) ? Extents(file).Sum(extent => extent.Length) : Size(file);

    /// <summary>All regular files in the order in which their bytes stand in the layers' tars, lowest layer first.</summary>
    public ulong[] FilesInTarOrder() => FilesInTarOrder(Enumerable.Range(0, NodeCount).Select(NodeAt));

    /// <summary>The regular files among some nodes, each of which is given once, in the order in which their bytes stand in the layers' tars, lowest layer first.</summary>
    public ulong[] FilesInTarOrder(IEnumerable<ulong> nodes)
    {
        List<(int Layer, long Place, ulong Id)> files = [];
        foreach (ulong id in nodes)
        {
            if (FileMode.IsRegular(Mode(id)))
            {
                (int layer, long place) = PlaceOf(id);
                files.Add((layer, place, id));
            }
        }
        files.Sort();
        return [.. files.Select(file => file.Id)];
    }

    /// <summary>Where the bytes of a regular file begin: a layer, as <see cref="LayerOf"/> counts them, and an offset in its tar.</summary>
    public (int Layer, long Offset) PlaceOf(ulong file)
    {
        Record record = RecordOf(file, ReadInode(file));
        return (record.Layer, DataOffsetOf(record));
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    /// <summary>Reads the EROFS metadata.</summary>
    internal void ReadMetadata(long offset, Span<byte> to) => _file.Read(offset, to);

    /// <summary>A record of the files by address: the first block, and the node.</summary>
    internal (uint Block, ulong Id) FileAt(int number)
    {
        Span<byte> record = stackalloc byte[TreeHeader.FileSize];
        _file.Read(_header.FilesAt + ((long)number * TreeHeader.FileSize), record);
        return (BinaryPrimitives.ReadUInt32LittleEndian(record), BinaryPrimitives.ReadUInt32LittleEndian(record[4..]));
    }

    /// <summary>
    /// The stored bytes of a file with holes that stand at an address of the EROFS image, or those that come next: their address, where they are
    /// in the layer's tar, and their number; null behind the last.
    /// </summary>
    internal (long Address, long At, long Length)? FindStored(ulong id, long address)
    {
        Detail detail = SparseDetailOf(id, ReadInode(id));
        int behind = CountExtents(detail, long.MaxValue, address);
        for (int i = Math.Max(0, behind - 1); i < detail.ExtentCount; i++)
        {
            SparseExtent extent = ExtentAt(detail, i);
            if (address < extent.Address + extent.End - extent.Offset)
                return (extent.Address, detail.DataOffset + extent.Stored, extent.End - extent.Offset);
        }
        return null;
    }

    /// <summary>True for a regular file with holes.</summary>
    internal bool IsSparse(ulong id) => ReadInode(id) is { Layout: ErofsFormat.DataLayout.Chunks } inode && FileMode.IsRegular(inode.Mode);

    /// <summary>Why EROFS cannot hold the tree, as a clause; null when it can.</summary>
    internal string? WhyNotErofs()
    {
        if (_header.ReasonLength is 0 or > 64 << 10)
            return _header.ReasonLength == 0 ? null : throw Damaged("its reason is too long");
        byte[] reason = new byte[_header.ReasonLength];
        _file.Read(_header.ReasonAt, reason);
        return System.Text.Encoding.UTF8.GetString(reason);
    }

    internal ImageException Damaged(string reason) => _file.Damaged(reason);

    private static long SizeOf(in Inode inode) => (inode.Mode & FileMode.TypeMask) is FileMode.Regular or FileMode.Symlink ? inode.Size : 0;

    private bool HasSlot(ulong id) => id < (ulong)((_header.MetadataSize >> 5) - ((long)ErofsFormat.MetadataBlock << (ErofsFormat.BlockBits - 5)));

    // Bytes from the beginning of a block of the metadata.
    private void ReadBlocks(long block, Span<byte> to)
    {
        if (block <= 0 || block > (_header.MetadataSize - to.Length) >> ErofsFormat.BlockBits)
            throw Damaged($"it refers to block {block}, which does not exist");
        _file.Read(block << ErofsFormat.BlockBits, to);
    }

    internal Inode ReadInode(ulong id)
        => HasSlot(id) && TryReadInode(id, out Inode inode) ? inode : throw Damaged($"node {id} is missing or damaged");

    private bool TryReadInode(ulong id, out Inode inode)
    {
        long at = ((long)ErofsFormat.MetadataBlock << ErofsFormat.BlockBits) + ((long)id * ErofsFormat.SlotSize);
        Span<byte> bytes = stackalloc byte[ErofsFormat.ExtendedInodeSize];
        bytes = bytes[..Math.Min(bytes.Length, LeftInBlock(at))]; // an inode does not cross blocks
        _file.Read(at, bytes);
        return Inode.TryParse(bytes, at, _header, out inode);
    }

    // What stands behind an inode and its attributes, within the same block.
    private void ReadTail(scoped in Inode inode, Span<byte> to)
    {
        long at = inode.At + inode.FixedSize + inode.XattrBytes;
        if (to.Length > LeftInBlock(at) || at > _header.MetadataSize - to.Length)
            throw Damaged("the data after an inode is truncated");
        _file.Read(at, to);
    }

    private static int LeftInBlock(long at) => ErofsFormat.BlockSize - (int)(at & (ErofsFormat.BlockSize - 1));

    /// <summary>Reads a block of a directory.</summary>
    /// <param name="inode">The directory.</param>
    /// <param name="number">Which of its blocks: one that its size covers.</param>
    /// <param name="buffer">A block's worth of memory, which what is returned refers to.</param>
    internal DirectoryBlock DirectoryBlock(scoped in Inode inode, long number, Span<byte> buffer)
    {
        Span<byte> block = buffer[..(int)Math.Min(ErofsFormat.BlockSize, inode.Size - (number << ErofsFormat.BlockBits))];
        if (inode.Layout == ErofsFormat.DataLayout.Inline && number == inode.Size >> ErofsFormat.BlockBits)
            ReadTail(inode, block);
        else
            ReadBlocks(inode.Place + number, block);
        return Erofs.DirectoryBlock.TryParse(block, out DirectoryBlock parsed) ? parsed : throw Damaged("a directory is damaged");
    }

    private readonly record struct Record(ulong Nid, ulong Parent, int Layer, bool HasDetail, long Place);

    private Record RecordAt(int number)
    {
        if ((uint)number >= (uint)NodeCount)
            throw Damaged($"it refers to record {number}, which does not exist");
        Span<byte> record = stackalloc byte[TreeHeader.NodeSize];
        _file.Read(_header.NodesAt + ((long)number * TreeHeader.NodeSize), record);
        uint layer = BinaryPrimitives.ReadUInt16LittleEndian(record[8..]);
        if ((layer & ~TreeHeader.HasDetail) > _header.LayerCount)
            throw Damaged("it refers to a layer that does not exist");
        return new Record(
            BinaryPrimitives.ReadUInt32LittleEndian(record),
            BinaryPrimitives.ReadUInt32LittleEndian(record[4..]),
            (int)(layer & ~TreeHeader.HasDetail) - 1,
            (layer & TreeHeader.HasDetail) != 0,
            BinaryPrimitives.ReadUInt16LittleEndian(record[10..]) | ((long)BinaryPrimitives.ReadUInt32LittleEndian(record[12..]) << 16));
    }

    private int Number(ulong id, in Inode inode)
    {
        int number = (int)inode.Number - 1;
        return RecordAt(number).Nid == id ? number : throw Damaged($"node {id} has the record of another node");
    }

    private Record RecordOf(ulong id, in Inode inode) => RecordAt(Number(id, inode));

    // Where the bytes of a file begin in its layer's tar.
    private long DataOffsetOf(in Record record) => record.HasDetail ? ReadDetail(record.Place).DataOffset : record.Place;

    private readonly record struct Detail(long At, long DataOffset, long Blocks, int ExtentCount, int XattrCount, uint Major, uint Minor, long StoredSize);

    private Detail? DetailOf(ulong id, in Inode inode) => RecordOf(id, inode) is { HasDetail: true } record ? ReadDetail(record.Place) : null;

    private Detail SparseDetailOf(ulong id, in Inode inode) => DetailOf(id, inode) ?? throw Damaged($"the list of holes of node {id} is missing");

    private Detail ReadDetail(long place)
    {
        Span<byte> bytes = stackalloc byte[TreeHeader.DetailSize];
        ReadDetails(place, bytes);
        var detail = new Detail(
            place + TreeHeader.DetailSize,
            BinaryPrimitives.ReadInt64LittleEndian(bytes),
            BinaryPrimitives.ReadInt64LittleEndian(bytes[8..]),
            BinaryPrimitives.ReadInt32LittleEndian(bytes[16..]),
            BinaryPrimitives.ReadInt32LittleEndian(bytes[20..]),
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[24..]),
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[28..]),
            BinaryPrimitives.ReadInt64LittleEndian(bytes[32..]));
        return detail is { ExtentCount: >= 0, XattrCount: >= 0, DataOffset: >= 0 } ? detail : throw Damaged("a detail is damaged");
    }

    private void ReadDetails(long place, Span<byte> to)
    {
        if (place < 0 || place > _header.NodesAt - _header.DetailsAt - to.Length)
            throw Damaged("it refers to a detail that does not exist");
        _file.Read(_header.DetailsAt + place, to);
    }

    private readonly record struct SparseExtent(long Offset, long Stored, long Address, long End);

    private SparseExtent ExtentAt(in Detail detail, int number)
    {
        bool isLast = number == detail.ExtentCount - 1;
        Span<byte> bytes = stackalloc byte[TreeHeader.ExtentSize + sizeof(long) + sizeof(long)]; // and the beginning of the next
        ReadDetails(detail.At + ((long)number * TreeHeader.ExtentSize), isLast ? bytes[..TreeHeader.ExtentSize] : bytes);
        long offset = BinaryPrimitives.ReadInt64LittleEndian(bytes), stored = BinaryPrimitives.ReadInt64LittleEndian(bytes[8..]);
        long next = isLast ? detail.StoredSize : BinaryPrimitives.ReadInt64LittleEndian(bytes[(TreeHeader.ExtentSize + 8)..]);
        if (offset < 0 || stored < 0 || next <= stored || offset > long.MaxValue - (next - stored))
            throw Damaged("an extent is damaged");
        return new SparseExtent(offset, stored, BinaryPrimitives.ReadInt64LittleEndian(bytes[16..]), offset + next - stored);
    }

    // How many extents begin not behind an offset of the file and an address of the image.
    private int CountExtents(in Detail detail, long offset, long address)
    {
        int low = 0, high = detail.ExtentCount;
        while (low < high)
        {
            int middle = low + ((high - low) >> 1);
            SparseExtent extent = ExtentAt(detail, middle);
            (low, high) = extent.Offset <= offset && extent.Address <= address ? (middle + 1, high) : (low, middle);
        }
        return low;
    }
}
