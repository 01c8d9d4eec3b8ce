using System.Buffers.Binary;
using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using LazyMount.Blobs.Cache;
using LazyMount.Indexes.Model;

namespace LazyMount.FileSystem.Erofs;

/// <summary>
/// Writes a merged tree as a tree file (<see cref="TreeHeader"/>): its metadata are those of an EROFS image, behind which there would be the files'
/// bytes in the order of the layers' tars. Every file begins at a block; of a file with holes only the chunks that hold a stored byte have
/// addresses. The same tree gives the same bytes.
/// </summary>
public sealed class TreeWriter
{
    // Entries of a chunk table: a file with more is seen in larger chunks, with fewer holes.
    private const int MaxChunks = 1 << 14;

    // A tail that is longer wastes more behind other inodes than in a block of its own.
    private const int MaxTail = 3 << 10;

    // Inodes that are looked at for the commonest time.
    private const int TimesLookedAt = 1 << 16;

    // Where in its tar a file may begin: below 256 TiB.
    private const int PlaceBits = 48;

    // Bits of a type: a file that has bytes; and one that has holes, too.
    private const byte HasData = 0x80, HasHoles = 0x40;

    private readonly FlatTree _tree;
    private readonly Guid _identity;
    private readonly XattrArea _xattrs;
    private readonly (long Seconds, uint Nanoseconds) _epoch;
    private readonly uint[] _nids; // by position of a node's first name
    private readonly uint[] _blocks; // the same: its first block of data or of names
    private readonly byte[] _types; // the same: as in a directory, and HasData
    private readonly ulong[] _places; // the same: layer plus 1 in the upper 16 bits, where its bytes begin in the layer's tar in the others
    private readonly List<int> _inBlocks = []; // positions of directories and links that have blocks
    private readonly int[] _files; // positions of files with data, in the order of their addresses
    private readonly Dictionary<int, (uint[] Chunks, int Bits)> _chunks = []; // by position: the chunk table of a file with holes
    private readonly byte[] _block = new byte[ErofsFormat.BlockSize];
    private TreeHeader _header;
    private long _detailBytes;
    private string? _reason;
    private bool _hasChunks;

    /// <summary>Lays a tree out.</summary>
    /// <param name="tree">The tree.</param>
    /// <param name="identity">What tells this tree from others: the UUID of the file system.</param>
    /// <param name="key">What the file is kept under: 32 bytes.</param>
    /// <param name="danglingLinks">As in <see cref="TreeHeader.DanglingLinks"/>.</param>
    /// <exception cref="InvalidDataException">A layer is larger than any that there is.</exception>
    internal TreeWriter(FlatTree tree, Guid identity, byte[] key, int danglingLinks)
    {
        (_tree, _identity) = (tree, identity);
        (_nids, _blocks, _types, _places) = (new uint[tree.Count], new uint[tree.Count], new byte[tree.Count], new ulong[tree.Count]);
        _epoch = CommonestTime();
        _xattrs = new XattrArea(tree);
        _header = new TreeHeader
        {
            NodeCount = tree.NodeCount,
            NameCount = tree.Count,
            EpochSeconds = _epoch.Seconds,
            EpochNanoseconds = _epoch.Nanoseconds,
            FirstNumber = tree.FirstNumber,
            LayerCount = tree.LayerCount,
            DanglingLinks = danglingLinks,
            Key = key,
        };
        long blocks = PlaceInodes();
        _header.XattrBlock = checked((uint)blocks);
        blocks += ErofsFormat.BlocksFor(_xattrs.Size);
        _header.MetadataSize = blocks << ErofsFormat.BlockBits;
        _files = PlaceFiles(ref blocks);
        _header.ImageSize = blocks << ErofsFormat.BlockBits;
        _header.FileCount = _files.Length;
        _header.DetailsAt = _header.MetadataSize;
        _header.NodesAt = (_header.DetailsAt + _detailBytes + TreeHeader.NodeSize - 1) & -TreeHeader.NodeSize;
        _header.FilesAt = _header.NodesAt + ((long)_header.NodeCount * TreeHeader.NodeSize);
        _header.ReasonAt = _header.FilesAt + ((long)_header.FileCount * TreeHeader.FileSize);
        _header.ReasonLength = Encoding.UTF8.GetByteCount(_reason ?? "");
    }

