using LazyMount.TestKit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>What a run has left in its cache.</summary>
internal static class CacheFiles
{
    public static string[] All(LazyMountCli lazymount) => Directory.Exists(lazymount.CacheDirectory)
        ? Directory.GetFiles(lazymount.CacheDirectory, "*", SearchOption.AllDirectories)
        : [];

    /// <summary>Staged files: all whose name is not the hex of a digest, nor a segment's offset, nor that of an empty file that is locked.</summary>
    public static IEnumerable<string> Unfinished(LazyMountCli lazymount)
        => All(lazymount).Where(file => (Path.GetFileName(file) is not { Length: 64 } name || !name.All(char.IsAsciiHexDigitLower))
            && !(IsChunk(file) && Path.GetFileName(file).All(char.IsAsciiDigit))
            && Path.GetFileName(file) is not ("claims" or "written"));

    /// <summary>Segments of chunks of a layer.</summary>
    public static IEnumerable<string> Chunks(LazyMountCli lazymount, string digest)
        => All(lazymount).Where(file => IsChunk(file) && file.Contains(digest["sha256:".Length..], StringComparison.Ordinal) && Path.GetFileName(file).All(char.IsAsciiDigit));

    /// <summary>The stored indexes of a layer.</summary>
    public static IEnumerable<string> Indexes(LazyMountCli lazymount, string digest)
        => All(lazymount).Where(file => file.Contains("/layers/", StringComparison.Ordinal) && file.Contains(digest["sha256:".Length..], StringComparison.Ordinal));

    private static bool IsChunk(string file) => file.Contains("/chunks/", StringComparison.Ordinal);
}
