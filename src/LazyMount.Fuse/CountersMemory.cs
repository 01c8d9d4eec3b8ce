using System.Buffers;
using LazyMount.Blobs.Counting;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Fuse;

/// <summary>
/// The numbers of <see cref="ServingCounters"/> in a file in memory, which the keeper of a mount holds: they go on when a worker dies. It stays
/// mapped until the process ends, because work that is given up counts too.
/// </summary>
public sealed unsafe class CountersMemory : MemoryManager<long>
{
    /// <summary>Bytes of the file, zeros at first.</summary>
    public const int Size = ServingCounters.Slots * sizeof(long);

    private readonly long* _numbers;

    private CountersMemory(long* numbers) => _numbers = numbers;

    /// <summary>The counters in a file; counters of this process alone when it cannot be mapped.</summary>
    /// <param name="file">A file in memory of <see cref="Size"/> bytes.</param>
    public static ServingCounters Open(SafeFileHandle file)
    {
        nint address = Interop.MMap(0, Size, Interop.PROT_READ | Interop.PROT_WRITE, Interop.MAP_SHARED, file, 0);
        return address == -1 ? new ServingCounters() : new ServingCounters(new CountersMemory((long*)address).Memory);
    }

    /// <inheritdoc/>
    public override Span<long> GetSpan() => new(_numbers, ServingCounters.Slots);

    /// <inheritdoc/>
    public override MemoryHandle Pin(int elementIndex = 0) => new(_numbers + elementIndex);

    /// <inheritdoc/>
    public override void Unpin()
    {
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
    }
}
