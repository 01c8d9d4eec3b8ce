using System.Runtime.InteropServices;

namespace LazyMount.Layers;

/// <summary>
/// Memory for one decoded span, outside the garbage collector's heap. Pinned arrays of some megabytes each came back only
/// with a full collection, which a daemon that allocates nothing never has: after reading a tree of 1.1 GB with 64 MiB of
/// spans they had grown to 130 MB. Disposed once, by the <see cref="SpanCache"/>, when no one holds the span.
/// </summary>
internal sealed unsafe class SpanMemory(int length) : IDisposable
{
    private void* _memory = NativeMemory.Alloc((nuint)Math.Max(length, 1));

    public int Length => length;

    public Span<byte> Bytes => _memory is null ? throw new ObjectDisposedException(nameof(SpanMemory)) : new Span<byte>(_memory, length);

    public void Dispose()
    {
        NativeMemory.Free(_memory);
        _memory = null;
    }
}
