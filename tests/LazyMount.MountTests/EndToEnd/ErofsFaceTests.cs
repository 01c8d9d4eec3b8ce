using System.Text.Json;
using LazyMount.TestKit;
using Xunit;
using static LazyMount.MountTests.EndToEnd.Waiting;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>`mount --as`: which file system of the kernel shows a mount, and the life of a mount that EROFS shows.</summary>
public sealed class ErofsFaceTests : IDisposable
{
    private const int SigKill = 9;

    private readonly LazyMountCli _lazymount = new();
    private readonly byte[] _content = new byte[24 << 20];
    private readonly string _image;

    public ErofsFaceTests()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root can mount EROFS");
        new Random(5).NextBytes(_content);
        OciLayoutBuilder layout = new OciLayoutBuilder(_lazymount.Directory["layout"])
            .AddLayer(new TarBytes().Directory("./").File("file", "content\n").File("late", "late\n").File("big", _content));
        layout.WriteImage("v1");
        _image = layout.Reference("v1");
    }

    public void Dispose() => _lazymount.Dispose();

    [Theory]
    [InlineData("erofs")]
    [InlineData("erofs", "--as", "auto")]
    [InlineData("erofs", "--as", "erofs")]
    [InlineData("erofs", "-o", "noexec,allow_other", "--prefetch", "/file")]
    [InlineData("erofs", "--view", "layers")]
    [InlineData("fuse", "--as", "fuse")]
    [InlineData("fuse", "-o", "uid=5")]
    [InlineData("fuse", "-o", "gid=5")]
    [InlineData("fuse", "--verify-full")]
    [InlineData("fuse", "--prefetch", "all")]
    [InlineData("fuse", "--view", "image-file")]
    public void Face_IsErofsWhereNothingForbidsIt_AndListed(string face, params string[] options)
    {
        string directory = _lazymount.Mount(_image, options);
        Assert.Equal(face == "erofs" ? "erofs" : "fuse.lazymount", TypeOf(directory));
        Assert.Equal((face, "alive", _image), Listed(directory));
        Assert.Matches($"^alive +[0-9]+ +[-0-9]+ [:0-9]+ +{face} +layer +", LineOf(directory));
        Assert.Equal(Assert.Single(LazyMountCli.DaemonsOf(directory)).ToString(), LineOf(directory).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]);
        if (options is ["-o", "noexec,allow_other", ..])
        {
            Assert.Contains("noexec", Tool.Run("findmnt", "-no", "OPTIONS", directory).EnsureSuccess().Output, StringComparison.Ordinal);
        }
        Assert.Equal("", _lazymount.Run("umount", directory).EnsureSuccess().Error);
        Assert.Empty(LazyMountCli.DaemonsOf(directory));
        Assert.False(LazyMountCli.IsMounted(directory));
    }

    [Theory]
    [InlineData("uid=", "-o", "uid=5")]
    [InlineData("gid=", "-o", "gid=5")]
    [InlineData("--verify-full", "--verify-full")]
    [InlineData("--prefetch all", "--prefetch", "all")]
    [InlineData("--view image-file", "--view", "image-file")]
    public void Erofs_WithWhatOnlyFuseCanDo_IsWrongUse(string named, params string[] options)
        => Sentence.AssertOne(_lazymount.Run(["mount", "--as", "erofs", .. options, "registry.invalid/never/asked:v1", _lazymount.NewMountPoint()]), 2, "--as erofs", named, "--as fuse");

    [Fact]
    public void UnknownFace_IsWrongUse()
        => Sentence.AssertOne(_lazymount.Run("mount", "--as", "ext4", _image, _lazymount.NewMountPoint()), 2, "--as 'ext4'", "erofs");

    [Fact]
    public void ImageThatErofsCannotHold_IsShownByFuse_OrRefused()
    {
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout2"]);
        layout.AddLayer(new TarBytes().Pax(("SCHILY.xattr.user.large", new string('v', 65_536))).File("file", "x")).WriteImage("v2");
        string image = layout.Reference("v2"), log = _lazymount.Directory["log"];
        string directory = _lazymount.Mount(image, "--log-file", log);
        Assert.Equal(("fuse", "alive", image), Listed(directory));
        Assert.Contains("mounted by FUSE instead of EROFS: '/file' has an attribute of more than 65535 bytes, which EROFS cannot hold", File.ReadAllText(log), StringComparison.Ordinal);
        string other = _lazymount.NewMountPoint();
        Sentence.AssertOne(_lazymount.Run("mount", "--as", "erofs", image, other), 1, "'/file'", "EROFS", "--as fuse");
        Assert.False(LazyMountCli.IsMounted(other));
    }

    [Theory]
    [InlineData("unshare --user --map-root-user --mount", "initial user namespace")]
    [InlineData("setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin", "CAP_SYS_ADMIN")]
    public void WithoutPermission_ErofsIsRefused_BeforeAnythingIsFetched(string prefix, string reason)
    {
        string directory = _lazymount.NewMountPoint();
        Sentence.AssertOne(Shell($"{prefix} \"$LAZYMOUNT\" mount --as erofs registry.invalid/never/asked:v1 \"$DIR\"", directory), 1, "EROFS", reason, "--as fuse");
    }

    [Fact]
    public void InAUserNamespace_TheFaceIsFuse()
    {
        string directory = _lazymount.NewMountPoint();
        ToolResult result = Shell("unshare --user --map-root-user --mount bash -ec '\"$LAZYMOUNT\" mount \"$IMAGE\" \"$DIR\"; cat \"$DIR/file\"; grep \" $DIR \" /proc/self/mounts; \"$LAZYMOUNT\" umount \"$DIR\"'", directory);
        Assert.StartsWith("content\n", result.EnsureSuccess().Output, StringComparison.Ordinal);
        Assert.Contains("fuse.lazymount", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void SystemsThatMarkFilesBySELinux_GetFuse()
    {
        string directory = _lazymount.NewMountPoint();
        const string Pretend = "mount -t tmpfs none /sys/fs && mkdir /sys/fs/selinux && echo 1 > /sys/fs/selinux/enforce";
        string script = $"{Pretend}; \"$LAZYMOUNT\" mount \"$IMAGE\" \"$DIR\"; grep \" $DIR \" /proc/self/mounts; \"$LAZYMOUNT\" umount \"$DIR\"; \"$LAZYMOUNT\" mount --as erofs \"$IMAGE\" \"$DIR\" && exit 9; true";
        ToolResult result = Shell($"unshare --mount --propagation private bash -ec '{script}'", directory).EnsureSuccess();
        Assert.Contains("fuse.lazymount", result.Output, StringComparison.Ordinal);
        Assert.Contains("SELinux", result.Error, StringComparison.Ordinal);
    }

    /// <summary>A filter of system calls, as containers have them, answers move_mount(2) with an error.</summary>
    [Theory]
    [InlineData(1, true)] // EPERM
    [InlineData(13, true)] // EACCES
    [InlineData(38, true)] // ENOSYS
    [InlineData(28, false)] // ENOSPC: there would be too many mounts of FUSE as well
    public void PlaceRefused_FuseIsShown_WhereThatMayBeAllowed(int errno, bool isFuse)
    {
        Assert.SkipUnless(System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture == System.Runtime.InteropServices.Architecture.X64, "makes system calls by their number");
        string directory = _lazymount.NewMountPoint(), log = _lazymount.Directory["log"];
        // Load the number; if it is move_mount's, answer the error, else allow. prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program).
        const string Perl = """
            my $filter = pack("(SCCL)4", 0x20, 0, 0, 0, 0x15, 0, 1, 429, 0x06, 0, 0, 0x50000 | shift, 0x06, 0, 0, 0x7fff0000);
            my $program = pack("Sx![8]P", 4, $filter);
            syscall(157, 22, 2, $program) == 0 or die "prctl $!";
            exec @ARGV or die;
            """;
        ToolResult Mount(string face)
        {
            using Tool tool = Tool.Start("perl", ["-e", Perl, $"{errno}", LazyMountCli.Binary, "mount", "--as", face, "--log-file", log, _image, directory], _lazymount.Environment);
            return tool.WaitForExit();
        }

        if (isFuse)
        {
            Sentence.AssertOne(Mount("erofs"), 1, "refuses to give the mount its place", directory, "--as fuse");
            Assert.False(LazyMountCli.IsMounted(directory));
            Mount("auto").EnsureSuccess();
            Assert.Equal(("fuse", "alive", _image), Listed(directory));
            Assert.Contains("mounted by FUSE instead of EROFS: cannot mount as EROFS: the system refuses to give the mount its place", File.ReadAllText(log), StringComparison.Ordinal);
        }
        else
        {
            Sentence.AssertOne(Mount("auto"), 1, directory, "too many mounts", "fs.mount-max");
            Assert.False(LazyMountCli.IsMounted(directory));
        }
    }

    /// <summary>Its namespace is told only to those who may look into it; that it is there is told to all.</summary>
    [Fact]
    public void ServerOfAnotherPidNamespace_ThatMayNotBeLookedAt_CountsAsAlive()
    {
        string directory = _lazymount.NewMountPoint();
        using Tool server = Tool.Start("unshare", ["--pid", "--fork", "--kill-child", LazyMountCli.Binary, "mount", "-f", "--as", "erofs", _image, directory], _lazymount.Environment);
        WaitUntil(() => LazyMountCli.IsMounted(directory));
        const string List = "LAZYMOUNT_STATE=\"$DIR.state\" \"$LAZYMOUNT\" list"; // the record does not tell either
        Assert.StartsWith("alive ", LineIn(Shell(List, directory), directory), StringComparison.Ordinal);
        Assert.StartsWith("alive ", LineIn(Shell($"setpriv --bounding-set=-sys_ptrace --inh-caps=-sys_ptrace bash -c '{List}'", directory), directory), StringComparison.Ordinal);
        Shell("umount \"$DIR\"", directory).EnsureSuccess();
        server.WaitForExit();
    }

    /// <summary>From a namespace that is not the initial one, and in which the server's is: alive and dead are told apart as long as one of its processes is seen.</summary>
    [Fact]
    public void ServerOfANamespaceWithinOurs_IsFound_AndMissed()
    {
        string directory = _lazymount.NewMountPoint();
        const string Script = """
            export LAZYMOUNT_STATE="$DIR.state"
            state() { "$LAZYMOUNT" list | grep "$DIR" | cut -d" " -f1; }
            unshare --pid --fork bash -c "LAZYMOUNT_STATE=\"\$DIR.other\" \"\$LAZYMOUNT\" mount -f --as erofs \"\$IMAGE\" \"\$DIR\" & read <\"\$DIR.end\"; kill -KILL -1; wait; sleep 300" &
            for i in $(seq 600); do state | grep -q . && break; sleep 0.1; done
            state
            echo >"$DIR.end"
            for i in $(seq 100); do [ "$(state)" = dead ] && break; sleep 0.1; done
            state
            """;
        Shell("mkfifo \"$DIR.end\"", directory).EnsureSuccess();
        Assert.Equal("alive\ndead\n", Shell($"unshare --pid --fork --kill-child --mount --mount-proc bash -c '{Script}'", directory).EnsureSuccess().Output);
    }

    private static string LineIn(ToolResult list, string directory) => list.EnsureSuccess().Output.Split('\n').Single(line => line.Contains(directory, StringComparison.Ordinal));

    [Fact]
    public void KilledWhileItIsRead_EveryAnswerIsRightOrAnError()
    {
        const int Rounds = 30, Wanted = 4;
        int broken = 0;
        for (int round = 0; round < Rounds && broken < Wanted; round++)
        {
            string directory = _lazymount.Mount(_image, "--as", "erofs");
            int answers = 0, errors = 0;
            string? wrong = null;
            Thread[] readers = [.. Enumerable.Range(0, 6).Select(number => new Thread(() =>
            {
                var random = new Random((round * 10) + number);
                byte[] buffer = new byte[400_000];
                using FileStream file = new(Path.Combine(directory, "big"), FileMode.Open, FileAccess.Read, FileShare.Read, 0);
                for (int i = 0; i < 400; i++)
                {
                    int offset = random.Next(_content.Length - buffer.Length), length = random.Next(1, buffer.Length);
                    try
                    {
                        int read = RandomAccess.Read(file.SafeFileHandle, buffer.AsSpan(0, length), offset);
                        Interlocked.Increment(ref answers);
                        if (read == 0 || !buffer.AsSpan(0, read).SequenceEqual(_content.AsSpan(offset, read)))
                        {
                            wrong = $"{read} of {length} bytes at {offset} are wrong";
                        }
                    }
                    catch (IOException)
                    {
                        Interlocked.Increment(ref errors);
                    }
                }
            }))];
            Array.ForEach(readers, reader => reader.Start());
            SpinWait.SpinUntil(() => Volatile.Read(ref answers) > 2 * round);
            LazyMountCli.KillAllOf(directory);
            Array.ForEach(readers, reader => Assert.True(reader.Join(TimeSpan.FromSeconds(60)), "a read has not ended"));
            Assert.Null(wrong);
            // Without errors everything was in the page cache before the daemon was killed.
            broken += errors > 0 ? 1 : 0;
            WaitUntil(() => Listed(directory).State == "dead");
            Assert.Equal(("erofs", "dead", _image), Listed(directory));
            if (errors > 0)
            {
                Assert.Throws<IOException>(() => File.ReadAllBytes(Path.Combine(directory, "big")));
            }
            Sentence.AssertOne(_lazymount.Run("mount", _image, directory), 1, directory, "dead", "umount");
            _lazymount.Run("umount", directory).EnsureSuccess();
            Assert.False(LazyMountCli.IsMounted(directory));
            Assert.DoesNotContain(directory, _lazymount.Run("list").EnsureSuccess().Output, StringComparison.Ordinal);
        }
        Assert.Equal(Wanted, broken);
    }

    [Fact]
    public void DeadMountWithoutARecord_IsListedAsDead_AndCleaned()
    {
        string directory = _lazymount.Mount(_image);
        LazyMountCli.KillAllOf(directory);
        File.Delete(Directory.GetFiles(_lazymount.StateDirectory, "*.json").Single());
        WaitUntil(() => Listed(directory).State == "dead");
        _lazymount.Run("umount", directory).EnsureSuccess();
        Assert.False(LazyMountCli.IsMounted(directory));
    }

    [Theory]
    [InlineData("umount \"$DIR\"")]
    [InlineData("umount -l \"$DIR\"")]
    public void UmountOfTheSystem_EndsTheDaemon(string command)
    {
        string directory = _lazymount.Mount(_image);
        Shell(command, directory).EnsureSuccess();
        WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length == 0);
        Assert.Empty(Directory.GetFiles(_lazymount.StateDirectory, "*.json"));
    }

    [Fact]
    public void DetachedWhileAFileIsOpen_ItIsReadToTheEnd_AndThenTheDaemonEnds()
    {
        string directory = _lazymount.Mount(_image);
        using (FileStream file = File.OpenRead(Path.Combine(directory, "big")))
        {
            _lazymount.Run("umount", "-l", directory).EnsureSuccess();
            Assert.False(LazyMountCli.IsMounted(directory));
            Assert.Single(LazyMountCli.DaemonsOf(directory));
            byte[] read = new byte[_content.Length];
            file.ReadExactly(read);
            Assert.True(read.AsSpan().SequenceEqual(_content));
        }
        WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length == 0);
    }

    [Fact]
    public void AnotherMountNamespace_KeepsTheDaemon_UntilItUnmounts()
    {
        string directory = _lazymount.Mount(_image), go = _lazymount.Directory["go"];
        using Tool container = Tool.Start("unshare", ["--mount", "--propagation", "private", "bash", "-c", "touch \"$1\" && exec sleep 300", "bash", go]);
        WaitUntil(() => File.Exists(go));
        Assert.Contains("another mount namespace", _lazymount.Run("umount", directory).EnsureSuccess().Error, StringComparison.Ordinal);
        Assert.Equal("late\n", Tool.Run("nsenter", "-t", $"{container.ProcessId}", "-m", "cat", directory + "/late").EnsureSuccess().Output);
        Tool.Run("nsenter", "-t", $"{container.ProcessId}", "-m", "umount", directory).EnsureSuccess();
        WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length == 0);
    }

    [Fact]
    public void TerminatedWhileAContainerHasIt_TheDaemonEnds_AndNothingNewIsRead()
    {
        string directory = _lazymount.Mount(_image), go = _lazymount.Directory["go"];
        using Tool container = Tool.Start("unshare", ["--mount", "--propagation", "private", "bash", "-c", "touch \"$1\" && exec sleep 300", "bash", go]);
        WaitUntil(() => File.Exists(go));
        Tool.Run("kill", "-TERM", $"{Assert.Single(LazyMountCli.DaemonsOf(directory))}").EnsureSuccess();
        WaitUntil(() => !LazyMountCli.IsMounted(directory));
        Assert.Equal("content\n", Tool.Run("nsenter", "-t", $"{container.ProcessId}", "-m", "cat", directory + "/file").EnsureSuccess().Output);
        Tool.Run("kill", "-TERM", $"{Assert.Single(LazyMountCli.DaemonsOf(directory))}").EnsureSuccess();
        WaitUntil(() => LazyMountCli.DaemonsOf(directory).Length == 0);
        ToolResult read = Tool.Run("nsenter", "-t", $"{container.ProcessId}", "-m", "cat", directory + "/late");
        Assert.NotEqual(0, read.ExitCode);
        Assert.Empty(read.Output);
    }

    /// <summary>The mount that serves EROFS has no place, so that namespaces which get every new mount cannot keep it.</summary>
    [Fact]
    public void SharedMountPoint_ThatOtherNamespacesReceive_LeavesNothingBehind()
    {
        string directory = _lazymount.NewMountPoint();
        const string Script = """
            mount -t tmpfs none "$DIR"; mount --make-shared "$DIR"; mkdir "$DIR/mnt"
            unshare --mount --propagation slave sleep 300 & child=$!
            until [ "$(readlink /proc/$child/ns/mnt)" != "$(readlink /proc/self/ns/mnt)" ]; do sleep 0.05; done
            before=$(grep -c " fuse" /proc/$child/mountinfo || true)
            "$LAZYMOUNT" mount --as erofs "$IMAGE" "$DIR/mnt"
            echo $(($(grep -c " fuse" /proc/$child/mountinfo || true) - before))
            grep -c " $DIR/mnt " /proc/$child/mountinfo
            umount "$DIR/mnt"
            grep -c " $DIR/mnt " /proc/$child/mountinfo || true
            for i in $(seq 200); do ls "$LAZYMOUNT_STATE"/*.json >/dev/null 2>&1 || break; sleep 0.05; done
            ls "$LAZYMOUNT_STATE"/*.json 2>/dev/null || echo ended
            kill $child
            """;
        Assert.Equal("0\n1\n0\nended\n", Shell($"unshare --mount --propagation private bash -ec '{Script}'", directory).EnsureSuccess().Output);
    }

    [Fact]
    public void OneImageTwice_AreTwoMounts()
    {
        string first = _lazymount.Mount(_image), second = _lazymount.Mount(_image);
        Assert.Equal(("erofs", "alive", _image), Listed(first));
        _lazymount.Run("umount", first).EnsureSuccess();
        Assert.Equal("content\n", File.ReadAllText(Path.Combine(second, "file")));
        Assert.Equal(("erofs", "alive", _image), Listed(second));
        Assert.Single(LazyMountCli.DaemonsOf(second));
    }

    [Fact]
    public void AlreadyMounted_IsRefusedWithItsImage()
        => Sentence.AssertOne(_lazymount.Run("mount", _image, _lazymount.Mount(_image)), 1, $"'{_image}' is mounted there", "umount");

    [Fact]
    public void OverlayfsOnTop_CanBeWritten()
    {
        string directory = _lazymount.Mount(_image, "--as", "erofs"), work = _lazymount.Directory.CreateDirectory("work");
        const string Script = """
            mount -t tmpfs none "$WORK"; mkdir "$WORK/upper" "$WORK/work" "$WORK/merged"
            mount -t overlay overlay -o "lowerdir=$DIR,upperdir=$WORK/upper,workdir=$WORK/work" "$WORK/merged"
            echo more >> "$WORK/merged/file"; rm "$WORK/merged/late"
            cat "$WORK/merged/file"; ls "$WORK/merged"; cat "$DIR/file"; cmp "$DIR/big" "$WORK/merged/big"
            """;
        Assert.Equal("content\nmore\nbig\nfile\ncontent\n", Shell($"WORK={work} unshare --mount --propagation private bash -ec '{Script}'", directory).EnsureSuccess().Output);
    }

    /// <summary>What the kernel cannot open as one path is shortened in the mount table, and found all the same.</summary>
    [Fact]
    public void LongReference_IsShortened()
    {
        string deep = _lazymount.Directory.Path;
        for (int i = 0; i < 4; i++)
        {
            deep = Path.Combine(deep, new string((char)('a' + i), 100));
        }
        Directory.CreateDirectory(deep);
        OciLayoutBuilder layout = new OciLayoutBuilder(Path.Combine(deep, "layout")).AddLayer(new TarBytes().File("file", "content\n"));
        layout.WriteImage("v1");
        string image = layout.Reference("v1"), directory = _lazymount.Mount(image, "--as", "erofs");
        Assert.Equal("content\n", File.ReadAllText(Path.Combine(directory, "file")));
        Assert.Equal(("erofs", "alive", image), Listed(directory));
        Assert.EndsWith("dddd_layout:v1", File.ReadLines("/proc/self/mounts").Single(line => line.Contains($" {directory} ", StringComparison.Ordinal)).Split(' ')[0], StringComparison.Ordinal);
        _lazymount.Run("umount", directory).EnsureSuccess();
    }

    [Fact]
    public void Killed_AtAnyMomentOfMounting_LeavesNothingThatUmountCannotClean()
    {
        string directory = _lazymount.NewMountPoint();
        for (int i = 0; i < 25; i++)
        {
            using (Tool mount = _lazymount.Start("mount", "-f", "--as", "erofs", _image, directory))
            {
                Thread.Sleep(10 + (i * 4));
                LazyMountCli.KillAllOf(directory);
                mount.Signal(SigKill); // it may not have become the keeper yet
                LazyMountCli.KillAllOf(directory);
                mount.WaitForExit();
            }
            if (LazyMountCli.IsMounted(directory))
            {
                WaitUntil(() => Listed(directory).State == "dead");
                _lazymount.Run("umount", directory).EnsureSuccess();
            }
            Assert.False(LazyMountCli.IsMounted(directory));
        }
    }

    private static string TypeOf(string directory) => File.ReadLines("/proc/self/mounts").Select(line => line.Split(' ')).Single(fields => fields[1] == directory)[2];

    private string LineOf(string directory) => _lazymount.Run("list").EnsureSuccess().Output.Split('\n').Single(line => line.Contains(directory, StringComparison.Ordinal));

    private (string? Face, string? State, string? Image) Listed(string directory)
    {
        using JsonDocument list = JsonDocument.Parse(_lazymount.Run("list", "--json").EnsureSuccess().Output);
        JsonElement mount = list.RootElement.EnumerateArray().Single(mount => mount.GetProperty("mountPoint").GetString() == directory);
        return (mount.GetProperty("face").GetString(), mount.GetProperty("state").GetString(), mount.GetProperty("image").GetString());
    }

    private ToolResult Shell(string line, string directory)
    {
        using Tool tool = Tool.Start("bash", ["-c", line], new Dictionary<string, string?>(_lazymount.Environment) { ["LAZYMOUNT"] = LazyMountCli.Binary, ["DIR"] = directory, ["IMAGE"] = _image });
        return tool.WaitForExit();
    }
}
