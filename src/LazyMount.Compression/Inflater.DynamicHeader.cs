namespace LazyMount.Compression;

/// <summary>The head of a dynamic block: two codes, written as code lengths that are Huffman-coded themselves (RFC 1951, 3.2.7).</summary>
internal sealed partial class Inflater
{
    private const int MaxLiteralCodes = 286;
    private const int MaxDistanceCodes = 30;


    /// <summary>A code of 7 bits and 7 extra bits.</summary>
    private const int MaxCodeLengthBits = 14;

    private readonly byte[] _lengths = new byte[MaxLiteralCodes + MaxDistanceCodes];
    private readonly uint[] _codeLengthTable = new uint[DeflateCodes.CodeLengthTableSize];
    private readonly uint[] _dynamicLiterals = new uint[DeflateCodes.LiteralTableSize];
    private readonly uint[] _dynamicDistances = new uint[DeflateCodes.DistanceTableSize];
    private int _literalCodes;
    private int _distanceCodes;
    private int _codeLengthCodes;
    private int _lengthsRead;

    private static ReadOnlySpan<byte> CodeLengthOrder => [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

    private InflateStatus? ReadCodeCounts(ReadOnlySpan<byte> input, ref int position)
    {
        if (!TryFill(14, input, ref position))
            return InflateStatus.NeedInput;
        _literalCodes = 257 + (int)Drop(5);
        _distanceCodes = 1 + (int)Drop(5);
        _codeLengthCodes = 4 + (int)Drop(4);
        if (_literalCodes > MaxLiteralCodes)
            throw new InvalidDataException("more than 286 literal and length codes");
        if (_distanceCodes > MaxDistanceCodes)
            throw new InvalidDataException("more than 30 distance codes");
        _lengths.AsSpan(0, CodeLengthOrder.Length).Clear();
        _lengthsRead = 0;
        _state = State.CodeLengthCode;
        return null;
    }

    private InflateStatus? ReadCodeLengthCode(ReadOnlySpan<byte> input, ref int position)
    {
        for (; _lengthsRead < _codeLengthCodes; _lengthsRead++)
        {
            if (!TryFill(3, input, ref position))
                return InflateStatus.NeedInput;
            _lengths[CodeLengthOrder[_lengthsRead]] = (byte)Drop(3);
        }
        CodeSpace space = HuffmanTable.Build(_lengths.AsSpan(0, CodeLengthOrder.Length), DeflateCodes.CodeLengthSymbols, DeflateCodes.CodeLengthTableBits, _codeLengthTable);
        if (space != CodeSpace.Complete)
            throw new InvalidDataException(Describe(space, "code length code"));
        _lengthsRead = 0;
        _state = State.CodeLengths;
        return null;
    }

    private InflateStatus? ReadCodeLengths(ReadOnlySpan<byte> input, ref int position)
    {
        int total = _literalCodes + _distanceCodes;
        while (_lengthsRead < total)
        {
            if (_count < MaxCodeLengthBits && input.Length - position >= 8)
                FillAhead(input, ref position);

            uint entry = _codeLengthTable[(int)_bits & (DeflateCodes.CodeLengthTableSize - 1)];
            int codeBits = (byte)entry;
            int symbol = (int)(entry >> 16);
            int extraBits = symbol switch { 16 => 2, 17 => 3, 18 => 7, _ => 0 };
            if (codeBits + extraBits > _count)
            {
                if (position == input.Length)
                    return InflateStatus.NeedInput;
                TryFill(_count + 1, input, ref position);
                continue;
            }
            Drop(codeBits);
            if (symbol < 16)
            {
                _lengths[_lengthsRead++] = (byte)symbol;
                continue;
            }

            int repeat = (symbol == 18 ? 11 : 3) + (int)Drop(extraBits);
            if (symbol == 16 && _lengthsRead == 0)
                throw new InvalidDataException("the first code length repeats the one before it");
            if (repeat > total - _lengthsRead)
                throw new InvalidDataException("a repeated code length goes beyond the last code");
            _lengths.AsSpan(_lengthsRead, repeat).Fill(symbol == 16 ? _lengths[_lengthsRead - 1] : (byte)0);
            _lengthsRead += repeat;
        }
        ReturnWholeBytes(ref position);
        UseDynamicCodes();
        _state = State.Symbols;
        return null;
    }

    private void UseDynamicCodes()
    {
        if (_lengths[DeflateCodes.EndOfBlockSymbol] == 0)
            throw new InvalidDataException("the end of the block has no code");
        CodeSpace literals = HuffmanTable.Build(_lengths.AsSpan(0, _literalCodes), DeflateCodes.LiteralSymbols, DeflateCodes.LiteralTableBits, _dynamicLiterals);
        if (literals is CodeSpace.Oversubscribed or CodeSpace.Incomplete)
            throw new InvalidDataException(Describe(literals, "literal and length code"));
        CodeSpace distances = HuffmanTable.Build(_lengths.AsSpan(_literalCodes, _distanceCodes), DeflateCodes.DistanceSymbols, DeflateCodes.DistanceTableBits, _dynamicDistances);
        if (distances is CodeSpace.Oversubscribed or CodeSpace.Incomplete)
            throw new InvalidDataException(Describe(distances, "distance code"));
        _literals = _dynamicLiterals;
        _distances = _dynamicDistances;
    }

    private static string Describe(CodeSpace space, string code)
        => $"the {code} is {(space == CodeSpace.Oversubscribed ? "oversubscribed" : "incomplete")}";
}
