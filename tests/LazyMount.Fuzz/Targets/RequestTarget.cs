using System.Buffers.Binary;
using System.Text;
using LazyMount.FileSystem;
using LazyMount.Fuse;
using LazyMount.Fuse.Protocol;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;
using LazyMount.TestKit;

namespace LazyMount.Fuzz.Targets;

/// <summary>
/// Messages as the kernel writes them, each with its length before it, to a small tree: every answer has the form that
/// the kernel takes. Bit 15 of a length leaves the length in the message as it is; else it is set right.
/// </summary>
internal static class RequestTarget
{
    private const int HeaderSize = 40;
    private const int ReplyHeaderSize = 16;

    private static readonly ImageTree s_tree = MakeTree();
    private static readonly FuseOperations[] s_operations =
    [
        new(s_tree, new Negotiated(45, InitFlags.NoOpenSupport | InitFlags.NoOpenDirSupport), null, null),
        new(s_tree, new Negotiated(23, InitFlags.None), 1000, 1000),
    ];

    public static void Run(byte[] input)
    {
        var reader = new InputReader(input);
        byte[] reply = new byte[Negotiation.ReplyBufferSize];
        while (reader.Rest.Length > 0)
        {
            ushort length = reader.UInt16();
            byte[] message = reader.Bytes(length & 0x7FFF).ToArray();
            if (length < 0x8000 && message.Length >= HeaderSize)
            {
                BinaryPrimitives.WriteInt32LittleEndian(message, message.Length);
            }
            foreach (FuseOperations operations in s_operations)
            {
                Ask(message, operations, reply);
            }
        }
    }

    private static void Ask(byte[] message, FuseOperations operations, byte[] reply)
    {
        if (FuseRequest.Parse(message, out FuseRequest request) != RequestError.None)
        {
            return;
        }
        switch (request.Opcode)
        {
            case FuseOpcode.Read:
                Errno errno = operations.CheckRead(request);
                FuzzException.Require(errno != Errno.None || (request.Offset <= long.MaxValue && request.Size <= Negotiation.MaxRead && FileSystem.FileMode.IsRegular(s_tree.Mode(request.NodeId))), "a READ that cannot be served");
                return;
            case FuseOpcode.Interrupt:
                _ = request.InterruptedUnique;
                return;
            case FuseOpcode.Init:
                Negotiation.Answer(request, reply, out int initLength, out _);
                Check(request, reply.AsSpan(0, initLength), initLength is ReplyHeaderSize or 80);
                return;
        }
        reply.AsSpan(0, 4096).Fill(0xAA);
        int length;
        try
        {
            length = operations.Answer(request, reply);
        }
        catch (LazyMount.Blobs.Images.ImageException) when (!s_tree.IsNode(request.NodeId))
        {
            return; // a number that no kernel has from us, and answered EIO
        }
        if (length == 0)
        {
            FuzzException.Require(RequestShape.IsSilent(request.Opcode), $"{request.Opcode} is not answered");
            return;
        }
        ReadOnlySpan<byte> body = reply.AsSpan(ReplyHeaderSize, length - ReplyHeaderSize);
        bool isError = BinaryPrimitives.ReadInt32LittleEndian(reply.AsSpan(4)) != 0;
        Check(request, reply.AsSpan(0, length), isError ? body.IsEmpty : request.Opcode switch
        {
            FuseOpcode.Lookup => body.Length == 128 && IsEntry(body),
            FuseOpcode.GetAttr => body.Length == 104,
            FuseOpcode.ReadLink => body.Length is > 0 and < 4096,
            FuseOpcode.Open or FuseOpcode.OpenDir => body.Length == 16,
            FuseOpcode.StatFs => body.Length == 80,
            FuseOpcode.LSeek => body.Length == 8 && BinaryPrimitives.ReadUInt64LittleEndian(body) is var found && found >= request.SeekOffset && found <= (ulong)s_tree.Size(request.NodeId),
            FuseOpcode.ReadDir => body.Length <= request.Size && IsListing(body, entrySize: 0),
            FuseOpcode.ReadDirPlus => body.Length <= request.Size && IsListing(body, entrySize: 128),
            FuseOpcode.GetXattr or FuseOpcode.ListXattr => request.XattrSize == 0 ? body.Length == 8 : body.Length <= request.XattrSize,
            _ => body.IsEmpty,
        });
    }

    private static void Check(in FuseRequest request, ReadOnlySpan<byte> reply, bool isBodyRight)
    {
        FuzzException.Require(BinaryPrimitives.ReadInt32LittleEndian(reply) == reply.Length
            && BinaryPrimitives.ReadInt32LittleEndian(reply[4..]) is <= 0 and > -512
            && BinaryPrimitives.ReadUInt64LittleEndian(reply[8..]) == request.Unique, $"the header of the answer to {request.Opcode} is wrong");
        FuzzException.Require(isBodyRight, $"the answer to {request.Opcode} is wrong: {Convert.ToHexString(reply)}");
    }

