using System.Globalization;
using System.Runtime.InteropServices;
using LazyMount.Cli;
using LazyMount.Files;
using Microsoft.Win32.SafeHandles;

namespace LazyMount;

/// <summary>The libc calls about this process and its descriptors that .NET does not offer. Those that make files are in <see cref="FileCalls"/>.</summary>
internal static partial class Interop
{
    [LibraryImport("libc", EntryPoint = "malloc_trim")]
    private static partial int TrimHeap(nuint left);

    /// <summary>Gives memory that malloc holds free back to the system (malloc_trim(3)). Other C libraries than glibc do that themselves.</summary>
    public static void TrimHeap()
    {
        try
        {
            _ = TrimHeap(0);
        }
        catch (EntryPointNotFoundException)
        {
            // musl
        }
    }

    public const int StandardInput = 0, StandardOutput = 1, StandardError = 2;
    public const int EINTR = 4, EAGAIN = 11, EMFILE = 24, EPIPE = 32;

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    public static partial nint Write(SafeFileHandle file, ReadOnlySpan<byte> buffer, nint count);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true)]
    private static partial SafeFileHandle Open(ReadOnlySpan<byte> path, int flags, uint mode);

    [LibraryImport("libc", EntryPoint = "isatty")]
    private static partial int IsATty(int fd);

    [LibraryImport("libc", EntryPoint = "dup2", SetLastError = true)]
    private static partial int Dup2(SafeFileHandle from, int to);

    [LibraryImport("libc", EntryPoint = "setsid", SetLastError = true)]
    private static partial int SetSid();

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int SendSignal(int pid, int signal);

    [LibraryImport("libc", EntryPoint = "signal", SetLastError = true)]
    private static partial nint SetSignalHandler(int signal, nint handler);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int ControlFileDescriptor(int fd, int command, int flags);

    /// <summary>poll(2).</summary>
    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    public static partial int Poll(Span<PollDescriptor> files, nuint count, int milliseconds);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int ControlLock(SafeFileHandle file, int command, ref FileLock settings);

    /// <summary>
    /// Opens a log file so that whoever writes to it, by whatever descriptor, writes at its end (FileMode.Append does
    /// not: FileStream keeps a position of its own).
    /// </summary>
    public static SafeFileHandle OpenLog(string path, bool truncate)
    {
        const int WriteOnly = 1, Create = 0x40, Truncate = 0x200, Append = 0x400, NonBlock = 0x800, CloseOnExecFlag = 0x80000;
        const int NoReader = 6; // ENXIO, of a pipe; without NonBlock the call waits for one
        SafeFileHandle file = Open(ImagePathText.Encode(path + '\0'), WriteOnly | Create | Append | NonBlock | CloseOnExecFlag | (truncate ? Truncate : 0), 0x180 /* 0600 */);
        if (file.IsInvalid)
        {
            throw new CommandException(Marshal.GetLastPInvokeError() == NoReader
                ? $"cannot open the log file '{path}': it is a pipe that nobody reads; start its reader first"
                : $"cannot open the log file '{path}': {Marshal.GetLastPInvokeErrorMessage()}");
        }
        return file;
    }

    public static bool IsTerminal(int fd) => IsATty(fd) == 1;

    /// <summary>struct winsize of tty_ioctl(4).</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct WindowSize
    {
        public ushort Rows, Columns, HorizontalPixels, VerticalPixels;
    }

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int ControlTerminal(int fd, nuint request, ref WindowSize size);

    /// <summary>The columns of a terminal; 0 when it does not say.</summary>
    public static int TerminalWidth(int fd)
    {
        const int GetWindowSize = 0x5413; // TIOCGWINSZ, the same on x86-64 and arm64
        var size = default(WindowSize);
        return ControlTerminal(fd, GetWindowSize, ref size) == 0 ? size.Columns : 0;
    }

    /// <summary>Makes <paramref name="fd"/> another name of an open file.</summary>
    public static void Redirect(int fd, SafeFileHandle to)
    {
        if (Dup2(to, fd) < 0)
        {
            throw new IOException($"cannot redirect file descriptor {fd}: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    /// <summary>Leaves the terminal's session. Fails only for a group leader, which has nothing to leave.</summary>
    public static void StartSession() => _ = SetSid();

    /// <summary>False when there is no such process.</summary>
    public static bool Kill(int pid, int signal) => SendSignal(pid, signal) == 0;

    /// <summary>The signals that this process ignores: bit N-1 for signal N (proc_pid_status(5)). 0 where that cannot be read.</summary>
    public static ulong IgnoredSignals()
    {
        const string Label = "SigIgn:";
        try
        {
            string? line = File.ReadLines("/proc/self/status").FirstOrDefault(line => line.StartsWith(Label, StringComparison.Ordinal));
            return line is not null && ulong.TryParse(line[Label.Length..].Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out ulong mask) ? mask : 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return 0;
        }
    }

    /// <summary>
    /// Ends the process by a signal, as if it had no handler. A shell stops a loop when its command dies of Ctrl-C, not when it exits
    /// with a number. Returns only when the signal does not end a process.
    /// </summary>
    public static void EndBySignal(int signal)
    {
        const nint Default = 0; // SIG_DFL
        _ = SetSignalHandler(signal, Default);
        _ = SendSignal(Environment.ProcessId, signal);
    }

    /// <summary>Keeps descriptors that we were given, besides the standard three, from the programs that we start.</summary>
    public static void CloseInheritedOnExec()
    {
        const int SetFlags = 2, CloseOnExec = 1;
        // A worker may be started where /proc is not mounted (any more). There it has only what its keeper holds.
        const int Most = 1024;
        IEnumerable<int> open = Directory.Exists("/proc/self/fd")
            ? [.. Directory.EnumerateFileSystemEntries("/proc/self/fd").Select(path => int.Parse(Path.GetFileName(path), CultureInfo.InvariantCulture))] : Enumerable.Range(0, Most);
        foreach (int fd in open.Where(fd => fd > StandardError))
        {
            _ = ControlFileDescriptor(fd, SetFlags, CloseOnExec);
        }
    }

    /// <summary>
    /// Puts something in the place of standard descriptors that are closed: they would be given to the next files that are
    /// opened, and those would get our output. Writing to standard output then fails, as it should.
    /// </summary>
    public static void FillStandardDescriptors()
    {
        const int GetFlags = 1, ReadOnly = 0, WriteOnly = 1;
        for (int fd = StandardInput; fd <= StandardError; fd++)
        {
            if (ControlFileDescriptor(fd, GetFlags, 0) < 0)
            {
                Open("/dev/null\0"u8, fd == StandardError ? WriteOnly : ReadOnly, 0).SetHandleAsInvalid(); // stays open
            }
        }
    }

    /// <summary>Opens the pipe behind a descriptor once more, so that writing never waits for its reader; null when that cannot be.</summary>
    public static SafeFileHandle? OpenPipeWithoutWaiting(SafeFileHandle pipe)
    {
        const int WriteOnly = 1, NonBlocking = 0x800, CloseOnExecFlag = 0x80000;
        string path = string.Create(CultureInfo.InvariantCulture, $"/proc/self/fd/{pipe.DangerousGetHandle()}");
        return FileCalls.GetStatus((int)pipe.DangerousGetHandle(), out FileStatus status) == 0 && status.Type == FileCalls.Fifo
            && Open(ImagePathText.Encode(path + '\0'), WriteOnly | NonBlocking | CloseOnExecFlag, 0) is { IsInvalid: false } again ? again : null;
    }

    /// <summary>struct pollfd. A file below 0 is none.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct PollDescriptor
    {
        public int File;
        public short Events, Happened;
    }

    /// <summary>Waits a moment for a file to take bytes, or to fail.</summary>
    public static void WaitUntilWritable(SafeFileHandle file)
    {
        const short Output = 4; // POLLOUT
        const int Milliseconds = 50;
        var descriptor = new PollDescriptor { File = (int)file.DangerousGetHandle(), Events = Output };
        _ = Poll(new Span<PollDescriptor>(ref descriptor), 1, Milliseconds);
    }

    /// <summary>struct flock with 64-bit offsets, the same on all 64-bit architectures.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct FileLock
    {
        public short Type, Whence;
        public long Start, Length;
        public int Process;
    }

    private const short WriteLock = 1, NoLock = 2; // F_WRLCK, F_UNLCK

    /// <summary>Locks a whole file until its last descriptor is closed, by an open file description lock. False when another has it, or there are no locks.</summary>
    public static bool TryLock(SafeFileHandle file)
    {
        const int SetLock = 37; // F_OFD_SETLK
        var wanted = new FileLock { Type = WriteLock };
        return ControlLock(file, SetLock, ref wanted) == 0;
    }

    /// <summary>Whether some process has locked a file with <see cref="TryLock"/>. Takes no lock itself.</summary>
    public static bool IsLocked(SafeFileHandle file)
    {
        const int GetLock = 36; // F_OFD_GETLK
        var found = new FileLock { Type = WriteLock };
        return ControlLock(file, GetLock, ref found) == 0 && found.Type != NoLock;
    }

    /// <summary>Lets the programs that we start have an open file.</summary>
    public static void Inherit(SafeFileHandle file)
    {
        const int SetFlags = 2;
        _ = ControlFileDescriptor((int)file.DangerousGetHandle(), SetFlags, 0);
    }
}
