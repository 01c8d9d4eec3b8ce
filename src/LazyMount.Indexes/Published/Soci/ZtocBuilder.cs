using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using LazyMount.Blobs.Images;
using LazyMount.Compression;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;

namespace LazyMount.Indexes.Published.Soci;

/// <summary>
/// Makes the ztoc of a layer (<see cref="ZtocFormat"/>) in one more pass over its blob: their tools compare what a ztoc says of
/// a file with its tar header before they read it, so names are needed as the tar writes them, which a <see cref="LayerIndex"/>
/// does not keep. Checkpoints are some of the index's own: theirs may stand at any block of DEFLATE as well, and are looked up by
/// offset, not by the size of a span. Their windows are whole; ours keep only what is referred to, with zeros between.
/// </summary>
internal sealed class ZtocBuilder : IDisposable
{
    private const int PieceSize = 256 << 10;

    private readonly record struct Place(long FirstWholeByte, long UncompressedOffset, byte Bits, int Span);

    private readonly LayerIndex _index;
    private readonly int[] _checkpoints; // those of the index that are taken
    private readonly Decompressor _decompressor;
    private readonly TarScanner _scanner = new();
    private readonly MemoryStream _entries = new(); // in the form of AppendEntry
    private readonly List<Place> _places = [];
    private readonly List<byte[]> _digests = [];
    private readonly IncrementalHash _spanHash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private GzipHeader? _header;
    private long _position;
    private int _entryCount;

    private ZtocBuilder(LayerIndex index)
        => (_index, _checkpoints, _decompressor) = (index, [.. Choose(index.Checkpoints)], Decompressor.Start(index.Format));

    /// <summary>Why a layer can have no ztoc, or null. Reasons that only the tar shows come later.</summary>
    public static string? ReasonAgainst(LayerIndex index)
        => index.Format is not (CompressionFormat.Gzip or CompressionFormat.None) ? $"SOCI does not know its compression, {index.Format.ToString().ToLowerInvariant()}"
            : index.SparseMaps.Length > 0 ? "it has sparse files, and a ztoc cannot describe holes"
            : index.UncompressedSize == 0 ? "it is empty"
            : null;

    /// <summary>The ztoc, or why there is none.</summary>
    /// <param name="index">Built from the blob.</param>
    /// <param name="blob">Its bytes, from the first to the last; their digest is verified.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="ImageException">The blob is not the index's.</exception>
    public static async Task<(byte[]? Ztoc, string? Reason)> BuildAsync(LayerIndex index, Stream blob, CancellationToken cancellationToken)
    {
        using var builder = new ZtocBuilder(index);
        using IncrementalHash hash = index.Digest.StartHash();
        byte[] piece = new byte[PieceSize];
        string? reason = null;
        for (int read; (read = await blob.ReadAtLeastAsync(piece, piece.Length, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false)) > 0;)
        {
            hash.AppendData(piece, 0, read);
            builder.HashSpans(piece.AsSpan(0, read));
            reason ??= builder.Scan(piece.AsMemory(0, read));
        }
        if (!index.Digest.IsHash(hash.GetHashAndReset()))
        {
            throw new ImageException(ImageError.Verification, $"cannot use layer {index.Digest}: the bytes from its source have another digest; try again, or push the image again");
        }
        return reason is null ? (builder.Write(), null) : (null, reason);
    }

    public void Dispose()
    {
        _decompressor.Dispose();
        _entries.Dispose();
        _spanHash.Dispose();
    }

