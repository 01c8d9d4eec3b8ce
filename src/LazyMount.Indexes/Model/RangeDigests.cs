using System.Security.Cryptography;
using LazyMount.Blobs.Cache;

namespace LazyMount.Indexes.Model;

/// <summary>
/// SHA-256 of ranges of a layer, where a table of contents that others made vouches for those and not for the chunks of the
/// blob: of compressed bytes (SOCI's spans) or of uncompressed ones (the file chunks of eStargz and zstd:chunked). A range
/// lies within one span; of compressed bytes neighbours may share the byte in which the later span begins.
/// </summary>
public sealed class RangeDigests
{
    private readonly long[] _offsets;
    private readonly int[] _lengths;
    private readonly byte[] _digests;

    /// <summary>
    /// Takes ownership of the arrays: for each range its offset, ascending, its length in bytes, and its digest, concatenated.
    /// </summary>
    /// <param name="ofCompressed">Offsets are of the blob; else uncompressed offsets.</param>
    /// <param name="offsets">Where each begins.</param>
    /// <param name="lengths">Bytes of each.</param>
    /// <param name="digests"><see cref="ChunkDigests.DigestSize"/> bytes for each.</param>
    /// <exception cref="InvalidDataException">They do not describe ranges.</exception>
    public RangeDigests(bool ofCompressed, long[] offsets, int[] lengths, byte[] digests)
    {
        bool valid = lengths.Length == offsets.Length && digests.Length == (long)offsets.Length * ChunkDigests.DigestSize;
        for (int i = 0; i < offsets.Length && valid; i++)
        {
            valid = lengths[i] > 0 && offsets[i] >= (i == 0 ? 0 : offsets[i - 1] + 1) && offsets[i] <= long.MaxValue - lengths[i];
        }
        if (!valid)
        {
            throw new InvalidDataException("the digests of ranges are not consistent");
        }
        (OfCompressed, _offsets, _lengths, _digests) = (ofCompressed, offsets, lengths, digests);
    }

    /// <summary>True for ranges of the blob, which are verified before they are decoded; false for ranges of what it decodes to.</summary>
    public bool OfCompressed { get; }

    /// <summary>Number of ranges.</summary>
    public int Count => _offsets.Length;

    /// <summary>Offset and length of a range.</summary>
    public (long Offset, int Length) this[int range] => (_offsets[range], _lengths[range]);

    /// <summary>All digests, concatenated.</summary>
    internal ReadOnlySpan<byte> Bytes => _digests;

    /// <summary>Whether all ranges that lie in these bytes have their digests.</summary>
    /// <param name="offset">Where the bytes stand, in the sense of <see cref="OfCompressed"/>.</param>
    /// <param name="bytes">A whole span.</param>
    public bool Verifies(long offset, ReadOnlySpan<byte> bytes)
    {
        Span<byte> hash = stackalloc byte[ChunkDigests.DigestSize];
        int first = Array.BinarySearch(_offsets, offset);
        for (int i = first < 0 ? ~first : first; i < _offsets.Length && _offsets[i] - offset < bytes.Length; i++)
        {
            int start = (int)(_offsets[i] - offset);
            if (_lengths[i] > bytes.Length - start)
            {
                break; // the next span's, which begins in this one's last byte
            }
            SHA256.HashData(bytes.Slice(start, _lengths[i]), hash);
            if (!hash.SequenceEqual(_digests.AsSpan(i * ChunkDigests.DigestSize, ChunkDigests.DigestSize)))
            {
                return false;
            }
        }
        return true;
    }
}
