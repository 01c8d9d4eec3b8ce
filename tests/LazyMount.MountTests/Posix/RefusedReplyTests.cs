using LazyMount.FileSystem;
using LazyMount.Fuse;
using LazyMount.Fuse.Protocol;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Posix;

/// <summary>A reply that the kernel does not take must not leave somebody waiting for ever.</summary>
public sealed class RefusedReplyTests
{
    [Fact]
    public void RefusedReply_IsFollowedByAnError()
    {
        using var directory = new TemporaryDirectory();
        string root = directory.CreateDirectory("mnt");
        using FuseDevice device = FuseDevice.Open();
        Assert.Equal(0, Interop.Mount("test:refused", root, "fuse.lazymount", Interop.MS_RDONLY, $"fd={device.Descriptor},rootmode=40000,user_id=0,group_id=0,default_permissions"));
        try
        {
            using var buffer = new NativeBuffer(Negotiation.RequestBufferSize);
            byte[] reply = new byte[1000];
            FuseRequest request = Next(device, buffer);
            Assert.Equal(NegotiationResult.Settled, Negotiation.Answer(request, reply, out int length, out _));
            Assert.Equal(0, device.Write(reply.AsSpan(0, length)));

            using Tool user = Tool.Start("stat", ["-f", root]);
            request = Next(device, buffer);
            Assert.Equal(FuseOpcode.StatFs, request.Opcode);
            length = FuseReply.StatFs(reply, request.Unique, 1, 1);
            Assert.Equal(Interop.EINVAL, device.Answer(request.Unique, reply.AsSpan(0, length - 8))); // the header says more
            Assert.Contains("Input/output error", user.WaitForExit(TimeSpan.FromSeconds(30)).Error, StringComparison.Ordinal);
        }
        finally
        {
            MountPoint.TryUnmount(root, lazy: true, out _);
        }
    }

    [Fact]
    public void ReplyThatComesTooLate_IsNoRefusal()
    {
        using FuseDevice device = FuseDevice.Open();
        using var directory = new TemporaryDirectory();
        string root = directory.CreateDirectory("mnt");
        Assert.Equal(0, Interop.Mount("test:late", root, "fuse.lazymount", Interop.MS_RDONLY, $"fd={device.Descriptor},rootmode=40000,user_id=0,group_id=0,default_permissions"));
        Assert.Equal(0, device.Answer(0x7777777, Errno.EIO)); // ENOENT: there is no such request
        MountPoint.TryUnmount(root, lazy: true, out _);
        Assert.Equal(0, device.Answer(0x7777777, Errno.EIO));
    }

    private static FuseRequest Next(FuseDevice device, NativeBuffer buffer)
    {
        int length = device.Read(buffer, out int errno);
        Assert.Equal(0, errno);
        Assert.Equal(RequestError.None, FuseRequest.Parse(buffer.Span[..length], out FuseRequest request));
        return request;
    }
}
