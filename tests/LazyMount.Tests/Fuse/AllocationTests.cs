using LazyMount.Fuse.Protocol;
using Xunit;

namespace LazyMount.Tests.Fuse;

public sealed class AllocationTests
{
    [Fact]
    public void AnswersFromTheTree_AllocateNothing()
    {
        var tree = new TestTree(sparse: true);
        var operations = tree.Operations(uid: 1);
        var reply = new byte[Negotiation.ReplyBufferSize];
        byte[][] messages =
        [
            new RequestBytes(FuseOpcode.Lookup).Name("x").ToArray(),
            new RequestBytes(FuseOpcode.Lookup).Name("nope").ToArray(),
            new RequestBytes(FuseOpcode.GetAttr).U32(0, 0).U64(0).ToArray(),
            new RequestBytes(FuseOpcode.ReadLink, tree.Node("symlink")).ToArray(),
            RequestBytes.Read(FuseOpcode.ReadDir, 1, 0, 4096).ToArray(),
            RequestBytes.Read(FuseOpcode.ReadDirPlus, 1, 0, 4096).ToArray(),
            new RequestBytes(FuseOpcode.GetXattr, tree.Node("x")).U32(9, 0).Name("user.a").ToArray(),
            new RequestBytes(FuseOpcode.ListXattr, tree.Node("x")).U32(99, 0).ToArray(),
            new RequestBytes(FuseOpcode.LSeek, tree.Node("holes")).U64(0, 1200).U32(4, 0).ToArray(),
            new RequestBytes(FuseOpcode.LSeek, tree.Node("holes")).U64(0, 5000).U32(3, 0).ToArray(),
            new RequestBytes(FuseOpcode.StatFs).ToArray(),
            new RequestBytes(FuseOpcode.Access).U32(0, 0).ToArray(),
            new RequestBytes(FuseOpcode.Forget).U64(1).ToArray(),
        ];
        AnswerAll(100);
        // What the runtime makes now and then for code that it compiles anew is not meant.
        Assert.Contains(0, Enumerable.Range(0, 5).Select(_ => Allocated()));

        long Allocated()
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            AnswerAll(1000);
            return GC.GetAllocatedBytesForCurrentThread() - before;
        }

        void AnswerAll(int times)
        {
            for (int i = 0; i < times; i++)
            {
                foreach (byte[] message in messages)
                {
                    FuseRequest.Parse(message, out FuseRequest request);
                    operations.Answer(request, reply);
                }
            }
        }
    }
}
