using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.IO.Hashing;
using System.Security.Cryptography;
using System.Text;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;
using LazyMount.Indexes.Model;

namespace LazyMount.Indexes.Format;

/// <summary>
/// A <see cref="LayerIndex"/> as one file that is read in place: the data of a <see cref="CheckedFile"/> in the cache, and as they are where an
/// index is published. Little-endian:
/// <code>
/// 8   magic "LMLAYER\n"
/// 4   version
/// 4   bytes of the numbers
/// 16  XXH128 of all that follows: where there is no CheckedFile around it, it finds accidents
/// 32  SHA-256 of the columns as they stand here
/// …   numbers: digests, sizes, format, counts and lengths of what follows
/// …   SHA-256 of chunks or of ranges, from a multiple of 32 on
/// 16  of each range: offset (8), length (8). Only where there are ranges
/// …   columns, one zstd frame: paths, entries, links, attributes, sparse maps
/// …   the <see cref="CheckpointTable"/>, from a multiple of 16 on
/// </code>
/// Columns hold one field of all entries in tar order, as differences to what is most likely, so most bytes are zero. All else is
/// of fixed size, so that what a read needs is found without reading the rest: opening a file reads its first block and
/// decodes no columns.
/// <para>Checksums find accidents; nothing is trusted all the same. Every count is bounded by the bytes that are there
/// before anything is allocated, every reference is checked: those of the columns when they are decoded, those of the tables when they
/// are used, and of an index that somebody else made all of them at once (<see cref="Decode"/>).</para>
/// </summary>
internal static class LayerIndexFile
{
    /// <summary>Raised with every change of the format or of what indexing finds: other versions are rebuilt.</summary>
    public const uint Version = 8;

    private const int HashStart = 16, ContentsStart = 32, NumbersStart = 64;
    private const int CompressionLevel = 3;

    // A frame cannot claim to be larger than this many times its bytes; columns that pack better are stored as they are.
    private const int MaxRatio = 4096;

    private const string NotConsistent = "the index is not consistent";

    /// <summary>
    /// Blocks of the tables of all layers of a process: 1 MiB. A reader that goes through a layer uses six at a time (checkpoints, windows and their
    /// offsets, digests, checksums), and there are no more readers than decoded spans, some two dozen.
    /// </summary>
    private static readonly CheckedFile.BlockCache s_blocks = new(256);

    private static ReadOnlySpan<byte> Magic => "LMLAYER\n"u8;

    /// <summary>Opens the index of a layer, and notes its use; null when there is none that can be used. The caller closes it.</summary>
    /// <param name="path">The file.</param>
    /// <param name="digest">The layer that it must be of.</param>
    /// <param name="budget">Counts what the head takes.</param>
    public static LayerHead? TryOpen(string path, Digest digest, IndexBudget budget)
    {
        return CheckedFile.TryOpen(path, s_blocks) is { } file ? TryOpen(file, digest, budget) : null;
    }

    /// <summary>The same of a file that is open; closes it when it is of no use.</summary>
    internal static LayerHead? TryOpen(CheckedFile file, Digest digest, IndexBudget budget)
    {
        try
        {
            if (ReadHead(file, digest, budget) is { } head)
            {
                return head;
            }
        }
        catch (Exception e) when (IsDamage(e))
        {
            budget.Dispose();
        }
        file.Dispose();
        return null;
    }

    /// <summary>The whole index of which the head is open, and which stays open; null when it is not sound, or damaged.</summary>
    /// <param name="head">What opening the file gave.</param>
    /// <param name="budget">Counts what the index takes besides the head.</param>
    public static LayerIndex? TryRead(LayerHead head, IndexBudget budget)
    {
        try
        {
            return ReadContents(head, budget);
        }
        catch (Exception e) when (IsDamage(e))
        {
            budget.Dispose();
            return null;
        }
    }

