using LazyMount.TestKit;
using Xunit;
using static LazyMount.MountTests.EndToEnd.Waiting;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>Mount points that cannot be used or left, and systems without FUSE.</summary>
public sealed class MountPointTests : IDisposable
{
    private const string RootOnly = "needs root, to change what the system looks like in a mount namespace of its own";

    private readonly LazyMountCli _lazymount = new();
    private readonly string _image;

    public MountPointTests()
    {
        OciLayoutBuilder layout = new OciLayoutBuilder(_lazymount.Directory["layout"])
            .AddLayer(new TarBytes().Directory("./").File("file", "content\n"));
        layout.WriteImage("v1");
        _image = layout.Reference("v1");
    }

    public void Dispose() => _lazymount.Dispose();

    [Fact]
    public void Missing_IsNamed() => Sentence.AssertOne(Mount(_lazymount.Directory["missing"]), 1, _lazymount.Directory["missing"], "does not exist");

    [Fact]
    public void File_IsNoDirectory()
    {
        File.WriteAllText(_lazymount.Directory["plain"], "");
        Sentence.AssertOne(Mount(_lazymount.Directory["plain"]), 1, "not a directory");
    }

    [Fact]
    public void NotEmpty_IsRefused()
    {
        string directory = _lazymount.NewMountPoint();
        File.WriteAllText(Path.Combine(directory, "something"), "");
        Sentence.AssertOne(Mount(directory), 1, directory, "not empty");
    }

    [Fact]
    public void AlreadyAMount_IsRefusedWithItsImage()
    {
        string directory = _lazymount.Mount(_image);
        Sentence.AssertOne(Mount(directory), 1, directory, "umount");
        Assert.Equal("content\n", File.ReadAllText(Path.Combine(directory, "file")));
    }

    [Fact]
    public void Busy_IsNotUnmountedButCanBeDetached()
    {
        string directory = _lazymount.Mount(_image);
        using (File.OpenRead(Path.Combine(directory, "file")))
        {
            Sentence.AssertOne(_lazymount.Run("umount", directory), 1, directory, "busy");
            Assert.True(LazyMountCli.IsMounted(directory));
        }
        _lazymount.Run("umount", directory).EnsureSuccess();
        Assert.False(LazyMountCli.IsMounted(directory));

        _lazymount.Run("mount", _image, directory).EnsureSuccess();
        using (FileStream file = File.OpenRead(Path.Combine(directory, "file")))
        {
            _lazymount.Run("umount", "-l", directory).EnsureSuccess();
            Assert.False(LazyMountCli.IsMounted(directory));
            Assert.Equal('c', file.ReadByte());
        }
    }

    [Fact]
    public void Unmounted_LeavesNoDaemonAndNoRecord()
    {
        string directory = _lazymount.Mount(_image);
        Assert.NotEmpty(LazyMountCli.DaemonsOf(directory));
        _lazymount.Run("umount", directory).EnsureSuccess();
        Assert.Empty(LazyMountCli.DaemonsOf(directory));
        Assert.DoesNotContain(directory, _lazymount.Run("list").EnsureSuccess().Output, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(_lazymount.StateDirectory, "*.json"));
    }

    [Fact]
    public void NotMounted_CannotBeUnmounted()
    {
        string directory = _lazymount.NewMountPoint();
        Sentence.AssertOne(_lazymount.Run("umount", directory), 1, directory);
        Sentence.AssertOne(_lazymount.Run("umount", "/proc"), 1, "/proc");
    }

    [Fact]
    public void KilledDaemon_IsListedAsDeadAndCleaned()
    {
        string directory = _lazymount.Mount(_image);
        Kill(directory);

        Assert.Contains("dead", _lazymount.Run("list").EnsureSuccess().Output.Split('\n').Single(line => line.Contains(directory, StringComparison.Ordinal)), StringComparison.Ordinal);
        Sentence.AssertOne(Mount(directory), 1, directory, "dead", "umount");
        _lazymount.Run("umount", directory).EnsureSuccess();
        Assert.False(LazyMountCli.IsMounted(directory));
        Assert.DoesNotContain(directory, _lazymount.Run("list").EnsureSuccess().Output, StringComparison.Ordinal);

        _lazymount.Run("mount", _image, directory).EnsureSuccess();
        Assert.Equal("content\n", File.ReadAllText(Path.Combine(directory, "file")));
    }

