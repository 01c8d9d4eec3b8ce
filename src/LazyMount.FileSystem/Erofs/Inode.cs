using System.Buffers.Binary;

namespace LazyMount.FileSystem.Erofs;

/// <summary>An inode, compact or extended.</summary>
internal readonly struct Inode
{
    /// <summary>Its offset in the image.</summary>
    public long At { get; private init; }

    /// <summary>Bytes before its attributes.</summary>
    public int FixedSize { get; private init; }

    public ErofsFormat.DataLayout Layout { get; private init; }

    /// <summary>Bytes of attributes behind it.</summary>
    public int XattrBytes { get; private init; }

    public uint Mode { get; private init; }

    public uint LinkCount { get; private init; }

    /// <summary>Bytes of its data, or of its names.</summary>
    public long Size { get; private init; }

    /// <summary>First block, or device.</summary>
    public uint Place { get; private init; }

    /// <summary>i_ino.</summary>
    public uint Number { get; private init; }

    public uint Uid { get; private init; }

    public uint Gid { get; private init; }

    public long Seconds { get; private init; }

    public uint Nanoseconds { get; private init; }

    /// <summary>False for an inode that is truncated or has no size.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, long at, in TreeHeader header, out Inode inode)
    {
        uint format = BinaryPrimitives.ReadUInt16LittleEndian(bytes);
        int xattrs = BinaryPrimitives.ReadUInt16LittleEndian(bytes[2..]);
        bool isExtended = (format & 1) != 0;
        int size = isExtended ? ErofsFormat.ExtendedInodeSize : ErofsFormat.CompactInodeSize;
        inode = default;
        if (bytes.Length < size)
            return false;
        bytes = bytes[..size];
        inode = new Inode
        {
            At = at,
            FixedSize = size,
            Layout = (ErofsFormat.DataLayout)((format >> 1) & 7),
            XattrBytes = xattrs == 0 ? 0 : ErofsFormat.XattrHeaderSize + ((xattrs - 1) * 4),
            Mode = BinaryPrimitives.ReadUInt16LittleEndian(bytes[4..]),
            LinkCount = isExtended ? BinaryPrimitives.ReadUInt32LittleEndian(bytes[44..]) : BinaryPrimitives.ReadUInt16LittleEndian(bytes[6..]),
            Size = isExtended ? BinaryPrimitives.ReadInt64LittleEndian(bytes[8..]) : BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]),
            Place = BinaryPrimitives.ReadUInt32LittleEndian(bytes[16..]),
            Number = BinaryPrimitives.ReadUInt32LittleEndian(bytes[20..]),
            Uid = isExtended ? BinaryPrimitives.ReadUInt32LittleEndian(bytes[24..]) : BinaryPrimitives.ReadUInt16LittleEndian(bytes[24..]),
            Gid = isExtended ? BinaryPrimitives.ReadUInt32LittleEndian(bytes[28..]) : BinaryPrimitives.ReadUInt16LittleEndian(bytes[26..]),
            Seconds = isExtended ? BinaryPrimitives.ReadInt64LittleEndian(bytes[32..]) : header.EpochSeconds,
            Nanoseconds = isExtended ? BinaryPrimitives.ReadUInt32LittleEndian(bytes[40..]) : header.EpochNanoseconds,
        };
        return inode.Size >= 0;
    }
}
