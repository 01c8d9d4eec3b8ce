using System.Buffers.Binary;

namespace LazyMount.FileSystem.Erofs;

/// <summary>The names in one block of a directory, as <see cref="DirectoryBlocks"/> writes them. Where each name lies is checked when it is asked for.</summary>
internal readonly ref struct DirectoryBlock
{
    private readonly ReadOnlySpan<byte> _block;

    /// <summary>A block that was parsed before.</summary>
    public DirectoryBlock(ReadOnlySpan<byte> block, int count)
    {
        _block = block;
        Count = count;
    }

    /// <summary>Number of names; at least one.</summary>
    public int Count { get; }

    /// <summary>Bytes of the block.</summary>
    public int Length => _block.Length;

    /// <summary>False for bytes that are none, or whose names lie outside of them.</summary>
    public static bool TryParse(ReadOnlySpan<byte> block, out DirectoryBlock parsed)
    {
        parsed = default;
        if (block.Length < ErofsFormat.DirentSize)
            return false;
        int first = BinaryPrimitives.ReadUInt16LittleEndian(block[8..]);
        if (first < ErofsFormat.DirentSize || first % ErofsFormat.DirentSize != 0 || first > block.Length)
            return false;
        parsed = new DirectoryBlock(block, first / ErofsFormat.DirentSize);
        return true;
    }

    /// <summary>A name; empty where the block is not as it was written.</summary>
    public ReadOnlySpan<byte> NameAt(int i)
    {
        int start = StartOf(i), end = i + 1 < Count ? StartOf(i + 1) : _block.Length;
        if (start > end || end > _block.Length)
            return default;
        ReadOnlySpan<byte> name = _block[start..end];
        return i + 1 == Count && name.IndexOf((byte)0) is >= 0 and int zero ? name[..zero] : name;
    }

    public ulong NodeAt(int i) => BinaryPrimitives.ReadUInt64LittleEndian(_block[(i * ErofsFormat.DirentSize)..]);

    public uint TypeAt(int i) => ErofsFormat.ModeOf(_block[(i * ErofsFormat.DirentSize) + 10]);

    /// <summary>The node of a name, or 0.</summary>
    public ulong Find(ReadOnlySpan<byte> name)
    {
        int low = 0, high = Count - 1;
        while (low <= high)
        {
            int middle = (low + high) >>> 1, order = NameAt(middle).SequenceCompareTo(name);
            if (order == 0)
                return NodeAt(middle);
            (low, high) = order < 0 ? (middle + 1, high) : (low, middle - 1);
        }
        return 0;
    }

    private int StartOf(int i) => BinaryPrimitives.ReadUInt16LittleEndian(_block[((i * ErofsFormat.DirentSize) + 8)..]);
}
