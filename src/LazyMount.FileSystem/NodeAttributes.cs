namespace LazyMount.FileSystem;

/// <summary>The attributes of a node, as stat(2) shows them.</summary>
public readonly record struct NodeAttributes
{
    /// <summary>Inode number: the node id. Names of one hard-linked file share it.</summary>
    public required ulong Inode { get; init; }

    /// <summary>File type and permission bits as in st_mode.</summary>
    public required uint Mode { get; init; }

    /// <summary>Number of names; for a directory 2 plus its subdirectories.</summary>
    public required uint LinkCount { get; init; }

    /// <summary>Owner.</summary>
    public required uint Uid { get; init; }

    /// <summary>Group.</summary>
    public required uint Gid { get; init; }

    /// <summary>Content bytes of a file, holes included, length of a symlink's target, 0 otherwise.</summary>
    public required long Size { get; init; }

    /// <summary>512-byte blocks; of a file with holes those that hold a stored byte.</summary>
    public required long Blocks { get; init; }

    /// <summary>Modification time, whole seconds; also shown as access and change time.</summary>
    public required long MtimeSeconds { get; init; }

    /// <summary>And nanoseconds.</summary>
    public required uint MtimeNanoseconds { get; init; }

    /// <summary>Device number major.</summary>
    public required uint DeviceMajor { get; init; }

    /// <summary>Device number minor.</summary>
    public required uint DeviceMinor { get; init; }
}
