using LazyMount.Blobs;

namespace LazyMount.Layers;

/// <summary>One layer as a random-access tar: decoded spans by uncompressed offset. Thread-safe.</summary>
public sealed class Layer : IDisposable
{
    /// <param name="index">Its table of contents.</param>
    /// <param name="blob">Its bytes; owned.</param>
    /// <param name="spans">Where decoded spans are kept; shared by layers, not owned.</param>
    public Layer(LayerIndex index, BlobReader blob, SpanCache spans) => throw new NotImplementedException();

    /// <summary>Its table of contents.</summary>
    public LayerIndex Index => throw new NotImplementedException();

    /// <summary>
    /// The span that holds a byte of the tar, if it is decoded in memory. Does not allocate, wait or lock for long.
    /// The caller must <see cref="DecodedSpan.Release"/> it.
    /// </summary>
    public bool TryGetSpan(long uncompressedOffset, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out DecodedSpan? span) => throw new NotImplementedException();

    /// <summary>The same, fetching and decoding it when needed; equal concurrent calls share the work. The caller must release the span.</summary>
    public ValueTask<DecodedSpan> GetSpanAsync(long uncompressedOffset, CancellationToken cancellationToken) => throw new NotImplementedException();

    /// <inheritdoc/>
    public void Dispose() => throw new NotImplementedException();
}
