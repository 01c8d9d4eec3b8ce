using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs.Sources;

/// <summary>
/// A source that artifacts can be put into, beside the images that are there: a registry repository, an OCI layout in a
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
}
