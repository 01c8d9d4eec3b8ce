using System.Buffers.Binary;
using System.Text;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;

namespace LazyMount.Indexes.Published.Soci;

/// <summary>
/// Makes a <see cref="LayerIndex"/> of a ztoc (<see cref="ZtocFormat"/>). Their spans become ours, each vouched for by the
/// SHA-256 of its compressed bytes. The gzip header before the first span, for which nobody vouches, belongs to an empty span
/// and is never looked at.
/// <para>What a ztoc does not tell, or not surely: the holes of sparse files, and times that RFC 3339 cannot write. One that
/// comes upon either is refused whole, as is all else that is not right: the layer is then read without it.</para>
/// </summary>
internal static class ZtocReader
{
    private const int MaxSpan = CheckpointTable.LongestSpan;
    private const int SmallestSpan = 4 << 10;

    /// <summary>Whether a ztoc only holds if the layer's gzip header has no options; see <see cref="ZtocFormat"/>.</summary>
    public readonly record struct Result(LayerIndex Index, bool AssumesPlainHeader);

    /// <param name="ztoc">The ztoc.</param>
    /// <param name="layer">The layer that it must be of.</param>
    /// <param name="budget">Counts what the index takes.</param>
    /// <exception cref="InvalidDataException">It is not a sound ztoc of this layer; says why.</exception>
    public static Result Read(ReadOnlySpan<byte> ztoc, Descriptor layer, IndexBudget budget)
    {
        FlatTable root = FlatTable.Root(ztoc);
        Require(root.Int64(ZtocFormat.Ztoc.CompressedSize) == layer.Size, "it is of a layer of another size");
        Require(root.TryTable(ZtocFormat.Ztoc.CompressionInfo, out FlatTable compression), "it has no spans");
        Require(root.TryTable(ZtocFormat.Ztoc.Toc, out FlatTable toc), "it has no files");
        byte algorithm = compression.Byte(ZtocFormat.CompressionInfo.Algorithm, absent: ZtocFormat.Gzip);
        Require(algorithm is ZtocFormat.Gzip or ZtocFormat.Uncompressed, "it has an unknown compression");

        bool plain = false;
        long uncompressedSize = root.Int64(ZtocFormat.Ztoc.UncompressedSize);
        Require(uncompressedSize >= 0, "its uncompressed size is negative");
        ReadOnlySpan<byte> zinfo = compression.Bytes(ZtocFormat.CompressionInfo.Checkpoints);
        using var checkpoints = new CheckpointTableBuilder(budget);
        List<long> starts = algorithm == ZtocFormat.Gzip
            ? AddGzip(zinfo, layer.Size, checkpoints, ref uncompressedSize, out plain)
            : AddUncompressed(zinfo, layer.Size, compression.Vector(ZtocFormat.CompressionInfo.SpanDigests).Count, checkpoints, ref uncompressedSize);
        CheckpointTable table = BuildTable(checkpoints, uncompressedSize, layer.Size);
        RangeDigests ranges = ReadDigests(compression, starts, table, budget);
        LayerEntriesBuilder entries = ReadEntries(toc, ztoc.Length, uncompressedSize, budget);
        return new Result(new LayerIndex
        {
            Digest = layer.Digest,
            CompressedSize = layer.Size,
            UncompressedSize = uncompressedSize,
            Format = algorithm == ZtocFormat.Gzip ? CompressionFormat.Gzip : CompressionFormat.None,
            Origin = IndexOrigin.Soci,
            Proof = Proof.OfParser(ranges),
            Checkpoints = table,
            Paths = entries.BuildPaths(),
            Entries = entries.BuildEntries(),
            LinkTargets = entries.BuildLinkTargets(),
            XattrSets = entries.BuildXattrSets(),
        }, plain);
    }

