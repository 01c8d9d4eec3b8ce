using LazyMount.Blobs.Oci;
using LazyMount.Compression;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;

namespace LazyMount.Indexes.Toc;

/// <summary>
/// Makes a <see cref="LayerIndex"/> of a table's entries. Each gzip member or zstd frame that holds chunks is a span: the bytes
/// it decodes to up to the end of its last chunk. The index's uncompressed offsets are those of all spans one after the other,
/// so that what lies between (tar headers, padding) is not there, and a file's chunks follow each other without a gap.
/// <para>Takes what writers write: chunks in the order of the blob, none twice, each with a digest. All else is refused.</para>
/// </summary>
/// <param name="budget">Counts what the index takes.</param>
/// <param name="dataEnd">Where in the blob the table, or what belongs to it, begins: no content lies there.</param>
internal sealed class TocIndexBuilder(IndexBudget budget, long dataEnd) : IDisposable
{
    private const int LongestSpan = CheckpointTable.LongestSpan;

    private readonly LayerEntriesBuilder _entries = new(budget);
    private readonly CheckpointTableBuilder _checkpoints = new(budget);
    private readonly List<long> _rangeOffsets = [];
    private readonly List<int> _rangeLengths = [];
    private readonly ByteBuffer _rangeDigests = new();
    private readonly List<SparseExtent> _extents = [];

    // The entry that is being read, and the file whose chunks may follow.
    private TocEntry _next = new(), _file = new();
    private bool _hasFile;
    private long _filled, _stored;
    private bool _hasHole;
    private int _count;

    // The span that is being filled: where it begins in the blob, null before the first one, and its uncompressed range so far.
    private long? _spanOffset;
    private long _spanStart, _spanEnd;

    /// <summary>An empty entry to be filled and given to <see cref="Add"/>.</summary>
    public TocEntry NextEntry()
    {
        _next.Clear();
        return _next;
    }

    public void Add(TocEntry entry)
    {
        if (entry.IsChunk)
        {
            if (!_hasFile || !entry.Member.Path.SequenceEqual(_file.Member.Path))
            {
                throw new InvalidDataException($"a chunk of {TarText.Quote(entry.Member.Path)} does not follow its file");
            }
            AddChunk(entry);
            return;
        }
        EndFile();
        if (++_count > budget.Limits.Entries)
        {
            throw new InvalidDataException($"it has more than {budget.Limits.Entries} entries");
        }
        (_next, _file) = (_file, _next);
        (_filled, _stored, _hasHole) = (0, 0, false);
        _extents.Clear();
        TarMember member = _file.Member;
        _hasFile = member.Type == EntryType.File;
        if (member.Type is not (EntryType.CharacterDevice or EntryType.BlockDevice))
        {
            (member.DeviceMajor, member.DeviceMinor) = (0, 0);
        }
        if (!_hasFile)
        {
            member.Size = 0;
            _entries.Add(member);
            return;
        }
        if (member.Size < 0)
        {
            throw new InvalidDataException($"the size {member.Size} of {TarText.Quote(member.Path)} is impossible");
        }
        member.DataOffset = _spanEnd;
        if (member.Size > 0)
        {
            AddChunk(_file);
        }
    }

    /// <summary>Says that all entries have been given.</summary>
    public LayerIndex Build(Descriptor blob, CompressionFormat format, IndexOrigin origin)
    {
        EndFile();
        EndSpan(dataEnd);
        if (_spanOffset is null)
        {
            _checkpoints.Add(new Checkpoint(0, 0, 0, AtMemberStart: true, default)); // of a layer without content
        }
        return new LayerIndex
        {
            Origin = origin,
            Digest = blob.Digest,
            CompressedSize = blob.Size,
            UncompressedSize = _spanEnd,
            Format = format,
            Proof = Proof.OfParser(new RangeDigests(ofCompressed: false, [.. _rangeOffsets], [.. _rangeLengths], _rangeDigests.ToArray())),
            Checkpoints = _checkpoints.Build(_spanEnd, blob.Size),
            Paths = _entries.BuildPaths(),
            Entries = _entries.BuildEntries(),
            SparseMaps = _entries.BuildSparseMaps(),
            LinkTargets = _entries.BuildLinkTargets(),
            XattrSets = _entries.BuildXattrSets(),
        };
    }

    public void Dispose() => _checkpoints.Dispose();

