using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs.Sources;

/// <summary>A manifest or image index as the source gave it: the exact bytes, verified against <see cref="Descriptor"/>'s digest.</summary>
public sealed record RawManifest(Descriptor Descriptor, ReadOnlyMemory<byte> Bytes)
{
    /// <summary>
    /// The media types of the manifest's layers, lowest first, where the source made the manifest itself and knows better than
    /// the manifest says; null where the manifest says it all.
    /// </summary>
    public IReadOnlyList<string>? LayerTypes { get; init; }
}

/// <summary>
/// Where one image's immutable bytes come from: a registry repository, an OCI layout, an archive.
/// Thread-safe. Every failure is an <see cref="ImageException"/> (or <see cref="OperationCanceledException"/>).
/// </summary>
public interface IImageSource : IAsyncDisposable
{
    /// <summary>True when blobs are local files that can be read at random for nothing: they are not copied to the cache.</summary>
    bool IsLocal { get; }

    /// <summary>What the reference names: a manifest or an image index. Verified when the reference holds a digest.</summary>
    Task<RawManifest> GetRootAsync(CancellationToken cancellationToken);

    /// <summary>A manifest by descriptor, verified by digest and, if it is known, by size.</summary>
    Task<RawManifest> GetManifestAsync(Descriptor descriptor, CancellationToken cancellationToken);

    /// <summary>
    /// Bytes [<paramref name="offset"/>, <paramref name="offset"/> + <paramref name="length"/>) of a blob, not verified.
    /// The stream ends there, or throws <see cref="ImageException"/> when the source gives fewer.
    /// </summary>
    Task<Stream> OpenBlobAsync(Descriptor blob, long offset, long length, CancellationToken cancellationToken);

    /// <summary>Bytes of a blob turned out to be wrong: a source that can make them again does so when it is asked again.</summary>
    void Distrust(Descriptor blob)
    {
    }

    /// <summary>
    /// The digest that a layer's uncompressed bytes must have, where nothing else vouches for the layer: its blob's digest was
    /// not given by anybody, but made from what is there. Null where the blob's digest says it all.
    /// </summary>
    Digest? DiffIdOf(Digest blob) => null;

    /// <summary>
    /// The artifacts that refer to a manifest (distribution-spec v1.1, "Listing Referrers"): those of the first of the types
    /// that there are any of. Their manifests are asked for by <see cref="GetManifestAsync"/>; whether they really refer to
    /// <paramref name="subject"/> they tell themselves. Empty where there are none, or nowhere to look.
    /// </summary>
    Task<IReadOnlyList<Descriptor>> GetReferrersAsync(Digest subject, IReadOnlyList<string> artifactTypes, CancellationToken cancellationToken)
        => Task.FromResult<IReadOnlyList<Descriptor>>([]);
}
