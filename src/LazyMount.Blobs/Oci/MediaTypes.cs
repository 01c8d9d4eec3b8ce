namespace LazyMount.Blobs.Oci;

/// <summary>The media types that manifests go by (image-spec v1.1, media-types.md; docker's schema 2). A media type is a hint: content decides.</summary>
public static class MediaTypes
{
    /// <summary>OCI image manifest.</summary>
    public const string OciManifest = "application/vnd.oci.image.manifest.v1+json";

    /// <summary>OCI image index.</summary>
    public const string OciIndex = "application/vnd.oci.image.index.v1+json";

    /// <summary>OCI image config.</summary>
    public const string OciConfig = "application/vnd.oci.image.config.v1+json";

    /// <summary>Docker image manifest, schema 2.</summary>
    public const string DockerManifest = "application/vnd.docker.distribution.manifest.v2+json";

    /// <summary>Docker manifest list.</summary>
    public const string DockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json";

    /// <summary>Docker image config.</summary>
    public const string DockerConfig = "application/vnd.docker.container.image.v1+json";

    /// <summary>The config of an artifact that needs none (image-spec v1.1, manifest.md "Guidance for an Empty Descriptor").</summary>
    public const string Empty = "application/vnd.oci.empty.v1+json";

    /// <summary>Docker layer that is not compressed.</summary>
    public const string DockerTar = "application/vnd.docker.image.rootfs.diff.tar";

    private const string DockerForeignTar = "application/vnd.docker.image.rootfs.foreign.diff.tar";
    private const string OciTar = "application/vnd.oci.image.layer.v1.tar", OciForeignTar = "application/vnd.oci.image.layer.nondistributable.v1.tar";

    private static readonly string[] s_tars = [OciTar, OciForeignTar, DockerTar, DockerForeignTar];

    private const string Schema1Prefix = "application/vnd.docker.distribution.manifest.v1+";

    /// <summary>The types of manifests and image indexes that a registry is asked for.</summary>
    public static IReadOnlyList<string> Manifests { get; } = [OciIndex, OciManifest, DockerManifestList, DockerManifest];

    /// <summary>True for an image manifest.</summary>
    public static bool IsManifest(string? mediaType) => mediaType is OciManifest or DockerManifest;

    /// <summary>True for an image index or manifest list.</summary>
    public static bool IsIndex(string? mediaType) => mediaType is OciIndex or DockerManifestList;

    /// <summary>True for docker's schema 1, signed or not.</summary>
    public static bool IsSchema1(string? mediaType) => mediaType?.StartsWith(Schema1Prefix, StringComparison.Ordinal) == true;

    /// <summary>
    /// True for a layer's type that promises a tar, or that says nothing. What is compressed, and how, the bytes tell; an
    /// encrypted layer is none.
    /// </summary>
    public static bool IsLayer(string mediaType)
        => mediaType.Length == 0
            || ((mediaType.StartsWith("application/vnd.oci.image.layer.", StringComparison.Ordinal) || mediaType.StartsWith("application/vnd.docker.image.rootfs.", StringComparison.Ordinal))
                && !IsEncrypted(mediaType));

    /// <summary>True for a layer that was encrypted as a whole (containers/ocicrypt).</summary>
    public static bool IsEncrypted(string mediaType) => mediaType.EndsWith("+encrypted", StringComparison.Ordinal);

    /// <summary>True for the config of a container image, as opposed to another artifact's.</summary>
    public static bool IsImageConfig(string? mediaType) => mediaType is OciConfig or DockerConfig;

    /// <summary>
    /// True for the config of a container image, and for types that servers gave image configs by mistake: docker takes a
    /// manifest with one of them for an image.
    /// </summary>
    public static bool MayBeImageConfig(string mediaType)
        => IsImageConfig(mediaType) || mediaType is "" or "application/octet-stream" or "application/json" or "text/html";

    /// <summary>The type of a layer whose bytes are compressed so: the given type with another ending. A type that names no tar stays.</summary>
    /// <param name="mediaType">A layer's media type.</param>
    /// <param name="compression">Such as "gzip"; null is none.</param>
    public static string OfLayer(string mediaType, string? compression)
    {
        if (mediaType.Length == 0)
            mediaType = OciTar;
        foreach (string tar in s_tars)
        {
            char separator = tar.StartsWith("application/vnd.docker.", StringComparison.Ordinal) ? '.' : '+';
            if (mediaType == tar || (mediaType.StartsWith(tar, StringComparison.Ordinal) && mediaType[tar.Length] == separator && !IsEncrypted(mediaType)))
                return compression is null ? tar : $"{tar}{separator}{compression}";
        }
        return mediaType;
    }

    /// <summary>The OCI media type for one of docker's schema 2; any other type unchanged.</summary>
    public static string ToOci(string mediaType) => mediaType switch
    {
        DockerManifest => OciManifest,
        DockerManifestList => OciIndex,
        DockerConfig => OciConfig,
        _ when mediaType.StartsWith(DockerForeignTar, StringComparison.Ordinal) => OciForeignTar + mediaType[DockerForeignTar.Length..].Replace('.', '+'),
        _ when mediaType.StartsWith(DockerTar, StringComparison.Ordinal) => OciTar + mediaType[DockerTar.Length..].Replace('.', '+'),
        _ => mediaType,
    };
}
