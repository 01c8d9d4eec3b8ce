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
    public static bool AreEnforced(ImageTree tree) => tree.HasAccessLists && s_mapsEveryId.Value;

    private static readonly Lazy<bool> s_mapsEveryId = new(() => MapsEveryId("/proc/self/uid_map") && MapsEveryId("/proc/self/gid_map"));

    // In the initial user namespace, or one like it, the map is "0 0 4294967295".
    private static bool MapsEveryId(string map)
    {
        try
        {
            return File.ReadAllText(map).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries) is ["0", _, "4294967295"];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return true; // no /proc, or a kernel without user namespaces
        }
    }
}
