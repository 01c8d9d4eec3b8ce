using System.Text.Json.Serialization;

namespace LazyMount.Output;

/// <summary>One line of `doctor`.</summary>
internal sealed record CheckListing
{
    /// <summary>What was looked at: "kernel", "fuse", "cache" and so on.</summary>
    public required string Name { get; init; }

    /// <summary>"ok", "note" (works, but not all of it) or "missing" (something fails).</summary>
    public required string State { get; init; }

    /// <summary>What was found.</summary>
    public required string Detail { get; init; }

    /// <summary>What to do about it; left out where there is nothing to do.</summary>
    public string? Mend { get; init; }
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, WriteIndented = true)]
[JsonSerializable(typeof(IReadOnlyList<CheckListing>))]
internal sealed partial class CheckJson : JsonSerializerContext;
