using System.Buffers.Binary;

namespace LazyMount.FileSystem.Erofs;

/// <summary>
/// The on-disk format of EROFS (Linux, fs/erofs/erofs_fs.h), as far as uncompressed images of one device need it. Everything is little-endian.
/// A <b>nid</b> is an inode's offset in the metadata area in units of <see cref="SlotSize"/>.
/// </summary>
internal static class ErofsFormat
{
    public const int BlockBits = 12, BlockSize = 1 << BlockBits;
    public const int SlotSize = 32;

    /// <summary>Offset and size of the superblock in bytes.</summary>
    public const int SuperblockOffset = 1024, SuperblockSize = 128;

    /// <summary>The block of nid 0, which no inode has.</summary>
    public const int MetadataBlock = 1;

    /// <summary>The root's nid, which is its node id in FUSE as well.</summary>
    public const uint RootNid = 1;

    public const uint Magic = 0xE0F5E1E2;
    public const uint HasChecksum = 1, HasMtime = 2, HasXattrFilter = 4; // compatible features
    public const uint HasChunks = 4; // incompatible feature

    public const int CompactInodeSize = 32, ExtendedInodeSize = 64;
    public const int DirentSize = 12;
    public const int MaxLinkTarget = 4095;

    /// <summary>Header of an inode's attributes, before the ids of shared ones and the inline ones.</summary>
    public const int XattrHeaderSize = 12;

    /// <summary>Header of one attribute, before its name and value.</summary>
    public const int XattrEntrySize = 4;

    public const int MaxSharedXattrs = byte.MaxValue, MaxXattrValue = ushort.MaxValue;

    /// <summary>Most bytes of attributes of one inode, the header included: their number of words has 16 bits.</summary>
    public const int MaxXattrBytes = XattrHeaderSize + ((ushort.MaxValue - 1) * 4);

    /// <summary>"There is no block": a chunk that is a hole.</summary>
    public const uint NoBlock = uint.MaxValue;

    /// <summary>Blocks that fit into the 32 bits of a block address: 16 TiB.</summary>
    public const long MaxBlocks = uint.MaxValue;

    /// <summary>How an inode's data are found.</summary>
    public enum DataLayout
    {
        /// <summary>In blocks one after the other.</summary>
        Plain = 0,

        /// <summary>As <c>Plain</c>, but the bytes of the last block follow the inode.</summary>
        Inline = 2,

        /// <summary>In chunks, each with its own first block or a hole.</summary>
        Chunks = 4,
    }

    /// <summary>The first of the two bytes behind the format bits of <see cref="DataLayout.Chunks"/>: the chunk's size as a power of two of blocks.</summary>
    public static uint ChunkFormat(int chunkBits) => (uint)(chunkBits - BlockBits);

    /// <summary>Type of a name in a directory (FT_*), from st_mode.</summary>
    public static byte TypeOf(uint mode) => (mode & FileMode.TypeMask) switch
    {
        FileMode.Regular => 1,
        FileMode.Directory => 2,
        FileMode.CharacterDevice => 3,
        FileMode.BlockDevice => 4,
        FileMode.Fifo => 5,
        FileMode.Symlink => 7,
        _ => throw new ArgumentOutOfRangeException(nameof(mode), mode, "is no type of an image's nodes"),
    };

    /// <summary>The type bits of st_mode, from the type of a name in a directory; 0 for one that is not known.</summary>
    public static uint ModeOf(byte type) => type switch
    {
        1 => FileMode.Regular,
        2 => FileMode.Directory,
        3 => FileMode.CharacterDevice,
        4 => FileMode.BlockDevice,
        5 => FileMode.Fifo,
        7 => FileMode.Symlink,
        _ => 0,
    };

    /// <summary>Whether a device number fits into the 12 and 20 bits that Linux has for it.</summary>
    public static bool HasDevice(uint major, uint minor) => major <= 0xFFF && minor <= 0xF_FFFF;

    /// <summary>A device number as the kernel packs it into 32 bits (new_encode_dev).</summary>
    public static uint Device(uint major, uint minor) => (minor & 0xFF) | ((major & 0xFFF) << 8) | ((minor & 0xFFF00) << 12);

    /// <summary>The device number that was packed (new_decode_dev).</summary>
    public static (uint Major, uint Minor) DeviceOf(uint packed) => ((packed >> 8) & 0xFFF, (packed & 0xFF) | ((packed >> 12) & 0xFFF00));

    /// <summary>The bytes of whole blocks that hold some bytes.</summary>
    public static long BlocksFor(long bytes) => (bytes + BlockSize - 1) >> BlockBits;

    /// <summary>Appends fields one after the other.</summary>
    public ref struct Fields(Span<byte> to)
    {
        private readonly Span<byte> _to = to;
        private int _at;

        public void U8(uint value) => _to[_at++] = (byte)value;

        public void U16(uint value)
        {
            BinaryPrimitives.WriteUInt16LittleEndian(_to[_at..], (ushort)value);
            _at += 2;
        }

        public void U32(uint value)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(_to[_at..], value);
            _at += 4;
        }

        public void U64(ulong value)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(_to[_at..], value);
            _at += 8;
        }

        public void Bytes(ReadOnlySpan<byte> bytes)
        {
            bytes.CopyTo(_to[_at..]);
            _at += bytes.Length;
        }

        public void Skip(int bytes) => _at += bytes;
    }
}