    // Bytes before the first place belong to no span; the byte in which a span begins belongs to the one before as well.
    private void HashSpans(ReadOnlySpan<byte> piece)
    {
        while (!piece.IsEmpty)
        {
            int next = _places.Count;
            if (_header is { } header)
            {
                int passed = 0;
                bool ended = header.TryPass(piece, ref passed);
                _header = header;
                Pass(ref piece, passed);
                if (ended)
                {
                    _header = null;
                    Begin(new Place(_position, PlaceOf(next).Uncompressed, 0, next));
                }
                continue;
            }
            (long start, byte bit, bool atMember, long uncompressed) = PlaceOf(next);
            if (_position < start)
            {
                Pass(ref piece, (int)Math.Min(piece.Length, start - _position));
            }
            else if (atMember)
            {
                _header = default(GzipHeader);
            }
            else if (bit == 0)
            {
                Begin(new Place(_position, uncompressed, 0, next));
            }
            else
            {
                ReadOnlySpan<byte> shared = piece[..1];
                Pass(ref piece, 1);
                Begin(new Place(_position, uncompressed, (byte)(8 - bit), next));
                _spanHash.AppendData(shared);
            }
        }
    }

    // Whole windows are too much for every checkpoint: those that are as far apart as their tool's.
    private static IEnumerable<int> Choose(CheckpointTable table)
    {
        for (int checkpoint = 0, last = -1; checkpoint < table.Count; checkpoint++)
        {
            if (last < 0 || table.UncompressedOffset(checkpoint) - table.UncompressedOffset(last) >= ZtocFormat.SpanSize)
            {
                yield return last = checkpoint;
            }
        }
    }

    private (long Start, byte Bit, bool AtMember, long Uncompressed) PlaceOf(int span)
    {
        if (_index.Format == CompressionFormat.None)
        {
            long tar = (long)span * ZtocFormat.SpanSize;
            return (tar < _index.CompressedSize ? tar : long.MaxValue, 0, false, tar);
        }
        if (span >= _checkpoints.Length)
        {
            return (long.MaxValue, 0, false, 0);
        }
        (CheckpointTable table, int at) = (_index.Checkpoints, _checkpoints[span]);
        return (table.CompressedOffset(at), table.Bit(at), table.AtMemberStart(at), table.UncompressedOffset(at));
    }

    private void Pass(ref ReadOnlySpan<byte> piece, int length)
    {
        if (_places.Count > 0)
        {
            _spanHash.AppendData(piece[..length]);
        }
        piece = piece[length..];
        _position += length;
    }

    private void Begin(Place place)
    {
        if (_places.Count > 0)
        {
            _digests.Add(_spanHash.GetHashAndReset());
        }
        _places.Add(place);
    }

    private string? Scan(ReadOnlyMemory<byte> piece)
    {
        _decompressor.Push(piece);
        while (_decompressor.TryRead(out ReadOnlySpan<byte> run))
        {
            while (_scanner.TryRead(ref run))
            {
                if (AddEntry(_scanner.Member) is { } reason)
                {
                    return reason;
                }
            }
        }
        return _scanner.HasGlobalHeader ? "it has a global PAX header, which SOCI's tools refuse" : null;
    }

    private string? AddEntry(TarMember member)
    {
        if (member.SkipReason is not null || member.SparseMap is not null)
        {
            return "it has an entry of a kind that SOCI does not know";
        }
        if (FormatTime(member.MtimeSeconds, member.MtimeNanoseconds) is not { } time)
        {
            return "it has a time that RFC 3339 cannot express";
        }
        _entryCount++;
        using var writer = new BinaryWriter(_entries, Encoding.UTF8, leaveOpen: true);
        Append(writer, member.Path);
        Append(writer, member.Link);
        Append(writer, Encoding.ASCII.GetBytes(time));
        writer.Write((byte)member.Type);
        writer.Write(member.DataOffset);
        writer.Write(member.Size);
        writer.Write((int)member.Mode);
        writer.Write((int)member.Uid);
        writer.Write((int)member.Gid);
        writer.Write((int)member.DeviceMajor);
        writer.Write((int)member.DeviceMinor);
        writer.Write(member.XattrCount);
        for (int i = 0; i < member.XattrCount; i++)
        {
            Append(writer, [.. "SCHILY.xattr."u8, .. member.XattrName(i)]);
            Append(writer, member.XattrValue(i));
        }
        return null;
    }

