using System.Collections;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using LazyMount.Blobs.Files;
using LazyMount.Cli;
using LazyMount.Fuse;
using LazyMount.Metrics;
using LazyMount.Mounting;
using LazyMount.Output;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Keeping;

/// <summary>
/// The process that a mount outlives its worker by: `lazymount daemon keep …`. It starts the worker, which opens the image and mounts it, and holds
/// what the next one needs: the FUSE device with all its clones, and open files of which it knows nothing but their names. A worker that
/// dies is followed by another; one that is to be replaced ends when its successor is ready. Meanwhile whoever reads waits.
/// <para>The keeper does nothing else, so that it needs little memory and has nothing to die of. It must never touch the mount: nobody would answer
/// it when the worker is dead. All its work is done by one thread; signals only wake it.</para>
/// </summary>
internal sealed class Keeper
{
    /// <summary>The name of the hidden command.</summary>
    public const string Name = "keep";

    /// <summary>What the keeper says of a worker that follows another one, in the environment.</summary>
    public const string HeldVariable = "LAZYMOUNT_HELD";

    /// <summary>The worker's end of the socket, in the environment.</summary>
    public const string SocketVariable = "LAZYMOUNT_KEEPER";

    // Where the service manager listens: this process alone talks to it.
    private const string ManagerVariable = "NOTIFY_SOCKET";

    /// <summary>The signal by which `lazymount restart` asks for a successor: SIGHUP unmounts what is mounted in front.</summary>
    public const int RestartSignal = 42;

    // Deaths in a row without an answer between them, after which there are pauses; and how long they go on.
    private const int QuickRestarts = 5;
    private static readonly TimeSpan s_longestPause = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan s_givesUp = TimeSpan.FromMinutes(10);

    // A worker that has lived so long did not die of how it began.
    private static readonly TimeSpan s_livesLong = TimeSpan.FromMinutes(1);

    // A worker that is told to yield takes a second at most. One that is stopped (SIGSTOP) or hangs is killed.
    private static readonly TimeSpan s_yields = TimeSpan.FromSeconds(5);

    // A service manager whose socket is full is not waited for.
    private static readonly TimeSpan s_managerListens = TimeSpan.FromSeconds(1);

    private readonly string[] _arguments;
    private readonly bool _isForeground;
    private readonly string _program;
    private readonly ServingProcess _self = ServingProcess.Own();
    private readonly SafeFileHandle _wake = Interop.EventFile();
    private readonly List<PosixSignalRegistration> _signals = [];
    private SafeFileHandle? _programFile; // what the last worker runs that served
    private Worker? _worker;
    private Worker? _successor;
    private (string Role, SafeFileHandle File)[] _held = [];
    private readonly ConcurrentQueue<int> _arrived = new(); // signals that end the mount
    private int _signal; // the first of them
    private volatile bool _restartWanted;
    private bool _ends; // the worker has said that the mount ends
    private int _deaths; // in a row without an answer
    private string _lastDeath = "";
    private long _firstDeath;
    private long _notBefore; // when the next worker is started
    private long? _killAfter; // when a worker is killed that was told to yield

    /// <param name="Pid">Its process.</param>
    /// <param name="Socket">Our end of the socket.</param>
    /// <param name="Started">When, as <see cref="Stopwatch"/> counts.</param>
    /// <param name="Program">The file that it runs; null for the one that the last worker ran.</param>
    /// <param name="Restarts">What the record counted when it was started.</param>
    private sealed record Worker(int Pid, ControlSocket Socket, long Started, SafeFileHandle? Program, int? Restarts)
    {
        public bool IsReady { get; set; }
    }

    private Keeper(string[] arguments)
    {
        _arguments = arguments;
        _isForeground = arguments.Contains(ServeCommand.ForegroundOption);
        _program = Environment.ProcessPath ?? "/proc/self/exe";
    }

    /// <summary>Keeps a mount until it has ended.</summary>
    /// <param name="arguments">Those behind the command's name: the worker gets them.</param>
    /// <returns>The exit code of the worker that ended it.</returns>
    public static int Run(string[] arguments) => new Keeper(arguments).Run();

