namespace LazyMount.Tests.Compression;

/// <summary>Writes DEFLATE streams bit by bit, so that a test can break one rule and no other.</summary>
internal sealed class BitWriter
{
    private readonly List<byte> _bytes = [];
    private int _used = 8;

    /// <summary>Numbers stand with their lowest bit first.</summary>
    public BitWriter Bits(int value, int count)
    {
        for (int i = 0; i < count; i++)
        {
            if (_used == 8)
            {
                _bytes.Add(0);
                _used = 0;
            }
            _bytes[^1] |= (byte)((value >> i & 1) << _used++);
        }
        return this;
    }

    /// <summary>Huffman codes stand with their highest bit first.</summary>
    public BitWriter Code(int code, int count)
    {
        for (int i = count - 1; i >= 0; i--)
            Bits(code >> i, 1);
        return this;
    }

    public BitWriter Align()
    {
        _used = 8;
        return this;
    }

    /// <summary>The symbol's code among the fixed codes for literals and lengths.</summary>
    public BitWriter FixedLiteral(int symbol) => symbol switch
    {
        < 144 => Code(0b0011_0000 + symbol, 8),
        < 256 => Code(0b1_1001_0000 + symbol - 144, 9),
        < 280 => Code(symbol - 256, 7),
        _ => Code(0b1100_0000 + symbol - 280, 8),
    };

    public BitWriter FixedDistance(int symbol) => Code(symbol, 5);

    /// <summary>
    /// The head of a dynamic block whose code lengths are all written with the sixteen codes 0 to 15 of 4 bits each, so
    /// that any lengths can stand there.
    /// </summary>
    public BitWriter DynamicHead(byte[] literalLengths, byte[] distanceLengths, bool final = true)
    {
        Bits(final ? 1 : 0, 1).Bits(2, 2).Bits(literalLengths.Length - 257, 5).Bits(distanceLengths.Length - 1, 5).Bits(19 - 4, 4);
        for (int i = 0; i < 19; i++)
            Bits(i < 3 ? 0 : 4, 3);
        foreach (byte length in literalLengths.Concat(distanceLengths))
            Code(length, 4);
        return this;
    }

    public byte[] ToArray() => [.. _bytes];
}
