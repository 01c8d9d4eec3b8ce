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
    public void Record_IsReadAsWritten_AndHeldByItsProcess()
    {
        MountRecord record = Record("/mnt/a");
        _state.Write(record);
        using StoredRecord? stored = Find("/mnt/a");
        Assert.Equal(record, stored!.Record);
        Assert.True(stored.IsHeld);
        Assert.DoesNotContain(Directory.EnumerateFiles(_root), file => file.EndsWith(".tmp", StringComparison.Ordinal));
    }

    [Fact]
    public void DirectoryThatOthersMayWriteTo_IsRefused()
    {
        string root = Path.Combine(_root, "a", "b");
        StateDirectory.Create(root).Write(Record("/mnt"));
        Tool.Run("chmod", "777", root).EnsureSuccess();
        Assert.Equal($"cannot use the state directory '{root}': others may write to it (mode 777); run chmod go-w '{root}', or choose another directory with $LAZYMOUNT_STATE",
            Assert.Throws<CommandException>(() => StateDirectory.Create(root)).Message);
        Assert.Equal("cannot make the state directory '/proc/lazymount-test': No such file or directory; choose another directory with $LAZYMOUNT_STATE",
            Assert.Throws<CommandException>(() => StateDirectory.Create("/proc/lazymount-test")).Message);
    }

    [Fact]
    public void RecordOfAProcessThatEnded_IsNotHeld()
    {
        WriteAsDead(Record("/mnt/a"));
        using StoredRecord? stored = Find("/mnt/a");
        Assert.False(stored!.IsHeld);
    }

    [Fact]
    public void MountPointsOfTheSameName_HaveDifferentRecordsAndLogs()
    {
        _state.Write(Record("/a/mnt"));
        _state.Write(Record("/b/mnt"));
        Assert.Equal(["/a/mnt", "/b/mnt"], _state.ReadAll().Select(stored => stored.Record.MountPoint).Order());
        Assert.NotEqual(_state.LogFileOf("/a/mnt"), _state.LogFileOf("/b/mnt"));
    }

    [Fact]
    public void RemovingAHeldRecord_LeavesTheOneThatReplacedIt()
    {
        HeldRecord first = _state.Write(Record("/mnt") with { Image = "first" });
        HeldRecord second = _state.Write(Record("/mnt") with { Image = "second" });
        first.Remove();
        using (StoredRecord? stored = Find("/mnt"))
        {
            Assert.Equal("second", stored!.Record.Image);
        }
        second.Remove();
        Assert.Null(Find("/mnt"));
    }

    [Fact]
    public void RemovedRecord_StaysHeldUntilItsProcessEnds()
    {
        HeldRecord held = _state.Write(Record("/mnt"));
        using StoredRecord? stored = Find("/mnt");
        held.Remove();
        Assert.True(stored!.IsHeld);
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
        Assert.Null(Find("/mnt"));
        Assert.Empty(_state.ReadAll());
    }

    [Fact]
    public void DirectoryThatDoesNotExist_HasNoRecords()
    {
        StateDirectory none = StateDirectory.At(Path.Combine(_root, "none"));
        Assert.Empty(none.ReadAll());
        none.SweepLogs();
    }

    [Fact]
    public void SweepLogs_KeepsThoseOfMountsAndYoungOnes()
    {
        _state.Write(Record("/mounted"));
        string[] logs = [_state.LogFileOf("/mounted"), _state.LogFileOf("/young"), _state.LogFileOf("/old"), _state.LogFileOf("/old") + ".1"];
        foreach (string log in logs)
        {
            File.WriteAllText(log, "x");
            File.SetLastWriteTimeUtc(log, log == logs[1] ? DateTime.UtcNow : DateTime.UtcNow.AddDays(-30));
        }
        _state.SweepLogs();
        Assert.Equal([true, true, false, false], logs.Select(File.Exists));
    }

    [Fact]
    public void List_KnowsAMountByItsDevice_WhereverItWasMovedTo()
    {
        _state.Write(Record("/mnt/a"));
        WriteAsDead(Record("/mnt/b") with { Device = "0:1000002", Image = "image-b" });
        IReadOnlyList<MountListing> listings = ListCommand.Join(
            [new MountPoint("/moved", "source-a", "0:1000001"), new MountPoint("/other", "source-b", "0:1000002"), new MountPoint("/strange", "source-c", "0:1000003")],
            _state.ReadAll());
        // /other is not dead for statfs(2), so that the record of a daemon that has gone is of another mount with that number.
        Assert.Equal(
            [("/moved", "docker.io/library/debian:12", "alive", Environment.ProcessId), ("/other", "source-b", "alive", null), ("/strange", "source-c", "alive", (int?)null)],
            listings.Select(one => (one.MountPoint, one.Image, one.State, one.Pid)));
    }

    [Fact]
    public void List_ShowsWhatItKnows()
    {
        MountListing[] listings =
        [
            new MountListing { MountPoint = "/mnt/a", Image = "source-a", State = "alive", Face = "fuse" },
            new MountListing { MountPoint = "/mnt/b", Image = "image-b", State = "dead", Face = "erofs", Proof = "manifest", Pid = int.MaxValue, Since = new DateTime(2026, 1, 2, 3, 4, 5, DateTimeKind.Utc) },
        ];
        string[] lines = CommandRun.Written(output => ListCommand.Write(output, listings)).Split('\n');
        Assert.StartsWith("STATE  PID", lines[0]);
        Assert.Matches("^alive +- +- +fuse +- +/mnt/a +source-a$", lines[1]);
        Assert.Matches("^dead +[0-9]+ +2026-01-02 03:04:05 +erofs +manifest +/mnt/b +image-b$", lines[2]);
    }

    [Fact]
    public void MountsOfOneDirectory_HaveRecordsOfTheirOwn()
    {
        HeldRecord lower = _state.Write(Record("/mnt") with { Device = "0:1000001" });
        _state.Write(Record("/mnt") with { Device = "0:1000002", Pid = Environment.ProcessId + 1 });
        MountPoint[] mounts = [new("/mnt", "lower", "0:1000001"), new("/mnt", "upper", "0:1000002")];
        IReadOnlyList<StoredRecord> records = _state.ReadAll();
        Assert.Equal("0:1000002", StateDirectory.Find("/mnt", mounts, records)?.Record.Device);
        Assert.Equal("0:1000001", StateDirectory.Find("/mnt", mounts[..1], records)?.Record.Device);
        lower.Remove();
        Assert.Equal("0:1000002", Assert.Single(_state.ReadAll()).Record.Device);
    }

    [Fact]
    public void LongReason_FitsIntoTheRecord()
    {
        HeldRecord held = _state.Write(Record("/mnt"));
        long length = RandomAccess.GetLength(held.File);
        StoredRecord.Change(held.File, record => record with { Trouble = new string('x', 2000) });
        Assert.Equal(length, RandomAccess.GetLength(held.File));
        Assert.Equal(2000, StoredRecord.Read(held.File)?.Trouble?.Length);
        StoredRecord.Change(held.File, record => record with { Trouble = null });
        Assert.Equal(Record("/mnt"), StoredRecord.Read(held.File));
    }

    private StoredRecord? Find(string mountPoint) => _state.ReadAll().SingleOrDefault(stored => stored.Record.MountPoint == mountPoint);

    // A copy has the content, but not the lock.
    private void WriteAsDead(MountRecord record)
    {
        _state.Write(record);
        string file = Directory.EnumerateFiles(_root, "*.json").Single(file => File.ReadAllText(file).Contains(record.MountPoint, StringComparison.Ordinal));
        File.Copy(file, file + ".copy");
        File.Move(file + ".copy", file, overwrite: true);
    }

    private static MountRecord Record(string mountPoint) => new()
    {
        MountPoint = mountPoint,
        Device = "0:1000001",
        Image = "docker.io/library/debian:12",
        ManifestDigest = "sha256:00",
        Proof = "manifest",
        Pid = Environment.ProcessId,
        Since = new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero),
        LogFile = null,
        CacheDirectory = "/cache",
    };
}
