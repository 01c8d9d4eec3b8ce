// The structs of <linux/fuse.h> (FUSE 7.45) that we read or write, with the kernel's own names; used inside Protocol/
// only. tests/LazyMount.Tests/Fuse/FuseAbiTests compares every size and offset with the C compiler's.
#pragma warning disable CS0649 // Filled by the kernel.

namespace LazyMount.Fuse.Protocol;

internal struct fuse_in_header
{
    public uint len;
    public uint opcode;
    public ulong unique;
    public ulong nodeid;
    public uint uid;
    public uint gid;
    public uint pid;
    public ushort total_extlen;
    public ushort padding;
}

internal struct fuse_out_header
{
    public uint len;
    public int error;
    public ulong unique;
}

internal struct fuse_attr
{
    public ulong ino;
    public ulong size;
    public ulong blocks;
    public ulong atime;
    public ulong mtime;
    public ulong ctime;
    public uint atimensec;
    public uint mtimensec;
    public uint ctimensec;
    public uint mode;
    public uint nlink;
    public uint uid;
    public uint gid;
    public uint rdev;
    public uint blksize;
    public uint flags;
}

internal struct fuse_entry_out
{
    public ulong nodeid;
    public ulong generation;
    public ulong entry_valid;
    public ulong attr_valid;
    public uint entry_valid_nsec;
    public uint attr_valid_nsec;
    public fuse_attr attr;
}

internal struct fuse_attr_out
{
    public ulong attr_valid;
    public uint attr_valid_nsec;
    public uint dummy;
    public fuse_attr attr;
}

/// <summary>Followed by the name, padded to 8 bytes.</summary>
internal struct fuse_dirent
{
    public ulong ino;
    public ulong off;
    public uint namelen;
    public uint type;
}

internal struct fuse_direntplus
{
    public fuse_entry_out entry_out;
    public fuse_dirent dirent;
}

internal struct fuse_init_in
{
    public uint major;
    public uint minor;
    public uint max_readahead;
    public uint flags;
    public uint flags2;
    public unused_words unused;

    [System.Runtime.CompilerServices.InlineArray(11)]
    internal struct unused_words
    {
        private uint _word;
    }
}

internal struct fuse_init_out
{
    public uint major;
    public uint minor;
    public uint max_readahead;
    public uint flags;
    public ushort max_background;
    public ushort congestion_threshold;
    public uint max_write;
    public uint time_gran;
    public ushort max_pages;
    public ushort map_alignment;
    public uint flags2;
    public uint max_stack_depth;
    public ushort request_timeout;
    public unused_halfwords unused;

    [System.Runtime.CompilerServices.InlineArray(11)]
    internal struct unused_halfwords
    {
        private ushort _halfword;
    }
}

internal struct fuse_open_in
{
    public uint flags;
    public uint open_flags;
}

internal struct fuse_open_out
{
    public ulong fh;
    public uint open_flags;
    public int backing_id;
}

internal struct fuse_read_in
{
    public ulong fh;
    public ulong offset;
    public uint size;
    public uint read_flags;
    public ulong lock_owner;
    public uint flags;
    public uint padding;
}

internal struct fuse_getxattr_in
{
    public uint size;
    public uint padding;
}

internal struct fuse_getxattr_out
{
    public uint size;
    public uint padding;
}

internal struct fuse_kstatfs
{
    public ulong blocks;
    public ulong bfree;
    public ulong bavail;
    public ulong files;
    public ulong ffree;
    public uint bsize;
    public uint namelen;
    public uint frsize;
    public uint padding;
    public spare_words spare;

    [System.Runtime.CompilerServices.InlineArray(6)]
    internal struct spare_words
    {
        private uint _word;
    }
}

internal struct fuse_statfs_out
{
    public fuse_kstatfs st;
}

internal struct fuse_interrupt_in
{
    public ulong unique;
}

internal struct fuse_lseek_in
{
    public ulong fh;
    public ulong offset;
    public uint whence;
    public uint padding;
}

internal struct fuse_lseek_out
{
    public ulong offset;
}

internal struct fuse_notify_inval_inode_out
{
    public ulong ino;
    public long off;
    public long len;
}

/// <summary>Followed by the name and its zero byte.</summary>
internal struct fuse_notify_inval_entry_out
{
    public ulong parent;
    public uint namelen;
    public uint padding;
}
