using System.Runtime.Versioning;
using LazyMount.Blobs.Files;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Blobs.Files;

[SupportedOSPlatform("linux")]
public sealed class AtomicFileTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    private string[] Names => [.. Directory.EnumerateFiles(_directory.Path).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void File_IsThereWhenItIsCommitted_InThePlaceOfTheOldOne(bool durable)
    {
        File.WriteAllText(_directory["f"], "old");
        using (AtomicFile file = AtomicFile.Create(_directory.Path, AtomicFile.Private, 3))
        {
            RandomAccess.Write(file.Handle, "new"u8, 0);
            Assert.Equal("old", File.ReadAllText(_directory["f"]));
            file.Commit(_directory["f"], durable);
        }
        Assert.Equal("new", File.ReadAllText(_directory["f"]));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(_directory["f"]));
        Assert.Equal(["f"], Names);
    }

    [Fact]
    public void File_ThatIsNotCommitted_LeavesNothing()
    {
        using (AtomicFile file = AtomicFile.Create(_directory.Path, AtomicFile.Shared))
            RandomAccess.Write(file.Handle, "new"u8, 0);
        Assert.Empty(Names);
        Assert.Throws<FileNotFoundException>(() => AtomicFile.Write(_directory["none/f"], "x"u8));
    }

    [Fact]
    public void File_ThatCannotHaveItsName_LeavesNothing()
    {
        _directory.CreateDirectory("f/full");
        Assert.ThrowsAny<SystemException>(() => AtomicFile.Write(_directory["f"], "x"u8));
        Assert.Empty(Names);
    }

    [Fact]
    public void Sweep_RemovesWhatKilledProcessesLeft_AndNothingElse()
    {
        using AtomicFile living = AtomicFile.Create(_directory.Path, AtomicFile.Private);
        string livingName = Assert.Single(Names);
        foreach (string name in (string[])[".lazymount-a.staging", ".lazymount-b.staging", "index.json", ".lazymount-record"])
            File.WriteAllText(_directory[name], "x");
        foreach (string name in Names.Where(name => name != ".lazymount-b.staging"))
            File.SetLastWriteTimeUtc(_directory[name], DateTime.UtcNow.AddHours(-1));
        AtomicFile.Sweep(_directory.Path);
        Assert.Equal(new[] { livingName, ".lazymount-b.staging", ".lazymount-record", "index.json" }.Order(StringComparer.Ordinal), Names);
        AtomicFile.Sweep(_directory["none"]);
    }
}
