using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace LazyMount.Fuse.Protocol;

/// <summary>Builds messages to the kernel that answer no request; every method returns the message's length.</summary>
internal static class FuseNotification
{
    /// <summary>The longest message: a name of 255 bytes.</summary>
    public static readonly int MaxLength = FuseReply.HeaderSize + Unsafe.SizeOf<fuse_notify_inval_entry_out>() + MaxName + 1;

    private const int MaxName = 255;

    /// <summary>The kernel drops the attributes and all pages of a node (7.12). ENOENT: it does not know the node.</summary>
    public static int InvalidateNode(Span<byte> message, ulong node)
    {
        ref fuse_notify_inval_inode_out body = ref MemoryMarshal.AsRef<fuse_notify_inval_inode_out>(message[FuseReply.HeaderSize..]);
        body = new fuse_notify_inval_inode_out { ino = node, off = 0, len = 0 }; // no length: up to the end
        return Header(message, FuseNotifyCode.NotifyInvalInode, Unsafe.SizeOf<fuse_notify_inval_inode_out>());
    }

    /// <summary>The kernel drops a name in a directory, and what nobody uses below it (7.12). ENOENT: it does not know the name.</summary>
    public static int InvalidateName(Span<byte> message, ulong directory, ReadOnlySpan<byte> name)
    {
        ref fuse_notify_inval_entry_out body = ref MemoryMarshal.AsRef<fuse_notify_inval_entry_out>(message[FuseReply.HeaderSize..]);
        body = new fuse_notify_inval_entry_out { parent = directory, namelen = (uint)name.Length };
        Span<byte> text = message[(FuseReply.HeaderSize + Unsafe.SizeOf<fuse_notify_inval_entry_out>())..];
        name.CopyTo(text);
        text[name.Length] = 0;
        return Header(message, FuseNotifyCode.NotifyInvalEntry, Unsafe.SizeOf<fuse_notify_inval_entry_out>() + name.Length + 1);
    }

    /// <summary>The kernel asks again for every name before it uses it, also for those that were not found (7.44; EINVAL before).</summary>
    public static int NewEpoch(Span<byte> message) => Header(message, FuseNotifyCode.NotifyIncEpoch, 0);

    /// <summary>The kernel sends again whatever was read and not answered, with bit 63 of its unique set (7.40; EINVAL before).</summary>
    public static int Resend(Span<byte> message) => Header(message, FuseNotifyCode.NotifyResend, 0);

    /// <summary>A message without a request has the code in the place of the error.</summary>
    private static int Header(Span<byte> message, FuseNotifyCode code, int bodyLength)
    {
        ref fuse_out_header header = ref MemoryMarshal.AsRef<fuse_out_header>(message);
        header = new fuse_out_header { len = (uint)(FuseReply.HeaderSize + bodyLength), error = (int)code, unique = 0 };
        return FuseReply.HeaderSize + bodyLength;
    }
}
