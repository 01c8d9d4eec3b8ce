using LazyMount.Blobs.Oci;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs;

/// <summary>
/// The content-addressed directory of everything fetched. <c>ROOT/v1/blobs/sha256/HEX</c> holds complete, verified blobs
/// and manifests; other parts of the product keep their files in <see cref="GetDirectory"/>. Mode 0700, shared by
/// concurrent processes, safe to delete at any time. A file under its final name is complete: it was staged in the same
/// directory and renamed.
/// </summary>
public sealed class BlobCache
{
    /// <param name="root">The directory; created with mode 0700 when missing.</param>
    public BlobCache(string root) => throw new NotImplementedException();

    /// <summary>The directory given.</summary>
    public string Root => throw new NotImplementedException();

    /// <summary>A directory of this cache for another kind of file, such as "layers"; created when missing.</summary>
    public string GetDirectory(string kind) => throw new NotImplementedException();

    /// <summary>Opens a complete blob for reading, or null.</summary>
    public SafeFileHandle? TryOpen(Digest digest) => throw new NotImplementedException();

    /// <summary>Stages a blob that arrives in order; see <see cref="BlobStaging"/>.</summary>
    public BlobStaging Stage(Descriptor blob) => throw new NotImplementedException();

    /// <summary>Where caches live when the user names none: $LAZYMOUNT_CACHE, $XDG_CACHE_HOME/lazymount, root: /var/cache/lazymount, else ~/.cache/lazymount.</summary>
    public static string DefaultRoot => throw new NotImplementedException();
}
