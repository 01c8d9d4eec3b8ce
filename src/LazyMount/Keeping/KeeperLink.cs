using System.Globalization;
using LazyMount.Fuse;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Keeping;

/// <summary>The names of the open files that a keeper holds for the next worker.</summary>
internal static class HeldFiles
{
    /// <summary>What the worker knows of the mount (<see cref="HeldState"/>), in memory.</summary>
    public const string State = "state";

    /// <summary>The record in the state directory, with its lock.</summary>
    public const string Record = "record";

    /// <summary>The memory of a <see cref="RequestLedger"/>.</summary>
    public const string Ledger = "ledger";

    /// <summary>The memory of the mount's counters (<see cref="CountersMemory"/>).</summary>
    public const string Counters = "counters";

    /// <summary>The listening socket of `--metrics`.</summary>
    public const string Metrics = "metrics";

    /// <summary>The archive that the image is in.</summary>
    public const string Archive = "archive";

    /// <summary>Only there when the kernel cannot send requests again.</summary>
    public const string NoResend = "no-resend";

    /// <summary>An open file of the FUSE connection; the first is the one that was mounted with.</summary>
    public const string Device = "device";
}

/// <summary>A worker's connection to its keeper. The worker goes on without one: a keeper that was killed costs the next worker, not the mount.</summary>
internal sealed class KeeperLink : IDisposable
{
    /// <summary>First letters of what a worker says.</summary>
    public const char Holds = 'H', IsReady = 'T', Ends = 'B', WantsRestart = 'R', Says = 'S';

    /// <summary>What a keeper says: end, the successor is ready; and: begin, the one before has ended.</summary>
    public const string YieldMessage = "yield", GoMessage = "go";

    private static readonly TimeSpan s_letsGo = TimeSpan.FromSeconds(2);

    private const int LongestNotice = 1000;

    private readonly ControlSocket _socket;
    private readonly AutoResetEvent _answered = new(false);
    private bool _hasTurn;
    private volatile bool _isHeld, _isToYield;
    private volatile Action? _onYield;

    private KeeperLink(ControlSocket socket, ServingProcess keeper, string? reason, IReadOnlyList<(string Role, SafeFileHandle File)> held)
        => (_socket, Keeper, Reason, Held, _isHeld) = (socket, keeper, reason, held, reason is not null);

    /// <summary>The keeper's process.</summary>
    public ServingProcess Keeper { get; }

    /// <summary>Why this worker follows another one: "restart", or "death" and of what; null for the first.</summary>
    public string? Reason { get; }

    /// <summary>The worker before this one died.</summary>
    public bool IsAfterDeath => Reason?.StartsWith("death", StringComparison.Ordinal) == true;

    /// <summary>What the keeper holds, for a worker that follows another one. Owned by whoever takes it.</summary>
    public IReadOnlyList<(string Role, SafeFileHandle File)> Held { get; }

    /// <summary>The link that this process was started with. Takes it out of the environment, where programs that we start would find it.</summary>
    /// <param name="arguments">The process's own; they name the keeper.</param>
    public static KeeperLink? TryOpen(string[] arguments)
    {
        string? socket = Environment.GetEnvironmentVariable(LazyMount.Keeping.Keeper.SocketVariable), held = Environment.GetEnvironmentVariable(LazyMount.Keeping.Keeper.HeldVariable);
        Environment.SetEnvironmentVariable(LazyMount.Keeping.Keeper.SocketVariable, null);
        Environment.SetEnvironmentVariable(LazyMount.Keeping.Keeper.HeldVariable, null);
        if (!int.TryParse(socket, NumberStyles.None, CultureInfo.InvariantCulture, out int fd) || arguments is not [_, ServingProcess.ForOption, var keeper, ..] || ServingProcess.TryParse(keeper) is not { } process)
        {
            return null;
        }
        string[] words = held?.Split(' ') ?? [];
        IEnumerable<(string, SafeFileHandle)> files = words.Where(word => word.Contains('=', StringComparison.Ordinal)).Select(word => word.Split('='))
            .Select(pair => (pair[0], new SafeFileHandle(int.Parse(pair[1], CultureInfo.InvariantCulture), ownsHandle: true)));
        string reason = string.Join(' ', words.TakeWhile(word => !word.Contains('=', StringComparison.Ordinal)));
        return new KeeperLink(new ControlSocket(new SafeFileHandle(fd, ownsHandle: true)), process, held is null ? null : reason, [.. files]);
    }

    /// <summary>The file of a role, or null.</summary>
    public SafeFileHandle? FileOf(string role) => Held.FirstOrDefault(held => held.Role == role).File;

    /// <summary>Gives the keeper what the next worker needs. Returns when it has it, or is gone.</summary>
    public void Hold(IReadOnlyList<(string Role, SafeFileHandle File)> files)
    {
        if (_socket.TrySend(Holds + string.Join(' ', files.Select(file => file.Role)), [.. files.Select(file => file.File)]))
        {
            _answered.WaitOne();
        }
        _isHeld = true;
    }

    /// <summary>
    /// Tells the keeper that this worker could serve, waits until the one before has ended, and listens to the keeper from then on. Does nothing when
    /// that was done. False when the keeper is gone.
    /// </summary>
    public bool TakeTurn()
    {
        if (_hasTurn || !_socket.TrySend(IsReady.ToString()))
        {
            return _hasTurn;
        }
        string? message;
        while ((message = _socket.Receive(out _)) == YieldMessage)
        {
            _isToYield = true; // a successor was ready before
        }
        if (_hasTurn = message == GoMessage)
        {
            Listen();
        }
        return _hasTurn;
    }

    /// <summary>Tells the keeper that the mount ends: no other worker follows. Returns when it has let go of the connection, or is gone.</summary>
    public void End()
    {
        if (_socket.TrySend(Ends.ToString()))
        {
            _answered.WaitOne(s_letsGo);
        }
    }

    /// <summary>Asks for a successor.</summary>
    public void AskForRestart() => _socket.TrySend(WantsRestart.ToString());

    /// <summary>Tells the service manager something, if there is one: lines of sd_notify(3). What is too long is cut.</summary>
    public void Notify(string state) => _socket.TrySend(Says + (state.Length < LongestNotice ? state : state[..LongestNotice]));

    /// <summary>Listens to the keeper from now on, on a thread of its own. Until it holds the mount, its end ends this process too: who kills it means the mount.</summary>
    public void Listen() => new Thread(() =>
    {
        while (_socket.Receive(out _) is { } message)
        {
            if (message == YieldMessage)
            {
                _isToYield = true;
                _onYield?.Invoke();
            }
            else
            {
                _answered.Set();
            }
        }
        if (!_isHeld)
        {
            Interop.Kill(Environment.ProcessId, 9);
        }
        _answered.Set();
    })
    { IsBackground = true, Name = "keeper" }.Start();

    /// <summary>What to do when a successor is ready.</summary>
    public Action OnYield
    {
        set
        {
            _onYield = value;
            if (_isToYield)
            {
                value();
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _socket.Dispose();
        _answered.Dispose();
    }
}
