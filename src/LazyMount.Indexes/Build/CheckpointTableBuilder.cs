using LazyMount.Compression;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;

namespace LazyMount.Indexes.Build;

/// <summary>Collects checkpoints in order and packs their windows as they come.</summary>
internal sealed class CheckpointTableBuilder : IDisposable
{
    /// <summary>
    /// Of 203 sparse windows of a 266 MB layer (5.2 MB) zstd 3 makes 373 kB at 130 us each; brotli 5 makes 337 kB at ten
    /// times the cost, zstd 19 340 kB at two hundred times. Either way it is 0.14 % of the blob.
    /// </summary>
    private const int CompressionLevel = 3;

    /// <summary>
    /// A span is decoded whole into memory. Encoders end a block after some hundred KiB, so this is met in made-up
    /// streams only; up to here it is served, slowly but rightly.
    /// </summary>
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
        _uncompressedOffsets.Add(checkpoint.UncompressedOffset);
        _compressedOffsets.Add(checkpoint.CompressedOffset);
        _bits.Add((byte)(checkpoint.Bit | (checkpoint.AtMemberStart ? 0x80 : 0)));
        _windowLengths.Add(checkpoint.Window.Length);
        if (!checkpoint.Window.IsEmpty)
        {
            int length = _compressor.Wrap(checkpoint.Window.Span, _scratch);
            _packed.Append(_scratch.AsSpan(0, length));
        }
        _packedEnds.Add(_packed.Length);
    }

    /// <summary>Uncompressed bytes of the longest span.</summary>
    /// <param name="uncompressedSize">Where the last one ends.</param>
    public long LongestSpan(long uncompressedSize)
    {
        long longest = 0;
        for (int i = 0; i < _uncompressedOffsets.Count; i++)
        {
            long end = i + 1 < _uncompressedOffsets.Count ? _uncompressedOffsets[i + 1] : uncompressedSize;
            longest = Math.Max(longest, end - _uncompressedOffsets[i]);
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
