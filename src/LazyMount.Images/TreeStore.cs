using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.FileSystem;
using LazyMount.Indexes.Model;
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
    /// <summary>The key of an image's tree; null when an index is not stored, so that nothing tells what it says.</summary>
    /// <param name="image">The image, all of it.</param>
    /// <param name="layers">Of the layers that are merged, lowest first.</param>
    /// <param name="alone">The number of the one layer that is shown alone; null when all are merged.</param>
    public static string? KeyOf(Image image, IReadOnlyList<LayerHead> layers, int? alone)
    {
        if (layers.Any(layer => layer.ContentsDigest is null))
            return null;
        var text = new StringBuilder(string.Create(CultureInfo.InvariantCulture, $"{TreeBuilder.Version}\n{image.ManifestDescriptor.Digest}\n{alone}\n"));
        foreach (LayerHead layer in layers)
            text.Append(CultureInfo.InvariantCulture, $"{layer.Digest} {layer.ContentsDigest} {layer.Proof.By} {layer.Proof.Document} {layer.Proof.IsFromVerified}\n");
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes(text.ToString())));
    }

    /// <summary>The tree that is stored under a key, or null.</summary>
    public ImageTree? TryOpen(string? key)
    {
        try
        {
            return key is null ? null : ImageTree.TryOpen(PathOf(key));
        }
        catch (ImageException)
        {
            return null; // no directory for trees
        }
    }

    /// <summary>Writes a tree down, whole or not at all, and opens it; in memory when there is no key, or the cache cannot keep it.</summary>
    /// <exception cref="InvalidDataException">The layers make no tree.</exception>
    public ImageTree Make(string? key, Action<CheckedFile.Writer> write)
    {
        try
        {
            if (key is not null && Store(PathOf(key), write) is { } stored)
                return stored;
        }
        catch (Exception e) when (FileProblem.IsOne(e) || e is ImageException)
        {
            logger.TreeNotSaved(e.Message);
        }
        return TreeBuilder.InMemory(write);
    }

    private ImageTree? Store(string path, Action<CheckedFile.Writer> write)
    {
        using AtomicFile file = AtomicFile.Create(Path.GetDirectoryName(path)!, AtomicFile.Private);
        long length;
        using (var stream = new FileStream(new Microsoft.Win32.SafeHandles.SafeFileHandle(file.Handle.DangerousGetHandle(), ownsHandle: false), FileAccess.Write, bufferSize: 0))
        {
            using var writer = new CheckedFile.Writer(stream);
            write(writer);
            writer.Finish();
            length = stream.Position;
        }
        file.Commit(path, durable: false); // a torn file is noticed, and made again
        cache.Account(length);
        return ImageTree.TryOpen(path);
    }

    private string PathOf(string key) => Path.Combine(cache.GetDirectory("trees"), key);
}
