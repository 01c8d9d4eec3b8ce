using System.Text.Json.Serialization;

namespace LazyMount.Mounting;

/// <summary>What a mounting process notes about itself in the state directory, for `list` and `umount`.</summary>
internal sealed record MountRecord
{
    /// <summary>Absolute, without symlinks: as mountinfo has it.</summary>
    public required string MountPoint { get; init; }

    /// <summary>Device number of the file system, major:minor: finds the mount when it was moved. Null when the kernel did not tell.</summary>
    public string? Device { get; init; }

    /// <summary>The reference in full.</summary>
    public required string Image { get; init; }

    public required string ManifestDigest { get; init; }

    public required int Pid { get; init; }

    /// <summary>Who vouches for the layer that is vouched for least when the mount began: "layer", "manifest", "repository" or "source". Null in records of before.</summary>
    public string? Proof { get; init; }

    /// <summary>The one layer that is shown, lowest 0; null for all.</summary>
    public int? Layer { get; init; }

    public required DateTimeOffset Since { get; init; }

    /// <summary>Null when the log goes to standard error.</summary>
    public string? LogFile { get; init; }

    public required string CacheDirectory { get; init; }

    /// <summary>Whether a place in the mount table is of the mount that was recorded, wherever it was moved to.</summary>
    public bool IsOf(Fuse.MountPoint place) => Device is null ? place.Directory == MountPoint : place.Device == Device;
}

/// <summary>One line of `list --json`.</summary>
internal sealed record MountListing
{
    public required string MountPoint { get; init; }
    public required string Image { get; init; }

    /// <summary>"alive" or "dead" (the daemon is gone, every access fails).</summary>
    public required string State { get; init; }

    // Null for a mount that has no record here: another user's, or another state directory's.
    public string? ManifestDigest { get; init; }
    public string? Proof { get; init; }
    public int? Layer { get; init; }
    public int? Pid { get; init; }
    public DateTimeOffset? Since { get; init; }
    public string? LogFile { get; init; }
    public string? CacheDirectory { get; init; }
}

/// <summary>One layer of `layers --json`, lowest first. The last four are null when no index is stored yet.</summary>
internal sealed record LayerListing
{
    public required int Layer { get; init; }
    public required string Digest { get; init; }
    public required string MediaType { get; init; }
    public required long CompressedSize { get; init; }
    public required bool Indexed { get; init; }
    public string? Index { get; init; }

    /// <summary>Who vouches for what the layer shows: "layer", "manifest", "repository" or "source".</summary>
    public required string Proof { get; init; }

    public long? IndexSize { get; init; }
    public string? Format { get; init; }
    public long? UncompressedSize { get; init; }
    public int? Entries { get; init; }
    public int? Spans { get; init; }
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

/// <summary>What `index push` pushed.</summary>
internal sealed record PushListing
{
    public required string Digest { get; init; }
    public required string ArtifactType { get; init; }
    public required long IndexSize { get; init; }
    public required long CompressedSize { get; init; }
    public required IReadOnlyList<PushedLayerListing> Layers { get; init; }
}

/// <summary>One layer of it.</summary>
internal sealed record PushedLayerListing
{
    public required int Layer { get; init; }
    public required string Digest { get; init; }
    public required long CompressedSize { get; init; }

    /// <summary>Left out, with its size, for a layer that has none.</summary>
    public string? IndexDigest { get; init; }

    public long? IndexSize { get; init; }

    /// <summary>Why it has none.</summary>
    public string? Reason { get; init; }
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
}

/// <summary>All small documents that are written or read as a whole. Properties that are null are left out.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    WriteIndented = true)]
[JsonSerializable(typeof(MountRecord))]
[JsonSerializable(typeof(IReadOnlyList<MountListing>))]
[JsonSerializable(typeof(IReadOnlyList<LayerListing>))]
[JsonSerializable(typeof(IReadOnlyList<IndexListing>))]
[JsonSerializable(typeof(PushListing))]
[JsonSerializable(typeof(CacheListing))]
[JsonSerializable(typeof(PruneListing))]
[JsonSerializable(typeof(VerifyListing))]
internal sealed partial class DocumentJson : JsonSerializerContext;
