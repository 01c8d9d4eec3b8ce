using System.Buffers.Binary;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Compression;

namespace LazyMount.Indexes.Model;

/// <summary>
/// A layer's checkpoints with their windows kept compressed. Stretch i reaches from checkpoint i to the next, the last to
/// the end of the stream. Where checkpoints are close, as with tables of contents that have one for every small file, neighbours
/// are one span: what is fetched, decoded and kept as one. Thread-safe.
/// <para>The table is read where it stands: in a file of the cache, or in memory. What is inconsistent in a file throws
/// <see cref="ImageException"/> when it is used; nothing is read out of bounds, and no length is negative or longer than
/// <see cref="LongestSpan"/>. It has:</para>
/// <code>
/// 16  of each checkpoint: uncompressed offset (8), offset in the blob (7), bit, and 0x80 at a member's start (1)
/// 8   of each block of the file in which a checkpoint begins, but the first: the uncompressed offset of the first that does
/// 4   of each checkpoint: its span. This and the next only where a span has several checkpoints
/// 4   of each span: its first checkpoint
/// 8   of each checkpoint: where its packed window ends among all (4), bytes of the window (4). Only where there are windows
/// …   the windows, each packed alone
/// </code>
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

    /// <summary>
    /// Most bytes of a span that is made of several stretches, uncompressed and in the blob. A span costs half a KiB besides its bytes and a
    /// task, so a file in chunks of one byte would cost a thousand times its size.
    /// </summary>
    private const int MergedSize = 64 << 10;

    private const int RecordSize = 16, RecordsOfBlock = CheckedFile.BlockSize / RecordSize;
    private const long LargestBlob = (1L << 56) - 1;

    private static readonly int s_largestPackedWindow = ZstdSharp.Compressor.GetCompressBound(MaxWindow);

    private readonly CheckedFile _file;
    private readonly Layout _at;
    private readonly long _size, _blobSize;
    private readonly long[] _fences; // as in the file, so that a search reads one block
    private int _lastFound; // who reads small files in their order mostly finds the same one: export of 1,000,000 took 1.46 s, 1.65 s without

    /// <summary>Where things stand in the file.</summary>
    /// <param name="Start">The first record: a multiple of <see cref="Alignment"/>.</param>
    /// <param name="Count">Checkpoints.</param>
    /// <param name="Spans">Spans.</param>
    /// <param name="WindowBytes">Bytes of all packed windows.</param>
    internal readonly record struct Layout(long Start, int Count, int Spans, int WindowBytes)
    {
        public const int Alignment = RecordSize;

        public long Fences => Start + (long)Count * RecordSize;

        public int FenceCount => (int)((Fences - 1) / CheckedFile.BlockSize - Start / CheckedFile.BlockSize);

        public long SpanNumbers => Fences + FenceCount * 8L;

        public long Firsts => SpanNumbers + (Spans < Count ? Count * 4L : 0);

        public long WindowRecords => (Firsts + (Spans < Count ? Spans * 4L : 0) + 7) & -8;

        public long Windows => WindowRecords + (WindowBytes > 0 ? Count * 8L : 0);

        public long End => Windows + WindowBytes;

        /// <summary>The checkpoint whose record is the first of block <paramref name="block"/>, counted from the one with the first record.</summary>
        public int FirstOf(int block) => block == 0 ? 0 : block * RecordsOfBlock - (int)(Start / RecordSize % RecordsOfBlock);
    }

    /// <summary>
    /// A table in memory. Throws <see cref="InvalidDataException"/> when the arrays do not describe one:
    /// offsets ascend from 0, everything lies within bounds, and no span is longer than <see cref="int.MaxValue"/>.
    /// </summary>
    /// <param name="uncompressedOffsets">Of each checkpoint, and of the end.</param>
    /// <param name="compressedOffsets">Of each checkpoint, and of the end.</param>
    /// <param name="bits">The bit in which it begins; and 0x80 at a member's start.</param>
    /// <param name="windowLengths">Bytes of its window; 0: none.</param>
    /// <param name="packedEnds">Where its compressed window ends.</param>
    /// <param name="packed">All compressed windows.</param>
    internal CheckpointTable(long[] uncompressedOffsets, long[] compressedOffsets, byte[] bits, int[] windowLengths, int[] packedEnds, ReadOnlySpan<byte> packed)
    {
        int count = bits.Length;
        bool valid = count > 0 && uncompressedOffsets.Length == count + 1 && compressedOffsets.Length == count + 1
            && windowLengths.Length == count && packedEnds.Length == count
            && uncompressedOffsets[0] == 0 && compressedOffsets[0] == 0 && packedEnds[^1] == packed.Length && compressedOffsets[count] <= LargestBlob;
        for (int i = 0; i < count && valid; i++)
        {
            // Spans may be empty: the trailer of a member can be all that is left.
            long length = uncompressedOffsets[i + 1] - uncompressedOffsets[i];
            long compressedLength = compressedOffsets[i + 1] - compressedOffsets[i];
            int packedStart = i == 0 ? 0 : packedEnds[i - 1];
            valid = length is >= 0 and < int.MaxValue && compressedLength is >= 0 and < int.MaxValue
                && windowLengths[i] is >= 0 and <= MaxWindow
                && packedEnds[i] >= packedStart
                && windowLengths[i] == 0 == (packedEnds[i] == packedStart)
                && IsSound(bits[i], windowLengths[i]);
        }
        if (!valid)
        {
            throw new InvalidDataException("the table of checkpoints is not consistent");
        }

        var firsts = new List<int>();
        for (int i = 0; i < count; i = EndOfSpan(i, uncompressedOffsets, compressedOffsets))
        {
            firsts.Add(i);
        }
        (_size, _blobSize, _at) = (uncompressedOffsets[count], compressedOffsets[count], new Layout(0, count, firsts.Count, packed.Length));
        var table = new byte[_at.End];
        for (int i = 0, span = 0; i < count; i++)
        {
            span += span + 1 < firsts.Count && firsts[span + 1] == i ? 1 : 0;
            Span<byte> record = table.AsSpan(i * RecordSize);
            BinaryPrimitives.WriteInt64LittleEndian(record, uncompressedOffsets[i]);
            BinaryPrimitives.WriteInt64LittleEndian(record[8..], compressedOffsets[i] | (long)bits[i] << 56);
            if (_at.Spans < count)
            {
                BinaryPrimitives.WriteInt32LittleEndian(table.AsSpan((int)_at.SpanNumbers + i * 4), span);
            }
            if (!packed.IsEmpty)
            {
                Span<byte> window = table.AsSpan((int)_at.WindowRecords + i * 8);
                BinaryPrimitives.WriteInt32LittleEndian(window, packedEnds[i]);
                BinaryPrimitives.WriteInt32LittleEndian(window[4..], windowLengths[i]);
            }
        }
        for (int span = 0; _at.Spans < count && span < firsts.Count; span++)
        {
            BinaryPrimitives.WriteInt32LittleEndian(table.AsSpan((int)_at.Firsts + span * 4), firsts[span]);
        }
        packed.CopyTo(table.AsSpan((int)_at.Windows));
        PutFences(table, _at);
        var memory = new CheckedFile(table);
        (_file, _fences) = (memory, ReadFences(memory, _at));
    }

    /// <summary>A table in a file, which is not owned. The caller has made sure that it lies within the file.</summary>
    /// <param name="file">The file.</param>
    /// <param name="at">Where it stands there.</param>
    /// <param name="uncompressedSize">Where the last stretch ends.</param>
    /// <param name="compressedSize">Where the last stretch ends in the blob.</param>
    internal CheckpointTable(CheckedFile file, Layout at, long uncompressedSize, long compressedSize)
        => (_file, _at, _size, _blobSize, _fences) = (file, at, uncompressedSize, compressedSize, ReadFences(file, at));

    /// <summary>Number of checkpoints, and of stretches.</summary>
    public int Count => _at.Count;

    /// <summary>Number of spans.</summary>
    internal int SpanCount => _at.Spans;

    /// <summary>Bytes of all packed windows.</summary>
    internal int WindowBytes => _at.WindowBytes;

    /// <summary>The checkpoint, its window decompressed.</summary>
    public Checkpoint this[int number]
    {
        get
        {
            (long compressed, int bits) = Place(number);
            ReadOnlyMemory<byte> window = UnpackWindow(number);
            return IsSound(bits, window.Length)
                ? new Checkpoint(compressed, (byte)(bits & 7), UncompressedOffset(number), bits >= 0x80, window)
                : throw Damaged(number);
        }
    }

    /// <summary>Where stretch <paramref name="number"/> begins in the tar; for <see cref="Count"/>, where the tar ends.</summary>
    public long UncompressedOffset(int number)
    {
        if (number == Count)
        {
            return _size;
        }
        long offset = ReadInt64(RecordAt(number));
        return (ulong)offset <= (ulong)_size ? offset : throw Damaged(number);
    }

    /// <summary>The byte of the blob that holds the first bit of a stretch; for <see cref="Count"/>, the blob's size.</summary>
    public long CompressedOffset(int number) => number == Count ? _blobSize : Place(number).Compressed;

    /// <summary>The stretch that holds a byte of the tar: binary search. Does not allocate, if the block of the file is in memory.</summary>
    public int Find(long uncompressedOffset)
    {
        if ((ulong)uncompressedOffset >= (ulong)_size)
        {
            throw new ArgumentOutOfRangeException(nameof(uncompressedOffset), uncompressedOffset, "not a byte of the tar");
        }
        int last = _lastFound;
        try
        {
            if (UncompressedOffset(last) <= uncompressedOffset && uncompressedOffset < UncompressedOffset(last + 1))
            {
                return last;
            }
        }
        catch (ImageException)
        {
            // Its block was damaged after it was found. The one that is wanted may be in another.
        }
        return _lastFound = Search(uncompressedOffset);
    }

    private int Search(long uncompressedOffset)
    {
        // The last checkpoint at or before the byte: empty stretches share their offset with the one that is meant.
        int block = 0, end = _fences.Length;
        while (block < end)
        {
            int middle = (block + end) >>> 1;
            (block, end) = _fences[middle] <= uncompressedOffset ? (middle + 1, end) : (block, middle);
        }
        int first = _at.FirstOf(block), low = first, high = Math.Min(Count, _at.FirstOf(block + 1)) - 1;
        long at = _at.Start + (long)first * RecordSize;
        Span<byte> records = stackalloc byte[CheckedFile.BlockSize];
        records = records[..((high + 1 - first) * RecordSize)];
        _file.Read(at, records);
        while (low < high)
        {
            int middle = (low + high + 1) >>> 1;
            (low, high) = OffsetOf(records, middle - first) <= uncompressedOffset ? (middle, high) : (low, middle - 1);
        }
        long next = low + 1 < _at.FirstOf(block + 1) && low + 1 < Count ? OffsetOf(records, low + 1 - first) : UncompressedOffset(low + 1);
        return OffsetOf(records, low - first) <= uncompressedOffset && uncompressedOffset < next ? low : throw Damaged(low);

        static long OffsetOf(ReadOnlySpan<byte> records, int index) => BinaryPrimitives.ReadInt64LittleEndian(records[(index * RecordSize)..]);
    }

    /// <summary>Uncompressed bytes from one checkpoint to a later one.</summary>
    internal int Length(int from, int to)
    {
        long length = UncompressedOffset(to) - UncompressedOffset(from);
        return length is >= 0 and <= LongestSpan ? (int)length : throw Damaged(from);
    }

    internal int Length(int number) => Length(number, number + 1);

    /// <summary>One past the last byte of the blob that the stretch needs: the next may begin within a byte.</summary>
    internal long CompressedEnd(int number)
    {
        if (number + 1 == Count)
        {
            return _blobSize;
        }
        (long next, int bits) = Place(number + 1);
        return Math.Min(_blobSize, next + ((bits & 7) != 0 ? 1 : 0));
    }

    internal byte Bit(int number) => (byte)(Place(number).Bits & 7);

    internal bool AtMemberStart(int number) => Place(number).Bits >= 0x80;

    /// <summary>The span that a checkpoint belongs to.</summary>
    internal int SpanOf(int number)
    {
        if (_at.Spans == Count)
        {
            return number;
        }
        int span = ReadInt32(_at.SpanNumbers + number * 4L);
        return (uint)span < (uint)_at.Spans && FirstOf(span) <= number && number < FirstOf(span + 1) ? span : throw Damaged(number);
    }

    /// <summary>The first checkpoint of a span; for <see cref="SpanCount"/>, the number of checkpoints.</summary>
    internal int FirstOf(int span)
    {
        if (_at.Spans == Count || span == _at.Spans)
        {
            return span == _at.Spans ? Count : span;
        }
        int first = ReadInt32(_at.Firsts + span * 4L);
        return first >= span && first < Count ? first : throw Damaged(span);
    }

    /// <summary>The table as it stands in a file.</summary>
    /// <param name="start">Where it begins there.</param>
    internal byte[] Encode(long start)
    {
        Layout to = _at with { Start = start };
        var table = new byte[to.End - start];
        Copy(_at.Start, _at.Fences, to.Start);
        Copy(_at.SpanNumbers, _at.Firsts + (_at.Spans < Count ? _at.Spans * 4L : 0), to.SpanNumbers);
        Copy(_at.WindowRecords, _at.End, to.WindowRecords);
        PutFences(table, to);
        return table;

        void Copy(long from, long end, long target) => _file.Read(from, table.AsSpan((int)(target - start), (int)(end - from)));
    }

    /// <summary>The same table in memory, after all that holds for one that can be read was checked: nobody need have written it well.</summary>
    /// <param name="format">How the blob is compressed.</param>
    /// <exception cref="InvalidDataException">It is not consistent.</exception>
    internal CheckpointTable ToChecked(CompressionFormat format)
    {
        var uncompressedOffsets = new long[Count + 1];
        var compressedOffsets = new long[Count + 1];
        var bits = new byte[Count];
        var windowLengths = new int[Count];
        var packedEnds = new int[Count];
        byte[] packed = new byte[WindowBytes];
        try
        {
            _file.Read(_at.Windows, packed);
            (uncompressedOffsets[Count], compressedOffsets[Count]) = (_size, _blobSize);
            for (int i = 0; i < Count; i++)
            {
                (uncompressedOffsets[i], (compressedOffsets[i], int stored)) = (UncompressedOffset(i), Place(i));
                bits[i] = (byte)stored;
                (_, packedEnds[i], windowLengths[i]) = PackedWindow(i);
            }
        }
        catch (ImageException e)
        {
            throw new InvalidDataException(e.Message, e);
        }
        for (int i = 0; i < Count; i++)
        {
            long length = uncompressedOffsets[i + 1] - uncompressedOffsets[i];
            if ((format == CompressionFormat.None && compressedOffsets[i] != uncompressedOffsets[i])
                || (format != CompressionFormat.Gzip && bits[i] != 0x80)
                || (format is CompressionFormat.Bzip2 or CompressionFormat.Xz && i > 0)
                || length > LongestSpan || (length > 0 && compressedOffsets[i + 1] - compressedOffsets[i] >= LongestSpan))
            {
                throw new InvalidDataException("the table of checkpoints is not consistent");
            }
        }
        return new CheckpointTable(uncompressedOffsets, compressedOffsets, bits, windowLengths, packedEnds, packed);
    }

    private static bool IsSound(int bits, int windowLength) => (bits & 0x78) == 0 && (bits < 0x80 || (bits == 0x80 && windowLength == 0));

    private static int EndOfSpan(int first, long[] uncompressedOffsets, long[] compressedOffsets)
    {
        int end = first + 1;
        while (end + 1 < uncompressedOffsets.Length
            && uncompressedOffsets[end + 1] - uncompressedOffsets[first] <= MergedSize && compressedOffsets[end + 1] - compressedOffsets[first] <= MergedSize)
        {
            end++;
        }
        return end;
    }

    private static void PutFences(Span<byte> table, in Layout at)
    {
        for (int block = 1; block <= at.FenceCount; block++)
        {
            table.Slice(at.FirstOf(block) * RecordSize, 8).CopyTo(table[(int)(at.Fences - at.Start + (block - 1) * 8L)..]);
        }
    }

    private static long[] ReadFences(CheckedFile file, in Layout at)
    {
        var fences = new byte[at.FenceCount * 8];
        file.Read(at.Fences, fences);
        var read = new long[at.FenceCount];
        for (int i = 0; i < read.Length; i++)
        {
            read[i] = BinaryPrimitives.ReadInt64LittleEndian(fences.AsSpan(i * 8));
        }
        return read;
    }

    private long ReadInt64(long at)
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        _file.Read(at, bytes);
        return BinaryPrimitives.ReadInt64LittleEndian(bytes);
    }

    private int ReadInt32(long at)
    {
        Span<byte> bytes = stackalloc byte[sizeof(int)];
        _file.Read(at, bytes);
        return BinaryPrimitives.ReadInt32LittleEndian(bytes);
    }

    private long RecordAt(int number)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)number, (uint)Count, nameof(number));
        return _at.Start + (long)number * RecordSize;
    }

    private (long Compressed, int Bits) Place(int number)
    {
        long place = ReadInt64(RecordAt(number) + 8);
        long compressed = place & LargestBlob;
        return compressed <= _blobSize ? (compressed, (int)(place >>> 56)) : throw Damaged(number);
    }

    // Where a packed window begins and ends among all, and bytes of the window.
    private (int Start, int End, int Length) PackedWindow(int number)
    {
        if (_at.WindowBytes == 0)
        {
            return default;
        }
        long window = ReadInt64(_at.WindowRecords + number * 8L);
        int end = (int)window, length = (int)(window >>> 32);
        int start = number == 0 ? 0 : ReadInt32(_at.WindowRecords + (number - 1) * 8L);
        return start >= 0 && start <= end && end <= _at.WindowBytes && end - start <= s_largestPackedWindow && length is >= 0 and <= MaxWindow && length == 0 == (start == end)
            ? (start, end, length)
            : throw Damaged(number);
    }

    private ReadOnlyMemory<byte> UnpackWindow(int number)
    {
        (int start, int end, int length) = PackedWindow(number);
        if (length == 0)
        {
            return default;
        }
        byte[] packed = new byte[end - start], window = new byte[length];
        _file.Read(_at.Windows + start, packed);
        using var decompressor = new ZstdSharp.Decompressor();
        try
        {
            if (decompressor.Unwrap(packed, window) == length)
            {
                return window;
            }
        }
        catch (ZstdSharp.ZstdException)
        {
        }
        throw new InvalidDataException($"the window of checkpoint {number} is damaged");
    }

    private ImageException Damaged(int number) => _file.Damaged($"checkpoint {number} is not consistent with the others");
}
