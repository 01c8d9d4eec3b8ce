namespace LazyMount.FileSystem.Erofs;

/// <summary>
/// A tree as one EROFS image: the metadata of its tree file, and behind them an address space for the files' bytes in the order of the layers'
/// tars. Every file begins at a block; of a file with holes only the chunks that hold a stored byte have addresses. Immutable, thread-safe.
/// </summary>
public sealed class ErofsImage
{
    private readonly ImageTree _tree;

    /// <param name="tree">The tree.</param>
    /// <exception cref="InvalidDataException">EROFS cannot hold this tree; says why in a clause.</exception>
    public ErofsImage(ImageTree tree) => _tree = tree.WhyNotErofs() is { } reason ? throw new InvalidDataException(reason) : tree;

    /// <summary>Time of the file system: that of the inodes which have none of their own.</summary>
    public (long Seconds, uint Nanoseconds) Time => (_tree.Header.EpochSeconds, _tree.Header.EpochNanoseconds);

    /// <summary>Bytes of the metadata, which the image begins with.</summary>
    public long MetadataSize => _tree.Header.MetadataSize;

    /// <summary>Bytes of the whole image.</summary>
    public long Size => _tree.Header.ImageSize;

    /// <summary>Reads metadata.</summary>
    public void ReadMetadata(long offset, Span<byte> to) => _tree.ReadMetadata(offset, to);

    /// <summary>The files that have bytes, in the order of their addresses: node id and address.</summary>
    public IEnumerable<(ulong Id, long Address)> Files
        => Enumerable.Range(0, _tree.Header.FileCount).Select(_tree.FileAt).Select(static file => (file.Id, (long)file.Block << ErofsFormat.BlockBits));

    /// <summary>
    /// What stands at an address behind the metadata: bytes of a layer's tar (which layer, and where) or, where the layer is -1, zeros; and the
    /// address up to which they go on.
    /// </summary>
    public (int Layer, long At, long End) Find(long address)
    {
        int low = CountFilesUpTo(address), count = _tree.Header.FileCount;
        long next = low < count ? (long)_tree.FileAt(low).Block << ErofsFormat.BlockBits : Size;
        if (next <= address)
            throw _tree.Damaged("its files are not in order");
        if (low == 0)
            return (-1, 0, next);
        (uint block, ulong id) = _tree.FileAt(low - 1);
        long begin = (long)block << ErofsFormat.BlockBits;
        if (_tree.IsSparse(id))
        {
            return _tree.FindStored(id, address) is not { } piece || piece.Address >= next ? (-1, 0, next)
                : piece.Address > address ? (-1, 0, piece.Address)
                : (_tree.LayerOf(id), piece.At + address - piece.Address, Math.Min(next, piece.Address + piece.Length));
        }
        long size = _tree.Size(id);
        return address - begin < size
            ? (_tree.LayerOf(id), _tree.Extent(id, address - begin).DataOffset, Math.Min(next, begin + size))
            : (-1, 0, next);
    }

    /// <summary>The path of the file that has the bytes at an address; null when none has.</summary>
    public byte[]? PathAt(long address) => address >= MetadataSize && CountFilesUpTo(address) is > 0 and int count ? _tree.PathOf(_tree.FileAt(count - 1).Id) : null;

    // How many files begin not behind an address.
    private int CountFilesUpTo(long address)
    {
        int low = 0, high = _tree.Header.FileCount;
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            (low, high) = (long)_tree.FileAt(middle).Block << ErofsFormat.BlockBits <= address ? (middle + 1, high) : (low, middle);
        }
        return low;
    }

    /// <summary>Where the stored bytes of a file are: their offset in the image, where they stand in the tar of the file's layer, and their number.</summary>
    /// <param name="id">The file.</param>
    /// <param name="address">Its address.</param>
    public IEnumerable<(long Address, long At, long Length)> DataOf(ulong id, long address)
    {
        if (!_tree.IsSparse(id))
        {
            yield return (address, _tree.Extent(id, 0).DataOffset, _tree.Size(id));
            yield break;
        }
        while (_tree.FindStored(id, address) is { } piece)
        {
            yield return piece;
            address = piece.Address + piece.Length;
        }
    }
}
