using System.Buffers.Binary;
using System.IO.Hashing;
using SharpCompress.Compressors.Xz;
using Crc32 = System.IO.Hashing.Crc32;

namespace LazyMount.Compression;

/// <summary>
/// xz streams one after another with padding between them (The .xz File Format, version 1.2.1). Anything else after the last
/// is an error, as it is to <c>xz -d</c>. SharpCompress decodes the blocks and verifies their checks; the framing round them is
/// read here, because a block that wants gigabytes of dictionary must be refused before it is given them.
/// </summary>
internal sealed class XzDecoder(PushedStream input) : IPullDecoder
{
    /// <summary>The most that a block may want; <c>xz -9</c> makes 64 MiB.</summary>
    private const uint MaxDictionary = 128 << 20;

    private const int StreamHeaderLength = 12;
    private const int FooterLength = 12;
    private const ulong Lzma2 = 0x21;

    // The sizes of the blocks that were seen, which those in the index must be: hashed, since they can be many.
    private readonly XxHash3 _blocks = new();
    private ulong _blockCount;
    private bool _anyStream;
    private bool _inStream;
    private byte _flags;
    private XZBlock? _block;
    private long _blockStart;
    private ulong _blockLength;

    private static ReadOnlySpan<byte> Magic => [0xFD, (byte)'7', (byte)'z', (byte)'X', (byte)'Z', 0];

    private static ReadOnlySpan<byte> FooterMagic => "YZ"u8;

    public static bool HasMagic(ReadOnlySpan<byte> head) => head.StartsWith(Magic);

    public int Read(byte[] buffer)
    {
        while (true)
        {
            if (_block is not null)
            {
                int read = _block.Read(buffer, 0, buffer.Length);
                _blockLength += (uint)read;
                if (read < buffer.Length)
                    EndBlock();
                if (read > 0)
                    return read;
            }
            else if (_inStream)
            {
                byte[] size = input.Peek(1);
                if (size is [0])
                    ReadIndexAndFooter();
                else
                    BeginBlock();
            }
            else if (!TryBeginStream())
            {
                return 0;
            }
        }
    }

    public void Dispose() => _block?.Dispose();

    private bool TryBeginStream()
    {
        if (_anyStream)
        {
            byte[] word;
            while ((word = input.Peek(4)) is [0, 0, 0, 0])
                input.ReadExactly(word);
            if (word.Length == 0)
                return false;
        }
        byte[] header = Take(StreamHeaderLength);
        if (!HasMagic(header))
            throw new InvalidDataException("neither another stream nor padding comes after the last stream");
        CheckCrc(header.AsSpan(Magic.Length), "a stream's header");
        if (header[6] != 0 || header[7] > 15)
            throw new InvalidDataException("a stream has unknown flags");
        _flags = header[7];
        if (CheckLength < 0)
            throw new NotSupportedException($"its xz stream has checks of the unknown type {_flags}");
        (_anyStream, _inStream) = (true, true);
        _blocks.Reset();
        _blockCount = 0;
        return true;
    }

    private int CheckLength => _flags switch { 0 => 0, 1 => 4, 4 => 8, 10 => 32, _ => -1 };

    private void BeginBlock()
    {
        byte[] size = input.Peek(1);
        byte[] header = input.Peek(size.Length == 0 ? 1 : (size[0] + 1) * 4);
        if (size.Length == 0 || header.Length != (size[0] + 1) * 4)
            throw new InvalidDataException("a block's header is cut off");
        CheckCrc(header, "a block's header");
        CheckFilters(header.AsSpan(1, header.Length - 5));
        _blockStart = input.Position;
        _blockLength = 0;
        _block = new XZBlock(input, (CheckType)_flags, CheckLength);
    }

