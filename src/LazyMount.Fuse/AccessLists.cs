using System.Buffers.Binary;
using LazyMount.Blobs.Files;
using LazyMount.FileSystem;

namespace LazyMount.Fuse;

/// <summary>POSIX access control lists (acl(5)) on a mount that FUSE shows.</summary>
internal static class AccessLists
{
    /// <summary>
    /// Whether the kernel is to enforce the lists of a tree. It asks for the list of every inode then, so only where there is one. In a user
    /// namespace that does not map every id the kernel refuses lists that name others, and with them the files: the modes alone count there,
    /// as the namespace could not have set such a list.
    /// </summary>
    public static bool AreEnforced(ImageTree tree) => tree.HasAccessLists && UserNamespace.OwnMapsEveryId;

    /// <summary>The attribute of the list that the kernel checks.</summary>
    public static ReadOnlySpan<byte> Name => "system.posix_acl_access"u8;

    /// <summary>Takes permissions away from a list, as chmod(2) would: those of the group from the mask, where there is one.</summary>
    /// <param name="umask">Permission bits.</param>
    /// <param name="list">The attribute's value: a version, and for each entry its tag, permissions and id (acl(5)).</param>
    public static void TakeAway(uint umask, Span<byte> list)
    {
        const int Header = 4, Entry = 8, Owner = 1, Group = 4, Mask = 0x10, Other = 0x20;
        Span<byte> group = default;
        for (Span<byte> rest = list.Length > Header ? list[Header..] : default; rest.Length >= Entry; rest = rest[Entry..])
        {
            switch (BinaryPrimitives.ReadUInt16LittleEndian(rest))
            {
                case Owner:
                    rest[2] &= (byte)~(umask >> 6);
                    break;
                case Group when group.IsEmpty:
                case Mask:
                    group = rest;
                    break;
                case Other:
                    rest[2] &= (byte)~umask;
                    break;
            }
        }
        if (!group.IsEmpty)
        {
            group[2] &= (byte)~(umask >> 3);
        }
    }
}
