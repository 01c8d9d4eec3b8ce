using System.Text;
using LazyMount.FileSystem;
using LazyMount.Fuse;
using LazyMount.Fuse.Protocol;
using Xunit;

namespace LazyMount.Tests.Fuse;

/// <summary>Answers byte for byte: offsets are those of &lt;linux/fuse.h&gt;, written as numbers here.</summary>
public sealed class FuseOperationsTests
{
    private const ulong Forever = long.MaxValue;
    private readonly TestTree _tree = new();

    [Fact]
    public void Lookup_GivesTheEntryForEver()
    {
        Reply reply = Lookup(_tree.Node("dir"), "file");
        ulong node = _tree.Node("dir/file");
        Assert.Equal((0, 128), (reply.Error, reply.Body!.Length));
        Assert.Equal((node, 0ul, Forever, Forever), (reply.U64(0), reply.U64(8), reply.U64(16), reply.U64(24)));
        AssertFile(reply, 40, node);
    }

    [Fact]
    public void GetAttr_GivesTheAttributesForEver()
    {
        Reply reply = _tree.Ask(new RequestBytes(FuseOpcode.GetAttr, _tree.Node("link")).U32(0, 0).U64(0));
        Assert.Equal((0, 104), (reply.Error, reply.Body!.Length));
        Assert.Equal(Forever, reply.U64(0));
        AssertFile(reply, 16, _tree.Node("dir/file"));
    }

    [Fact]
    public void UidAndGid_AreOverridden()
    {
        Reply reply = _tree.Ask(new RequestBytes(FuseOpcode.GetAttr, _tree.Node("link")).U32(0, 0).U64(0), _tree.Operations(uid: 1000, gid: 1001));
        Assert.Equal((1000u, 1001u), (reply.U32(16 + 68), reply.U32(16 + 72)));
    }

    [Fact]
    public void DeviceNumber_IsEncodedAsTheKernelDecodesIt()
    {
        Reply reply = _tree.Ask(new RequestBytes(FuseOpcode.GetAttr, _tree.Node("null")).U32(0, 0).U64(0));
        uint device = reply.U32(16 + 76);
        Assert.Equal((259u, 0x12345u), ((device & 0xfff00) >> 8, (device & 0xff) | ((device >> 12) & 0xfff00)));
    }

    [Fact]
    public void MissingName_IsANegativeEntryForEver()
    {
        Reply reply = Lookup(1, "nope");
        Assert.Equal((0, 128, 0ul, Forever), (reply.Error, reply.Body!.Length, reply.U64(0), reply.U64(16)));
    }

    [Theory]
    [InlineData(".", "dir")]
    [InlineData("..", "")]
    public void Dots_AreFoundForExport(string name, string found) => Assert.Equal(_tree.Node(found), Lookup(_tree.Node("dir"), name).U64(0));

    [Fact]
    public void DotOfAFile_IsTheFile() => Assert.Equal(_tree.Node("x"), Lookup(_tree.Node("x"), ".").U64(0));

