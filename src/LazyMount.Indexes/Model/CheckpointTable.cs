using LazyMount.Compression;

namespace LazyMount.Indexes.Model;

/// <summary>
/// A layer's checkpoints with their windows kept compressed. Span i reaches from checkpoint i to the next, the last to
/// the end of the stream.
/// </summary>
public sealed class CheckpointTable
{
    /// <summary>The most that a window can hold: DEFLATE's reach.</summary>
    internal const int MaxWindow = 32 << 10;

    /// <summary>
    /// The longest span that is read at random, in bytes of the blob and of what they decode to: a span is fetched and decoded
    /// whole. Our spans have 2 MiB and those of other tools 4 MiB, but a file of zeros is one chunk to zstd:chunked, of whatever size.
    /// </summary>
    internal const int LongestSpan = 64 << 20;

    private readonly long[] _uncompressedOffsets; // Count + 1
    private readonly long[] _compressedOffsets;   // Count + 1
    private readonly byte[] _bits;                // bit 7: at a member's start
    private readonly int[] _windowLengths;        // 0: no window
    private readonly int[] _packedEnds;           // where each compressed window ends in _packed
    private readonly byte[] _packed;

    /// <summary>
    /// Takes ownership of the arrays. Throws <see cref="InvalidDataException"/> when they do not describe a table:
    /// offsets ascend from 0, everything lies within bounds, and no span is longer than <see cref="int.MaxValue"/>.
    /// </summary>
    internal CheckpointTable(long[] uncompressedOffsets, long[] compressedOffsets, byte[] bits, int[] windowLengths, int[] packedEnds, byte[] packed)
    {
        int count = bits.Length;
        bool valid = count > 0 && uncompressedOffsets.Length == count + 1 && compressedOffsets.Length == count + 1
            && windowLengths.Length == count && packedEnds.Length == count
            && uncompressedOffsets[0] == 0 && compressedOffsets[0] == 0 && packedEnds[^1] == packed.Length;
        for (int i = 0; i < count && valid; i++)
        {
            // Spans may be empty: the trailer of a member can be all that is left.
            long length = uncompressedOffsets[i + 1] - uncompressedOffsets[i];
            long compressedLength = compressedOffsets[i + 1] - compressedOffsets[i];
            int packedStart = i == 0 ? 0 : packedEnds[i - 1];
            valid = length is >= 0 and < int.MaxValue && compressedLength is >= 0 and < int.MaxValue
                && (bits[i] & 0x78) == 0
                && windowLengths[i] is >= 0 and <= MaxWindow
                && packedEnds[i] >= packedStart
                && windowLengths[i] == 0 == (packedEnds[i] == packedStart)
                && (bits[i] < 0x80 || (bits[i] == 0x80 && windowLengths[i] == 0));
        }
        if (!valid)
        {
            throw new InvalidDataException("the table of checkpoints is not consistent");
        }
        _uncompressedOffsets = uncompressedOffsets;
        _compressedOffsets = compressedOffsets;
        _bits = bits;
        _windowLengths = windowLengths;
        _packedEnds = packedEnds;
        _packed = packed;
    }

    /// <summary>Number of checkpoints, and of spans.</summary>
    public int Count => _bits.Length;

    /// <summary>The checkpoint, its window decompressed.</summary>
    public Checkpoint this[int span] => new(
        _compressedOffsets[span], Bit(span), _uncompressedOffsets[span], AtMemberStart(span), UnpackWindow(span));

    /// <summary>Where span <paramref name="span"/> begins in the tar; for <see cref="Count"/>, where the tar ends.</summary>
    public long UncompressedOffset(int span) => _uncompressedOffsets[span];

    /// <summary>The byte of the blob that holds the first bit of a span; for <see cref="Count"/>, the blob's size.</summary>
    public long CompressedOffset(int span) => _compressedOffsets[span];

    /// <summary>The span that holds a byte of the tar: binary search.</summary>
    public int Find(long uncompressedOffset)
    {
        if ((ulong)uncompressedOffset >= (ulong)_uncompressedOffsets[^1])
        {
            throw new ArgumentOutOfRangeException(nameof(uncompressedOffset), uncompressedOffset, "not a byte of the tar");
        }
        // The last checkpoint at or before the byte: empty spans share their offset with the one that is meant.
        int low = 0, high = Count - 1;
        while (low < high)
        {
            int middle = (int)(((uint)low + (uint)high + 1) / 2);
            if (_uncompressedOffsets[middle] <= uncompressedOffset)
            {
                low = middle;
            }
            else
            {
                high = middle - 1;
            }
        }
        return low;
    }

    internal int Length(int span) => (int)(_uncompressedOffsets[span + 1] - _uncompressedOffsets[span]);

    /// <summary>One past the last byte of the blob that the span needs: a next span may begin within a byte.</summary>
    internal long CompressedEnd(int span) => _compressedOffsets[span + 1] + (span + 1 < Count && Bit(span + 1) != 0 ? 1 : 0);

    internal byte Bit(int span) => (byte)(_bits[span] & 7);

    internal bool AtMemberStart(int span) => (_bits[span] & 0x80) != 0;

    internal int WindowLength(int span) => _windowLengths[span];

    internal ReadOnlySpan<byte> PackedWindow(int span)
    {
        int start = span == 0 ? 0 : _packedEnds[span - 1];
        return _packed.AsSpan(start, _packedEnds[span] - start);
    }

    internal ReadOnlySpan<byte> PackedWindows => _packed;

    private ReadOnlyMemory<byte> UnpackWindow(int span)
    {
        if (_windowLengths[span] == 0)
        {
            return default;
        }
        var window = new byte[_windowLengths[span]];
        using var decompressor = new ZstdSharp.Decompressor();
        try
        {
            if (decompressor.Unwrap(PackedWindow(span), window) == window.Length)
            {
                return window;
            }
        }
        catch (ZstdSharp.ZstdException)
        {
        }
        throw new InvalidDataException($"the window of checkpoint {span} is damaged");
    }
}
