using System.Text.Json.Serialization;
using LazyMount.Blobs.Oci;

namespace LazyMount.Output;

/// <summary>One mount of `list --json`. What only the record of a mount tells is left out for mounts of other users and of other state directories.</summary>
internal sealed record MountListing
{
    /// <summary>Directory that shows the image.</summary>
    public required string MountPoint { get; init; }

    /// <summary>The exact bytes of `mountPoint` in base64. Only if they are not UTF-8.</summary>
    public byte[]? MountPointBase64 { get; init; }

    /// <summary>Reference of the mounted image.</summary>
    public required string Image { get; init; }

    /// <summary>
    /// `alive`; `busy` (unmounted, but in use); `restarting` (the process that serves it has died, and another is started); `stuck` (it does
    /// not answer); `failed` (the keeper has given up); or `dead` (nobody serves it).
    /// </summary>
    public required string State { get; init; }

    /// <summary>Why the mount is `restarting` or `failed`.</summary>
    public string? Trouble { get; init; }

    /// <summary>File system of the kernel that shows the image: `fuse` or `erofs`.</summary>
    public required string Face { get; init; }

    /// <summary>Digest of an image's manifest, or of another manifest that an image index names.</summary>
    public string? ManifestDigest { get; init; }

    /// <inheritdoc cref="LayerListing.Proof"/>
    public string? Proof { get; init; }

    /// <inheritdoc cref="LayerListing.Layer"/>
    public int? Layer { get; init; }

    /// <summary>Number of the topmost layer that is merged. Only for a mount with `--layers`.</summary>
    public int? TopLayer { get; init; }

    /// <summary>`image-file` or `layers`. Not for a mount that shows the files.</summary>
    public string? View { get; init; }

    /// <summary>Number of the process that stands for the mount, its keeper: a signal to it unmounts.</summary>
    public int? Pid { get; init; }

    /// <summary>Number of the process that serves the mount.</summary>
    public int? Worker { get; init; }

    /// <summary>How many times another process has taken over the mount.</summary>
    public int? Restarts { get; init; }

    /// <summary>Whether another process takes over when the one that serves dies: false before Linux 6.9.</summary>
    public bool? SurvivesCrashes { get; init; }

    /// <summary>Time at which the mount began.</summary>
    public DateTime? Since { get; init; }

    /// <summary>Bytes that were fetched from registries for the mount.</summary>
    public long? FetchedBytes { get; init; }

    /// <summary>Bytes of layers that were decoded for reads of the mount.</summary>
    public long? DecodedBytes { get; init; }

    /// <summary>Bytes of files that were given to the kernel: what it has in its own cache is not asked for again.</summary>
    public long? ServedBytes { get; init; }

    /// <summary>Share of the bytes of the image's layers that is in the cache, from 0 to 1. Only for images from registries.</summary>
    public double? CachedShare { get; init; }

    /// <summary>The last failure of a read or another access. Only if there was one.</summary>
    public ErrorListing? LastError { get; init; }

    /// <summary>Where the counters of the mount are served: `ADDRESS:PORT` or `unix:PATH`. Only with `--metrics`.</summary>
    public string? Metrics { get; init; }

    /// <summary>File with the log of the mount.</summary>
    public string? LogFile { get; init; }

    /// <inheritdoc cref="CacheListing.CacheDirectory"/>
    public string? CacheDirectory { get; init; }
}

/// <summary>A failure of a mount in a <see cref="MountListing"/>.</summary>
internal sealed record ErrorListing
{
    /// <summary>Time of the failure.</summary>
    public required DateTime Time { get; init; }

    /// <inheritdoc cref="EntryListing.Path"/>
    public required string Path { get; init; }

    /// <summary>Why it failed, as the log says.</summary>
    public required string Message { get; init; }
}

/// <summary>One layer of `layers --json`, lowest first. Format, uncompressed size, entries and spans are left out when no index is stored yet.</summary>
internal sealed record LayerListing
{
    /// <summary>Number of the layer, 0 is the lowest: of an entry, the layer that has it (not for directories that no layer lists); of a mount, the only layer that it shows.</summary>
    public required int Layer { get; init; }

    /// <summary>Digest of the layer.</summary>
    public required string LayerDigest { get; init; }

    /// <summary>Media type of the layer or manifest.</summary>
    public required string MediaType { get; init; }

