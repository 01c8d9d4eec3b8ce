namespace LazyMount.Blobs.Files;

/// <summary>
/// Where the program keeps its files when the user names no place: a variable of its own says, else root has a directory of the
/// system, else the XDG base directory specification says. Root of a user namespace has the system's directory where it can be written.
/// </summary>
public static class StandardDirectory
{
    private const string Name = "lazymount";

    /// <summary>The cache directory, whose files can be made again: $LAZYMOUNT_CACHE, root: /var/cache/lazymount, else $XDG_CACHE_HOME/lazymount, else ~/.cache/lazymount.</summary>
    /// <remarks>$XDG_CACHE_HOME does not count for the system's root: under sudo it may be another user's, and such a cache is refused.</remarks>
    public static string Cache => Find("LAZYMOUNT_CACHE", "XDG_CACHE_HOME", ".cache", HasSystems("/var/cache") ? "/var/cache" : null, systemFirst: true, PathText.FromEnvironment);

    /// <summary>The state directory, with records and logs of mounts: $LAZYMOUNT_STATE, $XDG_STATE_HOME/lazymount, root: /var/lib/lazymount, else ~/.local/state/lazymount.</summary>
    public static string State => Find("LAZYMOUNT_STATE", "XDG_STATE_HOME", ".local/state", HasSystems("/var/lib") ? "/var/lib" : null, systemFirst: false, PathText.FromEnvironment);

    /// <summary>The user's home directory.</summary>
    public static string Home => PathText.FromEnvironment("HOME")
        ?? Environment.GetFolderPath(Environment.SpecialFolder.UserProfile, Environment.SpecialFolderOption.DoNotVerify);

    /// <param name="variable">Names the directory itself.</param>
    /// <param name="standard">Names the directory above, by the XDG specification.</param>
    /// <param name="inHome">The directory above in the user's home.</param>
    /// <param name="system">The system's directory above, for those who use it; else null.</param>
    /// <param name="systemFirst">The system's directory goes before <paramref name="standard"/>.</param>
    /// <param name="environment">Gives the value of a variable.</param>
    internal static string Find(string variable, string standard, string inHome, string? system, bool systemFirst, Func<string, string?> environment)
    {
        if (environment(variable) is { Length: > 0 } own)
            return PathText.FullPath(own);
        if (OperatingSystem.IsWindows())
            return Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData), Name);
        // The specification: a relative path is to be ignored.
        string? given = environment(standard) is { Length: > 0 } path && Path.IsPathRooted(path) ? path : null;
        string parent = (systemFirst ? system ?? given : given ?? system) ?? Path.Combine(environment("HOME") ?? Home, inHome);
        return PathText.FullPath(Path.Combine(parent, Name));
    }

    private static bool HasSystems(string parent)
        => !OperatingSystem.IsWindows() && Environment.IsPrivilegedProcess && (UserNamespace.IsOwnInitial || MayWrite(Path.Combine(parent, Name)));

    // To the directory, or to the first one above it that is there and in which it would be made.
    private static bool MayWrite(string directory)
    {
        string? there = directory;
        while (there is not null && FileIdentity.TryOf(there) is null)
            there = Path.GetDirectoryName(there);
        return there is not null && Interop.MayWrite(there);
    }
}
