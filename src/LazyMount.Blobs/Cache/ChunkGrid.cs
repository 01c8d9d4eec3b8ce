namespace LazyMount.Blobs.Cache;

/// <summary>How a blob is divided into chunks.</summary>
/// <param name="Size">Bytes of the blob.</param>
/// <param name="ChunkSize">Bytes of a chunk; the last one may be shorter.</param>
internal readonly record struct ChunkGrid(long Size, int ChunkSize)
{
    /// <summary>Number of chunks.</summary>
    public int Count => (int)((Size + ChunkSize - 1) / ChunkSize);

    /// <summary>The chunk that a byte is in.</summary>
    public int ChunkAt(long offset) => (int)(offset / ChunkSize);

    /// <summary>Offset and length in the blob of chunks [first, end).</summary>
    public (long Offset, int Length) Extent(int first, int end)
    {
        long offset = (long)first * ChunkSize;
        return (offset, (int)(Math.Min((long)end * ChunkSize, Size) - offset));
    }
}