    /// <summary>Bytes of the layer as it is stored; in `index push` also of all layers.</summary>
    public required long CompressedSize { get; init; }

    /// <summary>An index of the layer is in the local store.</summary>
    public required bool Indexed { get; init; }

    /// <summary>Where the index of the layer comes from: `built`, `estargz`, `zstd:chunked`, `tar-headers`, `published` or `soci`. Not for a layer that has none.</summary>
    public string? Origin { get; init; }

    /// <summary>Who vouches for what the layer shows: `layer`, `manifest`, `repository` or `source`. Of a mount, that of the layer that is vouched for least. Not while it is not known.</summary>
    public string? Proof { get; init; }

    /// <summary>Bytes of the index; of an artifact, of its manifest and all its indexes.</summary>
    public long? IndexSize { get; init; }

    /// <summary>Compression of the layer. Only if an index is in the local store.</summary>
    public string? Format { get; init; }

    /// <summary>Bytes of the layer's tar. Only if an index is in the local store.</summary>
    public long? UncompressedSize { get; init; }

    /// <summary>Entries of the layer. Only if its index was read.</summary>
    public int? Entries { get; init; }

    /// <summary>Places in the layer at which decoding can begin. Only if its index was read.</summary>
    public int? Spans { get; init; }

    /// <summary>Time at which the layer, or the step of the history, was made. Only if the config of the image tells.</summary>
    public string? Created { get; init; }

    /// <summary>Command of the step that made the layer. Only if the config of the image tells.</summary>
    public string? CreatedBy { get; init; }

    /// <summary>The command on one line, for people.</summary>
    [JsonIgnore]
    public string? Command { get; init; }
}

/// <summary>One step of `history --json`, lowest layer first. Texts that the config leaves out are left out.</summary>
internal sealed record HistoryListing
{
    /// <inheritdoc cref="LayerListing.Layer"/>
    public int? Layer { get; init; }

    /// <inheritdoc cref="LayerListing.LayerDigest"/>
    public string? LayerDigest { get; init; }

    /// <inheritdoc cref="LayerListing.CompressedSize"/>
    public long? CompressedSize { get; init; }

    /// <inheritdoc cref="LayerListing.Created"/>
    public string? Created { get; init; }

    /// <inheritdoc cref="LayerListing.CreatedBy"/>
    public string? CreatedBy { get; init; }

    /// <summary>Author of the step. Only if the config of the image tells.</summary>
    public string? Author { get; init; }

    /// <summary>Comment on the step. Only if the config of the image has one.</summary>
    public string? Comment { get; init; }

    /// <summary>The step made no layer.</summary>
    public required bool Empty { get; init; }

    /// <summary>The entry of the history, for people; null when the config does not tell.</summary>
    [JsonIgnore]
    public HistoryEntry? Entry { get; init; }
}

/// <summary>What both an image and a layer have in a <see cref="WasteListing"/>.</summary>
internal abstract record WasteSumsListing
{
    /// <summary>Number of files.</summary>
    public required long Files { get; init; }

    /// <summary>Content bytes of files, without holes.</summary>
    public required long StoredSize { get; init; }

    /// <summary>Content bytes of files that no one can see, without holes.</summary>
    public required long WastedSize { get; init; }

    /// <summary>Part of `wastedSize`: of files at whose paths something else stands.</summary>
    public required long ReplacedSize { get; init; }

    /// <summary>Part of `wastedSize`: of files that a higher layer deleted.</summary>
    public required long DeletedSize { get; init; }

    /// <summary>Part of `wastedSize`: of files whose content a lower layer has in a visible file.</summary>
    public required long DuplicateSize { get; init; }
}

/// <summary>The document of `waste --json`.</summary>
internal sealed record WasteListing : WasteSumsListing
{
    /// <summary>Share of the bytes that is not wasted, from 0 to 1.</summary>
    [JsonPropertyOrder(1)]
    public required double Efficiency { get; init; }

    /// <summary>The layers, lowest first.</summary>
    [JsonPropertyOrder(1)]
    public required IReadOnlyList<LayerWasteListing> Layers { get; init; }

    /// <summary>The paths with the most waste.</summary>
    [JsonPropertyOrder(1)]
    public required IReadOnlyList<PathWasteListing> Paths { get; init; }
}

