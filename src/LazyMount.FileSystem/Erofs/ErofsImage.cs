using System.Buffers.Binary;
using System.Text;

namespace LazyMount.FileSystem.Erofs;

/// <summary>
/// A tree laid out as one EROFS image: metadata, and behind it an address space for the files' bytes in the order of the layers' tars.
/// Every file begins at a block; of a file with holes only the chunks that hold a stored byte have addresses. The same tree gives the same image.
/// Immutable.
/// </summary>
public sealed class ErofsImage
{
    // Entries of a chunk table: more holes than that are seen as holes costs 64 KiB of metadata a file.
    private const int MaxChunks = 1 << 14;

    // A tail that is longer wastes more behind other inodes than in a block of its own.
    private const int MaxTail = 3 << 10;

    // Inodes that are looked at for the commonest time.
    private const int TimesLookedAt = 1 << 16;

    private readonly ImageTree _tree;
    private readonly Guid _identity;
    private readonly XattrArea _xattrs;
    private readonly (long Seconds, uint Nanoseconds) _epoch;
    private readonly uint[] _nids; // by position of a node's first name
    private readonly uint[] _blocks; // the same: its first block of data, or where it would be
    private readonly List<int> _files = []; // positions of files with data, in the order of their addresses
    private readonly Dictionary<int, (long Address, long At, long Length)[]> _sparse = []; // by position: where the stored bytes of a file with holes are
    private readonly long _inodeEnd; // bytes from the beginning of the image
    private readonly uint _xattrBlock;
    private readonly bool _hasChunks;

    /// <summary>Lays a tree out.</summary>
    /// <param name="tree">The tree.</param>
    /// <param name="identity">What tells this tree from others: the UUID of the file system.</param>
    /// <exception cref="InvalidDataException">EROFS cannot hold this tree; says why in a clause.</exception>
    public ErofsImage(ImageTree tree, Guid identity)
    {
        (_tree, _identity) = (tree, identity);
        (_nids, _blocks) = (new uint[tree.Count], new uint[tree.Count]);
        int[] uses = new int[tree.XattrSets.Count];
        for (int position = 0; position < tree.Count; position++)
        {
            if (IsFirstName(position) && tree.XattrSetOf((ulong)position + 1) is >= 0 and int set)
                uses[set]++;
        }
        _xattrs = new XattrArea(tree.XattrSets, uses);
        _epoch = CommonestTime();

        long at = ((long)ErofsFormat.MetadataBlock << ErofsFormat.BlockBits) + (ErofsFormat.RootNid * ErofsFormat.SlotSize);
        for (int position = 0; position < tree.Count; position++)
        {
            if (!IsFirstName(position))
                continue;
            Check(position);
            Inode inode = Measure(position);
            _hasChunks |= inode.Layout == ErofsFormat.DataLayout.Chunks;
            at = Place(at, inode);
            _nids[position] = checked((uint)((at >> 5) - ((long)ErofsFormat.MetadataBlock << (ErofsFormat.BlockBits - 5))));
            at += inode.Size + inode.Tail;
        }
        _inodeEnd = at;

        long block = ErofsFormat.BlocksFor(at);
        for (int position = 0; position < tree.Count; position++)
        {
            if (!IsFirstName(position) || FileMode.IsRegular(tree.Mode((ulong)position + 1)))
                continue;
            _blocks[position] = checked((uint)block);
            block += Measure(position).Blocks;
        }
        _xattrBlock = checked((uint)block);
        block += ErofsFormat.BlocksFor(_xattrs.Size);
        MetadataSize = block << ErofsFormat.BlockBits;

        foreach (int position in tree.FilesInTarOrder().Where(position => tree.Size((ulong)position + 1) > 0))
        {
            _files.Add(position);
            _blocks[position] = (uint)block;
            block += BlocksOf((ulong)position + 1);
            if (block > ErofsFormat.MaxBlocks)
                throw new InvalidDataException($"its files have more than {ErofsFormat.MaxBlocks >> (40 - ErofsFormat.BlockBits)} TiB together, which EROFS cannot address");
        }
        Size = block << ErofsFormat.BlockBits;
        foreach (int position in _files.Where(position => tree.IsSparse((ulong)position + 1)))
            _sparse[position] = [.. DataOf((ulong)position + 1)];
    }

