using System.IO.Compression;
using LazyMount.Compression;
using LazyMount.Layers.Tar;

namespace LazyMount.Layers;

/// <summary>Collects checkpoints in order and packs their windows as they come.</summary>
internal sealed class CheckpointTableBuilder
{
    private const int WindowBits = 16; // brotli's smallest that reaches over 32 KiB
    private const int Quality = 5;

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
    private readonly byte[] _scratch = new byte[BrotliEncoder.GetMaxCompressedLength(CheckpointTable.MaxWindow)];

    public void Add(in Checkpoint checkpoint)
    {
        _uncompressedOffsets.Add(checkpoint.UncompressedOffset);
        _compressedOffsets.Add(checkpoint.CompressedOffset);
        _bits.Add((byte)(checkpoint.Bit | (checkpoint.AtMemberStart ? 0x80 : 0)));
        _windowLengths.Add(checkpoint.Window.Length);
        if (!checkpoint.Window.IsEmpty)
        {
            if (!BrotliEncoder.TryCompress(checkpoint.Window.Span, _scratch, out int length, Quality, WindowBits))
            {
                throw new InvalidOperationException("a window did not fit its buffer");
            }
            _packed.Append(_scratch.AsSpan(0, length));
        }
        _packedEnds.Add(_packed.Length);
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
}
