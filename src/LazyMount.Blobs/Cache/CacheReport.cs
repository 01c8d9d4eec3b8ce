namespace LazyMount.Blobs.Cache;

/// <summary>The result of verifying a cache.</summary>
/// <param name="Files">Files read.</param>
/// <param name="Bytes">Bytes of them.</param>
/// <param name="Damaged">Paths of files that were not, or not all, what they should be: what was wrong in them is gone.</param>
/// <param name="Unverifiable">Files of chunks that are as they were written, but of which no index says what they should be.</param>
public sealed record CacheReport(int Files, long Bytes, IReadOnlyList<string> Damaged, int Unverifiable);
