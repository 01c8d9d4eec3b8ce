namespace LazyMount.Layers;

/// <summary>
/// The uncompressed bytes of one span, in pinned memory. Counted: whoever got it from a <see cref="Layer"/> releases it
/// once; the cache holds a count of its own while it keeps the span. The memory is reused after the last release.
/// </summary>
public sealed class DecodedSpan
{
    /// <summary>Where its first byte stands in the layer's tar.</summary>
    public long UncompressedOffset => throw new NotImplementedException();

    /// <summary>Bytes.</summary>
    public int Length => throw new NotImplementedException();

    /// <summary>The bytes; they do not move while the span is held, so their address may be given to the kernel.</summary>
    public ReadOnlySpan<byte> Bytes => throw new NotImplementedException();

    /// <summary>Gives the caller's count back.</summary>
    public void Release() => throw new NotImplementedException();
}
