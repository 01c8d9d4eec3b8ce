using LazyMount.Blobs.Files;

namespace LazyMount.Blobs.Registry;

/// <summary>Reads files that users and engines keep for registries.</summary>
internal static class ConfigurationFile
{
    private const int MaxSize = 4 << 20;

    /// <summary>A whole file; null when there is none. /dev/null is an empty file. Nothing but a regular file is opened: a pipe would be waited for without end.</summary>
    /// <exception cref="InvalidDataException">It cannot be read; says why in a clause.</exception>
    public static byte[]? TryRead(string path)
    {
        path = PathText.ForCalls(path);
        try
        {
            FileIdentity? state = FileIdentity.TryOf(path);
            if (state is { IsNullDevice: true })
                return [];
            if (state is { } file && file.Kind != FileKind.Regular)
                throw new InvalidDataException(file.Kind == FileKind.Directory ? "it is a directory" : "it is not a regular file");
            if (new FileInfo(path).Length > MaxSize)
                throw new InvalidDataException($"it has more than {MaxSize >> 20} MiB");
            return File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            throw new InvalidDataException(FileProblem.Reason(e), e);
        }
    }
}