    private int Run()
    {
        Interop.MakeUndumpable();
        (PosixSignal Signal, int Number)[] ending = [(PosixSignal.SIGINT, 2), (PosixSignal.SIGTERM, 15), (PosixSignal.SIGQUIT, 3), ((PosixSignal)10, 10), ((PosixSignal)12, 12)];
        foreach ((PosixSignal signal, int number) in ending)
        {
            _signals.Add(PosixSignalRegistration.Create(signal, context => OnSignal(context, number)));
        }
        _signals.Add(PosixSignalRegistration.Create(PosixSignal.SIGHUP, OnHangUp));
        _signals.Add(PosixSignalRegistration.Create((PosixSignal)RestartSignal, OnRestart));
        _worker = Start(isFirst: true);
        CloseWhatOnlyTheFirstNeeds();
        while (true)
        {
            WaitForSomething();
            while (_arrived.TryDequeue(out int signal))
            {
                _signal = _signal == 0 ? signal : _signal;
                if (_worker is { } worker)
                {
                    Interop.Kill(worker.Pid, signal);
                }
            }
            if (_signal != 0 && _worker is null)
            {
                return EndWithoutWorker();
            }
            if (_restartWanted && _held.Length > 0 && _successor is null && _worker is not null && !_ends)
            {
                _restartWanted = false;
                _successor = Start(isFirst: false, replaces: true);
            }
            if (_killAfter <= Stopwatch.GetTimestamp())
            {
                _killAfter = null;
                if (_worker is { } stuck)
                {
                    Interop.Kill(stuck.Pid, 9);
                }
            }
            if (_worker is null && _successor is null && Stopwatch.GetTimestamp() >= _notBefore)
            {
                if (IsUnmounted())
                {
                    EndUnmounted();
                }
                _worker = Start(isFirst: false);
            }
        }
    }

    // Returns the exit code by ending the process: there is nothing to come back to.
    private void WaitForSomething()
    {
        Span<Interop.PollDescriptor> files = stackalloc Interop.PollDescriptor[4];
        int count = 0;
        Worker?[] of = new Worker?[2];
        foreach (Worker? one in (ReadOnlySpan<Worker?>)[_worker, _successor])
        {
            if (one is not null)
            {
                of[count] = one;
                files[count++] = new Interop.PollDescriptor { File = (int)one.Socket.Handle.DangerousGetHandle(), Events = 1 };
            }
        }
        files[count] = new Interop.PollDescriptor { File = (int)_wake.DangerousGetHandle(), Events = 1 };
        // While nobody serves, an unmount is seen by the connection's end. It is an error, which is always waited for.
        SafeFileHandle? unserved = _worker is null ? FileOf(HeldFiles.Device) : null;
        files[count + 1] = new Interop.PollDescriptor { File = unserved is null ? -1 : (int)unserved.DangerousGetHandle() };
        long? next = _worker is null && _successor is null ? _notBefore : _killAfter;
        int timeout = next is long then ? (int)Math.Clamp(Stopwatch.GetElapsedTime(Stopwatch.GetTimestamp(), then).TotalMilliseconds + 1, 0, int.MaxValue) : -1;
        if (Interop.Poll(files, (nuint)count + 2, timeout) <= 0)
        {
            return;
        }
        if (files[count + 1].Happened != 0)
        {
            EndUnmounted();
        }
        if (files[count].Happened != 0)
        {
            Span<byte> counter = stackalloc byte[8];
            _ = Interop.Read(_wake, counter, counter.Length);
        }
        for (int i = 0; i < count; i++)
        {
            if (files[i].Happened != 0)
            {
                Hear(of[i]!);
            }
        }
    }

    private void Hear(Worker worker)
    {
        string? message = worker.Socket.Receive(out SafeFileHandle[] files);
        if (message is null)
        {
            HasEnded(worker);
            return;
        }
        switch (message[0])
        {
            case KeeperLink.Holds:
                Hold(message[1..].Split(' '), files);
                worker.Socket.TrySend("ok");
                break;
            case KeeperLink.IsReady:
                worker.IsReady = true;
                if (worker == _successor && _worker is { } old)
                {
                    old.Socket.TrySend(KeeperLink.YieldMessage);
                    if (FileOf(HeldFiles.NoResend) is null)
                    {
                        _killAfter = Stopwatch.GetTimestamp() + (long)(s_yields.TotalSeconds * Stopwatch.Frequency);
                    }
                    break;
                }
                LetServe(worker);
                break;
            case KeeperLink.Ends:
                _ends = true;
                DropDevices();
                worker.Socket.TrySend("ok");
                break;
            case KeeperLink.WantsRestart:
                _restartWanted = true;
                break;
            case KeeperLink.Says:
                Notify(message[1..]);
                break;
        }
    }

