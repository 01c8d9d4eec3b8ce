using System.Text.Json.Serialization;

namespace LazyMount.Mounting;

/// <summary>What a mounting process notes about itself in the state directory, for `list` and `umount`.</summary>
internal sealed record MountRecord
{
    /// <summary>Absolute, without symlinks: as mountinfo has it.</summary>
    [JsonConverter(typeof(PathConverter))]
    public required string MountPoint { get; init; }

    /// <summary>Device number of the file system, major:minor: finds the mount when it was moved. Null when the kernel did not tell.</summary>
    public string? Device { get; init; }

    /// <summary>Which file system of the kernel shows it: "fuse" or "erofs". Null in records of before.</summary>
    public string? Face { get; init; }

    /// <summary>The reference in full.</summary>
    public required string Image { get; init; }

    public required string ManifestDigest { get; init; }

    /// <summary>The process that stands for the mount as long as it lives: its keeper.</summary>
    public required int Pid { get; init; }

    /// <summary>The process that serves the mount now. Null in records of before.</summary>
    public int? Worker { get; init; }

    /// <summary>How many times a worker has taken over, or tried to.</summary>
    public int Restarts { get; init; }

    /// <summary>Why the last worker that was to replace a living one did not; null when it did.</summary>
    public string? RestartError { get; init; }

    /// <summary>What is wrong, as the keeper sees it, while no worker serves.</summary>
    public string? Trouble { get; init; }

    /// <summary>The keeper has given up.</summary>
    public bool HasFailed { get; init; }

    /// <summary>False where the kernel cannot send requests again, so that the mount ends with its worker.</summary>
    public bool SurvivesCrashes { get; init; }

    /// <summary>Who vouches for the layer that is vouched for least when the mount began: "layer", "manifest", "repository" or "source". Null in records of before.</summary>
    public string? Proof { get; init; }

    /// <summary>The one layer that is shown, lowest 0; null for all.</summary>
    public int? Layer { get; init; }

    /// <summary>The topmost of the layers that are merged; null for the image's topmost.</summary>
    public int? TopLayer { get; init; }

    /// <summary>What is shown: "image-file" or "layers"; null for the tree.</summary>
    public string? View { get; init; }

    public required DateTimeOffset Since { get; init; }

    /// <summary>Null when the log goes to standard error.</summary>
    [JsonConverter(typeof(PathConverter))]
    public string? LogFile { get; init; }

    /// <summary>Where the counters are served, as <see cref="Metrics.MetricsAddress"/> writes it; null for nowhere.</summary>
    public string? Metrics { get; init; }

    [JsonConverter(typeof(PathConverter))]
    public required string CacheDirectory { get; init; }

    /// <summary>Whether a place in the mount table is of the mount that was recorded, wherever it was moved to.</summary>
    public bool IsOf(Fuse.MountPoint place) => Device is null ? place.Directory == MountPoint : place.Device == Device && (place.Pid ?? Pid) == Pid;
}

/// <summary>How a record is written. Properties that are null are left out.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingDefault,
    WriteIndented = true)]
[JsonSerializable(typeof(MountRecord))]
[JsonSerializable(typeof(MountStatus))]
internal sealed partial class DocumentJson : JsonSerializerContext;
