using System.Runtime.InteropServices;

namespace LazyMount.Node;

/// <summary>System calls that .NET has no name for.</summary>
internal static partial class Interop
{
    private const string Libc = "libc";

    /// <summary>Gives a directory the owner and group of another. It stays as it is where that cannot be read.</summary>
    public static unsafe void CopyOwner(string from, string to)
    {
        // struct statx: stx_mask, stx_blksize, stx_attributes (8), stx_nlink, stx_uid, stx_gid.
        const int AtFdCwd = -100, UidGid = 0x18, UidAt = 5, Size = 256;
        uint* result = stackalloc uint[Size / sizeof(uint)];
        if (StatX(AtFdCwd, from, 0, UidGid, result) == 0)
        {
            _ = ChangeOwner(to, result[UidAt], result[UidAt + 1]);
        }
    }

    /// <summary>What a file mask takes from everybody but the owner, and execution: 0177.</summary>
    public const int OwnerOnlyMask = 0x7F;

    /// <summary>umask(2); returns the one before.</summary>
    [LibraryImport(Libc, EntryPoint = "umask")]
    public static partial int SetFileMask(int mask);

    [LibraryImport(Libc, EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static unsafe partial int StatX(int directory, string path, int flags, uint mask, uint* result);

    [LibraryImport(Libc, EntryPoint = "lchown", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ChangeOwner(string path, uint user, uint group);
}
