
namespace LazyMount.FileSystem;

/// <summary>What a layer did to a path.</summary>
public enum PathAction
{
    /// <summary>Nothing stood at the path before.</summary>
    Added,

    /// <summary>Something else stands there, or below it.</summary>
    Changed,

    /// <summary>The path became a hard link, or the file at the path got another name.</summary>
    Linked,

    /// <summary>Nothing stands there any more, because of what the layer did to a directory or link on the way.</summary>
    Hidden,

    /// <summary>A whiteout of the path itself.</summary>
    Deleted,
}

/// <summary>What differs between what stood at a path and what stands there now.</summary>
[Flags]
public enum PathChanges
{
    /// <summary>Nothing that a tree shows.</summary>
    None = 0,

    /// <summary>A file became a directory, or any other type another.</summary>
    Type = 1,

    /// <summary>The layer stores the file's bytes, and no digest tells that they are the same.</summary>
    Content = 2,

    /// <summary>The layer stores the entry again with the same content, as digests tell.</summary>
    Rewritten = 4,

    /// <summary>Permissions.</summary>
    Mode = 8,

    /// <summary>Owner or group.</summary>
    Owner = 16,

    /// <summary>Modification time.</summary>
    Time = 32,

    /// <summary>Extended attributes.</summary>
    Xattrs = 64,

    /// <summary>The target of a symbolic link.</summary>
    Target = 128,

    /// <summary>The number of a device.</summary>
    Device = 256,
}

/// <summary>Names below a directory, and the bytes of the files among them. A file of several names is counted once.</summary>
/// <param name="Names">Number of names.</param>
/// <param name="Size">Bytes of files.</param>
public readonly record struct NameSum(long Names, long Size);

/// <summary>What a layer did to all names below a directory.</summary>
/// <param name="Added">Names that were not there before.</param>
/// <param name="Changed">Names at which something else stands; sizes are those of now.</param>
/// <param name="Deleted">Names that are not there any more; sizes are those of before.</param>
public readonly record struct BelowSums(NameSum Added, NameSum Changed, NameSum Deleted)
{
    /// <summary>Whether the layer did nothing there.</summary>
    public bool IsEmpty => this == default;
}

/// <summary>What stands at a path.</summary>
public sealed record PathNode
{
    /// <summary>File type and permission bits as in st_mode.</summary>
    public required uint Mode { get; init; }

    /// <summary>Owner.</summary>
    public required uint Uid { get; init; }

    /// <summary>Group.</summary>
    public required uint Gid { get; init; }

    /// <summary>Content bytes of a file, holes included; length of a symbolic link's target; else 0.</summary>
    public required long Size { get; init; }

    /// <summary>Modification time, whole seconds.</summary>
    public required long MtimeSeconds { get; init; }

    /// <summary>And nanoseconds.</summary>
    public required uint MtimeNanoseconds { get; init; }

    /// <summary>Where a symbolic link leads; empty for others.</summary>
    public required ReadOnlyMemory<byte> LinkTarget { get; init; }

    /// <summary>Device number.</summary>
    public required (uint Major, uint Minor) Device { get; init; }

    /// <summary>The layer that has the entry; -1 for a directory that no layer lists.</summary>
    public required int Layer { get; init; }

    internal static PathNode Of(in FlatTree.Node node) => new()
    {
        Mode = node.Mode,
        Uid = node.Uid,
        Gid = node.Gid,
        Size = node.Size,
        MtimeSeconds = node.MtimeSeconds,
        MtimeNanoseconds = node.MtimeNanoseconds,
        LinkTarget = node.LinkTarget,
        Device = (node.DeviceMajor, node.DeviceMinor),
        Layer = node.Layer,
    };
}

/// <summary>What one layer did to one path.</summary>
public sealed record PathEvent
{
    /// <summary>The layer's number, lowest 0.</summary>
    public required int Layer { get; init; }

    /// <summary>What it did.</summary>
    public required PathAction Action { get; init; }

    /// <summary>The path without symbolic links: as it leads now, or led before when nothing stands there any more.</summary>
    public required byte[] Path { get; init; }

    /// <summary>What stands there now; what stood there before when nothing does any more.</summary>
    public required PathNode Node { get; init; }

    /// <summary>What differs; <see cref="PathChanges.None"/> for a directory of which only the names below it differ.</summary>
    public PathChanges Changes { get; init; }

    /// <summary>
    /// The path on the way that the layer changed so that this one leads elsewhere or nowhere; the other name for <see cref="PathAction.Linked"/>.
    /// Null when there is none.
    /// </summary>
    public byte[]? By { get; init; }

    /// <summary>What the layer did at <see cref="By"/>; null for <see cref="PathAction.Linked"/>.</summary>
    public Covering? Covering { get; init; }

    /// <summary>What happened below; null unless the path is or was a directory.</summary>
    public BelowSums? Below { get; init; }
}
