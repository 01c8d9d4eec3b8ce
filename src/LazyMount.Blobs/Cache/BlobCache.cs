using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Cache;

/// <summary>
/// The content-addressed directory of everything fetched. <c>ROOT/v1/chunks</c> holds chunks of layers (see
/// <see cref="ChunkStore"/>), <c>blobs/sha256/HEX</c> complete, verified blobs: manifests, configs and transcoded layers;
/// other parts of the product keep their files in <see cref="GetDirectory"/>. Mode 0700, shared by concurrent processes, safe
/// to delete at any time. A file under its final name is complete: it was staged in the same directory and renamed.
/// <para>Bounded: when files have grown enough, those that nobody has used for the longest time are deleted (see
/// <see cref="CacheTrimmer"/>). Times of last use are modification times.</para>
/// </summary>
public sealed class BlobCache
{
    /// <summary>The most that the cache holds when nobody says otherwise: 10 GiB.</summary>
    public const long DefaultLimit = 10L << 30;

    internal const string TemporarySuffix = ".tmp";

    private const string Version = "v1";

    // Coarse: it is for what is used whole, once in a while.
    private static readonly TimeSpan s_usePrecision = TimeSpan.FromMinutes(1);

    private readonly CacheTrimmer _trimmer;
    private int _swept;

    /// <param name="root">The directory; created with mode 0700 when missing.</param>
    /// <param name="limit">Bytes that it may hold.</param>
    /// <exception cref="ImageException"><see cref="ImageError.Local"/>: it cannot be created.</exception>
    public BlobCache(string root, long limit = DefaultLimit)
    {
        Root = Path.GetFullPath(root);
        EnsureDirectory(Root);
        _trimmer = new CacheTrimmer(Path.Combine(Root, Version), limit);
    }

    /// <summary>The directory given.</summary>
    public string Root { get; }

    /// <summary>A directory of this cache for another kind of file, such as "layers"; created when missing.</summary>
    public string GetDirectory(string kind)
    {
        string directory = Path.Combine(Root, Version, kind);
        EnsureDirectory(directory);
        return directory;
    }

