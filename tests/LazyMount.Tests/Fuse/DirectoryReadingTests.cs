using System.Text;
using LazyMount.FileSystem;
using LazyMount.Fuse;
using LazyMount.Fuse.Protocol;
using Xunit;

namespace LazyMount.Tests.Fuse;

public sealed class DirectoryReadingTests
{
    private readonly TestTree _tree = new();

    [Theory]
    [InlineData(FuseOpcode.ReadDir)]
    [InlineData(FuseOpcode.ReadDirPlus)]
    internal void WholeListing_HasDotsAndEveryNameOnce(FuseOpcode opcode)
    {
        var entries = Read(opcode, 1, 0, 65536);
        Assert.Equal([".", "..", "dir", "link", "long", "null", "pipe", "symlink", "x"], entries.Select(e => e.Name));
        Assert.Equal([4, 4, 4, 8, 10, 2, 1, 10, 8], entries.Select(e => (int)e.Type));
        Assert.Equal([1, 1, .. new[] { "dir", "link", "long", "null", "pipe", "symlink", "x" }.Select(_tree.Node)], entries.Select(e => e.Inode));
    }

    [Theory]
    [InlineData(FuseOpcode.ReadDir, 32)]
    [InlineData(FuseOpcode.ReadDir, 70)]
    [InlineData(FuseOpcode.ReadDirPlus, 160)]
    [InlineData(FuseOpcode.ReadDirPlus, 400)]
    internal void TinyBuffers_GiveTheSameListing(FuseOpcode opcode, uint size)
    {
        var names = new List<string>();
        ulong offset = 0;
        while (Read(opcode, 1, offset, size) is { Count: > 0 } piece)
        {
            names.AddRange(piece.Select(e => e.Name));
            offset = piece[^1].Next;
        }
        Assert.Equal([".", "..", "dir", "link", "long", "null", "pipe", "symlink", "x"], names);
    }

    [Theory]
    [InlineData(FuseOpcode.ReadDir)]
    [InlineData(FuseOpcode.ReadDirPlus)]
    internal void AnyOffsetThatWasGiven_GoesOnThere(FuseOpcode opcode)
    {
        var all = Read(opcode, 1, 0, 65536);
        for (int i = 0; i < all.Count; i++)
        {
            Assert.Equal(all.Skip(i + 1).Select(e => e.Name), Read(opcode, 1, all[i].Next, 65536).Select(e => e.Name));
        }
    }

    [Theory]
    [InlineData(9ul * 12)]
    [InlineData(1ul << 32)]
    [InlineData(ulong.MaxValue)]
    public void OffsetsPastTheEnd_GiveNothing(ulong offset) => Assert.Empty(Read(FuseOpcode.ReadDirPlus, 1, offset, 4096));

    [Fact]
    public void ABufferTooSmallForOneEntry_IsEINVAL()
    {
        Assert.Equal(-(int)Errno.EINVAL, _tree.Ask(RequestBytes.Read(FuseOpcode.ReadDirPlus, 1, 0, 159)).Error);
        Assert.Equal(-(int)Errno.EINVAL, _tree.Ask(RequestBytes.Read(FuseOpcode.ReadDir, 1, 0, 0)).Error);
    }

    [Fact]
    public void AnImmenseBuffer_IsBoundedByOurs()
        => Assert.Equal(9, Read(FuseOpcode.ReadDirPlus, 1, 0, uint.MaxValue).Count);

    [Fact]
    public void NoDirectory_IsENOTDIR()
        => Assert.Equal(-(int)Errno.ENOTDIR, _tree.Ask(RequestBytes.Read(FuseOpcode.ReadDir, _tree.Node("x"), 0, 4096)).Error);

    [Fact]
    public void PlusEntries_AnswerALookup_DotsDoNot()
    {
        Reply reply = _tree.Ask(RequestBytes.Read(FuseOpcode.ReadDirPlus, 1, 0, 65536));
        Assert.Equal(0ul, reply.U64(0));
        Assert.Equal(0ul, reply.U64(160));
        Reply lookup = _tree.Ask(new RequestBytes(FuseOpcode.Lookup).Name("dir"));
        Assert.Equal(lookup.Body!, reply.Body![320..448]);
        Assert.All(reply.Body![(160 - 8 + 1)..160], b => Assert.Equal(0, b)); // padding after "."
    }

    /// <summary>One who wants the names has them all, and one who wants the attributes of a damaged one asks for it by name.</summary>
    [Fact]
    public void NamesWhoseAttributesAreDamaged_AreListed_AndAnswerNoLookup()
    {
        using var damaged = new DamagedTree();
        var operations = new FuseOperations(damaged.Tree, new Negotiated(45, InitFlags.None), null, null);
        List<string> names = [], unresolved = [];
        for (ulong offset = 0; ;)
        {
            Reply reply = _tree.Ask(RequestBytes.Read(FuseOpcode.ReadDirPlus, damaged.Directory, offset, 65536), operations);
            Assert.Equal(0, reply.Error);
            if (reply.Body!.Length == 0)
            {
                break;
            }
            for (int at = 0; at < reply.Body.Length;)
            {
                int length = (int)reply.U32(at + 128 + 16);
                string name = Encoding.Latin1.GetString(reply.Body, at + 128 + 24, length);
                names.Add(name);
                Assert.Equal(name.StartsWith('.') ? 4u : 8u, reply.U32(at + 128 + 20));
                if (reply.U64(at) == 0 && !name.StartsWith('.'))
                {
                    unresolved.Add(name);
                }
                offset = reply.U64(at + 128 + 8);
                at += (128 + 24 + length + 7) / 8 * 8;
            }
        }
        Assert.Equal([".", "..", .. damaged.Names], names);
        Assert.Equal(damaged.Damaged, unresolved);
    }

    private List<(string Name, ulong Inode, uint Type, ulong Next)> Read(FuseOpcode opcode, ulong node, ulong offset, uint size)
    {
        Reply reply = _tree.Ask(RequestBytes.Read(opcode, node, offset, size));
        Assert.Equal(0, reply.Error);
        Assert.InRange((uint)reply.Body!.Length, 0u, size);
        var entries = new List<(string, ulong, uint, ulong)>();
        for (int at = 0; at < reply.Body.Length;)
        {
            at += opcode == FuseOpcode.ReadDirPlus ? 128 : 0;
            int length = (int)reply.U32(at + 16);
            entries.Add((Encoding.Latin1.GetString(reply.Body, at + 24, length), reply.U64(at), reply.U32(at + 20), reply.U64(at + 8)));
            at += (24 + length + 7) / 8 * 8;
        }
        return entries;
    }
}