/// <summary>One layer of a <see cref="WasteListing"/>.</summary>
internal sealed record LayerWasteListing : WasteSumsListing
{
    /// <inheritdoc cref="LayerListing.Layer"/>
    public required int Layer { get; init; }

    /// <inheritdoc cref="LayerListing.LayerDigest"/>
    public required string LayerDigest { get; init; }
}

/// <summary>One path of a <see cref="WasteListing"/>.</summary>
internal sealed record PathWasteListing
{
    /// <inheritdoc cref="EntryListing.Path"/>
    public required string Path { get; init; }

    /// <inheritdoc cref="EntryListing.PathBase64"/>
    public byte[]? PathBase64 { get; init; }

    /// <inheritdoc cref="WasteSumsListing.WastedSize"/>
    public required long WastedSize { get; init; }

    /// <summary>Numbers of the layers whose bytes at the path are wasted.</summary>
    public required IReadOnlyList<int> LayerNumbers { get; init; }

    /// <summary>Why bytes are wasted: `replaced`, `deleted` and `duplicate`, each once.</summary>
    public required IReadOnlyList<string> Reasons { get; init; }
}

/// <summary>One entry of `platforms --json`. Values that the image index leaves out are left out.</summary>
internal sealed record PlatformListing
{
    /// <summary>Platform that the image is for, such as `linux/arm64`. Only if it is known.</summary>
    public string? Platform { get; init; }

    /// <summary>What the manifest is of: `image`, `index`, `attestation` or `artifact`.</summary>
    public required string Kind { get; init; }

    /// <inheritdoc cref="MountListing.ManifestDigest"/>
    public required string ManifestDigest { get; init; }

    /// <summary>Bytes of the manifest. Only if they are known.</summary>
    public long? ManifestSize { get; init; }

    /// <inheritdoc cref="LayerListing.MediaType"/>
    public required string MediaType { get; init; }

    /// <summary>Type of an artifact. Only for artifacts.</summary>
    public string? ArtifactType { get; init; }

    /// <summary>Digest of the manifest that an attestation or the indexes of layers are for. Only for those.</summary>
    public string? Subject { get; init; }
}

/// <summary>One index of a layer, as `index build` and `index show` print it.</summary>
internal sealed record IndexListing
{
    /// <inheritdoc cref="LayerListing.Layer"/>
    public required int Layer { get; init; }

    /// <inheritdoc cref="LayerListing.LayerDigest"/>
    public required string LayerDigest { get; init; }

    /// <inheritdoc cref="LayerListing.CompressedSize"/>
    public required long CompressedSize { get; init; }

    /// <summary>Where the index is: `local` or `published`.</summary>
    public required string Where { get; init; }

    /// <inheritdoc cref="LayerListing.Origin"/>
    public required string Origin { get; init; }

    /// <inheritdoc cref="LayerListing.Proof"/>
    public required string Proof { get; init; }

    /// <inheritdoc cref="LayerListing.IndexSize"/>
    public long? IndexSize { get; init; }

    /// <inheritdoc cref="LayerListing.Entries"/>
    public int? Entries { get; init; }

    /// <inheritdoc cref="LayerListing.Spans"/>
    public int? Spans { get; init; }
}

/// <summary>The artifact that `index push` pushed for one image.</summary>
internal sealed record PushListing
{
    /// <summary>Digest of the artifact's manifest.</summary>
    public required string ArtifactDigest { get; init; }

    /// <inheritdoc cref="PlatformListing.ArtifactType"/>
    public required string ArtifactType { get; init; }

    /// <inheritdoc cref="LayerListing.IndexSize"/>
    public required long IndexSize { get; init; }

    /// <inheritdoc cref="LayerListing.CompressedSize"/>
    public required long CompressedSize { get; init; }

    /// <inheritdoc cref="WasteListing.Layers"/>
    public required IReadOnlyList<PushedLayerListing> Layers { get; init; }
}

/// <summary>One layer of a <see cref="PushListing"/>.</summary>
internal sealed record PushedLayerListing
{
    /// <inheritdoc cref="LayerListing.Layer"/>
    public required int Layer { get; init; }

    /// <inheritdoc cref="LayerListing.LayerDigest"/>
    public required string LayerDigest { get; init; }

    /// <inheritdoc cref="LayerListing.CompressedSize"/>
    public required long CompressedSize { get; init; }

    /// <summary>Digest of the pushed index. Not for a layer that has none.</summary>
    public string? IndexDigest { get; init; }

