using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>What a mount does in the background, and what the cache's options do to it.</summary>
public sealed class BackgroundTests : IDisposable
{
    private readonly RegistryServer _server = new();
    private readonly LazyMountCli _lazymount = new();
    private readonly string _image, _layer;
    private readonly byte[] _large = Noise(1, 9 << 20), _small = Noise(2, 2000);

    public BackgroundTests()
    {
        var layout = new OciLayoutBuilder(_lazymount.Directory.CreateDirectory("layout"));
        layout.AddLayer(new TarBytes().Directory("./").File("large", _large).Directory("d/").File("d/other", Noise(3, 3 << 20)).File("small", _small));
        _layer = layout.WriteImage("v1")[0];
        _image = Skopeo.Push(layout.Reference("v1"), _server, "app:v1");
    }

    public void Dispose()
    {
        _lazymount.Dispose();
        _server.Dispose();
    }

    private static byte[] Noise(int seed, int length)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private long KeptBytes() => CacheFiles.Chunks(_lazymount, _layer).Sum(file => CacheSegment.PresentBytes(file));

    private static async Task UntilAsync(Func<bool> condition)
    {
        for (int i = 0; i < 600 && !condition(); i++)
        {
            await Task.Delay(50, TestContext.Current.CancellationToken);
        }
        Assert.True(condition());
    }

    [Theory]
    [InlineData("all", 12 << 20, 13 << 20)]
    [InlineData("/d", 3 << 20, 9 << 20)]
    [InlineData("none", 0, 0)]
    public async Task Prefetch_FetchesWhatItIsToldInTheBackground(string what, long least, long most)
    {
        _lazymount.Run("--no-keep", "index", "build", _image).EnsureSuccess();
        Assert.Equal(0, KeptBytes());
        string directory = _lazymount.NewMountPoint();
        _lazymount.Run("mount", "--prefetch", what, _image, directory).EnsureSuccess();
        await UntilAsync(() => KeptBytes() >= least);
        await Task.Delay(300, TestContext.Current.CancellationToken);
        Assert.InRange(KeptBytes(), least, most);
        Assert.Equal(_small, await File.ReadAllBytesAsync(Path.Combine(directory, "small"), TestContext.Current.CancellationToken));
    }

    [Fact]
    public void PrefetchOfAPathThatIsNotThere_IsRefused()
        => Sentence.AssertOne(_lazymount.Run("mount", "--prefetch", "/nothing", _image, _lazymount.NewMountPoint()), 1, "/nothing");

