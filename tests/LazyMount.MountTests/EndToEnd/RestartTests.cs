using System.Text.Json;
using LazyMount.TestKit;
using Xunit;
using static LazyMount.MountTests.EndToEnd.Waiting;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>Workers that are replaced, or die, when something else is wrong.</summary>
public sealed class RestartTests : IDisposable
{
    private readonly LazyMountCli _lazymount = new();
    private readonly byte[] _content = new byte[3_000_000];
    private readonly string _image;

    public RestartTests()
    {
        new Random(4).NextBytes(_content);
        OciLayoutBuilder layout = new OciLayoutBuilder(_lazymount.Directory["layout"])
            .AddLayer(new TarBytes().Directory("./").File("file", "content\n").File("big", _content));
        layout.WriteImage("v1");
        _image = layout.Reference("v1");
    }

    public void Dispose() => _lazymount.Dispose();

    /// <summary>The program that serves after a death is one that has served, whatever stands in its place.</summary>
    [Theory]
    [InlineData("rm \"$1\"", "No such file")]
    [InlineData("chmod -x \"$1\"", "Permission denied")]
    [InlineData("rm \"$1\"; echo text > \"$1\"; chmod +x \"$1\"", "Exec format error")]
    [InlineData("rm \"$1\"; cp /bin/true \"$1\"", "exit code 0")]
    [InlineData("rm \"$1\"; cp /bin/false \"$1\"", "exit code 1")]
    public void ProgramThatIsNoLazyMount_IsRefused_AndTheOldOneGoesOn(string change, string reason)
    {
        string program = _lazymount.Directory["program/lazymount"], directory = _lazymount.NewMountPoint();
        Directory.CreateDirectory(Path.GetDirectoryName(program)!);
        File.Copy(LazyMountCli.Binary, program);
        using (Tool mount = Tool.Start(program, ["mount", "--as", "fuse", _image, directory], _lazymount.Environment))
            mount.WaitForExit().EnsureSuccess();
        Tool.Shell(change, program).EnsureSuccess();
        int worker = Assert.Single(LazyMountCli.WorkersOf(directory));
        Sentence.AssertOne(_lazymount.Run("restart", directory), 1, directory, program, reason, "old process goes on");
        Assert.Equal(worker, Assert.Single(LazyMountCli.WorkersOf(directory)));
        if (reason != "Permission denied") // nobody can run that file, under whatever name
        {
            LazyMountCli.KillWorkersOf(directory);
        }
        AssertReads(directory);
        File.Delete(program);
        File.Copy(LazyMountCli.Binary, program);
        _lazymount.Run("restart", directory).EnsureSuccess();
        AssertReads(directory);
        AssertUnmounts(directory);
    }

    [Theory]
    [InlineData("fuse")]
    [InlineData("erofs")]
    public void StoppedWorker_IsReplaced(string face)
    {
        Assert.SkipUnless(face == "fuse" || Environment.IsPrivilegedProcess, "needs root");
        string directory = _lazymount.Mount(_image, "--as", face);
        int worker = Assert.Single(LazyMountCli.WorkersOf(directory));
        LazyMountCli.Kill(worker, "STOP");
        _lazymount.Run("restart", directory).EnsureSuccess();
        WaitUntil(() => LazyMountCli.WorkersOf(directory) is [int other] && other != worker);
        AssertReads(directory);
        AssertUnmounts(directory);
    }

    [Fact]
    public void StoppedKeeper_LeavesTheMount_AndIsNamed()
    {
        string directory = _lazymount.Mount(_image);
        int keeper = Assert.Single(LazyMountCli.DaemonsOf(directory));
        LazyMountCli.Kill(keeper, "STOP");
        AssertReads(directory);
        Assert.Equal("alive", _lazymount.Listed(directory).GetProperty("state").GetString());
        Sentence.AssertOne(_lazymount.Run("restart", directory), 1, directory, $"kill -CONT {keeper}");
        LazyMountCli.Kill(keeper, "CONT");
        _lazymount.Run("restart", directory).EnsureSuccess();
        AssertUnmounts(directory);
    }