    /// <summary>fuse_entry_out: a node of the tree, or none.</summary>
    private static bool IsEntry(ReadOnlySpan<byte> entry)
    {
        ulong node = BinaryPrimitives.ReadUInt64LittleEndian(entry);
        uint mode = BinaryPrimitives.ReadUInt32LittleEndian(entry[(40 + 60)..]);
        return node == 0 || (s_tree.IsNode(node) && s_tree.Mode(node) == mode);
    }

    /// <summary>As the kernel's parse_dirfile and parse_dirplusfile read it.</summary>
    private static bool IsListing(ReadOnlySpan<byte> body, int entrySize)
    {
        ulong last = 0;
        while (!body.IsEmpty)
        {
            if (body.Length < entrySize + 24 || (entrySize > 0 && !IsEntry(body)))
            {
                return false;
            }
            ReadOnlySpan<byte> dirent = body[entrySize..];
            ulong next = BinaryPrimitives.ReadUInt64LittleEndian(dirent[8..]);
            int nameLength = BinaryPrimitives.ReadInt32LittleEndian(dirent[16..]);
            int size = (entrySize + 24 + nameLength + 7) & ~7;
            if (nameLength is <= 0 or > 255 || size > body.Length || next <= last || dirent.Slice(24, nameLength).ContainsAny((byte)'/', (byte)0))
            {
                return false;
            }
            last = next;
            body = body[size..];
        }
        return true;
    }

    private static ImageTree MakeTree()
    {
        TarBytes tar = new TarBytes().Directory("dir").File("dir/file", "content").HardLink("link", "dir/file").Symlink("symlink", "dir/file")
            .CharacterDevice("null", 1, 3).Fifo("pipe")
            .Pax(("SCHILY.xattr.user.a", "value"), ("SCHILY.xattr.user.b", "w")).File("x")
            .Pax(("path", new string('n', 255))).File("long").Sparse(SparseFormat.Pax01, "sparse", 9000, [(1000, 10), (5000, 100)], new byte[110]);
        for (int i = 0; i < 50; i++)
        {
            tar.File($"many/{i}");
        }
        byte[] bytes = tar.ToArray();
        var entries = new LayerEntriesBuilder(new IndexBudget(IndexLimits.Default));
        var scanner = new TarScanner();
        ReadOnlySpan<byte> piece = bytes;
        while (scanner.TryRead(ref piece))
        {
            entries.Add(scanner.Member);
        }
        return TreeBuilder.Build([TreeWalk.Index(entries, bytes.Length)]);
    }

    public static IEnumerable<byte[]> Seeds()
    {
        byte[] read = [.. new byte[8], .. new byte[8], 0, 16, 0, 0, .. new byte[20]]; // fuse_read_in: 4096 bytes from the start
        byte[] every = [.. Enumerable.Range(1, 52).SelectMany(opcode => Message((uint)opcode, 1, new byte[64]))];
        yield return every;
        yield return [.. Message(1, 1, "dir\0"u8), .. Message(1, 2, "file\0"u8), .. Message(1, 1, "none\0"u8), .. Message(1, 1, "..\0"u8), .. Message(1, 1, Encoding.ASCII.GetBytes(new string('n', 256) + "\0"))];
        yield return Message(26, 0, [7, 0, 0, 0, 45, 0, 0, 0, .. new byte[4], 0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0, 0, .. new byte[44]]);
        for (ulong node = 1; node < 12; node++)
        {
            yield return [.. Message(3, node, new byte[16]), .. Message(5, node, []), .. Message(14, node, new byte[8]), .. Message(15, node, read), .. Message(46, node, [.. new byte[16], 3, 0, 0, 0, 0, 0, 0, 0]), .. Message(46, node, [.. new byte[8], 0, 8, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]), .. Message(28, node, read), .. Message(44, node, read),
                .. Message(22, node, [64, 0, 0, 0, 0, 0, 0, 0, .. "user.a\0"u8]), .. Message(23, node, new byte[8]), .. Message(23, node, [64, 0, 0, 0, 0, 0, 0, 0])];
        }
    }

    private static byte[] Message(uint opcode, ulong node, ReadOnlySpan<byte> body)
    {
        byte[] message = new byte[2 + HeaderSize + body.Length];
        BinaryPrimitives.WriteUInt16LittleEndian(message, (ushort)(HeaderSize + body.Length));
        BinaryPrimitives.WriteUInt32LittleEndian(message.AsSpan(6), opcode);
        BinaryPrimitives.WriteUInt64LittleEndian(message.AsSpan(10), 42);
        BinaryPrimitives.WriteUInt64LittleEndian(message.AsSpan(18), node);
        body.CopyTo(message.AsSpan(2 + HeaderSize));
        return message;
    }
}
