using System.Text.Json;
using System.Text.Json.Serialization;
using LazyMount.Blobs.Images;

namespace LazyMount.Blobs.Oci;

/// <summary>What a reference can name: a <see cref="Manifest"/> or an <see cref="ImageIndex"/>.</summary>
/// <param name="MediaType">What it is, told by its content.</param>
public abstract record ManifestDocument(string MediaType)
{
    /// <summary>Largest manifest or index that is read.</summary>
    public const int MaxSize = 4 << 20;

    /// <summary>Most layers an image may have.</summary>
    public const int MaxLayers = 1000;

    /// <summary>Bytes of one blob, 64 TiB: its chunks can be counted.</summary>
    public const long MaxBlobSize = 1L << 46;

    /// <summary>
    /// Parses OCI and docker schema 2 alike. The content decides what it is; the media type that it came with only helps
    /// to name what is not supported. A document that is both manifest and index is refused: two readers could take it
    /// for two different images.
    /// </summary>
    /// <param name="bytes">The document.</param>
    /// <param name="mediaType">What the source says it is, or null.</param>
    /// <param name="name">What errors call it, such as "the manifest of debian:12".</param>
    /// <exception cref="ImageException"><see cref="ImageError.Invalid"/> or <see cref="ImageError.Unsupported"/>.</exception>
    public static ManifestDocument Parse(ReadOnlySpan<byte> bytes, string? mediaType, string name)
    {
        ManifestJson json;
        try
        {
            json = JsonSerializer.Deserialize(bytes, OciJson.Default.ManifestJson) ?? throw new JsonException("null");
        }
        catch (JsonException e)
        {
            throw Invalid(name, e.Path is null or "$" ? "it is not a JSON object of a manifest's form" : $"its JSON is wrong at {Printable.Of(e.Path)}", e);
        }

        mediaType = string.IsNullOrEmpty(json.MediaType) ? mediaType : json.MediaType;
        if (json.SchemaVersion == 1 || MediaTypes.IsSchema1(mediaType))
        {
            throw new ImageException(ImageError.Unsupported, $"{Capitalize(name)} is of docker's schema 1, which is not supported: pull it with an old docker and push it again with a newer one.");
        }
        if (json.SchemaVersion != 2)
            throw Invalid(name, $"its schemaVersion is {json.SchemaVersion}, not 2");

        if (json.Manifests is not null)
        {
            if (json.Config is not null || json.Layers is not null || MediaTypes.IsManifest(mediaType))
                throw Invalid(name, "it claims to be a manifest and an index at once");
            CheckSizes(json.Manifests, name);
            return new ImageIndex(MediaTypes.IsIndex(mediaType) ? mediaType! : MediaTypes.OciIndex, json.Manifests);
        }
        if (json.Config is null)
        {
            throw json.MediaType is { Length: > 0 } && !MediaTypes.IsManifest(json.MediaType) && !MediaTypes.IsIndex(json.MediaType)
                ? new ImageException(ImageError.Unsupported, $"{Capitalize(name)} is of type {Printable.Of(json.MediaType)}, which is not a container image.")
                : Invalid(name, "it has neither a config nor a list of manifests");
        }
        if (MediaTypes.IsIndex(mediaType))
            throw Invalid(name, "it claims to be a manifest and an index at once");
        IReadOnlyList<Descriptor> layers = json.Layers ?? [];
        if (layers.Count > MaxLayers)
            throw Invalid(name, $"it lists {layers.Count} layers; {MaxLayers} is the most that is accepted");
        CheckSizes(layers, name);
        CheckSizes([json.Config], name);
        return new Manifest(MediaTypes.IsManifest(mediaType) ? mediaType! : MediaTypes.OciManifest, json.Config, layers)
        {
            Subject = json.Subject,
            Annotations = json.Annotations ?? new Dictionary<string, string>(),
            ArtifactType = string.IsNullOrEmpty(json.ArtifactType) ? MediaTypes.IsImageConfig(json.Config.MediaType) ? null : json.Config.MediaType : json.ArtifactType,
        };
    }

    private static void CheckSizes(IReadOnlyList<Descriptor> descriptors, string name)
    {
        foreach (Descriptor descriptor in descriptors)
        {
            if (descriptor is null)
                throw Invalid(name, "it holds null where a descriptor must stand");
            if (descriptor.Size is < 0 or > MaxBlobSize)
                throw Invalid(name, $"it says that {descriptor.Digest} has {descriptor.Size} bytes");
        }
    }

    private static ImageException Invalid(string name, string reason, Exception? inner = null)
        => new(ImageError.Invalid, $"{Capitalize(name)} is malformed: {reason}; push or copy the image again.", inner);

    private static string Capitalize(string name) => name.Length == 0 ? name : char.ToUpperInvariant(name[0]) + name[1..];
}

/// <summary>An image manifest: its config and its layers, lowest first (image-spec v1.1, manifest.md).</summary>
public sealed record Manifest(string MediaType, Descriptor Config, IReadOnlyList<Descriptor> Layers) : ManifestDocument(MediaType)
{
    /// <summary>Null for a container image; else what other artifact it is: its artifactType, or its config's media type.</summary>
    public string? ArtifactType { get; init; }

    /// <summary>The manifest that this one refers to, for those that lie beside an image; else null.</summary>
    public Descriptor? Subject { get; init; }

    /// <summary>Free key-value pairs.</summary>
    public IReadOnlyDictionary<string, string> Annotations { get; init; } = new Dictionary<string, string>();
}

/// <summary>An image index, docker's manifest list: one manifest for each platform (image-spec v1.1, image-index.md).</summary>
public sealed record ImageIndex(string MediaType, IReadOnlyList<Descriptor> Manifests) : ManifestDocument(MediaType)
{
    // buildkit's mark of an attestation's manifest.
    private const string AttestationOf = "vnd.docker.reference.type";

    /// <summary>The entries that can be images: not attestations, signatures or other artifacts.</summary>
    public IEnumerable<Descriptor> Images => Manifests.Where(entry =>
        entry.Platform?.IsUnknown != true
        && entry.Annotations?.ContainsKey(AttestationOf) != true
        && (string.IsNullOrEmpty(entry.ArtifactType) || MediaTypes.IsImageConfig(entry.ArtifactType))
        && (MediaTypes.IsManifest(entry.MediaType) || MediaTypes.IsIndex(entry.MediaType) || MediaTypes.IsSchema1(entry.MediaType)));
}

/// <summary>Both forms as one shape of JSON.</summary>
internal sealed record ManifestJson(
    [property: JsonPropertyName("schemaVersion")] int SchemaVersion)
{
    [JsonPropertyName("mediaType")]
    public string? MediaType { get; init; }

    [JsonPropertyName("config")]
    public Descriptor? Config { get; init; }

    [JsonPropertyName("layers")]
    public IReadOnlyList<Descriptor>? Layers { get; init; }

    [JsonPropertyName("artifactType")]
    public string? ArtifactType { get; init; }

    [JsonPropertyName("subject")]
    public Descriptor? Subject { get; init; }

    [JsonPropertyName("annotations")]
    public IReadOnlyDictionary<string, string>? Annotations { get; init; }

    [JsonPropertyName("manifests")]
    public IReadOnlyList<Descriptor>? Manifests { get; init; }
}
