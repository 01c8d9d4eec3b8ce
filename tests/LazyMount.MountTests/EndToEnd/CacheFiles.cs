using LazyMount.TestKit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>What a run has left in its cache.</summary>
internal static class CacheFiles
{
    public static string[] All(LazyMountCli lazymount) => Directory.Exists(lazymount.CacheDirectory)
        ? Directory.GetFiles(lazymount.CacheDirectory, "*", SearchOption.AllDirectories)
        : [];

    /// <summary>Staged files: all whose name is not the hex of a digest.</summary>
    public static IEnumerable<string> Unfinished(LazyMountCli lazymount)
        => All(lazymount).Where(file => Path.GetFileName(file) is not { Length: 64 } name || !name.All(char.IsAsciiHexDigitLower));
}