    private static void Append(BinaryWriter writer, ReadOnlySpan<byte> bytes)
    {
        writer.Write(bytes.Length);
        writer.Write(bytes);
    }

    private static string? FormatTime(long seconds, uint nanoseconds)
    {
        const long First = -62135596800, Last = 253402300799; // years 1 to 9999
        if (seconds is < First or > Last)
        {
            return null;
        }
        string time = DateTimeOffset.FromUnixTimeSeconds(seconds).ToString("yyyy-MM-dd'T'HH:mm:ss", CultureInfo.InvariantCulture);
        return time + (nanoseconds == 0 ? "" : "." + nanoseconds.ToString("D9", CultureInfo.InvariantCulture).TrimEnd('0')) + "Z";
    }

    private byte[] Write()
    {
        _digests.Add(_spanHash.GetHashAndReset());
        var writer = new FlatBufferWriter();
        int root = writer.Root(ZtocFormat.Ztoc.Shape);
        writer.Bytes8(root, ZtocFormat.Ztoc.Shape, ZtocFormat.Ztoc.Version, "0.9"u8);
        writer.Bytes8(root, ZtocFormat.Ztoc.Shape, ZtocFormat.Ztoc.BuildTool, Encoding.UTF8.GetBytes(SociIndex.BuildTool));
        writer.Int64(root, ZtocFormat.Ztoc.Shape, ZtocFormat.Ztoc.CompressedSize, _index.CompressedSize);
        writer.Int64(root, ZtocFormat.Ztoc.Shape, ZtocFormat.Ztoc.UncompressedSize, _index.UncompressedSize);
        WriteFiles(writer, writer.Table(root, ZtocFormat.Ztoc.Shape, ZtocFormat.Ztoc.Toc, ZtocFormat.Toc.Shape));
        WriteSpans(writer, writer.Table(root, ZtocFormat.Ztoc.Shape, ZtocFormat.Ztoc.CompressionInfo, ZtocFormat.CompressionInfo.Shape));
        return writer.Bytes.ToArray();
    }

    private void WriteFiles(FlatBufferWriter writer, int toc)
    {
        FlatBufferWriter.Shape shape = ZtocFormat.FileMetadata.Shape;
        int files = writer.Vector(toc, ZtocFormat.Toc.Shape, ZtocFormat.Toc.Metadata, _entryCount);
        _entries.Position = 0;
        using var reader = new BinaryReader(_entries, Encoding.UTF8, leaveOpen: true);
        for (int i = 0; i < _entryCount; i++)
        {
            int file = writer.Element(files, i, shape);
            writer.Bytes8(file, shape, ZtocFormat.FileMetadata.Name, Take(reader));
            writer.Bytes8(file, shape, ZtocFormat.FileMetadata.LinkName, Take(reader));
            writer.Bytes8(file, shape, ZtocFormat.FileMetadata.ModTime, Take(reader));
            writer.Bytes8(file, shape, ZtocFormat.FileMetadata.Type, NameOf((EntryType)reader.ReadByte()));
            writer.Int64(file, shape, ZtocFormat.FileMetadata.UncompressedOffset, reader.ReadInt64());
            writer.Int64(file, shape, ZtocFormat.FileMetadata.UncompressedSize, reader.ReadInt64());
            writer.Int64(file, shape, ZtocFormat.FileMetadata.Mode, reader.ReadInt32());
            writer.Int32(file, shape, ZtocFormat.FileMetadata.Uid, reader.ReadInt32());
            writer.Int32(file, shape, ZtocFormat.FileMetadata.Gid, reader.ReadInt32());
            writer.Int64(file, shape, ZtocFormat.FileMetadata.DeviceMajor, reader.ReadInt32());
            writer.Int64(file, shape, ZtocFormat.FileMetadata.DeviceMinor, reader.ReadInt32());
            writer.Bytes8(file, shape, ZtocFormat.FileMetadata.UserName, default); // nobody reads them
            writer.Bytes8(file, shape, ZtocFormat.FileMetadata.GroupName, default);
            int count = reader.ReadInt32();
            int records = writer.Vector(file, shape, ZtocFormat.FileMetadata.PaxRecords, count);
            for (int j = 0; j < count; j++)
            {
                int record = writer.Element(records, j, ZtocFormat.PaxRecord.Shape);
                writer.Bytes8(record, ZtocFormat.PaxRecord.Shape, ZtocFormat.PaxRecord.Key, Take(reader));
                writer.Bytes8(record, ZtocFormat.PaxRecord.Shape, ZtocFormat.PaxRecord.Value, Take(reader));
            }
        }

        static byte[] Take(BinaryReader reader) => reader.ReadBytes(reader.ReadInt32());
    }

