using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;

namespace LazyMount.Indexes.Store;

/// <summary>Reads a whole cache: blobs against their digests, chunks against their hashes and, where an index vouches for them, their SHA-256, indexes for being sound. What is damaged is deleted.</summary>
public sealed class CacheVerifier(BlobCache cache)
{
    /// <summary>Everything, one file after the other.</summary>
    public CacheReport Run(CancellationToken cancellationToken)
    {
        var chunks = new Dictionary<Digest, ChunkDigests>();
        int files = 0;
        long bytes = 0;
        List<string> damaged = [];
        foreach (string kind in (string[])["layers", "image-layers"])
        {
            foreach (string path in Directory.EnumerateFiles(cache.GetDirectory(kind), "*", SearchOption.AllDirectories))
            {
                cancellationToken.ThrowIfCancellationRequested();
                // DIRECTORY/sha256/HEX, or DIRECTORY/IMAGE/HEX.
                string algorithm = kind == "layers" ? Path.GetFileName(Path.GetDirectoryName(path))! : "sha256";
                if (!Digest.TryParse($"{algorithm}:{Path.GetFileName(path)}", out Digest digest))
                {
                    continue; // staged, or a lock
                }
                files++;
                bytes += new FileInfo(path) is { Exists: true } file ? file.Length : 0;
                LayerIndex? index = LayerIndexFile.TryLoad(path, digest);
                if (index is null)
                {
                    File.Delete(path);
                    damaged.Add(path);
                }
                else if (index is { Proof: { By: Voucher.Layer, Chunks: { } known }, Transcoding: null })
                {
                    chunks[digest] = known;
                }
            }
        }
        CacheReport blobs = cache.Verify(digest => chunks.GetValueOrDefault(digest), cancellationToken);
        return new CacheReport(files + blobs.Files, bytes + blobs.Bytes, [.. damaged, .. blobs.Damaged]);
    }
}
