namespace LazyMount.Blobs.Files;

/// <summary>
/// A directory whose content is believed, because nobody but this user and root can write to it. Levels that are missing are made
/// with mode 0700, each of them.
/// </summary>
public static class OwnedDirectory
{
    private const int OwnerOnly = 0x1C0;                     // 0700
    private const int OthersWrite = 0x12, OthersMode = 0x3F; // 0022, 0077
    private const int MostTries = 10;
    private const int Sticky = 0x200;                        // 01000: names belong to their owners

    /// <summary>Whether this process may make files in a directory: neither its mode nor a read-only file system forbids it.</summary>
    public static bool MayWrite(string directory) => Interop.MayWrite(directory);

    /// <summary>Makes the directory if it is missing, and says why it is not to be believed.</summary>
    /// <param name="path">The directory. A symbolic link to one is looked at like the directory itself.</param>
    /// <param name="otherwise">How to choose another directory, such as "choose another directory with --cache-dir".</param>
    /// <param name="isPrivate">
    /// Takes read permission away from others when the directory is this user's: what it holds may be secret. Of any other directory
    /// only one name is believed, which is looked at by itself: it may be sticky, as /tmp is.
    /// </param>
    /// <returns>Null when all is well; else the reason and the next step, such as "it belongs to user 1000; choose …".</returns>
    /// <exception cref="IOException">The directory cannot be made.</exception>
    /// <exception cref="UnauthorizedAccessException">The directory may not be made.</exception>
    public static string? Ensure(string path, string otherwise, bool isPrivate = false)
    {
        if (!OperatingSystem.IsLinux())
        {
            Directory.CreateDirectory(path);
            return null;
        }
        path = Path.TrimEndingDirectorySeparator(path);
        FileIdentity? found;
        for (int tries = 1; (found = FileIdentity.TryOf(path, followsLinks: false)) is null && tries <= MostTries; tries++)
        {
            try
            {
                Make(path);
            }
            catch (FileNotFoundException) when (tries < MostTries)
            {
                // Somebody removes the levels as we make them: a cache that is deleted.
            }
        }
        if (found is not { } named)
            throw new DirectoryNotFoundException($"No such file or directory : '{path}'");
        uint me = Interop.EffectiveUser();
        if (named.Kind == FileKind.Link && !IsTrusted(named.Owner))
            return $"it is a symbolic link of user {named.Owner}; {otherwise}";
        if ((named.Kind == FileKind.Link ? FileIdentity.TryOf(path) : named) is not { Kind: FileKind.Directory } directory)
            return $"it is not a directory; {otherwise}";
        if (!IsTrusted(directory.Owner))
            return $"it belongs to user {directory.Owner}, who could change what this user (number {me}) reads from it; {otherwise}";
        if ((directory.Mode & OthersWrite) != 0 && (isPrivate || (directory.Mode & Sticky) == 0))
            return $"others may write to it (mode {Convert.ToString(directory.Mode, 8)}); run chmod go-w '{path}', or {otherwise}";
        if (isPrivate && directory.Owner == me && (directory.Mode & OthersMode) != 0)
            Interop.TrySetMode(path, OwnerOnly); // not on a file system that is read-only
        return null;

        bool IsTrusted(uint owner) => owner == me || owner == 0;
    }

    // From the first level that is missing downwards. Another process may make the same.
    private static void Make(string path)
    {
        string? parent = Path.GetDirectoryName(path);
        if (!string.IsNullOrEmpty(parent) && FileIdentity.TryOf(parent) is null)
            Make(parent);
        Interop.MakeDirectory(path, OwnerOnly);
    }
}