    [Fact]
    public void Outage_IsOneLineOfTheLog_ThatNamesTheFile()
    {
        _lazymount.Run("--no-keep", "index", "build", _image).EnsureSuccess();
        string directory = _lazymount.Mount(_image, "--prefetch", "none");
        _server.Stop();
        for (int i = 0; i < 3; i++)
        {
            Assert.NotEqual(0, Tool.Run("cat", Path.Combine(directory, "small")).ExitCode);
        }
        string log = File.ReadAllText(Directory.GetFiles(_lazymount.StateDirectory, "*.log").Single());
        string line = Assert.Single(log.Split('\n'), line => line.Contains("cannot read", StringComparison.Ordinal));
        Assert.Contains("'/small' (layer 0)", line, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", log, StringComparison.Ordinal);
    }

    [Fact]
    public async Task VerifyFull_HoldsAPublishedIndexAgainstTheLayer()
    {
        _lazymount.Run("index", "push", _image).EnsureSuccess();
        Directory.Delete(_lazymount.CacheDirectory, recursive: true);
        string log = _lazymount.Directory["mount.log"], directory = _lazymount.NewMountPoint();
        _lazymount.Run("mount", "--verify-full", "--log-file", log, _image, directory).EnsureSuccess();
        await UntilAsync(() => File.ReadAllText(log).Contains("match the layers", StringComparison.Ordinal));
        Assert.Equal(_large, await File.ReadAllBytesAsync(Path.Combine(directory, "large"), TestContext.Current.CancellationToken));
        Assert.NotEmpty(CacheFiles.Indexes(_lazymount, _layer)); // from now on the one built here
    }

    [Fact]
    public void Offline_ServesWhatIsThere_AndNamesTheLayerThatIsNot()
    {
        Sentence.AssertOne(_lazymount.Run("--offline", "ls", _image), 3, "--offline", "app:v1");
        Assert.Equal(_small, _lazymount.Run("cat", _image, "/small").EnsureSuccess().OutputBytes);
        _server.Stop();
        Assert.Equal(_small, _lazymount.Run("--offline", "cat", _image, "/small").EnsureSuccess().OutputBytes);
        foreach (string chunk in CacheFiles.Chunks(_lazymount, _layer))
        {
            File.Delete(chunk);
        }
        Assert.Contains("small", _lazymount.Run("--offline", "ls", _image).EnsureSuccess().Output, StringComparison.Ordinal);
        Sentence.AssertOne(_lazymount.Run("--offline", "cat", _image, "/small"), 3, _layer, "--offline");
        foreach (string index in CacheFiles.Indexes(_lazymount, _layer))
        {
            File.Delete(index);
        }
        Sentence.AssertOne(_lazymount.Run("--offline", "ls", _image), 3, _layer, "--offline");
    }

    [Fact]
    public void CacheVerbs_TellAndClean()
    {
        _lazymount.Run("cat", _image, "/small").EnsureSuccess();
        Assert.Contains("chunks", _lazymount.Run("cache", "info").EnsureSuccess().Output, StringComparison.Ordinal);
        Assert.Contains("all are sound", _lazymount.Run("cache", "verify").EnsureSuccess().Output, StringComparison.Ordinal);
        string chunk = CacheFiles.Chunks(_lazymount, _layer).First();
        CacheSegment.Flip(chunk, CacheSegment.Present(chunk)[0], 10, rehash: false);
        ToolResult verified = _lazymount.Run("cache", "verify");
        Assert.Equal(1, verified.ExitCode);
        Assert.Contains(chunk, verified.Output, StringComparison.Ordinal);
        Assert.Contains("all are sound", _lazymount.Run("cache", "verify").EnsureSuccess().Output, StringComparison.Ordinal);
        _lazymount.Run("cache", "prune").EnsureSuccess();
        Assert.Empty(CacheFiles.Chunks(_lazymount, _layer));
        Assert.Equal(_small, _lazymount.Run("cat", _image, "/small").EnsureSuccess().OutputBytes);
    }

    [Fact]
    public async Task PullThatWasKilled_GoesOnWhereItStopped()
    {
        int port;
        using (var proxy = new StallingProxy(_server.Port, bytesUntilStall: 5 << 20))
        using (Tool pull = _lazymount.Start("pull", $"{proxy.Host}/app:v1"))
        {
            port = proxy.Port;
            await proxy.Stalled.WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);
            await UntilAsync(() => KeptBytes() > 1 << 20);
            pull.Signal(9);
            pull.WaitForExit();
        }
        long kept = KeptBytes();
        Assert.InRange(kept, 1 << 20, 11 << 20);

        // 12 MiB and the headers; what is kept does not pass again. From the same place, for nobody has proved the bytes yet.
        using (var counting = new StallingProxy(_server.Port, bytesUntilStall: long.MaxValue, port))
        {
            _lazymount.Run("pull", $"{counting.Host}/app:v1").EnsureSuccess();
            Assert.InRange(counting.Passed, (12 << 20) - kept, (12 << 20) - kept + (100 << 10));
        }
        Assert.InRange(KeptBytes(), 12 << 20, (12 << 20) + (64 << 10));
        _lazymount.Run("pull", _image).EnsureSuccess(); // nothing but the manifest, for --offline to know the name

        _server.Stop();
        Assert.Equal(_small, _lazymount.Run("--offline", "cat", _image, "/small").EnsureSuccess().OutputBytes);
    }

    [Fact]
    public async Task PullToALayoutThatWasKilled_LeavesNothingThatReadersTakeForABlob()
    {
        string layout = _lazymount.Directory["pulled"], blobs = Path.Combine(layout, "blobs", "sha256");
        using (var proxy = new StallingProxy(_server.Port, bytesUntilStall: 5 << 20))
        using (Tool pull = _lazymount.Start("pull", $"{proxy.Host}/app:v1", $"oci:{layout}:v1"))
        {
            await proxy.Stalled.WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);
            await UntilAsync(() => KeptBytes() > 1 << 20);
            pull.Signal(9);
            pull.WaitForExit();
        }
        string left = Assert.Single(Directory.EnumerateFiles(layout, ".lazymount-*"));
        Assert.DoesNotContain(Directory.Exists(blobs) ? Directory.EnumerateFiles(blobs) : [], file => Path.GetFileName(file).Length != 64);

        // Swept when it is old enough that nobody can be about to rename it; what another writes is locked.
        File.SetLastWriteTimeUtc(left, DateTime.UtcNow.AddMinutes(-1));
        string mine = Path.Combine(layout, ".lazymount-mine.staging");
        await File.WriteAllTextAsync(mine, "", TestContext.Current.CancellationToken);
        using (FileLock.Hold(mine))
        {
            File.SetLastWriteTimeUtc(mine, DateTime.UtcNow.AddMinutes(-1));
            _lazymount.Run("pull", _image, $"oci:{layout}:v1").EnsureSuccess();
        }
        Assert.Equal([mine], Directory.EnumerateFiles(layout, ".lazymount-*"));
        Tool.Run("umoci", "gc", "--layout", layout).EnsureSuccess();
        Assert.Equal(_small, _lazymount.Run("cat", $"oci:{layout}:v1", "/small").EnsureSuccess().OutputBytes);
    }
}
