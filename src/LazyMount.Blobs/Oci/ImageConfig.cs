using System.Text.Json;
using System.Text.Json.Serialization;

namespace LazyMount.Blobs.Oci;

/// <summary>The parts of an image's config that a mount has use for (image-spec v1.1, config.md).</summary>
public sealed record ImageConfig
{
    /// <summary>Largest config that is read.</summary>
    public const int MaxSize = 8 << 20;

    /// <summary>OS, such as "linux".</summary>
    [JsonPropertyName("os")]
    public string? Os { get; init; }

    /// <summary>Processor, such as "amd64".</summary>
    [JsonPropertyName("architecture")]
    public string? Architecture { get; init; }

    /// <summary>Processor variant, or null.</summary>
    [JsonPropertyName("variant")]
    public string? Variant { get; init; }

    /// <summary>The layers by their uncompressed content.</summary>
    [JsonPropertyName("rootfs")]
    public RootFs? RootFs { get; init; }

    /// <summary>What the image runs on, or null when it does not say.</summary>
    [JsonIgnore]
    public Platform? Platform => string.IsNullOrEmpty(Os) || string.IsNullOrEmpty(Architecture) ? null : new Platform(Os, Architecture) { Variant = Variant };

    /// <summary>Parses, or null when it is not an image's config: other artifacts have layers too, and any JSON for a config.</summary>
    public static ImageConfig? TryParse(ReadOnlySpan<byte> bytes)
    {
        try
        {
            return JsonSerializer.Deserialize(bytes, OciJson.Default.ImageConfig);
        }
        catch (JsonException)
        {
            return null;
        }
    }
}

/// <summary>The layers of a config.</summary>
public sealed record RootFs
{
    /// <summary>Digests of the uncompressed layers, lowest first.</summary>
    [JsonPropertyName("diff_ids")]
    public IReadOnlyList<Digest>? DiffIds { get; init; }
}
