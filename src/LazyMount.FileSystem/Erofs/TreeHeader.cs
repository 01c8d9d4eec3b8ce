using System.Buffers.Binary;

namespace LazyMount.FileSystem.Erofs;

/// <summary>
/// What a tree file holds besides the EROFS metadata that it begins with, and where. The file's data (<see cref="LazyMount.Blobs.Cache.CheckedFile"/>) are:
/// <code>
/// …    EROFS metadata, whole blocks: superblock, inodes, directories, shared attributes
/// …    details of the nodes that need more than a record: files with holes, and what EROFS cannot hold
/// 16 each  a record for every node, in the order of nids: nid (4), nid of the directory of its first name (4), layer plus 1, or
///          <see cref="HasDetail"/> (2), where its bytes begin in the layer's tar, or its detail in the details (6)
/// 8 each   a record for every file with bytes, in the order of their addresses in the image: first block (4), nid (4)
/// …    why EROFS cannot hold the tree, a clause; empty when it can
/// 192  this header
/// </code>
/// The number of an inode's record, plus 1, is its i_ino. Little-endian.
/// </summary>
internal struct TreeHeader
{
    public const int Size = 192, KeySize = 32;

    private const int KeyAt = Size - KeySize, TreeAt = KeyAt - KeySize;
    public const int NodeSize = 16, FileSize = 8, DetailSize = 40, ExtentSize = 24, DetailXattrSize = 6;

    /// <summary>A bit of a record's layer: the record leads to a detail.</summary>
    public const uint HasDetail = 0x8000;

    /// <summary>Raised with every change of the format or of what merging makes.</summary>
    public const uint Version = 2;

    private const ulong Magic = 0x0A454552544D4C00; // "\0LMTREE\n"

    /// <summary>Bytes of the EROFS metadata.</summary>
    public long MetadataSize;

    /// <summary>Bytes of the whole EROFS image.</summary>
    public long ImageSize;

    public long DetailsAt, NodesAt, FilesAt, ReasonAt;
    public int NodeCount, NameCount, FileCount, ReasonLength;

    /// <summary>Bytes that the layers hold of all files.</summary>
    public long TotalFileSize;

    /// <summary>Time of the EROFS file system.</summary>
    public long EpochSeconds;

    public uint EpochNanoseconds;

    /// <summary>The block of the shared attributes.</summary>
    public uint XattrBlock;

    /// <summary>The number in the image of the first of the merged layers.</summary>
    public int FirstNumber;

    /// <summary>Layers that were merged.</summary>
    public int LayerCount;

    /// <summary>Hard links of layers that are shown by themselves that lead to lower layers.</summary>
    public int DanglingLinks;

    /// <summary>The key under which the file is kept, so that a file under another's name is noticed.</summary>
    public byte[] Key;

    /// <summary>
    /// Digest of everything else in the file: of what the tree is. The key says what it was made from, and the same tree can be made from
    /// other indexes: by another way of reading a layer, or in memory without a key.
    /// </summary>
    public byte[] Tree;

    public bool HasXattrs, HasSparseFiles, HasAccessLists;

    public readonly byte[] ToBytes()
    {
        byte[] bytes = new byte[Size];
        var fields = new ErofsFormat.Fields(bytes);
        fields.U64(Magic);
        fields.U32(Version);
        fields.U32((HasXattrs ? 1u : 0) | (HasSparseFiles ? 2u : 0) | (HasAccessLists ? 4u : 0));
        foreach (long value in (ReadOnlySpan<long>)[MetadataSize, ImageSize, DetailsAt, NodesAt, FilesAt, ReasonAt, TotalFileSize, EpochSeconds])
            fields.U64((ulong)value);
        foreach (uint value in (ReadOnlySpan<uint>)[(uint)NodeCount, (uint)NameCount, (uint)FileCount, (uint)ReasonLength, EpochNanoseconds, XattrBlock, (uint)FirstNumber, (uint)DanglingLinks, (uint)LayerCount])
            fields.U32(value);
        Tree.CopyTo(bytes, TreeAt);
        Key.CopyTo(bytes, KeyAt);
        return bytes;
    }

    /// <summary>Reads a header. False when it is none, or its parts are not one behind the other within the data before it.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, long at, out TreeHeader header)
    {
        header = default;
        if (BinaryPrimitives.ReadUInt64LittleEndian(bytes) != Magic || BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]) != Version)
            return false;
        uint flags = BinaryPrimitives.ReadUInt32LittleEndian(bytes[12..]);
        Span<long> longs = stackalloc long[8];
        for (int i = 0; i < longs.Length; i++)
            longs[i] = BinaryPrimitives.ReadInt64LittleEndian(bytes[(16 + (i * 8))..]);
        Span<uint> numbers = stackalloc uint[9];
        for (int i = 0; i < numbers.Length; i++)
            numbers[i] = BinaryPrimitives.ReadUInt32LittleEndian(bytes[(80 + (i * 4))..]);
        header = new TreeHeader
        {
            HasXattrs = (flags & 1) != 0,
            HasSparseFiles = (flags & 2) != 0,
            HasAccessLists = (flags & 4) != 0,
            MetadataSize = longs[0],
            ImageSize = longs[1],
            DetailsAt = longs[2],
            NodesAt = longs[3],
            FilesAt = longs[4],
            ReasonAt = longs[5],
            TotalFileSize = longs[6],
            EpochSeconds = longs[7],
            NodeCount = (int)numbers[0],
            NameCount = (int)numbers[1],
            FileCount = (int)numbers[2],
            ReasonLength = (int)numbers[3],
            EpochNanoseconds = numbers[4],
            XattrBlock = numbers[5],
            FirstNumber = (int)numbers[6],
            DanglingLinks = (int)numbers[7],
            LayerCount = (int)numbers[8],
            Tree = bytes[TreeAt..KeyAt].ToArray(),
            Key = bytes[KeyAt..].ToArray(),
        };
        return header is { NodeCount: > 0, NameCount: > 0, FileCount: >= 0, ReasonLength: >= 0, FirstNumber: >= 0, TotalFileSize: >= 0 }
            && header.MetadataSize > (ErofsFormat.MetadataBlock << ErofsFormat.BlockBits) && header.MetadataSize % ErofsFormat.BlockSize == 0
            && header.ImageSize >= header.MetadataSize
            && header.DetailsAt == header.MetadataSize && header.NodesAt >= header.DetailsAt && header.NodesAt % NodeSize == 0
            && header.FilesAt - header.NodesAt == (long)header.NodeCount * NodeSize
            && header.ReasonAt - header.FilesAt == (long)header.FileCount * FileSize
            && at - header.ReasonAt == header.ReasonLength;
    }
}