    /// <summary>Time of the file system: that of the inodes which have none of their own.</summary>
    public (long Seconds, uint Nanoseconds) Time => _epoch;

    /// <summary>
    /// What stands at an address behind the metadata: bytes of a layer's tar (which layer, and where) or, where the layer is -1, zeros; and the
    /// address up to which they go on.
    /// </summary>
    public (int Layer, long At, long End) Find(long address)
    {
        int behind = CountUpTo(_files.Count, file => AddressOf(_files[file]), address);
        long next = behind < _files.Count ? AddressOf(_files[behind]) : Size;
        if (behind == 0)
            return (-1, 0, next);
        int position = _files[behind - 1];
        ulong id = (ulong)position + 1;
        if (!_sparse.TryGetValue(position, out (long Address, long At, long Length)[]? pieces))
        {
            long offset = address - AddressOf(position), size = _tree.Size(id);
            return offset < size ? (_tree.LayerOf(id), _tree.Extent(id, offset).DataOffset, AddressOf(position) + size) : (-1, 0, next);
        }
        int piece = CountUpTo(pieces.Length, each => pieces[each].Address, address);
        if (piece > 0 && address - pieces[piece - 1].Address is var within && within < pieces[piece - 1].Length)
            return (_tree.LayerOf(id), pieces[piece - 1].At + within, pieces[piece - 1].Address + pieces[piece - 1].Length);
        return (-1, 0, piece < pieces.Length ? pieces[piece].Address : next);
    }

    /// <summary>The path of the file that has the bytes at an address behind the metadata; null when none has.</summary>
    public byte[]? PathAt(long address)
    {
        int behind = CountUpTo(_files.Count, file => AddressOf(_files[file]), address);
        return behind == 0 ? null : _tree.PathOf((ulong)_files[behind - 1] + 1);
    }

