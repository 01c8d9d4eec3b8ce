using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.Json;
using LazyMount.TestKit;
using Xunit;
using static LazyMount.MountTests.EndToEnd.Waiting;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>Mounts that outlive the process that serves them.</summary>
public sealed class KeeperTests : IDisposable
{
    private readonly LazyMountCli _lazymount = new();
    private readonly byte[] _content = new byte[3_000_000];
    private readonly string _image;

    public KeeperTests()
    {
        new Random(3).NextBytes(_content);
        OciLayoutBuilder layout = new OciLayoutBuilder(_lazymount.Directory["layout"])
            .AddLayer(new TarBytes().Directory("./").File("file", "content\n").File("big", _content).Directory("directory").File("directory/name", "x"));
        layout.WriteImage("v1");
        _image = layout.Reference("v1");
    }

    public void Dispose() => _lazymount.Dispose();

    [Theory]
    [InlineData("fuse")]
    [InlineData("erofs")]
    public void KilledWorkers_AreNotNoticed(string face)
    {
        Assert.SkipUnless(face == "fuse" || Environment.IsPrivilegedProcess, "needs root");
        string directory = _lazymount.Mount(_image, "--as", face);
        int keeper = Assert.Single(LazyMountCli.DaemonsOf(directory));
        using FileStream held = File.OpenRead(Path.Combine(directory, "big"));
        var problems = new ConcurrentQueue<string>();
        using var end = new CancellationTokenSource();
        Thread[] readers = [.. Enumerable.Range(0, 4).Select(seed => new Thread(() => Read(directory, seed, held, problems, end.Token)))];
        Array.ForEach(readers, reader => reader.Start());
        for (int i = 0; i < 12; i++)
        {
            // It serves: whoever waits for it is answered, so that no request is out at three deaths in a row.
            WaitUntil(() => _lazymount.Listed(directory).TryGetProperty("restarts", out JsonElement restarts) ? restarts.GetInt32() == i : i == 0);
            Thread.Sleep(10 * i);
            LazyMountCli.KillWorkersOf(directory);
        }
        end.Cancel();
        Array.ForEach(readers, reader => Assert.True(reader.Join(TimeSpan.FromSeconds(60)), "a reader waits for ever"));
        Assert.Empty(problems);
        Assert.Equal(keeper, Assert.Single(LazyMountCli.DaemonsOf(directory)));
        Assert.Equal("alive", _lazymount.Listed(directory).GetProperty("state").GetString());
        WaitUntil(() => _lazymount.Listed(directory).GetProperty("restarts").GetInt32() == 12);
        Assert.Contains("died (signal 9); another one goes on", Log(directory), StringComparison.Ordinal);
        AssertUnmounts(directory, held);
    }

    // Reads go past the page cache, so that the worker is asked.
    private void Read(string directory, int seed, FileStream held, ConcurrentQueue<string> problems, CancellationToken end)
    {
        var random = new Random(seed);
        byte[] buffer = new byte[200_000];
        try
        {
            while (!end.IsCancellationRequested)
            {
                int at = random.Next(_content.Length - buffer.Length);
                Tool.Run("sysctl", "-qw", "vm.drop_caches=3");
                int read = RandomAccess.Read(held.SafeFileHandle, buffer, at);
                if (read == 0 || !buffer.AsSpan(0, read).SequenceEqual(_content.AsSpan(at, read)))
                    problems.Enqueue($"wrong bytes at {at}");
                if (!Directory.GetFileSystemEntries(directory).Select(path => Path.GetFileName(path)).Order().SequenceEqual(["big", "directory", "file"]))
                    problems.Enqueue("another listing");
                if (File.ReadAllText(Path.Combine(directory, "directory", "name")) != "x")
                    problems.Enqueue("another content");
            }
        }
        catch (IOException e)
        {
            problems.Enqueue(e.Message);
        }
    }

