namespace LazyMount.Layers;

/// <summary>
/// A decoded span that the holder may read until it disposes the lease. Copies of a lease are the same lease: dispose one of
/// them, once. The default value holds nothing.
/// </summary>
public readonly struct SpanLease : IDisposable
{
    private readonly SpanEntry? _entry;

    internal SpanLease(SpanEntry entry) => _entry = entry;

    /// <summary>Whether there is a span.</summary>
    public bool IsHeld => _entry is not null;

    /// <summary>The span's number.</summary>
    internal int Span => _entry?.Span ?? -1;

    /// <summary>Offset of the span's first byte in the layer's tar.</summary>
    public long UncompressedOffset => _entry?.UncompressedOffset ?? 0;

    /// <summary>Bytes of the span.</summary>
    public int Length => _entry?.Length ?? 0;

    /// <summary>The span's bytes. They do not move while the lease is held, so their address may be given to the kernel.</summary>
    public ReadOnlySpan<byte> Bytes => _entry is null ? default : _entry.Bytes;

    /// <summary>Gives the span back.</summary>
    public void Dispose() => _entry?.Release();
}