    [Fact]
    public void LookupErrors_AreTold()
    {
        AssertError(Errno.ENOTDIR, Lookup(_tree.Node("x"), "y"));
        AssertError(Errno.ENAMETOOLONG, Lookup(1, new string('n', 256)));
        Assert.Equal(0, Lookup(1, new string('n', 255)).Error);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1000)]
    [InlineData(ulong.MaxValue)]
    public void UnknownNode_IsENOENT(ulong node)
    {
        AssertError(Errno.ENOENT, Lookup(node, "x"));
        AssertError(Errno.ENOENT, _tree.Ask(new RequestBytes(FuseOpcode.GetAttr, node)));
        Assert.Equal(Errno.ENOENT, CheckRead(node, 0, 1));
    }

    [Fact]
    public void ReadLink_GivesTheTargetWithoutAZero()
    {
        Assert.Equal("dir/file", Encoding.UTF8.GetString(_tree.Ask(new RequestBytes(FuseOpcode.ReadLink, _tree.Node("symlink"))).Body!));
        AssertError(Errno.EINVAL, _tree.Ask(new RequestBytes(FuseOpcode.ReadLink, _tree.Node("x"))));
        AssertError(Errno.ENAMETOOLONG, _tree.Ask(new RequestBytes(FuseOpcode.ReadLink, _tree.Node("long"))));
    }

    [Theory]
    [InlineData(FuseOpcode.Open, InitFlags.NoOpenSupport, 2u)]
    [InlineData(FuseOpcode.OpenDir, InitFlags.NoOpenDirSupport, 10u)]
    internal void Open_IsLeftToKernelsThatOfferIt(FuseOpcode opcode, InitFlags offered, uint flags)
    {
        AssertError(Errno.ENOSYS, _tree.Ask(new RequestBytes(opcode).U32(0, 0), _tree.Operations(offered)));
        Reply reply = _tree.Ask(new RequestBytes(opcode).U32(0, 0));
        Assert.Equal((0, 16, 0ul, flags), (reply.Error, reply.Body!.Length, reply.U64(0), reply.U32(8)));
    }

    [Theory]
    [InlineData(1u)]
    [InlineData(2u)]
    public void OpenForWriting_IsEROFS(uint flags)
        => AssertError(Errno.EROFS, _tree.Ask(new RequestBytes(FuseOpcode.Open, _tree.Node("x")).U32(flags, 0), _tree.Operations(InitFlags.NoOpenSupport)));

    [Fact]
    public void EveryWritingRequest_IsEROFS()
    {
        foreach (FuseOpcode opcode in (FuseOpcode[])[FuseOpcode.SetAttr, FuseOpcode.SymLink, FuseOpcode.MkNod, FuseOpcode.MkDir, FuseOpcode.Unlink,
            FuseOpcode.RmDir, FuseOpcode.Rename, FuseOpcode.Rename2, FuseOpcode.Link, FuseOpcode.Write, FuseOpcode.SetXattr, FuseOpcode.RemoveXattr,
            FuseOpcode.Create, FuseOpcode.TmpFile, FuseOpcode.FAllocate, FuseOpcode.CopyFileRange])
        {
            AssertError(Errno.EROFS, _tree.Ask(new RequestBytes(opcode)));
        }
    }

    [Fact]
    public void ThingsWithoutMeaning_AreENOSYSOrENOTTY()
    {
        AssertError(Errno.ENOTTY, _tree.Ask(new RequestBytes(FuseOpcode.IoCtl)));
        foreach (FuseOpcode opcode in (FuseOpcode[])[FuseOpcode.Access, FuseOpcode.StatX, FuseOpcode.Flush, (FuseOpcode)4096])
        {
            AssertError(Errno.ENOSYS, _tree.Ask(new RequestBytes(opcode)));
        }
    }

    [Theory]
    [InlineData("holes", 0, 1000, 0)]
    [InlineData("holes", 999, 1000, 999)]
    [InlineData("holes", 1000, 1000, 1500)]
    [InlineData("holes", 1499, 1499, 1500)]
    [InlineData("holes", 1500, 4000, 1500)]
    [InlineData("holes", 4000, 4000, 4001)]
    [InlineData("holes", 4001, -1, 4001)]
    [InlineData("holes", 9999, -1, 9999)]
    [InlineData("holes", 10_000, -1, -1)]
    [InlineData("same", 1500, 4000, 1500)]
    [InlineData("lower", 0, 50, 0)]
    [InlineData("hole", 0, -1, 0)]
    [InlineData("hole", (1L << 40) - 1, -1, (1L << 40) - 1)]
    [InlineData("hole", 1L << 40, -1, -1)]
    [InlineData("start", 0, 0, 10)]
    [InlineData("end", 4989, 4990, 4989)]
    [InlineData("end", 4990, 4990, 5000)]
    [InlineData("end", -1, -1, -1)]
    [InlineData("dir/file", 0, 0, 5000)]
    [InlineData("dir/file", 4999, 4999, 5000)]
    [InlineData("dir/file", 5000, -1, -1)]
    public void Seek_FindsDataAndHoles(string path, long from, long data, long hole)
    {
        var tree = new TestTree(sparse: true);
        foreach ((uint whence, long expected) in ((uint, long)[])[(3, data), (4, hole)])
        {
            Reply reply = tree.Ask(new RequestBytes(FuseOpcode.LSeek, tree.Node(path)).U64(0, (ulong)from).U32(whence, 0));
            if (expected < 0)
            {
                AssertError(Errno.ENXIO, reply);
            }
            else
            {
                Assert.Equal((0, 8, (ulong)expected), (reply.Error, reply.Body!.Length, reply.U64(0)));
            }
        }
    }

    [Fact]
    public void Seek_OfAnythingElse_IsRefused()
    {
        var tree = new TestTree(sparse: true);
        AssertError(Errno.EINVAL, tree.Ask(new RequestBytes(FuseOpcode.LSeek, tree.Node("dir")).U64(0, 0).U32(3, 0)));
        AssertError(Errno.EINVAL, tree.Ask(new RequestBytes(FuseOpcode.LSeek, tree.Node("holes")).U64(0, 0).U32(2, 0)));
        AssertError(Errno.ENOENT, tree.Ask(new RequestBytes(FuseOpcode.LSeek, 12345).U64(0, 0).U32(3, 0)));
        // Where there are no holes at all the kernel need not ask again.
        AssertError(Errno.ENOSYS, _tree.Ask(new RequestBytes(FuseOpcode.LSeek, _tree.Node("dir/file")).U64(0, 0).U32(3, 0)));
    }

    [Fact]
    public void SparseFile_ShowsItsSizeAndTheBlocksOfItsData()
    {
        var tree = new TestTree(sparse: true);
        Assert.Equal((10_000L, 3L, 2u), Shown("holes"));
        Assert.Equal((1L << 40, 0L, 1u), Shown("hole"));
        Assert.Equal((5000L, 10L, 2u), Shown("dir/file"));

        (long, long, uint) Shown(string path)
        {
            NodeAttributes attributes = tree.Tree.Attributes(tree.Node(path));
            return (attributes.Size, attributes.Blocks, attributes.LinkCount);
        }
    }

    [Fact]
    public void Forgetting_IsNotAnswered()
    {
        Assert.Null(_tree.Ask(new RequestBytes(FuseOpcode.Forget).U64(1)).Body);
        Assert.Null(_tree.Ask(new RequestBytes(FuseOpcode.BatchForget).U32(uint.MaxValue, 0)).Body);
    }

    [Fact]
    public void Release_AndDestroy_AreAnswered()
    {
        Assert.Equal((0, 0), (_tree.Ask(new RequestBytes(FuseOpcode.Release)).Error, _tree.Ask(new RequestBytes(FuseOpcode.Destroy)).Body!.Length));
    }

    [Fact]
    public void StatFs_CountsBytesAndNodes()
    {
        Reply reply = _tree.Ask(new RequestBytes(FuseOpcode.StatFs));
        Assert.Equal((0, 80), (reply.Error, reply.Body!.Length));
        Assert.Equal((2ul, 0ul, (ulong)_tree.Tree.NodeCount), (reply.U64(0), reply.U64(8), reply.U64(24)));
        Assert.Equal((4096u, 255u, 4096u), (reply.U32(40), reply.U32(44), reply.U32(48)));
    }

    [Fact]
    public void GetXattr_AnswersSizeThenValue()
    {
        Assert.Equal(5u, Xattr("x", "user.a", 0).U32(0));
        Assert.Equal("value", Encoding.UTF8.GetString(Xattr("x", "user.a", 5).Body!));
        Assert.Empty(Xattr("x", "user.bc", 1).Body!);
        AssertError(Errno.ERANGE, Xattr("x", "user.a", 4));
        AssertError(Errno.ENODATA, Xattr("x", "user.b", 0));
        AssertError(Errno.ENODATA, Xattr("dir", "user.a", 0));
    }

    [Fact]
    public void ListXattr_AnswersSizeThenNames()
    {
        Assert.Equal(15u, ListXattr(_tree, "x", 0).U32(0));
        Assert.Equal("user.a\0user.bc\0", Encoding.UTF8.GetString(ListXattr(_tree, "x", 15).Body!));
        AssertError(Errno.ERANGE, ListXattr(_tree, "x", 14));
        Assert.Equal(0u, ListXattr(_tree, "dir", 0).U32(0));
        Assert.Empty(ListXattr(_tree, "dir", 10).Body!);
    }

    /// <summary>The requests of these tests come from thread 0, of which nothing is known.</summary>
    [Theory]
    [InlineData("user.a\0user.b\0", "user.a\0user.b\0")]
    [InlineData("trusted.a\0user.b\0", "user.b\0")]
    [InlineData("security.x\0trusted.a\0trusted.b\0user.b\0", "security.x\0user.b\0")]
    [InlineData("trusted.a\0", "")]
    [InlineData("trusted\0", "trusted\0")]
    [InlineData("", "")]
    public void TrustedNames_AreHiddenFromThoseWhoMayNotSeeThem(string names, string left)
    {
        byte[] list = Encoding.UTF8.GetBytes(names);
        Assert.Equal(left, Encoding.UTF8.GetString(list.AsSpan(0, TrustedXattrs.Hide(list, threadId: 0))));
    }

    [Fact]
    public void Xattrs_AreENOSYSWhenTheTreeHasNone()
    {
        var bare = new TestTree(xattrs: false);
        AssertError(Errno.ENOSYS, ListXattr(bare, "dir", 0));
        AssertError(Errno.ENOSYS, bare.Ask(new RequestBytes(FuseOpcode.GetXattr).U32(0, 0).Name("user.a")));
    }

    [Fact]
    public void ReadOfOtherThanFiles_IsRefused()
    {
        Assert.Equal(Errno.EISDIR, CheckRead(_tree.Node("dir"), 0, 1));
        Assert.Equal(Errno.EINVAL, CheckRead(_tree.Node("symlink"), 0, 1));
        Assert.Equal(Errno.EINVAL, CheckRead(_tree.Node("x"), 1ul << 63, 1));
        Assert.Equal(Errno.EINVAL, CheckRead(_tree.Node("x"), 0, (1 << 20) + 1));
        Assert.Equal(Errno.None, CheckRead(_tree.Node("x"), long.MaxValue, 1 << 20));
    }

    private Errno CheckRead(ulong node, ulong offset, uint size)
    {
        Assert.Equal(RequestError.None, FuseRequest.Parse(RequestBytes.Read(FuseOpcode.Read, node, offset, size).ToArray(), out FuseRequest request));
        return _tree.Operations().CheckRead(request);
    }

    private Reply Lookup(ulong node, string name) => _tree.Ask(new RequestBytes(FuseOpcode.Lookup, node).Name(name));

    private Reply Xattr(string path, string name, uint size) => _tree.Ask(new RequestBytes(FuseOpcode.GetXattr, _tree.Node(path)).U32(size, 0).Name(name));

    private static Reply ListXattr(TestTree tree, string path, uint size) => tree.Ask(new RequestBytes(FuseOpcode.ListXattr, tree.Node(path)).U32(size, 0));

    private static void AssertError(Errno errno, Reply reply) => Assert.Equal((-(int)errno, 0), (reply.Error, reply.Body!.Length));

    private static void AssertFile(Reply reply, int at, ulong node)
    {
        Assert.Equal((node, 5000ul, 10ul), (reply.U64(at), reply.U64(at + 8), reply.U64(at + 16)));
        Assert.Equal((-3L, -3L, -3L), ((long)reply.U64(at + 24), (long)reply.U64(at + 32), (long)reply.U64(at + 40)));
        // mode, nlink, uid, gid, rdev, blksize
        Assert.Equal(((uint)0x81A0, 2u, 7u, 0u, 0u, 4096u), (reply.U32(at + 60), reply.U32(at + 64), reply.U32(at + 68), reply.U32(at + 72), reply.U32(at + 76), reply.U32(at + 80)));
    }
}
