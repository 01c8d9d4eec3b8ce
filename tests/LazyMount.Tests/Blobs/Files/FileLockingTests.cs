using LazyMount.Blobs.Cache;
using LazyMount.TestKit;
using LazyMount.Tests.Commands;
using Xunit;

namespace LazyMount.Tests.Blobs.Files;

/// <summary>Whoever may read a file may lock it. That shuts nobody out: opening a file takes no lock.</summary>
public sealed class FileLockingTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("oci")]
    [InlineData("oci-archive")]
    public async Task FilesThatAnotherProcessHasLocked_AreRead(string transport)
    {
        string layout = _directory.CreateDirectory("layout"), archive = _directory["archive.tar"];
        new OciLayoutBuilder(layout).AddLayer(new TarBytes().File("f", "content")).WriteImage("v1");
        Tool.Run("tar", "-C", layout, "-cf", archive, ".").EnsureSuccess();
        List<Tool> others = [];
        try
        {
            foreach (string file in Directory.EnumerateFiles(layout, "*", SearchOption.AllDirectories).Append(archive).ToArray())
                others.Add(FileLock.Hold(file));
            CommandRun run = await CommandRun.RunAsync("--cache-dir", _directory["cache"], "cat", transport == "oci" ? $"oci:{layout}:v1" : $"oci-archive:{archive}:v1", "/f");
            Assert.Equal((0, "content", ""), (run.ExitCode, run.Output, run.Error));
        }
        finally
        {
            others.ForEach(other => other.Dispose());
        }
    }

    [Fact]
    public void CachedFilesThatAnotherProcessHasLocked_AreRead()
    {
        var cache = new BlobCache(_directory["cache"]);
        byte[] content = TestImage.RandomBytes(100, 1);
        cache.Keep(TestImage.DescriptorOf(content), content);
        using Tool other = FileLock.Hold(Path.Combine(cache.Root, "v1", "blobs", "sha256", TestImage.DescriptorOf(content).Digest.Hex));
        Assert.Equal(content, cache.TryRead(TestImage.DescriptorOf(content).Digest, 100));
    }

    [Fact]
    public void TheProgram_TakesNoLockWhenItOpensAFile()
        => Assert.Matches("\"System.IO.DisableFileLocking\": *true", File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "lazymount.runtimeconfig.json")));
}
