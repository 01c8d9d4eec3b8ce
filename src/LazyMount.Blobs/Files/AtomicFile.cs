using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Files;

/// <summary>
/// A file that appears under its name whole or not at all: staged under another name in the same file system, then renamed. A
/// reader sees the old file or the new one. Disposing without <see cref="Commit"/> removes the staged file.
/// <para>The staged file is <c>.lazymount-RANDOM.staging</c> and locked (flock) while it is written, so that <see cref="Sweep"/>
/// can tell what a killed process left behind from what another process is writing.</para>
/// </summary>
public sealed class AtomicFile : IDisposable
{
    /// <summary>How the names of staged files begin and end.</summary>
    public const string Prefix = ".lazymount-", Suffix = ".staging";

    /// <summary>For its owner only: 0600.</summary>
    public const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>For everybody to read and write, less the umask: 0666.</summary>
    public const UnixFileMode Shared = Private | UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.OtherWrite;

    // A file of a living process is not locked between open and flock.
    private static readonly TimeSpan s_abandonedAge = TimeSpan.FromSeconds(10);

    private readonly string _staged;
    private bool _ended;

    private AtomicFile(string staged, SafeFileHandle file) => (_staged, Handle) = (staged, file);

    /// <summary>The staged file, open for reading and writing, to be written by the caller.</summary>
    public SafeFileHandle Handle { get; }

    /// <summary>Stages a file.</summary>
    /// <param name="directory">Where it is staged: on the file system of its final name.</param>
    /// <param name="mode">Its mode, less the umask.</param>
    /// <param name="size">Bytes to reserve, so that a full disk says so before anything is fetched; 0 when that is not known.</param>
    /// <exception cref="IOException">No space, or no directory.</exception>
    /// <exception cref="UnauthorizedAccessException">No permission.</exception>
    public static AtomicFile Create(string directory, UnixFileMode mode, long size = 0)
    {
        string staged = Path.Combine(PathText.ForCalls(directory), $"{Prefix}{Guid.NewGuid():N}{Suffix}");
        SafeFileHandle file = Interop.Open(staged, Interop.ReadWrite | Interop.CreateNew, (int)mode);
        Interop.TryLock(file, out _); // nobody else has it; where there are no locks the age alone protects it
        if (!Interop.TryReserve(file, size))
        {
            Exception full = Interop.LastError(staged);
            TryDelete(staged);
            file.Dispose();
            throw full;
        }
        return new AtomicFile(staged, file);
    }

    /// <summary>Writes a whole file.</summary>
    /// <param name="path">Its name.</param>
    /// <param name="bytes">Its content.</param>
    /// <param name="mode">Its mode, less the umask.</param>
    /// <param name="durable">See <see cref="Commit"/>.</param>
    /// <exception cref="IOException">No space, or no directory.</exception>
    /// <exception cref="UnauthorizedAccessException">No permission.</exception>
    public static void Write(string path, ReadOnlySpan<byte> bytes, UnixFileMode mode = Private, bool durable = false)
    {
        using AtomicFile file = Create(Path.GetDirectoryName(path)!, mode, bytes.Length);
        RandomAccess.Write(file.Handle, bytes, 0);
        file.Commit(path, durable);
    }

    /// <summary>Gives the file its name, in the place of a file that has the name.</summary>
    /// <param name="path">The name, in the file system that it was staged in.</param>
    /// <param name="durable">
    /// Waits until file and name are on the disk: for what nobody would find to be lost after a power failure, or could get again.
    /// </param>
    /// <exception cref="FileNotFoundException">The staged file, or the directory, was deleted meanwhile.</exception>
    /// <exception cref="IOException">The disk fails.</exception>
    /// <exception cref="UnauthorizedAccessException">No permission.</exception>
    public void Commit(string path, bool durable)
    {
        ObjectDisposedException.ThrowIf(_ended, this);
        if (durable)
            RandomAccess.FlushToDisk(Handle);
        string directory = PathText.ForCalls(Path.GetDirectoryName(path)!);
        File.Move(_staged, Path.Combine(directory, Path.GetFileName(path)), overwrite: true);
        _ended = true;
        Handle.Dispose();
        if (durable)
            SyncDirectory(directory);
    }

    /// <summary>Removes the staged file, unless it has its name.</summary>
    public void Dispose()
    {
        if (_ended)
            return;
        _ended = true;
        TryDelete(_staged);
        Handle.Dispose();
    }

    /// <summary>Removes the staged files that killed processes left in a directory: those that are old and not locked.</summary>
    public static void Sweep(string directory)
    {
        try
        {
            foreach (string path in Directory.EnumerateFiles(PathText.ForCalls(directory), Prefix + "*" + Suffix))
            {
                if (IsAbandoned(path))
                    TryDelete(path);
            }
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            // The directory is gone or unreadable; staging will say so if it matters.
        }
    }

    /// <summary>True for the name of a staged file.</summary>
    internal static bool IsStagedName(ReadOnlySpan<char> name) => name.StartsWith(Prefix) && name.EndsWith(Suffix);

    /// <summary>True for a staged file that nobody writes any more: it is old and not locked.</summary>
    internal static bool IsAbandoned(string path) => DateTime.UtcNow - File.GetLastWriteTimeUtc(path) >= s_abandonedAge && !IsLocked(path);

    /// <summary>Deletes a file if that can be done.</summary>
    internal static bool TryDelete(string path)
    {
        try
        {
            File.Delete(path);
            return true;
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            return false;
        }
    }

    private static bool IsLocked(string path)
    {
        try
        {
            using SafeFileHandle file = Interop.Open(path, Interop.ReadOnly);
            return !Interop.TryLock(file, out int error) && error == Interop.TryAgain;
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            return true;
        }
    }

    private static void SyncDirectory(string directory)
    {
        try
        {
            using SafeFileHandle handle = Interop.Open(directory, Interop.ReadOnly);
            Interop.Sync(handle);
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            // A directory that may be written but not read: the file itself is on the disk.
        }
    }
}
