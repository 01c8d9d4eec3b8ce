namespace LazyMount.Blobs.Cache;

/// <summary>The files and bytes in a cache, by kind.</summary>
/// <param name="Kinds">By directory: "blobs", "chunks", "layers" and so on.</param>
/// <param name="Limit">Bytes that it may hold.</param>
public sealed record CacheUsage(IReadOnlyDictionary<string, (int Files, long Bytes)> Kinds, long Limit)
{
    /// <summary>Files in all.</summary>
    public int Files => Kinds.Values.Sum(kind => kind.Files);

    /// <summary>Bytes on disk in all, files rounded up to blocks of 4 KiB.</summary>
    public long Bytes => Kinds.Values.Sum(kind => kind.Bytes);
}
