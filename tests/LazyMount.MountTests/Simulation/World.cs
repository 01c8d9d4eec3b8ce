using System.Diagnostics;
using System.Globalization;
using LazyMount.MountTests.EndToEnd;
using LazyMount.MountTests.Posix;
using LazyMount.TestKit;

namespace LazyMount.MountTests.Simulation;

/// <summary>
/// A world drawn from a seed: an image, a face, a registry with faults, a disk for the cache, readers, and a script of what is broken and killed.
/// The seed says what happens and in which order; when, and which thread comes first, is the machine's.
/// </summary>
internal sealed class World : IDisposable
{
    private static readonly TimeSpan s_trouble = TimeSpan.FromSeconds(10), s_soon = TimeSpan.FromSeconds(60), s_limit = TimeSpan.FromMinutes(8);

    private readonly int _seed;
    private readonly Random _random;
    private readonly LazyMountCli _lazymount = new();
    private readonly RegistryServer _registry = new();
    private readonly WorldImage _image;
    private readonly WorldDisk _disk;
    private readonly WorldBreakages _broken = new();
    private readonly FaultProxy _proxy;
    private readonly string _reference, _directory;
    private readonly string[] _options;
    private readonly bool _damagesMetadata;
    private readonly int[] _weights = new int[Enum.GetValues<Trouble>().Length];
    private readonly List<string> _events = [];
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private WorldReaders? _readers;
    private string? _failure;
    private int _keeper, _mounts, _early, _faultyFor, _killed;
    private bool _isKept;

    private enum Trouble
    {
        KillWorker,
        Restart,
        RestartAndKill,
        KillKeeper,
        SpoilRegistry,
        StopRegistry,
        FlipBits,
        ForgetChunks,
        CutFile,
        DeleteFile,
        RemoveCache,
        Prune,
        DropCaches,
        FillDisk,
        CutDisk,
    }

