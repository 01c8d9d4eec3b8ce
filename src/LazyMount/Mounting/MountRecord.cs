using System.Globalization;
using System.Text.Json.Serialization;

namespace LazyMount.Mounting;

/// <summary>What a mounting process notes about itself in the state directory, for `list` and `umount`.</summary>
internal sealed record MountRecord
{
    /// <summary>Absolute, without symlinks: as mountinfo has it.</summary>
    public required string MountPoint { get; init; }

    /// <summary>The reference in full.</summary>
    public required string Image { get; init; }

    public required string ManifestDigest { get; init; }

    public required int Pid { get; init; }

    /// <summary>The one layer that is shown, lowest 0; null for all.</summary>
    public int? Layer { get; init; }

    /// <summary>When the process began, in clock ticks since boot: with the pid it names one process, also after the pid is reused.</summary>
    public required long ProcessStart { get; init; }

    public required DateTimeOffset Since { get; init; }

    /// <summary>Null when the log goes to standard error.</summary>
    public string? LogFile { get; init; }

    public required string CacheDirectory { get; init; }

    /// <summary>The process that wrote this still runs.</summary>
    [JsonIgnore]
    public bool IsRunning => StartOf(Pid) == ProcessStart;

    /// <summary>When a process began (proc_pid_stat(5), field 22), or null when there is none or it has ended and only waits to be reaped.</summary>
    public static long? StartOf(int pid)
    {
        try
        {
            // The second field is the program's name in parentheses and may hold anything.
            string stat = File.ReadAllText($"/proc/{pid}/stat");
            string[] fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
            return fields[0] is "Z" or "X" ? null : long.Parse(fields[19], CultureInfo.InvariantCulture);
        }
        catch (IOException)
        {
            return null;
        }
    }
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
    public required bool Bound { get; init; }
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

    /// <summary>Files of chunks that are as they were written, but of which no index says what they should be.</summary>
    public required int Unverifiable { get; init; }
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
