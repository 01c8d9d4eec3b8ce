using System.Buffers.Binary;
using System.Text;
using LazyMount.Fuse.Protocol;

namespace LazyMount.Tests.Fuse;

/// <summary>A request as the kernel lays it out, written byte by byte and not by our structs.</summary>
internal sealed class RequestBytes(FuseOpcode opcode, ulong node = 1, ulong unique = 42)
{
    private readonly List<byte> _body = [];
    private uint? _length;

    public RequestBytes U32(params uint[] values)
    {
        foreach (uint value in values)
        {
            _body.AddRange(BitConverter.GetBytes(value));
        }
        return this;
    }

    public RequestBytes U64(params ulong[] values)
    {
        foreach (ulong value in values)
        {
            _body.AddRange(BitConverter.GetBytes(value));
        }
        return this;
    }

    public RequestBytes Name(string name)
    {
        _body.AddRange(Encoding.Latin1.GetBytes(name + "\0"));
        return this;
    }

    public RequestBytes Bytes(params byte[] bytes)
    {
        _body.AddRange(bytes);
        return this;
    }

    /// <summary>A length in the header that is not the message's.</summary>
    public RequestBytes Claiming(uint length)
    {
        _length = length;
        return this;
    }

    /// <summary>fuse_read_in: fh, offset, size, read_flags, lock_owner, flags, padding.</summary>
    public static RequestBytes Read(FuseOpcode opcode, ulong node, ulong offset, uint size)
        => new RequestBytes(opcode, node).U64(0, offset).U32(size, 0).U64(0).U32(0, 0);

    public byte[] ToArray()
    {
        var message = new byte[40 + _body.Count];
        BinaryPrimitives.WriteUInt32LittleEndian(message, _length ?? (uint)message.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(message.AsSpan(4), (uint)opcode);
        BinaryPrimitives.WriteUInt64LittleEndian(message.AsSpan(8), unique);
        BinaryPrimitives.WriteUInt64LittleEndian(message.AsSpan(16), node);
        _body.CopyTo(message, 40);
        return message;
    }
}