    public World(int seed)
    {
        (_seed, _random) = (seed, new Random(seed));
        _image = new WorldImage(_random, _lazymount.Directory);
        bool isRoot = Environment.IsPrivilegedProcess;
        DiskKind disk = !isRoot ? DiskKind.Plain : _random.Next(10) switch { < 6 => DiskKind.Plain, < 8 => DiskKind.Small, _ => DiskKind.Dying };
        _disk = new WorldDisk(disk, _lazymount.Directory, (long)(_image.BlobBytes * (0.4 + _random.NextDouble())));
        _lazymount.CacheDirectory = _disk.Cache;
        _reference = $"world/image:{seed}";
        Tool.Run("skopeo", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false", $"oci:{_image.LayoutDirectory}:v1", $"docker://{_registry.Host}/{_reference}").EnsureSuccess();

        // A layer of which the tar headers alone were read has no digests: then no server may send other bytes of the right length.
        bool isBound = _random.Next(2) == 0;
        Fault[] kinds = [.. Enum.GetValues<Fault>().Where(kind => kind != Fault.None && (isBound || kind is not (Fault.CorruptByte or Fault.WrongRange)))];
        _random.Shuffle(kinds);
        _proxy = new FaultProxy(_registry.Host, seed, kinds[.._random.Next(3, kinds.Length + 1)]) { StallTime = TimeSpan.FromSeconds(1) };
        _reference = $"{_proxy.Host}/{_reference}";
        _damagesMetadata = disk == DiskKind.Dying || _random.Next(4) == 0;
        string face = isRoot && _random.Next(2) == 0 ? "erofs" : "fuse";
        _options = ["--as", face, "--read-timeout", "10s", "--index-trust", isBound ? "bound" : "auto"];
        if (_random.Next(6) == 0 && face == "fuse")
            _options = [.. _options, "--prefetch", "all"];
        DrawWeights();
        _directory = _lazymount.NewMountPoint();
    }

    public WorldFigures Figures { get; } = new();

    public override string ToString() => $"seed {_seed}: {_image}; {string.Join(' ', _options)}; cache on a {_disk.Kind.ToString().ToLowerInvariant()} disk{(_damagesMetadata ? ", trees and indexes are damaged" : "")}; "
        + string.Join(' ', Enum.GetValues<Trouble>().Where(trouble => _weights[(int)trouble] > 0).Select(trouble => $"{trouble} {_weights[(int)trouble]}"));

    /// <summary>Runs the world to its end. Null, or what went wrong.</summary>
    public string? Run()
    {
        Exception? thrown = null;
        var thread = new Thread(() =>
        {
            try
            {
                RunOnce();
            }
            catch (Exception e)
            {
                thrown = e;
            }
        })
        { IsBackground = true, Name = "world" };
        thread.Start();
        bool hasEnded = thread.Join(s_limit);
        if (!hasEnded || thrown is TimeoutException || _failure?.StartsWith("stuck", StringComparison.Ordinal) == true)
            NoteProcesses();
        _failure ??= hasEnded ? thrown?.ToString() : $"stuck: the script has not ended after {s_limit.TotalSeconds} s";
        foreach ((Fault fault, int count) in _proxy.Counts.Where(count => count.Key != Fault.None && count.Value > 0))
            Figures.Count($"fault: registry {fault}", count);
        Figures.Count("worlds");
        return _failure is null ? null : $"{_failure}\nscripts/simulate --seed {_seed} replays it\n{this}\nthe last events:\n{string.Join('\n', _events.ToArray().TakeLast(40))}\nthe end of the log:\n{string.Join('\n', LogLines().TakeLast(30))}";
    }

    private void RunOnce()
    {
        Mount();
        _readers = new WorldReaders(_directory, _image.Tree, _broken, Figures, _seed);
        var clock = Stopwatch.StartNew();
        while (clock.Elapsed < s_trouble && HasNotFailed())
        {
            Do(Draw());
            if (_random.Next(3) == 0)
                Thread.Sleep(_random.Next(60));
        }
        // Everything is whole again, and the mount goes on.
        HealRegistry();
        FreeDisk();
        Thread.Sleep(300);
        Note("the troubles are over");
        _failure ??= _readers.Stop();
        if (_failure is not null)
            return;
        if (_broken.Metadata.Holds)
        {
            // What is damaged may be found, at the latest, by the first mount after it, which may have errors; the second has none.
            Unmount();
            if (_disk.Kind == DiskKind.Dying)
                _disk.Replace();
            Mount();
            if (_disk.Kind != DiskKind.Dying)
            {
                _ = Look();
                Unmount();
                Mount();
            }
        }
        DropCaches();
        Check(Look(), "after the troubles");
        Unmount();
        if (LogLines().FirstOrDefault(line => line.Contains("Exception", StringComparison.Ordinal)) is { } line)
            _failure ??= $"the log has an exception: {line}";
    }

    public void Dispose()
    {
        LazyMountCli.KillAllOf(_directory);
        if (LazyMountCli.IsMounted(_directory))
            Tool.Run("umount", "-l", _directory);
        _readers?.Dispose();
        _proxy.Dispose();
        _registry.Dispose();
        _disk.Dispose();
        _lazymount.Dispose();
    }

    // ---- The script

    private void DrawWeights()
    {
        foreach (Trouble trouble in Enum.GetValues<Trouble>())
            _weights[(int)trouble] = _random.Next(3) == 0 ? 0 : _random.Next(1, 10);
        // In most worlds, most of what happens is that workers die; in the others it is damage.
        _weights[(int)Trouble.KillWorker] = _random.Next(3) == 0 ? _random.Next(5) : _random.Next(30, 200);
        foreach (Trouble slow in (ReadOnlySpan<Trouble>)[Trouble.KillKeeper, Trouble.StopRegistry, Trouble.RemoveCache, Trouble.Restart, Trouble.RestartAndKill, Trouble.Prune])
            _weights[(int)slow] = Math.Min(_weights[(int)slow], 3);
        _weights[(int)Trouble.FillDisk] *= _disk.Kind == DiskKind.Small ? 1 : 0;
        _weights[(int)Trouble.CutDisk] = _disk.Kind == DiskKind.Dying ? 1 : 0;
        _weights[(int)Trouble.DropCaches] = 4;
    }

    private Trouble Draw()
    {
        int drawn = _random.Next(_weights.Sum());
        int trouble = 0;
        for (; drawn >= _weights[trouble]; trouble++)
            drawn -= _weights[trouble];
        return (Trouble)trouble;
    }

    private void Do(Trouble trouble)
    {
        if (_faultyFor > 0 && --_faultyFor == 0)
            HealRegistry();
        switch (trouble)
        {
            case Trouble.KillWorker:
                KillWorker();
                break;
            case Trouble.Restart:
                Restart();
                break;
            case Trouble.RestartAndKill:
                RestartAndKill();
                break;
            case Trouble.KillKeeper:
                KillKeeper();
                break;
            case Trouble.SpoilRegistry:
                _broken.Registry.Begin();
                _proxy.Rate = 0.1 + 0.8 * _random.NextDouble();
                _faultyFor = _random.Next(2, 40);
                Note($"the registry spoils {_proxy.Rate:0.00} of its answers");
                break;
            case Trouble.StopRegistry:
                Note("the registry stops");
                _broken.Registry.Begin();
                _registry.Stop();
                Figures.Count("fault: registry away");
                Thread.Sleep(_random.Next(500));
                _registry.Start();
                _faultyFor = Math.Max(_faultyFor, 1);
                Note("the registry is back");
                break;
            case Trouble.DropCaches:
                DropCaches();
                break;
            case Trouble.RemoveCache:
                Note("the cache is removed");
                LosesCache(all: true);
                Tool.Shell("rm -rf \"$1\"/*", _disk.Cache);
                Figures.Count("fault: cache removed");
                break;
            case Trouble.Prune:
                Note("the cache is pruned");
                LosesCache(all: true);
                Expect(_lazymount.Run("cache", "prune"), "cache prune", mayFail: _disk.Kind == DiskKind.Dying);
                Figures.Count("fault: cache pruned");
                break;
            case Trouble.FillDisk:
                Note("the disk is full");
                if (_image.IsTranscoded)
                    _broken.Transcoding.Begin();
                _disk.Fill();
                Figures.Count("fault: disk full");
                break;
            case Trouble.CutDisk:
                Note("half of the disk is lost");
                _broken.Metadata.Begin();
                _broken.Cache.Begin();
                _disk.Cut((16 << 20) + _random.Next(16 << 20));
                Figures.Count("fault: disk cut");
                _weights[(int)Trouble.CutDisk] = 0;
                break;
            default:
                Damage(trouble);
                break;
        }
    }

    private void HealRegistry()
    {
        _faultyFor = 0;
        if (_broken.Registry.Holds)
        {
            _proxy.Rate = 0;
            _broken.Registry.End();
            Note("the registry is whole");
        }
    }

    private void FreeDisk()
    {
        if (_disk.Kind == DiskKind.Small)
            _disk.Free();
    }

    private void LosesCache(bool all = false)
    {
        _broken.Cache.Begin();
        if (_image.IsTranscoded && _disk.Kind == DiskKind.Small)
            _broken.Transcoding.Begin(); // there may be no room to make it again
        FreeDiskSometimes();
    }

    private void FreeDiskSometimes()
    {
        if (_random.Next(2) == 0)
            FreeDisk();
    }

    private static void DropCaches()
    {
        if (Environment.IsPrivilegedProcess)
            File.WriteAllText("/proc/sys/vm/drop_caches", "2"); // names, attributes and the pages below them: others' pages stay
    }

    // Most workers have answered when they die, some are new.
    private void KillWorker()
    {
        bool isEarly = _early < 6 && _random.Next(5) == 0;
        _early = isEarly ? _early + 1 : 0;
        long answers = _readers!.Answers + _random.Next(1, 12);
        int delay = _random.Next(isEarly ? 120 : 15);
        int[] workers = WaitForWorkers();
        if (workers.Length == 0)
            return;
        if (!isEarly)
            WaitUntil(() => _readers.Answers >= answers || !HasNotFailed(), TimeSpan.FromSeconds(20));
        Thread.Sleep(delay);
        workers = Workers();
        if (workers.Length > 0)
            Kill(workers[_random.Next(workers.Length)]);
    }

    private void Kill(int worker)
    {
        _broken.WorkerDies();
        _killed = worker;
        int reading = _readers!.Reading;
        if (Libc.kill(worker, 9) == 0)
        {
            Figures.Count("workers killed");
            Figures.Count("workers killed during reads", reading > 0 ? 1 : 0);
            Note($"worker {worker} is killed, {reading} reads under way");
        }
    }

    private void Restart()
    {
        if (WaitForWorkers().Length == 0)
            return;
        bool mayFail = _broken.Registry.Holds || _broken.Metadata.Holds || _broken.Transcoding.Holds || !_isKept;
        if (_random.Next(3) == 0)
        {
            Note("the keeper gets SIGHUP");
            _ = Libc.kill(_keeper, 1);
            Figures.Count("workers replaced");
            return;
        }
        Note("restart");
        using Tool restart = _lazymount.Start("restart", _directory);
        if (_broken.Registry.Holds && !WaitUntil(() => restart.HasExited, TimeSpan.FromSeconds(20)))
            HealRegistry(); // the new worker waits for what the registry does not give
        ToolResult result = restart.WaitForExit();
        Expect(result, "restart", mayFail);
        if (result.ExitCode == 0)
            Figures.Count("workers replaced");
    }

    private void RestartAndKill()
    {
        if (WaitForWorkers().Length == 0)
            return;
        Note("restart, and a worker is killed");
        using Tool restart = _lazymount.Start("restart", _directory);
        Thread.Sleep(_random.Next(250));
        int[] workers = Workers();
        if (workers.Length > 0)
            Kill(workers[_random.Next(workers.Length)]);
        if (_broken.Registry.Holds && !WaitUntil(() => restart.HasExited, TimeSpan.FromSeconds(20)))
            HealRegistry();
        Expect(restart.WaitForExit(), "restart", mayFail: true);
        Figures.Count("restarts disturbed");
    }

    // The worker goes on; when it dies too the mount is dead, and is mounted again.
    private void KillKeeper()
    {
        if (!_isKept)
            return;
        long before = _readers!.Answers + 10; // more than are under way: the worker lives
        WaitUntil(() => _readers.Answers >= before || !HasNotFailed(), TimeSpan.FromSeconds(20));
        int[] workers = WaitForWorkers();
        if (workers.Length == 0 || _readers.Answers < before)
            return;
        Note($"keeper {_keeper} is killed");
        _ = Libc.kill(_keeper, 9);
        Figures.Count("keepers killed");
        _isKept = false;
        long answers = _readers.Answers + 5;
        WaitUntil(() => _readers.Answers >= answers || !HasNotFailed(), TimeSpan.FromSeconds(10));
        bool done = _readers.WhileNobodyReads(() =>
        {
            foreach (int worker in workers)
                _ = Libc.kill(worker, 9);
            WaitUntil(() => workers.All(worker => !Directory.Exists($"/proc/{worker}")), s_soon);
            Note("the worker is killed, too");
            Remount();
        });
        if (!done)
            _failure ??= _readers.Failure;
    }

    private void Damage(Trouble trouble)
    {
        string[] files = [.. CacheFiles.All(_lazymount).Where(file => _damagesMetadata || trouble == Trouble.DeleteFile || !IsMetadata(file)).Order(StringComparer.Ordinal)];
        if (files.Length == 0)
            return;
        string name = trouble.ToString();
        foreach (string file in Enumerable.Range(0, _random.Next(1, 16)).Select(_ => files[_random.Next(files.Length)]).Distinct())
        {
            try
            {
                if (IsMetadata(file) && trouble is Trouble.FlipBits or Trouble.CutFile)
                    _broken.Metadata.Begin();
                if (!IsChunks(file))
                    LosesCache();
                long count = DamageOne(trouble, file);
                Figures.Count($"fault: cache {name}", count);
                Note($"{name} {count} {Path.GetRelativePath(_disk.Cache, file)}");
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It has gone meanwhile, or the disk is what is broken.
            }
        }
    }

    private int DamageOne(Trouble trouble, string file)
    {
        switch (trouble)
        {
            case Trouble.FlipBits when IsChunks(file):
                int flipped = 0;
                foreach (int chunk in CacheSegment.Present(file).Where(_ => _random.Next(2) == 0))
                {
                    if (CacheSegment.LengthOf(file, chunk) is > 0 and var length) // it may have been cut
                    {
                        CacheSegment.Flip(file, chunk, _random.Next(length), rehash: false);
                        flipped++;
                    }
                }
                return flipped;
            case Trouble.FlipBits:
                using (var stream = new FileStream(file, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0))
                {
                    int bits = stream.Length == 0 ? 0 : _random.Next(1, 6);
                    for (int i = 0; i < bits; i++)
                    {
                        long at = _random.NextInt64(stream.Length);
                        stream.Position = at;
                        int value = stream.ReadByte();
                        stream.Position = at;
                        stream.WriteByte((byte)(value ^ (1 << _random.Next(8))));
                    }
                    return bits;
                }
            case Trouble.ForgetChunks when IsChunks(file):
                int[] forgotten = [.. CacheSegment.Present(file).Where(_ => _random.Next(2) == 0)];
                CacheSegment.Forget(file, forgotten);
                return forgotten.Length;
            case Trouble.ForgetChunks:
                return 0;
            case Trouble.CutFile:
                using (var stream = new FileStream(file, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0))
                    stream.SetLength(_random.NextInt64(stream.Length + 1));
                return 1;
            default:
                File.Delete(file);
                return 1;
        }
    }

    private static bool IsChunks(string file) => file.Contains("/chunks/", StringComparison.Ordinal) && Path.GetFileName(file).All(char.IsAsciiDigit);

    private static bool IsMetadata(string file) => file.Contains("/trees/", StringComparison.Ordinal) || file.Contains("layers/", StringComparison.Ordinal);

    // ---- The mount

    private void Mount()
    {
        string log = _lazymount.Directory[$"log{_mounts++}"];
        string[] command = ["mount", .. _options, "--log-file", log, _reference, _directory];
        ToolResult result = _lazymount.Run(command);
        for (long size = 2 * _image.BlobBytes; result.ExitCode != 0 && _disk.Kind == DiskKind.Small && size < 64 << 20; size *= 2)
        {
            // A disk may be too small for an index or a transcoding, which has to be said.
            Expect(result, "mount", mayFail: true);
            _disk.Grow(size + (4 << 20));
            result = _lazymount.Run(command);
        }
        Expect(result, "mount", mayFail: false);
        if (LogLines().Any(line => line.Contains("cannot keep the index", StringComparison.Ordinal)))
            _broken.Cache.Begin(); // the cache never had it: the disk is too small
        _keeper = LazyMountCli.DaemonsOf(_directory).Single();
        _isKept = true;
        Note($"mounted, keeper {_keeper}");
    }

    private void Unmount(params string[] options)
    {
        if (_isKept && KeeperMemory() is var memory and > 0)
            Figures.Keep("most KiB of a keeper's private dirty memory", memory);
        Expect(_lazymount.Run(["umount", .. options, _directory]), "umount", mayFail: false);
        if (LazyMountCli.IsMounted(_directory))
            throw new InvalidOperationException("it is still mounted after umount");
        if (!WaitUntil(() => LazyMountCli.DaemonsOf(_directory).Length + LazyMountCli.WorkersOf(_directory).Length == 0, s_soon))
            throw new InvalidOperationException("processes are left after umount");
        Note("unmounted");
    }

    private void Remount()
    {
        HealRegistry();
        FreeDisk();
        Unmount("-l"); // readers hold files of the dead mount open
        Mount();
        Figures.Count("mounted again");
    }

    private int[] WaitForWorkers()
    {
        int[] workers = [];
        WaitUntil(() => (workers = Workers()).Length > 0 || !HasNotFailed(), TimeSpan.FromSeconds(70));
        if (workers.Length == 0 && HasNotFailed())
            _failure ??= "no worker follows the last one";
        return workers;
    }

    // The keeper's children: quicker than looking through all processes.
    private int[] Workers()
    {
        try
        {
            return [.. Directory.GetDirectories($"/proc/{_keeper}/task").SelectMany(task => File.ReadAllText($"{task}/children").Split(' ', StringSplitOptions.RemoveEmptyEntries))
                .Select(text => int.Parse(text, CultureInfo.InvariantCulture)).Where(process => process != _killed && IsAlive(process))];
        }
        catch (IOException)
        {
            return [];
        }
    }

    // For a failure that is about waiting: what the processes wait for.
    private void NoteProcesses()
    {
        foreach (string file in Directory.GetFiles(_lazymount.StateDirectory, "*.json"))
            Note($"record: {File.ReadAllText(file).ReplaceLineEndings(" ")}");
        foreach (string process in Directory.GetDirectories("/proc").Where(process => int.TryParse(Path.GetFileName(process), out _)))
        {
            try
            {
                string command = File.ReadAllText($"{process}/cmdline").Replace('\0', ' ');
                if (!command.Contains(_lazymount.Directory.Path, StringComparison.Ordinal))
                    continue;
                string[] waits = [.. Directory.GetDirectories($"{process}/task").Select(task => $"{File.ReadAllText($"{task}/comm").Trim()}:{File.ReadAllText($"{task}/wchan")}")];
                string[] files = [.. Directory.GetFiles($"{process}/fd").Select(file => File.ResolveLinkTarget(file, returnFinalTarget: false)?.FullName ?? "").Where(file => file.Contains(_lazymount.Directory.Path, StringComparison.Ordinal))];
                Note($"process {Path.GetFileName(process)}: {string.Join(' ', waits)}; {string.Join(' ', files)}; {command}");
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It has ended.
            }
        }
    }

    private static bool IsAlive(int process)
    {
        try
        {
            return !File.ReadAllText($"/proc/{process}/stat").Contains(") Z ", StringComparison.Ordinal);
        }
        catch (IOException)
        {
            return false;
        }
    }

    private long KeeperMemory()
    {
        try
        {
            return File.ReadLines($"/proc/{_keeper}/smaps_rollup").Where(line => line.StartsWith("Private_Dirty:", StringComparison.Ordinal))
                .Select(line => long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture)).FirstOrDefault();
        }
        catch (IOException)
        {
            return 0;
        }
    }

