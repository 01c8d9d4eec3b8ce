using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using LazyMount.Blobs.Oci;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Files;

/// <summary>What kind of file a path names.</summary>
public enum FileKind
{
    /// <summary>With bytes of its own.</summary>
    Regular,

    /// <summary>A directory.</summary>
    Directory,

    /// <summary>A symbolic link, where links are not followed.</summary>
    Link,

    /// <summary>A pipe, a socket or a device: opening one may never return.</summary>
    Other,
}

/// <summary>Tells one state of a file from another without reading it: statx(2).</summary>
public readonly record struct FileIdentity(FileKind Kind, long Size, ulong Inode, uint DeviceMajor, uint DeviceMinor, long MtimeSeconds, uint MtimeNanoseconds)
{
    private const int CurrentDirectory = -100, EmptyPath = 0x1000, NoFollow = 0x100; // AT_FDCWD, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW
    private const uint BasicStats = 0x7FF;                                           // STATX_BASIC_STATS

    /// <summary>The user that the file belongs to.</summary>
    public uint Owner { get; init; }

    /// <summary>How many names it has: none when it is open and was deleted.</summary>
    public uint Names { get; init; }

    /// <summary>It is the device /dev/null, under whatever name.</summary>
    public bool IsNullDevice { get; init; }

    /// <summary>Its permission bits, 07777.</summary>
    public int Mode { get; init; }

    /// <summary>The identity of the file at a path; null when statx(2) fails. Opens nothing: opening a pipe would wait for its writer.</summary>
    /// <param name="path">The path.</param>
    /// <param name="followsLinks">Whether a symbolic link stands for what it leads to.</param>
    public static FileIdentity? TryOf(string path, bool followsLinks = true) => TryGet(CurrentDirectory, path, followsLinks ? 0 : NoFollow);

    /// <summary>Of an open file.</summary>
    public static FileIdentity? TryOf(SafeFileHandle file) => TryGet((int)file.DangerousGetHandle(), "", EmptyPath);

    /// <summary>True for two states of one file.</summary>
    public bool IsSameFile(FileIdentity other) => (Inode, DeviceMajor, DeviceMinor) == (other.Inode, other.DeviceMajor, other.DeviceMinor);

    /// <summary>The key under which data about this state of the file at this path is kept in the cache.</summary>
    public Digest KeyFor(string path)
        => Digest.OfSha256(PathText.Encode(string.Create(CultureInfo.InvariantCulture,
            $"{path}\0{Size}\0{MtimeSeconds}.{MtimeNanoseconds}\0{DeviceMajor}:{DeviceMinor}\0{Inode}")));

    private static FileIdentity? TryGet(int directory, string path, int flags)
    {
        Span<byte> answer = stackalloc byte[256]; // struct statx, the same on every architecture
        if (!OperatingSystem.IsLinux() || Interop.Status(directory, PathText.ToNative(path), flags, BasicStats, ref MemoryMarshal.GetReference(answer)) != 0)
        {
            return null;
        }
        ushort mode = BinaryPrimitives.ReadUInt16LittleEndian(answer[28..]);
        FileKind kind = (mode & 0xF000) switch
        {
            0x8000 => FileKind.Regular,
            0x4000 => FileKind.Directory,
            0xA000 => FileKind.Link,
            _ => FileKind.Other,
        };
        return new FileIdentity(
            kind,
            BinaryPrimitives.ReadInt64LittleEndian(answer[40..]),
            BinaryPrimitives.ReadUInt64LittleEndian(answer[32..]),
            BinaryPrimitives.ReadUInt32LittleEndian(answer[136..]),
            BinaryPrimitives.ReadUInt32LittleEndian(answer[140..]),
            BinaryPrimitives.ReadInt64LittleEndian(answer[112..]),
            BinaryPrimitives.ReadUInt32LittleEndian(answer[120..]))
        {
            Owner = BinaryPrimitives.ReadUInt32LittleEndian(answer[20..]),
            Mode = mode & 0xFFF,
            Names = BinaryPrimitives.ReadUInt32LittleEndian(answer[16..]),
            IsNullDevice = (mode & 0xF000) == 0x2000 && (BinaryPrimitives.ReadUInt32LittleEndian(answer[128..]), BinaryPrimitives.ReadUInt32LittleEndian(answer[132..])) == (1, 3),
        };
    }
}
