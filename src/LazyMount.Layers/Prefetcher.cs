using LazyMount.Blobs.Images;

namespace LazyMount.Layers;

/// <summary>
/// Fetches parts of layers into the cache in the background. Reads that somebody waits for go first: between two requests it
/// waits until there is none. What cannot be fetched is left to whoever will read it.
/// </summary>
/// <param name="spans">Tells whether somebody waits.</param>
public sealed class Prefetcher(SpanCache spans)
{
    /// <summary>Bytes of the blob asked for at once: what a read that comes meanwhile may have to wait for.</summary>
    private const int RequestSize = 1 << 20;

    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(20);

    /// <summary>Fetches ranges, one after the other.</summary>
    /// <param name="ranges">Layers with ranges of their uncompressed bytes; each is fetched with the spans that it lies in.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>Bytes of blobs that are in the cache now.</returns>
    public async Task<long> RunAsync(IEnumerable<(Layer Layer, long Offset, long End)> ranges, CancellationToken cancellationToken)
    {
        long fetched = 0;
        foreach ((Layer layer, long offset, long end) in ranges)
        {
            (long from, long to) = layer.CompressedRange(offset, end);
            for (; from < to; from += RequestSize)
            {
                while (spans.HasWaiters)
                {
                    await Task.Delay(s_poll, cancellationToken).ConfigureAwait(false);
                }
                try
                {
                    fetched += await layer.Blob.PrefetchAsync(from, Math.Min(from + RequestSize, to), cancellationToken).ConfigureAwait(false);
                }
                catch (ImageException)
                {
                    break; // whoever reads it is told
                }
            }
        }
        return fetched;
    }
}
