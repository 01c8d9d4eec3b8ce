using System.Numerics;
using System.Runtime.CompilerServices;
using LazyMount.Blobs.Files;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Cache;

internal sealed partial class ChunkStore
{
    [InlineArray(TableSize)]
    private struct Table
    {
        private byte _first;
    }

    /// <summary>
    /// One read of a range of the blob: a segment is opened once, and its table read once, however many pieces are asked for. Chunks
    /// that come while it goes on may not be seen.
    /// </summary>
    public ref struct Reading(ChunkStore store) : IDisposable
    {
        private int _segment = -1;
        private SafeFileHandle? _file; // null when there is none
        private Table _table;
        private ulong _present;

        /// <summary>
        /// The first of chunks [first, end) that is there (or, when <paramref name="present"/> is false, that is not), else
        /// <paramref name="end"/>. Nobody has looked at the bytes yet.
        /// </summary>
        public int Find(bool present, int first, int end)
        {
            while (first < end)
            {
                int segment = first / SegmentChunks, index = first % SegmentChunks;
                Open(segment);
                ulong found = (present ? _present : ~_present) >> index;
                if (found != 0)
                    return Math.Min(first + BitOperations.TrailingZeroCount(found), end);
                first = (segment + 1) * SegmentChunks;
            }
            return end;
        }

        /// <summary>
        /// Reads chunks from <paramref name="first"/> on, as they were written, until one is missing or <paramref name="bytes"/> is full;
        /// that must have room for whole chunks. One that has changed is logged and forgotten, unless its length is in doubt (<see cref="IsSizeProved"/>).
        /// </summary>
        /// <returns>How many were read.</returns>
        public int Read(int first, Span<byte> bytes)
        {
            int read = 0;
            while (!bytes.IsEmpty)
            {
                int here = ReadFromSegment(first + read, bytes);
                if (here == 0)
                    break;
                bytes = bytes[store.Grid.Extent(first + read, first + read + here).Length..];
                read += here;
            }
            return read;
        }

        /// <summary>Forgets a chunk whose bytes turned out to be wrong.</summary>
        public void Drop(int chunk, string reason)
        {
            store.Drop(chunk, reason);
            if (chunk / SegmentChunks == _segment)
                _present &= ~(1UL << (chunk % SegmentChunks));
        }

        public void Dispose()
        {
            _file?.Dispose();
            (_file, _segment) = (null, -1);
        }

        private void Open(int segment)
        {
            if (segment == _segment)
                return;
            Dispose();
            (_segment, _present) = (segment, 0);
            try
            {
                _file = Interop.TryOpenToRead(store.PathOf(segment));
                if (_file is not null)
                    _present = ReadTable(_file, _table);
            }
            catch (Exception e) when (FileProblem.IsOne(e))
            {
                // What cannot be read is not there.
            }
        }

        // As Read, and no farther than the segment's end.
        private int ReadFromSegment(int first, Span<byte> bytes)
        {
            Open(first / SegmentChunks);
            int index = first % SegmentChunks;
            ChunkGrid grid = store.Grid;
            int wanted = Math.Min(BitOperations.TrailingZeroCount(~(_present >> index)), (bytes.Length + grid.ChunkSize - 1) / grid.ChunkSize);
            if (_file is null || wanted == 0)
                return 0;
            bytes = bytes[..Math.Min(bytes.Length, grid.Extent(first, first + wanted).Length)];
            try
            {
                int length = ReadFully(_file, bytes, store.PlaceOf(first));
                for (int i = 0; i < wanted; i++)
                {
                    (long at, int chunkLength) = (i * (long)grid.ChunkSize, grid.Extent(first + i, first + i + 1).Length);
                    ReadOnlySpan<byte> hash = ((ReadOnlySpan<byte>)_table).Slice((index + i) * HashSize, HashSize);
                    if (at + chunkLength <= length && IsHashed(bytes.Slice((int)at, chunkLength), hash))
                        continue;
                    bool isWhole = at + chunkLength <= length && first + i != store.Grid.Count - 1;
                    if ((store.IsSizeProved || isWhole) && IsStill(_file, first + i, hash))
                        store.Drop(first + i, "it has changed on disk");
                    _present &= ~(1UL << (index + i)); // this read is not to look at it again
                    wanted = i;
                }
                if (wanted > 0)
                    BlobCache.Touch(_file, s_usePrecision);
                return wanted;
            }
            catch (Exception e) when (FileProblem.IsOne(e))
            {
                Drop(first, e.Message);
                return 0;
            }
        }
    }
}
