using System.IO.Enumeration;
using LazyMount.Blobs.Images;

namespace LazyMount.Blobs.Cache;

/// <summary>
/// Keeps a cache within its limit. Processes share one cheap count of what they have written: a file to which each appends a
/// byte for every MiB. When that has grown by a sixteenth of the limit, whoever notices lists the files and deletes those that
/// were not used for the longest time, down to nine tenths of the limit. So the limit is passed by a sixteenth at most.
/// <para>Deleting needs nobody's leave: who has a file open goes on reading it, who wants it later fetches it again.</para>
/// </summary>
internal sealed class CacheTrimmer(string directory, long limit)
{
    private const long Unit = 1 << 20;
    private const long Block = 4096;
    private const string CountName = "written";

    private readonly string _chunks = Path.Combine(directory, "chunks") + Path.DirectorySeparatorChar;
    private readonly Lock _lock = new();

    // Begins anywhere, so that on average processes that write less than a unit are counted too.
    private long _uncounted = Random.Shared.NextInt64(Unit);
    private Task? _trimming;

    private long Threshold => Math.Clamp(limit / 16 / Unit, 1, 1024);

    /// <summary>Counts bytes written, and trims in the background when it is time.</summary>
    public void Account(long bytes)
    {
        lock (_lock)
        {
            _uncounted += bytes;
            if (_uncounted < Unit)
                return;
            long units = _uncounted / Unit;
            _uncounted -= units * Unit;
            if (Count(units) < Threshold || _trimming is { IsCompleted: false })
                return;
            _trimming = Task.Run(() => Trim(limit, limit / 10 * 9, DateTime.MaxValue));
        }
    }

    public CacheUsage Measure()
    {
        var kinds = new SortedDictionary<string, (int Files, long Bytes)>(StringComparer.Ordinal);
        foreach (CachedFile file in Files())
        {
            string kind = Path.GetRelativePath(directory, file.Path).Split(Path.DirectorySeparatorChar)[0];
            (int files, long bytes) = kinds.GetValueOrDefault(kind);
            kinds[kind] = (files + 1, bytes + file.Size);
        }
        return new CacheUsage(kinds, limit);
    }

    /// <summary>If there is more than <paramref name="most"/>, deletes down to <paramref name="goal"/>, oldest first.</summary>
    public (int Files, long Bytes) Trim(long most, long goal, DateTime unusedSince)
    {
        List<CachedFile> files = Files();
        long total = files.Sum(file => file.Size);
        int deleted = 0;
        long freed = 0;
        files.Sort(static (a, b) => a.LastUse.CompareTo(b.LastUse));
        foreach (CachedFile file in total <= most ? [] : files)
        {
            if (total <= goal || file.LastUse > unusedSince)
                break;
            try
            {
                File.Delete(file.Path);
                deleted++;
                freed += file.Size;
                total -= file.Size;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Not ours to delete.
            }
        }
        DeleteEmptyDirectories();
        ResetCount();
        return (deleted, freed);
    }

    private readonly record struct CachedFile(string Path, long Size, DateTime LastUse);

    private List<CachedFile> Files()
    {
        if (!Directory.Exists(directory))
            return [];
        return [.. new FileSystemEnumerable<CachedFile>(
            directory,
            (ref FileSystemEntry entry) => new CachedFile(entry.ToFullPath(), (SizeOf(ref entry) + Block - 1) / Block * Block, entry.LastWriteTimeUtc.UtcDateTime),
            new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true, AttributesToSkip = FileAttributes.None })
        {
            ShouldIncludePredicate = (ref FileSystemEntry entry) => !entry.IsDirectory && entry.Length > 0 && !entry.FileName.SequenceEqual(CountName),
        }];
    }

    private long SizeOf(ref FileSystemEntry entry)
        => entry.Directory.StartsWith(_chunks, StringComparison.Ordinal) ? ChunkStore.SizeOf(entry.ToFullPath(), entry.Length) : entry.Length;

    // Of the length after that many more bytes.
    private long Count(long units)
    {
        try
        {
            BlobCache.EnsureDirectory(directory);
            using var file = new FileStream(Path.Combine(directory, CountName), FileMode.Append, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
            file.Write(new byte[units]);
            return file.Length;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ImageException)
        {
            return 0;
        }
    }

    private void ResetCount()
    {
        try
        {
            File.Delete(Path.Combine(directory, CountName));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
        }
    }

    private void DeleteEmptyDirectories()
    {
        if (!Directory.Exists(_chunks))
            return;
        foreach (string blob in Directory.EnumerateDirectories(_chunks).SelectMany(Directory.EnumerateDirectories))
        {
            try
            {
                // Only the file that fetches are claimed in may be left; who has it open does not mind.
                if (Directory.EnumerateFiles(blob).All(file => new FileInfo(file).Length == 0))
                    Directory.Delete(blob, recursive: true);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // In use again.
            }
        }
    }
}
