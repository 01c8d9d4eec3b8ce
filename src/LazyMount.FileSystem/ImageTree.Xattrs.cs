using System.Buffers.Binary;
using LazyMount.FileSystem.Erofs;

namespace LazyMount.FileSystem;

/// <summary>Extended attributes: behind an inode, in the area that inodes share, or in a node's detail where EROFS cannot hold them.</summary>
public sealed partial class ImageTree
{
    // Bytes of one set of attributes: more than any tree that was written has.
    private const int MaxXattrs = 64 << 20;

    /// <summary>The extended attributes of a node, sorted by name.</summary>
    public IReadOnlyList<(byte[] Name, byte[] Value)> XattrsOf(ulong id)
    {
        List<(byte[] Name, byte[] Value)> xattrs = [];
        for (XattrCursor cursor = ReadXattrs(id); cursor.MoveNext();)
            xattrs.Add(([.. cursor.Prefix, .. cursor.Name], cursor.Value.ToArray()));
        return xattrs;
    }

    /// <summary>Value of an extended attribute; false when there is none.</summary>
    public bool TryGetXattr(ulong id, ReadOnlySpan<byte> name, out ReadOnlySpan<byte> value)
    {
        for (XattrCursor cursor = ReadXattrs(id); cursor.MoveNext();)
        {
            if (name.Length == cursor.Prefix.Length + cursor.Name.Length && name.StartsWith(cursor.Prefix) && name.EndsWith(cursor.Name))
            {
                value = cursor.Value;
                return true;
            }
        }
        value = default;
        return false;
    }

    /// <summary>Writes the names of the extended attributes, each ended by a zero byte, as listxattr(2) gives them.</summary>
    /// <param name="id">The node.</param>
    /// <param name="to">Takes as many as there is room for.</param>
    /// <returns>Bytes of all names.</returns>
    public int WriteXattrNames(ulong id, Span<byte> to)
    {
        int length = 0;
        for (XattrCursor cursor = ReadXattrs(id); cursor.MoveNext();)
        {
            int end = length + cursor.Prefix.Length + cursor.Name.Length + 1;
            if (end <= to.Length)
            {
                cursor.Prefix.CopyTo(to[length..]);
                cursor.Name.CopyTo(to[(length + cursor.Prefix.Length)..]);
                to[end - 1] = 0;
            }
            length = end;
        }
        return length;
    }

    private XattrCursor ReadXattrs(ulong id)
    {
        if (!HasXattrs)
            return default;
        Inode inode = ReadInode(id);
        return inode.XattrBytes > 0 ? new XattrCursor(this, inode)
            : DetailOf(id, inode) is { XattrCount: > 0 } detail ? new XattrCursor(this, detail)
            : default;
    }

    // Bytes that most often stand in one block, and are then not copied.
    private ReadOnlySpan<byte> Bytes(long at, int length, long end)
    {
        if (at < 0 || length > MaxXattrs || at > end - length)
            throw Damaged("the attributes of a node are truncated");
        if (length == 0)
            return default;
        int within = (int)(at & (ErofsFormat.BlockSize - 1));
        if (within + length <= ErofsFormat.BlockSize)
            return _file[at >> ErofsFormat.BlockBits].Slice(within, length);
        byte[] bytes = new byte[length];
        _file.Read(at, bytes);
        return bytes;
    }

    /// <summary>Goes through the attributes of a node. A value is only read when it is asked for.</summary>
    private ref struct XattrCursor
    {
        private readonly ImageTree? _tree;
        private readonly bool _isDetail;
        private readonly long _end; // of what may be read
        private readonly long _stop; // behind the last one that stands at _at
        private long _at; // the next one, or the next id of a shared one
        private int _left; // shared ones, or those of a detail
        private long _value;
        private int _valueLength;

        public XattrCursor(ImageTree tree, scoped in Inode inode)
        {
            (_tree, _end) = (tree, tree._header.MetadataSize);
            long at = inode.At + inode.FixedSize;
            _left = tree.Bytes(at, ErofsFormat.XattrHeaderSize, _end)[4];
            (_at, _stop) = (at + ErofsFormat.XattrHeaderSize, at + inode.XattrBytes);
        }

        public XattrCursor(ImageTree tree, scoped in Detail detail)
        {
            (_tree, _isDetail, _left) = (tree, true, detail.XattrCount);
            _end = tree._header.NodesAt;
            _at = tree._header.DetailsAt + detail.At + ((long)detail.ExtentCount * TreeHeader.ExtentSize);
        }

        /// <summary>What the name begins with.</summary>
        public ReadOnlySpan<byte> Prefix { get; private set; }

        /// <summary>The rest of the name.</summary>
        public ReadOnlySpan<byte> Name { get; private set; }

        /// <summary>The value.</summary>
        public readonly ReadOnlySpan<byte> Value => _tree!.Bytes(_value, _valueLength, _end);

        public bool MoveNext()
        {
            if (_tree is null)
                return false;
            if (_isDetail)
                return MoveToDetail(_tree);
            if (_left > 0)
            {
                _left--;
                MoveTo(_tree, ((long)_tree._header.XattrBlock << ErofsFormat.BlockBits) + (BinaryPrimitives.ReadUInt32LittleEndian(_tree.Bytes(_at, 4, _stop)) * 4L));
                _at += 4;
                return true;
            }
            if (_at >= _stop)
                return false;
            MoveTo(_tree, _at);
            _at = (_value + _valueLength + 3) & ~3L;
            return true;
        }

        private void MoveTo(ImageTree tree, long entry)
        {
            ReadOnlySpan<byte> header = tree.Bytes(entry, ErofsFormat.XattrEntrySize, _end);
            _value = entry + ErofsFormat.XattrEntrySize + header[0];
            _valueLength = XattrArea.LengthOf(header) - ErofsFormat.XattrEntrySize - header[0];
            if (!XattrArea.TryGetPrefix(header[1], out ReadOnlySpan<byte> prefix))
                throw tree.Damaged("an attribute is damaged");
            Prefix = prefix;
            Name = tree.Bytes(entry + ErofsFormat.XattrEntrySize, header[0], _end);
        }

        private bool MoveToDetail(ImageTree tree)
        {
            if (_left-- <= 0)
                return false;
            ReadOnlySpan<byte> header = tree.Bytes(_at, TreeHeader.DetailXattrSize, _end);
            int nameLength = BinaryPrimitives.ReadUInt16LittleEndian(header);
            _valueLength = BinaryPrimitives.ReadInt32LittleEndian(header[2..]);
            _value = _at + header.Length + nameLength;
            if (_valueLength < 0)
                throw tree.Damaged("the attributes of a node are truncated");
            Prefix = default;
            Name = tree.Bytes(_at + header.Length, nameLength, _end);
            _at = _value + _valueLength;
            return true;
        }
    }
}
