using LazyMount.FileSystem;
using LazyMount.Fuse;
using LazyMount.Fuse.Protocol;
using LazyMount.Tests.FileSystem;

namespace LazyMount.Tests.Fuse;

/// <summary>A small tree with one of everything, and questions to it as the kernel asks them.</summary>
internal sealed class TestTree
{
    private readonly byte[] _reply = new byte[Negotiation.ReplyBufferSize];

    public TestTree(bool xattrs = true, bool sparse = false)
    {
        var layer = new LayerBuilder()
            .Directory("dir").File("dir/file", size: 5000, mode: 0b110_100_000, uid: 7, mtime: -3).HardLink("link", "dir/file", 0b110_100_000, uid: 7, mtime: -3)
            .Symlink("symlink", "dir/file").Symlink("long", new string('x', 5000))
            .Device("null", 259, 0x12345).Fifo("pipe");
        if (xattrs)
        {
            layer.File("x", xattrs: [("user.a", "value"), ("user.bc", "")]);
        }
        if (sparse)
        {
            // Two layers, so that the maps are not where they were in theirs.
            layer.Sparse("hole", 1L << 40).Sparse("holes", 10_000, (1000, 500), (4000, 1)).Sparse("start", 5000, (0, 10)).Sparse("end", 5000, (4990, 10)).HardLink("same", "holes");
            Tree = TreeBuilder.Build([new LayerBuilder().Sparse("lower", 100, (50, 1)).Sparse("hole", 5).Build(), layer.Build()]);
            return;
        }
        Tree = TreeBuilder.Build([layer.Build()]);
    }

    public ImageTree Tree { get; }

    public ulong Node(string path)
    {
        ulong node = ImageTree.RootId;
        foreach (string name in path.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            node = Tree.Find(node, System.Text.Encoding.UTF8.GetBytes(name)) is > 0 and var found ? found : throw new ArgumentException(path);
        }
        return node;
    }

    public FuseOperations Operations(InitFlags flags = InitFlags.None, uint? uid = null, uint? gid = null, uint umask = 0)
        => new(Tree, new Negotiated(45, flags), uid, gid, umask);

    /// <summary>Sends a request; checks the reply's header and returns its error and body.</summary>
    public Reply Ask(RequestBytes bytes, FuseOperations? operations = null)
    {
        if (FuseRequest.Parse(bytes.ToArray(), out FuseRequest request) != RequestError.None)
        {
            throw new InvalidOperationException("malformed");
        }
        Array.Fill(_reply, (byte)0xAA);
        int length = (operations ?? Operations()).Answer(request, _reply);
        if (length == 0)
        {
            return new Reply(0, null);
        }
        Xunit.Assert.Equal(length, BitConverter.ToInt32(_reply, 0));
        Xunit.Assert.Equal(42u, BitConverter.ToUInt64(_reply, 8));
        return new Reply(BitConverter.ToInt32(_reply, 4), _reply[16..length]);
    }
}

/// <summary>An answer: the error as on the wire (0 or negative) and what stands behind the header; null when none was given.</summary>
internal sealed record Reply(int Error, byte[]? Body)
{
    public uint U32(int at) => BitConverter.ToUInt32(Body!, at);

    public ulong U64(int at) => BitConverter.ToUInt64(Body!, at);
}
