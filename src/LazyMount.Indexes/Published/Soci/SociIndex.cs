using System.Globalization;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;

namespace LazyMount.Indexes.Published.Soci;

/// <summary>
/// SOCI's artifact of one image (awslabs/soci-snapshotter, soci/soci_index.go): a manifest of ztocs. Version 1 refers to the
/// image's manifest; of version 2 the image's manifest holds the digest, and the descriptor in the image index repeats it.
/// </summary>
internal static class SociIndex
{
    /// <summary>The artifact's type: the media type of its config.</summary>
    public const string Version1 = "application/vnd.amazon.soci.index.v1+json", Version2 = "application/vnd.amazon.soci.index.v2+json";

    /// <summary>The name of the build tool in ztocs.</summary>
    public const string BuildTool = "lazymount";

    private const string ZtocType = "application/octet-stream";

    // Annotations.
    private const string IndexDigest = "com.amazon.soci.index-digest";
    private const string LayerDigest = "com.amazon.soci.image-layer-digest", LayerType = "com.amazon.soci.image-layer-mediaType";
    private const string SpanSize = "com.amazon.soci.span-size", BuildToolIdentifier = "com.amazon.soci.build-tool-identifier";

    /// <summary>The version 2 index that the image's manifest names, or its image index; null when there is none.</summary>
    public static Digest? NamedBy(Image image)
        => DigestIn(image.Annotations, IndexDigest) ?? DigestIn(image.ManifestDescriptor.Annotations, IndexDigest)
            ?? image.IndexEntries.LastOrDefault(entry => DigestIn(entry.Annotations, ImageIndex.SociIndexOf) == image.ManifestDescriptor.Digest)?.Digest;

    /// <summary>The annotation by which an image's manifest names its version 2 index.</summary>
    public static IReadOnlyDictionary<string, string> Naming(Digest index) => new Dictionary<string, string> { [IndexDigest] = index.ToString() };

    /// <summary>The entry of a version 2 index in an image index (soci/soci_convert.go): with the image's platform.</summary>
    public static Descriptor DescribeIn(Descriptor index, Digest manifest, Platform? platform) => index.ToBare() with
    {
        Annotations = new Dictionary<string, string> { [ImageIndex.SociIndexOf] = manifest.ToString() },
        Platform = platform,
        ArtifactType = Version2,
    };

    /// <summary>The layer that a ztoc, or a list of spans to fetch first, belongs to; null for other blobs.</summary>
    public static Digest? LayerOf(Descriptor blob) => blob.MediaType == ZtocType || SociPrefetch.Is(blob) ? DigestIn(blob.Annotations, LayerDigest) : null;

    /// <summary>A ztoc's blob.</summary>
    public static Descriptor DescribeZtoc(byte[] ztoc, Descriptor layer) => new(ZtocType, Digest.OfSha256(ztoc), ztoc.Length)
    {
        Annotations = new Dictionary<string, string>
        {
            [LayerType] = layer.MediaType,
            [LayerDigest] = layer.Digest.ToString(),
            [SpanSize] = ZtocFormat.SpanSize.ToString(CultureInfo.InvariantCulture),
        },
    };

    /// <summary>The manifest of an index.</summary>
    /// <param name="version">The version: its artifact type.</param>
    /// <param name="ztocs">The layers' ztocs.</param>
    /// <param name="subject">The image's manifest for version 1; null for version 2.</param>
    public static RawManifest CreateManifest(string version, IEnumerable<Descriptor> ztocs, Descriptor? subject)
        => ArtifactManifest.Create(null, version, ztocs, subject, new Dictionary<string, string> { [BuildToolIdentifier] = BuildTool });

    private static Digest? DigestIn(IReadOnlyDictionary<string, string>? annotations, string name)
        => annotations?.TryGetValue(name, out string? text) == true && Digest.TryParse(text, out Digest digest) ? digest : null;
}
