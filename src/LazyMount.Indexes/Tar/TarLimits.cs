namespace LazyMount.Indexes.Tar;

/// <summary>What a tar may ask of us at most. Every bound has its own error; tests use smaller ones.</summary>
internal sealed record TarLimits
{
    public static readonly TarLimits Default = new();

    /// <summary>
    /// Bytes of one PAX extended header. Linux holds 64 KiB a value, and file systems rarely more than that a file;
    /// Go's archive/tar, which every container engine unpacks with, has the same bound.
    /// </summary>
    public int PaxHeaderSize { get; init; } = 1 << 20;

    /// <summary>Bytes of a GNU long name or long link ('L', 'K').</summary>
    public int LongNameSize { get; init; } = 64 << 10;

    /// <summary>
    /// Bytes of a path. PATH_MAX (4096) bounds what one system call takes, not how deep a tree may go: tar walks
    /// directory by directory and writes longer ones. Eight times that is deeper than any tree met.
    /// </summary>
    public int PathLength { get; init; } = 32 << 10;

    /// <summary>Components of a path. 2,048 is what PATH_MAX allows for names of one byte.</summary>
    public int PathDepth { get; init; } = 2048;

    /// <summary>Bytes of one name: NAME_MAX. Linux shows no longer one and no engine can unpack it, so it is refused; a whiteout's mark before it does not count.</summary>
    public int NameLength { get; init; } = 255;

    /// <summary>Bytes of a symbolic link's target: PATH_MAX with its ending zero, all that readlink(2) gives.</summary>
    public int LinkTargetLength { get; init; } = 4095;

    /// <summary>
    /// Extents of one sparse file: four times what Go's archive/tar reads of the tersest map (it takes 1 MiB of map).
    /// </summary>
    public int SparseExtentsOfFile { get; init; } = 1 << 18;

    /// <summary>Extents of all sparse files of one layer, each file counted as one more. They are kept in memory: 16 bytes each.</summary>
    public int SparseExtents { get; init; } = 1 << 20;

    /// <summary>Entries of one layer.</summary>
    public int Entries { get; init; } = 10_000_000;

    /// <summary>Distinct paths of one layer, parents that no entry names included.</summary>
    public int Paths { get; init; } = 20_000_000;

    /// <summary>Bytes of the names of all paths. All texts of an index together must fit one array.</summary>
    public int NameBytes { get; init; } = 512 << 20;

    /// <summary>Bytes of the targets of all symbolic links of one layer.</summary>
    public int LinkTargetBytes { get; init; } = 512 << 20;

    /// <summary>Memory for the extended attributes of one layer, equal sets counted once.</summary>
    public int XattrMemory { get; init; } = 256 << 20;

    /// <summary>
    /// Bytes of the attributes of all entries, equal ones counted each time: what a global header says of every entry
    /// costs time though no memory.
    /// </summary>
    public long XattrBytes { get; init; } = 4L << 30;
}
