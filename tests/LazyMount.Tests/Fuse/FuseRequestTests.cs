using System.Text;
using LazyMount.Fuse.Protocol;
using Xunit;

namespace LazyMount.Tests.Fuse;

public sealed class FuseRequestTests
{
    [Fact]
    public void Header_IsRead()
    {
        Assert.Equal(RequestError.None, FuseRequest.Parse(new RequestBytes(FuseOpcode.GetAttr, node: 7, unique: 0x8000_0000_0000_0001).U32(0, 0).U64(0).ToArray(), out FuseRequest request));
        Assert.Equal(FuseOpcode.GetAttr, request.Opcode);
        Assert.Equal(7u, request.NodeId);
        Assert.Equal(0x8000_0000_0000_0001u, request.Unique);
    }

    [Fact]
    public void Read_GivesOffsetAndSize()
    {
        Assert.Equal(RequestError.None, FuseRequest.Parse(RequestBytes.Read(FuseOpcode.Read, 3, 0x1_0000_0002, 4096).ToArray(), out FuseRequest request));
        Assert.Equal(0x1_0000_0002u, request.Offset);
        Assert.Equal(4096u, request.Size);
    }

    [Fact]
    public void Lookup_GivesTheNameUpToItsZero()
    {
        Assert.Equal(RequestError.None, FuseRequest.Parse(new RequestBytes(FuseOpcode.Lookup).Name("n\u00ff").Bytes(9, 9).ToArray(), out FuseRequest request));
        Assert.Equal([(byte)'n', 0xff], request.Name.ToArray());
    }

    [Fact]
    public void GetXattr_GivesSizeAndName()
    {
        Assert.Equal(RequestError.None, FuseRequest.Parse(new RequestBytes(FuseOpcode.GetXattr).U32(99, 0).Name("user.a").ToArray(), out FuseRequest request));
        Assert.Equal(99u, request.XattrSize);
        Assert.Equal("user.a", Encoding.ASCII.GetString(request.Name));
    }

    [Fact]
    public void Interrupt_GivesTheOtherRequest()
    {
        Assert.Equal(RequestError.None, FuseRequest.Parse(new RequestBytes(FuseOpcode.Interrupt, unique: 43).U64(42).ToArray(), out FuseRequest request));
        Assert.Equal(42u, request.InterruptedUnique);
    }

    [Fact]
    public void LongerArgumentsOfLaterKernels_AreTaken()
        => Assert.Equal(RequestError.None, FuseRequest.Parse(RequestBytes.Read(FuseOpcode.Read, 3, 0, 1).U64(1, 2, 3).ToArray(), out _));

    [Fact]
    public void UnknownOpcode_IsAWellFormedRequest()
        => Assert.Equal(RequestError.None, FuseRequest.Parse(new RequestBytes((FuseOpcode)4096).ToArray(), out _));

    [Fact]
    public void EveryCut_IsAnErrorAndNeverACrash()
    {
        byte[][] messages =
        [
            new RequestBytes(FuseOpcode.Lookup).Name("name").ToArray(),
            new RequestBytes(FuseOpcode.GetXattr).U32(99, 0).Name("user.a").ToArray(),
            new RequestBytes(FuseOpcode.ListXattr).U32(99, 0).ToArray(),
            RequestBytes.Read(FuseOpcode.Read, 1, 0, 1).ToArray(),
            new RequestBytes(FuseOpcode.Open).U32(0, 0).ToArray(),
            new RequestBytes(FuseOpcode.Interrupt).U64(1).ToArray(),
            new RequestBytes(FuseOpcode.Init).U32(7, 45, 0, 0).ToArray(),
        ];
        foreach (byte[] message in messages)
        {
            Assert.Equal(RequestError.None, FuseRequest.Parse(message, out _));
            for (int length = 0; length < message.Length; length++)
            {
                RequestError error = FuseRequest.Parse(message.AsSpan(0, length), out _);
                Assert.Equal(length < 40 ? RequestError.HeaderTooShort : RequestError.LengthMismatch, error);
                if (length < 40)
                {
                    continue;
                }
                // The same cut with a header that agrees.
                byte[] cut = message[..length];
                BitConverter.TryWriteBytes(cut, length);
                Assert.NotEqual(RequestError.None, FuseRequest.Parse(cut, out _));
            }
        }
    }

    [Theory]
    [InlineData(0u)]
    [InlineData(39u)]
    [InlineData(uint.MaxValue)]
    public void LyingLength_IsTold(uint claimed)
        => Assert.Equal(RequestError.LengthMismatch, FuseRequest.Parse(new RequestBytes(FuseOpcode.StatFs).Claiming(claimed).ToArray(), out _));

    [Fact]
    public void EmptyName_IsTold()
        => Assert.Equal(RequestError.NameEmpty, FuseRequest.Parse(new RequestBytes(FuseOpcode.Lookup).Name("").ToArray(), out _));

    [Fact]
    public void UnterminatedName_IsTold()
        => Assert.Equal(RequestError.NameUnterminated, FuseRequest.Parse(new RequestBytes(FuseOpcode.Lookup).Bytes(65, 66).ToArray(), out _));

    [Fact]
    public void AnyBytes_NeverCrashParsingNorAnswering()
    {
        var operations = new TestTree().Operations();
        var random = new Random(1);
        var reply = new byte[Negotiation.ReplyBufferSize];
        for (int i = 0; i < 20_000; i++)
        {
            var message = new byte[random.Next(0, 120)];
            random.NextBytes(message);
            if (message.Length >= 40)
            {
                BitConverter.TryWriteBytes(message, message.Length);
                BitConverter.TryWriteBytes(message.AsSpan(4), random.Next(0, 54));
                BitConverter.TryWriteBytes(message.AsSpan(16), random.NextInt64(0, 12));
            }
            if (FuseRequest.Parse(message, out FuseRequest request) == RequestError.None && request.Opcode != FuseOpcode.Init)
            {
                int length = operations.Answer(request, reply);
                Assert.InRange(length, 0, reply.Length);
                if (request.Opcode == FuseOpcode.Read)
                {
                    operations.CheckRead(request);
                }
            }
        }
    }
}
