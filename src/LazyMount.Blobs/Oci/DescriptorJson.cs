using LazyMount.Blobs.Images;

namespace LazyMount.Blobs.Oci;

/// <summary>A descriptor as it stands in a document, sound or not.</summary>
internal sealed class DescriptorJson
{
    public static GoStruct<DescriptorJson> Form { get; } = new(
        ("mediaType", (ref json, to) => to.MediaType = json.ReadString()),
        ("digest", (ref json, to) => to.Digest = json.ReadString()),
        ("size", (ref json, to) => (to.HasSize, to.Size) = (!json.IsNull, json.ReadInt64())),
        ("urls", (ref json, to) => to.Urls = json.ReadList((ref json) => json.ReadString())),
        ("annotations", (ref json, to) => to.Annotations = json.ReadMap((ref json) => json.ReadString())),
        ("data", (ref json, to) => to.Data = json.ReadBytes()),
        ("platform", (ref json, to) => to.Platform = PlatformJson.Form.ReadPointer(ref json)),
        ("artifactType", (ref json, to) => to.ArtifactType = json.ReadString()));

    public string MediaType { get; set; } = "";

    public string Digest { get; set; } = "";

    public long Size { get; set; }

    /// <summary>The document gives a size, be it 0.</summary>
    public bool HasSize { get; set; }

    public IReadOnlyList<string>? Urls { get; set; }

    public IReadOnlyDictionary<string, string>? Annotations { get; set; }

    public byte[]? Data { get; set; }

    public PlatformJson? Platform { get; set; }

    public string? ArtifactType { get; set; }

    /// <summary>The descriptor; null when it names no content, and then <paramref name="flaw"/> says why, as "it …".</summary>
    /// <param name="mayLackSize">True for a manifest: its digest alone is enough to read it.</param>
    /// <param name="flaw">Null when the descriptor is sound.</param>
    public Descriptor? TryToDescriptor(bool mayLackSize, out string? flaw)
    {
        flaw = null;
        if (!Oci.Digest.TryParse(Digest, out Digest digest))
            flaw = Digest.Length == 0 ? "it has a descriptor without a digest" : $"its digest '{Printable.Of(Digest)}' is not a sha256 or sha512 digest";
        else if (Size is < 0 or > ManifestDocument.MaxBlobSize || (Size == 0 && (HasSize || !mayLackSize) && !digest.Verifies([])))
            flaw = $"it gives {digest} an impossible size of {Size} bytes";
        if (flaw is not null)
            return null;
        return new Descriptor(MediaType, digest, HasSize || !mayLackSize ? Size : Descriptor.UnknownSize)
        {
            Platform = Platform?.ToPlatform(),
            Annotations = Annotations,
            Urls = Urls,
            ArtifactType = ArtifactType,
            Data = Data is { } data && data.Length == Size && digest.Verifies(data) ? data.AsMemory() : (ReadOnlyMemory<byte>?)null,
        };
    }
}
