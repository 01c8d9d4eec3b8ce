using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.FileSystem;
using LazyMount.FileSystem.Erofs;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Store;
using Microsoft.Extensions.Logging;

namespace LazyMount.Images;

/// <summary>
/// The tree files in the cache, each under a key of all that a merge depends on. One that is not there, damaged, or of another version of the
/// program is made again; a cache that cannot keep one costs memory, not the mount.
/// </summary>
/// <param name="cache">The cache.</param>
/// <param name="logger">Told of trees that cannot be stored.</param>
internal sealed class TreeStore(BlobCache cache, ILogger logger)
{
    /// <summary>The key of an image's tree, 32 bytes; null when an index is not stored, so that nothing tells what it says.</summary>
    /// <param name="image">The image, all of it.</param>
    /// <param name="layers">Of the layers that are merged, lowest first.</param>
    /// <param name="shape">What the tree is of.</param>
    public static byte[]? KeyOf(Image image, IReadOnlyList<LayerHead> layers, TreeShape shape)
    {
        if (layers.Any(layer => layer.ContentsDigest is null))
            return null;
        var text = new StringBuilder(string.Create(CultureInfo.InvariantCulture, $"{TreeBuilder.Version} {IndexFinder.FormatVersion}\n{image.ManifestDescriptor.Digest}\n{shape}\n"));
        foreach (LayerHead layer in layers)
            text.Append(CultureInfo.InvariantCulture, $"{layer.Digest} {layer.ContentsDigest} {layer.Proof.By} {layer.Proof.Document} {layer.Proof.IsFromVerified}\n");
        return SHA256.HashData(Encoding.ASCII.GetBytes(text.ToString()));
    }

    /// <summary>The tree that is stored under a key, or null.</summary>
    public ImageTree? TryOpen(byte[]? key)
    {
        try
        {
            return key is null ? null : ImageTree.TryOpen(PathOf(key), key);
        }
        catch (ImageException)
        {
            return null; // no directory for trees
        }
    }

    /// <summary>Writes a tree down, whole or not at all, and opens it; in memory when there is no key, or the cache cannot keep it.</summary>
    /// <exception cref="InvalidDataException">It is too large to be kept in memory.</exception>
    public ImageTree Make(byte[]? key, TreeWriter tree)
    {
        try
        {
            ImageTree? stored = null;
            // Opened before others may delete it, to make room.
            bool isWritten = key is not null && cache.TryWriteChecked(PathOf(key), tree.Size, tree.Write, path => stored = ImageTree.TryOpen(path, key));
            if (stored is not null)
                return stored;
            logger.TreeNotSaved(key is null ? "an index is not stored" : isWritten ? "it cannot be read back" : "it would take more than half of the cache");
        }
        catch (Exception e) when (FileProblem.IsOne(e) || e is ImageException)
        {
            logger.TreeNotSaved(e.Message);
        }
        return TreeBuilder.InMemory(tree);
    }

    private string PathOf(byte[] key) => Path.Combine(cache.GetDirectory("trees"), Convert.ToHexStringLower(key));
}