    private static void CheckFilters(ReadOnlySpan<byte> header)
    {
        byte flags = header[0];
        header = header[1..];
        for (int sizes = (flags >> 6 & 1) + (flags >> 7); sizes > 0; sizes--)
            Number(ref header);
        for (int filters = (flags & 3) + 1; filters > 0; filters--)
        {
            ulong id = Number(ref header);
            ulong length = Number(ref header);
            if (length > (ulong)header.Length)
                throw new InvalidDataException("a block's header is malformed");
            if (id != Lzma2)
                throw new NotSupportedException($"its xz stream has a filter (0x{id:x}) besides LZMA2; compress it again without that filter");
            if (length != 1 || header[0] > 40)
                throw new InvalidDataException("a block's header is malformed");
            ulong dictionary = header[0] == 40 ? uint.MaxValue : (2ul | (header[0] & 1u)) << (header[0] / 2 + 11);
            if (dictionary > MaxDictionary)
                throw new NotSupportedException($"its xz stream needs a dictionary of {dictionary} bytes, more than the maximum of {MaxDictionary}; compress it again with a smaller one");
            header = header[(int)length..];
        }
    }

    private void EndBlock()
    {
        // What SharpCompress has passed: header, data, padding and check. The index has it without the padding.
        ulong padded = (ulong)(input.Position - _blockStart);
        Note(_blocks, padded, _blockLength);
        _blockCount++;
        _block!.Dispose();
        _block = null;
    }

    private void ReadIndexAndFooter()
    {
        var crc = new Crc32();
        long start = input.Position;
        byte TakeByte()
        {
            byte value = Take(1)[0];
            crc.Append([value]);
            return value;
        }
        ulong TakeNumber()
        {
            ulong value = 0;
            for (int shift = 0; shift < 63; shift += 7)
            {
                byte b = TakeByte();
                value |= (ulong)(b & 0x7F) << shift;
                if (b < 0x80)
                    return value;
            }
            throw new InvalidDataException("the index is malformed");
        }

        TakeByte();
        var records = new XxHash3();
        ulong count = TakeNumber();
        for (ulong i = 0; i < count && count == _blockCount; i++)
        {
            ulong unpadded = TakeNumber();
            Note(records, unpadded + 3 & ~3ul, TakeNumber());
        }
        if (count != _blockCount || records.GetCurrentHashAsUInt64() != _blocks.GetCurrentHashAsUInt64())
            throw new InvalidDataException("the index does not agree with the blocks");
        while ((input.Position - start) % 4 != 0)
        {
            if (TakeByte() != 0)
                throw new InvalidDataException("the index is malformed");
        }
        if (BinaryPrimitives.ReadUInt32LittleEndian(Take(4)) != crc.GetCurrentHashAsUInt32())
            throw new InvalidDataException("the checksum of the index does not match");
        long length = input.Position - start;

        byte[] footer = Take(FooterLength);
        if (BinaryPrimitives.ReadUInt32LittleEndian(footer) != Crc32.HashToUInt32(footer.AsSpan(4, 6))
            || !footer.AsSpan(10).SequenceEqual(FooterMagic) || footer[8] != 0 || footer[9] != _flags
            || (BinaryPrimitives.ReadUInt32LittleEndian(footer.AsSpan(4)) + 1L) * 4 != length)
        {
            throw new InvalidDataException("a stream's footer is malformed");
        }
        _inStream = false;
    }

    private static void Note(XxHash3 hash, ulong padded, ulong uncompressed)
    {
        Span<byte> sizes = stackalloc byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(sizes, padded);
        BinaryPrimitives.WriteUInt64LittleEndian(sizes[8..], uncompressed);
        hash.Append(sizes);
    }

    private static ulong Number(ref ReadOnlySpan<byte> bytes)
    {
        ulong value = 0;
        for (int i = 0; i < Math.Min(9, bytes.Length); i++)
        {
            value |= (ulong)(bytes[i] & 0x7F) << (7 * i);
            if (bytes[i] < 0x80)
            {
                bytes = bytes[(i + 1)..];
                return value;
            }
        }
        throw new InvalidDataException("a block's header is malformed");
    }

    private static void CheckCrc(ReadOnlySpan<byte> bytes, string of)
    {
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes[^4..]) != Crc32.HashToUInt32(bytes[..^4]))
            throw new InvalidDataException($"the checksum of {of} does not match");
    }

    private byte[] Take(int count)
    {
        var bytes = new byte[count];
        if (input.Read(bytes) != count)
            throw new InvalidDataException("it is cut off");
        return bytes;
    }
}
