using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>What the program takes from those who start it, and leaves to them: its name, its arguments, signals.</summary>
public sealed class ProcessTests : IDisposable
{
    private const int SigInt = 2, SigTerm = 15;

    // é in Latin-1, an escape sequence that clears a terminal, and a newline.
    private const string Name = "caf\\351\\033[2Jx\\ny";

    private readonly LazyMountCli _lazymount = new();
    private readonly OciLayoutBuilder _layout;
    private readonly string _image;

    public ProcessTests()
    {
        _layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        _layout.AddLayer(new TarBytes().Directory("./").File("caf\u00e9", "content").File("noise", Noise())).WriteImage("v1");
        _image = _layout.Reference("v1");
    }

    public void Dispose() => _lazymount.Dispose();

    [Theory]
    [InlineData("mount")]
    [InlineData("ls")]
    [InlineData("umount.lazymount")]
    [InlineData("lazymount-1.2")]
    [InlineData("two words")]
    [InlineData("--help")]
    public void UnderEveryName_ItIsTheSameProgram(string name)
    {
        ToolResult expected = _lazymount.Run("ls", _image).EnsureSuccess();
        string help = _lazymount.Run("--help").EnsureSuccess().Output, directory = _lazymount.Directory.CreateDirectory("bin"), link = Path.Combine(directory, name);
        File.CreateSymbolicLink(link, LazyMountCli.Binary);
        Assert.Equal(expected.OutputBytes, Tool.Run(link, "--cache-dir", _lazymount.CacheDirectory, "ls", _image).EnsureSuccess().OutputBytes);
        Assert.Equal(help, Tool.Run(link, "--help").EnsureSuccess().Output);
        Assert.Equal(help, Tool.Shell("exec -a \"$2\" \"$1\" --help", LazyMountCli.Binary, name).EnsureSuccess().Output);
        Assert.Equal("lazymount: a command is missing; see 'lazymount --help'\n", Tool.Run(link).Error);
    }

    [Fact]
    public async Task CtrlC_StopsALoopOfTheShell()
    {
        using var server = new RegistryServer();
        Skopeo.Push(_image, server, "app:v1");
        using var proxy = new StallingProxy(server.Port, bytesUntilStall: 2 << 20);
        string codes = _lazymount.Directory["codes"];
        // In a process group of its own, as a terminal makes one for each line that is typed.
        using Tool shell = Tool.Start("setsid", ["bash", "-c", "for i in 1 2; do \"$1\" ls \"$2\"; echo $? >> \"$3\"; done", "bash", LazyMountCli.Binary, $"{proxy.Host}/app:v1", codes], _lazymount.Environment);
        await proxy.Stalled.WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);

        Tool.Run("kill", "-INT", "--", $"-{shell.ProcessId}").EnsureSuccess();

        Assert.Equal(128 + SigInt, shell.WaitForExit(TimeSpan.FromSeconds(30)).ExitCode);
        Assert.False(File.Exists(codes), "the loop went on");
        Assert.Empty(CacheFiles.Unfinished(_lazymount));
    }

    [Fact]
    public async Task SignalsThatWereIgnoredFromTheStart_StayIgnored()
    {
        using var server = new RegistryServer();
        Skopeo.Push(_image, server, "app:v1");
        using var proxy = new StallingProxy(server.Port, bytesUntilStall: 2 << 20);
        using Tool ls = Tool.Start("env", ["--ignore-signal=INT", LazyMountCli.Binary, "ls", $"{proxy.Host}/app:v1"], _lazymount.Environment);
        await proxy.Stalled.WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);

        ls.Signal(SigInt);
        ls.Signal(SigTerm);

        Assert.Equal(128 + SigTerm, ls.WaitForExit(TimeSpan.FromSeconds(30)).ExitCode);
    }

    [Fact]
    public void NamesThatAreNotText_AreTakenAsTheyAre()
    {
        string directory = _lazymount.Directory.CreateDirectory("names");
        // Every file that is written gets exactly the name that was given, and nothing else appears.
        Sh($"\"$1\" unpack \"$2\" \"$3/$name\" && cat \"$3/$name\"/caf?; rm -r \"$3/$name\"", directory, "content");
        Sh($"\"$1\" export \"$2\" -o \"$3/$name\" && tar tf \"$3/$name\" | wc -l; rm \"$3/$name\"", directory, "3\n");
        Sh($"\"$1\" --log-file \"$3/$name\" ls \"$2\" > /dev/null; wc -c < \"$3/$name\"; rm \"$3/$name\"", directory, "0\n");
        Sh($"\"$1\" cat \"$2\" \"/$(printf 'caf\\351')\"", directory, "content");
        Sh("export LAZYMOUNT_STATE=\"$4\"; mkdir \"$3/$name\"; \"$1\" mount \"$2\" \"$3/$name\" && cat \"$3/$name\"/caf?; \"$1\" list --json | grep -c mountPointBase64; \"$1\" umount \"$3/$name\" && rmdir \"$3/$name\"", directory, "content1\n");
        // The process that serves a mount gets its arguments from the one that was started.
        Sh($"mkdir \"$3/m\"; LAZYMOUNT_STATE=\"$4\" \"$1\" mount --prefetch \"/$(printf 'caf\\351')\" \"$2\" \"$3/m\" && cat \"$3/m\"/caf?; \"$1\" umount \"$3/m\"; rmdir \"$3/m\"", directory, "content");
    }

    [Fact]
    public void LogThatCannotBeWritten_StopsNothing()
    {
        string directory = _lazymount.Directory.CreateDirectory("log");
        Sh("\"$1\" -v --log-file /dev/full cat \"$2\" \"/$(printf 'caf\\351')\"", directory, "content");
        ToolResult result = Tool.Shell("mkfifo \"$3/f\"; timeout 20 \"$1\" --log-file \"$3/f\" ls \"$2\"", LazyMountCli.Binary, _image, directory);
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("a pipe that nobody reads", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void NamesInMessages_KeepTheirBytesAndNeverDriveATerminal()
    {
        ToolResult result = Tool.Shell($"name=$(printf '{Name}'); \"$1\" cat \"$2\" \"$name\" 2>&1 | od -An -c | tr -d ' \\n'", LazyMountCli.Binary, _image);
        Assert.StartsWith("lazymount:cannotfind'caf351?[2Jx?y'in'oci:", result.Output, StringComparison.Ordinal);
        // Before a terminal, as script(1) makes one, only what it can show.
        result = Tool.Shell($"name=$(printf '{Name}'); export name; script -qec '\"{LazyMountCli.Binary}\" cat \"{_image}\" \"$name\"' /dev/null | od -An -c | tr -d ' \\n'");
        Assert.StartsWith("lazymount:cannotfind'caf??[2Jx?y'in'oci:", result.Output, StringComparison.Ordinal);
    }

    private void Sh(string line, string directory, string output)
    {
        ToolResult result = Tool.Shell($"export LAZYMOUNT_CACHE=\"$4\"; name=$(printf '{Name}'); {line}; ls -A \"$3\"", LazyMountCli.Binary, _image, directory, _lazymount.CacheDirectory);
        Assert.Equal((0, output, ""), (result.ExitCode, result.Output, result.Error));
    }

    private static byte[] Noise()
    {
        byte[] noise = new byte[8 << 20];
        new Random(1).NextBytes(noise);
        return noise;
    }
}
