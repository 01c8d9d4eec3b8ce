namespace LazyMount.Compression;

/// <summary>The alphabets of RFC 1951 as table entries, and the tables of its fixed codes.</summary>
internal static class DeflateCodes
{
    public const int MaxSymbols = 288;

    // Table widths: 10 and 8, 11 and 9, and 11 and 8 bits gave 625, 628 and 660 MB/s on a tar of /usr (gzip -6, 220 MB),
    // medians of one run each on a busy machine that spread by 80: no width is clearly better.
    // The sizes are what zlib's `enough` finds to be the worst case of 288 symbols (11 bits) and 32 symbols (8 bits) with codes of up to 15 bits.
    public const int LiteralTableBits = 11;
    public const int LiteralTableSize = 2342;
    public const int DistanceTableBits = 8;
    public const int DistanceTableSize = 402;
    public const int CodeLengthTableBits = 7;
    public const int CodeLengthTableSize = 128;

    public const int EndOfBlockSymbol = 256;

    /// <summary>Literals, end of block and lengths, 286 and 287 undefined. Entries still lack their code's length.</summary>
    public static readonly uint[] LiteralSymbols = MakeLiteralSymbols();

    /// <summary>Distances, 30 and 31 undefined.</summary>
    public static readonly uint[] DistanceSymbols = MakeDistanceSymbols();

    /// <summary>The alphabet that code lengths are written in: the symbol itself.</summary>
    public static readonly uint[] CodeLengthSymbols = MakeCodeLengthSymbols();

    public static readonly uint[] FixedLiterals = MakeFixedLiterals();
    public static readonly uint[] FixedDistances = MakeFixedDistances();

    private static uint[] MakeLiteralSymbols()
    {
        var symbols = new uint[MaxSymbols];
        for (int i = 0; i < 256; i++)
            symbols[i] = HuffmanTable.Literal | (uint)i << 16;
        symbols[EndOfBlockSymbol] = HuffmanTable.Exceptional | HuffmanTable.EndOfBlock;
        uint length = 3;
        for (int i = 257; i < 285; i++)
        {
            int extraBits = Math.Max(0, (i - 261) >> 2);
            symbols[i] = length << 16 | (uint)extraBits;
            length += 1u << extraBits;
        }
        symbols[285] = 258 << 16;
        symbols[286] = HuffmanTable.Exceptional;
        symbols[287] = HuffmanTable.Exceptional;
        return symbols;
    }

    private static uint[] MakeDistanceSymbols()
    {
        var symbols = new uint[32];
        uint distance = 1;
        for (int i = 0; i < 30; i++)
        {
            int extraBits = Math.Max(0, (i - 2) >> 1);
            symbols[i] = distance << 16 | (uint)extraBits;
            distance += 1u << extraBits;
        }
        symbols[30] = HuffmanTable.Exceptional;
        symbols[31] = HuffmanTable.Exceptional;
        return symbols;
    }

    private static uint[] MakeCodeLengthSymbols()
    {
        var symbols = new uint[19];
        for (int i = 0; i < symbols.Length; i++)
            symbols[i] = (uint)i << 16;
        return symbols;
    }

    private static uint[] MakeFixedLiterals()
    {
        Span<byte> lengths = stackalloc byte[MaxSymbols];
        lengths[..144].Fill(8);
        lengths[144..256].Fill(9);
        lengths[256..280].Fill(7);
        lengths[280..].Fill(8);
        var table = new uint[LiteralTableSize];
        HuffmanTable.Build(lengths, LiteralSymbols, LiteralTableBits, table);
        return table;
    }

    private static uint[] MakeFixedDistances()
    {
        Span<byte> lengths = stackalloc byte[32];
        lengths.Fill(5);
        var table = new uint[DistanceTableSize];
        HuffmanTable.Build(lengths, DistanceSymbols, DistanceTableBits, table);
        return table;
    }
}