    /// <summary>Bytes of data that are to be written.</summary>
    public long Size => _header.ReasonAt + _header.ReasonLength + TreeHeader.Size;

    /// <summary>Writes everything.</summary>
    public void Write(CheckedFile.Writer to)
    {
        _inodes = 0;
        to.Write(Superblock());
        for (int position = 0; position < _tree.Count; position++)
        {
            if (_tree.IsFirstName(position))
                WriteInode(position, to);
        }
        to.FillBlock();
        WriteBlocks(to);
        _xattrs.WriteShared(to.Write);
        to.FillTo(_header.MetadataSize);

        Dictionary<int, long> details = WriteDetails(to);
        to.FillTo(_header.NodesAt);
        WriteNodes(details, to);
        foreach (int position in _files)
        {
            var record = new ErofsFormat.Fields(_block);
            record.U32(_blocks[position]);
            record.U32(_nids[position]);
            to.Write(_block.AsSpan(0, TreeHeader.FileSize));
        }
        to.Write(Encoding.UTF8.GetBytes(_reason ?? ""));
        byte[] none = new byte[TreeHeader.KeySize];
        _header.Tree = SHA256.HashData([.. to.DigestSoFar(), .. (_header with { Key = none, Tree = none }).ToBytes()]);
        to.Write(_header.ToBytes());
        Debug.Assert(to.Length == Size, "written as it was laid out");
    }

    /// <param name="IsExtended">It needs the larger form.</param>
    /// <param name="Layout">How its data are found.</param>
    /// <param name="Xattrs">Bytes of attributes behind it.</param>
    /// <param name="Table">Bytes of its chunk table.</param>
    /// <param name="Tail">Bytes of its data that stand behind it.</param>
    /// <param name="Blocks">Metadata blocks of its own.</param>
    /// <param name="DataSize">Bytes of its data, or of its names.</param>
    /// <param name="Names">A directory's names.</param>
    private readonly record struct Inode(bool IsExtended, ErofsFormat.DataLayout Layout, int Xattrs, int Table, int Tail, int Blocks, long DataSize, DirectoryBlocks Names = default)
    {
        public int FixedSize => IsExtended ? ErofsFormat.ExtendedInodeSize : ErofsFormat.CompactInodeSize;

        public int Size => FixedSize + Xattrs + Table;
    }

    // Gives every node its nid, and directories and links that need some their blocks behind all inodes. Returns the block behind them.
    private long PlaceInodes()
    {
        long at = ((long)ErofsFormat.MetadataBlock << ErofsFormat.BlockBits) + (ErofsFormat.RootNid * ErofsFormat.SlotSize);
        for (int position = 0; position < _tree.Count; position++)
        {
            if (!_tree.IsFirstName(position))
                continue;
            FlatTree.Node node = _tree.NodeAt(position);
            Check(position, node);
            _types[position] = ErofsFormat.TypeOf(node.Mode);
            _places[position] = ((ulong)(node.Layer + 1) << PlaceBits) | (ulong)node.DataOffset;
            _header.HasXattrs |= node.XattrSet >= 0;
            _header.HasAccessLists |= node.XattrSet >= 0 && _xattrs.HasAccessList(node.XattrSet);
            _header.HasSparseFiles |= node.IsSparse;
            if (FileMode.IsRegular(node.Mode))
            {
                _header.TotalFileSize += node.StoredSize;
                _types[position] |= node.StoredSize > 0 ? HasData : (byte)0;
            }
            _detailBytes += DetailBytes(node);
            Inode inode = Measure(position, node);
            _types[position] |= node.IsSparse ? HasHoles : (byte)0;
            _hasChunks |= inode.Layout == ErofsFormat.DataLayout.Chunks;
            at = Place(at, inode);
            _nids[position] = checked((uint)((at >> 5) - ((long)ErofsFormat.MetadataBlock << (ErofsFormat.BlockBits - 5))));
            // Until files have addresses, how many blocks they take, so that they need not be looked up in the order of these.
            _blocks[position] = (_types[position] & HasData) != 0 ? (uint)Math.Min(ErofsFormat.BlocksFor(node.Size), ErofsFormat.NoBlock) : (uint)inode.Blocks;
            if (inode.Blocks > 0)
                _inBlocks.Add(position);
            at += inode.Size + inode.Tail;
        }
        long block = ErofsFormat.BlocksFor(at);
        foreach (int position in _inBlocks)
        {
            uint blocks = _blocks[position];
            _blocks[position] = checked((uint)block);
            block += blocks;
        }
        return block;
    }