    [Fact]
    public void KilledDaemonOfALayerStillInUse_LeavesTheCacheWhole()
    {
        Kill(_lazymount.Mount(_image));
        Assert.Empty(CacheFiles.Unfinished(_lazymount));
        Assert.Equal("content\n", _lazymount.Run("cat", _image, "/file").EnsureSuccess().Output);
    }

    [Fact]
    public void Foreground_EndsAtCtrlCAndUnmounts()
    {
        string directory = _lazymount.NewMountPoint();
        using Tool foreground = _lazymount.Start("mount", "-f", _image, directory);
        WaitUntil(() => LazyMountCli.IsMounted(directory) && File.Exists(Path.Combine(directory, "file")));
        foreground.Signal(2);
        foreground.WaitForExit();
        Assert.False(LazyMountCli.IsMounted(directory));
    }

    [Theory]
    [InlineData("TERM")]
    [InlineData("INT")]
    [InlineData("QUIT")]
    [InlineData("USR1")]
    [InlineData("USR2")]
    public void Signal_EndsTheDaemonAndUnmounts(string signal)
    {
        string directory = _lazymount.Mount(_image);
        SignalAndWait(directory, signal);
        Assert.False(LazyMountCli.IsMounted(directory));
        Assert.Empty(Directory.GetFiles(_lazymount.StateDirectory, "*.json"));
    }

