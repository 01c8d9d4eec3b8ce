namespace LazyMount.Indexes.Model;

/// <summary>Where a <see cref="LayerIndex"/> comes from. Values are stored in index files.</summary>
public enum IndexOrigin : byte
{
    /// <summary>One pass over the whole blob, whose digest it verified.</summary>
    Built = 0,

    /// <summary>The layer's own table of contents, as eStargz has it.</summary>
    Estargz = 1,

    /// <summary>The layer's own manifest, as zstd:chunked has it.</summary>
    ZstdChunked = 2,

    /// <summary>The headers of an uncompressed tar, or of one in seekable frames, visited one by one.</summary>
    TarHeaders = 3,

    /// <summary>An index in this program's format that was published beside the image.</summary>
    Published = 4,

    /// <summary>A ztoc that was published beside the image.</summary>
    Soci = 5,
}
