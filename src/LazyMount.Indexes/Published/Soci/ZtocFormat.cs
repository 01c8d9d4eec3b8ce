namespace LazyMount.Indexes.Published.Soci;

/// <summary>
/// The ztoc of awslabs/soci-snapshotter, version 0.9: field numbers of its FlatBuffers schema (ztoc/fbs/ztoc.fbs,
/// ztoc/compression/fbs/zinfo.fbs), and the form of its gzip checkpoints (ztoc/compression/gzip_zinfo.c): little-endian, packed,
/// a count (4 bytes) and the span size (8), then of each checkpoint the offset of its first whole compressed byte (8), its
/// uncompressed offset (8), how many bits of the byte before belong to it (1) and 32 KiB of window. Version 1 leaves out the
/// first checkpoint, which it takes to be at byte 10.
/// </summary>
internal static class ZtocFormat
{
    public const byte Gzip = 1, Uncompressed = 2; // CompressionAlgorithm

    public const int CheckpointHeader = 12, Window = 32 << 10, CheckpointSize = 17 + Window;

    /// <summary>The first block of a version 1 ztoc: behind a gzip header without options.</summary>
    public const int PlainGzipHeader = 10;

    /// <summary>What their tool spaces checkpoints by: at least so many uncompressed bytes.</summary>
    public const int SpanSize = 4 << 20;

    public static class Ztoc
    {
        public const int Version = 0, BuildTool = 1, CompressedSize = 2, UncompressedSize = 3, Toc = 4, CompressionInfo = 5;
        public static readonly FlatBufferWriter.Shape Shape = new(4, 4, 8, 8, 4, 4);
    }

    public static class Toc
    {
        public const int Metadata = 0;
        public static readonly FlatBufferWriter.Shape Shape = new(4);
    }

    public static class FileMetadata
    {
        public const int Name = 0, Type = 1, UncompressedOffset = 2, UncompressedSize = 3, LinkName = 4, Mode = 5, Uid = 6, Gid = 7,
            UserName = 8, GroupName = 9, ModTime = 10, DeviceMajor = 11, DeviceMinor = 12, PaxRecords = 13;
        public static readonly FlatBufferWriter.Shape Shape = new(4, 4, 8, 8, 4, 8, 4, 4, 4, 4, 4, 8, 8, 4);
    }

    /// <summary>Called Xattr there; it is any PAX record.</summary>
    public static class PaxRecord
    {
        public const int Key = 0, Value = 1;
        public static readonly FlatBufferWriter.Shape Shape = new(4, 4);
    }

    public static class CompressionInfo
    {
        public const int Algorithm = 0, MaxSpanId = 1, SpanDigests = 2, Checkpoints = 3;
        public static readonly FlatBufferWriter.Shape Shape = new(1, 4, 4, 4);
    }

    /// <summary>The "checkpoints" of an uncompressed layer.</summary>
    public static class TarZinfo
    {
        public const int Version = 0, SpanSize = 1, Size = 2;
        public const int CurrentVersion = 2;
        public static readonly FlatBufferWriter.Shape Shape = new(4, 8, 8);
    }
}