    [Theory]
    [InlineData("mv \"$PARENT\" \"$PARENT.moved\"", "\"$PARENT.moved/mnt\"", false)]
    [InlineData("mkdir \"$PARENT/bind\" && mount --bind \"$MNT\" \"$PARENT/bind\"", "\"$PARENT/bind\"", false)]
    [InlineData("mount --bind \"$MNT\" \"$MNT\"", "\"$MNT\"", false)]
    [InlineData("mount -t tmpfs none \"$MNT\"", "", true)]
    [InlineData("mkdir \"$PARENT/x\" && mount -t tmpfs none \"$PARENT\"", "", true)]
    public void Terminated_WhateverWasDoneToItsPlace_TheDaemonEnds(string what, string place, bool isCovered)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        string parent = _lazymount.Directory.CreateDirectory("parent"), directory = Directory.CreateDirectory(parent + "/mnt").FullName;
        _lazymount.Run("mount", _image, directory).EnsureSuccess();
        Dictionary<string, string?> variables = new() { ["PARENT"] = parent, ["MNT"] = directory };
        try
        {
            Shell(what, variables).EnsureSuccess();
            SignalAndWait(directory, "TERM");
            if (!isCovered)
            {
                Shell($"! mountpoint -q {place}", variables).EnsureSuccess();
            }
        }
        finally
        {
            if (isCovered)
            {
                Shell("umount \"$MNT\" || umount \"$PARENT\"", variables);
                Assert.Contains(directory, _lazymount.Run("list").EnsureSuccess().Output, StringComparison.Ordinal);
                _lazymount.Run("umount", directory).EnsureSuccess();
            }
        }
        Assert.DoesNotContain(parent, File.ReadAllText("/proc/self/mountinfo"), StringComparison.Ordinal);
    }

    [Fact]
    public void TerminatedTwice_WhileInUse_TheDaemonEndsAtOnce()
    {
        string directory = _lazymount.Mount(_image);
        using FileStream file = File.OpenRead(Path.Combine(directory, "file"));
        Tool.Run("kill", "-TERM", $"{Assert.Single(LazyMountCli.DaemonsOf(directory))}").EnsureSuccess();
        WaitUntil(() => !LazyMountCli.IsMounted(directory));
        SignalAndWait(directory, "TERM");
        Assert.Contains("still in use", Log(directory), StringComparison.Ordinal);
    }

    [Fact]
    public void Terminated_WhileInUse_TheDaemonEndsWithTheLastUser()
    {
        string directory = _lazymount.Mount(_image);
        using (FileStream file = File.OpenRead(Path.Combine(directory, "file")))
        {
            Tool.Run("kill", "-TERM", $"{Assert.Single(LazyMountCli.DaemonsOf(directory))}").EnsureSuccess();
            WaitUntil(() => !LazyMountCli.IsMounted(directory));
            Thread.Sleep(500);
            Assert.Equal('c', file.ReadByte());
        }
        WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length == 0);
        Assert.Empty(Directory.GetFiles(_lazymount.StateDirectory)); // a mount that has ended well leaves no log
    }

    [Fact]
    public void BusyMount_IsNotUnmounted_AndItsUsersAreNamed()
    {
        string directory = _lazymount.Mount(_image);
        using Tool inside = Tool.Start("sh", ["-c", $"cd {directory} && exec sleep 300"]), reader = Tool.Start("sh", ["-c", $"exec tail -f {directory}/file 3<{directory}/file"]);
        WaitUntil(() => new FileInfo($"/proc/{inside.ProcessId}/cwd").LinkTarget == directory && File.Exists($"/proc/{reader.ProcessId}/fd/3"));
        Sentence.AssertOne(_lazymount.Run("umount", directory), 1, directory, $"{inside.ProcessId} (sleep)", $"{reader.ProcessId} (tail)", "umount -l");
    }

    [Fact]
    public void UmountAll_UnmountsAll()
    {
        string[] directories = [_lazymount.Mount(_image), _lazymount.Mount(_image)];
        string script = $"for other in $(grep -v -e {directories[0]} -e {directories[1]} /proc/self/mounts | grep -e lazymount | cut -d' ' -f2); do umount -l $other; done; {LazyMountCli.Binary} umount --all";
        using (Tool tool = Tool.Start("unshare", ["--mount", "--propagation", "private", "sh", "-c", script], _lazymount.Environment))
            Assert.Equal(0, tool.WaitForExit().ExitCode); // in a mount namespace, where others' mounts are not ours to take away
        Sentence.AssertOne(_lazymount.Run("umount"), 2, "--all");
        Sentence.AssertOne(_lazymount.Run("umount", "--all", directories[0]), 2, "--all");
    }

    [Fact]
    public void Terminated_WhileAContainerHasIt_TheDaemonEndsAllTheSame()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        string directory = _lazymount.Mount(_image, "--as", "fuse"), go = _lazymount.Directory["go"];
        using Tool container = Tool.Start("unshare", ["--mount", "--propagation", "private", "bash", "-c", "stat \"$1/file\" >/dev/null && touch \"$2\" && exec sleep 300", "bash", directory, go]);
        WaitUntil(() => File.Exists(go));
        Assert.Contains("another mount namespace", _lazymount.Run("umount", directory).EnsureSuccess().Error, StringComparison.Ordinal);
        Sentence.AssertOne(_lazymount.Run("umount", directory), 1, directory, "kill");
        SignalAndWait(directory, "TERM");
        Assert.Contains("not connected", Tool.Run("nsenter", "-t", $"{container.ProcessId}", "-m", "stat", "-f", directory).Error, StringComparison.Ordinal);
    }

    [Fact]
    public void MovedWithItsParent_IsListedAndUnmountedUnderBothNames()
    {
        for (int i = 0; i < 2; i++)
        {
            string parent = _lazymount.Directory.CreateDirectory($"parent{i}"), moved = parent + ".moved", directory = Directory.CreateDirectory(parent + "/mnt").FullName;
            _lazymount.Run("mount", _image, directory).EnsureSuccess();
            int daemon = Assert.Single(LazyMountCli.DaemonsOf(directory));
            Directory.Move(parent, moved);
            Assert.Contains($"alive  {daemon}", _lazymount.Run("list").EnsureSuccess().Output.Split('\n').Single(line => line.Contains(moved, StringComparison.Ordinal)), StringComparison.Ordinal);
            _lazymount.Run("umount", i == 0 ? directory : moved + "/mnt").EnsureSuccess();
            Assert.Empty(LazyMountCli.DaemonsOf(directory));
            Assert.False(LazyMountCli.IsMounted(moved + "/mnt"));
        }
    }

    [Fact]
    public void UnmountingABindMount_LeavesTheMount()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        string directory = _lazymount.Mount(_image), bind = _lazymount.NewMountPoint();
        Tool.Run("mount", "--bind", directory, bind).EnsureSuccess();
        _lazymount.Run("umount", bind).EnsureSuccess();
        Assert.False(LazyMountCli.IsMounted(bind));
        Assert.Equal("content\n", File.ReadAllText(Path.Combine(directory, "file")));
    }

    [Fact]
    public void TwoAtOnce_OneIsRefusedAndNothingIsMountedTwice()
    {
        string directory = _lazymount.NewMountPoint();
        Tool[] mounts = [.. Enumerable.Range(0, 4).Select(_ => _lazymount.Start("mount", _image, directory))];
        ToolResult[] results = [.. mounts.Select(mount => mount.WaitForExit())];
        Array.ForEach(mounts, mount => mount.Dispose());
        Assert.Single(results, result => result.ExitCode == 0);
        foreach (ToolResult result in results.Where(result => result.ExitCode != 0))
        {
            Sentence.AssertOne(result, 1, directory);
        }
        Assert.Single(File.ReadLines("/proc/self/mounts"), line => line.Split(' ')[1] == directory);
        _lazymount.Run("umount", directory).EnsureSuccess();
        Assert.False(LazyMountCli.IsMounted(directory));
    }

    [Fact]
    public void DetachedWhileInUse_TheDirectoryCanBeUsedAgainAtOnce()
    {
        string directory = _lazymount.Mount(_image);
        using (FileStream file = File.OpenRead(Path.Combine(directory, "file")))
        {
            _lazymount.Run("umount", "-l", directory).EnsureSuccess();
            _lazymount.Run("mount", _image, directory).EnsureSuccess();
            Assert.Equal('c', file.ReadByte());
        }
        WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length == 1);
        Assert.Contains("alive", _lazymount.Run("list").EnsureSuccess().Output.Split('\n').Single(line => line.Contains(directory, StringComparison.Ordinal)), StringComparison.Ordinal);
        Assert.Single(Directory.GetFiles(_lazymount.StateDirectory, "*.json"));
        _lazymount.Run("umount", directory).EnsureSuccess();
    }

    [Theory]
    [InlineData("auto")]
    [InlineData("fuse")]
    public void FewDescriptors_LeaveNoDeadMount(string face)
    {
        string directory = _lazymount.NewMountPoint();
        for (int limit = 6; limit <= 60; limit += limit < 30 ? 1 : 5)
        {
            using Tool tool = Tool.Start("bash", ["-c", $"ulimit -n {limit}; exec \"$@\"", "bash", LazyMountCli.Binary, "mount", "--as", face, _image, directory], _lazymount.Environment);
            ToolResult result = tool.WaitForExit();
            if (result.ExitCode == 0)
            {
                Assert.Equal("content\n", File.ReadAllText(Path.Combine(directory, "file")));
                _lazymount.Run("umount", directory).EnsureSuccess();
            }
            else
            {
                Assert.StartsWith("lazymount: ", result.Error, StringComparison.Ordinal);
                Assert.DoesNotContain("   at ", result.Error, StringComparison.Ordinal);
            }
            Assert.False(LazyMountCli.IsMounted(directory), $"a mount was left with {limit} descriptors");
            WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length + LazyMountCli.WorkersOf(directory).Length == 0);
            Assert.Empty(Directory.GetFiles(_lazymount.StateDirectory, "*.json"));
        }
    }

    [Fact]
    public void NoFuseDevice_IsSaid()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        string directory = _lazymount.NewMountPoint();
        ToolResult result = InNamespace("mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9 && exec \"$@\"", LazyMountCli.Binary, "mount", _image, directory);
        Sentence.AssertOne(result, 1, "/dev/fuse");
    }

    [Fact]
    public void OtherUsersWithoutFusermount_AreToldWhatToInstall()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        Sentence.AssertOne(MountAsNobody("export PATH=/nonexistent", OwnedByNobody()), 1, "fusermount3", "fuse3");
    }

    [Fact]
    public void OtherUsersMayNotMountWhereTheyMayNotWrite()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        string directory = _lazymount.NewMountPoint();
        Sentence.AssertOne(MountAsNobody("", directory), 1, directory);
    }

    [Fact]
    public void OtherUsersWithoutRightsOnTheDevice_AreTold()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        Sentence.AssertOne(MountAsNobody("", OwnedByNobody(), deviceMode: "600"), 1, "/dev/fuse", "permission");
    }

    [Fact]
    public void OtherUsers_MountReadAndUnmount()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        string directory = OwnedByNobody();
        ToolResult result = MountAsNobody("", directory, then: "cat \"$directory/file\" && \"$lazymount\" list && \"$lazymount\" umount \"$directory\" && ! mountpoint -q \"$directory\"");
        result.EnsureSuccess();
        Assert.StartsWith("content\n", result.Output, StringComparison.Ordinal);
        Assert.Contains(directory, result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void CacheThatMayNotBeWritten_IsNamed()
    {
        string file = _lazymount.Directory["file-in-the-way"];
        File.WriteAllText(file, "");
        Sentence.AssertOne(_lazymount.Run("mount", "--cache-dir", $"{file}/cache", _image, _lazymount.NewMountPoint()), 1, file);
    }

    private ToolResult Mount(string directory) => _lazymount.Run("mount", _image, directory);

    private static ToolResult Shell(string line, Dictionary<string, string?> variables)
    {
        using Tool tool = Tool.Start("bash", ["-c", line], variables);
        return tool.WaitForExit();
    }

    private string Log(string directory) => File.ReadAllText(Directory.GetFiles(_lazymount.StateDirectory, Path.GetFileName(directory) + "-*.log").Single());

    private static void SignalAndWait(string directory, string signal)
    {
        int daemon = Assert.Single(LazyMountCli.DaemonsOf(directory));
        Tool.Run("kill", "-" + signal, $"{daemon}").EnsureSuccess();
        WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length == 0);
    }

    private static void Kill(string directory)
    {
        int worker = Assert.Single(LazyMountCli.WorkersOf(directory));
        LazyMountCli.KillAllOf(directory);
        WaitUntil(() => HasEnded(worker));
    }

    // Its command line is gone before its files and locks are: those go with the last thread.
    private static bool HasEnded(int process)
    {
        try
        {
            string status = File.ReadAllText($"/proc/{process}/stat");
            return status[status.LastIndexOf(')') + 2] is 'Z' or 'X' && Directory.GetDirectories($"/proc/{process}/task").Length <= 1;
        }
        catch (IOException)
        {
            return true;
        }
    }

    private ToolResult InNamespace(string line, params string[] command)
    {
        using Tool tool = Tool.Start("unshare", ["--mount", "--propagation", "private", "bash", "-c", line, "bash", .. command], _lazymount.Environment);
        return tool.WaitForExit();
    }

    private string OwnedByNobody()
    {
        string directory = _lazymount.NewMountPoint();
        Tool.Run("chown", "65534:65534", directory).EnsureSuccess();
        return directory;
    }

    /// <summary>
    /// Mounts as user nobody, in a mount namespace in which /dev/fuse has the mode that it has on usual systems, with
    /// a cache and a state directory of the user's own.
    /// </summary>
    private ToolResult MountAsNobody(string before, string directory, string deviceMode = "666", string then = "true")
    {
        string home = _lazymount.Directory.CreateDirectory("home");
        Tool.Run("chown", "65534:65534", home).EnsureSuccess();
        Tool.Run("cp", LazyMountCli.Binary, _lazymount.Directory["lazymount"]).EnsureSuccess();
        _lazymount.Directory.OpenToAll();
        return InNamespace($$"""
            set -e
            mknod -m {{deviceMode}} "$1/fuse" c 10 229
            mount --bind "$1/fuse" /dev/fuse
            export LAZYMOUNT_CACHE="$1/home/cache" LAZYMOUNT_STATE="$1/home/state" directory="$3" lazymount="$1/lazymount"
            cd /
            exec setpriv --reuid 65534 --regid 65534 --clear-groups bash -c '
              {{before}}
              "$lazymount" mount "$1" "$directory" && {{then}}' bash "$2"
            """, _lazymount.Directory.Path, _image, directory);
    }
}
