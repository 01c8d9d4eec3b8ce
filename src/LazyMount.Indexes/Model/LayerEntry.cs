namespace LazyMount.Indexes.Model;

/// <summary>The kind of file that an entry makes. Values are stored in index files.</summary>
public enum EntryType : byte
{
    /// <summary>A regular file.</summary>
    File = 0,

    /// <summary>A directory.</summary>
    Directory = 1,

    /// <summary>A symbolic link.</summary>
    Symlink = 2,

    /// <summary>Another name of the file at <see cref="LayerEntry.LinkPath"/>.</summary>
    HardLink = 3,

    /// <summary>A character device.</summary>
    CharacterDevice = 4,

    /// <summary>A block device.</summary>
    BlockDevice = 5,

    /// <summary>A named pipe.</summary>
    Fifo = 6,
}

/// <summary>One tar member of a layer. Whiteouts are ordinary files here: their meaning is the merge's business.</summary>
public readonly record struct LayerEntry
{
    /// <summary>Node of the entry's path in <see cref="LayerPaths"/>.</summary>
    public required int Path { get; init; }

    /// <summary>The kind of file.</summary>
    public required EntryType Type { get; init; }

    /// <summary>Permission bits with setuid, setgid and sticky (07777).</summary>
    public required ushort Mode { get; init; }

    /// <summary>Owner.</summary>
    public uint Uid { get; init; }

    /// <summary>Group.</summary>
    public uint Gid { get; init; }

    /// <summary>Bytes of a regular file's content, holes included; 0 for others.</summary>
    public long Size { get; init; }

    /// <summary>Modification time, whole seconds since 1970 (may be negative).</summary>
    public long MtimeSeconds { get; init; }

    /// <summary>Nanoseconds to add to it, 0 to 999,999,999.</summary>
    public uint MtimeNanoseconds { get; init; }

    /// <summary>Offset of a regular file's content, without its holes, in the layer's uncompressed tar.</summary>
    public long DataOffset { get; init; }

    /// <summary>Sparse files: 1 more than the map's index in <see cref="LayerIndex.SparseMaps"/>; 0 for all others.</summary>
    public int SparseMap { get; init; }

    /// <summary>Device number's major part.</summary>
    public uint DeviceMajor { get; init; }

    /// <summary>Device number's minor part.</summary>
    public uint DeviceMinor { get; init; }

    /// <summary>Hard links: the target's node of <see cref="LayerPaths"/>, else -1.</summary>
    public int LinkPath { get; init; }

    /// <summary>Symbolic links: the target's index in <see cref="LayerIndex.LinkTargets"/>, else -1.</summary>
    public int LinkTarget { get; init; }

    /// <summary>Index of its attribute set in <see cref="LayerIndex.XattrSets"/>, or -1. Equal sets are shared.</summary>
    public int XattrSet { get; init; }
}
