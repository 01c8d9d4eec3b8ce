using System.Buffers.Binary;
using System.Text;
using LazyMount.Fuse;
using LazyMount.Fuse.Protocol;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Fuse;

/// <summary>What the kernel is told to forget. The messages are written to a file in the place of the device.</summary>
public sealed class KernelCacheTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void EveryNameAndNode_IsForgotten()
    {
        var tree = new TestTree();
        (List<string> names, List<ulong> nodes) = Forgotten(device => KernelCache.Forget(device, tree.Tree));
        Assert.Equal(["dir", "file", "link", "long", "null", "pipe", "symlink", "x"], names.Order(StringComparer.Ordinal));
        Assert.Equal(Enumerable.Range(0, tree.Tree.NodeCount).Select(tree.Tree.NodeAt).Order(), nodes.Order());
    }

    [Fact]
    public void WhereTheTreeIsDamaged_TheOthersAreForgotten()
    {
        using var damaged = new DamagedTree();
        (List<string> names, List<ulong> nodes) = Forgotten(device => KernelCache.ForgetEach(device, damaged.Tree));
        Assert.Equal(["dir", .. damaged.Names], names.Order(StringComparer.Ordinal));
        Assert.Equal(damaged.Tree.NodeCount - damaged.Damaged.Count, nodes.Count);
        Assert.Contains(damaged.Directory, nodes);
        Assert.Contains(1ul, nodes);
    }

    private (List<string> Names, List<ulong> Nodes) Forgotten(Action<FuseDevice> forget)
    {
        string file = _directory["messages"];
        using (var device = new FuseDevice(File.OpenHandle(file, FileMode.CreateNew, FileAccess.Write)))
        {
            forget(device);
        }
        byte[] written = File.ReadAllBytes(file);
        List<string> names = [];
        List<ulong> nodes = [];
        for (ReadOnlySpan<byte> left = written; !left.IsEmpty;)
        {
            ReadOnlySpan<byte> message = left[..BinaryPrimitives.ReadInt32LittleEndian(left)], body = message[FuseReply.HeaderSize..];
            switch ((FuseNotifyCode)BinaryPrimitives.ReadInt32LittleEndian(message[4..]))
            {
                case FuseNotifyCode.NotifyInvalInode:
                    nodes.Add(BinaryPrimitives.ReadUInt64LittleEndian(body));
                    break;
                case FuseNotifyCode.NotifyInvalEntry:
                    names.Add(Encoding.UTF8.GetString(body.Slice(16, BinaryPrimitives.ReadInt32LittleEndian(body[8..]))));
                    break;
            }
            left = left[message.Length..];
        }
        return (names, nodes);
    }
}
