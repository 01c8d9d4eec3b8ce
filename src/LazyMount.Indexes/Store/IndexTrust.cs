namespace LazyMount.Indexes.Store;

/// <summary>Whose word counts for what a layer holds, besides a pass over the whole layer, whose digest the manifest holds.</summary>
public enum IndexTrust
{
    /// <summary>
    /// The default. For a reference with a digest as <see cref="Bound"/>: the digest vouches for all that is shown. For a reference by
    /// tag as <see cref="Registry"/>, as long as all connections are verified: whoever answers could move the tag as well.
    /// </summary>
    Auto,

    /// <summary>Only the manifest's: of published indexes, and of tables of contents in layers, those whose digest it holds.</summary>
    Bound,

    /// <summary>Any index that lies in the image's own repository or in the layer is used, whoever answers and however the image is named.</summary>
    Registry,

    /// <summary>As <see cref="Bound"/>, and no published index at all.</summary>
    None,
}
