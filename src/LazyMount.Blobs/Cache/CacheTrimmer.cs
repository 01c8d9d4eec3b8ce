using System.IO.Enumeration;
using LazyMount.Blobs.Files;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Cache;

/// <summary>
/// Keeps a cache within its limit. Processes share one cheap count of what they have written: a file to which each appends a
/// byte for every MiB. When that has grown by a sixteenth of the limit (1 MiB at least, 1 GiB at most), whoever notices lists the
/// files and deletes those that were not used for the longest time, down to nine tenths of the limit. When it has grown by twice
/// as much, whoever writes waits for that. So the cache never holds more than its limit, a sixteenth of it (2 MiB at least), and for
/// each process that writes 1 MiB and the bytes of one write. What is staged counts and is not deleted: when it leaves no room, its
/// writer is refused.
/// <para>Deleting needs nobody's leave: who has a file open goes on reading it, who wants it later fetches it again. What is not
/// a layer's bytes or made of what is here (indexes, references, manifests) is small and dear to get again, so it is deleted as if it had been used a month
/// later than it was.</para>
/// </summary>
internal sealed class CacheTrimmer(string directory, long limit)
{
    private const long Unit = 1 << 20;
    private const long Block = 4096;
    private const string CountName = "written", TurnName = "trimming";

    // Larger blobs are transcoded layers.
    private const long MaxDocument = 4 << 20;

    private static readonly TimeSpan s_dearerBy = TimeSpan.FromDays(30);

    // How long a process that trims, and shows no life, is waited for.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    private readonly Lock _lock = new();

    // Begins anywhere, so that on average processes that write less than a unit are counted too.
    private long _uncounted = Random.Shared.NextInt64(Unit);
    private Task<bool>? _trimming;

    /// <summary>Bytes that the cache may hold.</summary>
    public long Limit => limit;

    private long Threshold => Math.Clamp(limit / 16 / Unit, 1, 1024);

    /// <summary>Counts bytes written, and trims in the background when it is time. Waits for that when it is overdue.</summary>
    public void Account(long bytes)
    {
        lock (_lock)
        {
            long count = Count(bytes);
            if (count >= Threshold && _trimming is not { IsCompleted: false })
                _trimming = Task.Factory.StartNew(MakeRoom, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
            if (count >= 2 * Threshold)
                _trimming!.Wait();
        }
    }

    /// <summary>Counts bytes of a file that is staged, and trims at once when it is time.</summary>
    /// <returns>False when there is more than the limit even so.</returns>
    public bool AccountStaged(long bytes)
    {
        lock (_lock)
            return Count(bytes) < Threshold || MakeRoom();
    }

    public CacheUsage Measure()
    {
        var kinds = new SortedDictionary<string, (int Files, long Bytes)>(StringComparer.Ordinal);
        foreach (CachedFile file in Files())
        {
            (int files, long bytes) = kinds.GetValueOrDefault(file.Kind);
            kinds[file.Kind] = (files + 1, bytes + file.Size);
        }
        return new CacheUsage(kinds, limit);
    }

    /// <summary>If there is more than <paramref name="most"/>, deletes down to <paramref name="goal"/>, oldest first.</summary>
    public (int Files, long Bytes) Trim(long most, long goal, DateTime unusedSince)
    {
        (int deleted, long freed, _) = TrimTo(most, goal, unusedSince);
        return (deleted, freed);
    }

    // True when the cache is within its limit then.
    private bool MakeRoom()
    {
        using CrossProcessLock? turn = TakeTurn();
        try
        {
            // Another process may just have made room. One that could not leaves the count high.
            return Counted() < Threshold || TrimTo(limit, limit / 10 * 9, DateTime.MaxValue).Left <= limit;
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            return true; // the cache is being deleted
        }
    }

    private CrossProcessLock? TakeTurn()
    {
        try
        {
            return CrossProcessLock.TryTakeTurnAsync(Path.Combine(directory, TurnName), s_patience, CancellationToken.None).GetAwaiter().GetResult();
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            return null; // two may delete at once
        }
    }

    private (int Deleted, long Freed, long Left) TrimTo(long most, long goal, DateTime unusedSince)
    {
        long counted = Counted();
        List<CachedFile> files = Files();
        long total = files.Sum(file => file.Size);
        int deleted = 0;
        long freed = 0;
        foreach (CachedFile file in files.Where(file => file.IsStaged && AtomicFile.IsAbandoned(file.Path)))
            Delete(file);
        files.RemoveAll(file => file.IsStaged);
        files.Sort(static (a, b) => a.Rank.CompareTo(b.Rank));
        foreach (CachedFile file in total <= most ? [] : files)
        {
            if (total <= goal)
                break;
            if (file.LastUse <= unusedSince)
                Delete(file);
        }
        DeleteEmptyDirectories();
        ResetCount(counted, leavesHigh: total > limit);
        return (deleted, freed, total);

        void Delete(CachedFile file)
        {
            if (!AtomicFile.TryDelete(file.Path))
                return; // not ours to delete
            deleted++;
            freed += file.Size;
            total -= file.Size;
        }
    }

    private readonly record struct CachedFile(string Kind, string Path, long Size, DateTime LastUse)
    {
        public bool IsStaged => AtomicFile.IsStagedName(System.IO.Path.GetFileName(Path.AsSpan()));

        // The lowest goes first.
        public DateTime Rank => IsChunks(Kind) || Kind == "trees" || (Kind == "blobs" && Size > MaxDocument) ? LastUse : LastUse + s_dearerBy;
    }

    private static bool IsChunks(ReadOnlySpan<char> kind) => kind.EndsWith("chunks", StringComparison.Ordinal);

    private List<CachedFile> Files()
    {
        if (!Directory.Exists(directory))
            return [];
        return [.. new FileSystemEnumerable<CachedFile>(
            directory,
            (ref FileSystemEntry entry) => Describe(ref entry),
            new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true, AttributesToSkip = FileAttributes.None })
        {
            ShouldIncludePredicate = (ref FileSystemEntry entry) => !entry.IsDirectory && entry.Directory.Length > directory.Length && (entry.Length > 0 || AtomicFile.IsStagedName(entry.FileName)),
        }];
    }