    private void Hold(string[] roles, SafeFileHandle[] files)
    {
        foreach ((_, SafeFileHandle file) in _held)
        {
            file.Dispose();
        }
        _held = [.. roles.Zip(files)];
        GiveBackMemory();
        if (!_isForeground)
        {
            // Out of the terminal, and off every file system that somebody may want to unmount.
            Interop.StartSession();
            Environment.CurrentDirectory = "/";
            using SafeFileHandle nowhere = File.OpenHandle("/dev/null", FileMode.Open, FileAccess.ReadWrite);
            for (int fd = Interop.StandardInput; fd <= Interop.StandardError; fd++)
            {
                Interop.Redirect(fd, nowhere);
            }
        }
    }

    private void LetServe(Worker worker)
    {
        _successor = worker == _successor ? null : _successor;
        _worker = worker;
        _killAfter = null;
        if (worker.Program is { } program && program != _programFile)
        {
            _programFile?.Dispose();
            _programFile = program;
        }
        worker.Socket.TrySend(KeeperLink.GoMessage);
        GiveBackMemory();
    }

    private void HasEnded(Worker worker)
    {
        worker.Socket.Dispose();
        int code = Interop.Wait(worker.Pid);
        if (worker == _successor)
        {
            // It has written the reason to the record, unless it was killed or is another program. The old worker goes on; if that has died
            // meanwhile, another is started.
            _successor = null;
            worker.Program?.Dispose();
            if (Restarts() == worker.Restarts)
            {
                NoteRestart(code < 0 ? $"the new process died of signal {-code}" : $"'{_program}' ended with exit code {code} before it could serve; install lazymount there again");
            }
            return;
        }
        _worker = null;
        _killAfter = null;
        if (_ends || _held.Length == 0)
        {
            Exit(code);
        }
        if (_signal != 0)
        {
            return; // ends without another worker
        }
        // Where the kernel cannot send again, what a worker had read is lost when it dies, also when its successor is ready.
        if (_successor is { IsReady: true } ready && (code == ExitCode.Done || FileOf(HeldFiles.NoResend) is null))
        {
            LetServe(ready);
            _deaths = 0;
            return;
        }
        bool hasAnswered = FileOf(HeldFiles.Ledger) is { } ledger && RequestLedger.TakeAnswered(ledger);
        _lastDeath = code < 0 ? string.Create(CultureInfo.InvariantCulture, $"signal {-code}") : string.Create(CultureInfo.InvariantCulture, $"exit code {code}");
        if (FileOf(HeldFiles.NoResend) is not null)
        {
            Exit(code); // the kernel cannot send again what the worker had read
        }
        Notify($"STATUS=restarting: the worker died ({_lastDeath})");
        PlanNext(isAnew: hasAnswered || Stopwatch.GetElapsedTime(worker.Started) > s_livesLong, null, code);
    }

    // The next worker is started at once after the first deaths, then after growing pauses. A worker that cannot be started has died too.
    private void PlanNext(bool isAnew, string? startError, int code)
    {
        long now = Stopwatch.GetTimestamp();
        if (isAnew || _deaths == 0)
        {
            (_deaths, _firstDeath) = (0, now);
        }
        _deaths++;
        _notBefore = now;
        if (_deaths < QuickRestarts && startError is null)
        {
            return;
        }
        string reason = startError ?? $"died {_deaths} times without an answer, at last by {_lastDeath}";
        if (Stopwatch.GetElapsedTime(_firstDeath) > s_givesUp)
        {
            Note(reason);
            Exit(code);
        }
        TimeSpan pause = TimeSpan.FromSeconds(Math.Min(s_longestPause.TotalSeconds, Math.Pow(2, Math.Clamp(_deaths - QuickRestarts, 0, 10))));
        _notBefore += (long)(pause.TotalSeconds * Stopwatch.Frequency);
        Note($"{reason}; the next try is in {pause.TotalSeconds:0} s", isOver: false);
    }

