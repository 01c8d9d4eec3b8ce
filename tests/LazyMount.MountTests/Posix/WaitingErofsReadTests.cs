using System.Security.Cryptography;
using LazyMount.Fuse;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Posix;

/// <summary>Reads that wait, through the kernel's EROFS: a signal is no reason for EIO, and what does not come is one.</summary>
public sealed class WaitingErofsReadTests : IAsyncLifetime
{
    private readonly TemporaryDirectory _directory = new();
    private TestImage _image = null!;
    private FuseMount? _mount;
    private string _file = null!;

    public async ValueTask InitializeAsync()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root can mount EROFS");
        _image = await TestImage.CreateAsync(_directory, new TarBytes().File("file", PosixMount.Big), new TarBytes().File("other", "other\n"));
        string root = _directory.CreateDirectory("mnt");
        _mount = _image.Mount(root, new FuseMountOptions { Source = "test:image", Threads = 2 }, MountFace.Erofs);
        _file = root + "/file";
    }

    public async ValueTask DisposeAsync()
    {
        if (_mount is not null)
        {
            await _mount.DisposeAsync();
            await _image.DisposeAsync();
        }
        _directory.Dispose();
    }

    [Fact]
    public async Task Signals_DoNotEndAReadThatWaits()
    {
        using IDisposable held = _image.HoldBlobs();
        using Tool reader = Tool.Start("perl", ["-MTime::HiRes=setitimer,ITIMER_REAL", "-MDigest::SHA", "-e",
            "$SIG{ALRM} = sub { $n++ }; setitimer(ITIMER_REAL, 0.01, 0.01); open(F, '<', $ARGV[0]) or die; while (1) { $r = sysread(F, $b, 65536, length $b); die $! unless defined $r or $!{EINTR}; last if defined $r and !$r } setitimer(ITIMER_REAL, 0); print $n ? Digest::SHA::sha256_hex($b) : 'no signals'", _file]);
        await _image.SomebodyWaits.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        await Task.Delay(300, TestContext.Current.CancellationToken);
        held.Dispose();
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData(PosixMount.Big)), reader.WaitForExit().EnsureSuccess().Output);
    }

    [Fact]
    public async Task CtrlC_EndsCat_AndTheNextReaderGetsEverything()
    {
        using IDisposable held = _image.HoldBlobs();
        using (Tool reader = Tool.Start("cat", [_file]))
        {
            await _image.SomebodyWaits.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
            reader.Signal(2);
            Assert.NotEqual(0, reader.WaitForExit().ExitCode);
        }
        held.Dispose();
        byte[] read = await File.ReadAllBytesAsync(_file, TestContext.Current.CancellationToken);
        Assert.True(PosixMount.Big.AsSpan().SequenceEqual(read));
    }

    [Fact]
    public async Task WhileReadsWait_NamesAndOtherFilesAnswer()
    {
        using IDisposable held = _image.HoldBlob(0);
        Tool[] readers = [.. Enumerable.Range(0, 8).Select(i => Tool.Start("dd", [$"if={_file}", "bs=1M", $"skip={i}", "status=none"]))];
        await _image.SomebodyWaits.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        Assert.Contains("other", Tool.Run("ls", "-la", Path.GetDirectoryName(_file)!).EnsureSuccess().Output);
        Assert.Equal("other\n", await File.ReadAllTextAsync(Path.GetDirectoryName(_file) + "/other", TestContext.Current.CancellationToken).WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken));
        Assert.All(readers, reader => Assert.False(reader.HasExited));
        held.Dispose();
        for (int i = 0; i < readers.Length; i++)
        {
            Assert.True(PosixMount.Big.AsSpan(i << 20).SequenceEqual(readers[i].WaitForExit().EnsureSuccess().OutputBytes), $"reader {i}");
            readers[i].Dispose();
        }
    }

    [Fact]
    public async Task Disposing_EndsReadsThatWait_WithAnError()
    {
        using IDisposable held = _image.HoldBlobs();
        using Tool reader = Tool.Start("cat", [_file]);
        await _image.SomebodyWaits.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        await _mount!.DisposeAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        ToolResult result = reader.WaitForExit();
        Assert.NotEqual(0, result.ExitCode);
        Assert.Empty(result.Output);
    }
}
