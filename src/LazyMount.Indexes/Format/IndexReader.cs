namespace LazyMount.Indexes.Format;

/// <summary>Reads what <see cref="IndexWriter"/> wrote. Anything out of bounds throws <see cref="InvalidDataException"/>.</summary>
internal ref struct IndexReader(ReadOnlySpan<byte> bytes)
{
    private ReadOnlySpan<byte> _rest = bytes;

    public readonly int Remaining => _rest.Length;

    public ulong Unsigned()
    {
        ReadOnlySpan<byte> rest = _rest;
        if (!rest.IsEmpty && rest[0] < 0x80)
        {
            _rest = rest[1..];
            return rest[0];
        }
        ulong value = 0;
        for (int i = 0; i < rest.Length && i < 10; i++)
        {
            value |= (ulong)(rest[i] & 0x7F) << (7 * i);
            if (rest[i] < 0x80)
            {
                _rest = rest[(i + 1)..];
                return value;
            }
        }
        throw new InvalidDataException("a number is cut off");
    }

    public long Signed()
    {
        ulong value = Unsigned();
        return (long)(value >> 1) ^ -(long)(value & 1);
    }

    /// <summary>A number that must not be negative nor more than <paramref name="max"/>.</summary>
    public long Bounded(long max)
    {
        ulong value = Unsigned();
        return value <= (ulong)max ? (long)value : throw new InvalidDataException("a number is out of bounds");
    }

    /// <summary>How many things follow that take at least <paramref name="bytesEach"/> bytes each: never more than can be there.</summary>
    public int Count(int bytesEach) => (int)Bounded(_rest.Length / bytesEach);

    public ReadOnlySpan<byte> Raw(int length)
    {
        if ((uint)length > (uint)_rest.Length)
        {
            throw new InvalidDataException("it is cut off");
        }
        ReadOnlySpan<byte> bytes = _rest[..length];
        _rest = _rest[length..];
        return bytes;
    }
}
