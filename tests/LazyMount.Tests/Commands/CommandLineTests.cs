using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Commands;

public sealed class CommandLineTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("a command is missing; see 'lazymount --help'")]
    [InlineData("unknown command 'frob'; see 'lazymount --help'", "frob")]
    [InlineData("'lazymount ls' needs IMAGE; see 'lazymount ls --help'", "ls")]
    [InlineData("unknown command 'moutn'; did you mean 'mount'?", "moutn", "--help")]
    [InlineData("unknown command 'inspct'; did you mean 'inspect'?", "inspct", "image")]
    [InlineData("unknown command 'buidl'; did you mean 'build'?", "index", "buidl", "--help")]
    [InlineData("option '--json' takes no value; see 'lazymount ls --help'", "ls", "--json=maybe", "image")]
    [InlineData("option '-h' takes no value; see 'lazymount ls --help'", "ls", "-lh=3", "image")]
    [InlineData("option '-l' takes no value; see 'lazymount ls --help'", "ls", "-l=3", "image")]
    [InlineData("option '--offline' takes no value; see 'lazymount ls --help'", "--offline=no", "ls", "image")]
    [InlineData("option '--platform' needs a value: OS/ARCH[/VARIANT]; see 'lazymount ls --help'", "ls", "image", "--platform")]
    [InlineData("option '--platform' is given more than once; see 'lazymount ls --help'", "ls", "image", "--platform", "a", "--platform", "b")]
    [InlineData("'lazymount mount' needs IMAGE and DIR; see 'lazymount mount --help'", "mount")]
    [InlineData("there is no help for 'tust'; did you mean 'trust'?", "help", "tust")]
    [InlineData("there is no help for 'index frob'; see 'lazymount help'", "help", "index", "frob")]
    [InlineData("unknown option '--foo'; see 'lazymount ls --help'", "ls", "--foo", "image")]
    [InlineData("unknown option '-F'; see 'lazymount ls --help'", "ls", "-F", "image")]
    [InlineData("unknown option '-s'; did you mean '-S'?", "ls", "-s", "image")]
    [InlineData("unknown option '-x'; see 'lazymount cat --help'", "cat", "image", "-x")]
    [InlineData("unknown option '--platfrom'; did you mean '--platform'?", "--platfrom", "linux/amd64", "ls", "image")]
    [InlineData("one argument too many: 'c'; see 'lazymount tree --help'", "tree", "image", "b", "c")]
    [InlineData("--level needs a number above 0; see 'lazymount tree --help'", "tree", "-L", "0", "image")]
    [InlineData("--level needs a number above 0; see 'lazymount tree --help'", "tree", "-L", "two", "image")]
    [InlineData("--log-format 'xml' is neither text nor json", "--log-format", "xml", "ls", "image")]
    [InlineData("--cache-dir needs a directory", "ls", "--cache-dir", "", "image")]
    [InlineData("mount needs a directory", "mount", "image", "")]
    [InlineData("umount needs a directory", "umount", "/nowhere", "")]
    [InlineData("cannot pull to './dir': name an OCI image layout as oci:./dir or oci:./dir:TAG", "pull", "image", "./dir")]
    [InlineData("cannot pull to 'oci-archive:file': name an OCI image layout as oci:DIR or oci:DIR:TAG", "pull", "image", "oci-archive:file")]
    [InlineData("-o needs a file name", "export", "-o", "", "image")]
    [InlineData("cannot use the mount option 'rw': an image is read-only; put an overlayfs on top to write", "mount", "-o", "rw", "image", "/tmp")]
    public async Task BadUsage_IsOneSentenceAndExitCode2(string sentence, params string[] arguments)
    {
        CommandRun run = await CommandRun.RunAsync(arguments);
        Assert.Equal((2, "", $"lazymount: {sentence}\n"), (run.ExitCode, run.Output, run.Error));
    }

    [Theory]
    [InlineData("ls", "docker.io/UPPER/case")]
    [InlineData("cat", "image@sha256:12", "/etc/passwd")]
    [InlineData("manifest", "")]
    [InlineData("config", "image:bad tag")]
    [InlineData("layers", "oci:")]
    [InlineData("mount", "a//b", "/nonexistent")]
    [InlineData("ls", "--platform", "linux", "image")]
    public async Task BadReferenceOrPlatform_IsUsage(params string[] arguments)
    {
        CommandRun run = await CommandRun.RunAsync(arguments);
        Assert.Equal((2, ""), (run.ExitCode, run.Output));
        Assert.StartsWith("lazymount: ", run.Error);
        Assert.Single(run.Error.TrimEnd('\n').Split('\n'));
    }

    [Theory]
    [InlineData("--version")]
    [InlineData("--version", "-v")]
    public async Task Version_IsOneLine(params string[] arguments)
    {
        CommandRun run = await CommandRun.RunAsync(arguments);
        Assert.Matches("^lazymount [0-9]+\\.[0-9]+\\.[0-9]+\n$", run.Output);
        Assert.Equal(0, run.ExitCode);
    }

    [Fact]
    public async Task AtSign_IsNoResponseFile()
    {
        string file = _directory["response"];
        await File.WriteAllTextAsync(file, "--help", TestContext.Current.CancellationToken);
        CommandRun run = await CommandRun.RunAsync("ls", "@" + file);
        Assert.Equal(2, run.ExitCode);
    }

    [Fact]
    public async Task LayoutThatDoesNotExist_Fails()
    {
        CommandRun run = await CommandRun.RunAsync("ls", "--cache-dir", _directory["cache"], "oci:/nonexistent/layout");
        Assert.Equal((1, ""), (run.ExitCode, run.Output));
        Assert.Contains("/nonexistent/layout", run.Error);
    }

    [Fact]
    public async Task RegistryThatDoesNotAnswer_IsExitCode3()
    {
        // Port 1 of this machine: refused at once.
        CommandRun run = await CommandRun.RunAsync("manifest", "--cache-dir", _directory["cache"], "127.0.0.1:1/app");
        Assert.Equal((3, ""), (run.ExitCode, run.Output));
        Assert.Contains("127.0.0.1:1", run.Error);
        Assert.DoesNotContain("   at ", run.Error);
    }

    [Fact]
    public async Task MountPointThatDoesNotExist_FailsBeforeTheImageIsLookedAt()
    {
        CommandRun run = await CommandRun.RunAsync("mount", "127.0.0.1:1/app", "/nonexistent/mnt");
        Assert.Equal((1, ""), (run.ExitCode, run.Output));
        Assert.Contains("/nonexistent/mnt", run.Error);
    }

    [Fact]
    public async Task UmountOfSeveral_ReportsEach()
    {
        CommandRun run = await CommandRun.RunAsync("umount", "/nonexistent/a", "/nonexistent/b");
        Assert.Equal(1, run.ExitCode);
        Assert.Contains("/nonexistent/a", run.Error);
        Assert.Contains("/nonexistent/b", run.Error);
    }
}
