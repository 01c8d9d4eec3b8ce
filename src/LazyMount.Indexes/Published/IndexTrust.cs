namespace LazyMount.Indexes.Published;

/// <summary>Whose word counts for what a layer holds, besides a pass over the whole blob, whose digest the manifest holds.</summary>
public enum IndexTrust
{
    /// <summary>That of who may write to the image's own repository: any index that lies in it, or in the layer, is used.</summary>
    Registry,

    /// <summary>Only the manifest's: of published indexes, and of tables of contents in layers, those whose digest it holds.</summary>
    Bound,

    /// <summary>As <see cref="Bound"/>, and no published index at all.</summary>
    None,
}
