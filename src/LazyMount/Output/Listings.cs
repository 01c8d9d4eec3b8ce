using System.Text.Json.Serialization;
using LazyMount.Blobs.Oci;

namespace LazyMount.Output;

/// <summary>One line of `list --json`.</summary>
internal sealed record MountListing
{
    public required string MountPoint { get; init; }

    /// <summary>The exact bytes of a mount point whose name is not UTF-8; else left out.</summary>
    public byte[]? MountPointBase64 { get; init; }

    public required string Image { get; init; }

    /// <summary>
    /// "alive"; "busy" (unmounted, but in use); "restarting" (the process that serves it has died, and another is started); "stuck" (it does
    /// not answer); "failed" (the keeper has given up); or "dead" (nobody serves it).
    /// </summary>
    public required string State { get; init; }

    /// <summary>Why it is restarting or failed; else left out.</summary>
    public string? Trouble { get; init; }

    /// <summary>Which file system of the kernel shows it: "fuse" or "erofs".</summary>
    public required string Face { get; init; }

    // Null for a mount that has no record here: another user's, or another state directory's.
    public string? ManifestDigest { get; init; }
    public string? Proof { get; init; }
    public int? Layer { get; init; }

    /// <summary>"image-file" or "layers"; null for the tree.</summary>
    public string? View { get; init; }

    /// <summary>The keeper: a signal to it unmounts.</summary>
    public int? Pid { get; init; }

    /// <summary>The process that serves the mount.</summary>
    public int? Worker { get; init; }

    /// <summary>How many times another process has taken over.</summary>
    public int? Restarts { get; init; }

    /// <summary>False where the kernel cannot send requests again (before Linux 6.9).</summary>
    public bool? SurvivesCrashes { get; init; }

    public DateTimeOffset? Since { get; init; }
    public string? LogFile { get; init; }
    public string? CacheDirectory { get; init; }
}

/// <summary>One layer of `layers --json`, lowest first. Format, uncompressed size, entries and spans are null when no index is stored yet.</summary>
internal sealed record LayerListing
{
    public required int Layer { get; init; }
    public required string Digest { get; init; }
    public required string MediaType { get; init; }
    public required long CompressedSize { get; init; }
    public required bool Indexed { get; init; }
    public string? Index { get; init; }

    /// <summary>Who vouches for what the layer shows: "layer", "manifest", "repository" or "source"; null while it is not known.</summary>
    public string? Proof { get; init; }

    public long? IndexSize { get; init; }
    public string? Format { get; init; }
    public long? UncompressedSize { get; init; }
    public int? Entries { get; init; }
    public int? Spans { get; init; }

    /// <summary>When and by which command the layer was made; null when the image's config does not tell.</summary>
    public string? Created { get; init; }

    public string? CreatedBy { get; init; }

    /// <summary>The command on one line, for people.</summary>
    [JsonIgnore]
    public string? Command { get; init; }
}

/// <summary>One line of `history --json`, lowest layer first. Texts that the config leaves out are left out.</summary>
internal sealed record HistoryListing
{
    /// <summary>Left out, with the digest and the size, for a step that made no layer, or of which nothing tells which layer it made.</summary>
    public int? Layer { get; init; }

    public string? Digest { get; init; }
    public long? CompressedSize { get; init; }
    public string? Created { get; init; }
    public string? CreatedBy { get; init; }
    public string? Author { get; init; }
    public string? Comment { get; init; }

    /// <summary>The step made no layer.</summary>
    public required bool Empty { get; init; }

    /// <summary>The entry of the history, for people; null when the config does not tell.</summary>
    [JsonIgnore]
    public HistoryEntry? Entry { get; init; }
}

/// <summary>What `waste` has found. Sizes are of the files' uncompressed bytes.</summary>
internal sealed record WasteListing
{
    public required long Files { get; init; }
    public required long Size { get; init; }
    public required long WastedSize { get; init; }
    public required long ReplacedSize { get; init; }
    public required long DeletedSize { get; init; }
    public required long DuplicateSize { get; init; }

    /// <summary>The share of the bytes that is not wasted, from 0 to 1.</summary>
    public required double Efficiency { get; init; }

    public required IReadOnlyList<LayerWasteListing> Layers { get; init; }
    public required IReadOnlyList<PathWasteListing> Paths { get; init; }
}

/// <summary>One layer of a <see cref="WasteListing"/>, lowest first.</summary>
internal sealed record LayerWasteListing
{
    public required int Layer { get; init; }
    public required string Digest { get; init; }
    public required long Files { get; init; }
    public required long Size { get; init; }
    public required long WastedSize { get; init; }
    public required long ReplacedSize { get; init; }
    public required long DeletedSize { get; init; }
    public required long DuplicateSize { get; init; }
}

/// <summary>One path of a <see cref="WasteListing"/>, most waste first.</summary>
internal sealed record PathWasteListing
{
    public required string Path { get; init; }

    /// <summary>The exact bytes of a path that is not UTF-8; else left out.</summary>
    public byte[]? PathBase64 { get; init; }

    public required long Size { get; init; }
    public required IReadOnlyList<int> Layers { get; init; }

    /// <summary>"replaced", "deleted" or "duplicate", each once.</summary>
    public required IReadOnlyList<string> Reasons { get; init; }
}

