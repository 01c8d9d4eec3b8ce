using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using LazyMount.Blobs.Counting;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Cache;

/// <summary>
/// The content-addressed directory of everything fetched. <c>ROOT/v1/chunks</c> holds chunks of layers (see
/// <see cref="ChunkStore"/>), <c>blobs/sha256/HEX</c> complete, verified blobs: manifests, configs and transcoded layers;
/// other parts of the product keep their files in <see cref="GetDirectory"/>. <c>v1</c> has mode 0700. Concurrent processes share
/// it, and it may be deleted at any time. A file under its final name is complete: it was staged in the same directory and renamed.
/// <para>What lies here is believed (index files say which bytes a layer has), so root and <c>v1</c> must belong to this user or
/// to root, and nobody else may write to them.</para>
/// <para>Bounded: when files have grown enough, those that nobody has used for the longest time are deleted (see
/// <see cref="CacheTrimmer"/>). Times of last use are modification times.</para>
/// </summary>
public sealed class BlobCache
{
    /// <summary>The default limit of the cache in bytes: 10 GiB.</summary>
    public const long DefaultLimit = 10L << 30;

    private const string Version = "v1", Otherwise = "choose another directory with --cache-dir";

    // Coarse: it is for what is used whole, once in a while.
    private static readonly TimeSpan s_usePrecision = TimeSpan.FromMinutes(1);

    private readonly string _directory; // ROOT/v1, as file calls take it
    private readonly CacheTrimmer _trimmer;
    private int _swept;

    /// <param name="root">The directory; created with mode 0700 when missing.</param>
    /// <param name="limit">Bytes that it may hold.</param>
    /// <exception cref="ImageException"><see cref="ImageError.Local"/>: it cannot be created, or others may write to it.</exception>
    public BlobCache(string root, long limit = DefaultLimit)
    {
        Root = PathText.FullPath(root);
        EnsureOwned();
        _directory = Path.Combine(PathText.ForCalls(Root), Version);
        _trimmer = new CacheTrimmer(_directory, limit);
    }

    /// <summary>The directory given.</summary>
    public string Root { get; }

    /// <summary>Where those who read through this cache count what they do.</summary>
    public ServingCounters Counters { get; init; } = new();

    // Below it is what only this program makes. The root itself may be a directory of the user's, with a mode that is theirs to choose.
    private void EnsureOwned()
    {
        foreach ((string level, bool isPrivate) in ((string, bool)[])[(Root, false), (Path.Combine(Root, Version), true)])
        {
            if (Make(level, isPrivate) is { } problem)
                throw new ImageException(ImageError.Local, $"cannot use the cache directory '{level}': {problem}");
        }
    }

    private static string? Make(string directory, bool isPrivate = false)
    {
        try
        {
            return OwnedDirectory.Ensure(directory, Otherwise, isPrivate);
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            throw new ImageException(ImageError.Local, $"cannot make the cache directory '{directory}': {FileProblem.Reason(e)}; {FileProblem.Advice(e, "the directory above it", Otherwise)}", e);
        }
    }

    /// <summary>A directory of this cache for another kind of file, such as "layers"; created when missing.</summary>
    public string GetDirectory(string kind)
    {
        string directory = Path.Combine(_directory, kind);
        EnsureDirectory(directory);
        return directory;
    }

    /// <summary>A file of the cache as its user names it.</summary>
    public string NameOf(string path) => Path.Combine(Root, Version, Path.GetRelativePath(_directory, path));

    /// <summary>Whether all chunks of a blob are here that matched its digest once.</summary>
    public bool HasAll(Descriptor blob)
    {
        using var store = new ChunkStore(this, blob, ChunkDigests.DefaultChunkSize, NullLogger.Instance);
        return store.Find(present: false, 0, store.Grid.Count) == store.Grid.Count;
    }

    /// <summary>Bytes of a layer that are here, as chunks in any scope or as a whole.</summary>
    public long CachedBytes(Descriptor blob)
    {
        if (File.Exists(PathOf(blob.Digest)))
            return blob.Size;
        var grid = new ChunkGrid(blob.Size, ChunkDigests.DefaultChunkSize);
        var present = new HashSet<int>();
        try
        {
            foreach (string owner in Directory.EnumerateDirectories(Path.Combine(_directory, "chunks")))
                present.UnionWith(ChunkStore.ChunksIn(Path.Combine(owner, blob.Digest.Hex)));
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            // Deleted meanwhile: what was seen counts.
        }
        return present.Where(chunk => chunk < grid.Count).Sum(chunk => (long)grid.Extent(chunk, chunk + 1).Length);
    }

