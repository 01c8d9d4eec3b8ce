using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using LazyMount.FileSystem;

namespace LazyMount.Fuse.Protocol;

/// <summary>Builds replies at the start of a buffer; every method returns the reply's length.</summary>
internal static class FuseReply
{
    public static readonly int HeaderSize = Unsafe.SizeOf<fuse_out_header>();

    /// <summary>"For ever": nothing in an image changes. The kernel clamps it to what its clock holds.</summary>
    private const ulong Forever = long.MaxValue;

    /// <summary>The unit that STATFS counts in, and st_blksize.</summary>
    private const uint BlockSize = 4096;

    public static int Error(Span<byte> reply, ulong unique, Errno errno) => Header(reply, unique, 0, errno);

    public static int Empty(Span<byte> reply, ulong unique) => Header(reply, unique, 0);

    /// <summary>The header of an answer whose <paramref name="bodyLength"/> bytes stand, or will stand, behind it.</summary>
    public static int Header(Span<byte> reply, ulong unique, int bodyLength, Errno errno = Errno.None)
    {
        ref fuse_out_header header = ref MemoryMarshal.AsRef<fuse_out_header>(reply);
        header.len = (uint)(HeaderSize + bodyLength);
        header.error = -(int)errno;
        header.unique = unique;
        return HeaderSize + bodyLength;
    }

    /// <summary>LOOKUP found a node.</summary>
    public static int Entry(Span<byte> reply, ulong unique, in NodeAttributes attributes)
    {
        WriteEntry(out Body<fuse_entry_out>(reply), attributes);
        return Header(reply, unique, Unsafe.SizeOf<fuse_entry_out>());
    }

    /// <summary>LOOKUP found nothing, and never will: the kernel need not ask again.</summary>
    public static int NegativeEntry(Span<byte> reply, ulong unique)
    {
        ref fuse_entry_out entry = ref Body<fuse_entry_out>(reply);
        entry = default;
        entry.entry_valid = Forever;
        return Header(reply, unique, Unsafe.SizeOf<fuse_entry_out>());
    }

    public static int Attributes(Span<byte> reply, ulong unique, in NodeAttributes attributes)
    {
        ref fuse_attr_out body = ref Body<fuse_attr_out>(reply);
        body.attr_valid = Forever;
        body.attr_valid_nsec = 0;
        body.dummy = 0;
        WriteAttributes(out body.attr, attributes);
        return Header(reply, unique, Unsafe.SizeOf<fuse_attr_out>());
    }

    /// <summary>OPEN and OPENDIR, for kernels that cannot do without.</summary>
    public static int Open(Span<byte> reply, ulong unique, OpenReplyFlags flags)
    {
        ref fuse_open_out body = ref Body<fuse_open_out>(reply);
        body = default;
        body.open_flags = (uint)flags;
        return Header(reply, unique, Unsafe.SizeOf<fuse_open_out>());
    }

    /// <summary>GETXATTR, LISTXATTR: how many bytes there are, asked for with size 0.</summary>
    public static int XattrSize(Span<byte> reply, ulong unique, int size)
    {
        ref fuse_getxattr_out body = ref Body<fuse_getxattr_out>(reply);
        body = default;
        body.size = (uint)size;
        return Header(reply, unique, Unsafe.SizeOf<fuse_getxattr_out>());
    }

    /// <summary>LSEEK: where it came to.</summary>
    public static int Offset(Span<byte> reply, ulong unique, long offset)
    {
        Body<fuse_lseek_out>(reply).offset = (ulong)offset;
        return Header(reply, unique, Unsafe.SizeOf<fuse_lseek_out>());
    }

    public static int StatFs(Span<byte> reply, ulong unique, long totalSize, long nodes)
    {
        ref fuse_statfs_out body = ref Body<fuse_statfs_out>(reply);
        body = default;
        body.st.blocks = ((ulong)totalSize + BlockSize - 1) / BlockSize;
        body.st.files = (ulong)nodes;
        body.st.bsize = BlockSize;
        body.st.frsize = BlockSize;
        body.st.namelen = 255;
        return Header(reply, unique, Unsafe.SizeOf<fuse_statfs_out>());
    }

    internal static void WriteEntry(out fuse_entry_out entry, in NodeAttributes attributes)
    {
        entry.nodeid = attributes.Inode;
        entry.generation = 0;
        entry.entry_valid = Forever;
        entry.attr_valid = Forever;
        entry.entry_valid_nsec = 0;
        entry.attr_valid_nsec = 0;
        WriteAttributes(out entry.attr, attributes);
    }

    private static void WriteAttributes(out fuse_attr attr, in NodeAttributes attributes)
    {
        attr.ino = attributes.Inode;
        attr.size = (ulong)attributes.Size;
        attr.blocks = (ulong)attributes.Blocks;
        attr.atime = attr.mtime = attr.ctime = (ulong)attributes.MtimeSeconds;
        attr.atimensec = attr.mtimensec = attr.ctimensec = attributes.MtimeNanoseconds;
        attr.mode = attributes.Mode;
        attr.nlink = attributes.LinkCount;
        attr.uid = attributes.Uid;
        attr.gid = attributes.Gid;
        attr.rdev = EncodeDevice(attributes.DeviceMajor, attributes.DeviceMinor);
        attr.blksize = BlockSize;
        attr.flags = 0;
    }

    /// <summary>The kernel's 32-bit encoding (new_encode_dev): 12 bits of major within 20 of minor.</summary>
    private static uint EncodeDevice(uint major, uint minor)
        => (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12);

    private static ref T Body<T>(Span<byte> reply) where T : struct => ref MemoryMarshal.AsRef<T>(reply[HeaderSize..]);
}