    private static ReadOnlySpan<byte> NameOf(EntryType type) => type switch
    {
        EntryType.Directory => "dir"u8,
        EntryType.Symlink => "symlink"u8,
        EntryType.HardLink => "hardlink"u8,
        EntryType.CharacterDevice => "char"u8,
        EntryType.BlockDevice => "block"u8,
        EntryType.Fifo => "fifo"u8,
        _ => "reg"u8,
    };

    private void WriteSpans(FlatBufferWriter writer, int compression)
    {
        FlatBufferWriter.Shape shape = ZtocFormat.CompressionInfo.Shape;
        bool isGzip = _index.Format == CompressionFormat.Gzip;
        writer.Byte(compression, shape, ZtocFormat.CompressionInfo.Algorithm, isGzip ? ZtocFormat.Gzip : ZtocFormat.Uncompressed);
        writer.Int32(compression, shape, ZtocFormat.CompressionInfo.MaxSpanId, _places.Count - 1);
        int digests = writer.Vector(compression, shape, ZtocFormat.CompressionInfo.SpanDigests, _digests.Count);
        for (int i = 0; i < _digests.Count; i++)
        {
            writer.ElementText(digests, i, Encoding.ASCII.GetBytes($"sha256:{Convert.ToHexStringLower(_digests[i])}"));
        }
        writer.Bytes8(compression, shape, ZtocFormat.CompressionInfo.Checkpoints, isGzip ? GzipCheckpoints() : TarCheckpoints());
    }

    private byte[] GzipCheckpoints()
    {
        var bytes = new byte[ZtocFormat.CheckpointHeader + (long)_places.Count * ZtocFormat.CheckpointSize];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, _places.Count);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(4), ZtocFormat.SpanSize);
        Span<byte> rest = bytes.AsSpan(ZtocFormat.CheckpointHeader);
        foreach (Place place in _places)
        {
            BinaryPrimitives.WriteInt64LittleEndian(rest, place.FirstWholeByte);
            BinaryPrimitives.WriteInt64LittleEndian(rest[8..], place.UncompressedOffset);
            rest[16] = place.Bits;
            ReadOnlySpan<byte> window = _index.Checkpoints[_checkpoints[place.Span]].Window.Span;
            window.CopyTo(rest[(ZtocFormat.CheckpointSize - window.Length)..]);
            rest = rest[ZtocFormat.CheckpointSize..];
        }
        return bytes;
    }

    private byte[] TarCheckpoints()
    {
        var writer = new FlatBufferWriter();
        FlatBufferWriter.Shape shape = ZtocFormat.TarZinfo.Shape;
        int root = writer.Root(shape);
        writer.Int32(root, shape, ZtocFormat.TarZinfo.Version, ZtocFormat.TarZinfo.CurrentVersion);
        writer.Int64(root, shape, ZtocFormat.TarZinfo.SpanSize, ZtocFormat.SpanSize);
        writer.Int64(root, shape, ZtocFormat.TarZinfo.Size, _index.CompressedSize);
        return writer.Bytes.ToArray();
    }
}
