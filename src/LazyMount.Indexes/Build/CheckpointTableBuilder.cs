using LazyMount.Compression;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;

namespace LazyMount.Indexes.Build;

/// <summary>Collects checkpoints in order and packs their windows as they come.</summary>
/// <param name="budget">Counts what the checkpoints take.</param>
internal sealed class CheckpointTableBuilder(IndexBudget budget) : IDisposable
{
    /// <summary>
    /// Of 203 sparse windows of a 266 MB layer (5.2 MB) zstd 3 makes 373 kB at 130 us each; brotli 5 makes 337 kB at ten
    /// times the cost, zstd 19 340 kB at two hundred times. Either way it is 0.14 % of the blob.
    /// </summary>
    private const int CompressionLevel = 3;

    /// <summary>Bounds what a table of contents may leave out between two spans. What is read is bounded by <see cref="CheckpointTable.LongestSpan"/>.</summary>
    private const long MaxSpan = 1L << 30;

    private readonly List<long> _uncompressedOffsets = [];
    private readonly List<long> _compressedOffsets = [];
    private readonly List<byte> _bits = [];
    private readonly List<int> _windowLengths = [];
    private readonly List<int> _packedEnds = [];
    private readonly ByteBuffer _packed = new();
    private readonly byte[] _scratch = new byte[ZstdSharp.Compressor.GetCompressBound(CheckpointTable.MaxWindow)];
    private readonly ZstdSharp.Compressor _compressor = new(CompressionLevel);

    public void Add(in Checkpoint checkpoint)
    {
        budget.Take(IndexBudget.Checkpoint);
        _uncompressedOffsets.Add(checkpoint.UncompressedOffset);
        _compressedOffsets.Add(checkpoint.CompressedOffset);
        _bits.Add((byte)(checkpoint.Bit | (checkpoint.AtMemberStart ? 0x80 : 0)));
        _windowLengths.Add(checkpoint.Window.Length);
        if (!checkpoint.Window.IsEmpty)
        {
            int length = _compressor.Wrap(checkpoint.Window.Span, _scratch);
            budget.Take(length);
            _packed.Append(_scratch.AsSpan(0, length));
        }
        _packedEnds.Add(_packed.Length);
    }

    /// <summary>Bytes of the longest span: the most uncompressed ones of any, and the most of the blob.</summary>
    /// <param name="uncompressedSize">Where the last span ends.</param>
    /// <param name="compressedSize">Where the last span ends in the blob.</param>
    public (long Uncompressed, long Compressed) LongestSpan(long uncompressedSize, long compressedSize)
        => (Longest(_uncompressedOffsets, uncompressedSize), Longest(_compressedOffsets, compressedSize));

    private static long Longest(List<long> offsets, long size)
    {
        long longest = 0;
        for (int i = 0; i < offsets.Count; i++)
        {
            longest = Math.Max(longest, (i + 1 < offsets.Count ? offsets[i + 1] : size) - offsets[i]);
        }
        return longest;
    }

    public CheckpointTable Build(long uncompressedSize, long compressedSize)
    {
        _uncompressedOffsets.Add(uncompressedSize);
        _compressedOffsets.Add(compressedSize);
        for (int i = 0; i < _bits.Count; i++)
        {
            if (_uncompressedOffsets[i + 1] - _uncompressedOffsets[i] > MaxSpan || _compressedOffsets[i + 1] - _compressedOffsets[i] > MaxSpan)
            {
                throw new NotSupportedException($"between offsets {_uncompressedOffsets[i]} and {_uncompressedOffsets[i + 1]} there is no place to start decoding (a single huge block), and more than {MaxSpan} bytes without one are not supported");
            }
        }
        return new CheckpointTable(
            [.. _uncompressedOffsets], [.. _compressedOffsets], [.. _bits], [.. _windowLengths], [.. _packedEnds], _packed.ToArray());
    }

    public void Dispose() => _compressor.Dispose();
}
