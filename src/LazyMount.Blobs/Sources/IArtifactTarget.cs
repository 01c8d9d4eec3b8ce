using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs.Sources;

/// <summary>
/// A source that takes artifacts and image indexes beside the images that it has: a registry repository, an OCI layout in a
/// directory. Thread-safe. Every failure is an <see cref="ImageException"/> (or <see cref="OperationCanceledException"/>).
/// </summary>
public interface IArtifactTarget
{
    /// <summary>Puts a blob there. False: it was there already, and nothing was sent.</summary>
    Task<bool> PushBlobAsync(Descriptor blob, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken);

    /// <summary>
    /// Puts a manifest there whose blobs are there already, so that it is found among the referrers of
    /// <paramref name="subject"/>. Its descriptor holds the artifact type and what annotations the list of referrers shows.
    /// </summary>
    Task PushReferrerAsync(RawManifest manifest, Digest subject, CancellationToken cancellationToken);

    /// <summary>Puts a manifest or image index there. All that it names is there already.</summary>
    /// <param name="manifest">The document.</param>
    /// <param name="tag">The tag that is to name it, in the place of what the tag names now. Null: only its digest names it.</param>
    /// <param name="cancellationToken">Ends it.</param>
    Task PushManifestAsync(RawManifest manifest, string? tag, CancellationToken cancellationToken);

    /// <summary>What a tag names now; null when there is no such tag.</summary>
    Task<RawManifest?> TryGetTaggedAsync(string tag, CancellationToken cancellationToken);
}