    [Fact]
    public void MountsThatWereMoved_CoveredOrStacked_AreFound()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "needs root");
        string parent = _lazymount.Directory.CreateDirectory("parent"), first = Directory.CreateDirectory(parent + "/a").FullName, second = Directory.CreateDirectory(parent + "/b").FullName;
        Tool.Shell("mount --bind \"$1\" \"$1\" && mount --make-private \"$1\"", parent).EnsureSuccess(); // what is shared cannot be moved
        try
        {
            _lazymount.Run("mount", _image, first).EnsureSuccess();
            int moved = Assert.Single(LazyMountCli.DaemonsOf(first));
            Tool.Run("mount", "--move", first, second).EnsureSuccess();
            _lazymount.Run("mount", "--as", "fuse", _image, first).EnsureSuccess();
            int other = Assert.Single(LazyMountCli.DaemonsOf(first), daemon => daemon != moved);
            Assert.Equal((0, 0), (RestartsOf(moved), RestartsOf(other)));
            _lazymount.Run("restart", second).EnsureSuccess();
            Assert.Equal((1, 0), (RestartsOf(moved), RestartsOf(other)));
            _lazymount.Run("restart", first).EnsureSuccess();
            Assert.Equal((1, 1), (RestartsOf(moved), RestartsOf(other)));
            _lazymount.Run("restart", "--all").EnsureSuccess();
            Assert.Equal((2, 2), (RestartsOf(moved), RestartsOf(other)));

            // The one that was made first is the upper one now.
            Tool.Run("mount", "--move", second, first).EnsureSuccess();
            _lazymount.Run("restart", first).EnsureSuccess();
            Assert.Equal((3, 2), (RestartsOf(moved), RestartsOf(other)));
            _lazymount.Run("restart", "--all").EnsureSuccess();
            Assert.Equal((4, 3), (RestartsOf(moved), RestartsOf(other)));
            Tool.Run("mount", "-t", "tmpfs", "none", first).EnsureSuccess();
            _lazymount.Run("restart", first).EnsureSuccess();
            Sentence.AssertOne(_lazymount.Run("umount", first), 1, first, "another mount covers it");
            Tool.Run("umount", first).EnsureSuccess();

            _lazymount.Run("umount", first).EnsureSuccess();
            Assert.Equal(other, Assert.Single(LazyMountCli.DaemonsOf(first)));
            Assert.Equal("content\n", File.ReadAllText(Path.Combine(first, "file")));
            AssertUnmounts(first);
        }
        finally
        {
            Tool.Shell("umount -l \"$1/a\" \"$1/a\" \"$1/b\" 2>/dev/null; umount -l \"$1\"", parent);
        }
    }

    /// <summary>What kernels before Linux 6.9 can do: the hidden variable leaves out the flag that newer ones offer.</summary>
    [Theory]
    [InlineData("fuse")]
    [InlineData("erofs")]
    public void WithoutRequestsThatAreSentAgain_RestartIsNotNoticed_AndADeathEndsTheMount(string face)
    {
        Assert.SkipUnless(face == "fuse" || Environment.IsPrivilegedProcess, "needs root");
        _lazymount.Environment["LAZYMOUNT_NO_RESEND"] = "1";
        string directory = _lazymount.Mount(_image, "--as", face);
        Assert.False(_lazymount.Listed(directory).TryGetProperty("survivesCrashes", out JsonElement survives) && survives.GetBoolean());
        Exception? problem = null;
        bool ends = false;
        var reader = new Thread(() =>
        {
            try
            {
                while (!Volatile.Read(ref ends))
                {
                    Tool.Run("sysctl", "-qw", "vm.drop_caches=3");
                    AssertReads(directory);
                }
            }
#pragma warning disable CA1031 // told by the test's thread
            catch (Exception e)
#pragma warning restore CA1031
            {
                problem = e;
            }
        });
        reader.Start();
        for (int i = 1; i <= 8; i++)
        {
            _lazymount.Run("restart", directory).EnsureSuccess();
            Assert.Equal(i, _lazymount.Listed(directory).GetProperty("restarts").GetInt32());
        }
        Volatile.Write(ref ends, true);
        Assert.True(reader.Join(TimeSpan.FromSeconds(60)), "the reader waits for ever");
        Assert.Null(problem);

        int stopped = Assert.Single(LazyMountCli.WorkersOf(directory));
        LazyMountCli.Kill(stopped, "STOP");
        Sentence.AssertOne(_lazymount.Run("restart", directory), 1, directory, $"kill -CONT {stopped}");
        LazyMountCli.Kill(stopped, "KILL");
        WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length + LazyMountCli.WorkersOf(directory).Length == 0);
        Tool.Run("sysctl", "-qw", "vm.drop_caches=3");
        Assert.Throws<IOException>(() => File.ReadAllBytes(Path.Combine(directory, "big")));
        Assert.Equal("dead", _lazymount.Listed(directory).GetProperty("state").GetString());
        AssertUnmounts(directory);
    }

    /// <summary>A worker that was stopped dies when its successor is ready: what it had read is lost, so that the mount ends.</summary>
    [Fact]
    public void WithoutRequestsThatAreSentAgain_AReadySuccessorDoesNotFollowADeath()
    {
        _lazymount.Environment["LAZYMOUNT_NO_RESEND"] = "1";
        string directory = _lazymount.Mount(_image, "--as", "fuse");
        int stopped = Assert.Single(LazyMountCli.WorkersOf(directory));
        LazyMountCli.Kill(stopped, "STOP");
        LazyMountCli.Kill(Assert.Single(LazyMountCli.DaemonsOf(directory)), "42"); // as `restart` does
        WaitUntil(() => LazyMountCli.WorkersOf(directory).Length == 2);
        Thread.Sleep(2000); // it becomes ready
        LazyMountCli.Kill(stopped, "KILL");
        WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length + LazyMountCli.WorkersOf(directory).Length == 0);
        Assert.Equal("dead", _lazymount.Listed(directory).GetProperty("state").GetString());
        AssertUnmounts(directory);
    }

    [Fact]
    public void StateDirectoryGone_TheMountGoesOn()
    {
        string directory = _lazymount.Mount(_image);
        Directory.Delete(_lazymount.StateDirectory, recursive: true);
        LazyMountCli.KillWorkersOf(directory);
        WaitUntil(() => LazyMountCli.WorkersOf(directory).Length == 1);
        AssertReads(directory);
        Assert.Equal("alive", _lazymount.Listed(directory).GetProperty("state").GetString());
        Sentence.AssertOne(_lazymount.Run("restart", directory), 1, directory, _lazymount.StateDirectory, "no record");
        _lazymount.Run("umount", directory).EnsureSuccess();
        WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length + LazyMountCli.WorkersOf(directory).Length == 0);
        Assert.False(LazyMountCli.IsMounted(directory));
    }

    [Fact]
    public void FullDisk_HindersNoSuccessor()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "needs root");
        string disk = _lazymount.Directory.CreateDirectory("disk");
        Tool.Run("mount", "-t", "tmpfs", "-o", "size=16m", "none", disk).EnsureSuccess();
        try
        {
            _lazymount.CacheDirectory = Path.Combine(disk, "cache");
            _lazymount.Environment["LAZYMOUNT_STATE"] = Path.Combine(disk, "state");
            string directory = _lazymount.Mount(_image);
            Tool.Shell("cat /dev/zero > \"$1/fill\"", disk);
            for (int i = 1; i <= 3; i++)
            {
                LazyMountCli.KillWorkersOf(directory);
                WaitUntil(() => _lazymount.Listed(directory).GetProperty("restarts").GetInt32() == (2 * i) - 1);
                _lazymount.Run("restart", directory).EnsureSuccess();
                AssertReads(directory);
            }
            AssertUnmounts(directory);
        }
        finally
        {
            Tool.Run("umount", "--lazy", disk);
        }
    }

    /// <summary>The kernel ends the process with the highest score: what is left is the keeper, which starts another worker.</summary>
    [Fact]
    public void OutOfMemory_TheWorkerEndsFirst()
    {
        string directory = _lazymount.Mount(_image);
        AssertReads(directory);
        int keeper = Assert.Single(LazyMountCli.DaemonsOf(directory)), worker = Assert.Single(LazyMountCli.WorkersOf(directory));
        Assert.True(Resident(keeper) < Resident(worker));
        Assert.Equal(File.ReadAllText("/proc/self/oom_score_adj"), File.ReadAllText($"/proc/{keeper}/oom_score_adj"));
        Assert.Equal(File.ReadAllText("/proc/self/oom_score_adj"), File.ReadAllText($"/proc/{worker}/oom_score_adj"));

        static long Resident(int process) => Value($"/proc/{process}/status", "VmRSS:");
    }

    [Fact]
    public void Keeper_StaysSmall_HoweverManyWorkersDie()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "needs root");
        string directory = _lazymount.Mount(_image, "--as", "fuse");
        int keeper = Assert.Single(LazyMountCli.DaemonsOf(directory));
        for (int i = 1; i <= 30; i++)
        {
            LazyMountCli.KillWorkersOf(directory);
            WaitUntil(() => _lazymount.Listed(directory).TryGetProperty("restarts", out JsonElement restarts) && restarts.GetInt32() == i);
            AssertReads(directory);
        }
        // Pages of the program's file that are not yet on the disk count as dirty, too.
        Tool.Run("sync").EnsureSuccess();
        Assert.InRange(Value($"/proc/{keeper}/smaps_rollup", "Private_Dirty:"), 1, 2048);
        AssertUnmounts(directory);
    }

    [Fact]
    public void ClosedTerminal_LeavesTheMountInTheBackground()
    {
        string directory = _lazymount.NewMountPoint();
        using (Tool terminal = Tool.Start("script", ["-qec", $"{LazyMountCli.Binary} mount {_image} {directory}; kill -HUP $$", "/dev/null"], _lazymount.Environment))
            terminal.WaitForExit();
        Assert.Equal("content\n", File.ReadAllText(Path.Combine(directory, "file")));
        Assert.False(_lazymount.Listed(directory).TryGetProperty("restarts", out JsonElement restarts) && restarts.GetInt32() > 0);
        AssertUnmounts(directory);
    }

    [Fact]
    public void ClosedTerminal_EndsTheMountInFront()
    {
        string directory = _lazymount.NewMountPoint();
        using (Tool terminal = Tool.Start("script", ["-qec", $"{LazyMountCli.Binary} mount -f {_image} {directory}", "/dev/null"], _lazymount.Environment))
        {
            WaitUntil(() => LazyMountCli.IsMounted(directory) && LazyMountCli.WorkersOf(directory).Length == 1);
            terminal.Signal(9); // the terminal is gone with the program that made it
        }
        WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length + LazyMountCli.WorkersOf(directory).Length == 0);
        Assert.False(LazyMountCli.IsMounted(directory));
    }

    [Theory]
    [InlineData("fuse")]
    [InlineData("erofs")]
    public void WithoutProc_EveryCommandSaysSo_AndTheMountGoesOn(string face)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "needs root");
        string directory = _lazymount.NewMountPoint(), script = $$"""
            for command in "mount $3 $2" "mount -f $3 $2" list "umount $2" "umount --all" "restart $2" "restart --all"; do
              umount -l /proc
              timeout 60 "$1" $command && exit 9
              mount -t proc proc /proc
              grep -q "$2" /proc/self/mountinfo && exit 8
            done
            "$1" mount --as {{face}} "$3" "$2"
            keeper=$(pgrep -f "daemon keep .*$2\$")
            for i in 1 2; do
              worker=$(pgrep -f "daemon --for .*$2\$"); umount -l /proc
              kill -KILL $worker; timeout 60 cmp "$2/big" "$4" || exit 7
              mount -t proc proc /proc
              until next=$(pgrep -f "daemon --for .*$2\$") && [ $next != $worker ]; do sleep 0.05; done
            done
            umount -l /proc; kill -TERM $keeper
            while kill -0 $keeper 2>/dev/null; do sleep 0.05; done
            mount -t proc proc /proc
            grep -q "$2" /proc/self/mountinfo && exit 6; pgrep -f "daemon .*$2\$" && exit 5; true
            """;
        string content = _lazymount.Directory["content"];
        File.WriteAllBytes(content, _content);
        using Tool tool = Tool.Start("unshare", ["--mount", "--propagation", "private", "bash", "-c", script, "bash", LazyMountCli.Binary, directory, _image, content], _lazymount.Environment);
        ToolResult result = tool.WaitForExit();
        Assert.True(result.ExitCode == 0, $"exit code {result.ExitCode}: {result.Error}");
        string[] lines = result.Error.TrimEnd('\n').Split('\n');
        Assert.Equal(7, lines.Length);
        Assert.All(lines, line => Assert.Equal("lazymount: cannot read '/proc/self/mountinfo': /proc is not mounted; mount it with mount -t proc proc /proc", line));
    }

    private void AssertReads(string directory)
    {
        Assert.Equal("content\n", File.ReadAllText(Path.Combine(directory, "file")));
        Assert.Equal(_content, File.ReadAllBytes(Path.Combine(directory, "big")));
    }

    private void AssertUnmounts(string directory)
    {
        _lazymount.Run("umount", directory).EnsureSuccess();
        WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length + LazyMountCli.WorkersOf(directory).Length == 0);
        Assert.False(LazyMountCli.IsMounted(directory));
        Assert.Empty(Directory.GetFiles(_lazymount.StateDirectory, "*.json"));
    }

    private int RestartsOf(int keeper)
        => _lazymount.Listed().First(mount => mount.TryGetProperty("pid", out JsonElement pid) && pid.GetInt32() == keeper).TryGetProperty("restarts", out JsonElement restarts) ? restarts.GetInt32() : 0;

    private static long Value(string file, string label)
        => long.Parse(File.ReadLines(file).Single(line => line.StartsWith(label, StringComparison.Ordinal))[label.Length..].Trim().Split(' ')[0], System.Globalization.CultureInfo.InvariantCulture);
}