    // In the record, for `list`.
    private void Note(string reason, bool isOver = true)
    {
        Notify($"STATUS={(isOver ? "failed" : "restarting")}: {reason}");
        if (FileOf(HeldFiles.Record) is { } record)
        {
            StoredRecord.Change(record, old => old with { Trouble = reason, HasFailed = isOver });
        }
    }

    private int? Restarts() => FileOf(HeldFiles.Record) is { } record ? StoredRecord.Read(record)?.Restarts : null;

    // For `lazymount restart`: the worker was not replaced.
    private void NoteRestart(string error)
    {
        if (FileOf(HeldFiles.Record) is { } record)
        {
            StoredRecord.NoteFailedRestart(record, error);
        }
    }

    // Null when it cannot be started. Then the old worker goes on, or it is tried again later.
    private Worker? Start(bool isFirst, bool replaces = false)
    {
        string error;
        try
        {
            (string program, SafeFileHandle? file) = Program(isFirst || replaces, mayBeGone: !replaces);
            int pid = Start(program, isFirst, replaces, out ControlSocket socket);
            if (pid >= 0)
            {
                _programFile ??= file;
                return new Worker(pid, socket, Stopwatch.GetTimestamp(), file, Restarts());
            }
            file?.Dispose();
            error = $"cannot start '{_program}': {Marshal.GetPInvokeErrorMessage(-pid)}; {(isFirst ? "raise the limits of the process with ulimit" : "install lazymount there again")}";
        }
        catch (CommandException e)
        {
            error = e.Message;
        }
        if (isFirst)
        {
            using var standardError = new MessageWriter(new StandardStream(Interop.StandardError) { DropsWhatFails = true }, isTerminal: false);
            standardError.WriteLine("lazymount: " + error);
            Exit(ExitCode.Failed);
        }
        if (replaces)
        {
            NoteRestart(error);
        }
        else
        {
            PlanNext(isAnew: false, error, ExitCode.Failed);
        }
        return null;
    }

    // The number of the process; below 0 the error number.
    private int Start(string program, bool isFirst, bool replaces, out ControlSocket socket)
    {
        (socket, ControlSocket theirs) = ControlSocket.CreatePair();
        using (theirs)
        {
            Interop.Inherit(theirs.Handle);
            List<string> environment = EnvironmentWithout(SocketVariable, HeldVariable, ManagerVariable);
            environment.Add(string.Create(CultureInfo.InvariantCulture, $"{SocketVariable}={theirs.Handle.DangerousGetHandle()}"));
            if (!isFirst)
            {
                string files = string.Join(' ', _held.Select(held => string.Create(CultureInfo.InvariantCulture, $"{held.Role}={held.File.DangerousGetHandle()}")));
                environment.Add($"{HeldVariable}={(replaces ? "restart" : $"death {_lastDeath}")} {files}");
            }
            int pid = Interop.Spawn(program, [_program, .. Daemon.AssemblyToRun(_program), ServeCommand.Name, ServingProcess.ForOption, _self.ToString(), .. _arguments], environment);
            if (pid < 0)
            {
                socket.Dispose();
            }
            return pid;
        }
    }

