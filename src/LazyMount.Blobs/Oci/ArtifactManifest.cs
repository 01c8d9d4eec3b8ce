using System.Text;
using System.Text.Json.Nodes;
using LazyMount.Blobs.Sources;

namespace LazyMount.Blobs.Oci;

/// <summary>
/// Writes what lies beside an image: the manifest of an artifact (image-spec v1.1, manifest.md "Guidelines for Artifact
/// Usage") and its entry in an image index. The same input gives the same bytes.
/// </summary>
public static class ArtifactManifest
{
    /// <summary>The config that an artifact has when it has none.</summary>
    public static ReadOnlyMemory<byte> EmptyConfig { get; } = "{}"u8.ToArray();

    /// <summary>The manifest, and its descriptor as a list of referrers has it.</summary>
    /// <param name="artifactType">What it is. Null: the config's media type says so, as artifacts older than image-spec v1.1 have it.</param>
    /// <param name="configType">The media type of <see cref="EmptyConfig"/>.</param>
    /// <param name="blobs">What it consists of.</param>
    /// <param name="subject">What it refers to.</param>
    /// <param name="annotations">Its annotations.</param>
    public static RawManifest Create(
        string? artifactType, string configType, IEnumerable<Descriptor> blobs, Descriptor subject, IReadOnlyDictionary<string, string> annotations)
    {
        var manifest = new JsonObject { ["schemaVersion"] = 2, ["mediaType"] = MediaTypes.OciManifest };
        if (artifactType is not null)
            manifest["artifactType"] = artifactType;
        manifest["config"] = Node(new Descriptor(configType, Digest.OfSha256(EmptyConfig.Span), EmptyConfig.Length));
        manifest["layers"] = new JsonArray([.. blobs.Select(Node)]);
        manifest["subject"] = Node(subject.ToBare());
        manifest["annotations"] = Node(annotations);
        byte[] bytes = Encoding.UTF8.GetBytes(manifest.ToJsonString());
        var descriptor = new Descriptor(MediaTypes.OciManifest, Digest.OfSha256(bytes), bytes.Length)
        {
            ArtifactType = artifactType ?? configType,
            Annotations = annotations,
        };
        return new RawManifest(descriptor, bytes);
    }

    /// <summary>
    /// An image index with one more entry, all else as it was. Null when the index has that manifest already.
    /// </summary>
    /// <param name="index">A sound image index, or null for a new one.</param>
    /// <param name="entry">What to add.</param>
    internal static byte[]? AddTo(ReadOnlyMemory<byte>? index, Descriptor entry)
    {
        var text = new IndexText(index ?? EmptyIndex);
        return text.Entries.Any(each => each.DigestText == entry.Digest.ToString()) ? null : text.With(_ => true, EntryOf(entry));
    }

    /// <summary>An image index without entries.</summary>
    internal static ReadOnlyMemory<byte> EmptyIndex { get; } = Encoding.UTF8.GetBytes($$"""{"schemaVersion":2,"mediaType":"{{MediaTypes.OciIndex}}","manifests":[]}""");

    /// <summary>The JSON of an entry of an image index.</summary>
    internal static string EntryOf(Descriptor entry) => Node(entry).ToJsonString();

    private static JsonNode Node(Descriptor descriptor)
    {
        var node = new JsonObject { ["mediaType"] = descriptor.MediaType };
        if (descriptor.ArtifactType is { } artifactType)
            node["artifactType"] = artifactType;
        node["digest"] = descriptor.Digest.ToString();
        node["size"] = descriptor.Size;
        if (descriptor.Annotations is { Count: > 0 } annotations)
            node["annotations"] = Node(annotations);
        return node;
    }

    private static JsonObject Node(IReadOnlyDictionary<string, string> annotations)
        => new(annotations.OrderBy(each => each.Key, StringComparer.Ordinal).Select(each => KeyValuePair.Create(each.Key, (JsonNode?)each.Value)));
}