    private void AddChunk(TocEntry chunk)
    {
        TarMember file = _file.Member;
        long left = file.Size - _filled;
        long size = chunk.ChunkSize == 0 ? left : chunk.ChunkSize;
        if (chunk.ChunkOffset != _filled || size <= 0 || size > left)
        {
            throw new InvalidDataException($"the chunks of {TarText.Quote(file.Path)} do not add up to its {file.Size} bytes");
        }
        if (chunk.IsHole)
        {
            _filled += size;
            _hasHole = true;
            return;
        }
        ReadOnlySpan<byte> digest = !chunk.ChunkDigest.IsEmpty ? chunk.ChunkDigest : size == file.Size ? chunk.Digest : default;
        if (digest.IsEmpty)
        {
            throw new InvalidDataException($"a chunk of {TarText.Quote(file.Path)} has no digest");
        }
        long start = Place(chunk, size);
        if (_stored == 0)
        {
            file.DataOffset = start;
        }
        else if (start != file.DataOffset + _stored)
        {
            throw new InvalidDataException($"the chunks of {TarText.Quote(file.Path)} do not follow each other");
        }
        if (_extents.Count == 0 || _extents[^1].Offset - _extents[^1].Stored != _filled - _stored)
        {
            if (_extents.Count == budget.Limits.SparseExtentsOfFile)
            {
                throw new InvalidDataException($"{TarText.Quote(file.Path)} has more than {budget.Limits.SparseExtentsOfFile} extents");
            }
            _extents.Add(new SparseExtent(_filled, _stored));
        }
        _filled += size;
        _stored += size;
        budget.Take(IndexBudget.Range);
        _rangeOffsets.Add(start);
        _rangeLengths.Add((int)size);
        _rangeDigests.Append(digest);
    }

    /// <summary>Where a chunk begins in the index's uncompressed offsets: in the span that is being filled, or in a new one.</summary>
    private long Place(TocEntry chunk, long size)
    {
        if (chunk.CompressedOffset != _spanOffset)
        {
            // Where the blob begins there is a tar header, so that there content has an inner offset; a place that is left out reads as 0.
            if (chunk.CompressedOffset < 0 || chunk.CompressedOffset <= _spanOffset || chunk.CompressedOffset >= dataEnd || (chunk.CompressedOffset == 0 && chunk.InnerOffset == 0))
            {
                throw new InvalidDataException($"the content of {TarText.Quote(_file.Member.Path)} is at {chunk.CompressedOffset}, which is not between the previous content and the end at {dataEnd}");
            }
            EndSpan(chunk.CompressedOffset);
            (_spanOffset, _spanStart) = (chunk.CompressedOffset, _spanEnd);
            _checkpoints.Add(new Checkpoint(chunk.CompressedOffset, 0, _spanStart, AtMemberStart: true, default));
        }
        if (chunk.InnerOffset < 0 || chunk.InnerOffset < _spanEnd - _spanStart || chunk.InnerOffset > LongestSpan || size > LongestSpan - chunk.InnerOffset)
        {
            throw new InvalidDataException($"the content of {TarText.Quote(_file.Member.Path)} overlaps the previous content, or is more than {LongestSpan} bytes after the place where decoding can start");
        }
        long start = _spanStart + chunk.InnerOffset;
        _spanEnd = start + size;
        return start;
    }

    /// <summary>
    /// Ends the span that is being filled. What a table leaves out between this and <paramref name="nextOffset"/>, such as
    /// the headers of a thousand directories, belongs to an empty span, so that nobody fetches it. Before the first span, all does.
    /// </summary>
    private void EndSpan(long nextOffset)
    {
        if (_spanOffset is not { } offset)
        {
            if (nextOffset > 0 && nextOffset < dataEnd)
            {
                _checkpoints.Add(new Checkpoint(0, 0, 0, AtMemberStart: true, default));
            }
            return;
        }
        long end = offset + LongestCompressed(_spanEnd - _spanStart);
        if (end < nextOffset || nextOffset == dataEnd)
        {
            _checkpoints.Add(new Checkpoint(Math.Min(end, nextOffset), 0, _spanEnd, AtMemberStart: true, default));
        }
    }

    /// <summary>
    /// What deflate and zstd make of bytes that cannot be compressed is less. Most add a few bytes to each block; quick encoders
    /// (level 1 of zlib-ng) write all with the fixed codes, of 9 bits at the most for 8.
    /// </summary>
    public static long LongestCompressed(long length) => length + length / 8 + 1024;

    private void EndFile()
    {
        if (!_hasFile)
        {
            return;
        }
        _hasFile = false;
        TarMember file = _file.Member;
        if (_filled != file.Size)
        {
            throw new InvalidDataException($"the chunks of {TarText.Quote(file.Path)} do not add up to its {file.Size} bytes");
        }
        file.SparseMap = _hasHole ? new SparseMap([.. _extents], _stored) : null;
        _entries.Add(file);
    }
}
