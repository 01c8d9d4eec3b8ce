namespace LazyMount.Blobs.Oci;

/// <summary>A manifest or an image index as it stands in its document: both forms as one.</summary>
internal sealed class ManifestJson
{
    public static GoStruct<ManifestJson> Form { get; } = new(
        ("schemaVersion", (ref json, to) => to.SchemaVersion = json.ReadInt64()),
        ("mediaType", (ref json, to) => to.MediaType = json.ReadString()),
        ("artifactType", (ref json, to) => to.ArtifactType = json.ReadString()),
        ("config", (ref json, to) => to.Config = DescriptorJson.Form.ReadPointer(ref json)),
        ("layers", (ref json, to) => to.Layers = json.ReadList(DescriptorJson.Form.Read)),
        ("manifests", (ref json, to) => (to.NamesManifests, to.Manifests) = (true, json.ReadList(DescriptorJson.Form.Read))),
        ("subject", (ref json, to) => to.Subject = DescriptorJson.Form.ReadPointer(ref json)),
        ("annotations", (ref json, to) => to.Annotations = json.ReadMap((ref json) => json.ReadString())));

    /// <summary>0 when the document does not say.</summary>
    public long SchemaVersion { get; set; }

    public string MediaType { get; set; } = "";

    public string ArtifactType { get; set; } = "";

    public DescriptorJson? Config { get; set; }

    public IReadOnlyList<DescriptorJson>? Layers { get; set; }

    /// <summary>True when there is a list of manifests, even if it is null.</summary>
    public bool NamesManifests { get; set; }

    public IReadOnlyList<DescriptorJson>? Manifests { get; set; }

    public DescriptorJson? Subject { get; set; }

    public IReadOnlyDictionary<string, string>? Annotations { get; set; }
}
