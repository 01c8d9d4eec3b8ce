using LazyMount.Fuse;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Posix;

/// <summary>READs that must wait leave the reader threads free, can be interrupted, and are answered late.</summary>
public sealed class WaitingReadTests : IAsyncLifetime
{
    private readonly TemporaryDirectory _directory = new();
    private TestImage _image = null!;
    private FuseMount _mount = null!;
    private string _file = null!;

    public async ValueTask InitializeAsync()
    {
        _image = await TestImage.CreateAsync(_directory, new TarBytes().File("file", PosixMount.Big), new TarBytes().File("other", "other\n"));
        string root = _directory.CreateDirectory("mnt");
        _mount = _image.Mount(root, new FuseMountOptions { Source = "test:image", Threads = 2 });
        _file = root + "/file";
    }

    public async ValueTask DisposeAsync()
    {
        await _mount.DisposeAsync();
        await _image.DisposeAsync();
        _directory.Dispose();
    }

    [Fact]
    public async Task WhileReadsWait_TheTreeAnswers_AndLaterTheReads()
    {
        using IDisposable held = _image.HoldBlobs();
        Tool[] readers = [.. Enumerable.Range(0, 8).Select(_ => Tool.Start("sha256sum", [_file]))];
        await _image.SomebodyWaits.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        Assert.Contains("other", Tool.Run("ls", "-la", Path.GetDirectoryName(_file)!).EnsureSuccess().Output);
        Assert.All(readers, reader => Assert.False(reader.HasExited));
        held.Dispose();
        string[] sums = [.. readers.Select(reader => reader.WaitForExit().EnsureSuccess().Output[..64]).Distinct()];
        Assert.Equal([Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(PosixMount.Big))], sums);
        Array.ForEach(readers, reader => reader.Dispose());
    }

    [Fact]
    public async Task ManyReadsThatWait_DoNotHoldUpOneThatNeedNot()
    {
        const int Readers = 150;
        using IDisposable held = _image.HoldBlob(0);
        // O_DIRECT, each somewhere else: every one is a READ of its own.
        int fd = Libc.Open(_file, Libc.Direct);
        int finished = 0;
        Thread[] readers = [.. Enumerable.Range(0, Readers).Select(i => new Thread(() =>
        {
            Assert.Equal(4096, Libc.PRead(fd, i * 61_440L / 4096 * 4096, 4096).Length);
            Interlocked.Increment(ref finished);
        }, 256 << 10))];
        Array.ForEach(readers, reader => reader.Start());
        await _image.SomebodyWaits.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        // Page cache reads wait in the kernel beyond what it sends at a time.
        Tool[] others = [.. Enumerable.Range(0, 8).Select(i => Tool.Start("dd", [$"if={_file}", "bs=1M", $"skip={i}", "of=/dev/null"]))];

        Assert.Equal("other\n", await File.ReadAllTextAsync(Path.GetDirectoryName(_file) + "/other", TestContext.Current.CancellationToken).WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken));
        Assert.Equal(0, finished);
        held.Dispose();
        Array.ForEach(readers, reader => reader.Join());
        Array.ForEach(others, reader => reader.WaitForExit().EnsureSuccess());
        Array.ForEach(others, reader => reader.Dispose());
        Libc.Close(fd);
        Assert.Equal(Readers, finished);
    }

    [Fact]
    public async Task Interrupt_EndsAWaitingReadWithEINTR()
    {
        using IDisposable held = _image.HoldBlobs();
        // O_DIRECT: the READ is the program's own and not the page cache's.
        using Tool reader = Tool.Start("perl", ["-MFcntl", "-e", "$SIG{INT} = sub {}; sysopen(F, $ARGV[0], O_RDONLY | O_DIRECT) or die; print defined(sysread(F, $b, 65536)) ? 'read' : 0 + $!", _file]);
        await _image.SomebodyWaits.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        reader.Signal(2);
        Assert.Equal("4", reader.WaitForExit().EnsureSuccess().Output);
    }

    [Fact]
    public async Task CtrlC_EndsCat()
    {
        using IDisposable held = _image.HoldBlobs();
        using Tool reader = Tool.Start("cat", [_file]);
        await _image.SomebodyWaits.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        reader.Signal(2);
        Assert.NotEqual(0, reader.WaitForExit().ExitCode);
    }

    [Fact]
    public async Task Disposing_EndsWaitingReads()
    {
        using IDisposable held = _image.HoldBlobs();
        using Tool reader = Tool.Start("cat", [_file]);
        await _image.SomebodyWaits.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        await _mount.DisposeAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        Assert.NotEqual(0, reader.WaitForExit().ExitCode);
    }
}
