using LazyMount.Blobs.Images;
using LazyMount.FileSystem;
using LazyMount.Fuse.Protocol;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Fuse;

/// <summary>
/// Answers every request that the tree alone can answer, without waiting for anybody (step 6 of docs/path-of-a-read.md): the tree's file is in
/// the page cache or on the local disk. READ is <see cref="FuseReader"/>'s, INTERRUPT is <see cref="Interrupts"/>'s.
/// </summary>
internal class FuseOperations(ImageTree tree, Negotiated negotiated, uint? uid, uint? gid, uint umask = 0)
{
    /// <summary>The longest symbolic link target that the kernel takes: a page less one.</summary>
    private const int MaxLinkTarget = 4095;

    private const int MaxName = 255;
    private const uint AccessModeMask = 3;
    private const uint SeekData = 3; // lseek(2)
    private const uint SeekHole = 4;

    /// <summary>The tree that it answers from.</summary>
    protected ImageTree Tree => tree;

    /// <summary>Builds the reply at the start of <paramref name="reply"/>; returns its length, 0 when none is wanted.</summary>
    public virtual int Answer(in FuseRequest request, Span<byte> reply)
    {
        // :: Step 6: names and attributes, from the tree file.
        switch (request.Opcode)
        {
            case FuseOpcode.Forget:
            case FuseOpcode.BatchForget:
                // Node ids are places in an immutable tree: there is nothing to count.
                return 0;

            case FuseOpcode.StatFs:
                return FuseReply.StatFs(reply, request.Unique, tree.TotalFileSize, tree.NodeCount);

            // ENOSYS tells the kernel never to ask again. ACCESS: default_permissions makes it unnecessary. FLUSH, FSYNC:
            // there is nothing to write. STATX: it is asked for birth times alone, which tar does not know; without it
            // the kernel answers statx(2) from its cache.
            case FuseOpcode.Access:
            case FuseOpcode.Flush:
            case FuseOpcode.FSync:
            case FuseOpcode.FSyncDir:
            case FuseOpcode.StatX:
            case FuseOpcode.Poll:
            case FuseOpcode.BMap:
            case FuseOpcode.GetLk:
            case FuseOpcode.SetLk:
            case FuseOpcode.SetLkW:
            case FuseOpcode.SyncFs:
            case FuseOpcode.SetupMapping:
            case FuseOpcode.RemoveMapping:
                return FuseReply.Error(reply, request.Unique, Errno.ENOSYS);

            case FuseOpcode.Release:
            case FuseOpcode.ReleaseDir:
            case FuseOpcode.Destroy:
                return FuseReply.Empty(reply, request.Unique);

            case FuseOpcode.IoCtl:
                return FuseReply.Error(reply, request.Unique, Errno.ENOTTY);

            case FuseOpcode.SetAttr:
            case FuseOpcode.SymLink:
            case FuseOpcode.MkNod:
            case FuseOpcode.MkDir:
            case FuseOpcode.Unlink:
            case FuseOpcode.RmDir:
            case FuseOpcode.Rename:
            case FuseOpcode.Rename2:
            case FuseOpcode.Link:
            case FuseOpcode.Write:
            case FuseOpcode.SetXattr:
            case FuseOpcode.RemoveXattr:
            case FuseOpcode.Create:
            case FuseOpcode.TmpFile:
            case FuseOpcode.FAllocate:
            case FuseOpcode.CopyFileRange:
                return FuseReply.Error(reply, request.Unique, Errno.EROFS);
        }

        if (!tree.MayBeNode(request.NodeId))
        {
            return FuseReply.Error(reply, request.Unique, Errno.ENOENT);
        }
        return request.Opcode switch
        {
            FuseOpcode.Lookup => Lookup(request, reply),
            FuseOpcode.GetAttr => FuseReply.Attributes(reply, request.Unique, Attributes(request.NodeId)),
            FuseOpcode.ReadLink => ReadLink(request, reply),
            FuseOpcode.Open => Open(request, reply, InitFlags.NoOpenSupport, OpenReplyFlags.KeepCache),
            FuseOpcode.OpenDir => Open(request, reply, InitFlags.NoOpenDirSupport, OpenReplyFlags.KeepCache | OpenReplyFlags.CacheDir),
            FuseOpcode.ReadDir => ReadDirectory(request, reply, plus: false),
            FuseOpcode.ReadDirPlus => ReadDirectory(request, reply, plus: true),
            FuseOpcode.GetXattr => GetXattr(request, reply),
            FuseOpcode.ListXattr => ListXattr(request, reply),
            FuseOpcode.LSeek => Seek(request, reply),
            _ => FuseReply.Error(reply, request.Unique, Errno.ENOSYS),
        };
    }

