using System.Numerics;

namespace LazyMount.Compression;

/// <summary>What a set of code lengths makes of the code space (RFC 1951, 3.2.2).</summary>
internal enum CodeSpace
{
    /// <summary>Every bit sequence is some symbol's code.</summary>
    Complete,

    /// <summary>No symbol has a code.</summary>
    Empty,

    /// <summary>One symbol has a code, of one bit: the one incomplete code that the RFC allows.</summary>
    Single,

    /// <summary>Some bit sequences are no symbol's code.</summary>
    Incomplete,

    /// <summary>Some bit sequence would be the code of two symbols.</summary>
    Oversubscribed,
}

/// <summary>
/// Decoding tables of Huffman codes. A table is indexed with the next bits of the stream (its first 2^bits entries);
/// codes longer than that continue in sub-tables behind. One entry says everything there is to do:
/// <code>
/// 31      literal: the byte stands in bits 16-23
/// 16-30   base of a length or distance, or where the sub-table begins
/// 15      exceptional: bit 14 or 13 tells what, neither means that there is no such code or symbol
/// 14      continue in a sub-table          13      end of block
/// 8-11    bits of the code alone; of a sub-table pointer: the bits that index it
/// 0-7     bits to drop: code and extra bits
/// </code>
/// Bits 12 to 14 are zero unless bit 15 is set, so that entry >> 8 can be a shift count as it is (counts are taken
/// modulo 64) and bit 14 alone tells a sub-table pointer. In a sub-table both counts leave out the bits that led there.
/// </summary>
internal static class HuffmanTable
{
    public const uint Literal = 1u << 31;
    public const uint Exceptional = 1u << 15;
    public const uint SubTable = 1u << 14;
    public const uint EndOfBlock = 1u << 13;

    public const int MaxCodeLength = 15;

    /// <summary>An unused code counts as one bit long, as in zlib: it exists only in codes that are empty or single.</summary>
    private const uint Unused = Exceptional | OneBit;
    private const uint OneBit = 0x101;

    /// <summary>
    /// Fills <paramref name="table"/> when the code is complete, empty or single, and tells which. The first 2^bits
    /// entries are then all written, and every sub-table they point to lies within <paramref name="table"/>: decoders
    /// may rely on that instead of checking indexes.
    /// </summary>
    /// <param name="lengths">Code length of each symbol, 0 to 15; 0 is no code.</param>
    /// <param name="symbols">Entry of each symbol, its code's length still missing.</param>
    /// <param name="bits">Bits that index the main table.</param>
    /// <param name="table">Room for the main table and the sub-tables that <paramref name="lengths"/> can need.</param>
    public static CodeSpace Build(ReadOnlySpan<byte> lengths, ReadOnlySpan<uint> symbols, int bits, Span<uint> table)
    {
        Span<int> count = stackalloc int[MaxCodeLength + 1];
        count.Clear();
        foreach (byte length in lengths)
            count[length]++;

        Span<uint> main = table[..(1 << bits)];
        if (count[0] == lengths.Length)
        {
            main.Fill(Unused);
            return CodeSpace.Empty;
        }

        int left = 1;
        for (int length = 1; length <= MaxCodeLength; length++)
        {
            left = (left << 1) - count[length];
            if (left < 0)
                return CodeSpace.Oversubscribed;
        }
        if (left > 0)
        {
            if (count[1] != 1 || count[0] != lengths.Length - 1)
                return CodeSpace.Incomplete;
            main.Fill(Unused);
            uint single = symbols[lengths.IndexOf((byte)1)] + OneBit;
            for (int i = 0; i < main.Length; i += 2)
                main[i] = single;
            return CodeSpace.Single;
        }

        FillComplete(lengths, symbols, bits, table, count);
        return CodeSpace.Complete;
    }

    private static void FillComplete(ReadOnlySpan<byte> lengths, ReadOnlySpan<uint> symbols, int bits, Span<uint> table, Span<int> count)
    {
        // Symbols by code length, then by value: the order in which codes are given out.
        Span<int> place = stackalloc int[MaxCodeLength + 1];
        place[0] = 0;
        place[1] = 0;
        for (int length = 1; length < MaxCodeLength; length++)
            place[length + 1] = place[length] + count[length];
        Span<ushort> ordered = stackalloc ushort[DeflateCodes.MaxSymbols];
        for (int symbol = 0; symbol < lengths.Length; symbol++)
        {
            if (lengths[symbol] != 0)
                ordered[place[lengths[symbol]]++] = (ushort)symbol;
        }

        // Codes stand in the stream with their first bit lowest, so `code` counts with its bits reversed; appending a
        // bit to a code then leaves the number as it is. The main table grows by doubling: what stands for a shorter
        // code stands for both of its continuations, and what no shorter code owns is overwritten by longer ones.
        int code = 0;
        int next = 0;
        int size = 1;
        for (int length = 1; length <= bits; length++)
        {
            table[..size].CopyTo(table[size..]);
            size <<= 1;
            for (int n = count[length]; n > 0; n--)
            {
                table[code] = symbols[ordered[next++]] + (uint)length * OneBit;
                code = Following(code, size);
            }
        }

        int prefix = -1;
        Span<uint> sub = default;
        int end = size;
        for (int length = bits + 1; length <= MaxCodeLength; length++)
        {
            for (; count[length] > 0; count[length]--)
            {
                if ((code & (size - 1)) != prefix)
                {
                    // As deep as the codes with this prefix go: until the codes still to be given out fill it.
                    prefix = code & (size - 1);
                    int subBits = length - bits;
                    for (int used = count[length]; used < 1 << subBits;)
                    {
                        subBits++;
                        used = (used << 1) + count[bits + subBits];
                    }
                    sub = table.Slice(end, 1 << subBits);
                    table[prefix] = Exceptional | SubTable | (uint)end << 16 | (uint)subBits << 8 | (uint)bits;
                    end += sub.Length;
                }
                uint entry = symbols[ordered[next++]] + (uint)(length - bits) * OneBit;
                for (int i = code >> bits; i < sub.Length; i += 1 << (length - bits))
                    sub[i] = entry;
                code = Following(code, 1 << length);
            }
        }
    }

    /// <summary>The next code of the same length (2^length is <paramref name="space"/>), bits reversed: carries run downwards.</summary>
    private static int Following(int code, int space)
    {
        int zeros = code ^ (space - 1);
        if (zeros == 0)
            return 0;
        int highestZero = 1 << BitOperations.Log2((uint)zeros);
        return (code & (highestZero - 1)) | highestZero;
    }
}
