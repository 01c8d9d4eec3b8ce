namespace LazyMount.Indexes.Tar;

/// <summary>Bytes in one array that grows and is used again.</summary>
internal sealed class ByteBuffer
{
    private byte[] _bytes = new byte[256];

    public int Length { get; private set; }

    public ReadOnlySpan<byte> Bytes => _bytes.AsSpan(0, Length);

    /// <summary>The bytes, writable.</summary>
    public Span<byte> Writable => _bytes.AsSpan(0, Length);

    public void Clear() => Length = 0;

    public void Set(ReadOnlySpan<byte> bytes)
    {
        Clear();
        Append(bytes);
    }

    public void Append(ReadOnlySpan<byte> bytes)
    {
        int needed = checked(Length + bytes.Length);
        if (needed > _bytes.Length)
        {
            Array.Resize(ref _bytes, (int)Math.Min(Array.MaxLength, Math.Max(needed, 2L * _bytes.Length)));
        }
        bytes.CopyTo(_bytes.AsSpan(Length));
        Length = needed;
    }

    /// <summary>Makes room for so many bytes, whatever was there, and gives it to be written to.</summary>
    public Span<byte> Resize(int length)
    {
        if (length > _bytes.Length)
        {
            _bytes = new byte[(int)Math.Min(Array.MaxLength, Math.Max(length, 2L * _bytes.Length))];
        }
        Length = length;
        return _bytes.AsSpan(0, length);
    }

    public void Append(byte b) => Append([b]);

    public byte[] ToArray() => Bytes.ToArray();
}
