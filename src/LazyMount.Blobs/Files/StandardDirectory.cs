namespace LazyMount.Blobs.Files;

/// <summary>
/// Where the program keeps its files when the user names no place: a variable of its own says, else root has a directory of the
/// system, else the XDG base directory specification says. Root's files never lie in the home of the user who became root.
/// </summary>
public static class StandardDirectory
{
    private const string Name = "lazymount";

    /// <summary>The cache directory, whose files can be made again: $LAZYMOUNT_CACHE, root: /var/cache/lazymount, else $XDG_CACHE_HOME/lazymount, else ~/.cache/lazymount.</summary>
    public static string Cache => Find("LAZYMOUNT_CACHE", "/var/cache", "XDG_CACHE_HOME", ".cache", IsSystemsRoot, PathText.FromEnvironment);

    /// <summary>The state directory, with records and logs of mounts: $LAZYMOUNT_STATE, root: /var/lib/lazymount, else $XDG_STATE_HOME/lazymount, else ~/.local/state/lazymount.</summary>
    public static string State => Find("LAZYMOUNT_STATE", "/var/lib", "XDG_STATE_HOME", ".local/state", IsSystemsRoot, PathText.FromEnvironment);

    /// <summary>The user's home directory.</summary>
    public static string Home => PathText.FromEnvironment("HOME")
        ?? Environment.GetFolderPath(Environment.SpecialFolder.UserProfile, Environment.SpecialFolderOption.DoNotVerify);

    // In a user namespace (unshare -Ur) user 0 is somebody else, and the system's directories are not theirs.
    private static bool IsSystemsRoot => Environment.IsPrivilegedProcess && FileIdentity.TryOf("/") is not { Owner: not 0 };

    internal static string Find(string variable, string system, string standard, string inHome, bool isRoot, Func<string, string?> environment)
    {
        if (environment(variable) is { Length: > 0 } own)
            return PathText.FullPath(own);
        if (OperatingSystem.IsWindows())
            return Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData), Name);
        if (isRoot)
            return Path.Combine(system, Name);
        // The specification: a relative path is to be ignored.
        string parent = environment(standard) is { Length: > 0 } given && Path.IsPathRooted(given) ? given : Path.Combine(environment("HOME") ?? Home, inHome);
        return PathText.FullPath(Path.Combine(parent, Name));
    }
}