    [Theory]
    [InlineData("restart", "fuse")]
    [InlineData("restart", "erofs")]
    [InlineData("keeper", "fuse")]
    [InlineData("worker", "fuse")]
    [InlineData("front", "fuse")]
    public void Restart_ReplacesTheWorker(string how, string face)
    {
        Assert.SkipUnless(face == "fuse" || Environment.IsPrivilegedProcess, "needs root");
        string directory = _lazymount.NewMountPoint();
        using Tool? front = how == "front" ? _lazymount.Start("mount", "-f", "--as", face, _image, directory) : null;
        if (front is null)
            _lazymount.Run("mount", "--as", face, _image, directory).EnsureSuccess();
        WaitUntil(() => LazyMountCli.IsMounted(directory) && LazyMountCli.WorkersOf(directory).Length == 1);
        using FileStream held = File.OpenRead(Path.Combine(directory, "big"));
        int keeper = Assert.Single(LazyMountCli.DaemonsOf(directory)), worker = Assert.Single(LazyMountCli.WorkersOf(directory));
        switch (how)
        {
            case "keeper":
                LazyMountCli.Kill(keeper, "HUP");
                break;
            case "worker":
                LazyMountCli.Kill(worker, "HUP");
                break;
            default:
                Assert.Equal("", _lazymount.Run("restart", directory).EnsureSuccess().Error);
                Assert.NotEqual(worker, _lazymount.Listed(directory).GetProperty("worker").GetInt32());
                break;
        }
        WaitUntil(() => LazyMountCli.WorkersOf(directory) is [int other] && other != worker);
        Assert.Equal(keeper, Assert.Single(LazyMountCli.DaemonsOf(directory)));
        byte[] read = new byte[_content.Length];
        held.ReadExactly(read);
        Assert.Equal(_content, read);
        AssertUnmounts(directory, held);
    }

    /// <summary>What the first worker was given, and what is there no more: the directory, the archive, the registry, the cache, the program.</summary>
    [Theory]
    [InlineData("fuse")]
    [InlineData("erofs")]
    public void NextWorker_HasWhatTheFirstOneHad(string face)
    {
        Assert.SkipUnless(face == "fuse" || Environment.IsPrivilegedProcess, "needs root");
        string where = _lazymount.Directory.CreateDirectory("where"), archive = Path.Combine(where, "a.tar"), mount = Directory.CreateDirectory(Path.Combine(where, "m")).FullName;
        Tool.Run("tar", "-C", _lazymount.Directory["layout"], "-cf", archive, ".").EnsureSuccess();
        string program = Path.Combine(where, "lazymount");
        File.Copy(LazyMountCli.Binary, program);
        using (Tool tool = Tool.Start("sh", ["-c", $"cd {where} && ./lazymount mount --cache-dir cache --as {face} oci-archive:a.tar m"], _lazymount.Environment))
            tool.WaitForExit().EnsureSuccess();
        try
        {
            File.Delete(archive);
            File.WriteAllText(archive, "another file");
            File.Delete(program);
            Directory.Delete(Path.Combine(where, "cache"), recursive: true);
            for (int i = 0; i < 2; i++)
            {
                LazyMountCli.KillWorkersOf("m");
                Assert.Equal(_content, File.ReadAllBytes(Path.Combine(mount, "big")));
                Assert.Equal("content\n", File.ReadAllText(Path.Combine(mount, "file")));
            }
        }
        finally
        {
            _lazymount.Run("umount", mount).EnsureSuccess();
        }
        Assert.False(LazyMountCli.IsMounted(mount));
    }