    // Gives every file its address.
    private int[] PlaceFiles(ref long block)
    {
        var positions = new int[_types.Count(static type => (type & HasData) != 0)];
        for (int position = 0, i = 0; i < positions.Length; position++)
        {
            if ((_types[position] & HasData) != 0)
                positions[i++] = position;
        }
        ulong[] keys = Array.ConvertAll(positions, position => _places[position]);
        keys.AsSpan().Sort(positions.AsSpan());
        // Tables of contents may have several files at one place.
        for (int i = 0, next; i < keys.Length; i = next)
        {
            for (next = i + 1; next < keys.Length && keys[next] == keys[i]; next++)
            {
            }
            if (next - i > 1)
                positions.AsSpan(i..next).Sort();
        }
        foreach (int position in positions)
        {
            long blocks = (_types[position] & HasHoles) != 0 ? PlaceChunks(position, block) : _blocks[position];
            _blocks[position] = (uint)Math.Min(block, ErofsFormat.NoBlock);
            block += blocks;
            if (block > ErofsFormat.MaxBlocks)
            {
                _reason ??= $"its files have more than {(ErofsFormat.MaxBlocks + 1) >> (40 - ErofsFormat.BlockBits)} TiB together, which EROFS cannot address";
                block = _header.MetadataSize >> ErofsFormat.BlockBits;
                return [];
            }
        }
        return positions;
    }

    // What stands inline must not cross a block, and neither does the fixed part of an inode.
    private static long Place(long at, in Inode inode)
    {
        at = (at + ErofsFormat.SlotSize - 1) & -ErofsFormat.SlotSize;
        int left = (int)(ErofsFormat.BlockSize - (at & (ErofsFormat.BlockSize - 1)));
        int together = inode.Tail > 0 ? inode.Size + inode.Tail : inode.FixedSize;
        return left < together ? at + left : at;
    }

    private Inode Measure(int position, in FlatTree.Node node)
    {
        bool isDirectory = FileMode.IsDirectory(node.Mode);
        DirectoryBlocks blocks = isDirectory ? new DirectoryBlocks(_tree, position) : default;
        long size = isDirectory ? blocks.Size : node.Size;
        bool isExtended = node.Uid > ushort.MaxValue || node.Gid > ushort.MaxValue || node.LinkCount > ushort.MaxValue || size > uint.MaxValue
            || (node.MtimeSeconds, node.MtimeNanoseconds) != _epoch;
        int xattrs = node.XattrSet < 0 || _xattrs.WhyNot(node.XattrSet) is not null ? 0 : (int)_xattrs.SizeBehindInode(node.XattrSet);
        int room = ErofsFormat.BlockSize - (isExtended ? ErofsFormat.ExtendedInodeSize : ErofsFormat.CompactInodeSize) - xattrs;
        switch (node.Mode & FileMode.TypeMask)
        {
            case FileMode.Directory:
                return blocks.Tail <= Math.Min(MaxTail, room)
                    ? new Inode(isExtended, ErofsFormat.DataLayout.Inline, xattrs, 0, blocks.Tail, blocks.FullBlocks, size, blocks)
                    : new Inode(isExtended, ErofsFormat.DataLayout.Plain, xattrs, 0, 0, blocks.FullBlocks + 1, size, blocks);
            case FileMode.Symlink:
                return size <= Math.Min(MaxTail, room)
                    ? new Inode(isExtended, ErofsFormat.DataLayout.Inline, xattrs, 0, (int)size, 0, size)
                    : new Inode(isExtended, ErofsFormat.DataLayout.Plain, xattrs, 0, 0, (int)ErofsFormat.BlocksFor(size), size);
            case FileMode.Regular when size > 0 && node.IsSparse:
                return new Inode(isExtended, ErofsFormat.DataLayout.Chunks, xattrs, 4 * ChunkCount(size, ChunkBits(size)), 0, 0, size);
            default:
                return new Inode(isExtended, ErofsFormat.DataLayout.Plain, xattrs, 0, 0, 0, size);
        }
    }