    /// <summary>Opens a complete blob for reading, or null.</summary>
    public SafeFileHandle? TryOpen(Digest digest)
    {
        try
        {
            SafeFileHandle file = File.OpenHandle(PathOf(digest), FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            Touch(file, s_usePrecision);
            return file;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null; // a blob that cannot be read is one that is not there: it can be fetched
        }
    }

    /// <summary>Tells that so many bytes were written to the cache, which may be too many now.</summary>
    public void Account(long bytes) => _trimmer.Account(bytes);

    /// <summary>Tells that an open file of the cache is used.</summary>
    public static void NoteUse(SafeFileHandle file) => Touch(file, s_usePrecision);

    /// <summary>A whole file of the cache, whose use is noted.</summary>
    /// <exception cref="IOException">There is no such file, or it cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public static byte[] ReadFile(string path)
    {
        using SafeFileHandle file = File.OpenHandle(path);
        byte[] bytes = new byte[RandomAccess.GetLength(file)];
        int filled = 0;
        while (filled < bytes.Length && RandomAccess.Read(file, bytes.AsSpan(filled), filled) is var read && read > 0)
            filled += read;
        NoteUse(file);
        return filled == bytes.Length ? bytes : bytes[..filled];
    }

    /// <summary>Writes a whole file of the cache, so that readers see all of it or nothing.</summary>
    /// <param name="path">The file, in a directory of the cache.</param>
    /// <param name="bytes">Its content.</param>
    /// <param name="durable">As in <see cref="AtomicFile.Commit"/>.</param>
    /// <exception cref="IOException">No space, or no directory.</exception>
    /// <exception cref="UnauthorizedAccessException">No permission.</exception>
    public void WriteFile(string path, ReadOnlySpan<byte> bytes, bool durable = false)
    {
        EnsureDirectory(Path.GetDirectoryName(path)!);
        AtomicFile.Write(path, bytes, AtomicFile.Private, durable);
        Account(bytes.Length);
    }

    /// <summary>Writes a file that is read in place (<see cref="CheckedFile"/>), so that readers see all of it or nothing.</summary>
    /// <param name="path">The file, in a directory of the cache.</param>
    /// <param name="write">Writes its data.</param>
    /// <returns>SHA-256 of the data.</returns>
    /// <exception cref="IOException">No space, or no directory.</exception>
    /// <exception cref="UnauthorizedAccessException">No permission.</exception>
    public Digest WriteChecked(string path, Action<CheckedFile.Writer> write) => WriteChecked(path, write, written: null);

    /// <summary>As <c>WriteChecked</c>. False, and nothing is written, when a file of that size exceeds the cache's limit.</summary>
    /// <param name="path">The file, in a directory of the cache.</param>
    /// <param name="size">Bytes of its data.</param>
    /// <param name="write">Writes them.</param>
    /// <param name="written">Called with the path when the file is there, before anything is deleted to make room.</param>
    /// <exception cref="IOException">No space, or no directory.</exception>
    /// <exception cref="UnauthorizedAccessException">No permission.</exception>
    public bool TryWriteChecked(string path, long size, Action<CheckedFile.Writer> write, Action<string> written)
    {
        if (size > _trimmer.Limit / 2)
            return false;
        string directory = Path.GetDirectoryName(path)!;
        EnsureDirectory(directory);
        AtomicFile.Sweep(directory); // large ones, of processes that were killed
        WriteChecked(path, write, written);
        return true;
    }

    private Digest WriteChecked(string path, Action<CheckedFile.Writer> write, Action<string>? written)
    {
        string directory = Path.GetDirectoryName(path)!;
        EnsureDirectory(directory);
        using AtomicFile file = AtomicFile.Create(directory, AtomicFile.Private);
        using var stream = new FileStream(file.Handle, FileAccess.Write, bufferSize: 0);
        using var writer = new CheckedFile.Writer(stream);
        write(writer);
        Digest digest = writer.Finish();
        long length = stream.Length;
        file.Commit(path, durable: false); // a torn file is noticed, and made again
        written?.Invoke(path);
        Account(length);
        return digest;
    }

    /// <summary>Counts bytes of a staged file.</summary>
    /// <param name="bytes">Bytes that were appended just now.</param>
    /// <param name="length">Bytes of the file so far.</param>
    /// <returns>False when the cache holds more than it may, whatever is deleted.</returns>
    internal bool AccountStaged(long bytes, long length) => length <= _trimmer.Limit && _trimmer.AccountStaged(bytes);

    /// <summary>Remembers what a reference names, for <see cref="TryRecall"/>.</summary>
    internal void Remember(ImageReference reference, Descriptor root)
    {
        byte[] text = Encoding.UTF8.GetBytes($"{reference}\n{root.Digest}\n{root.MediaType}\n");
        string path = PathOf(reference);
        try
        {
            if (!File.Exists(path) || !ReadFile(path).AsSpan().SequenceEqual(text))
                WriteFile(path, text, durable: true); // nothing else would show that it is torn
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            // Only --offline would have wanted it.
        }
    }

    /// <summary>What a reference named when it was last resolved, or null.</summary>
    internal Descriptor? TryRecall(ImageReference reference)
    {
        try
        {
            return Encoding.UTF8.GetString(ReadFile(PathOf(reference))).Split('\n') is [_, string digest, string mediaType, ..] && Digest.TryParse(digest, out Digest parsed)
                ? new Descriptor(mediaType, parsed, 0)
                : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private string PathOf(ImageReference reference)
        => Path.Combine(GetDirectory("references"), Digest.OfSha256(Encoding.UTF8.GetBytes(reference.ToString())).Hex);

    /// <summary>What the cache holds, by kind of file.</summary>
    public CacheUsage Measure() => _trimmer.Measure();

    /// <summary>Deletes the least recently used files until at most <paramref name="keep"/> bytes are left.</summary>
    /// <param name="keep">Bytes to leave.</param>
    /// <param name="unusedSince">Files used later than this stay in any case.</param>
    /// <returns>Files and bytes that are gone.</returns>
    public (int Files, long Bytes) Prune(long keep, DateTime unusedSince) => _trimmer.Trim(keep, keep, unusedSince);

    /// <summary>Reads all blobs, chunks and tree files, and deletes the damaged ones.</summary>
    /// <param name="chunksOf">The digests of a blob's chunks in the scope of a key, null for that of everybody, where they are known.</param>
    /// <param name="cancellationToken">Ends it between two files.</param>
    public CacheReport Verify(Func<Digest, string?, ChunkDigests?> chunksOf, CancellationToken cancellationToken)
    {
        int files = 0, unverifiable = 0;
        long read = 0;
        List<string> damaged = [];
        foreach (string path in Directory.EnumerateFiles(GetDirectory("blobs"), "*", SearchOption.AllDirectories))
        {
            if (Digest.TryParse($"{Path.GetFileName(Path.GetDirectoryName(path))}:{Path.GetFileName(path)}", out Digest digest))
                Check(path, () => VerifyBlob(path, digest));
        }
        foreach (string directory in Directory.EnumerateDirectories(GetDirectory("chunks")).SelectMany(Directory.EnumerateDirectories))
        {
            // Below an algorithm's directory are the chunks of everybody, below any other those of a scope.
            string owner = Path.GetFileName(Path.GetDirectoryName(directory)!), hex = Path.GetFileName(directory);
            ChunkDigests? chunks = Digest.TryParse($"{owner}:{hex}", out Digest blob) ? chunksOf(blob, null)
                : Digest.TryParseHex(hex, out blob) ? chunksOf(blob, owner)
                : null;
            foreach (string path in FilesOf(directory))
            {
                if (long.TryParse(Path.GetFileName(path), NumberStyles.None, CultureInfo.InvariantCulture, out long offset) && Check(path, () => ChunkStore.Verify(path, offset, chunks)) && chunks is null)
                    unverifiable++;
            }
        }
        foreach (string path in FilesOf(GetDirectory("trees")).Where(path => !AtomicFile.IsStagedName(Path.GetFileName(path))))
            Check(path, () => CheckedFile.Verify(path));
        return new CacheReport(files, read, damaged, unverifiable);

        // True for a file that is there and sound.
        bool Check(string path, Func<(long Bytes, bool IsSound)> verify)
        {
            cancellationToken.ThrowIfCancellationRequested();
            try
            {
                (long bytes, bool isSound) = verify();
                (files, read) = (files + 1, read + bytes);
                if (isSound)
                    return true;
            }
            catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
            {
                return false; // evicted meanwhile
            }
            catch (Exception e) when (FileProblem.IsOne(e))
            {
                AtomicFile.TryDelete(path); // what cannot be read is as good as damaged
            }
            damaged.Add(NameOf(path));
            return false;
        }

        // Another process may delete the directory at any time.
        static string[] FilesOf(string directory)
        {
            try
            {
                return Directory.GetFiles(directory);
            }
            catch (Exception e) when (FileProblem.IsOne(e))
            {
                return [];
            }
        }

        static (long Bytes, bool IsSound) VerifyBlob(string path, Digest digest)
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
            bool isSound = digest.Hex == HashOf(file, digest);
            if (!isSound)
                AtomicFile.TryDelete(path);
            return (file.Length, isSound);
        }

        static string HashOf(FileStream file, Digest digest)
        {
            using IncrementalHash hash = digest.StartHash();
            byte[] buffer = new byte[1 << 20];
            for (int length; (length = file.Read(buffer)) > 0;)
                hash.AppendData(buffer, 0, length);
            return Convert.ToHexStringLower(hash.GetHashAndReset());
        }
    }

    /// <summary>Stages a blob that arrives in order; see <see cref="BlobStaging"/>.</summary>
    /// <exception cref="ImageException"><see cref="ImageError.Local"/>: no space or no permission.</exception>
    public BlobStaging Stage(Descriptor blob) => Stage(blob.Digest, blob.Size);

    /// <summary>Stages a blob of which neither digest nor size is known yet; it is named when it is committed.</summary>
    /// <param name="origin">The blob that it is made from.</param>
    public BlobStaging StageDerived(Digest origin) => Stage(origin, -1);

    private BlobStaging Stage(Digest digest, long size)
    {
        string path = PathOf(digest);
        string directory = Path.GetDirectoryName(path)!;
        EnsureDirectory(directory);
        if (Interlocked.Exchange(ref _swept, 1) == 0)
            AtomicFile.Sweep(directory);
        return new BlobStaging(this, path, size);
    }

    /// <summary>A small blob's bytes, verified, or null: absent, and corrupt ones are as good as absent.</summary>
    internal byte[]? TryRead(Digest digest, int maxSize)
    {
        using SafeFileHandle? file = TryOpen(digest);
        if (file is null)
            return null;
        try
        {
            long length = RandomAccess.GetLength(file);
            if (length > maxSize)
                return null;
            byte[] bytes = new byte[length];
            int filled = 0;
            while (filled < bytes.Length && RandomAccess.Read(file, bytes.AsSpan(filled), filled) is var read && read > 0)
                filled += read;
            return filled == bytes.Length && digest.Verifies(bytes) ? bytes : null;
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>Keeps a small blob that the caller has verified.</summary>
    internal void Keep(Descriptor blob, ReadOnlySpan<byte> bytes)
    {
        try
        {
            using BlobStaging staging = Stage(blob);
            staging.Append(bytes);
            staging.Commit();
        }
        catch (ImageException e) when (e.InnerException is { } cause && (FileProblem.IsTheDisks(cause) || FileProblem.IsMissing(cause)))
        {
            // It is fetched again next time. A mount that goes on while the disk is full, or the cache is deleted, needs it now.
        }
    }

    internal ImageException Failure(string what, Exception cause)
        => new(ImageError.Local, $"cannot {what} in the cache '{Root}': {FileProblem.Reason(cause)}; {FileProblem.Advice(cause, "it", Otherwise)}", cause);

    internal ImageException TooLarge(string what)
        => new(ImageError.Local, $"cannot {what} in the cache '{Root}': the cache would exceed its limit of {_trimmer.Limit} bytes; raise --cache-limit");

    /// <summary>Notes that a file is in use.</summary>
    internal static void Touch(SafeFileHandle file, TimeSpan precision)
    {
        try
        {
            DateTime now = DateTime.UtcNow;
            if (now - File.GetLastWriteTimeUtc(file) > precision)
                File.SetLastWriteTimeUtc(file, now);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Somebody else's file: it is theirs to lose.
        }
    }

    internal string ChunkDirectoryOf(Digest digest, ChunkScope scope) => Path.Combine(_directory, "chunks", scope.Key ?? digest.Algorithm, digest.Hex);

    internal string PathOf(Digest digest) => Path.Combine(_directory, "blobs", digest.Algorithm, digest.Hex);

    // Directories are made again whenever they are needed, because the cache may be deleted under a running mount.
    internal void EnsureDirectory(string directory)
    {
        if (Directory.Exists(directory))
            return;
        EnsureOwned();
        Make(directory);
    }
}