/// <summary>One entry of `platforms --json`. Values that the image index leaves out are left out.</summary>
internal sealed record PlatformListing
{
    public string? Platform { get; init; }

    /// <summary>"image", "index", "attestation" or "artifact".</summary>
    public required string Kind { get; init; }

    public required string Digest { get; init; }

    /// <summary>Bytes of the manifest.</summary>
    public long? Size { get; init; }

    public required string MediaType { get; init; }
    public string? ArtifactType { get; init; }

    /// <summary>The digest of the manifest that an attestation or the indexes of layers are for.</summary>
    public string? Subject { get; init; }
}

/// <summary>One index of a layer, as `index build` and `index show` print it.</summary>
internal sealed record IndexListing
{
    public required int Layer { get; init; }
    public required string Digest { get; init; }
    public required long CompressedSize { get; init; }

    /// <summary>"local" or "published".</summary>
    public required string Where { get; init; }

    public required string Origin { get; init; }

    /// <summary>Who vouches for it: "layer", "manifest", "repository" or "source".</summary>
    public required string Proof { get; init; }

    public long? IndexSize { get; init; }

    /// <summary>Left out, with the spans, for a published one that turns out to be of no use.</summary>
    public int? Entries { get; init; }

    public int? Spans { get; init; }
}

/// <summary>The artifact that `index push` pushed for one image.</summary>
internal sealed record PushListing
{
    public required string Digest { get; init; }
    public required string ArtifactType { get; init; }

    /// <summary>Bytes of the artifact's manifest and of its blobs.</summary>
    public required long IndexSize { get; init; }

    /// <summary>Bytes of the image's layers.</summary>
    public required long CompressedSize { get; init; }

    public required IReadOnlyList<PushedLayerListing> Layers { get; init; }
}

/// <summary>One layer of a <see cref="PushListing"/>.</summary>
internal sealed record PushedLayerListing
{
    public required int Layer { get; init; }
    public required string Digest { get; init; }
    public required long CompressedSize { get; init; }

    /// <summary>Left out, with its size, for a layer that has no index.</summary>
    public string? IndexDigest { get; init; }

    public long? IndexSize { get; init; }

    /// <summary>Why the layer has no index.</summary>
    public string? Reason { get; init; }
}

/// <summary>What `index push --bind` pushed.</summary>
internal sealed record BoundListing
{
    /// <summary>The reference that is lazy and pinned: for a registry by digest.</summary>
    public required string Reference { get; init; }

    public required string Tag { get; init; }

    /// <summary>The digest of the image index that the tag names now.</summary>
    public required string Digest { get; init; }

    /// <summary>The digest that the image had before: of its image index or manifest.</summary>
    public required string SourceDigest { get; init; }

    public required IReadOnlyList<BoundImageListing> Images { get; init; }
}

/// <summary>One image of a <see cref="BoundListing"/>.</summary>
internal sealed record BoundImageListing
{
    /// <summary>Left out when neither the image index nor the image's config tells.</summary>
    public string? Platform { get; init; }

    /// <summary>The digest of the image's manifest.</summary>
    public required string Manifest { get; init; }

    /// <summary>The digest of the manifest in its place. Left out when the manifest stays.</summary>
    public string? NewManifest { get; init; }

    /// <summary>Left out when no layer of the image has an index to push.</summary>
    public PushListing? Index { get; init; }
}

/// <summary>What `cache info` tells.</summary>
internal sealed record CacheListing
{
    public required string Directory { get; init; }
    public required long Limit { get; init; }
    public required long Bytes { get; init; }
    public required int Files { get; init; }
    public required IReadOnlyList<CacheKindListing> Kinds { get; init; }
}

/// <summary>One kind of file in the cache.</summary>
internal sealed record CacheKindListing
{
    public required string Kind { get; init; }
    public required int Files { get; init; }
    public required long Bytes { get; init; }
}

/// <summary>What `cache prune` has deleted.</summary>
internal sealed record PruneListing
{
    public required int Files { get; init; }
    public required long Bytes { get; init; }
}

/// <summary>What `cache verify` has found.</summary>
internal sealed record VerifyListing
{
    public required int Files { get; init; }
    public required long Bytes { get; init; }
    public required IReadOnlyList<string> Damaged { get; init; }

    /// <summary>Files of chunks that are as they were written, but of which no index says what they should be.</summary>
    public required int Unverifiable { get; init; }
}

/// <summary>How the documents of `--json` are written. Properties that are null are left out.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    WriteIndented = true)]
[JsonSerializable(typeof(IReadOnlyList<MountListing>))]
[JsonSerializable(typeof(IReadOnlyList<LayerListing>))]
[JsonSerializable(typeof(IReadOnlyList<HistoryListing>))]
[JsonSerializable(typeof(WasteListing))]
[JsonSerializable(typeof(IReadOnlyList<IndexListing>))]
[JsonSerializable(typeof(IReadOnlyList<PlatformListing>))]
[JsonSerializable(typeof(PushListing))]
[JsonSerializable(typeof(BoundListing))]
[JsonSerializable(typeof(CacheListing))]
[JsonSerializable(typeof(PruneListing))]
[JsonSerializable(typeof(VerifyListing))]
internal sealed partial class ListingJson : JsonSerializerContext;
