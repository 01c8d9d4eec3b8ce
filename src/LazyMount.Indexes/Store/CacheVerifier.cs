using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Indexes.Store;

/// <summary>
/// Reads a whole cache: blobs against their digests, chunks against their hashes and, where an index vouches for them, their
/// SHA-256, indexes and trees for being sound. What is damaged is deleted. What another version of the program wrote is left alone.
/// </summary>
public sealed class CacheVerifier(BlobCache cache)
{
    /// <summary>Everything, one file after the other. Other processes may use the cache meanwhile.</summary>
    public CacheReport Run(CancellationToken cancellationToken)
    {
        var chunks = new Dictionary<(Digest Blob, string? ScopeKey), ChunkDigests>();
        int files = 0;
        long bytes = 0;
        List<string> damaged = [];
        foreach (string kind in (string[])["layers", "image-layers", "archives"])
        {
            foreach (string path in Directory.EnumerateFiles(cache.GetDirectory(kind), "*", SearchOption.AllDirectories))
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (!Digest.TryParseHex(Path.GetFileName(path), out Digest digest) || TryReadStart(path, out long length) is not { } start)
                {
                    continue; // staged, or a lock, or gone meanwhile
                }
                files++;
                bytes += length;
                if (LayerIndexFile.IsOfOtherVersion(start))
                {
                    continue;
                }
                if (LayerIndexFile.TryVerify(path, digest) is { } index)
                {
                    if (index is { Proof.Chunks: { } known, Transcoding: null })
                    {
                        chunks[(digest, index.Proof.By switch
                        {
                            Voucher.Layer => null,
                            Voucher.Manifest => index.Proof.DocumentScope.Key,
                            _ => Path.GetFileName(Path.GetDirectoryName(path)), // an image's indexes and chunks lie under the same key
                        })] = known;
                    }
                }
                else
                {
                    TryDelete(path);
                    damaged.Add(cache.NameOf(path));
                }
            }
        }
        CacheReport rest = cache.Verify((digest, key) => chunks.GetValueOrDefault((digest, key)), cancellationToken);
        return rest with { Files = files + rest.Files, Bytes = bytes + rest.Bytes, Damaged = [.. damaged, .. rest.Damaged] };
    }

    // Null for a file that another process has deleted meanwhile; empty, and so damaged, for one that cannot be read.
    private static byte[]? TryReadStart(string path, out long length)
    {
        length = 0;
        try
        {
            using SafeFileHandle file = File.OpenHandle(path);
            length = RandomAccess.GetLength(file);
            byte[] start = new byte[16];
            return start[..RandomAccess.Read(file, start, 0)];
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            return [];
        }
    }

    private static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            // Another process was faster, or it is not ours to delete.
        }
    }
}
