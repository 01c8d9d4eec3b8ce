namespace LazyMount.Indexes.Model;

/// <summary>Who guarantees a <see cref="LayerIndex"/> and the bytes that are read by it; the weakest first. Values are stored in index files.</summary>
public enum Voucher : byte
{
    /// <summary>Only the server that gave the bytes: the layer's headers were visited one by one, or its footer was not announced.</summary>
    Source = 0,

    /// <summary>Everybody who may publish artifacts in the image's repository: the index was found among the manifest's referrers.</summary>
    Repository = 1,

    /// <summary>The digest of the manifest, or of the image index that led to it: one of them holds the digest of the index.</summary>
    Manifest = 2,

    /// <summary>The layer's own digest: all bytes of the layer passed here once and matched it.</summary>
    Layer = 3,
}
