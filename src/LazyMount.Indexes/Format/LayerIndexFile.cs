using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;
using LazyMount.Indexes.Model;

namespace LazyMount.Indexes.Format;

/// <summary>
/// A <see cref="LayerIndex"/> as one file. Little-endian:
/// <code>
/// 8   magic "LMLAYER\n"
/// 4   version
/// 4   zero
/// 16  XXH128 of everything after
/// …   numbers: digest, sizes, format, counts and lengths of what follows
/// …   columns, one zstd frame: paths, entries, links, attributes, sparse maps, ranges
/// …   digests, of chunks or of ranges
/// …   checkpoint windows, each packed alone, so that opening decompresses none
/// </code>
/// Columns hold one field of all entries in tar order, as differences to what is most likely, so most bytes are zero.
/// The hash finds accidents; the parser trusts nothing all the same: every count is bounded by the bytes that are there
/// before anything is allocated, every reference is checked.
/// </summary>
internal static class LayerIndexFile
{
    /// <summary>Raised with every change of the format or of what indexing finds: other versions are rebuilt.</summary>
    public const uint Version = 7;

    private const int HashStart = 16;
    private const int PayloadStart = 32;
    private const int CompressionLevel = 3;

    // A frame cannot claim to be larger than this many times its bytes; columns that pack better are stored as they are.
    private const int MaxRatio = 4096;

    private const string NotConsistent = "the index is not consistent";

    private static ReadOnlySpan<byte> Magic => "LMLAYER\n"u8;