    /// <summary>A restart that is under way hinders no end, whichever of the three processes the signal finds.</summary>
    [Fact]
    public void SignalDuringARestart_Unmounts()
    {
        for (int i = 0; i < 8; i++)
        {
            string directory = _lazymount.Mount(_image, "--as", "fuse");
            int keeper = Assert.Single(LazyMountCli.DaemonsOf(directory));
            LazyMountCli.Kill(keeper, "HUP");
            Thread.Sleep(6 * i);
            LazyMountCli.Kill(keeper, "TERM");
            WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length + LazyMountCli.WorkersOf(directory).Length == 0);
            Assert.False(LazyMountCli.IsMounted(directory));
            Assert.Empty(Directory.GetFiles(_lazymount.StateDirectory, "*.json"));
        }
    }

    [Theory]
    [InlineData("TERM")]
    [InlineData("INT")]
    [InlineData("QUIT")]
    [InlineData("USR1")]
    [InlineData("USR2")]
    public void SignalToTheWorker_Unmounts(string signal)
    {
        string directory = _lazymount.Mount(_image);
        LazyMountCli.Kill(Assert.Single(LazyMountCli.WorkersOf(directory)), signal);
        WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length + LazyMountCli.WorkersOf(directory).Length == 0);
        Assert.False(LazyMountCli.IsMounted(directory));
        Assert.Empty(Directory.GetFiles(_lazymount.StateDirectory, "*.json"));
    }

    [Theory]
    [InlineData("fuse")]
    [InlineData("erofs")]
    public void KilledKeeper_LeavesTheMount(string face)
    {
        Assert.SkipUnless(face == "fuse" || Environment.IsPrivilegedProcess, "needs root");
        string directory = _lazymount.Mount(_image, "--as", face);
        LazyMountCli.Kill(Assert.Single(LazyMountCli.DaemonsOf(directory)), "KILL");
        WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length == 0);
        Assert.Equal("content\n", File.ReadAllText(Path.Combine(directory, "file")));
        Assert.Equal("alive", _lazymount.Listed(directory).GetProperty("state").GetString());
        Sentence.AssertOne(_lazymount.Run("restart", directory), 1, directory, "keeper");
        Sentence.AssertOne(_lazymount.Run("mount", _image, directory), 1, "is mounted there", "lazymount umount");
        _lazymount.Run("umount", directory).EnsureSuccess();
        Assert.Empty(LazyMountCli.WorkersOf(directory));
        Assert.Empty(Directory.GetFiles(_lazymount.StateDirectory, "*.json"));
    }

    [Fact]
    public void StoppedWorker_IsListedAsStuck_WithinASecondOrSo()
    {
        string[] directories = [.. Enumerable.Range(0, 3).Select(_ => _lazymount.Mount(_image, "--as", "fuse"))];
        foreach (string directory in directories)
            LazyMountCli.Kill(Assert.Single(LazyMountCli.WorkersOf(directory)), "STOP");
        var clock = Stopwatch.StartNew();
        Assert.All(directories, directory => Assert.Equal("stuck", _lazymount.Listed(directory).GetProperty("state").GetString()));
        Assert.True(clock.Elapsed < TimeSpan.FromSeconds(15)); // three lists
        foreach (string directory in directories)
            LazyMountCli.Kill(Assert.Single(LazyMountCli.WorkersOf(directory)), "CONT");
        Assert.All(directories, directory => Assert.Equal("content\n", File.ReadAllText(Path.Combine(directory, "file"))));
    }

    [Fact]
    public void DetachedInUse_IsListedAsBusy_AndSurvives()
    {
        string directory = _lazymount.Mount(_image);
        using (FileStream held = File.OpenRead(Path.Combine(directory, "big")))
        {
            _lazymount.Run("umount", "-l", directory).EnsureSuccess();
            Assert.Equal("busy", _lazymount.Listed(directory).GetProperty("state").GetString());
            LazyMountCli.KillWorkersOf(directory);
            byte[] read = new byte[_content.Length];
            held.ReadExactly(read);
            Assert.Equal(_content, read);
        }
        WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length + LazyMountCli.WorkersOf(directory).Length == 0);
    }

    /// <summary>The keeper has nothing to say: it is told to end while nobody serves.</summary>
    [Fact]
    public void UnmountedWhileNobodyServes_EverythingEnds()
    {
        string directory = _lazymount.Mount(_image, "--as", "fuse");
        int keeper = Assert.Single(LazyMountCli.DaemonsOf(directory));
        LazyMountCli.Kill(keeper, "STOP");
        LazyMountCli.KillWorkersOf(directory);
        Tool.Run("umount", "--no-canonicalize", directory).EnsureSuccess();
        LazyMountCli.Kill(keeper, "CONT");
        WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length + LazyMountCli.WorkersOf(directory).Length == 0);
        Assert.False(LazyMountCli.IsMounted(directory));
        Assert.Empty(Directory.GetFiles(_lazymount.StateDirectory, "*.json"));
    }

    /// <summary>The image cannot be opened: who reads gets errors in place of an endless wait, and right bytes as soon as it can be again.</summary>
    /// <summary>The kernel's OOM killer takes the worker: its next one has not the limit, and goes on.</summary>
    [Fact]
    public void WorkerOutOfMemory_IsFollowed()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "needs root");
        bool isFirstVersion = Directory.Exists("/sys/fs/cgroup/memory");
        string group = Path.Combine(isFirstVersion ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup", Path.GetFileName(_lazymount.Directory.Path));
        Directory.CreateDirectory(group);
        try
        {
            string limit = Path.Combine(group, isFirstVersion ? "memory.limit_in_bytes" : "memory.max");
            Assert.SkipUnless(File.Exists(limit), "needs cgroups with a memory controller");
            string directory = _lazymount.Mount(_image, "--as", "fuse");
            File.WriteAllText(limit, "1000000");
            File.WriteAllText(Path.Combine(group, "cgroup.procs"), $"{Assert.Single(LazyMountCli.WorkersOf(directory))}");
            Assert.Equal(_content, File.ReadAllBytes(Path.Combine(directory, "big")));
            Assert.Contains("oom_kill 1", File.ReadAllLines(Path.Combine(group, isFirstVersion ? "memory.oom_control" : "memory.events")));
            Assert.Contains("died (signal 9); another one goes on", Log(directory), StringComparison.Ordinal);
            Assert.Equal("alive", _lazymount.Listed(directory).GetProperty("state").GetString());
        }
        finally
        {
            Directory.Delete(group);
        }
    }

    /// <summary>The clock of the machine is set, forwards and back, while the mount is used and its worker is killed.</summary>
    [Fact]
    public void ClockThatJumps_DoesNoHarm()
    {
        using var registry = new RegistryServer();
        string image = $"{registry.Host}/clock:v1", offset = _lazymount.Directory["offset"], directory = _lazymount.NewMountPoint();
        Tool.Run("skopeo", "copy", "--quiet", "--dest-tls-verify=false", _image, $"docker://{image}").EnsureSuccess();
        File.WriteAllText(offset, "+0");
        _lazymount.Environment["LD_PRELOAD"] = Directory.GetDirectories("/usr/lib").Select(path => Path.Combine(path, "faketime", "libfaketime.so.1")).First(File.Exists);
        _lazymount.Environment["FAKETIME_TIMESTAMP_FILE"] = offset;
        _lazymount.Environment["FAKETIME_NO_CACHE"] = "1";
        _lazymount.Environment["FAKETIME_DONT_FAKE_MONOTONIC"] = "1";
        _lazymount.Environment["FAKETIME_FORCE_MONOTONIC_FIX"] = "0"; // waits with a limit are by the monotonic clock here
        _lazymount.Run("mount", "--as", "fuse", "--read-timeout", "20s", image, directory).EnsureSuccess();
        foreach (string jump in (string[])["+10y", "-10y", "+0"])
        {
            File.WriteAllText(offset, jump);
            for (int i = 0; i < 2; i++)
            {
                Tool.Run("sysctl", "-qw", "vm.drop_caches=3");
                Assert.Equal(_content, File.ReadAllBytes(Path.Combine(directory, "big")));
                LazyMountCli.KillWorkersOf(directory);
            }
            Assert.Equal("content\n", File.ReadAllText(Path.Combine(directory, "file")));
            _lazymount.Run("restart", directory).EnsureSuccess();
            WaitUntil(() => _lazymount.Listed(directory).GetProperty("state").GetString() == "alive");
            Directory.Delete(Path.Combine(_lazymount.CacheDirectory, "v1", "chunks"), recursive: true);
        }
        Assert.DoesNotContain("Exception", Log(directory), StringComparison.Ordinal);
        _lazymount.Run("umount", directory).EnsureSuccess();
    }

    /// <summary>A program that cannot be started counts as one that dies: `list` says why, and readers go on when it can be started again.</summary>
    [Fact]
    [System.Runtime.Versioning.SupportedOSPlatform("linux")]
    public async Task ProgramThatCannotBeStarted_IsToldAndTriedAgain()
    {
        string program = Path.Combine(_lazymount.Directory.CreateDirectory("bin"), "lazymount"), directory = _lazymount.NewMountPoint();
        File.Copy(LazyMountCli.Binary, program);
        using (Tool tool = Tool.Start(program, ["mount", "--as", "fuse", _image, directory], _lazymount.Environment))
            tool.WaitForExit().EnsureSuccess();
        File.SetUnixFileMode(program, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        LazyMountCli.KillWorkersOf(directory);
        WaitUntil(() => _lazymount.Listed(directory).GetProperty("state").GetString() == "restarting" && _lazymount.Listed(directory).TryGetProperty("trouble", out _));
        string trouble = _lazymount.Listed(directory).GetProperty("trouble").GetString()!;
        Assert.StartsWith($"cannot start '{program}': Permission denied; install lazymount there again; the next try is in ", trouble, StringComparison.Ordinal);
        Task<string> reading = Task.Run(() => File.ReadAllText(Path.Combine(directory, "file")), TestContext.Current.CancellationToken);
        File.SetUnixFileMode(program, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        Assert.Equal("content\n", await reading.WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken));
        Assert.False(_lazymount.Listed(directory).TryGetProperty("trouble", out _));
        _lazymount.Run("umount", directory).EnsureSuccess();
    }

    [Theory]
    [InlineData("fuse")]
    [InlineData("erofs")]
    public void RegistryAndCacheGone_ReadsFail_AndHeal(string face)
    {
        Assert.SkipUnless(face == "fuse" || Environment.IsPrivilegedProcess, "needs root");
        using var registry = new RegistryServer();
        Tool.Run("skopeo", "copy", "--quiet", "--dest-tls-verify=false", _image, $"docker://{registry.Host}/a:v1").EnsureSuccess();
        string directory = _lazymount.Mount($"{registry.Host}/a:v1", "--as", face, "--read-timeout", "3s");
        using FileStream held = File.OpenRead(Path.Combine(directory, "big"));
        registry.Stop();
        Directory.Delete(_lazymount.CacheDirectory, recursive: true);
        LazyMountCli.KillWorkersOf(directory);
        byte[] read = new byte[_content.Length];
        Assert.Throws<IOException>(() => held.ReadExactly(read));
        WaitUntil(() => _lazymount.Listed(directory).TryGetProperty("trouble", out _));
        Assert.Equal("restarting", _lazymount.Listed(directory).GetProperty("state").GetString());
        // The same when the process dies once more.
        LazyMountCli.KillWorkersOf(directory);
        held.Position = 0;
        Assert.Throws<IOException>(() => held.ReadExactly(read));

        registry.Start();
        held.Position = 0;
        held.ReadExactly(read);
        Assert.Equal(_content, read);
        Assert.Equal("alive", _lazymount.Listed(directory).GetProperty("state").GetString());
        Assert.Contains("cannot be opened again now", Log(directory), StringComparison.Ordinal);
        AssertUnmounts(directory, held);
    }

    [Fact]
    public void RegistryAndCacheGone_UmountAndSignalsStillWork()
    {
        using var registry = new RegistryServer();
        Tool.Run("skopeo", "copy", "--quiet", "--dest-tls-verify=false", _image, $"docker://{registry.Host}/a:v1").EnsureSuccess();
        foreach (string how in (string[])["umount", "keeper", "worker"])
        {
            string directory = _lazymount.Mount($"{registry.Host}/a:v1", "--read-timeout", "1s");
            registry.Stop();
            Directory.Delete(_lazymount.CacheDirectory, recursive: true);
            LazyMountCli.KillWorkersOf(directory);
            WaitUntil(() => _lazymount.Listed(directory).TryGetProperty("trouble", out _));
            switch (how)
            {
                case "umount":
                    _lazymount.Run("umount", directory).EnsureSuccess();
                    break;
                case "keeper":
                    LazyMountCli.Kill(Assert.Single(LazyMountCli.DaemonsOf(directory)), "TERM");
                    break;
                default:
                    Array.ForEach(LazyMountCli.WorkersOf(directory), worker => LazyMountCli.Kill(worker, "TERM"));
                    break;
            }
            WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length + LazyMountCli.WorkersOf(directory).Length == 0);
            Assert.False(LazyMountCli.IsMounted(directory));
            Assert.Empty(Directory.GetFiles(_lazymount.StateDirectory, "*.json"));
            registry.Start();
        }
    }

    /// <summary>
    /// The tree of a table of contents says of other bytes that they are a file's than the tree of a pass over the layer does. When all of the layer is in the
    /// cache, and no index, the pass would be made.
    /// </summary>
    [Theory]
    [InlineData("fuse")]
    [InlineData("erofs")]
    public void IndexFromATableOfContents_IsMadeFromItAgain(string face)
    {
        Assert.SkipUnless(face == "fuse" || Environment.IsPrivilegedProcess, "needs root");
        using var registry = new RegistryServer();
        string chunked = _lazymount.Directory["chunked"];
        Skopeo.ConvertToZstdChunked(_lazymount.Directory["layout"], chunked, "v1");
        Tool.Run("skopeo", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false", $"oci:{chunked}:v1", $"docker://{registry.Host}/a:v1").EnsureSuccess();
        string directory = _lazymount.Mount($"{registry.Host}/a:v1", "--as", face);
        using FileStream held = File.OpenRead(Path.Combine(directory, "big"));
        _lazymount.Run("pull", $"{registry.Host}/a:v1").EnsureSuccess();
        for (int i = 0; i < 2; i++)
        {
            foreach (string part in (string[])["trees", "layers", "image-layers"])
                Tool.Run("rm", "-rf", Path.Combine(_lazymount.CacheDirectory, part));
            LazyMountCli.KillWorkersOf(directory);
            Tool.Run("sysctl", "-qw", "vm.drop_caches=3");
            byte[] read = new byte[_content.Length];
            held.Position = 0;
            held.ReadExactly(read);
            Assert.Equal(_content, read);
        }
        AssertUnmounts(directory, held);
    }

    /// <summary>The command waited for ever: a worker that is killed says nothing.</summary>
    [Fact]
    public void SuccessorKilled_TheCommandSaysSo_AndTheOldWorkerGoesOn()
    {
        string directory = _lazymount.Mount(_image, "--as", "fuse");
        int worker = Assert.Single(LazyMountCli.WorkersOf(directory));
        ToolResult? refused = null;
        for (int i = 0; i < 50 && refused is null; i++)
        {
            using Tool restart = _lazymount.Start("restart", directory);
            WaitUntil(() => LazyMountCli.WorkersOf(directory).Length == 2 || restart.HasExited);
            foreach (int successor in LazyMountCli.WorkersOf(directory).Where(process => process != worker))
                LazyMountCli.Kill(successor, "KILL");
            ToolResult result = restart.WaitForExit();
            refused = result.ExitCode != 0 && LazyMountCli.WorkersOf(directory).Contains(worker) ? result : null; // it may have been ready before
            WaitUntil(() => LazyMountCli.WorkersOf(directory).Length == 1);
            worker = Assert.Single(LazyMountCli.WorkersOf(directory));
        }
        Assert.NotNull(refused);
        Sentence.AssertOne(refused, 1, directory, "signal 9", "old process goes on");
        Assert.Equal("content\n", File.ReadAllText(Path.Combine(directory, "file")));
    }

    [Fact]
    public void Restart_OfWhatIsNoMount_IsRefused()
    {
        Sentence.AssertOne(_lazymount.Run("restart", _lazymount.NewMountPoint()), 1, "list");
        Sentence.AssertOne(_lazymount.Run("restart"), 2, "--all");
        _lazymount.Run("restart", "--all").EnsureSuccess();
    }

    private void AssertUnmounts(string directory, FileStream held)
    {
        held.Dispose();
        // A process that another test begins has our open files for a moment.
        WaitUntil(() => _lazymount.Run("umount", directory).ExitCode == 0);
        WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length + LazyMountCli.WorkersOf(directory).Length == 0);
        Assert.False(LazyMountCli.IsMounted(directory));
        Assert.Empty(Directory.GetFiles(_lazymount.StateDirectory, "*.json"));
    }

    private string Log(string directory) => File.ReadAllText(Directory.GetFiles(_lazymount.StateDirectory, Path.GetFileName(directory) + "-*.log").Single());
}