    /// <summary>Both of these.</summary>
    public static LayerIndex? TryLoad(string path, Digest digest, IndexBudget? budget = null)
    {
        budget ??= new IndexBudget(blobSize: long.MaxValue);
        if (TryOpen(path, digest, budget) is not { } head)
        {
            return null;
        }
        LayerIndex? index = TryRead(head, budget);
        if (index is null)
        {
            head.Close();
        }
        return index;
    }

    /// <summary>Reads and checks a whole file without trusting its content; null when it is not sound. Does not count as use.</summary>
    public static LayerIndex? TryVerify(string path, Digest digest)
    {
        using CheckedFile? file = CheckedFile.TryOpen(path, s_blocks, notesUse: false);
        try
        {
            byte[] data = new byte[Math.Min(file?.Length ?? 0, Array.MaxLength)];
            file?.Read(0, data);
            return TryDecode(data, digest);
        }
        catch (ImageException)
        {
            return null;
        }
    }

    /// <summary>Writes it into the cache.</summary>
    /// <returns>The index as it is read from there from now on, open; without <see cref="LayerHead.ContentsDigest"/> if it cannot be.</returns>
    /// <exception cref="IOException">No space, or no directory.</exception>
    /// <exception cref="UnauthorizedAccessException">No permission.</exception>
    public static LayerIndex Save(string path, LayerIndex index, BlobCache cache)
    {
        byte[] data = Encode(index);
        Digest written = cache.WriteChecked(path, writer => writer.Write(data));
        LayerHead? head = TryOpen(path, index.Digest, new IndexBudget(long.MaxValue));
        if (head?.Stored!.File.Digest == written)
        {
            index.Close();
            return index with { Checkpoints = head.Checkpoints, Proof = head.Proof, ContentsDigest = head.ContentsDigest, Stored = head.Stored };
        }
        head?.Close(); // another process was faster
        return index with { ContentsDigest = null };
    }

    /// <summary>True for the start of an index file that another version of the program wrote: of no use here, but not damaged.</summary>
    public static bool IsOfOtherVersion(ReadOnlySpan<byte> file)
        => file.Length >= HashStart && file.StartsWith(Magic) && BinaryPrimitives.ReadUInt32LittleEndian(file[Magic.Length..]) != Version;

    public static byte[] Encode(LayerIndex index)
    {
        byte[] columns = LayerIndexColumns.Encode(index);
        using var compressor = new ZstdSharp.Compressor(CompressionLevel);
        ReadOnlySpan<byte> packed = compressor.Wrap(columns);
        if (packed.Length >= columns.Length || packed.Length < columns.Length / MaxRatio)
        {
            packed = columns;
        }

        return Encode(index, columns.Length, packed);
    }