    private void Check(int position, in FlatTree.Node node)
    {
        if (node.DataOffset >> PlaceBits != 0)
            throw new InvalidDataException($"a layer has more than {1L << PlaceBits} bytes");
        if (_reason is not null)
            return;
        string? reason = FileMode.IsSymlink(node.Mode) && node.Size > ErofsFormat.MaxLinkTarget ? $"a target of more than {ErofsFormat.MaxLinkTarget} bytes"
            : !ErofsFormat.HasDevice(node.DeviceMajor, node.DeviceMinor) ? "a device number beyond what Linux has"
            : node.XattrSet >= 0 ? _xattrs.WhyNot(node.XattrSet) : null;
        if (reason is not null)
            _reason = $"{TreePath.Quoted(_tree.PathOf(position))} has {reason}, which EROFS cannot hold";
    }

    private (long Seconds, uint Nanoseconds) CommonestTime()
    {
        var counts = new Dictionary<(long, uint), int>();
        ((long, uint) Time, int Count) best = ((0, 0), 0);
        for (int position = 0; position < Math.Min(_tree.Count, TimesLookedAt); position++)
        {
            FlatTree.Node node = _tree.NodeAt(_tree.FirstNameOf(position));
            if (node.MtimeSeconds < 0)
                continue;
            (long, uint) time = (node.MtimeSeconds, node.MtimeNanoseconds);
            int count = counts[time] = counts.GetValueOrDefault(time) + 1;
            if (count > best.Count)
                best = (time, count);
        }
        return best.Time;
    }

    private static int ChunkBits(long size)
    {
        int bits = ErofsFormat.BlockBits;
        while (ChunkCount(size, bits) > MaxChunks)
            bits++;
        return bits;
    }

    private static int ChunkCount(long size, int bits) => (int)Math.Min((size - 1 >> bits) + 1, int.MaxValue);

    // Gives the chunks of a file with holes addresses, the first of them given. Returns their blocks.
    private long PlaceChunks(int position, long first)
    {
        FlatTree.Node node = _tree.NodeAt(position);
        SparseMap map = node.SparseMap!;
        int bits = ChunkBits(node.Size);
        var chunks = new uint[ChunkCount(node.Size, bits)];
        Array.Fill(chunks, ErofsFormat.NoBlock);
        long block = first;
        for (int extent = 0; extent < map.Count; extent++)
        {
            for (long chunk = map[extent].Offset >> bits; chunk <= map.End(extent) - 1 >> bits; chunk++)
            {
                if (chunks[chunk] != ErofsFormat.NoBlock)
                    continue;
                chunks[chunk] = (uint)block;
                block += ErofsFormat.BlocksFor(Math.Min(1L << bits, node.Size - (chunk << bits)));
            }
        }
        _chunks[position] = (chunks, bits);
        return block - first;
    }

    private byte[] Superblock()
    {
        var blocks = new byte[ErofsFormat.MetadataBlock << ErofsFormat.BlockBits];
        Span<byte> super = blocks.AsSpan(ErofsFormat.SuperblockOffset);
        var fields = new ErofsFormat.Fields(super);
        fields.U32(ErofsFormat.Magic);
        fields.U32(0); // the checksum
        fields.U32(ErofsFormat.HasChecksum | ErofsFormat.HasMtime | (_header.HasXattrs ? ErofsFormat.HasXattrFilter : 0));
        fields.U8(ErofsFormat.BlockBits);
        fields.U8(0);
        fields.U16(ErofsFormat.RootNid);
        fields.U64((ulong)_tree.NodeCount);
        fields.U64((ulong)_epoch.Seconds);
        fields.U32(_epoch.Nanoseconds);
        fields.U32((uint)(_header.ImageSize >> ErofsFormat.BlockBits));
        fields.U32(ErofsFormat.MetadataBlock);
        fields.U32(_header.XattrBlock);
        fields.Bytes(_identity.ToByteArray(bigEndian: true));
        fields.Skip(16); // the volume's name
        fields.U32(_hasChunks ? ErofsFormat.HasChunks : 0);
        BinaryPrimitives.WriteUInt32LittleEndian(super[4..], Crc32C(super[..(ErofsFormat.BlockSize - ErofsFormat.SuperblockOffset)]));
        return blocks;
    }

