namespace LazyMount.Blobs.Files;

/// <summary>What a user namespace (user_namespaces(7)) means for a process: user 0 of one that is not the initial one is not the system's root.</summary>
public static class UserNamespace
{
    private const string Initial = "user:[4026531837]"; // PROC_USER_INIT_INO

    /// <summary>Whether this process is in the initial user namespace. True where that cannot be told.</summary>
    public static bool IsOwnInitial { get; } = IsInitialOf("/proc/self") ?? true;

    /// <summary>Whether this process's namespace maps every user and group id, as the initial one does.</summary>
    public static bool OwnMapsEveryId { get; } = MapsEveryId("/proc/self/uid_map") && MapsEveryId("/proc/self/gid_map");

    /// <summary>Whether a process or thread is in the initial user namespace; null when that cannot be told.</summary>
    /// <param name="process">Its directory in /proc.</param>
    public static bool? IsInitialOf(string process)
    {
        try
        {
            return File.ResolveLinkTarget($"{process}/ns/user", returnFinalTarget: false) is { } target ? target.Name == Initial : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    // The map of the initial namespace is "0 0 4294967295".
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