    // As it is on the disk: in blocks of 4 KiB, and of a segment the chunks that are there.
    private CachedFile Describe(ref FileSystemEntry entry)
    {
        ReadOnlySpan<char> below = entry.Directory[(directory.Length + 1)..];
        string kind = below[..(below.IndexOf(Path.DirectorySeparatorChar) is >= 0 and int end ? end : below.Length)].ToString();
        string path = entry.ToFullPath();
        long size = IsChunks(kind) ? ChunkStore.SizeOf(path, entry.Length) : entry.Length;
        return new CachedFile(kind, path, (size + Block - 1) / Block * Block, entry.LastWriteTimeUtc.UtcDateTime);
    }

    // Units that all processes have written since the last trimming. 0 when that cannot be told.
    private long Count(long bytes)
    {
        _uncounted += bytes;
        if (_uncounted < Unit)
            return 0;
        long units = _uncounted / Unit;
        _uncounted -= units * Unit;
        try
        {
            // FileMode.Append keeps a position of its own: two processes would write over each other's bytes.
            using SafeFileHandle file = Interop.Open(Path.Combine(directory, CountName), Interop.ReadWrite | Interop.Create | Interop.Append, (int)AtomicFile.Private);
            RandomAccess.Write(file, new byte[units], 0);
            return RandomAccess.GetLength(file);
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            return 0; // no directory, so no files
        }
    }

    private long Counted() => FileIdentity.TryOf(Path.Combine(directory, CountName))?.Size ?? 0;

    // What was counted while the files were listed and deleted may not have been seen: it stays.
    private void ResetCount(long counted, bool leavesHigh)
    {
        try
        {
            using var file = new FileStream(Path.Combine(directory, CountName), FileMode.Open, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
            file.SetLength(Math.Max(Math.Max(0, file.Length - counted), leavesHigh ? Threshold : 0));
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            // Nobody has counted yet.
        }
    }

    private void DeleteEmptyDirectories()
    {
        try
        {
            foreach (string kind in Directory.EnumerateDirectories(directory).Where(kind => IsChunks(kind)))
            {
                foreach (string blob in Directory.GetDirectories(kind, "*", SearchOption.AllDirectories).OrderByDescending(path => path.Length))
                {
                    // Only the file that fetches are claimed in may be left; who has it open does not mind.
                    if (!Directory.EnumerateDirectories(blob).Any() && Directory.EnumerateFiles(blob).All(file => new FileInfo(file).Length == 0))
                        Directory.Delete(blob, recursive: true);
                }
            }
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            // In use again, or gone.
        }
    }
}
