namespace LazyMount.Blobs.Oci;

/// <summary>The text of a docker manifest (schema 2), of which an OCI manifest is made: only media types change.</summary>
internal sealed class DockerManifestText
{
    private static readonly GoStruct<DockerManifestText> s_form = new(
        ("mediaType", (ref json, to) => to._mediaType = json.ReadRange()),
        ("config", (ref json, to) => to._config = TypePlace.Read(ref json)),
        ("layers", (ref json, to) => to._layers = json.ReadList(TypePlace.Read) ?? []));

    private Range? _mediaType;
    private TypePlace? _config;
    private List<TypePlace> _layers = [];

    /// <summary>The OCI manifest of the same config and layers.</summary>
    /// <param name="manifest">A sound docker manifest (<see cref="ManifestDocument.Parse"/>).</param>
    /// <param name="configType">The config's media type.</param>
    /// <param name="layerTypes">The layers' media types, lowest first.</param>
    public static byte[] ToOci(ReadOnlyMemory<byte> manifest, string configType, IReadOnlyList<string> layerTypes)
    {
        int start = 0;
        DockerManifestText text = GoJsonReader.Read(manifest.Span, (ref json) =>
        {
            start = json.Start;
            return s_form.Read(ref json);
        });
        var edit = new JsonEdit(manifest);
        edit.Set(start, "mediaType", text._mediaType, Quote(MediaTypes.OciManifest));
        text._config!.Set(edit, configType);
        for (int i = 0; i < layerTypes.Count; i++)
            text._layers[i].Set(edit, layerTypes[i]);
        return edit.Apply();
    }

    private static string Quote(string text) => System.Text.Json.Nodes.JsonValue.Create(text).ToJsonString();

    /// <summary>Where a descriptor says its media type.</summary>
    private sealed class TypePlace
    {
        private static readonly GoStruct<TypePlace> s_form = new(("mediaType", (ref json, to) => to._mediaType = json.ReadRange()));

        private int _start;
        private Range? _mediaType;

        public static TypePlace Read(ref GoJsonReader json)
        {
            int start = json.Start;
            TypePlace place = s_form.Read(ref json);
            place._start = start;
            return place;
        }

        public void Set(JsonEdit edit, string mediaType) => edit.Set(_start, "mediaType", _mediaType, Quote(mediaType));
    }
}
