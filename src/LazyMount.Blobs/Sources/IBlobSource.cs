using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs.Sources;

/// <summary>
/// Gives any range of immutable blobs: a registry repository, an OCI layout, an archive, a file of the cache.
/// Thread-safe. Every failure is an <see cref="ImageException"/> (or <see cref="OperationCanceledException"/>).
/// </summary>
public interface IBlobSource
{
    /// <summary>True when blobs are local files that can be read at random for nothing: they are not copied to the cache.</summary>
    bool IsLocal { get; }

    /// <summary>
    /// True while everything that this source gave came over connections that prove who answers: TLS with a certificate that was
    /// checked, this machine's own loopback, or no network at all. Once false it stays false.
    /// </summary>
    bool IsVerified { get; }

    /// <summary>
    /// Bytes [<paramref name="offset"/>, <paramref name="offset"/> + <paramref name="length"/>) of a blob, not verified.
    /// The stream ends there, or throws <see cref="ImageException"/> when the source gives fewer.
    /// </summary>
    Task<Stream> OpenBlobAsync(Descriptor blob, long offset, long length, CancellationToken cancellationToken);

    /// <summary>
    /// Bytes of a blob turned out to be wrong. A source that has them from another place, or can make them again, does so when it is asked
    /// again, and returns true; false from others.
    /// </summary>
    bool Distrust(Descriptor blob);
}
