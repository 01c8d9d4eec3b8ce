using System.Buffers.Binary;

namespace LazyMount.Compression;

/// <summary>What a frame of a zstd stream says at its start (RFC 8878, section 3.1).</summary>
/// <param name="Skippable">Whether it holds nothing that is decoded.</param>
/// <param name="WindowSize">Bytes of history that decoding needs; of a skippable frame, the bytes to skip.</param>
/// <param name="Dictionary">Id of the dictionary it needs, 0 for none.</param>
internal readonly record struct ZstdFrameHeader(bool Skippable, ulong WindowSize, uint Dictionary)
{
    private const uint Magic = 0xFD2FB528;
    private const uint SkippableMagic = 0x184D2A50; // to …5F
    private const int MagicLength = 4;

    /// <summary>The longest header: magic, descriptor, window, 4 bytes of dictionary, 8 of content size.</summary>
    public const int MaxLength = 18;

    public static bool HasMagic(ReadOnlySpan<byte> head)
        => head.Length >= MagicLength && IsMagic(BinaryPrimitives.ReadUInt32LittleEndian(head));

    /// <summary>How many bytes must be there to parse, given those that are; more than given means that they are not enough.</summary>
    /// <exception cref="InvalidDataException">They do not begin a frame.</exception>
    public static int Length(ReadOnlySpan<byte> head)
    {
        if (head.Length < MagicLength)
            return MagicLength;
        if (!HasMagic(head))
            throw new InvalidDataException("neither a frame nor the end of the blob comes after the last frame");
        if (IsSkippable(head))
            return MagicLength + 4;
        return head.Length == MagicLength ? MagicLength + 1 : MagicLength + 1 + WindowLength(head[4]) + DictionaryLength(head[4]) + SizeLength(head[4]);
    }

    /// <summary>Parses as many bytes as <see cref="Length"/> asked for.</summary>
    public static ZstdFrameHeader Parse(ReadOnlySpan<byte> head)
    {
        if (IsSkippable(head))
            return new ZstdFrameHeader(true, BinaryPrimitives.ReadUInt32LittleEndian(head[MagicLength..]), 0);
        byte descriptor = head[MagicLength];
        ReadOnlySpan<byte> rest = head[(MagicLength + 1)..];
        ulong window = 0;
        if (WindowLength(descriptor) > 0)
        {
            window = 1UL << (10 + (rest[0] >> 3));
            window += window / 8 * (uint)(rest[0] & 7);
            rest = rest[1..];
        }
        int dictionaryLength = DictionaryLength(descriptor);
        uint dictionary = (uint)Number(rest[..dictionaryLength]);
        if (WindowLength(descriptor) == 0)
            window = Number(rest[dictionaryLength..]) + (SizeLength(descriptor) == 2 ? 256u : 0);
        return new ZstdFrameHeader(false, window, dictionary);
    }

    private static bool IsMagic(uint value) => value == Magic || (value & ~0xFu) == SkippableMagic;

    private static bool IsSkippable(ReadOnlySpan<byte> head) => BinaryPrimitives.ReadUInt32LittleEndian(head) != Magic;

    // A single segment (bit 5) has no window but that of its content, whose size is then always there.
    private static int WindowLength(byte descriptor) => (descriptor & 0x20) == 0 ? 1 : 0;

    private static int DictionaryLength(byte descriptor) => (1 << (descriptor & 3)) >> 1;

    private static int SizeLength(byte descriptor) => (descriptor >> 6) switch
    {
        0 => 1 - WindowLength(descriptor),
        int power => 1 << power,
    };

    private static ulong Number(ReadOnlySpan<byte> littleEndian)
    {
        ulong value = 0;
        for (int i = littleEndian.Length - 1; i >= 0; i--)
            value = value << 8 | littleEndian[i];
        return value;
    }
}