    // ---- What is seen

    /// <summary>The whole mount, or null when looking at it failed or does not end.</summary>
    private (TreeSnapshot? Tree, string? Failure) Look()
    {
        Task<TreeSnapshot> looking = Task.Run(() => TreeSnapshot.Take(_directory));
        try
        {
            return looking.Wait(WorldReaders.Limit) ? (looking.Result, null) : (null, "stuck: looking at the whole tree");
        }
        catch (AggregateException e)
        {
            return (null, e.InnerException!.Message);
        }
    }

    private void Check((TreeSnapshot? Tree, string? Failure) seen, string when)
    {
        string difference = seen.Tree is null ? seen.Failure! : _image.Tree.Snapshot.Difference(seen.Tree, limit: 5);
        if (difference.Length > 0)
            _failure ??= $"{when}: {difference}";
    }

    // A command works, or where it may fail says why in one sentence.
    private void Expect(ToolResult result, string command, bool mayFail)
    {
        if (result.ExitCode == 0)
            return;
        bool isSentence = result.Error.TrimEnd('\n').Split('\n').Length == 1 && result.Error.StartsWith("lazymount: ", StringComparison.Ordinal) && !result.Error.Contains("Exception", StringComparison.Ordinal);
        if (!mayFail || !isSentence)
            throw new InvalidOperationException($"{command} exits with {result.ExitCode}: {result.Error}");
        Figures.Count($"{command} refused");
    }

    private bool HasNotFailed() => (_failure ??= _readers?.Failure) is null;

    private static bool WaitUntil(Func<bool> condition, TimeSpan limit) => SpinWait.SpinUntil(() =>
    {
        if (condition())
            return true;
        Thread.Sleep(2);
        return false;
    }, limit);

    private IEnumerable<string> LogLines() => Enumerable.Range(0, _mounts).Select(number => _lazymount.Directory[$"log{number}"]).Where(File.Exists).SelectMany(File.ReadLines);

    private void Note(string what) => _events.Add(string.Create(CultureInfo.InvariantCulture, $"{_clock.Elapsed.TotalSeconds,7:0.000} {what}"));
}
