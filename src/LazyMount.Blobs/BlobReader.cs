using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs;

/// <summary>
/// Reads verified ranges of one indexed blob: from the complete file in the cache or the local source, else by
/// range requests to the source. Thread-safe; equal concurrent fetches of a chunk collapse into one.
/// </summary>
public sealed class BlobReader : IDisposable
{
    /// <param name="blob">The blob.</param>
    /// <param name="chunks">Its chunk digests, from the LayerIndex.</param>
    /// <param name="source">Where to fetch what is not cached.</param>
    /// <param name="cache">The cache, looked into first.</param>
    public BlobReader(Descriptor blob, ChunkDigests chunks, IImageSource source, BlobCache cache) => throw new NotImplementedException();

    /// <summary>
    /// Fills <paramref name="destination"/> from <paramref name="compressedOffset"/>. Every chunk touched is verified
    /// first; a bad chunk is fetched once more, then <see cref="ImageException"/> (<see cref="ImageError.Verification"/>).
    /// Bounded in time: a dead source throws <see cref="ImageError.Unreachable"/> after the source's time-outs.
    /// </summary>
    public ValueTask ReadAsync(long compressedOffset, Memory<byte> destination, CancellationToken cancellationToken) => throw new NotImplementedException();

    /// <inheritdoc/>
    public void Dispose() => throw new NotImplementedException();
}
