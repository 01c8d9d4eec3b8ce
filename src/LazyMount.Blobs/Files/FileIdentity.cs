using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
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

    /// <summary>A pipe, a socket or a device: opening one may never return.</summary>
    Other,
}

/// <summary>Tells one state of a file from another without reading it: statx(2).</summary>
public readonly partial record struct FileIdentity(FileKind Kind, long Size, ulong Inode, uint DeviceMajor, uint DeviceMinor, long MtimeSeconds, uint MtimeNanoseconds)
{
    private const int CurrentDirectory = -100, EmptyPath = 0x1000; // AT_FDCWD, AT_EMPTY_PATH
    private const uint BasicStats = 0x7FF;                         // STATX_BASIC_STATS

    /// <summary>Of what a path names, symbolic links followed; null when that cannot be told. Opens nothing: a pipe would wait for its writer.</summary>
    public static FileIdentity? TryOf(string path) => TryGet(CurrentDirectory, path, 0);

    /// <summary>Of an open file.</summary>
    public static FileIdentity? TryOf(SafeFileHandle file) => TryGet((int)file.DangerousGetHandle(), "", EmptyPath);

    /// <summary>Names this state of the file at this path, as what is remembered about its content is kept under.</summary>
    public Digest KeyFor(string path)
        => Digest.OfSha256(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture,
            $"{path}\0{Size}\0{MtimeSeconds}.{MtimeNanoseconds}\0{DeviceMajor}:{DeviceMinor}\0{Inode}")));

    private static FileIdentity? TryGet(int directory, string path, int flags)
    {
        Span<byte> answer = stackalloc byte[256]; // struct statx, the same on every architecture
        if (!OperatingSystem.IsLinux() || Statx(directory, path, flags, BasicStats, ref MemoryMarshal.GetReference(answer)) != 0)
        {
            return null;
        }
        FileKind kind = (BinaryPrimitives.ReadUInt16LittleEndian(answer[28..]) & 0xF000) switch
        {
            0x8000 => FileKind.Regular,
            0x4000 => FileKind.Directory,
            _ => FileKind.Other,
        };
        return new FileIdentity(
            kind,
            BinaryPrimitives.ReadInt64LittleEndian(answer[40..]),
            BinaryPrimitives.ReadUInt64LittleEndian(answer[32..]),
            BinaryPrimitives.ReadUInt32LittleEndian(answer[136..]),
            BinaryPrimitives.ReadUInt32LittleEndian(answer[140..]),
            BinaryPrimitives.ReadInt64LittleEndian(answer[112..]),
            BinaryPrimitives.ReadUInt32LittleEndian(answer[120..]));
    }

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Statx(int directory, string path, int flags, uint mask, ref byte answer);
}