    /// <summary>Reads the index of a layer, and notes its use; null when there is none that can be used.</summary>
    /// <param name="path">The file.</param>
    /// <param name="digest">The layer that it must be of.</param>
    /// <param name="budget">Counts what the index takes; null for the usual bounds.</param>
    public static LayerIndex? TryLoad(string path, Digest digest, IndexBudget? budget = null)
    {
        try
        {
            return TryDecode(BlobCache.ReadFile(path), digest, budget);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    public static LayerHead? TryOpen(string path, Digest digest, IndexBudget budget) => TryLoad(path, digest, budget);

    public static LayerIndex? TryRead(LayerHead head, IndexBudget budget) => (LayerIndex)head;

    /// <summary>Writes it into the cache.</summary>
    /// <returns>See <see cref="LayerHead.ContentsDigest"/>.</returns>
    /// <exception cref="IOException">No space, or no directory.</exception>
    /// <exception cref="UnauthorizedAccessException">No permission.</exception>
    public static Digest Save(string path, LayerIndex index, BlobCache cache)
    {
        cache.WriteFile(path, Encode(index));
        return Digest.OfSha256(LayerIndexColumns.Encode(index));
    }

    /// <summary>True for the start of an index file that another version of the program wrote: of no use here, but not damaged.</summary>
    public static bool IsOfOtherVersion(ReadOnlySpan<byte> file)
        => file.Length >= PayloadStart && file.StartsWith(Magic) && BinaryPrimitives.ReadUInt32LittleEndian(file[Magic.Length..]) != Version;

    public static byte[] Encode(LayerIndex index)
    {
        byte[] columns = LayerIndexColumns.Encode(index);
        using var compressor = new ZstdSharp.Compressor(CompressionLevel);
        ReadOnlySpan<byte> packed = compressor.Wrap(columns);
        if (packed.Length >= columns.Length || packed.Length < columns.Length / MaxRatio)
        {
            packed = columns;
        }

        CheckpointTable checkpoints = index.Checkpoints;
        ReadOnlySpan<byte> digests = index.Proof.Chunks is { } chunks ? chunks.Bytes : index.Proof.Ranges is { } ranges ? ranges.Bytes : default;
        var numbers = new IndexWriter();
        byte[] digest = Encoding.ASCII.GetBytes(index.Digest.ToString());
        numbers.Unsigned((uint)digest.Length);
        numbers.Raw(digest);
        byte[] diffId = Encoding.ASCII.GetBytes(index.DiffId?.ToString() ?? "");
        numbers.Unsigned((uint)diffId.Length);
        numbers.Raw(diffId);
        numbers.Unsigned((ulong)index.CompressedSize);
        numbers.Unsigned((ulong)index.UncompressedSize);
        numbers.Unsigned((ulong)index.Format);
        byte[] transcoding = Encoding.ASCII.GetBytes(index.Transcoding?.Digest.ToString() ?? "");
        numbers.Unsigned((uint)transcoding.Length);
        numbers.Raw(transcoding);
        numbers.Unsigned((ulong)(index.Transcoding?.Size ?? 0));
        numbers.Unsigned((ulong)index.Origin);
        numbers.Unsigned((ulong)index.Proof.By);
        numbers.Unsigned(index.Proof.IsFromVerified ? 1u : 0);
        byte[] document = Encoding.ASCII.GetBytes(index.Proof.Document?.ToString() ?? "");
        numbers.Unsigned((uint)document.Length);
        numbers.Raw(document);
        numbers.Unsigned((uint)index.Prefetch.Length);
        foreach (PrefetchRange range in index.Prefetch)
        {
            numbers.Unsigned((ulong)range.Offset);
            numbers.Unsigned((ulong)(range.End - range.Offset));
        }
        numbers.Unsigned((uint)(index.Proof.Chunks?.ChunkSize ?? 0));
        numbers.Unsigned((uint)(digests.Length / ChunkDigests.DigestSize));
        numbers.Unsigned((uint)columns.Length);
        numbers.Unsigned((uint)packed.Length);
        numbers.Unsigned((uint)checkpoints.PackedWindows.Length);
        numbers.Unsigned((uint)checkpoints.Count);
        for (int i = 0; i < checkpoints.Count; i++)
        {
            numbers.Unsigned((ulong)(checkpoints.UncompressedOffset(i + 1) - checkpoints.UncompressedOffset(i)));
            numbers.Unsigned((ulong)(checkpoints.CompressedOffset(i + 1) - checkpoints.CompressedOffset(i)));
            numbers.Raw([(byte)(checkpoints.Bit(i) | (checkpoints.AtMemberStart(i) ? 0x80 : 0))]);
            numbers.Unsigned((uint)checkpoints.WindowLength(i));
            numbers.Unsigned((uint)checkpoints.PackedWindow(i).Length);
        }

        var file = new byte[PayloadStart + numbers.Bytes.Length + packed.Length + digests.Length + checkpoints.PackedWindows.Length];
        Magic.CopyTo(file);
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(Magic.Length), Version);
        Span<byte> rest = file.AsSpan(PayloadStart);
        Put(numbers.Bytes, ref rest);
        Put(packed, ref rest);
        Put(digests, ref rest);
        Put(checkpoints.PackedWindows, ref rest);
        XxHash128.Hash(file.AsSpan(PayloadStart), file.AsSpan(HashStart));
        return file;

        static void Put(ReadOnlySpan<byte> bytes, ref Span<byte> rest)
        {
            bytes.CopyTo(rest);
            rest = rest[bytes.Length..];
        }
    }

    /// <summary>Null for anything that is not a whole, sound file of this version for this digest.</summary>
    /// <param name="file">The file's bytes.</param>
    /// <param name="digest">The layer that it must be of.</param>
    /// <param name="budget">Counts what the index takes; null for the usual bounds.</param>
    public static LayerIndex? TryDecode(ReadOnlySpan<byte> file, Digest digest, IndexBudget? budget = null)
    {
        budget ??= new IndexBudget(blobSize: long.MaxValue);
        try
        {
            return Decode(file, digest, budget);
        }
        catch (InvalidDataException)
        {
            budget.Dispose();
            return null;
        }
    }

    /// <summary>Null for a file of another version or another kind, or whose bytes are damaged.</summary>
    /// <param name="file">The file's bytes.</param>
    /// <param name="digest">The layer that it must be of.</param>
    /// <param name="budget">Counts what the index takes, before it is allocated.</param>
    /// <exception cref="InvalidDataException">The index is not sound, or takes more than is accepted; says which.</exception>
    public static LayerIndex? Decode(ReadOnlySpan<byte> file, Digest digest, IndexBudget budget)
    {
        if (file.Length < PayloadStart || !file.StartsWith(Magic)
            || BinaryPrimitives.ReadUInt32LittleEndian(file[Magic.Length..]) != Version
            || !XxHash128.Hash(file[PayloadStart..]).AsSpan().SequenceEqual(file[HashStart..PayloadStart]))
        {
            return null;
        }
        try
        {
            return Decode(new IndexReader(file[PayloadStart..]), digest, budget);
        }
        catch (Exception e) when (e is ZstdSharp.ZstdException or OverflowException)
        {
            throw new InvalidDataException(NotConsistent, e);
        }
    }

    private static LayerIndex Decode(IndexReader reader, Digest digest, IndexBudget budget)
    {
        ReadOnlySpan<byte> storedDigest = reader.Raw(reader.Count(1));
        Require(storedDigest.SequenceEqual(Encoding.ASCII.GetBytes(digest.ToString())));
        ReadOnlySpan<byte> storedDiffId = reader.Raw(reader.Count(1));
        Require(Digest.TryParse(Encoding.ASCII.GetString(storedDiffId), out Digest diffId) || storedDiffId.IsEmpty);
        long compressedSize = reader.Bounded(long.MaxValue);
        long uncompressedSize = reader.Bounded(long.MaxValue);
        var format = (CompressionFormat)reader.Bounded((long)CompressionFormat.Xz);
        ReadOnlySpan<byte> storedTranscoding = reader.Raw(reader.Count(1));
        Require(Digest.TryParse(Encoding.ASCII.GetString(storedTranscoding), out Digest transcoding) || storedTranscoding.IsEmpty);
        long transcodedSize = reader.Bounded(long.MaxValue);
        long spansSize = storedTranscoding.IsEmpty ? compressedSize : transcodedSize;
        CompressionFormat spanFormat = storedTranscoding.IsEmpty ? format : CompressionFormat.Zstd;
        var origin = (IndexOrigin)reader.Bounded((long)IndexOrigin.Soci);
        var by = (Voucher)reader.Bounded((long)Voucher.Layer);
        bool isFromVerified = reader.Bounded(1) == 1;
        ReadOnlySpan<byte> storedDocument = reader.Raw(reader.Count(1));
        Require(Digest.TryParse(Encoding.ASCII.GetString(storedDocument), out Digest document) || storedDocument.IsEmpty);
        int prefetchCount = reader.Count(2);
        budget.Take(prefetchCount, IndexBudget.PrefetchRange);
        var prefetch = new PrefetchRange[prefetchCount];
        for (int i = 0; i < prefetch.Length; i++)
        {
            long begin = reader.Bounded(uncompressedSize);
            prefetch[i] = new PrefetchRange(begin, begin + reader.Bounded(uncompressedSize - begin));
        }
        Require(PrefetchRange.AreApart(prefetch)); // so that no byte is fetched twice
        int chunkSize = (int)reader.Bounded(int.MaxValue);
        int digestCount = reader.Count(ChunkDigests.DigestSize);
        Require(chunkSize == 0 || digestCount == spansSize / chunkSize + (spansSize % chunkSize == 0 ? 0 : 1));
        int columnsLength = (int)reader.Bounded(Array.MaxLength);
        int packedLength = reader.Count(1);
        Require(packedLength <= columnsLength && columnsLength / MaxRatio <= packedLength);
        int windowsLength = reader.Count(1);

        int count = reader.Count(5);
        budget.Take((long)count * IndexBudget.Checkpoint + (long)digestCount * ChunkDigests.DigestSize + windowsLength);
        var uncompressedOffsets = new long[count + 1];
        var compressedOffsets = new long[count + 1];
        var bits = new byte[count];
        var windowLengths = new int[count];
        var packedEnds = new int[count];
        for (int i = 0, packedEnd = 0; i < count; i++)
        {
            Require(spanFormat != CompressionFormat.None || compressedOffsets[i] == uncompressedOffsets[i]);
            uncompressedOffsets[i + 1] = checked(uncompressedOffsets[i] + reader.Bounded(long.MaxValue));
            compressedOffsets[i + 1] = checked(compressedOffsets[i] + reader.Bounded(long.MaxValue));
            bits[i] = reader.Raw(1)[0];
            Require(spanFormat == CompressionFormat.Gzip || bits[i] == 0x80);
            Require(spanFormat is not (CompressionFormat.Bzip2 or CompressionFormat.Xz) || i == 0);
            windowLengths[i] = (int)reader.Bounded(CheckpointTable.MaxWindow);
            packedEnds[i] = packedEnd = checked(packedEnd + (int)reader.Bounded(windowsLength));
            long length = uncompressedOffsets[i + 1] - uncompressedOffsets[i];
            Require(length <= CheckpointTable.LongestSpan && (length == 0 || compressedOffsets[i + 1] - compressedOffsets[i] < CheckpointTable.LongestSpan));
        }
        Require(uncompressedOffsets[count] == uncompressedSize && compressedOffsets[count] == spansSize);

        ReadOnlySpan<byte> columns = reader.Raw(packedLength);
        byte[] digests = reader.Raw(digestCount * ChunkDigests.DigestSize).ToArray();
        byte[] windows = reader.Raw(windowsLength).ToArray();
        Require(reader.Remaining == 0);
        if (packedLength < columnsLength)
        {
            budget.Take(columnsLength);
            var unpacked = new byte[columnsLength];
            using var decompressor = new ZstdSharp.Decompressor();
            Require(decompressor.Unwrap(columns, unpacked) == columnsLength);
            columns = unpacked;
        }

        LayerIndexColumns decoded = LayerIndexColumns.Decode(columns, uncompressedSize, spansSize, budget);
        budget.Give(packedLength < columnsLength ? columnsLength : 0);
        RangeDigests? ranges = decoded.BuildRanges(digests);
        Require(chunkSize == 0 ? ranges?.Count == digestCount || digestCount == 0 : ranges is null);
        ChunkDigests? chunks = chunkSize == 0 ? null : new ChunkDigests(chunkSize, digests);
        Proof proof = Proof.TryRead(by, storedDocument.IsEmpty ? null : document, isFromVerified, chunks, ranges)
            ?? throw new InvalidDataException("nobody can vouch for the index in this way");
        return new LayerIndex
        {
            ContentsDigest = Digest.OfSha256(columns),
            Origin = origin,
            Proof = proof,
            Prefetch = prefetch,
            Digest = digest,
            DiffId = storedDiffId.IsEmpty ? null : diffId,
            CompressedSize = compressedSize,
            UncompressedSize = uncompressedSize,
            Format = format,
            Transcoding = storedTranscoding.IsEmpty ? null : new Descriptor("", transcoding, transcodedSize),
            Checkpoints = new CheckpointTable(uncompressedOffsets, compressedOffsets, bits, windowLengths, packedEnds, windows),
            Paths = decoded.Paths,
            Entries = decoded.Entries,
            LinkTargets = decoded.LinkTargets,
            XattrSets = decoded.XattrSets,
            SparseMaps = decoded.SparseMaps,
        };
    }

    internal static void Require(bool condition)
    {
        if (!condition)
        {
            throw new InvalidDataException(NotConsistent);
        }
    }
}
