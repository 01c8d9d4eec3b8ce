namespace LazyMount.Layers;

/// <summary>Decoded spans of all layers of a process in bounded memory, least recently used out first. Thread-safe.</summary>
public sealed class SpanCache : IDisposable
{
    /// <param name="capacity">Bytes of decoded spans to keep.</param>
    public SpanCache(long capacity) => throw new NotImplementedException();

    /// <inheritdoc/>
    public void Dispose() => throw new NotImplementedException();
}
