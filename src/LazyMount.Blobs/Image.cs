using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs;

/// <summary>One resolved image: a manifest for one platform, its config and its layers, all verified by digest.</summary>
public sealed class Image
{
    private Image() => throw new NotImplementedException();

    /// <summary>As the user wrote it, normalised.</summary>
    public ImageReference Reference => throw new NotImplementedException();

    /// <summary>The manifest's descriptor; its digest is the image's identity.</summary>
    public Descriptor ManifestDescriptor => throw new NotImplementedException();

    /// <summary>The manifest's exact bytes.</summary>
    public ReadOnlyMemory<byte> ManifestBytes => throw new NotImplementedException();

    /// <summary>The config's exact bytes.</summary>
    public ReadOnlyMemory<byte> ConfigBytes => throw new NotImplementedException();

    /// <summary>Layers, lowest first.</summary>
    public IReadOnlyList<Descriptor> Layers => throw new NotImplementedException();

    /// <summary>Where its blobs come from. Not owned.</summary>
    public IImageSource Source => throw new NotImplementedException();

    /// <summary>
    /// Resolves reference, image index (by platform; null means this machine's) and manifest, and fetches the config.
    /// Manifests and configs found in the cache are not fetched again; what was fetched is kept there.
    /// </summary>
    public static Task<Image> ResolveAsync(ImageReference reference, IImageSource source, Platform? platform, BlobCache cache, CancellationToken cancellationToken)
        => throw new NotImplementedException();
}
