using System.Globalization;
using LazyMount.Blobs.Files;

namespace LazyMount.Fuse;

/// <summary>The processes that keep a mount from being unmounted, as far as /proc tells. Nothing is asked of the mount itself, which may not answer.</summary>
public static class MountUsers
{
    /// <summary>Processes that have a file or directory of a mount open, are in it, or have mapped a file of it.</summary>
    /// <param name="directory">Where it is mounted.</param>
    /// <param name="most">How many to look for.</param>
    /// <returns>Their numbers and names, such as "713 (bash)". Empty where /proc does not show them, as to users other than root.</returns>
    public static IReadOnlyList<string> Find(string directory, int most)
    {
        HashSet<int> mounts = [.. MountInfo.ReadAll().Where(mount => mount.MountPoint == directory).Select(mount => mount.Id)];
        List<string> found = [];
        foreach (string process in Directory.EnumerateDirectories("/proc").Where(path => char.IsAsciiDigit(Path.GetFileName(path)[0])))
        {
            if (found.Count == most)
            {
                break;
            }
            try
            {
                if (Path.GetFileName(process) != Environment.ProcessId.ToString(CultureInfo.InvariantCulture) && Uses(process, directory, mounts))
                {
                    found.Add($"{Path.GetFileName(process)} ({File.ReadAllText($"{process}/comm").TrimEnd('\n')})");
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It has ended, or is another user's.
            }
        }
        return found;
    }

    private static bool Uses(string process, string directory, HashSet<int> mounts)
        => Array.Exists(["cwd", "root", "exe"], link => IsIn(new FileInfo($"{process}/{link}").LinkTarget, directory))
            || Directory.EnumerateFiles($"{process}/fdinfo").Any(file => IsOf(file, mounts))
            || File.ReadLines($"{process}/maps").Any(line => line.IndexOf('/', StringComparison.Ordinal) is > 0 and int at && IsIn(line[at..], directory));

    private static bool IsIn(string? path, string directory)
        => path is not null && PathText.Decode(PathText.Encode(path)).StartsWith(directory, StringComparison.Ordinal) && (path.Length == directory.Length || path[directory.Length] == '/');

    private static bool IsOf(string file, HashSet<int> mounts)
    {
        try
        {
            return MountInfo.IdIn(file) is int id && mounts.Contains(id);
        }
        catch (IOException)
        {
            return false; // closed meanwhile
        }
    }
}
