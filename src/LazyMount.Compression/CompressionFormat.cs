namespace LazyMount.Compression;

/// <summary>How a layer's tar stream is compressed. Told by the bytes, never by the media type.</summary>
public enum CompressionFormat : byte
{
    /// <summary>A bare tar stream: compressed and uncompressed offsets are the same.</summary>
    None = 0,

    /// <summary>gzip (RFC 1952): one or more members, each a header, a DEFLATE stream and a trailer.</summary>
    Gzip = 1,

    /// <summary>zstd (RFC 8878): one or more frames, skippable ones among them.</summary>
    Zstd = 2,

    /// <summary>bzip2: one or more streams one after another.</summary>
    Bzip2 = 3,

    /// <summary>xz (the .xz file format 1.2): one or more streams with padding between them.</summary>
    Xz = 4,
}
