using System.Runtime.InteropServices;

namespace LazyMount.Tests.Compression;

/// <summary>Memory that ends where no memory is: reading one byte beyond it ends the process.</summary>
internal sealed unsafe partial class GuardedMemory : IDisposable
{
    private const int ProtNone = 0;
    private const int ProtReadWrite = 3;
    private const int MapPrivateAnonymous = 0x22;

    private readonly byte* _start;
    private readonly int _size;

    public GuardedMemory(int size)
    {
        int page = Environment.SystemPageSize;
        _size = (size + page - 1) / page * page;
        _start = Map(null, (nuint)(_size + page), ProtReadWrite, MapPrivateAnonymous, -1, 0);
        if ((nint)_start == -1 || Protect(_start + _size, (nuint)page, ProtNone) != 0)
            throw new InvalidOperationException($"No guarded memory: errno {Marshal.GetLastPInvokeError()}.");
    }

    /// <summary>Puts the bytes right before the guard; valid until the next call.</summary>
    public ReadOnlySpan<byte> Place(ReadOnlySpan<byte> bytes)
    {
        var placed = new Span<byte>(_start + _size - bytes.Length, bytes.Length);
        bytes.CopyTo(placed);
        return placed;
    }

    public void Dispose() => _ = Unmap(_start, (nuint)(_size + Environment.SystemPageSize));

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial byte* Map(void* address, nuint length, int protection, int flags, int fd, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect", SetLastError = true)]
    private static partial int Protect(void* address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Unmap(void* address, nuint length);
}
