using System.Net.Sockets;
using System.Text;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>What a service manager hears of a mount that it has started (sd_notify(3)).</summary>
public sealed class ServiceManagerTests : IDisposable
{
    private readonly LazyMountCli _lazymount = new();
    private readonly Socket _manager = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified) { ReceiveTimeout = 60_000 };
    private readonly string _image, _directory;

    public ServiceManagerTests()
    {
        OciLayoutBuilder layout = new OciLayoutBuilder(_lazymount.Directory["layout"]).AddLayer(new TarBytes().Directory("./").File("file", "content\n"));
        layout.WriteImage("v1");
        _image = layout.Reference("v1");
        _directory = _lazymount.NewMountPoint();
    }

    public void Dispose()
    {
        _lazymount.Dispose();
        _manager.Dispose();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void MountInFront_IsTheMainProcess_AndTellsWhatHappens(bool isAbstract)
    {
        Listen(isAbstract);
        using Tool mount = _lazymount.Start("mount", "-f", _image, _directory);
        Assert.Equal("READY=1\nSTATUS=serving", Heard());
        Assert.Equal(mount.ProcessId, Assert.Single(LazyMountCli.DaemonsOf(_directory)));
        int worker = Assert.Single(LazyMountCli.WorkersOf(_directory));
        Assert.DoesNotContain("NOTIFY_SOCKET", File.ReadAllText($"/proc/{worker}/environ"), StringComparison.Ordinal);
        Tool.Run("kill", "-KILL", $"{worker}").EnsureSuccess();
        Assert.Equal("STATUS=restarting: the worker died (signal 9)", Heard());
        Assert.Equal("STATUS=serving", Heard());
        _lazymount.Run("restart", _directory).EnsureSuccess();
        Assert.Equal("STATUS=serving", Heard());
        mount.Signal(15);
        Assert.Equal("STOPPING=1", Heard());
        Assert.Equal(0, mount.WaitForExit().ExitCode);
        Assert.Equal(0, _manager.Available);
    }

    [Fact]
    public void MountInTheBackground_NamesItsKeeper()
    {
        Listen(isAbstract: false);
        _lazymount.Run("mount", _image, _directory).EnsureSuccess();
        Assert.Equal($"READY=1\nMAINPID={Assert.Single(LazyMountCli.DaemonsOf(_directory))}\nSTATUS=serving", Heard());
        _lazymount.Run("umount", _directory).EnsureSuccess();
        Assert.Equal("STOPPING=1", Heard());
    }

    /// <summary>A mount does not depend on whoever watches it.</summary>
    [Fact]
    public void ManagerThatDoesNotRead_IsNotWaitedFor()
    {
        Listen(isAbstract: false);
        using (var other = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified) { Blocking = false })
        {
            other.Connect(new UnixDomainSocketEndPoint(_lazymount.Environment["NOTIFY_SOCKET"]!));
            Assert.ThrowsAny<SocketException>(() => Fill(other));
        }
        _lazymount.Run("mount", _image, _directory).EnsureSuccess();
        _lazymount.Run("restart", _directory).EnsureSuccess();
        Assert.Equal("content\n", File.ReadAllText(Path.Combine(_directory, "file")));
        _lazymount.Run("umount", _directory).EnsureSuccess();
    }

    [Theory]
    [InlineData("vsock:2:1234")]
    [InlineData("/nothing/there")]
    public void ManagerThatIsNotThere_IsNoTrouble(string socket)
    {
        _lazymount.Environment["NOTIFY_SOCKET"] = socket == "vsock:2:1234" ? socket : socket + new string('x', 200);
        _lazymount.Run("mount", _image, _directory).EnsureSuccess();
        _lazymount.Run("umount", _directory).EnsureSuccess();
    }

    private static void Fill(Socket socket)
    {
        while (true)
            socket.Send("x"u8);
    }

    private void Listen(bool isAbstract)
    {
        string path = _lazymount.Directory["notify"];
        _manager.Bind(new UnixDomainSocketEndPoint(isAbstract ? '\0' + path : path));
        _lazymount.Environment["NOTIFY_SOCKET"] = isAbstract ? '@' + path : path;
    }

    private string Heard()
    {
        byte[] message = new byte[4096];
        return Encoding.UTF8.GetString(message, 0, _manager.Receive(message));
    }
}