    /// <summary>Returns where the bytes begin that each span's digest is of.</summary>
    private static List<long> AddGzip(ReadOnlySpan<byte> zinfo, long compressedSize, CheckpointTableBuilder checkpoints, ref long uncompressedSize, out bool isVersion1)
    {
        Require(zinfo.Length >= ZtocFormat.CheckpointHeader, "its checkpoints are cut off");
        int count = BinaryPrimitives.ReadInt32LittleEndian(zinfo);
        zinfo = zinfo[ZtocFormat.CheckpointHeader..];
        long missing = (long)count * ZtocFormat.CheckpointSize - zinfo.Length;
        isVersion1 = missing == ZtocFormat.CheckpointSize;
        Require(count > 0 && (missing == 0 || isVersion1), "its checkpoints are cut off");

        checkpoints.Add(new Checkpoint(0, 0, 0, AtMemberStart: true, default)); // the header: nothing comes out of it
        var starts = new List<long>(count);
        long lastCompressed = 0, lastUncompressed = 0;
        for (int i = 0; i < count; i++)
        {
            (long compressed, long uncompressed, int bits) = (ZtocFormat.PlainGzipHeader, 0L, 0);
            ReadOnlySpan<byte> window = default;
            if (i > 0 || !isVersion1)
            {
                compressed = BinaryPrimitives.ReadInt64LittleEndian(zinfo);
                uncompressed = BinaryPrimitives.ReadInt64LittleEndian(zinfo[8..]);
                bits = zinfo[16];
                window = zinfo.Slice(17, ZtocFormat.Window);
                zinfo = zinfo[ZtocFormat.CheckpointSize..];
            }
            Require(compressed > lastCompressed && compressed < compressedSize && bits <= 7 && (i == 0 ? uncompressed == 0 : uncompressed > lastUncompressed), "its checkpoints are not in order");
            Require(compressed - lastCompressed <= MaxSpan && uncompressed - lastUncompressed <= MaxSpan, "it has a span of more than 64 MiB");
            (lastCompressed, lastUncompressed) = (compressed, uncompressed);
            window = window[^(int)Math.Min(window.Length, uncompressed)..]; // nothing stands before the first byte
            long start = compressed - (bits == 0 ? 0 : 1);
            checkpoints.Add(new Checkpoint(start, (byte)(-bits & 7), uncompressed, AtMemberStart: false, window.ToArray()));
            starts.Add(start);
        }
        // Theirs is how far their reader of tars had come; what pads the archive may lie behind it.
        uncompressedSize = Math.Max(uncompressedSize, lastUncompressed);
        Require(compressedSize - lastCompressed <= MaxSpan && uncompressedSize - lastUncompressed <= MaxSpan, "it has a span of more than 64 MiB");
        return starts;
    }

    private static List<long> AddUncompressed(ReadOnlySpan<byte> zinfo, long size, int spanCount, CheckpointTableBuilder checkpoints, ref long uncompressedSize)
    {
        FlatTable spans = FlatTable.Root(zinfo);
        long spanSize = spans.Int64(ZtocFormat.TarZinfo.SpanSize);
        Require(spanSize is >= SmallestSpan and <= MaxSpan && spans.Int64(ZtocFormat.TarZinfo.Size) == size && uncompressedSize <= size, "its spans are not those of this layer");
        Require(size > 0, "it is of an empty layer");
        Require((size - 1) / spanSize == spanCount - 1, "it does not have one digest for each span"); // nor, so, more spans than it has bytes
        uncompressedSize = size;
        var starts = new List<long>(spanCount);
        for (long at = 0; at < size; at += spanSize)
        {
            checkpoints.Add(new Checkpoint(at, 0, at, AtMemberStart: true, default));
            starts.Add(at);
        }
        return starts;
    }

    // A span's digest is of its bytes from the one in which it begins to the last one that the next span does not have whole.
    private static RangeDigests ReadDigests(FlatTable compression, List<long> starts, CheckpointTable table, IndexBudget budget)
    {
        FlatTable.FlatVector stored = compression.Vector(ZtocFormat.CompressionInfo.SpanDigests);
        Require(stored.Count == starts.Count && compression.Int32(ZtocFormat.CompressionInfo.MaxSpanId) == starts.Count - 1, "it does not have one digest for each span");
        budget.Take(starts.Count, IndexBudget.Range);
        var lengths = new int[starts.Count];
        var digests = new byte[starts.Count * ChunkDigests.DigestSize];
        for (int i = 0; i < lengths.Length; i++)
        {
            Require(Digest.TryParse(Encoding.UTF8.GetString(stored.Text(i)[..Math.Min(stored.Text(i).Length, 80)]), out Digest digest) && digest.Algorithm == "sha256", "a span's digest is not SHA-256");
            int span = table.Count - starts.Count + i; // the span of a gzip header has no digest
            lengths[i] = (int)(table.CompressedEnd(span) - starts[i]);
            Convert.FromHexString(digest.Hex).CopyTo(digests.AsSpan(i * ChunkDigests.DigestSize));
        }
        return new RangeDigests(ofCompressed: true, [.. starts], lengths, digests);
    }

    private static CheckpointTable BuildTable(CheckpointTableBuilder checkpoints, long uncompressedSize, long size)
    {
        try
        {
            return checkpoints.Build(uncompressedSize, size);
        }
        catch (NotSupportedException e)
        {
            throw new InvalidDataException(e.Message, e);
        }
    }

