using System.Text;
using LazyMount.Blobs.Sources;

namespace LazyMount.Blobs.Oci;

/// <summary>
/// Writes the manifest of an artifact (image-spec v1.1, manifest.md "Guidelines for Artifact
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
    /// <param name="subject">The manifest that it refers to, or null.</param>
    /// <param name="annotations">Its annotations.</param>
    public static RawManifest Create(
        string? artifactType, string configType, IEnumerable<Descriptor> blobs, Descriptor? subject, IReadOnlyDictionary<string, string> annotations)
    {
        GoJsonObject manifest = GoJsonObject.NewManifest();
        manifest["artifactType"] = artifactType;
        manifest["config"] = GoJsonObject.Of(new Descriptor(configType, Digest.OfSha256(EmptyConfig.Span), EmptyConfig.Length));
        manifest.List("layers").AddRange(blobs.Select(GoJsonObject.Of));
        manifest["subject"] = subject is null ? null : GoJsonObject.Of(subject.ToBare());
        manifest["annotations"] = GoJsonObject.Of(annotations);
        byte[] bytes = manifest.ToBytes();
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
    internal static ReadOnlyMemory<byte> EmptyIndex { get; } = GoJsonObject.NewIndex().ToBytes();

    /// <summary>The JSON of an entry of an image index.</summary>
    internal static string EntryOf(Descriptor entry) => Encoding.UTF8.GetString(GoJsonObject.Of(entry).ToBytes());
}
