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
        if (!HasXattrs)
            return [];
        List<(byte[] Name, byte[] Value)> xattrs = [];
        for (XattrCursor cursor = ReadXattrs(id, stackalloc byte[NameRoom]); cursor.MoveNext();)
        {
            byte[] value = new byte[cursor.ValueLength];
            cursor.ReadValue(value);
            xattrs.Add(([.. cursor.Prefix, .. cursor.Name], value));
        }
        return xattrs;
    }

    /// <summary>Reads the value of an extended attribute.</summary>
    /// <param name="id">The node.</param>
    /// <param name="name">The attribute.</param>
    /// <param name="to">Takes the value if it has room for it.</param>
    /// <returns>Bytes of the value, or -1 when there is no such attribute.</returns>
    public int ReadXattr(ulong id, ReadOnlySpan<byte> name, Span<byte> to)
    {
        for (XattrCursor cursor = ReadXattrs(id, stackalloc byte[NameRoom]); cursor.MoveNext();)
        {
            if (name.Length == cursor.Prefix.Length + cursor.Name.Length && name.StartsWith(cursor.Prefix) && name.EndsWith(cursor.Name))
            {
                if (cursor.ValueLength <= to.Length)
                    cursor.ReadValue(to[..cursor.ValueLength]);
                return cursor.ValueLength;
            }
        }
        return -1;
    }

    /// <summary>Writes the names of the extended attributes, each ended by a zero byte, as listxattr(2) gives them.</summary>
    /// <param name="id">The node.</param>
    /// <param name="to">Takes as many as there is room for.</param>
    /// <returns>Bytes of all names.</returns>
    public int WriteXattrNames(ulong id, Span<byte> to)
    {
        int length = 0;
        for (XattrCursor cursor = ReadXattrs(id, stackalloc byte[NameRoom]); cursor.MoveNext();)
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

    private XattrCursor ReadXattrs(ulong id, Span<byte> room)
    {
        if (!HasXattrs)
            return default;
        Inode inode = ReadInode(id);
        return inode.XattrBytes > 0 ? new XattrCursor(this, inode, room)
            : DetailOf(id, inode) is { XattrCount: > 0 } detail ? new XattrCursor(this, detail, room)
            : default;
    }

    // Bytes before an end.
    private void ReadBefore(long end, long at, Span<byte> to)
    {
        if (at < 0 || at > end - to.Length)
            throw Damaged("the attributes of a node are truncated");
        _file.Read(at, to);
    }

    // Most names are not longer than the kernel lets them be.
    private const int NameRoom = 256;

    /// <summary>Goes through the attributes of a node. A value is only read when it is asked for.</summary>
    private ref struct XattrCursor
    {
        private readonly ImageTree? _tree;
        private readonly Span<byte> _room; // for names
        private readonly bool _isDetail;
        private readonly long _end; // of what may be read
        private readonly long _stop; // behind the last one that stands at _at
        private long _at; // the next one, or the next id of a shared one
        private int _left; // shared ones, or those of a detail
        private long _value;

        public XattrCursor(ImageTree tree, scoped in Inode inode, Span<byte> room)
        {
            (_tree, _end) = (tree, tree._header.MetadataSize);
            _room = room;
            long at = inode.At + inode.FixedSize;
            Span<byte> header = stackalloc byte[ErofsFormat.XattrHeaderSize];
            tree.ReadBefore(_end, at, header);
            (_left, _at, _stop) = (header[4], at + header.Length, at + inode.XattrBytes);
        }

        public XattrCursor(ImageTree tree, scoped in Detail detail, Span<byte> room)
        {
            (_tree, _isDetail, _left) = (tree, true, detail.XattrCount);
            _room = room;
            _end = tree._header.NodesAt;
            _at = tree._header.DetailsAt + detail.At + ((long)detail.ExtentCount * TreeHeader.ExtentSize);
        }

        /// <summary>What the name begins with.</summary>
        public ReadOnlySpan<byte> Prefix { get; private set; }

        /// <summary>The rest of the name, until the next one.</summary>
        public ReadOnlySpan<byte> Name { get; private set; }

        /// <summary>Bytes of the value.</summary>
        public int ValueLength { get; private set; }

        /// <summary>Reads the value.</summary>
        public readonly void ReadValue(Span<byte> to) => _tree!.ReadBefore(_end, _value, to);

        public bool MoveNext()
        {
            if (_tree is null)
                return false;
            if (_isDetail)
                return MoveToDetail(_tree);
            if (_left > 0)
            {
                _left--;
                Span<byte> id = stackalloc byte[sizeof(uint)];
                _tree.ReadBefore(_stop, _at, id);
                MoveTo(_tree, ((long)_tree._header.XattrBlock << ErofsFormat.BlockBits) + (BinaryPrimitives.ReadUInt32LittleEndian(id) * 4L));
                _at += id.Length;
                return true;
            }
            if (_at >= _stop)
                return false;
            MoveTo(_tree, _at);
            _at = (_value + ValueLength + 3) & ~3L;
            return true;
        }

        private void MoveTo(ImageTree tree, long entry)
        {
            Span<byte> header = stackalloc byte[ErofsFormat.XattrEntrySize];
            tree.ReadBefore(_end, entry, header);
            if (!XattrArea.TryGetPrefix(header[1], out ReadOnlySpan<byte> prefix))
                throw tree.Damaged("an attribute is damaged");
            Prefix = prefix;
            SetNameAndValue(tree, entry + header.Length, header[0], XattrArea.LengthOf(header) - header.Length - header[0]);
        }

        private bool MoveToDetail(ImageTree tree)
        {
            if (_left-- <= 0)
                return false;
            Span<byte> header = stackalloc byte[TreeHeader.DetailXattrSize];
            tree.ReadBefore(_end, _at, header);
            Prefix = default;
            SetNameAndValue(tree, _at + header.Length, BinaryPrimitives.ReadUInt16LittleEndian(header), BinaryPrimitives.ReadInt32LittleEndian(header[2..]));
            _at = _value + ValueLength;
            return true;
        }

        private void SetNameAndValue(ImageTree tree, long at, int nameLength, int valueLength)
        {
            _value = at + nameLength;
            if (valueLength is < 0 or > MaxXattrs || _value > _end - valueLength)
                throw tree.Damaged("the attributes of a node are truncated");
            Span<byte> name = nameLength <= _room.Length ? _room[..nameLength] : new byte[nameLength];
            tree.ReadBefore(_end, at, name);
            Name = name;
            ValueLength = valueLength;
        }
    }
}
