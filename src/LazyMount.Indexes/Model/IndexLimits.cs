namespace LazyMount.Indexes.Model;

/// <summary>
/// The most that an index may hold, however it is made: from a tar, a table of contents, a ztoc, or the stored form. Every
/// bound has its own error. What an index takes in memory is counted by <see cref="IndexBudget"/>. Tests use smaller bounds.
/// </summary>
internal sealed record IndexLimits
{
    public static readonly IndexLimits Default = new();

    /// <summary>
    /// Bytes of one PAX extended header. Linux holds 64 KiB a value, and file systems rarely more than that a file;
    /// Go's archive/tar, which every container engine unpacks with, has the same bound.
    /// </summary>
    public int PaxHeaderSize { get; init; } = 1 << 20;

    /// <summary>Bytes of a GNU long name or long link ('L', 'K').</summary>
    public int LongNameSize { get; init; } = 64 << 10;

    /// <summary>
    /// Bytes of a path. PATH_MAX (4096) bounds the argument of one system call, not the depth of a tree: tar walks
    /// directory by directory and writes longer paths. Eight times that is deeper than any tree met.
    /// </summary>
    public int PathLength { get; init; } = 32 << 10;

    /// <summary>Components of a path. 2,048 is what PATH_MAX allows for names of one byte.</summary>
    public int PathDepth { get; init; } = 2048;

    /// <summary>Bytes of one name: NAME_MAX. Linux shows no longer name and no engine can unpack one. A whiteout's mark before the name does not count.</summary>
    public int NameLength { get; init; } = 255;

    /// <summary>Bytes of a symbolic link's target: PATH_MAX without its ending zero, the most that readlink(2) gives.</summary>
    public int LinkTargetLength { get; init; } = 4095;

    /// <summary>Bytes of the name of an extended attribute: XATTR_NAME_MAX.</summary>
    public int XattrNameLength { get; init; } = 255;

    /// <summary>Bytes of the value of an extended attribute: XATTR_SIZE_MAX.</summary>
    public int XattrValueLength { get; init; } = 64 << 10;

    /// <summary>
    /// Attributes of one entry. File systems hold fewer: listxattr(2) gives at most 64 KiB of names. The bound also keeps
    /// the search for a repeated name cheap.
    /// </summary>
    public int XattrsOfEntry { get; init; } = 1024;

    /// <summary>Bytes of the attributes of one entry, names and values.</summary>
    public int XattrBytesOfEntry { get; init; } = 1 << 20;

    /// <summary>
    /// Bytes of the attributes of all entries, where equal sets count each time: a global PAX header costs time for every
    /// entry, though memory only once.
    /// </summary>
    public long XattrBytes { get; init; } = 4L << 30;

    /// <summary>
    /// Extents of one sparse file: four times what Go's archive/tar reads of the tersest map (it takes 1 MiB of map).
    /// </summary>
    public int SparseExtentsOfFile { get; init; } = 1 << 18;

    /// <summary>Entries of one layer.</summary>
    public int Entries { get; init; } = 10_000_000;

    /// <summary>
    /// Bytes of memory for the index of one layer, and for the indexes of all layers of one image together. Ten million
    /// entries in as many paths with names of 20 bytes take 1.2 GB.
    /// </summary>
    public long Memory { get; init; } = 3L << 29;

    /// <summary>Bytes of memory that the index of any layer may take, however small the layer is.</summary>
    public long SmallestMemory { get; init; } = 4 << 20;

    /// <summary>
    /// Bytes of memory that an index may take for each byte of its layer's blob, beyond <see cref="SmallestMemory"/>. Of empty files
    /// whose names count up, the tersest entries that people make, each takes 102 bytes of memory, and of the blob 6.2 to 7.0 bytes with gzip,
    /// 2.7 with zstd -3, 2.2 with bzip2, 1.5 with zstd -19 and 1.3 with xz (100,000 files): 15 to 79 bytes of memory for a byte of the blob.
    /// </summary>
    public long MemoryPerByte { get; init; } = 256;

    /// <summary>Bytes of memory that the index of a layer may take.</summary>
    /// <param name="blobSize">Bytes of the layer's blob.</param>
    public long MemoryFor(long blobSize)
        => blobSize >= (Memory - SmallestMemory) / MemoryPerByte ? Memory : Math.Min(Memory, SmallestMemory + blobSize * MemoryPerByte);
}
