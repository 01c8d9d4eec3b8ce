using LazyMount.Layers;

namespace LazyMount.FileSystem;

/// <summary>
/// The bytes that answer one read: pieces of decoded spans, held until <see cref="Clear"/>. One object serves many reads.
/// Not thread-safe.
/// </summary>
public sealed class FileData
{
    /// <summary>Bytes in all.</summary>
    public int Length => throw new NotImplementedException();

    /// <summary>Number of pieces.</summary>
    public int Count => throw new NotImplementedException();

    /// <summary>One piece; pinned while held, so its address may be given to the kernel.</summary>
    public ReadOnlySpan<byte> this[int piece] => throw new NotImplementedException();

    /// <summary>Adds a piece and takes over the caller's hold on the span.</summary>
    public void Add(DecodedSpan span, int start, int length) => throw new NotImplementedException();

    /// <summary>Gives all spans back.</summary>
    public void Clear() => throw new NotImplementedException();
}