    /// <summary>The same with columns that are packed already, whatever they hold.</summary>
    internal static byte[] Encode(LayerHead index, int columnsLength, ReadOnlySpan<byte> packed)
    {
        CheckpointTable checkpoints = index.Checkpoints;
        RangeDigests? ranges = index.Proof.Ranges;
        ChunkDigests? digests = index.Proof.Chunks ?? ranges?.Digests;
        var numbers = new IndexWriter();
        Put(numbers, index.Digest);
        Put(numbers, index.DiffId);
        numbers.Unsigned((ulong)index.CompressedSize);
        numbers.Unsigned((ulong)index.UncompressedSize);
        numbers.Unsigned((ulong)index.Format);
        Put(numbers, index.Transcoding?.Digest);
        numbers.Unsigned((ulong)(index.Transcoding?.Size ?? 0));
        numbers.Unsigned((ulong)index.Origin);
        numbers.Unsigned((ulong)index.Proof.By);
        numbers.Unsigned(index.Proof.IsFromVerified ? 1u : 0);
        Put(numbers, index.Proof.Document);
        numbers.Unsigned((uint)index.Prefetch.Length);
        foreach (PrefetchRange range in index.Prefetch)
        {
            numbers.Unsigned((ulong)range.Offset);
            numbers.Unsigned((ulong)(range.End - range.Offset));
        }
        numbers.Unsigned((uint)(index.Proof.Chunks?.ChunkSize ?? 0));
        numbers.Unsigned(ranges is null ? 0u : ranges.OfCompressed ? 1u : 2);
        numbers.Unsigned((uint)(digests?.Count ?? 0));
        numbers.Unsigned((uint)columnsLength);
        numbers.Unsigned((uint)packed.Length);
        numbers.Unsigned((uint)checkpoints.Count);
        numbers.Unsigned((uint)checkpoints.SpanCount);
        numbers.Unsigned((uint)checkpoints.WindowBytes);

        var at = new Sections(numbers.Bytes.Length, digests?.Count ?? 0, ranges is not null, packed.Length);
        byte[] table = checkpoints.Encode(at.Checkpoints);
        var file = new byte[at.Checkpoints + table.Length];
        Magic.CopyTo(file);
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(Magic.Length), Version);
        BinaryPrimitives.WriteInt32LittleEndian(file.AsSpan(Magic.Length + 4), numbers.Bytes.Length);
        SHA256.HashData(packed, file.AsSpan(ContentsStart));
        numbers.Bytes.CopyTo(file.AsSpan(NumbersStart));
        digests?.ToArray().CopyTo(file, at.Digests);
        for (int i = 0; i < ranges?.Count; i++)
        {
            Span<byte> range = file.AsSpan((int)at.Ranges + i * RangeDigests.RangeSize);
            BinaryPrimitives.WriteInt64LittleEndian(range, ranges[i].Offset);
            BinaryPrimitives.WriteInt64LittleEndian(range[8..], ranges[i].Length);
        }
        packed.CopyTo(file.AsSpan((int)at.Columns));
        table.CopyTo(file, at.Checkpoints);
        XxHash128.Hash(file.AsSpan(ContentsStart), file.AsSpan(HashStart));
        return file;
    }

    /// <summary>Null for anything that is not a whole, sound file of this version for this digest.</summary>
    /// <param name="file">The file's bytes.</param>
    /// <param name="digest">The layer that it must be of.</param>
    /// <param name="budget">Counts what the index takes; null for the usual bounds.</param>
    public static LayerIndex? TryDecode(ReadOnlyMemory<byte> file, Digest digest, IndexBudget? budget = null)
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

    /// <summary>Decodes a file that others wrote into memory, without trusting its content. Null for a file of another version or another kind, or whose bytes are damaged.</summary>
    /// <param name="file">The file's bytes.</param>
    /// <param name="digest">The layer that it must be of.</param>
    /// <param name="budget">Counts what the index takes, before it is allocated.</param>
    /// <exception cref="InvalidDataException">The index is not sound, or takes more than is accepted; says which.</exception>
    public static LayerIndex? Decode(ReadOnlyMemory<byte> file, Digest digest, IndexBudget budget)
    {
        try
        {
            if (file.Length < NumbersStart || !XxHash128.Hash(file.Span[ContentsStart..]).AsSpan().SequenceEqual(file.Span[HashStart..ContentsStart])
                || ReadHead(new CheckedFile(file), digest, budget) is not { } head)
            {
                return null;
            }
            budget.Take((long)head.Checkpoints.Count * IndexBudget.Checkpoint + head.Checkpoints.WindowBytes);
            CheckpointTable checkpoints = head.Checkpoints.ToChecked(head.SpanFormat);
            Proof proof = ToChecked(head, budget);
            return ReadContents(head, budget) with { Checkpoints = checkpoints, Proof = proof, ContentsDigest = null, Stored = null };
        }
        catch (Exception e) when (IsDamage(e) && e is not InvalidDataException)
        {
            throw new InvalidDataException(NotConsistent, e);
        }
    }

    private static bool IsDamage(Exception e) => e is InvalidDataException or ZstdSharp.ZstdException or OverflowException or ImageException;

    /// <summary>Where things stand in a file.</summary>
    private readonly record struct Sections(int Numbers, int DigestCount, bool HasRanges, int Packed)
    {
        public long Digests => (NumbersStart + (long)Numbers + ChunkDigests.DigestSize - 1) & -ChunkDigests.DigestSize;

        public long Ranges => Digests + (long)DigestCount * ChunkDigests.DigestSize;

        public long Columns => Ranges + (HasRanges ? (long)DigestCount * RangeDigests.RangeSize : 0);

        public long Checkpoints => (Columns + Packed + CheckpointTable.Layout.Alignment - 1) & -CheckpointTable.Layout.Alignment;
    }

    private static LayerHead? ReadHead(CheckedFile file, Digest digest, IndexBudget budget)
    {
        Span<byte> start = stackalloc byte[NumbersStart];
        if (file.Length < NumbersStart)
        {
            return null;
        }
        file.Read(0, start);
        int numbersLength = BinaryPrimitives.ReadInt32LittleEndian(start[(Magic.Length + 4)..]);
        if (!start.StartsWith(Magic) || BinaryPrimitives.ReadUInt32LittleEndian(start[Magic.Length..]) != Version)
        {
            return null;
        }
        Require(numbersLength >= 0 && numbersLength <= file.Length - NumbersStart);
        budget.Take(numbersLength);
        var numbers = new byte[numbersLength];
        file.Read(NumbersStart, numbers);
        var reader = new IndexReader(numbers);

        Require(ReadDigest(ref reader) == digest);
        Digest? diffId = ReadDigest(ref reader);
        long compressedSize = reader.Bounded(long.MaxValue);
        long uncompressedSize = reader.Bounded(long.MaxValue);
        var format = (CompressionFormat)reader.Bounded((long)CompressionFormat.Xz);
        Digest? transcoded = ReadDigest(ref reader);
        long transcodedSize = reader.Bounded(long.MaxValue);
        Descriptor? transcoding = transcoded is { } own ? new Descriptor("", own, transcodedSize) : null;
        long spansSize = transcoding?.Size ?? compressedSize;
        var origin = (IndexOrigin)reader.Bounded((long)IndexOrigin.Soci);
        var by = (Voucher)reader.Bounded((long)Voucher.Layer);
        bool isFromVerified = reader.Bounded(1) == 1;
        Digest? document = ReadDigest(ref reader);
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
        long rangeKind = reader.Bounded(2);
        int digestCount = (int)reader.Bounded(Math.Min(file.Length / ChunkDigests.DigestSize, int.MaxValue));
        Require(chunkSize == 0 || digestCount == spansSize / chunkSize + (spansSize % chunkSize == 0 ? 0 : 1));
        Require(chunkSize == 0 ? rangeKind > 0 || digestCount == 0 : rangeKind == 0);
        int columnsLength = (int)reader.Bounded(Array.MaxLength);
        int packedLength = (int)reader.Bounded(file.Length);
        Require(packedLength <= columnsLength && columnsLength / MaxRatio <= packedLength);
        int checkpointCount = (int)reader.Bounded(Math.Min(file.Length / CheckpointTable.Layout.Alignment, int.MaxValue));
        int spanCount = (int)reader.Bounded(checkpointCount);
        int windowBytes = (int)reader.Bounded(Math.Min(file.Length, int.MaxValue));
        Require(reader.Remaining == 0 && spanCount > 0);

        var at = new Sections(numbersLength, digestCount, rangeKind > 0, packedLength);
        var table = new CheckpointTable.Layout(at.Checkpoints, checkpointCount, spanCount, windowBytes);
        Require(table.End == file.Length);
        budget.Take(table.FenceCount, sizeof(long));
        budget.Give(numbersLength);
        ChunkDigests? chunks = chunkSize == 0 ? null : new ChunkDigests(chunkSize, file, at.Digests, digestCount);
        RangeDigests? ranges = rangeKind == 0 ? null : new RangeDigests(rangeKind == 1, file, at.Ranges, new ChunkDigests(1, file, at.Digests, digestCount));
        Proof proof = Proof.TryRead(by, document, isFromVerified, chunks, ranges)
            ?? throw new InvalidDataException("the proof of the index is unknown");
        return new LayerHead
        {
            Origin = origin,
            Proof = proof,
            Prefetch = prefetch,
            Digest = digest,
            DiffId = diffId,
            CompressedSize = compressedSize,
            UncompressedSize = uncompressedSize,
            Format = format,
            Transcoding = transcoding,
            Checkpoints = new CheckpointTable(file, table, uncompressedSize, spansSize),
            ContentsDigest = Digest.FromSha256(start[ContentsStart..].ToArray()),
            Stored = new StoredContents(file, at.Columns, packedLength, columnsLength),
        };
    }

    private static LayerIndex ReadContents(LayerHead head, IndexBudget budget)
    {
        StoredContents stored = head.Stored!;
        bool isPacked = stored.PackedLength < stored.Length;
        budget.Take(stored.Length + (isPacked ? stored.PackedLength : 0L));
        byte[] packed = GC.AllocateUninitializedArray<byte>(stored.PackedLength), columns = packed;
        stored.File.Read(stored.Offset, packed);
        Require(Digest.OfSha256(packed) == head.ContentsDigest); // trees are told apart by it
        if (isPacked)
        {
            columns = GC.AllocateUninitializedArray<byte>(stored.Length);
            using var decompressor = new ZstdSharp.Decompressor();
            Require(decompressor.Unwrap(packed, columns) == columns.Length);
            budget.Give(packed.Length);
        }
        LayerIndexColumns decoded = LayerIndexColumns.Decode(columns, head.UncompressedSize, budget);
        budget.Give(columns.Length);
        return new LayerIndex(head)
        {
            Paths = decoded.Paths,
            Entries = decoded.Entries,
            LinkTargets = decoded.LinkTargets,
            XattrSets = decoded.XattrSets,
            SparseMaps = decoded.SparseMaps,
        };
    }

    // The same proof with its digests in memory.
    private static Proof ToChecked(LayerHead head, IndexBudget budget)
    {
        Proof proof = head.Proof;
        RangeDigests? ranges = proof.Ranges;
        if ((proof.Chunks ?? ranges?.Digests) is not { } stored)
        {
            return proof;
        }
        budget.Take(stored.Count, ranges is null ? ChunkDigests.DigestSize : IndexBudget.Range);
        byte[] digests = stored.ToArray();
        if (ranges is null)
        {
            return proof.With(new ChunkDigests(stored.ChunkSize, digests), null);
        }
        var offsets = new long[stored.Count];
        var lengths = new int[stored.Count];
        long size = ranges.OfCompressed ? head.Transcoding?.Size ?? head.CompressedSize : head.UncompressedSize;
        for (int i = 0; i < offsets.Length; i++)
        {
            (offsets[i], lengths[i]) = ranges[i];
            Require(offsets[i] <= size - lengths[i]);
        }
        return proof.With(null, new RangeDigests(ranges.OfCompressed, offsets, lengths, digests));
    }

    private static void Put(IndexWriter numbers, Digest? digest)
    {
        byte[] text = Encoding.ASCII.GetBytes(digest?.ToString() ?? "");
        numbers.Unsigned((uint)text.Length);
        numbers.Raw(text);
    }

    private static Digest? ReadDigest(ref IndexReader numbers)
    {
        ReadOnlySpan<byte> text = numbers.Raw(numbers.Count(1));
        Require(Digest.TryParse(Encoding.ASCII.GetString(text), out Digest digest) || text.IsEmpty);
        return text.IsEmpty ? null : digest;
    }

    internal static void Require([DoesNotReturnIf(false)] bool condition)
    {
        if (!condition)
        {
            throw new InvalidDataException(NotConsistent);
        }
    }
}
