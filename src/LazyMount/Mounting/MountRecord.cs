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

    /// <summary>Who vouches for the layer that is vouched for least when the mount began: "layer", "manifest", "repository" or "source". Null in records of before.</summary>
    public string? Proof { get; init; }

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

/// <summary>How a record is written. Properties that are null are left out.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    WriteIndented = true)]
[JsonSerializable(typeof(MountRecord))]
internal sealed partial class DocumentJson : JsonSerializerContext;
