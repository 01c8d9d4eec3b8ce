namespace LazyMount.FileSystem.Erofs;

/// <summary>
/// The names of one directory as EROFS keeps them: all of them, "." and ".." included, sorted by bytes; in each block first one record a
/// name (nid, where the name begins, type) and then the names.
/// </summary>
internal readonly struct DirectoryBlocks
{
    private readonly FlatTree _tree;
    private readonly int _directory, _first, _count, _dot, _dots;

    /// <param name="tree">The tree.</param>
    /// <param name="directory">The directory's position.</param>
    public DirectoryBlocks(FlatTree tree, int directory)
    {
        (_tree, _directory) = (tree, directory);
        (_first, _count) = tree.Children(directory);
        (_dot, _dots) = (Below("."u8), Below(".."u8));
        int used = 0, full = 0;
        for (int i = 0; i < Count; i++)
        {
            int needed = ErofsFormat.DirentSize + NameAt(i).Length;
            if (used + needed > ErofsFormat.BlockSize)
                (used, full) = (0, full + 1);
            used += needed;
        }
        (FullBlocks, Tail) = (full, used);
    }

    /// <summary>Blocks before the last one.</summary>
    public int FullBlocks { get; }

    /// <summary>Bytes that are used of the last block.</summary>
    public int Tail { get; }

    /// <summary>Bytes of the directory as stat(2) shows them.</summary>
    public long Size => ((long)FullBlocks << ErofsFormat.BlockBits) + Tail;

    // "." and ".." included.
    private int Count => _count + 2;

    /// <summary>Fills blocks and gives each to <paramref name="write"/>, zeros behind its names included.</summary>
    /// <param name="from">The first block.</param>
    /// <param name="to">Behind the last block.</param>
    /// <param name="nids">By position of a node's first name: its nid.</param>
    /// <param name="types">By position of a node's first name: its type as <see cref="ErofsFormat.TypeOf"/> has it, in the lower seven bits.</param>
    /// <param name="block">Room for one block.</param>
    /// <param name="write">Takes the bytes of one block.</param>
    public void Write(int from, int to, uint[] nids, byte[] types, byte[] block, Action<ReadOnlySpan<byte>> write)
    {
        for (int number = 0, begin = 0; begin < Count && number < to; number++)
        {
            int end = begin, used = 0;
            while (end < Count && used + ErofsFormat.DirentSize + NameAt(end).Length <= ErofsFormat.BlockSize)
                used += ErofsFormat.DirentSize + NameAt(end++).Length;
            if (number >= from)
            {
                Array.Clear(block);
                var entries = new ErofsFormat.Fields(block);
                int name = (end - begin) * ErofsFormat.DirentSize;
                for (int i = begin; i < end; i++)
                {
                    int node = NodeAt(i);
                    entries.U64(nids[node]);
                    entries.U16((uint)name);
                    entries.U8(types[node] & 0x3Fu);
                    entries.U8(0);
                    NameAt(i).CopyTo(block.AsSpan(name));
                    name += NameAt(i).Length;
                }
                write(block);
            }
            begin = end;
        }
    }

    private int Below(ReadOnlySpan<byte> name)
    {
        int low = 0, high = _count;
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            (low, high) = _tree.NameAt(_first + middle).SequenceCompareTo(name) < 0 ? (middle + 1, high) : (low, middle);
        }
        return low;
    }

    // The child that stands at a place among all names; -1 for ".", -2 for "..".
    private int ChildAt(int i) => i < _dot ? i : i == _dot ? -1 : i - 1 < _dots ? i - 1 : i - 1 == _dots ? -2 : i - 2;

    private ReadOnlySpan<byte> NameAt(int i) => ChildAt(i) switch
    {
        -1 => "."u8,
        -2 => ".."u8,
        int child => _tree.NameAt(_first + child),
    };

    // The position of the node's first name.
    private int NodeAt(int i) => ChildAt(i) switch
    {
        -1 => _directory,
        -2 => _tree.ParentOf(_directory),
        int child => _tree.FirstNameOf(_first + child),
    };
}
