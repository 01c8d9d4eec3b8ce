using LazyMount.Compression;

namespace LazyMount.Layers;

/// <summary>The names of compressions in layers' media types.</summary>
public static class LayerFormats
{
    /// <summary>The name of a layer's compression, told by the layer's first bytes; null when the layer is not compressed.</summary>
    public static string? Detect(ReadOnlyMemory<byte> head) => Decompressor.Detect(head.Span).MediaTypeName();

    /// <summary>The name of a format at the end of a media type, such as "gzip"; null for a layer that is not compressed.</summary>
    internal static string? MediaTypeName(this CompressionFormat format) => format == CompressionFormat.None ? null : format.ToString().ToLowerInvariant();
}