    private static LayerEntriesBuilder ReadEntries(FlatTable toc, int size, long uncompressedSize, IndexBudget budget)
    {
        FlatTable.FlatVector files = toc.Vector(ZtocFormat.Toc.Metadata);
        Require(files.Count <= budget.Limits.Entries, "it has too many entries");
        var entries = new LayerEntriesBuilder(budget);
        var member = new TarMember();
        // Parts may be shared, so that a small file could have us read the same megabyte for ever.
        long work = 4L * size + (64 << 20);
        long last = 0;
        for (int i = 0; i < files.Count; i++)
        {
            member.Clear();
            work -= ReadEntry(files.Table(i), member);
            Require(work > 0, "its entries share too much data");
            // Of two entries at one path the later in the tar counts.
            Require(member.DataOffset >= last && member.DataOffset <= uncompressedSize - member.Size, "its entries are not in the order of the tar, or are outside it");
            last = member.DataOffset;
            entries.Add(member);
        }
        return entries;
    }

    /// <summary>Returns how many bytes it has looked at.</summary>
    private static long ReadEntry(FlatTable file, TarMember member)
    {
        ReadOnlySpan<byte> name = file.Bytes(ZtocFormat.FileMetadata.Name), link = file.Bytes(ZtocFormat.FileMetadata.LinkName);
        member.PathBuffer.Set(name);
        member.LinkBuffer.Set(link);
        member.Type = TypeOf(file.Bytes(ZtocFormat.FileMetadata.Type));
        member.Mode = TarMember.ModeOf(file.Int64(ZtocFormat.FileMetadata.Mode));
        member.Uid = TarMember.IdOf(file.UInt32(ZtocFormat.FileMetadata.Uid)) ?? 0;
        member.Gid = TarMember.IdOf(file.UInt32(ZtocFormat.FileMetadata.Gid)) ?? 0;
        long size = file.Int64(ZtocFormat.FileMetadata.UncompressedSize);
        member.DataOffset = file.Int64(ZtocFormat.FileMetadata.UncompressedOffset);
        Require(size >= 0 && member.DataOffset >= 0, "an entry has an impossible size or offset");
        member.Size = member.Type == EntryType.File ? size : 0;
        if (member.Type is EntryType.CharacterDevice or EntryType.BlockDevice)
        {
            member.DeviceMajor = TarMember.DeviceMajorOf(file.Int64(ZtocFormat.FileMetadata.DeviceMajor));
            member.DeviceMinor = TarMember.DeviceMinorOf(file.Int64(ZtocFormat.FileMetadata.DeviceMinor));
        }

        FlatTable.FlatVector records = file.Vector(ZtocFormat.FileMetadata.PaxRecords);
        long looked = 64 + name.Length + link.Length + 64L * records.Count;
        ReadOnlySpan<byte> mtime = default;
        for (int i = 0; i < records.Count; i++)
        {
            FlatTable record = records.Table(i);
            ReadOnlySpan<byte> key = record.Bytes(ZtocFormat.PaxRecord.Key), value = record.Bytes(ZtocFormat.PaxRecord.Value);
            looked += key.Length + value.Length;
            Require(!key.StartsWith("GNU.sparse."u8), "it has a sparse file, and a ztoc cannot describe holes");
            if (key.StartsWith("SCHILY.xattr."u8))
            {
                member.AddXattr(key["SCHILY.xattr.".Length..], value);
            }
            else if (key.SequenceEqual("mtime"u8))
            {
                mtime = value;
            }
        }
        (member.MtimeSeconds, member.MtimeNanoseconds) = mtime.IsEmpty ? ParseTime(file.Bytes(ZtocFormat.FileMetadata.ModTime)) : PaxAttributes.ParseTime(mtime);
        return looked;
    }

    private static EntryType TypeOf(ReadOnlySpan<byte> type)
        => type.SequenceEqual("reg"u8) ? EntryType.File
            : type.SequenceEqual("dir"u8) ? EntryType.Directory
            : type.SequenceEqual("symlink"u8) ? EntryType.Symlink
            : type.SequenceEqual("hardlink"u8) ? EntryType.HardLink
            : type.SequenceEqual("char"u8) ? EntryType.CharacterDevice
            : type.SequenceEqual("block"u8) ? EntryType.BlockDevice
            : type.SequenceEqual("fifo"u8) ? EntryType.Fifo
            : throw new InvalidDataException("it has an entry of an unknown type");

    /// <summary>A time as Go writes it.</summary>
    internal static (long Seconds, uint Nanoseconds) ParseTime(ReadOnlySpan<byte> text)
        => Rfc3339.TryParse(text) ?? throw new InvalidDataException("an entry has a malformed time");

    private static void Require([System.Diagnostics.CodeAnalysis.DoesNotReturnIf(false)] bool condition, string otherwise)
    {
        if (!condition)
        {
            throw new InvalidDataException(otherwise);
        }
    }
}
