using LazyMount.Indexes.Tar;

namespace LazyMount.Indexes.Format;

/// <summary>Writes numbers as variable-length integers: 7 bits a byte, low first; signed ones zigzag.</summary>
internal sealed class IndexWriter
{
    private readonly ByteBuffer _buffer = new();

    public ReadOnlySpan<byte> Bytes => _buffer.Bytes;

    public void Unsigned(ulong value)
    {
        Span<byte> bytes = stackalloc byte[10];
        int length = 0;
        for (; value > 0x7F; value >>= 7)
        {
            bytes[length++] = (byte)(value | 0x80);
        }
        bytes[length++] = (byte)value;
        _buffer.Append(bytes[..length]);
    }

    public void Signed(long value) => Unsigned((ulong)((value << 1) ^ (value >> 63)));

    public void Raw(ReadOnlySpan<byte> bytes) => _buffer.Append(bytes);
}
