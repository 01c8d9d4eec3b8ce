using System.Text.Json.Serialization;
using LazyMount.Blobs.Oci;

namespace LazyMount.Layers.Archives;

/// <summary>One image of a docker archive: an element of its manifest.json. The form is specified by docker's own code alone.</summary>
internal sealed class DockerManifestItem
{
    private static readonly GoStruct<DockerManifestItem> s_form = new(
        ("Config", (ref json, to) => to.Config = json.ReadString()),
        ("RepoTags", (ref json, to) => to.RepoTags = json.ReadList((ref json) => json.ReadString()) ?? []),
        ("Layers", (ref json, to) => to.Layers = json.ReadList((ref json) => json.ReadString()) ?? []));

    /// <summary>The images of a manifest.json.</summary>
    /// <exception cref="System.Text.Json.JsonException">It is not a list of images.</exception>
    public static IReadOnlyList<DockerManifestItem> ReadAll(ReadOnlySpan<byte> manifest)
        => GoJsonReader.Read(manifest, (ref json) => json.ReadList(Read)) ?? [];

    private static DockerManifestItem Read(ref GoJsonReader json)
    {
        json.Require(!json.IsNull, "an image");
        return s_form.Read(ref json);
    }

    /// <summary>Path of the config; empty when the item does not say.</summary>
    public string Config { get; private set; } = "";

    /// <summary>Names with tags.</summary>
    public IReadOnlyList<string> RepoTags { get; private set; } = [];

    /// <summary>Paths of the layers, lowest first.</summary>
    public IReadOnlyList<string> Layers { get; private set; } = [];
}

/// <summary>What is learnt of an archive, as it is kept in the cache.</summary>
[JsonSerializable(typeof(Dictionary<long, Digest>))]
internal sealed partial class ArchiveJson : JsonSerializerContext;
