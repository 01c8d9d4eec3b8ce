namespace LazyMount.Indexes.Model;

/// <summary>Bytes of a sparse file that are stored.</summary>
/// <param name="Offset">Where they stand in the file.</param>
/// <param name="Stored">How many bytes are stored before them.</param>
public readonly record struct SparseExtent(long Offset, long Stored);

/// <summary>
/// Which bytes of a file a layer holds; all others are holes and read as zeros. The stored ones stand one after the other
/// from the file's data offset. Extents are in order, not empty, and there is a hole between any two. Immutable.
/// </summary>
public sealed class SparseMap
{
    private const int BlockSize = 512; // of st_blocks

    private readonly SparseExtent[] _extents;

    internal SparseMap(SparseExtent[] extents, long storedSize)
    {
        (_extents, StoredSize) = (extents, storedSize);
        long counted = 0;
        for (int i = 0; i < extents.Length; i++)
        {
            long first = Math.Max(extents[i].Offset / BlockSize, counted);
            counted = (End(i) - 1) / BlockSize + 1;
            Blocks += counted - first;
        }
    }

    /// <summary>Number of extents.</summary>
    public int Count => _extents.Length;

    /// <summary>One of them.</summary>
    public SparseExtent this[int extent] => _extents[extent];

    /// <summary>Bytes of all extents.</summary>
    public long StoredSize { get; }

    /// <summary>Blocks of 512 bytes of the file that hold a stored byte: at most those of a file without holes.</summary>
    public long Blocks { get; }

    /// <summary>Offset in the file behind an extent's last byte.</summary>
    public long End(int extent)
        => _extents[extent].Offset + ((extent + 1 < _extents.Length ? _extents[extent + 1].Stored : StoredSize) - _extents[extent].Stored);

    /// <summary>
    /// What stands at an offset of the file: how many bytes are stored before it, or -1 for a hole; and where the extent or
    /// the hole ends (<see cref="long.MaxValue"/> for the last hole).
    /// </summary>
    public (long Stored, long End) Find(long offset)
    {
        int low = 0, high = _extents.Length;
        while (low < high)
        {
            int middle = low + ((high - low) >> 1);
            (low, high) = _extents[middle].Offset <= offset ? (middle + 1, high) : (low, middle);
        }
        return low > 0 && offset < End(low - 1)
            ? (_extents[low - 1].Stored + (offset - _extents[low - 1].Offset), End(low - 1))
            : (-1, low < _extents.Length ? _extents[low].Offset : long.MaxValue);
    }
}
