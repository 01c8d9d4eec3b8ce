using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Compression;
using LazyMount.Indexes.Tar;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Layers.Archives;

/// <summary>
/// Finds the local image that a user meant by a reference without a transport. <c>v2.tar</c> is a valid reference to Docker Hub, and so
/// is the name of most directories.
/// </summary>
public static class LocalImage
{
    // A file with more members before its manifest.json is not searched further.
    private const int MaxMembers = 10_000;

    /// <summary>The question "did you mean 'docker-archive:v2.tar'?" when a registry reference is also the path of a local image; else null.</summary>
    public static string? Suggest(ImageReference reference)
    {
        if (reference.Transport != Transport.Registry)
        {
            return null;
        }
        // "latest" is implied where no tag is given.
        string tag = reference.Tag is null or "latest" ? "" : $":{reference.Tag}", digest = reference.Digest is { } given ? $"@{given}" : "";
        return Suggest(reference.ShortPlace, tag + digest);
    }

    /// <summary>The question for the path of a local image; null when the directory or file there is not an image.</summary>
    public static string? Suggest(string path) => Suggest(path, "");

    private static string? Suggest(string path, string image)
    {
        // A reference's path ends at its first colon.
        if (path.Length == 0 || path.Contains(':', StringComparison.Ordinal))
        {
            return null;
        }
        try
        {
            return FileIdentity.TryOf(path)?.Kind switch
            {
                FileKind.Directory when IsLayout(path) => $"did you mean 'oci:{path}{image}'?",
                FileKind.Regular => SuggestArchive(path, image),
                _ => null,
            };
        }
        catch (Exception e) when (FileProblem.IsOne(e) || e is InvalidDataException or NotSupportedException)
        {
            return null;
        }
    }

    private static bool IsLayout(string path)
    {
        string directory = PathText.ForCalls(PathText.FullPath(path));
        return File.Exists(Path.Combine(directory, ArchiveSource.LayoutMarker)) || File.Exists(Path.Combine(directory, ArchiveSource.LayoutIndex));
    }

    private static string? SuggestArchive(string path, string image)
    {
        using SafeFileHandle file = File.OpenHandle(PathText.ForCalls(path));
        var head = new byte[TarHeader.BlockSize];
        int length = RandomAccess.Read(file, head, 0);
        if (Decompressor.Detect(head.AsSpan(0, length)) != CompressionFormat.None)
        {
            return $"did you mean 'docker-archive:{path}' or 'oci-archive:{path}'?"; // decoding all of it would take too long for a hint
        }
        (bool isLayout, bool isDocker, int members) = (false, false, 0);
        ArchiveFile.ReadMembers(file, RandomAccess.GetLength(file), member =>
        {
            ReadOnlySpan<byte> name = member.Path;
            name = name.StartsWith("./"u8) ? name[2..] : name;
            isDocker |= name.SequenceEqual("manifest.json"u8);
            isLayout |= name.SequenceEqual("index.json"u8) || name.SequenceEqual("oci-layout"u8);
            return !isDocker && ++members < MaxMembers;
        });
        // docker writes both since version 25, and the names of the images are in manifest.json.
        return isDocker ? $"did you mean 'docker-archive:{path}'?" : isLayout ? $"did you mean 'oci-archive:{path}{image}'?" : null;
    }
}
