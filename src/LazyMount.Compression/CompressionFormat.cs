namespace LazyMount.Compression;

/// <summary>How a layer's tar stream is compressed. Told by the bytes, never by the media type.</summary>
public enum CompressionFormat : byte
{
    /// <summary>A bare tar stream: compressed and uncompressed offsets are the same.</summary>
    None = 0,

    /// <summary>gzip (RFC 1952): one or more members, each a header, a DEFLATE stream and a trailer.</summary>
    Gzip = 1,
}
