using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using LazyMount.FileSystem;

namespace LazyMount.Fuse.Protocol;

/// <summary>Builds the body of a READDIR or READDIRPLUS answer straight in the reply buffer.</summary>
internal ref struct DirectoryListing(Span<byte> body)
{
    private readonly Span<byte> _body = body;

    /// <summary>Bytes built so far.</summary>
    public int Length { get; private set; }

    /// <summary>Adds an entry without attributes; false when it does not fit.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="inode">Its inode number.</param>
    /// <param name="mode">Its st_mode; only the file type is shown.</param>
    /// <param name="next">Where reading goes on after it: what telldir gives.</param>
    public bool TryAdd(scoped ReadOnlySpan<byte> name, ulong inode, uint mode, ulong next)
    {
        if (!TryReserve(Unsafe.SizeOf<fuse_dirent>() + name.Length, out Span<byte> entry))
        {
            return false;
        }
        WriteDirent(out MemoryMarshal.AsRef<fuse_dirent>(entry), name.Length, inode, mode, next);
        WriteName(entry[Unsafe.SizeOf<fuse_dirent>()..], name);
        return true;
    }

    /// <summary>Adds an entry that also answers a LOOKUP of it; false when it does not fit.</summary>
    public bool TryAddPlus(scoped ReadOnlySpan<byte> name, in NodeAttributes attributes, ulong next)
    {
        if (!TryReserve(Unsafe.SizeOf<fuse_direntplus>() + name.Length, out Span<byte> entry))
        {
            return false;
        }
        ref fuse_direntplus plus = ref MemoryMarshal.AsRef<fuse_direntplus>(entry);
        FuseReply.WriteEntry(out plus.entry_out, attributes);
        WriteDirent(out plus.dirent, name.Length, attributes.Inode, attributes.Mode, next);
        WriteName(entry[Unsafe.SizeOf<fuse_direntplus>()..], name);
        return true;
    }

    /// <summary>Adds a name alone, such as "." or "..", to a READDIRPLUS answer: node id 0 says that it answers no LOOKUP.</summary>
    public bool TryAddUnresolved(scoped ReadOnlySpan<byte> name, ulong inode, uint mode, ulong next)
    {
        if (!TryReserve(Unsafe.SizeOf<fuse_direntplus>() + name.Length, out Span<byte> entry))
        {
            return false;
        }
        ref fuse_direntplus plus = ref MemoryMarshal.AsRef<fuse_direntplus>(entry);
        plus.entry_out = default;
        WriteDirent(out plus.dirent, name.Length, inode, mode, next);
        WriteName(entry[Unsafe.SizeOf<fuse_direntplus>()..], name);
        return true;
    }

    private bool TryReserve(int size, out Span<byte> entry)
    {
        int padded = (size + 7) & ~7;
        if (padded > _body.Length - Length)
        {
            entry = default;
            return false;
        }
        entry = _body.Slice(Length, padded);
        Length += padded;
        return true;
    }

    private static void WriteDirent(out fuse_dirent dirent, int nameLength, ulong inode, uint mode, ulong next)
    {
        dirent.ino = inode;
        dirent.off = next;
        dirent.namelen = (uint)nameLength;
        dirent.type = mode >> 12; // S_IFMT in the place of dirent's DT_ values
    }

    private static void WriteName(Span<byte> room, ReadOnlySpan<byte> name)
    {
        name.CopyTo(room);
        room[name.Length..].Clear();
    }
}
