using System.Text.Json.Serialization;

namespace LazyMount.Blobs.Oci;

/// <summary>What an image runs on (image-spec v1.1, image-index.md "platform"). Written "os/architecture[/variant]".</summary>
public sealed record Platform(
    [property: JsonPropertyName("os")] string Os,
    [property: JsonPropertyName("architecture")] string Architecture)
{
    /// <summary>CPU variant such as "v8", or null.</summary>
    [JsonPropertyName("variant")]
    public string? Variant { get; init; }

    /// <summary>OS version (Windows), or null.</summary>
    [JsonPropertyName("os.version")]
    public string? OsVersion { get; init; }
}
