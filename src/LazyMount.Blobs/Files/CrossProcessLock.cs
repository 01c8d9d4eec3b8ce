using System.Globalization;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Files;

/// <summary>
/// An exclusive lock on a directory or a file, against other processes and other threads: flock(2). Who reads the directory or
/// the file needs no lock and is not held up. The kernel gives the lock back when the process dies. Nobody is waited for without
/// a bound: a process that is stopped keeps its locks.
/// </summary>
public sealed class CrossProcessLock : IDisposable
{
    // Locked in a directory's place where only files that are open for writing can be locked (NFS).
    private const string FileInDirectory = ".lazymount.lock";

    private const int OwnerOnly = 0x180; // 0600

    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(20);

    // How often the holder of a turn shows that it lives: a few times within anybody's patience.
    private static readonly TimeSpan s_beat = TimeSpan.FromSeconds(2);

    private readonly SafeFileHandle _file;
    private readonly string? _turn; // the file of a turn, which goes with it
    private readonly Timer? _beat;

    private CrossProcessLock(SafeFileHandle file, string? turn)
    {
        (_file, _turn) = (file, turn);
        if (turn is not null)
            _beat = new Timer(static held => ShowLife((SafeFileHandle)held!), file, s_beat, s_beat);
    }

    /// <summary>Waits for the lock, and takes it. Where the file system has no locks, nobody is waited for.</summary>
    /// <param name="path">A directory, or a file, which is made when there is none.</param>
    /// <param name="patience">How long others are waited for.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <returns>Null when others held the lock for all that time.</returns>
    /// <exception cref="IOException">The path cannot be opened.</exception>
    /// <exception cref="UnauthorizedAccessException">The path may not be opened.</exception>
    public static async Task<CrossProcessLock?> TryTakeAsync(string path, TimeSpan patience, CancellationToken cancellationToken)
    {
        bool isDirectory = FileIdentity.TryOf(path) is { Kind: FileKind.Directory };
        SafeFileHandle? file = null;
        try
        {
            file = Open(path, isDirectory);
            for (long start = Environment.TickCount64; !Interop.TryLock(file, out int error);)
            {
                if (error == Interop.BadFile && isDirectory)
                    return await TryTakeAsync(Path.Combine(path, FileInDirectory), patience, cancellationToken).ConfigureAwait(false);
                if (error != Interop.TryAgain)
                    break; // no locks here
                if (Environment.TickCount64 - start >= patience.TotalMilliseconds)
                    return null;
                await Task.Delay(s_poll, cancellationToken).ConfigureAwait(false);
            }
            var taken = new CrossProcessLock(file, null);
            file = null;
            return taken;
        }
        finally
        {
            file?.Dispose();
        }
    }

    /// <summary>
    /// Waits for a turn at long work, and takes it. The holder touches the file every other second while it lives, and is waited
    /// for as long as it does. The file is there only while somebody holds the turn.
    /// </summary>
    /// <param name="path">A file of its own, in a directory that is there.</param>
    /// <param name="patience">How long a holder may show no life: one that is stopped shows none.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <returns>Null when the holder showed no life for all that time.</returns>
    /// <exception cref="IOException">The file cannot be opened.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be opened.</exception>
    public static async Task<CrossProcessLock?> TryTakeTurnAsync(string path, TimeSpan patience, CancellationToken cancellationToken)
    {
        while (true)
        {
            SafeFileHandle? file = null;
            try
            {
                file = Open(path, isDirectory: false);
                long start = Environment.TickCount64;
                var seen = LastLife(file);
                while (!Interop.TryLock(file, out int error) && error == Interop.TryAgain)
                {
                    if (LastLife(file) is var now && now != seen)
                        (seen, start) = (now, Environment.TickCount64);
                    if (Environment.TickCount64 - start >= patience.TotalMilliseconds)
                        return null;
                    await Task.Delay(s_poll, cancellationToken).ConfigureAwait(false);
                }
                // Its last holder may have removed it; then the file to lock is another.
                if (FileIdentity.TryOf(path) is { } there && FileIdentity.TryOf(file) is { } here && there.IsSameFile(here))
                {
                    var taken = new CrossProcessLock(file, path);
                    file = null;
                    return taken;
                }
            }
            finally
            {
                file?.Dispose();
            }
        }
    }

    /// <summary>The process that holds the lock on a path; null when there is none, or none that can be seen from here.</summary>
    public static int? FindHolder(string path)
    {
        if (FileIdentity.TryOf(path) is not { } file)
            return null;
        string place = string.Create(CultureInfo.InvariantCulture, $"{file.DeviceMajor:x2}:{file.DeviceMinor:x2}:{file.Inode}");
        try
        {
            // 1: FLOCK  ADVISORY  WRITE 4711 fd:00:1234 0 EOF
            foreach (string line in File.ReadLines("/proc/locks"))
            {
                string[] fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                if (fields.Length > 5 && fields[1] == "FLOCK" && fields[5] == place && int.TryParse(fields[4], CultureInfo.InvariantCulture, out int process) && process > 0)
                    return process;
            }
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            // Without /proc nobody is named.
        }
        return null;
    }

    /// <summary>Gives the lock back.</summary>
    public void Dispose()
    {
        if (_file.IsClosed)
            return;
        _beat?.Dispose();
        if (_turn is not null)
            AtomicFile.TryDelete(_turn); // while the lock is held: who waits for it sees that the file is gone, and makes a new one
        _file.Dispose();
    }

    private static SafeFileHandle Open(string path, bool isDirectory)
        => Interop.Open(path, isDirectory ? Interop.ReadOnly : Interop.ReadWrite | Interop.Create, OwnerOnly);

    private static (long Seconds, uint Nanoseconds) LastLife(SafeFileHandle file) => FileIdentity.TryOf(file) is { } now ? (now.MtimeSeconds, now.MtimeNanoseconds) : default;

    private static void ShowLife(SafeFileHandle file)
    {
        try
        {
            File.SetLastWriteTimeUtc(file, DateTime.UtcNow);
        }
        catch (Exception e) when (FileProblem.IsOne(e) || e is ObjectDisposedException)
        {
            // Given back, or a file system without times: others go on without waiting.
        }
    }
}
