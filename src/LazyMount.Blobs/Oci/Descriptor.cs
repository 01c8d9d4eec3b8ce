using System.Text.Json.Serialization;

namespace LazyMount.Blobs.Oci;

/// <summary>Names a blob or manifest by type, digest and size (image-spec v1.1, descriptor.md).</summary>
/// <param name="MediaType">What the content claims to be: a hint only.</param>
/// <param name="Digest">The content's identity.</param>
/// <param name="Size">In bytes.</param>
public sealed record Descriptor(
    [property: JsonPropertyName("mediaType")] string MediaType,
    [property: JsonPropertyName("digest")] Digest Digest,
    [property: JsonPropertyName("size")] long Size)
{
    /// <summary>The size of a manifest of which only the digest is known.</summary>
    public const long UnknownSize = -1;

    /// <summary>In an image index: what the manifest runs on.</summary>
    [JsonPropertyName("platform")]
    public Platform? Platform { get; init; }

    /// <summary>Free key-value pairs.</summary>
    [JsonPropertyName("annotations")]
    public IReadOnlyDictionary<string, string>? Annotations { get; init; }

    /// <summary>Other places to get the blob from (foreign layers).</summary>
    [JsonPropertyName("urls")]
    public IReadOnlyList<string>? Urls { get; init; }

    /// <summary>The type of an artifact, when the descriptor points at one.</summary>
    [JsonPropertyName("artifactType")]
    public string? ArtifactType { get; init; }

    /// <summary>As others refer to it: without what the index that it was found in says of it.</summary>
    public Descriptor ToBare() => new(MediaType, Digest, Size);
}
