namespace LazyMount.Compression;

/// <summary>
/// A place where decoding can start. Bit <see cref="Bit"/> (0 to 7, least significant first) of the byte at
/// <see cref="CompressedOffset"/> is the first bit of a DEFLATE block header, or, when
/// <see cref="AtMemberStart"/>, byte <see cref="CompressedOffset"/> is the first of a gzip member's header
/// (or of a zstd frame, or of an uncompressed stretch) and <see cref="Bit"/> is 0.
/// </summary>
/// <param name="CompressedOffset">Byte of the compressed blob that holds the first bit to decode.</param>
/// <param name="Bit">First bit within that byte, 0 to 7.</param>
/// <param name="UncompressedOffset">Where the first decoded byte stands in the uncompressed stream.</param>
/// <param name="AtMemberStart">Nothing before this place is needed: no window, framing is parsed first.</param>
/// <param name="Window">
/// The history that decoding from here may refer to, at most 32 KiB, its last byte being the one just before
/// <paramref name="UncompressedOffset"/>. Bytes that no later back-reference reaches are zero, and leading bytes
/// that are all unreached are left out. Empty at a member's start.
/// </param>
public readonly record struct Checkpoint(
    long CompressedOffset,
    byte Bit,
    long UncompressedOffset,
    bool AtMemberStart,
    ReadOnlyMemory<byte> Window);
