namespace LazyMount.Indexes.Build;

/// <summary>Writes small files of the cache so that readers see all or nothing.</summary>
internal static class StagedFile
{
    /// <summary>Writes under a name of its own beside <paramref name="path"/> and renames; what cannot be written leaves nothing.</summary>
    /// <exception cref="IOException">No space, or no directory.</exception>
    /// <exception cref="UnauthorizedAccessException">No permission.</exception>
    public static void Write(string path, byte[] bytes)
    {
        string staged = $"{path}.{Guid.NewGuid():N}.tmp";
        try
        {
            File.WriteAllBytes(staged, bytes);
            File.Move(staged, path, overwrite: true);
        }
        catch
        {
            File.Delete(staged);
            throw;
        }
    }
}