    /// <inheritdoc cref="LayerListing.IndexSize"/>
    public long? IndexSize { get; init; }

    /// <summary>Why no index of the layer was pushed. Only if none was.</summary>
    public string? Reason { get; init; }
}

/// <summary>What `index push --bind` pushed.</summary>
internal sealed record BoundListing
{
    /// <summary>Reference that is lazy and pinned: for a registry by digest.</summary>
    public required string Reference { get; init; }

    /// <inheritdoc cref="TagListing.Tag"/>
    public required string Tag { get; init; }

    /// <summary>Digest of the image index that the tag names now.</summary>
    public required string ImageIndexDigest { get; init; }

    /// <summary>Digest that the image had before: of its image index or manifest.</summary>
    public required string SourceDigest { get; init; }

    /// <summary>The images, one for each platform.</summary>
    public required IReadOnlyList<BoundImageListing> Images { get; init; }
}

/// <summary>One image of a <see cref="BoundListing"/>.</summary>
internal sealed record BoundImageListing
{
    /// <inheritdoc cref="PlatformListing.Platform"/>
    public string? Platform { get; init; }

    /// <inheritdoc cref="MountListing.ManifestDigest"/>
    public required string ManifestDigest { get; init; }

    /// <summary>Digest of the manifest in its place. Only if the manifest changes (`--format soci2`).</summary>
    public string? NewManifestDigest { get; init; }

    /// <summary>The artifact with the indexes. Only if a layer of the image has an index to push.</summary>
    public PushListing? Artifact { get; init; }
}

/// <summary>What both the cache and a part of it have.</summary>
internal abstract record CacheSumsListing
{
    /// <inheritdoc cref="WasteSumsListing.Files"/>
    public required long Files { get; init; }

    /// <summary>Bytes of files of the cache.</summary>
    public required long Bytes { get; init; }
}

/// <summary>The document of `cache info --json`.</summary>
internal sealed record CacheListing : CacheSumsListing
{
    /// <summary>Directory of the cache.</summary>
    public required string CacheDirectory { get; init; }

    /// <summary>Bytes that the cache may hold.</summary>
    public required long Limit { get; init; }

    /// <summary>What the cache holds, by kind.</summary>
    [JsonPropertyOrder(1)]
    public required IReadOnlyList<CachePartListing> Contents { get; init; }
}

/// <summary>One kind of file in the cache.</summary>
internal sealed record CachePartListing : CacheSumsListing
{
    /// <summary>Kind of file in the cache: `blobs`, `chunks`, `layers` and so on.</summary>
    public required string Content { get; init; }
}

/// <summary>What `cache prune` has deleted.</summary>
internal sealed record PruneListing : CacheSumsListing;

/// <summary>What `cache verify` has read.</summary>
internal sealed record VerifyListing : CacheSumsListing
{
    /// <summary>Files that were damaged, and were deleted.</summary>
    [JsonPropertyOrder(1)]
    public required IReadOnlyList<string> Damaged { get; init; }

    /// <summary>Number of files of chunks that are as they were written, but of which no index says what they should be.</summary>
    [JsonPropertyOrder(1)]
    public required int Unverifiable { get; init; }
}

/// <summary>One check of `doctor`.</summary>
internal sealed record CheckListing
{
    /// <summary>What was checked: `kernel`, `fuse`, `cache` and so on.</summary>
    public required string Check { get; init; }

    /// <summary>`ok`, `note` (works, but not all of it) or `missing` (something fails).</summary>
    public required string Status { get; init; }

    /// <summary>What was found.</summary>
    public required string Detail { get; init; }

    /// <summary>What to do about it. Only if there is something to do.</summary>
    public string? Mend { get; init; }
}

/// <summary>How the types of <c>--json</c> are written. Properties that are null are left out.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(EntryListing))]
[JsonSerializable(typeof(StatListing))]
[JsonSerializable(typeof(TreeListing))]
[JsonSerializable(typeof(UsageListing))]
[JsonSerializable(typeof(DifferenceListing))]
[JsonSerializable(typeof(DifferenceSumsListing))]
[JsonSerializable(typeof(EventListing))]
[JsonSerializable(typeof(TagListing))]
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
[JsonSerializable(typeof(IReadOnlyList<CheckListing>))]
internal sealed partial class ListingJson : JsonSerializerContext;