    /// <summary>Whether all chunks of a blob are here that matched its digest once.</summary>
    public bool HasAll(Descriptor blob)
    {
        using var store = new ChunkStore(this, blob, ChunkDigests.DefaultChunkSize, NullLogger.Instance);
        return store.Find(present: false, 0, store.Count) == store.Count;
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

    /// <summary>Tells that an open blob goes on being used.</summary>
    public static void NoteUse(SafeFileHandle blob) => Touch(blob, s_usePrecision);

    /// <summary>Remembers what a reference names, for <see cref="TryRecall"/>.</summary>
    internal void Remember(ImageReference reference, Descriptor root)
    {
        byte[] text = Encoding.UTF8.GetBytes($"{reference}\n{root.Digest}\n{root.MediaType}\n");
        string path = PathOf(reference);
        try
        {
            if (File.Exists(path) && File.ReadAllBytes(path).AsSpan().SequenceEqual(text))
            {
                File.SetLastWriteTimeUtc(path, DateTime.UtcNow);
                return;
            }
            string staged = $"{path}.{Environment.ProcessId}.{Guid.NewGuid():N}{TemporarySuffix}";
            File.WriteAllBytes(staged, text);
            File.Move(staged, path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Only --offline would have wanted it.
        }
    }

    /// <summary>What a reference named when it was last resolved, or null.</summary>
    internal Descriptor? TryRecall(ImageReference reference)
    {
        try
        {
            return File.ReadAllLines(PathOf(reference)) is [_, string digest, string mediaType, ..] && Digest.TryParse(digest, out Digest parsed)
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

    /// <summary>Deletes what was not used for the longest time until at most <paramref name="keep"/> bytes are left.</summary>
    /// <param name="keep">Bytes to leave.</param>
    /// <param name="unusedSince">Files used later than this stay in any case.</param>
    /// <returns>Files and bytes that are gone.</returns>
    public (int Files, long Bytes) Prune(long keep, DateTime unusedSince) => _trimmer.Trim(keep, keep, unusedSince);

    /// <summary>Reads all blobs and chunks, and drops those that are not what they should be.</summary>
    /// <param name="chunksOf">The chunk digests of a blob, where they are known.</param>
    /// <param name="cancellationToken">Ends it between two files.</param>
    public CacheReport Verify(Func<Digest, ChunkDigests?> chunksOf, CancellationToken cancellationToken)
    {
        int files = 0;
        long read = 0;
        List<string> damaged = [];
        foreach (string path in Directory.EnumerateFiles(GetDirectory("blobs"), "*", SearchOption.AllDirectories))
        {
            if (Digest.TryParse($"{Path.GetFileName(Path.GetDirectoryName(path))}:{Path.GetFileName(path)}", out Digest digest))
                Check(path, () => VerifyBlob(path, digest));
        }
        foreach (string directory in Directory.EnumerateDirectories(GetDirectory("chunks")).SelectMany(Directory.EnumerateDirectories))
        {
            ChunkDigests? chunks = Digest.TryParse($"{Path.GetFileName(Path.GetDirectoryName(directory))}:{Path.GetFileName(directory)}", out Digest digest) ? chunksOf(digest) : null;
            foreach (string path in Directory.EnumerateFiles(directory))
            {
                if (long.TryParse(Path.GetFileName(path), NumberStyles.None, CultureInfo.InvariantCulture, out long offset))
                    Check(path, () => ChunkStore.Verify(path, offset, chunks));
            }
        }
        return new CacheReport(files, read, damaged);

        void Check(string path, Func<(long Bytes, bool IsSound)> verify)
        {
            cancellationToken.ThrowIfCancellationRequested();
            try
            {
                (long bytes, bool isSound) = verify();
                (files, read) = (files + 1, read + bytes);
                if (isSound)
                    return;
            }
            catch (FileNotFoundException)
            {
                return; // evicted meanwhile
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                File.Delete(path); // what cannot be read is as good as damaged
            }
            damaged.Add(path);
        }

        static (long Bytes, bool IsSound) VerifyBlob(string path, Digest digest)
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
            bool isSound = digest.Hex == HashOf(file, digest);
            if (!isSound)
                File.Delete(path);
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
            BlobStaging.Sweep(directory);
        return new BlobStaging(this, path, size);
    }

    /// <summary>Where caches live when the user names none: $LAZYMOUNT_CACHE, $XDG_CACHE_HOME/lazymount, root: /var/cache/lazymount, else ~/.cache/lazymount.</summary>
    public static string DefaultRoot
    {
        get
        {
            if (Environment.GetEnvironmentVariable("LAZYMOUNT_CACHE") is { Length: > 0 } own)
                return Path.GetFullPath(own);
            // The XDG base directory specification: a relative path is to be ignored.
            if (Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } xdg && Path.IsPathRooted(xdg))
                return Path.Combine(xdg, "lazymount");
            if (OperatingSystem.IsWindows())
                return Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData), "lazymount");
            return Environment.IsPrivilegedProcess
                ? "/var/cache/lazymount"
                : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile, Environment.SpecialFolderOption.DoNotVerify), ".cache", "lazymount");
        }
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
        using BlobStaging staging = Stage(blob);
        staging.Append(bytes);
        staging.Commit();
    }

    internal ImageException Failure(string what, Exception cause)
        => new(ImageError.Local, $"Cannot {what} in the cache {Root}: {Reason(cause)}; free some space there, or choose another directory with --cache-dir.", cause);

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

    internal string ChunkDirectoryOf(Digest digest, ChunkScope scope) => Path.Combine(Root, Version, "chunks", scope.Key ?? digest.Algorithm, digest.Hex);

    internal string PathOf(Digest digest) => Path.Combine(Root, Version, "blobs", digest.Algorithm, digest.Hex);

    // Directories are made again whenever they are needed, because the cache may be deleted under a running mount.
    internal static void EnsureDirectory(string directory)
    {
        try
        {
            if (OperatingSystem.IsWindows())
                Directory.CreateDirectory(directory);
            else
                Directory.CreateDirectory(directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ImageException(ImageError.Local, $"Cannot make the cache directory {directory}: {Reason(e)}; choose another with --cache-dir.", e);
        }
    }

    // The runtime's messages end in " : 'PATH'" and a full stop; the sentence has named the place already.
    private static string Reason(Exception e)
    {
        string message = e.Message;
        int path = message.IndexOf(" : '", StringComparison.Ordinal);
        return (path < 0 ? message : message[..path]).TrimEnd('.');
    }
}
