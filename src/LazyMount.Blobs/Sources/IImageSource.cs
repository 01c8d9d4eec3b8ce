using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using Microsoft.Win32.SafeHandles;

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
/// Where one image comes from, its manifests and its blobs: a registry repository, an OCI layout, an archive.
/// Thread-safe. Every failure is an <see cref="ImageException"/> (or <see cref="OperationCanceledException"/>).
/// </summary>
public interface IImageSource : IBlobSource, IAsyncDisposable
{
    /// <summary>What the reference names: a manifest or an image index. Verified when the reference holds a digest.</summary>
    Task<RawManifest> GetRootAsync(CancellationToken cancellationToken);

    /// <summary>A manifest by descriptor, verified by digest and, if it is known, by size.</summary>
    Task<RawManifest> GetManifestAsync(Descriptor descriptor, CancellationToken cancellationToken);

    /// <summary>
    /// The digest that a layer's uncompressed bytes must have, where nothing else vouches for the layer: its blob's digest was
    /// not given by anybody, but made from what is there. Null where the blob's digest says it all.
    /// </summary>
    Digest? DiffIdOf(Digest blob);

    /// <summary>
    /// The artifacts that refer to a manifest (distribution-spec v1.1, "Listing Referrers"): those of the first of the types
    /// that there are any of. Their manifests are asked for by <see cref="GetManifestAsync"/>; whether they really refer to
    /// <paramref name="subject"/> they tell themselves. Empty where there are none, or nowhere to look.
    /// </summary>
    Task<IReadOnlyList<Descriptor>> GetReferrersAsync(Digest subject, IReadOnlyList<string> artifactTypes, CancellationToken cancellationToken);

    /// <summary>The open archive that everything comes from, which stays what it is when its path leads to another; null where there is none.</summary>
    SafeFileHandle? Archive => null;

    /// <summary>The tags of the repository in its order, as its pages come, or the names of the images and artifacts in a layout or archive.</summary>
    /// <param name="note">Told in a sentence when the list may be incomplete.</param>
    /// <param name="cancellationToken">Ends it.</param>
    IAsyncEnumerable<string> ListTagsAsync(Action<string> note, CancellationToken cancellationToken);
}
