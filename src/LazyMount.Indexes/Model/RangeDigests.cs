using System.Buffers.Binary;
using System.Security.Cryptography;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;

namespace LazyMount.Indexes.Model;

/// <summary>
/// SHA-256 of ranges of a layer, where a table of contents that others made vouches for those and not for the chunks of the
/// blob: of compressed bytes (SOCI's spans) or of uncompressed ones (the file chunks of eStargz and zstd:chunked). A range
/// lies within one span; of compressed bytes neighbours may share the byte in which the later span begins. Thread-safe.
/// </summary>
public sealed class RangeDigests
{
    /// <summary>Bytes of a range in a file: offset and length, 8 bytes each. The digests of all stand behind all ranges.</summary>
    internal const int RangeSize = 16;

    private readonly CheckedFile _file;
    private readonly long _first; // of the ranges in the file, in ranges
    private readonly ChunkDigests _digests;

    /// <summary>
    /// Ranges in memory: for each its offset, ascending, its length in bytes, and its digest, concatenated.
    /// </summary>
    /// <param name="ofCompressed">Offsets are of the blob; else uncompressed offsets.</param>
    /// <param name="offsets">Where each begins.</param>
    /// <param name="lengths">Bytes of each.</param>
    /// <param name="digests"><see cref="ChunkDigests.DigestSize"/> bytes for each. Owned.</param>
    /// <exception cref="InvalidDataException">They do not describe ranges.</exception>
    public RangeDigests(bool ofCompressed, long[] offsets, int[] lengths, byte[] digests)
    {
        bool valid = lengths.Length == offsets.Length && digests.Length == (long)offsets.Length * ChunkDigests.DigestSize;
        var ranges = new byte[(long)offsets.Length * RangeSize];
        for (int i = 0; i < offsets.Length && valid; i++)
        {
            valid = lengths[i] > 0 && offsets[i] >= (i == 0 ? 0 : offsets[i - 1] + 1) && offsets[i] <= long.MaxValue - lengths[i];
            BinaryPrimitives.WriteInt64LittleEndian(ranges.AsSpan(i * RangeSize), offsets[i]);
            BinaryPrimitives.WriteInt64LittleEndian(ranges.AsSpan(i * RangeSize + 8), lengths[i]);
        }
        if (!valid)
        {
            throw new InvalidDataException("the digests of ranges are not consistent");
        }
        (OfCompressed, _file, _digests) = (ofCompressed, new CheckedFile(ranges), new ChunkDigests(1, digests));
    }

    /// <summary>Ranges that stand in a file; not owned.</summary>
    /// <param name="ofCompressed">Offsets are of the blob; else uncompressed offsets.</param>
    /// <param name="file">The file.</param>
    /// <param name="offset">Where the first range stands: a multiple of <see cref="RangeSize"/>.</param>
    /// <param name="digests">Their digests.</param>
    internal RangeDigests(bool ofCompressed, CheckedFile file, long offset, ChunkDigests digests)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(offset % RangeSize, 0, nameof(offset));
        (OfCompressed, _file, _first, _digests) = (ofCompressed, file, offset / RangeSize, digests);
    }

    /// <summary>True for ranges of the blob, which are verified before they are decoded; false for ranges of what it decodes to.</summary>
    public bool OfCompressed { get; }

    /// <summary>Number of ranges.</summary>
    public int Count => _digests.Count;

    /// <summary>Offset and length of a range.</summary>
    /// <exception cref="ImageException">As for <see cref="CheckedFile.Read"/>, or they are no range.</exception>
    public (long Offset, int Length) this[int range]
    {
        get
        {
            Span<byte> stored = stackalloc byte[RangeSize];
            _file.Read((_first + range) * RangeSize, stored);
            long offset = BinaryPrimitives.ReadInt64LittleEndian(stored), length = BinaryPrimitives.ReadInt64LittleEndian(stored[8..]);
            return offset >= 0 && length is > 0 and <= int.MaxValue ? (offset, (int)length) : throw _file.Damaged($"range {range} has an impossible offset or length");
        }
    }

    /// <summary>Their digests.</summary>
    internal ChunkDigests Digests => _digests;

    /// <summary>Whether all ranges that lie in these bytes have their digests.</summary>
    /// <param name="offset">Where the bytes stand, in the sense of <see cref="OfCompressed"/>.</param>
    /// <param name="bytes">A whole span.</param>
    /// <exception cref="ImageException">As for <see cref="CheckedFile.Read"/>.</exception>
    public bool Verifies(long offset, ReadOnlySpan<byte> bytes)
    {
        Span<byte> hash = stackalloc byte[ChunkDigests.DigestSize];
        for (int i = FirstFrom(offset); i < Count && this[i] is var (start, length) && start - offset < bytes.Length; i++)
        {
            if (start < offset)
            {
                throw _file.Damaged($"range {i} begins before the one before it");
            }
            if (length > bytes.Length - (start - offset))
            {
                break; // the next span's, which begins in this one's last byte
            }
            SHA256.HashData(bytes.Slice((int)(start - offset), length), hash);
            if (!hash.SequenceEqual(_digests[i]))
            {
                return false;
            }
        }
        return true;
    }

    /// <summary>
    /// Tells bytes from others without reading them: the digest of their range, or a hash of the lengths and digests of their ranges.
    /// Bytes that are told to be the same are the same. False unless ranges begin and end where the bytes do.
    /// </summary>
    /// <param name="offset">Where the bytes stand, in the sense of <see cref="OfCompressed"/>.</param>
    /// <param name="length">Their number.</param>
    /// <param name="identity"><see cref="ChunkDigests.DigestSize"/> bytes.</param>
    /// <exception cref="ImageException">As for <see cref="CheckedFile.Read"/>.</exception>
    public bool TryIdentify(long offset, long length, Span<byte> identity)
    {
        int first = FirstFrom(offset);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Span<byte> size = stackalloc byte[sizeof(int)];
        long done = 0;
        for (int i = first; done < length; i++)
        {
            if (i == Count || this[i] is var (start, count) && (start != offset + done || count > length - done))
            {
                return false;
            }
            if (count == length)
            {
                _digests[i].CopyTo(identity);
                return true;
            }
            BinaryPrimitives.WriteInt32LittleEndian(size, count);
            hash.AppendData(size);
            hash.AppendData(_digests[i]);
            done += count;
        }
        hash.GetHashAndReset(identity);
        return true;
    }

    /// <summary>
    /// The digests of uncompressed bytes, if ranges begin and end where they do and leave no gap: the length and the SHA-256 of each, in
    /// order. Null when they do not.
    /// </summary>
    /// <param name="offset">Where the bytes begin.</param>
    /// <param name="length">Their number.</param>
    /// <exception cref="ImageException">As for <see cref="CheckedFile.Read"/>.</exception>
    public IReadOnlyList<(int Length, byte[] Sha256)>? TryDescribe(long offset, long length)
    {
        if (OfCompressed)
        {
            return null;
        }
        List<(int Length, byte[] Sha256)> described = [];
        long end = offset + length;
        for (int i = FirstFrom(offset); offset < end; i++)
        {
            (long start, int count) = i < Count ? this[i] : default;
            if (count == 0 || start != offset || count > end - offset)
            {
                return null;
            }
            described.Add((count, _digests[i]));
            offset += count;
        }
        return described;
    }

    // The first range that begins there or later.
    private int FirstFrom(long offset)
    {
        int low = 0, high = Count;
        while (low < high)
        {
            int middle = low + (high - low) / 2;
            (low, high) = this[middle].Offset < offset ? (middle + 1, high) : (low, middle);
        }
        return low;
    }
}
