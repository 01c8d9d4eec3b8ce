using System.Globalization;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Files;

/// <summary>
/// An exclusive lock on a directory or a file, against other processes and other threads: flock(2). Nothing is written: who
/// reads the directory or the file needs no lock and is not held up. The kernel releases the lock when the process dies.
/// </summary>
public sealed partial class CrossProcessLock : IDisposable
{
    // Locked in a directory's place where only files that are open for writing can be locked (NFS).
    private const string FileInDirectory = ".lazymount.lock";

    private const int ReadOnly = 0, ReadWrite = 2, Create = 0x40, CloseOnExec = 0x80000; // O_RDONLY, O_RDWR, O_CREAT, O_CLOEXEC
    private const int Exclusive = 2, NonBlocking = 4;                                    // LOCK_EX, LOCK_NB
    private const int NotAllowed = 1, Interrupted = 4, BadFile = 9, WouldBlock = 11, NoAccess = 13; // EPERM, EINTR, EBADF, EWOULDBLOCK, EACCES

    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(20);

    private readonly SafeFileHandle _file;

    private CrossProcessLock(SafeFileHandle file) => _file = file;

    /// <summary>Waits for the lock, and takes it. Where the file system has no locks, nobody is waited for.</summary>
    /// <param name="path">A directory, or a file, which is made when there is none.</param>
    /// <param name="patience">How long others are waited for: a process that is stopped keeps its locks.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <returns>Null when others held the lock for all that time.</returns>
    /// <exception cref="IOException">The path cannot be opened.</exception>
    /// <exception cref="UnauthorizedAccessException">The path may not be opened.</exception>
    public static async Task<CrossProcessLock?> TryTakeAsync(string path, TimeSpan patience, CancellationToken cancellationToken)
    {
        bool isDirectory = Directory.Exists(path);
        var turn = new CrossProcessLock(Open(path, isDirectory));
        try
        {
            for (long start = Environment.TickCount64; ;)
            {
                int error = Flock(turn._file, Exclusive | NonBlocking) == 0 ? 0 : Marshal.GetLastPInvokeError();
                if (error is not (WouldBlock or Interrupted))
                {
                    if (error != BadFile || !isDirectory)
                        return turn;
                    turn.Dispose();
                    return await TryTakeAsync(Path.Combine(path, FileInDirectory), patience, cancellationToken).ConfigureAwait(false);
                }
                if (Environment.TickCount64 - start >= patience.TotalMilliseconds)
                {
                    turn.Dispose();
                    return null;
                }
                await Task.Delay(s_poll, cancellationToken).ConfigureAwait(false);
            }
        }
        catch
        {
            turn.Dispose();
            throw;
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
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Without /proc nobody is named.
        }
        return null;
    }

    /// <summary>Gives the lock back.</summary>
    public void Dispose() => _file.Dispose();

    private static SafeFileHandle Open(string path, bool isDirectory)
    {
        int file;
        while ((file = Open(path, (isDirectory ? ReadOnly : ReadWrite | Create) | CloseOnExec, 0x180)) < 0) // 0600
        {
            int error = Marshal.GetLastPInvokeError();
            string message = $"{Marshal.GetPInvokeErrorMessage(error)} : '{path}'";
            if (error is NotAllowed or NoAccess)
                throw new UnauthorizedAccessException(message);
            if (error != Interrupted)
                throw new IOException(message);
        }
        return new SafeFileHandle(file, ownsHandle: true);
    }

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int Open(string path, int flags, uint mode);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    private static partial int Flock(SafeFileHandle file, int operation);
}
