using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace LazyMount.Fuse.Protocol;

/// <summary>The ways in which a message from the device can be wrong.</summary>
internal enum RequestError
{
    None,

    /// <summary>Not even a header: there is no one to answer.</summary>
    HeaderTooShort,

    /// <summary>The header's length is not the message's.</summary>
    LengthMismatch,

    /// <summary>The opcode's argument struct is cut off.</summary>
    ArgumentTooShort,

    /// <summary>No zero byte ends the name.</summary>
    NameUnterminated,

    /// <summary>The name is empty.</summary>
    NameEmpty,
}

/// <summary>
/// One request, laid over the bytes that the kernel gave. After <see cref="Parse"/> said <see cref="RequestError.None"/>
/// the arguments that belong to the opcode can be read without further checks; the header's parts can be read after any
/// error but <see cref="RequestError.HeaderTooShort"/>.
/// </summary>
internal readonly ref struct FuseRequest
{
    public static readonly int HeaderSize = Unsafe.SizeOf<fuse_in_header>();

    private readonly ReadOnlySpan<byte> _message;

    private FuseRequest(ReadOnlySpan<byte> message) => _message = message;

    public static RequestError Parse(ReadOnlySpan<byte> message, out FuseRequest request)
    {
        if (message.Length < HeaderSize)
        {
            request = default;
            return RequestError.HeaderTooShort;
        }

        request = new FuseRequest(message);
        if (request.Header.len != (uint)message.Length)
        {
            return RequestError.LengthMismatch;
        }

        RequestShape shape = RequestShape.Of(request.Opcode);
        ReadOnlySpan<byte> body = message[HeaderSize..];
        if (body.Length < shape.ArgumentSize)
        {
            return RequestError.ArgumentTooShort;
        }
        if (shape.HasName)
        {
            int end = body[shape.ArgumentSize..].IndexOf((byte)0);
            return end < 0 ? RequestError.NameUnterminated : end == 0 ? RequestError.NameEmpty : RequestError.None;
        }
        return RequestError.None;
    }

    public FuseOpcode Opcode => (FuseOpcode)Header.opcode;

    /// <summary>Identifies the request until it is answered.</summary>
    public ulong Unique => Header.unique;

    public ulong NodeId => Header.nodeid;

    /// <summary>The thread that asks, as the PID namespace that mounted counts it; 0 when it has no number there.</summary>
    public uint ThreadId => Header.pid;

    /// <summary>LOOKUP, GETXATTR: the name, without its zero byte.</summary>
    public ReadOnlySpan<byte> Name
    {
        get
        {
            ReadOnlySpan<byte> rest = _message[(HeaderSize + RequestShape.Of(Opcode).ArgumentSize)..];
            return rest[..rest.IndexOf((byte)0)];
        }
    }

    /// <summary>READ: first byte. READDIR, READDIRPLUS: the entry to go on with.</summary>
    public ulong Offset => Argument<fuse_read_in>().offset;

    /// <summary>READ, READDIR, READDIRPLUS: bytes that the answer may have.</summary>
    public uint Size => Argument<fuse_read_in>().size;

    /// <summary>OPEN, OPENDIR: flags of open(2).</summary>
    public uint OpenFlags => Argument<fuse_open_in>().flags;

    /// <summary>GETXATTR, LISTXATTR: bytes that the caller has room for; 0 asks how many there are.</summary>
    public uint XattrSize => Argument<fuse_getxattr_in>().size;

    /// <summary>LSEEK: where to begin to look.</summary>
    public ulong SeekOffset => Argument<fuse_lseek_in>().offset;

    /// <summary>LSEEK: SEEK_DATA or SEEK_HOLE; the kernel does the others itself.</summary>
    public uint SeekWhence => Argument<fuse_lseek_in>().whence;

    /// <summary>INTERRUPT: the request to interrupt.</summary>
    public ulong InterruptedUnique => Argument<fuse_interrupt_in>().unique;

    /// <summary>INIT: the argument; what an older kernel did not send is zero.</summary>
    internal fuse_init_in InitArgument
    {
        get
        {
            fuse_init_in init = default;
            ReadOnlySpan<byte> body = _message[HeaderSize..];
            Span<byte> bytes = MemoryMarshal.AsBytes(new Span<fuse_init_in>(ref init));
            body[..Math.Min(body.Length, bytes.Length)].CopyTo(bytes);
            return init;
        }
    }

    private ref readonly fuse_in_header Header => ref MemoryMarshal.AsRef<fuse_in_header>(_message);

    private ref readonly T Argument<T>() where T : struct => ref MemoryMarshal.AsRef<T>(_message[HeaderSize..]);
}
