namespace LazyMount.Indexes.Store;

/// <summary>Whose indexes of layers are trusted, besides those that were built from the whole layer and its digest.</summary>
public enum IndexTrust
{
    /// <summary>
    /// The default. For a reference with a digest as <see cref="Bound"/>: the digest vouches for all that is shown. For a reference by
    /// tag as <see cref="Registry"/>, as long as all connections are verified: whoever answers could move the tag as well.
    /// </summary>
    Auto,

    /// <summary>Only published indexes, and tables of contents in layers, whose digest is in the manifest.</summary>
    Bound,

    /// <summary>Any index in the image's own repository or in the layer, over any connection and for any reference.</summary>
    Registry,

    /// <summary>As <see cref="Bound"/>, and no published index at all.</summary>
    None,
}
