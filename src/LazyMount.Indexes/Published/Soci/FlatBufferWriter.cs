using System.Buffers.Binary;
using LazyMount.Indexes.Tar;

namespace LazyMount.Indexes.Published.Soci;

/// <summary>
/// Writes a FlatBuffer from its front to its end: a table first, then what it refers to, its references being filled in as
/// that is written. All fields of a table are there, its largest first, so that each is aligned; tables of one shape share
/// one table of field offsets.
/// </summary>
internal sealed class FlatBufferWriter
{
    /// <summary>A kind of table: the bytes of each field, references taking 4.</summary>
    public sealed class Shape
    {
        public Shape(params int[] sizes)
        {
            Offsets = new int[sizes.Length];
            int at = sizeof(int); // behind the distance to the field offsets
            foreach (int size in (int[])[8, 4, 1])
            {
                for (int i = 0; i < sizes.Length; i++)
                {
                    if (sizes[i] == size)
                    {
                        Offsets[i] = at;
                        at += size;
                    }
                }
            }
            Size = at;
        }

        public int[] Offsets { get; }

        public int Size { get; }
    }

    private readonly ByteBuffer _bytes = new();
    private readonly Dictionary<Shape, int> _written = [];

    public FlatBufferWriter() => _bytes.Append(new byte[sizeof(uint)]); // where the root is

    public ReadOnlySpan<byte> Bytes => _bytes.Bytes;

    /// <summary>The table that the buffer is.</summary>
    public int Root(Shape shape) => Refer(0, Table(shape));

    /// <summary>A table that a field refers to.</summary>
    public int Table(int table, Shape shape, int field, Shape kind) => Refer(table + shape.Offsets[field], Table(kind));

    /// <summary>A table that an element of a vector refers to.</summary>
    public int Element(int vector, int element, Shape kind) => Refer(vector + (1 + element) * sizeof(uint), Table(kind));

    public void ElementText(int vector, int element, ReadOnlySpan<byte> text) => Refer(vector + (1 + element) * sizeof(uint), Text(text));

    /// <summary>A vector of references, each of which has to be filled in.</summary>
    public int Vector(int table, Shape shape, int field, int count)
    {
        int at = Align(4, 0);
        Append(count);
        _bytes.Append(new byte[count * sizeof(uint)]);
        return Refer(table + shape.Offsets[field], at);
    }

    /// <summary>A string, or a vector of bytes.</summary>
    public void Bytes8(int table, Shape shape, int field, ReadOnlySpan<byte> bytes) => Refer(table + shape.Offsets[field], Text(bytes));

    public void Int64(int table, Shape shape, int field, long value) => BinaryPrimitives.WriteInt64LittleEndian(At(table + shape.Offsets[field], sizeof(long)), value);

    public void Int32(int table, Shape shape, int field, int value) => BinaryPrimitives.WriteInt32LittleEndian(At(table + shape.Offsets[field], sizeof(int)), value);

    public void Byte(int table, Shape shape, int field, byte value) => At(table + shape.Offsets[field], 1)[0] = value;

    private int Table(Shape shape)
    {
        if (!_written.TryGetValue(shape, out int fields))
        {
            _written[shape] = fields = Align(2, 0);
            Append16((2 + shape.Offsets.Length) * sizeof(ushort));
            Append16(shape.Size);
            Array.ForEach(shape.Offsets, Append16);
        }
        int at = Align(8, 4);
        Append(at - fields);
        _bytes.Append(new byte[shape.Size - sizeof(int)]);
        return at;
    }

    private int Text(ReadOnlySpan<byte> text)
    {
        int at = Align(4, 0);
        Append(text.Length);
        _bytes.Append(text);
        _bytes.Append(0); // strings end with one; behind a vector it does no harm
        return at;
    }

    private int Refer(int from, int target)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(At(from, sizeof(uint)), (uint)(target - from));
        return target;
    }

    private int Align(int alignment, int remainder)
    {
        while (_bytes.Length % alignment != remainder)
        {
            _bytes.Append(0);
        }
        return _bytes.Length;
    }

    private void Append(int value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, value);
        _bytes.Append(bytes);
    }

    private void Append16(int value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(ushort)];
        BinaryPrimitives.WriteUInt16LittleEndian(bytes, (ushort)value);
        _bytes.Append(bytes);
    }

    private Span<byte> At(int position, int length) => _bytes.Writable.Slice(position, length);
}
