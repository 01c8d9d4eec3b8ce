using System.Text.Json;
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
    /// <param name="name">What errors call it, such as "the manifest of 'debian:12'".</param>
    /// <exception cref="ImageException"><see cref="ImageError.Invalid"/> or <see cref="ImageError.Unsupported"/>.</exception>
    public static ManifestDocument Parse(ReadOnlySpan<byte> bytes, string? mediaType, string name)
    {
        ManifestJson json;
        try
        {
            json = GoJsonReader.Read(bytes, ManifestJson.Form.Read);
        }
        catch (JsonException e)
        {
            throw Invalid(name, string.IsNullOrEmpty(e.Path) ? $"it is {e.Message}" : $"its JSON is wrong at {Printable.Of(e.Path)}: {e.Message}", e);
        }

        mediaType = json.MediaType.Length == 0 ? mediaType : json.MediaType;
        if (json.SchemaVersion == 1 || MediaTypes.IsSchema1(mediaType))
        {
            throw new ImageException(ImageError.Unsupported, $"cannot use {name}: docker's schema 1 is not supported; pull the image with an old docker and push it again with a newer one");
        }
        if (json.SchemaVersion is not (0 or 2))
            throw Invalid(name, $"its schemaVersion is {json.SchemaVersion}, not 2");

        bool hasImage = json.Config is not null || json.Layers is not null;
        if (json.Manifests is not null || (!hasImage && !MediaTypes.IsManifest(mediaType) && (json.NamesManifests || MediaTypes.IsIndex(mediaType))))
        {
            if (hasImage || MediaTypes.IsManifest(mediaType))
                throw Invalid(name, "it claims to be both a manifest and an image index");
            return new ImageIndex(MediaTypes.IsIndex(mediaType) ? mediaType! : MediaTypes.OciIndex, [.. (json.Manifests ?? []).Select(entry => new IndexEntry(entry))]);
        }
        if (json.Config is null)
        {
            throw json.MediaType.Length > 0 && !MediaTypes.IsManifest(json.MediaType) && !MediaTypes.IsIndex(json.MediaType)
                ? new ImageException(ImageError.Unsupported, $"cannot use {name}: its type {Printable.Of(json.MediaType)} is not that of a container image")
                : Invalid(name, "it has neither a config nor a list of manifests");
        }
        if (MediaTypes.IsIndex(mediaType))
            throw Invalid(name, "it claims to be both a manifest and an image index");
        IReadOnlyList<DescriptorJson> layers = json.Layers ?? [];
        if (layers.Count > MaxLayers)
            throw Invalid(name, $"it lists {layers.Count} layers, more than the maximum of {MaxLayers}");
        return new Manifest(MediaTypes.IsManifest(mediaType) ? mediaType! : MediaTypes.OciManifest, Sound(json.Config), [.. layers.Select(Sound)])
        {
            Subject = json.Subject?.TryToDescriptor(mayLackSize: true, out _),
            Annotations = json.Annotations ?? new Dictionary<string, string>(),
            ArtifactType = json.ArtifactType.Length > 0 ? json.ArtifactType : MediaTypes.MayBeImageConfig(json.Config.MediaType) ? null : json.Config.MediaType,
        };

        Descriptor Sound(DescriptorJson descriptor) => descriptor.TryToDescriptor(mayLackSize: false, out string? flaw) ?? throw Invalid(name, flaw!);
    }

    internal static ImageException Invalid(string name, string reason, Exception? inner = null)
        => new(ImageError.Invalid, $"cannot use {name}: {reason}; push or copy the image again", inner);
}

/// <summary>An image manifest: its config and its layers, lowest first (image-spec v1.1, manifest.md).</summary>
public sealed record Manifest(string MediaType, Descriptor Config, IReadOnlyList<Descriptor> Layers) : ManifestDocument(MediaType)
{
    /// <summary>
    /// Null for a container image; else what other artifact it is: its artifactType, or its config's media type. Null also
    /// where only the config itself can tell (<see cref="MediaTypes.MayBeImageConfig"/>).
    /// </summary>
    public string? ArtifactType { get; init; }

    /// <summary>The manifest that this one refers to, for those that lie beside an image; else null.</summary>
    public Descriptor? Subject { get; init; }

    /// <summary>Free key-value pairs.</summary>
    public IReadOnlyDictionary<string, string> Annotations { get; init; } = new Dictionary<string, string>();
}
