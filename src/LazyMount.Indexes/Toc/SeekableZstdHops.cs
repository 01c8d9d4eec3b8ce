using System.Buffers.Binary;
using LazyMount.Compression;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;

namespace LazyMount.Indexes.Toc;

/// <summary>
/// Of a layer in the zstd seekable format (zstd contrib/seekable_format, zstd_seekable_compression_format.md): many frames, and
/// at the end, in a skippable frame, a table of their sizes.
/// </summary>
internal sealed class SeekableZstdHops : TarHops
{
    /// <summary>What stands at the end: the number of frames, a descriptor, a magic number.</summary>
    public const int FooterSize = 9;

    private const uint SkippableMagic = 0x184D2A5E, Magic = 0x8F92EAB1;
    private const int FrameHeader = 8;

    private readonly long[] _compressedOffsets, _uncompressedOffsets; // of the frames, and where the last one ends

    private SeekableZstdHops(BlobRanges ranges, IndexBudget budget, long[] compressedOffsets, long[] uncompressedOffsets)
        : base(ranges, budget)
        => (_compressedOffsets, _uncompressedOffsets) = (compressedOffsets, uncompressedOffsets);

    protected override long Size => _uncompressedOffsets[^1];

    protected override CompressionFormat Format => CompressionFormat.Zstd;

    /// <summary>Reads the table whose footer ends <paramref name="tail"/>; null when there is none, or one that nobody gains by.</summary>
    /// <exception cref="InvalidDataException">The table is not sound.</exception>
    public static async Task<SeekableZstdHops?> TryOpenAsync(BlobRanges ranges, ReadOnlyMemory<byte> tail, IndexBudget budget, CancellationToken cancellationToken)
    {
        if (tail.Length < FooterSize || BinaryPrimitives.ReadUInt32LittleEndian(tail.Span[^4..]) != Magic)
        {
            return null;
        }
        ReadOnlyMemory<byte> footer = tail[^FooterSize..];
        uint count = BinaryPrimitives.ReadUInt32LittleEndian(footer.Span);
        byte descriptor = footer.Span[4];
        int entrySize = (descriptor & 0x80) != 0 ? 12 : 8; // with a checksum
        long tableSize = FrameHeader + (long)count * entrySize + FooterSize;
        if (count > MaxSpans || (descriptor & 0x7C) != 0 || tableSize > ranges.Blob.Size)
        {
            throw new InvalidDataException($"it claims to have {count} frames, in the form {descriptor}");
        }
        budget.Take(tableSize + count * (2L * sizeof(long)));
        byte[] table = await ranges.ReadAsync(ranges.Blob.Size - tableSize, (int)tableSize, cancellationToken).ConfigureAwait(false);
        if (BinaryPrimitives.ReadUInt32LittleEndian(table) != SkippableMagic || BinaryPrimitives.ReadUInt32LittleEndian(table.AsSpan(4)) != tableSize - FrameHeader)
        {
            throw new InvalidDataException("its seek table begins at a wrong offset");
        }
        var compressedOffsets = new List<long> { 0 };
        var uncompressedOffsets = new List<long> { 0 };
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> entry = table.AsSpan(FrameHeader + i * entrySize);
            uint uncompressed = BinaryPrimitives.ReadUInt32LittleEndian(entry[4..]);
            if (uncompressed > LayerIndexer.LongestSpan)
            {
                return null;
            }
            compressedOffsets.Add(compressedOffsets[^1] + BinaryPrimitives.ReadUInt32LittleEndian(entry));
            if (uncompressed == 0)
            {
                compressedOffsets.RemoveAt(compressedOffsets.Count - 2); // belongs to the one before
            }
            else
            {
                uncompressedOffsets.Add(uncompressedOffsets[^1] + uncompressed);
            }
        }
        // Nor is a frame much larger than what it decodes to, so nobody has to fetch or hold more than that.
        for (int i = 1; i < Math.Min(compressedOffsets.Count, uncompressedOffsets.Count); i++)
        {
            if (compressedOffsets[i] - compressedOffsets[i - 1] > TocIndexBuilder.LongestCompressed(uncompressedOffsets[i] - uncompressedOffsets[i - 1]))
            {
                throw new InvalidDataException("its seek table has a frame that is larger than its decoded bytes");
            }
        }
        return compressedOffsets[^1] == ranges.Blob.Size - tableSize && compressedOffsets.Count == uncompressedOffsets.Count && compressedOffsets[0] == 0
            ? new SeekableZstdHops(ranges, budget, [.. compressedOffsets], [.. uncompressedOffsets])
            : throw new InvalidDataException("the frames of its seek table do not add up to the blob");
    }

    protected override async ValueTask<ReadOnlyMemory<byte>> ReadAsync(long position, int wanted, CancellationToken cancellationToken)
    {
        int first = Array.BinarySearch(_uncompressedOffsets, position);
        first = first < 0 ? ~first - 1 : first;
        int last = first + 1;
        while (last < _uncompressedOffsets.Length - 1 && _uncompressedOffsets[last] < position + wanted)
        {
            last++;
        }
        int length = (int)(_uncompressedOffsets[last] - _uncompressedOffsets[first]);
        byte[] compressed = await Ranges.ReadAsync(_compressedOffsets[first], (int)(_compressedOffsets[last] - _compressedOffsets[first]), cancellationToken).ConfigureAwait(false);
        return Decode(compressed, length).AsMemory((int)(position - _uncompressedOffsets[first]));
    }

    private static byte[] Decode(byte[] compressed, int length)
    {
        using Decompressor zstd = Decompressor.Start(CompressionFormat.Zstd);
        var bytes = new byte[length];
        int filled = 0;
        zstd.Push(compressed);
        while (zstd.TryRead(out ReadOnlySpan<byte> run) && run.Length <= bytes.Length - filled)
        {
            run.CopyTo(bytes.AsSpan(filled));
            filled += run.Length;
        }
        return filled == length ? bytes : throw new InvalidDataException("a frame does not have the size in the seek table");
    }

    protected override CheckpointTable BuildCheckpoints()
    {
        using var checkpoints = new CheckpointTableBuilder(Budget);
        for (int i = 0; i < _uncompressedOffsets.Length; i++) // the last one: an empty span of the table itself
        {
            checkpoints.Add(new Checkpoint(_compressedOffsets[i], 0, _uncompressedOffsets[i], AtMemberStart: true, default));
        }
        return checkpoints.Build(Size, Ranges.Blob.Size);
    }
}