    // The program on disk where it is wanted; else the one that the last worker ran, though its file was replaced or deleted.
    private (string Program, SafeFileHandle? File) Program(bool fromDisk, bool mayBeGone)
    {
        if (!fromDisk && _programFile is { } known)
        {
            return FileIdentity.TryOf(_program) is { } there && FileIdentity.TryOf(known) is { } ran && there.IsSameFile(ran)
                ? (_program, null)
                : (string.Create(CultureInfo.InvariantCulture, $"/proc/self/fd/{known.DangerousGetHandle()}"), null);
        }
        try
        {
            return (_program, File.OpenHandle(_program, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return File.Exists(_program) ? (_program, null) : mayBeGone ? ("/proc/self/exe", null)
                : throw new CommandException($"cannot open the program '{_program}': {FileProblem.Reason(e)}; install lazymount there again");
        }
    }

    // The directory to mount on and the pipe to say so in are the first worker's; credentials stay, for the others.
    private void CloseWhatOnlyTheFirstNeeds()
    {
        for (int i = 0; i + 1 < _arguments.Length; i++)
        {
            if (_arguments[i] is ServeCommand.ReadyOption or ServeCommand.DirectoryOption && int.TryParse(_arguments[i + 1], out int fd))
            {
                new SafeFileHandle(fd, ownsHandle: true).Dispose();
            }
        }
    }

    // Without them the kernel's connection ends with the worker.
    private void DropDevices()
    {
        foreach ((_, SafeFileHandle file) in _held.Where(held => held.Role == HeldFiles.Device))
        {
            file.Dispose();
        }
        _held = [.. _held.Where(held => held.Role != HeldFiles.Device)];
    }

    // What starting a worker leaves, which nothing would ever collect in a process that only waits.
    private static void GiveBackMemory() => GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);

    private SafeFileHandle? FileOf(string role) => _held.FirstOrDefault(held => held.Role == role).File;

    private int EndWithoutWorker()
    {
        Notify("STOPPING=1");
        DropDevices();
        // Nobody serves the mount any more, so that taking it away does not wait for anybody. The record says where it is.
        if (FileOf(HeldFiles.Record) is { } record && StoredRecord.Read(record)?.MountPoint is { } directory)
        {
            // By a name of its own: one that is mount(8)'s helper would mount.
            int pid = Interop.Spawn(_program, ["lazymount", .. Daemon.AssemblyToRun(_program), "umount", "--lazy", directory], EnvironmentWithout(SocketVariable, HeldVariable));
            if (pid > 0)
            {
                Interop.Wait(pid);
            }
        }
        RemoveRecord();
        return ExitCode.OfSignal(_signal);
    }

    // The kernel's connection has ended.
    private bool IsUnmounted()
    {
        if (FileOf(HeldFiles.Device) is not { } device)
        {
            return false;
        }
        var file = new Interop.PollDescriptor { File = (int)device.DangerousGetHandle() }; // an error is always told
        return Interop.Poll(new Span<Interop.PollDescriptor>(ref file), 1, 0) > 0;
    }

    private void EndUnmounted()
    {
        Notify("STOPPING=1");
        RemoveRecord();
        Exit(ExitCode.Done);
    }

    // The worker does it where one lives.
    private void RemoveRecord()
    {
        if (FileOf(HeldFiles.Record) is { } record)
        {
            MetricsAddress.Remove(StoredRecord.Read(record)?.Metrics);
            StateDirectory.Open().Inherit(record)?.Remove();
        }
    }

    private void OnSignal(PosixSignalContext context, int number)
    {
        context.Cancel = true;
        _arrived.Enqueue(number);
        Wake();
    }

    private void OnHangUp(PosixSignalContext context)
    {
        if (_isForeground || _held.Length == 0)
        {
            OnSignal(context, 1);
            return;
        }
        OnRestart(context);
    }

    private void OnRestart(PosixSignalContext context)
    {
        context.Cancel = true;
        _restartWanted = true;
        Wake();
    }

    private void Wake()
    {
        Span<byte> one = [1, 0, 0, 0, 0, 0, 0, 0];
        _ = Interop.Write(_wake, one, one.Length);
    }

    // To the service manager that has started us (sd_notify(3)). It listens to its main process, which is this one.
    private static void Notify(string state)
    {
        if (Environment.GetEnvironmentVariable(ManagerVariable) is not { Length: > 1 } path)
        {
            return;
        }
        try
        {
            using var socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified) { SendTimeout = (int)s_managerListens.TotalMilliseconds };
            socket.SendTo(Encoding.UTF8.GetBytes(state), new UnixDomainSocketEndPoint(path[0] == '@' ? '\0' + path[1..] : path));
        }
        catch (Exception e) when (e is SocketException or ArgumentException)
        {
            // It does not listen any more, or by something else than a socket with a path.
        }
    }

    private static List<string> EnvironmentWithout(params string[] names)
        => [.. Environment.GetEnvironmentVariables().Cast<DictionaryEntry>().Where(each => !names.Contains((string)each.Key)).Select(each => $"{each.Key}={each.Value}")];

    private static void Exit(int code)
    {
        if (code < 0)
        {
            Interop.EndBySignal(-code);
        }
        Environment.Exit(code < 0 ? ExitCode.OfSignal(-code) : code);
    }
}