    /// <summary>Whether a READ can be served at all; the tree is not asked for its bytes here.</summary>
    public Errno CheckRead(in FuseRequest request)
    {
        if (!tree.MayBeNode(request.NodeId))
        {
            return Errno.ENOENT;
        }
        uint mode = tree.Mode(request.NodeId);
        if (!FileMode.IsRegular(mode))
        {
            return FileMode.IsDirectory(mode) ? Errno.EISDIR : Errno.EINVAL;
        }
        // A shorter answer than asked would mean the end of the file, so a READ longer than INIT allowed is refused.
        return request.Offset > long.MaxValue || request.Size > Negotiation.MaxRead ? Errno.EINVAL : Errno.None;
    }

    private int Lookup(in FuseRequest request, Span<byte> reply)
    {
        ReadOnlySpan<byte> name = request.Name;
        // NFS file handles (EXPORT_SUPPORT) come back as "." of any node and ".." of a directory.
        if (name.SequenceEqual("."u8))
        {
            if (!tree.IsNode(request.NodeId))
            {
                return FuseReply.Error(reply, request.Unique, Errno.ENOENT); // of another image, or made up
            }
            return FuseReply.Entry(reply, request.Unique, Attributes(request.NodeId));
        }
        if (!FileMode.IsDirectory(tree.Mode(request.NodeId)))
        {
            return FuseReply.Error(reply, request.Unique, Errno.ENOTDIR);
        }
        if (name.SequenceEqual(".."u8))
        {
            return FuseReply.Entry(reply, request.Unique, Attributes(tree.ParentOf(request.NodeId)));
        }

        ulong node = tree.Find(request.NodeId, name);
        if (node != 0)
        {
            return FuseReply.Entry(reply, request.Unique, Attributes(node));
        }
        return name.Length > MaxName
            ? FuseReply.Error(reply, request.Unique, Errno.ENAMETOOLONG)
            : FuseReply.NegativeEntry(reply, request.Unique);
    }

    private int ReadLink(in FuseRequest request, Span<byte> reply)
    {
        if (!FileMode.IsSymlink(tree.Mode(request.NodeId)))
        {
            return FuseReply.Error(reply, request.Unique, Errno.EINVAL);
        }
        int length = tree.ReadLinkTarget(request.NodeId, reply.Slice(FuseReply.HeaderSize, MaxLinkTarget));
        return length > MaxLinkTarget
            ? FuseReply.Error(reply, request.Unique, Errno.ENAMETOOLONG)
            : FuseReply.Header(reply, request.Unique, length);
    }

    private int Open(in FuseRequest request, Span<byte> reply, InitFlags canDoWithout, OpenReplyFlags flags)
    {
        if ((request.OpenFlags & AccessModeMask) != 0)
        {
            return FuseReply.Error(reply, request.Unique, Errno.EROFS);
        }
        // ENOSYS: the kernel opens by itself from now on, with exactly these flags.
        return negotiated.Has(canDoWithout)
            ? FuseReply.Error(reply, request.Unique, Errno.ENOSYS)
            : FuseReply.Open(reply, request.Unique, flags);
    }

    private int ReadDirectory(in FuseRequest request, Span<byte> reply, bool plus)
    {
        ulong directory = request.NodeId;
        if (!FileMode.IsDirectory(tree.Mode(directory)))
        {
            return FuseReply.Error(reply, request.Unique, Errno.ENOTDIR);
        }

        int room = (int)Math.Min(request.Size, (uint)(reply.Length - FuseReply.HeaderSize));
        var listing = new DirectoryListing(reply.Slice(FuseReply.HeaderSize, room));
        // A name's offset says where its directory goes on, so seekdir works with any offset that telldir ever gave.
        DirectoryCursor names = tree.ReadDirectory(directory, request.Offset);
        bool isFull = false;
        while (!isFull && names.MoveNext())
        {
            isFull = !TryAdd(ref listing, names, plus);
        }
        return isFull && listing.Length == 0
            ? FuseReply.Error(reply, request.Unique, Errno.EINVAL)
            : FuseReply.Header(reply, request.Unique, listing.Length);
    }

