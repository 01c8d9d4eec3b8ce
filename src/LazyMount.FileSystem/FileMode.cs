using LazyMount.Indexes.Model;

namespace LazyMount.FileSystem;

/// <summary>File types as in st_mode (POSIX sys/stat.h, Linux values).</summary>
public static class FileMode
{
    /// <summary>The bits that hold the type.</summary>
    public const uint TypeMask = 0xF000;

    /// <summary>Named pipe.</summary>
    public const uint Fifo = 0x1000;

    /// <summary>Character device.</summary>
    public const uint CharacterDevice = 0x2000;

    /// <summary>Directory.</summary>
    public const uint Directory = 0x4000;

    /// <summary>Block device.</summary>
    public const uint BlockDevice = 0x6000;

    /// <summary>Regular file.</summary>
    public const uint Regular = 0x8000;

    /// <summary>Symbolic link.</summary>
    public const uint Symlink = 0xA000;

    /// <summary>True when an st_mode is a directory's.</summary>
    public static bool IsDirectory(uint mode) => (mode & TypeMask) == Directory;

    /// <summary>True when an st_mode is a regular file's.</summary>
    public static bool IsRegular(uint mode) => (mode & TypeMask) == Regular;

    /// <summary>True when an st_mode is a symbolic link's.</summary>
    public static bool IsSymlink(uint mode) => (mode & TypeMask) == Symlink;

    /// <summary>The type bits of an entry that makes a node of its own (all but hard links).</summary>
    internal static uint TypeOf(EntryType type) => type switch
    {
        EntryType.File => Regular,
        EntryType.Directory => Directory,
        EntryType.Symlink => Symlink,
        EntryType.CharacterDevice => CharacterDevice,
        EntryType.BlockDevice => BlockDevice,
        EntryType.Fifo => Fifo,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "makes no node"),
    };
}