    // As the kernel computes it: over the rest of the block, without the last inversion.
    private static uint Crc32C(ReadOnlySpan<byte> bytes)
    {
        uint crc = uint.MaxValue;
        foreach (byte value in bytes)
            crc = System.Numerics.BitOperations.Crc32C(crc, value);
        return crc;
    }

    private uint _inodes; // written so far

    private void WriteInode(int position, CheckedFile.Writer to)
    {
        FlatTree.Node node = _tree.NodeAt(position);
        Inode inode = Measure(position, node);
        bool isDirectory = FileMode.IsDirectory(node.Mode), isDevice = (node.Mode & FileMode.TypeMask) is FileMode.CharacterDevice or FileMode.BlockDevice;
        uint place = isDevice ? ErofsFormat.Device(node.DeviceMajor, node.DeviceMinor)
            : inode.Layout == ErofsFormat.DataLayout.Chunks ? ErofsFormat.ChunkFormat(ChunkBits(node.Size))
            : _blocks[position];
        byte[] bytes = inode.Size <= _block.Length ? _block : new byte[inode.Size];
        bytes.AsSpan(0, inode.Size).Clear();
        var fields = new ErofsFormat.Fields(bytes);
        fields.U16((inode.IsExtended ? 1u : 0) | ((uint)inode.Layout << 1));
        fields.U16(inode.Xattrs == 0 ? 0 : (uint)(((inode.Xattrs - ErofsFormat.XattrHeaderSize) / 4) + 1));
        fields.U16(node.Mode);
        if (inode.IsExtended)
        {
            fields.U16(0);
            fields.U64((ulong)inode.DataSize);
            fields.U32(place);
            fields.U32(++_inodes);
            fields.U32(node.Uid);
            fields.U32(node.Gid);
            fields.U64((ulong)node.MtimeSeconds);
            fields.U32(node.MtimeNanoseconds);
            fields.U32(node.LinkCount);
        }
        else
        {
            fields.U16(node.LinkCount);
            fields.U32((uint)inode.DataSize);
            fields.U32(0);
            fields.U32(place);
            fields.U32(++_inodes);
            fields.U16(node.Uid);
            fields.U16(node.Gid);
        }
        if (inode.Xattrs > 0)
            _xattrs.WriteBehindInode(node.XattrSet, bytes.AsSpan(inode.FixedSize, inode.Xattrs));
        if (inode.Layout == ErofsFormat.DataLayout.Chunks)
        {
            Span<byte> table = bytes.AsSpan(inode.FixedSize + inode.Xattrs, inode.Table);
            table.Fill(byte.MaxValue); // holes
            uint[] chunks = _chunks.TryGetValue(position, out var known) ? known.Chunks : [];
            for (int i = 0; i < chunks.Length; i++)
                BinaryPrimitives.WriteUInt32LittleEndian(table[(i * 4)..], chunks[i]);
        }
        to.FillTo(((long)ErofsFormat.MetadataBlock << ErofsFormat.BlockBits) + ((long)_nids[position] * ErofsFormat.SlotSize));
        to.Write(bytes.AsSpan(0, inode.Size));
        if (inode.Tail > 0 && isDirectory)
            WriteTail(inode.Names, inode.Blocks, inode.Tail, to);
        else if (inode.Tail > 0)
            to.Write(node.LinkTarget.Span);
    }

    // A method of its own: what a lambda captures is allocated where its method begins.
    private void WriteTail(DirectoryBlocks names, int number, int length, CheckedFile.Writer to)
        => names.Write(number, number + 1, _nids, _types, _block, block => to.Write(block[..length]));

    // The blocks of directories and links that do not fit behind their inodes.
    private void WriteBlocks(CheckedFile.Writer to)
    {
        foreach (int position in _inBlocks)
        {
            to.FillTo((long)_blocks[position] << ErofsFormat.BlockBits);
            FlatTree.Node node = _tree.NodeAt(position);
            if (Measure(position, node) is var inode && FileMode.IsDirectory(node.Mode))
                inode.Names.Write(0, inode.Blocks, _nids, _types, _block, to.Write);
            else
                to.Write(node.LinkTarget.Span);
        }
        to.FillBlock();
    }