    private bool TryAdd(ref DirectoryListing listing, in DirectoryCursor name, bool plus)
    {
        if (!plus)
        {
            return listing.TryAdd(name.Name, name.Node, name.Type, name.Next);
        }
        return !name.IsDots && TryGetAttributes(name.Node, out NodeAttributes attributes)
            ? listing.TryAddPlus(name.Name, attributes, name.Next)
            : listing.TryAddUnresolved(name.Name, name.Node, name.Type, name.Next);
    }

    // False where the tree file is damaged: whoever wants the attributes is told, and whoever wants the names has them.
    private bool TryGetAttributes(ulong id, out NodeAttributes attributes)
    {
        try
        {
            attributes = Attributes(id);
            return true;
        }
        catch (ImageException)
        {
            attributes = default;
            return false;
        }
    }

    private int GetXattr(in FuseRequest request, Span<byte> reply)
    {
        if (!tree.HasXattrs)
        {
            return FuseReply.Error(reply, request.Unique, Errno.ENOSYS);
        }
        Span<byte> value = reply[FuseReply.HeaderSize..];
        int length = tree.ReadXattr(request.NodeId, request.Name, value);
        if (umask != 0 && length > 0 && length <= value.Length && request.Name.SequenceEqual(AccessLists.Name))
        {
            AccessLists.TakeAway(umask, value[..length]);
        }
        return length < 0 ? FuseReply.Error(reply, request.Unique, Errno.ENODATA) : Xattr(request, reply, length);
    }

    private int ListXattr(in FuseRequest request, Span<byte> reply)
    {
        if (!tree.HasXattrs)
        {
            return FuseReply.Error(reply, request.Unique, Errno.ENOSYS);
        }
        Span<byte> names = reply[FuseReply.HeaderSize..];
        int length = tree.WriteXattrNames(request.NodeId, names);
        return Xattr(request, reply, length <= names.Length ? TrustedXattrs.Hide(names[..length], request.ThreadId) : length);
    }

    /// <summary>SEEK_DATA and SEEK_HOLE. Where no file has holes the kernel may do without us: it takes all for data.</summary>
    private int Seek(in FuseRequest request, Span<byte> reply)
    {
        if (!tree.HasSparseFiles)
        {
            return FuseReply.Error(reply, request.Unique, Errno.ENOSYS);
        }
        if (!FileMode.IsRegular(tree.Mode(request.NodeId)) || request.SeekWhence is not (SeekData or SeekHole))
        {
            return FuseReply.Error(reply, request.Unique, Errno.EINVAL);
        }
        long size = tree.Size(request.NodeId);
        if (request.SeekOffset >= (ulong)size)
        {
            return FuseReply.Error(reply, request.Unique, Errno.ENXIO);
        }
        long offset = (long)request.SeekOffset;
        var (dataOffset, end) = tree.Extent(request.NodeId, offset);
        bool isHole = dataOffset < 0;
        if (isHole != (request.SeekWhence == SeekHole))
        {
            offset = end; // holes and extents take turns; behind the last byte there is a hole
        }
        return offset == size && request.SeekWhence == SeekData
            ? FuseReply.Error(reply, request.Unique, Errno.ENXIO)
            : FuseReply.Offset(reply, request.Unique, offset);
    }

    // What is asked for stands in the reply already, as far as there is room.
    private static int Xattr(in FuseRequest request, Span<byte> reply, int length)
        => request.XattrSize == 0 ? FuseReply.XattrSize(reply, request.Unique, length)
            : length > request.XattrSize || length > reply.Length - FuseReply.HeaderSize ? FuseReply.Error(reply, request.Unique, Errno.ERANGE)
            : FuseReply.Header(reply, request.Unique, length);

    private NodeAttributes Attributes(ulong id)
    {
        NodeAttributes attributes = tree.Attributes(id);
        return uid is null && gid is null && umask == 0
            ? attributes
            : attributes with
            {
                Uid = uid ?? attributes.Uid,
                Gid = gid ?? attributes.Gid,
                Mode = FileMode.IsSymlink(attributes.Mode) ? attributes.Mode : attributes.Mode & ~umask,
            };
    }
}
