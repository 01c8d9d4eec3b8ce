using LazyMount.Cli;
using LazyMount.Commands;
using LazyMount.Fuse;
using LazyMount.Mounting;
using LazyMount.Output;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Commands;

public sealed class StateDirectoryTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("lazymount-state-").FullName;
    private readonly StateDirectory _state;

    public StateDirectoryTests() => _state = StateDirectory.At(_root);

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public void Record_IsReadAsWritten()
    {
        MountRecord record = Record("/mnt/a");
        _state.Write(record);
        Assert.Equal(record, _state.Find("/mnt/a"));
        Assert.True(record.IsRunning);
        Assert.DoesNotContain(Directory.EnumerateFiles(_root), file => file.EndsWith(".tmp", StringComparison.Ordinal));
    }

    [Fact]
    public void DirectoryThatOthersMayWriteTo_IsRefused()
    {
        string root = Path.Combine(_root, "a", "b");
        StateDirectory.Create(root).Write(Record("/mnt"));
        Tool.Run("chmod", "777", root).EnsureSuccess();
        Assert.Equal($"cannot use the state directory '{root}': others may write to it (mode 777); run chmod go-w '{root}', or name another one in $LAZYMOUNT_STATE",
            Assert.Throws<CommandException>(() => StateDirectory.Create(root)).Message);
        Assert.Equal("cannot create the state directory '/proc/lazymount-test': No such file or directory; name another one in $LAZYMOUNT_STATE",
            Assert.Throws<CommandException>(() => StateDirectory.Create("/proc/lazymount-test")).Message);
    }

    [Fact]
    public void MountPointsOfTheSameName_HaveDifferentRecordsAndLogs()
    {
        _state.Write(Record("/a/mnt"));
        _state.Write(Record("/b/mnt"));
        Assert.Equal(["/a/mnt", "/b/mnt"], _state.ReadAll().Select(record => record.MountPoint).Order());
        Assert.NotEqual(_state.LogFileOf("/a/mnt"), _state.LogFileOf("/b/mnt"));
    }

    [Fact]
    public void Remove_LeavesAnotherProcesssRecord()
    {
        _state.Write(Record("/mnt"));
        _state.Remove("/mnt", writtenBy: Environment.ProcessId + 1);
        Assert.NotNull(_state.Find("/mnt"));
        _state.Remove("/mnt", writtenBy: Environment.ProcessId);
        Assert.Null(_state.Find("/mnt"));
    }

    [Fact]
    public void Sweep_RemovesOnlyWhatIsNeitherMountedNorRunning()
    {
        _state.Write(Record("/running"));
        _state.Write(Dead("/dead/mounted"));
        _state.Write(Dead("/dead/gone"));
        _state.Sweep(new HashSet<string> { "/dead/mounted" });
        Assert.Equal(["/dead/mounted", "/running"], _state.ReadAll().Select(record => record.MountPoint).Order());
    }

    [Theory]
    [InlineData("")]
    [InlineData("{")]
    [InlineData("null")]
    [InlineData("{\"mountPoint\":\"/mnt\"}")]
    public void BrokenRecord_IsNoRecord(string json)
    {
        _state.Write(Record("/mnt"));
        File.WriteAllText(Directory.EnumerateFiles(_root, "*.json").Single(), json);
        Assert.Null(_state.Find("/mnt"));
        Assert.Empty(_state.ReadAll());
        _state.Sweep(new HashSet<string>());
    }

    [Fact]
    public void DirectoryThatDoesNotExist_HasNoRecords()
    {
        StateDirectory none = StateDirectory.At(Path.Combine(_root, "none"));
        Assert.Empty(none.ReadAll());
        none.Sweep(new HashSet<string>());
    }

    [Fact]
    public void List_ShowsMountsWithAndWithoutRecords()
    {
        IReadOnlyList<MountListing> listings = ListCommand.Join(
            [new MountPoint("/mnt/a", "source-a", IsDead: false), new MountPoint("/mnt/b", "source-b", IsDead: true)],
            [Dead("/mnt/b") with { Image = "image-b" }, Record("/not/mounted")]);
        Assert.Equal([("/mnt/a", "source-a", "alive", null), ("/mnt/b", "image-b", "dead", s_deadPid)], listings.Select(one => (one.MountPoint, one.Image, one.State, one.Pid)));

        string[] lines = CommandRun.Written(output => ListCommand.Write(output, listings)).Split('\n');
        Assert.StartsWith("STATE  PID", lines[0]);
        Assert.Matches("^alive +- +- +- +/mnt/a +source-a$", lines[1]);
        Assert.Matches("^dead +[0-9]+ +2026-01-02 03:04:05 +manifest +/mnt/b +image-b$", lines[2]);
    }

    // Above any pid_max.
    private static readonly int? s_deadPid = int.MaxValue;

    private static MountRecord Dead(string mountPoint) => Record(mountPoint) with { Pid = s_deadPid!.Value };

    private static MountRecord Record(string mountPoint) => new()
    {
        MountPoint = mountPoint,
        Image = "docker.io/library/debian:12",
        ManifestDigest = "sha256:00",
        Proof = "manifest",
        Pid = Environment.ProcessId,
        ProcessStart = MountRecord.StartOf(Environment.ProcessId)!.Value,
        Since = new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero),
        LogFile = null,
        CacheDirectory = "/cache",
    };
}
