using System.Runtime.InteropServices;

namespace LazyMount.Fuse;

/// <summary>Page-aligned memory outside the managed heap; owned by whoever made it, not zeroed.</summary>
internal sealed unsafe class NativeBuffer(int length) : IDisposable
{
    private const nuint PageSize = 4096;

    public byte* Pointer { get; private set; } = (byte*)NativeMemory.AlignedAlloc((nuint)length, PageSize);

    public int Length { get; } = length;

    public Span<byte> Span => new(Pointer, Length);

    public void Dispose()
    {
        NativeMemory.AlignedFree(Pointer);
        Pointer = null;
    }
}
