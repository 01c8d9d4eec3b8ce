using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using Microsoft.Extensions.Logging;

namespace LazyMount.Blobs.Cache;

/// <summary>
/// Reads whole blobs and proves them. What is fetched stays in the scope that it was fetched for until the reader has found that
/// all bytes match the blob's digest; then it goes to the store of everybody.
/// </summary>
/// <param name="cache">The cache.</param>
/// <param name="keep">Whether what is fetched is kept at all.</param>
/// <param name="logger">Told of damage.</param>
public sealed class BlobPass(BlobCache cache, bool keep, ILogger logger)
{
    /// <summary>
    /// The scope of a document by which the blob was read so far; null for none. Its chunks are used and not changed, but that they
    /// go once everybody has them.
    /// </summary>
    public ChunkScope? Document { get; init; }

    /// <summary>The whole blob for a reader that verifies nothing: what is fetched is not kept for others.</summary>
    public async Task<Stream> OpenAsync(Descriptor blob, IBlobSource source, ChunkScope scope, CancellationToken cancellationToken)
        => source.IsLocal
            ? await source.OpenBlobAsync(blob, 0, blob.Size, cancellationToken).ConfigureAwait(false)
            : new CachedBlobStream(blob, source, cache, scope, keep, logger);

    /// <summary>
    /// Opens the blob and has it read. When cached bytes took part in a mismatch the blob is read once more, all from the source.
    /// </summary>
    /// <param name="blob">The blob.</param>
    /// <param name="source">Where it comes from.</param>
    /// <param name="scope">Whose chunks are used besides those of everybody, and where chunks go until they are proved.</param>
    /// <param name="read">Reads the stream to its end; throws <see cref="ImageException"/> (<see cref="ImageError.Verification"/>) unless it matches the blob's digest.</param>
    /// <param name="discard">Whether the bytes are of no use any more, given what was read.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task<T> RunAsync<T>(
        Descriptor blob, IBlobSource source, ChunkScope scope, Func<Stream, Task<T>> read, Func<T, bool> discard, CancellationToken cancellationToken)
    {
        if (source.IsLocal)
        {
            Stream local = await source.OpenBlobAsync(blob, 0, blob.Size, cancellationToken).ConfigureAwait(false);
            await using (local.ConfigureAwait(false))
            {
                return await read(local).ConfigureAwait(false);
            }
        }
        for (bool usesCache = true; ; usesCache = false)
        {
            var stream = new CachedBlobStream(blob, source, cache, scope, keep, logger, Document) { UsesShared = usesCache };
            await using (stream.ConfigureAwait(false))
            {
                try
                {
                    T result = await read(stream).ConfigureAwait(false);
                    if (discard(result))
                        stream.Discard();
                    else
                        stream.Prove();
                    return result;
                }
                catch (ImageException e) when (e.Error == ImageError.Verification)
                {
                    stream.Forget();
                    bool hasOther = source.Distrust(blob);
                    if (!hasOther && (!usesCache || stream.CachedBytes == 0))
                        throw;
                    logger.CachedBlobUnusable(blob.Digest, e.Message); // once more, all from the source
                }
            }
        }
    }
}
