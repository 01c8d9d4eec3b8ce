using System.Text.Json.Serialization;
using LazyMount.Blobs.Oci;

namespace LazyMount.Layers.Archives;

/// <summary>One image of a docker archive: an element of its manifest.json. Nothing of it is specified but by docker's own code.</summary>
internal sealed record DockerManifestItem
{
    /// <summary>Path of the config.</summary>
    public string? Config { get; init; }

    /// <summary>Names with tags; null or empty when it has none.</summary>
    public IReadOnlyList<string?>? RepoTags { get; init; }

    /// <summary>Paths of the layers, lowest first.</summary>
    public IReadOnlyList<string?>? Layers { get; init; }
}

/// <summary>As docker reads it: names of properties in any case. What stands twice is refused, as everywhere.</summary>
[JsonSourceGenerationOptions(PropertyNameCaseInsensitive = true, AllowDuplicateProperties = false)]
[JsonSerializable(typeof(IReadOnlyList<DockerManifestItem?>))]
[JsonSerializable(typeof(Dictionary<long, Digest>))]
internal sealed partial class ArchiveJson : JsonSerializerContext;
