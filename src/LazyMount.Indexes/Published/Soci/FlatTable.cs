using System.Buffers.Binary;

namespace LazyMount.Indexes.Published.Soci;

/// <summary>
/// One table of a FlatBuffer (FlatBuffers documentation, "FlatBuffer Internals"), looked at in place: a position that holds the
/// distance back to a table of field offsets; what is not a scalar is the distance forward to where it stands. Every access
/// is checked against the buffer and throws <see cref="InvalidDataException"/>; nothing is copied. Tables cannot form loops,
/// for references go forward only, but may share their parts: who walks them bounds what is visited.
/// </summary>
internal readonly ref struct FlatTable
{
    private readonly ReadOnlySpan<byte> _buffer;
    private readonly int _position;
    private readonly ReadOnlySpan<byte> _fields; // of the vtable: two bytes a field

    private FlatTable(ReadOnlySpan<byte> buffer, int position)
    {
        long vtable = position - (long)BinaryPrimitives.ReadInt32LittleEndian(At(buffer, position, sizeof(int)));
        int size = BinaryPrimitives.ReadUInt16LittleEndian(At(buffer, vtable, sizeof(ushort)));
        if (size < 2 * sizeof(ushort))
        {
            throw Malformed();
        }
        _buffer = buffer;
        _position = position;
        _fields = At(buffer, vtable, size)[(2 * sizeof(ushort))..];
    }

    /// <summary>The table that a buffer is.</summary>
    public static FlatTable Root(ReadOnlySpan<byte> buffer) => new(buffer, Target(buffer, 0));

    public byte Byte(int field, byte absent = 0) => Scalar(field, sizeof(byte)) is { IsEmpty: false } bytes ? bytes[0] : absent;

    public int Int32(int field) => Scalar(field, sizeof(int)) is { IsEmpty: false } bytes ? BinaryPrimitives.ReadInt32LittleEndian(bytes) : 0;

    public uint UInt32(int field) => unchecked((uint)Int32(field));

    public long Int64(int field) => Scalar(field, sizeof(long)) is { IsEmpty: false } bytes ? BinaryPrimitives.ReadInt64LittleEndian(bytes) : 0;

    /// <summary>A table, or null in the form of false.</summary>
    public bool TryTable(int field, out FlatTable table)
    {
        int at = Find(field);
        table = at < 0 ? default : new FlatTable(_buffer, Target(_buffer, at));
        return at >= 0;
    }

    /// <summary>A string or a vector of bytes; empty when absent.</summary>
    public ReadOnlySpan<byte> Bytes(int field) => Find(field) is var at && at < 0 ? default : Elements(_buffer, Target(_buffer, at), 1, out _);

    /// <summary>A vector of tables or strings; empty when absent.</summary>
    public FlatVector Vector(int field) => Find(field) is var at && at < 0 ? default : new FlatVector(_buffer, Target(_buffer, at));

    private int Find(int field)
    {
        if (field * sizeof(ushort) + sizeof(ushort) > _fields.Length)
        {
            return -1; // an older schema
        }
        int offset = BinaryPrimitives.ReadUInt16LittleEndian(_fields[(field * sizeof(ushort))..]);
        return offset == 0 ? -1 : _position + offset;
    }

    private ReadOnlySpan<byte> Scalar(int field, int size) => Find(field) is var at && at < 0 ? default : At(_buffer, at, size);

    /// <summary>What a reference at a position points to.</summary>
    private static int Target(ReadOnlySpan<byte> buffer, int at)
    {
        uint distance = BinaryPrimitives.ReadUInt32LittleEndian(At(buffer, at, sizeof(uint)));
        return distance > 0 && distance < buffer.Length - at ? at + (int)distance : throw Malformed();
    }

    private static ReadOnlySpan<byte> Elements(ReadOnlySpan<byte> buffer, int position, int size, out int count)
    {
        uint stored = BinaryPrimitives.ReadUInt32LittleEndian(At(buffer, position, sizeof(uint)));
        long length = (long)stored * size;
        count = length <= buffer.Length ? (int)stored : throw Malformed();
        return At(buffer, position + sizeof(uint), (int)length);
    }

    private static ReadOnlySpan<byte> At(ReadOnlySpan<byte> buffer, long position, int length)
        => position >= 0 && position <= buffer.Length - length ? buffer.Slice((int)position, length) : throw Malformed();

    private static InvalidDataException Malformed() => new("it is not a sound FlatBuffer");

    /// <summary>References one after the other.</summary>
    internal readonly ref struct FlatVector
    {
        private readonly ReadOnlySpan<byte> _buffer;
        private readonly int _position;

        public FlatVector(ReadOnlySpan<byte> buffer, int position)
        {
            Elements(buffer, position, sizeof(uint), out int count);
            _buffer = buffer;
            _position = position + sizeof(uint);
            Count = count;
        }

        public int Count { get; }

        public FlatTable Table(int element) => new(_buffer, Target(_buffer, _position + element * sizeof(uint)));

        public ReadOnlySpan<byte> Text(int element) => Elements(_buffer, Target(_buffer, _position + element * sizeof(uint)), 1, out _);
    }
}
