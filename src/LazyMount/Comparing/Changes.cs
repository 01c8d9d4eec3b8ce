using LazyMount.FileSystem;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Comparing;

/// <summary>What differs between two nodes.</summary>
[Flags]
internal enum Changes
{
    None = 0,
    Type = 1,

    /// <summary>Permission bits. Those of symbolic links say nothing.</summary>
    Mode = 2,
    Owner = 4,

    /// <summary>Bytes of a regular file.</summary>
    Size = 8,

    /// <summary>The content of regular files of one size.</summary>
    Content = 16,

    /// <summary>The modification time.</summary>
    Time = 32,

    /// <summary>Where a symbolic link leads.</summary>
    Target = 64,

    /// <summary>The number of a device.</summary>
    Device = 128,

    /// <summary>Extended attributes.</summary>
    Attributes = 256,
}

/// <summary>Finds what differs between two nodes, as far as their trees tell: everything but <see cref="Changes.Content"/>.</summary>
internal static class NodeComparison
{
    /// <summary>The names of changes, as users write them and as they are shown.</summary>
    public static IReadOnlyList<(Changes Change, string Name)> Names { get; } =
    [
        (Changes.Type, "type"), (Changes.Mode, "mode"), (Changes.Owner, "owner"), (Changes.Size, "size"), (Changes.Content, "content"),
        (Changes.Time, "time"), (Changes.Target, "target"), (Changes.Device, "device"), (Changes.Attributes, "xattrs"),
    ];

    public static Changes Find(ImageTree before, in NodeAttributes old, ImageTree after, in NodeAttributes current)
    {
        var changes = Changes.None;
        bool isOneType = ((old.Mode ^ current.Mode) & FileMode.TypeMask) == 0;
        if (!isOneType)
        {
            changes |= Changes.Type;
        }
        if (!FileMode.IsSymlink(old.Mode) && !FileMode.IsSymlink(current.Mode) && ((old.Mode ^ current.Mode) & ~FileMode.TypeMask) != 0)
        {
            changes |= Changes.Mode;
        }
        if ((old.Uid, old.Gid) != (current.Uid, current.Gid))
        {
            changes |= Changes.Owner;
        }
        if ((old.MtimeSeconds, old.MtimeNanoseconds) != (current.MtimeSeconds, current.MtimeNanoseconds))
        {
            changes |= Changes.Time;
        }
        if (isOneType && FileMode.IsRegular(old.Mode) && old.Size != current.Size)
        {
            changes |= Changes.Size;
        }
        if (isOneType && FileMode.IsSymlink(old.Mode) && !before.LinkTarget(old.Inode).SequenceEqual(after.LinkTarget(current.Inode)))
        {
            changes |= Changes.Target;
        }
        if (isOneType && (old.DeviceMajor, old.DeviceMinor) != (current.DeviceMajor, current.DeviceMinor))
        {
            changes |= Changes.Device;
        }
        return (before.HasXattrs || after.HasXattrs) && !HaveSameXattrs(before.XattrsOf(old.Inode), after.XattrsOf(current.Inode)) ? changes | Changes.Attributes : changes;
    }

    // Both are sorted by name.
    private static bool HaveSameXattrs(IReadOnlyList<(byte[] Name, byte[] Value)> before, IReadOnlyList<(byte[] Name, byte[] Value)> after)
        => before.Count == after.Count && before.Zip(after).All(each => each.First.Name.AsSpan().SequenceEqual(each.Second.Name) && each.First.Value.AsSpan().SequenceEqual(each.Second.Value));
}