    private Dictionary<int, long> WriteDetails(CheckedFile.Writer to)
    {
        Dictionary<int, long> details = [];
        if (!_header.HasSparseFiles && _reason is null)
            return details;
        for (int position = 0; position < _tree.Count; position++)
        {
            if (!_tree.IsFirstName(position))
                continue;
            FlatTree.Node node = _tree.NodeAt(position);
            if (DetailBytes(node) == 0)
                continue;
            details[position] = to.Length - _header.DetailsAt;
            WriteDetail(position, node, XattrsNotHeld(node), to);
        }
        return details;
    }

    // 0 for a node whose record says all.
    private long DetailBytes(in FlatTree.Node node)
    {
        Xattr[] xattrs = XattrsNotHeld(node);
        return xattrs.Length == 0 && !node.IsSparse && ErofsFormat.HasDevice(node.DeviceMajor, node.DeviceMinor) ? 0
            : TreeHeader.DetailSize + ((node.SparseMap?.Count ?? 0) * (long)TreeHeader.ExtentSize)
                + xattrs.Sum(static xattr => (long)TreeHeader.DetailXattrSize + xattr.Name.Length + xattr.Value.Length);
    }

    private Xattr[] XattrsNotHeld(in FlatTree.Node node)
        => node.XattrSet >= 0 && _xattrs.WhyNot(node.XattrSet) is not null ? _tree.XattrSets[node.XattrSet] : [];

    private void WriteDetail(int position, in FlatTree.Node node, Xattr[] xattrs, CheckedFile.Writer to)
    {
        SparseMap? map = node.SparseMap;
        var fields = new ErofsFormat.Fields(_block);
        fields.U64((ulong)node.DataOffset);
        fields.U64((ulong)(map?.Blocks ?? 0));
        fields.U32((uint)(map?.Count ?? 0));
        fields.U32((uint)xattrs.Length);
        fields.U32(node.DeviceMajor);
        fields.U32(node.DeviceMinor);
        fields.U64((ulong)(map?.StoredSize ?? 0));
        to.Write(_block.AsSpan(0, TreeHeader.DetailSize));
        for (int i = 0; i < (map?.Count ?? 0); i++)
        {
            (long offset, long stored) = map![i];
            long address = 0;
            if (_chunks.TryGetValue(position, out var known))
                address = ((long)known.Chunks[offset >> known.Bits] << ErofsFormat.BlockBits) + (offset & ((1L << known.Bits) - 1));
            fields = new ErofsFormat.Fields(_block);
            fields.U64((ulong)offset);
            fields.U64((ulong)stored);
            fields.U64((ulong)address);
            to.Write(_block.AsSpan(0, TreeHeader.ExtentSize));
        }
        foreach (Xattr xattr in xattrs)
        {
            fields = new ErofsFormat.Fields(_block);
            fields.U16((uint)xattr.Name.Length);
            fields.U32((uint)xattr.Value.Length);
            to.Write(_block.AsSpan(0, TreeHeader.DetailXattrSize));
            to.Write(xattr.Name.Span);
            to.Write(xattr.Value.Span);
        }
    }

    private void WriteNodes(Dictionary<int, long> details, CheckedFile.Writer to)
    {
        for (int position = 0; position < _tree.Count; position++)
        {
            if (!_tree.IsFirstName(position))
                continue;
            bool hasDetail = details.TryGetValue(position, out long detail);
            ulong place = hasDetail ? (ulong)detail : _places[position];
            var record = new ErofsFormat.Fields(_block);
            record.U32(_nids[position]);
            record.U32(_nids[_tree.ParentOf(position)]);
            record.U16((uint)(_places[position] >> PlaceBits) | (hasDetail ? TreeHeader.HasDetail : 0));
            record.U16((uint)(place & 0xFFFF));
            record.U32((uint)(place >> 16));
            to.Write(_block.AsSpan(0, TreeHeader.NodeSize));
        }
    }
}