    // How many of some addresses, which are in order, are not behind a given one.
    private static int CountUpTo(int count, Func<int, long> at, long address)
    {
        int low = 0, high = count;
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            (low, high) = at(middle) <= address ? (middle + 1, high) : (low, middle);
        }
        return low;
    }

    private long AddressOf(int position) => (long)_blocks[position] << ErofsFormat.BlockBits;

    /// <summary>Bytes of the metadata, which the image begins with.</summary>
    public long MetadataSize { get; }

    /// <summary>Bytes of the whole image.</summary>
    public long Size { get; }

    /// <summary>The node ids of the files that have bytes, in the order of their addresses.</summary>
    public IEnumerable<ulong> Files => _files.Select(static position => (ulong)position + 1);

    /// <summary>Where the stored bytes of a file are: their offset in the image, where they stand in the tar of the file's layer, and their number.</summary>
    public IEnumerable<(long Address, long At, long Length)> DataOf(ulong id)
    {
        long begin = (long)_blocks[id - 1] << ErofsFormat.BlockBits;
        if (!_tree.IsSparse(id))
        {
            foreach ((long offset, long at, long length) in _tree.Extents(id))
                yield return (begin + offset, at, length);
            yield break;
        }
        (int bits, uint[] chunks) = ChunksOf(id);
        foreach ((long offset, long at, long length) in _tree.Extents(id))
        {
            for (long done = 0, count; done < length; done += count)
            {
                long chunk = (offset + done) >> bits, within = (offset + done) & ((1L << bits) - 1);
                count = Math.Min(length - done, (1L << bits) - within);
                yield return (((long)chunks[chunk] << ErofsFormat.BlockBits) + within, at + done, count);
            }
        }
    }

    /// <summary>Writes the metadata, from the first byte of the image on.</summary>
    public void WriteMetadata(Stream output)
    {
        var to = new Writer(output);
        to.Write(Superblock());
        for (int position = 0; position < _tree.Count; position++)
        {
            if (IsFirstName(position))
                WriteInode(position, to);
        }
        to.FillBlock();
        for (int position = 0; position < _tree.Count; position++)
        {
            if (!IsFirstName(position) || FileMode.IsRegular(_tree.Mode((ulong)position + 1)))
                continue;
            int blocks = Measure(position).Blocks;
            if (blocks == 0)
                continue;
            if (FileMode.IsDirectory(_tree.Mode((ulong)position + 1)))
                new DirectoryBlocks(_tree, (ulong)position + 1).Write(0, blocks, NidOf, to.Write);
            else
                to.Write(_tree.LinkTarget((ulong)position + 1).ToArray());
            to.FillBlock();
        }
        _xattrs.WriteShared(to.Write);
        to.FillBlock();
    }

    /// <param name="IsExtended">It needs the larger form.</param>
    /// <param name="Layout">How its data are found.</param>
    /// <param name="Xattrs">Bytes of attributes behind it.</param>
    /// <param name="Table">Bytes of its chunk table.</param>
    /// <param name="Tail">Bytes of its data that stand behind it.</param>
    /// <param name="Blocks">Metadata blocks of its own.</param>
    private readonly record struct Inode(bool IsExtended, ErofsFormat.DataLayout Layout, int Xattrs, int Table, int Tail, int Blocks)
    {
        public int Size => (IsExtended ? ErofsFormat.ExtendedInodeSize : ErofsFormat.CompactInodeSize) + Xattrs + Table;
    }

    private bool IsFirstName(int position) => _tree.IsNode((ulong)position + 1);

    private uint NidOf(ulong id) => _nids[id - 1];

    // What stands inline must not cross a block, and neither does the fixed part of an inode.
    private static long Place(long at, in Inode inode)
    {
        at = (at + ErofsFormat.SlotSize - 1) & -ErofsFormat.SlotSize;
        int left = (int)(ErofsFormat.BlockSize - (at & (ErofsFormat.BlockSize - 1)));
        int together = inode.Tail > 0 ? inode.Size + inode.Tail : inode.IsExtended ? ErofsFormat.ExtendedInodeSize : ErofsFormat.CompactInodeSize;
        return left < together ? at + left : at;
    }

    private Inode Measure(int position)
    {
        ulong id = (ulong)position + 1;
        NodeAttributes attributes = _tree.Attributes(id);
        DirectoryBlocks blocks = FileMode.IsDirectory(attributes.Mode) ? new DirectoryBlocks(_tree, id) : default;
        long size = FileMode.IsDirectory(attributes.Mode) ? blocks.Size : attributes.Size;
        bool isExtended = attributes.Uid > ushort.MaxValue || attributes.Gid > ushort.MaxValue || attributes.LinkCount > ushort.MaxValue || size > uint.MaxValue
            || (attributes.MtimeSeconds, attributes.MtimeNanoseconds) != _epoch;
        int set = _tree.XattrSetOf(id), xattrs = set < 0 ? 0 : (int)_xattrs.SizeBehindInode(set);
        int room = ErofsFormat.BlockSize - (isExtended ? ErofsFormat.ExtendedInodeSize : ErofsFormat.CompactInodeSize) - xattrs;
        switch (attributes.Mode & FileMode.TypeMask)
        {
            case FileMode.Directory:
                return blocks.Tail <= Math.Min(MaxTail, room)
                    ? new Inode(isExtended, ErofsFormat.DataLayout.Inline, xattrs, 0, blocks.Tail, blocks.FullBlocks)
                    : new Inode(isExtended, ErofsFormat.DataLayout.Plain, xattrs, 0, 0, blocks.FullBlocks + 1);
            case FileMode.Symlink:
                return size <= Math.Min(MaxTail, room)
                    ? new Inode(isExtended, ErofsFormat.DataLayout.Inline, xattrs, 0, (int)size, 0)
                    : new Inode(isExtended, ErofsFormat.DataLayout.Plain, xattrs, 0, 0, 1);
            case FileMode.Regular when size > 0 && _tree.IsSparse(id):
                int table = 4 * ChunkCount(size, ChunkBits(size));
                return new Inode(isExtended, ErofsFormat.DataLayout.Chunks, xattrs, table, 0, 0);
            default:
                return new Inode(isExtended, ErofsFormat.DataLayout.Plain, xattrs, 0, 0, 0);
        }
    }

    private void Check(int position)
    {
        ulong id = (ulong)position + 1;
        string? reason = FileMode.IsSymlink(_tree.Mode(id)) && _tree.Size(id) > ErofsFormat.MaxLinkTarget ? $"a target of more than {ErofsFormat.MaxLinkTarget} bytes"
            : _tree.XattrSetOf(id) is >= 0 and int set ? _xattrs.WhyNot(set) : null;
        if (reason is not null)
            throw new InvalidDataException($"'{Printable(_tree.PathOf(id))}' has {reason}, which EROFS cannot hold");
    }

    private static string Printable(byte[] path) => string.Concat(Encoding.UTF8.GetString(path).Select(static c => char.IsControl(c) ? '?' : c));

    private (long Seconds, uint Nanoseconds) CommonestTime()
    {
        var counts = new Dictionary<(long, uint), int>();
        ((long, uint) Time, int Count) best = ((0, 0), 0);
        for (int position = 0; position < Math.Min(_tree.Count, TimesLookedAt); position++)
        {
            NodeAttributes attributes = _tree.Attributes(_tree.NodeAt(position));
            if (attributes.MtimeSeconds < 0)
                continue;
            (long, uint) time = (attributes.MtimeSeconds, attributes.MtimeNanoseconds);
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

    // Each chunk's first block, or that it is a hole.
    private (int Bits, uint[] Blocks) ChunksOf(ulong id)
    {
        long size = _tree.Size(id);
        int bits = ChunkBits(size);
        var blocks = new uint[ChunkCount(size, bits)];
        Array.Fill(blocks, ErofsFormat.NoBlock);
        long block = _blocks[id - 1];
        foreach ((long offset, _, long length) in _tree.Extents(id))
        {
            for (long chunk = offset >> bits; chunk <= offset + length - 1 >> bits; chunk++)
            {
                if (blocks[chunk] != ErofsFormat.NoBlock)
                    continue;
                blocks[chunk] = (uint)block;
                block += ErofsFormat.BlocksFor(Math.Min(1L << bits, size - (chunk << bits)));
            }
        }
        return (bits, blocks);
    }

    private long BlocksOf(ulong id)
    {
        long size = _tree.Size(id);
        if (!_tree.IsSparse(id))
            return ErofsFormat.BlocksFor(size);
        (int bits, uint[] chunks) = ChunksOf(id);
        return chunks.Select((block, i) => block == ErofsFormat.NoBlock ? 0 : ErofsFormat.BlocksFor(Math.Min(1L << bits, size - ((long)i << bits)))).Sum();
    }

    private byte[] Superblock()
    {
        var blocks = new byte[ErofsFormat.MetadataBlock << ErofsFormat.BlockBits];
        Span<byte> super = blocks.AsSpan(ErofsFormat.SuperblockOffset);
        var fields = new ErofsFormat.Fields(super);
        fields.U32(ErofsFormat.Magic);
        fields.U32(0); // the checksum
        fields.U32(ErofsFormat.HasChecksum | ErofsFormat.HasMtime | (_tree.HasXattrs ? ErofsFormat.HasXattrFilter : 0));
        fields.U8(ErofsFormat.BlockBits);
        fields.U8(0);
        fields.U16(ErofsFormat.RootNid);
        fields.U64((ulong)_tree.NodeCount);
        fields.U64((ulong)_epoch.Seconds);
        fields.U32(_epoch.Nanoseconds);
        fields.U32((uint)(Size >> ErofsFormat.BlockBits));
        fields.U32(ErofsFormat.MetadataBlock);
        fields.U32(_xattrBlock);
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

    private void WriteInode(int position, Writer to)
    {
        ulong id = (ulong)position + 1;
        Inode inode = Measure(position);
        NodeAttributes attributes = _tree.Attributes(id);
        bool isDirectory = FileMode.IsDirectory(attributes.Mode), isDevice = (attributes.Mode & FileMode.TypeMask) is FileMode.CharacterDevice or FileMode.BlockDevice;
        ulong size = (ulong)(isDirectory ? new DirectoryBlocks(_tree, id).Size : attributes.Size);
        uint place = isDevice ? ErofsFormat.Device(attributes.DeviceMajor, attributes.DeviceMinor)
            : inode.Layout == ErofsFormat.DataLayout.Chunks ? ErofsFormat.ChunkFormat(ChunkBits(attributes.Size))
            : _blocks[position];
        var bytes = new byte[inode.Size + inode.Tail];
        var fields = new ErofsFormat.Fields(bytes);
        fields.U16((inode.IsExtended ? 1u : 0) | ((uint)inode.Layout << 1));
        fields.U16(inode.Xattrs == 0 ? 0 : (uint)((inode.Xattrs - ErofsFormat.XattrHeaderSize) / 4 + 1));
        fields.U16(attributes.Mode);
        if (inode.IsExtended)
        {
            fields.U16(0);
            fields.U64(size);
            fields.U32(place);
            fields.U32(_nids[position]);
            fields.U32(attributes.Uid);
            fields.U32(attributes.Gid);
            fields.U64((ulong)attributes.MtimeSeconds);
            fields.U32(attributes.MtimeNanoseconds);
            fields.U32(attributes.LinkCount);
            fields.Skip(16);
        }
        else
        {
            fields.U16(attributes.LinkCount);
            fields.U32((uint)size);
            fields.U32(0);
            fields.U32(place);
            fields.U32(_nids[position]);
            fields.U16(attributes.Uid);
            fields.U16(attributes.Gid);
            fields.U32(0);
        }
        int at = inode.IsExtended ? ErofsFormat.ExtendedInodeSize : ErofsFormat.CompactInodeSize;
        if (inode.Xattrs > 0)
            _xattrs.WriteBehindInode(_tree.XattrSetOf(id), bytes.AsSpan(at, inode.Xattrs));
        at += inode.Xattrs;
        if (inode.Layout == ErofsFormat.DataLayout.Chunks)
        {
            foreach (uint block in ChunksOf(id).Blocks)
            {
                BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(at), block);
                at += 4;
            }
        }
        if (inode.Tail > 0)
        {
            Span<byte> tail = bytes.AsSpan(inode.Size);
            if (isDirectory)
                new DirectoryBlocks(_tree, id).Write(inode.Blocks, inode.Blocks + 1, NidOf, block => block.AsSpan(0, inode.Tail).CopyTo(bytes.AsSpan(inode.Size)));
            else
                _tree.LinkTarget(id).CopyTo(tail);
        }
        to.FillTo(((long)ErofsFormat.MetadataBlock << ErofsFormat.BlockBits) + ((long)_nids[position] * ErofsFormat.SlotSize));
        to.Write(bytes);
    }

    /// <summary>Counts what is written, and fills gaps with zeros.</summary>
    private sealed class Writer(Stream output)
    {
        private static readonly byte[] s_zeros = new byte[ErofsFormat.BlockSize];

        private long _at;

        public void Write(byte[] bytes)
        {
            output.Write(bytes);
            _at += bytes.Length;
        }

        public void FillTo(long offset)
        {
            for (; _at < offset; _at += Math.Min(offset - _at, s_zeros.Length))
                output.Write(s_zeros, 0, (int)Math.Min(offset - _at, s_zeros.Length));
        }

        public void FillBlock() => FillTo((_at + ErofsFormat.BlockSize - 1) & -ErofsFormat.BlockSize);
    }
}
