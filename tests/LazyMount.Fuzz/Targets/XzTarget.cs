using System.Buffers.Binary;
using System.IO.Hashing;
using LazyMount.Compression;

namespace LazyMount.Fuzz.Targets;

/// <summary>
/// xz streams: refused or decoded, with the same result whatever pieces they come in. The first byte chooses the pieces, and whether
/// the checksums of the framing are set right first: of the stream's header and footer, the first block's header, and the index.
/// </summary>
internal static class XzTarget
{
    private const int MaxOutput = 1 << 20;

    public static void Run(byte[] input)
    {
        var reader = new InputReader(input);
        byte flags = reader.Byte();
        byte[] xz = reader.Rest.ToArray();
        if ((flags & 0x80) == 0)
        {
            SetChecksums(xz);
        }
        (byte[] whole, string? error) = Decode(xz, int.MaxValue);
        (byte[] pieces, string? otherError) = Decode(xz, (flags & 0x7F) * 7 + 1);
        FuzzException.Require(error is null == otherError is null, $"whole: {error ?? "accepted"}, in pieces: {otherError ?? "accepted"}");
        FuzzException.Require(error is not null || whole.AsSpan().SequenceEqual(pieces), "pieces change the bytes");
    }

    private static (byte[] Bytes, string? Error) Decode(byte[] xz, int pieceSize)
    {
        var bytes = new List<byte>();
        try
        {
            using Decompressor decompressor = Decompressor.Start(CompressionFormat.Xz);
            for (int at = 0; at < xz.Length; at += Math.Min(pieceSize, xz.Length - at))
            {
                decompressor.Push(xz.AsMemory(at, Math.Min(pieceSize, xz.Length - at)));
                while (decompressor.TryRead(out ReadOnlySpan<byte> run))
                {
                    bytes.AddRange(run);
                    if (bytes.Count > MaxOutput)
                    {
                        return ([], "too long to go on");
                    }
                }
            }
            decompressor.Complete();
            while (decompressor.TryRead(out ReadOnlySpan<byte> run) && bytes.Count <= MaxOutput)
            {
                bytes.AddRange(run);
            }
            return ([.. bytes], null);
        }
        catch (Exception e) when (e is InvalidDataException or NotSupportedException)
        {
            return ([], e.Message);
        }
    }

    private static void SetChecksums(byte[] xz)
    {
        const int Header = 12, Footer = 12;
        if (xz.Length < Header + Footer)
        {
            return;
        }
        Put(6, 2, 8);
        int block = (xz[Header] + 1) * 4;
        if (xz[Header] > 0 && Header + block <= xz.Length)
        {
            Put(Header, block - 4, Header + block - 4);
        }
        int footer = xz.Length - Footer;
        long index = footer - (BinaryPrimitives.ReadUInt32LittleEndian(xz.AsSpan(footer + 4)) + 1L) * 4;
        if (index >= Header && index < footer - 4)
        {
            Put((int)index, footer - 4 - (int)index, footer - 4);
        }
        Put(footer + 4, 6, footer);

        void Put(int from, int length, int at) => BinaryPrimitives.WriteUInt32LittleEndian(xz.AsSpan(at), Crc32.HashToUInt32(xz.AsSpan(from, length)));
    }

    // Of "hello" and of nothing, as xz 5.4 writes them, and of both with four bytes of padding between them.
    public static IEnumerable<byte[]> Seeds()
    {
        byte[] hello = Convert.FromHexString("fd377a585a000004e6d6b4460200210116000000742fe5a301000468656c6c6f00000000b137b9dbe5da1e9b00011d05b82d80af1fb6f37d010000000004595a");
        byte[] empty = Convert.FromHexString("fd377a585a000004e6d6b446000000001cdf44211fb6f37d010000000004595a");
        yield return [0x80, .. hello];
        yield return [1, .. hello];
        yield return [0x83, .. empty];
        yield return [3, .. hello, 0, 0, 0, 0, .. empty];
    }
}
