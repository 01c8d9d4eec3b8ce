using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Node;

/// <summary>What happens to containers, and to those that are started later, when processes are killed and the registry is away.</summary>
public sealed class BadMomentsTests : IDisposable
{
    // Reads a file of the image again and again, and counts what fails.
    private const string Reader = "i=0; bad=0; while [ $i -lt 100000 ]; do md5sum /data/big >/dev/null 2>&1 || bad=$((bad+1)); i=$((i+1)); echo $i $bad > /tmp/count; done";

    private readonly RegistryServer _registry = new();
    private readonly NodeMachine _node;
    private readonly string _image;

    public BadMomentsTests()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "containerd needs root");
        _node = new NodeMachine();
        byte[] big = new byte[1 << 20];
        new Random(1).NextBytes(big);
        _image = Skopeo.Push(NodeImage.Write(_node.NewDirectory("app"), NodeImage.Base("app"), new TarBytes().File("data/big", big).File("data/top", "top")), _registry, "app:v1");
        _node.PullLazily(_image).EnsureSuccess();
    }

    public void Dispose()
    {
        _node.Dispose();
        _registry.Dispose();
    }

    [Fact]
    public void TheNodeService_MayBeKilledAndStopped_UnderRunningContainers()
    {
        _node.Start(_image, "reads", "/bin/sh", "-c", Reader);
        string mount = Assert.Single(_node.ImageMounts);
        _node.KillNode();
        Assert.Equal("top", _node.Exec("reads", "/bin/cat", "/data/top").EnsureSuccess().Output);
        Assert.NotEqual(0, _node.Run(_image, "none", "/bin/true").ExitCode);
        _node.StartNode();
        Assert.Equal("top", _node.Run(_image, "new", "/bin/cat", "/data/top").EnsureSuccess().Output);
        _node.StopNode();
        Assert.Equal([mount], _node.ImageMounts);
        _node.StartNode();
        Assert.Equal([mount], _node.ImageMounts);
        Assert.Equal("top", _node.Run(_image, "newer", "/bin/cat", "/data/top").EnsureSuccess().Output);
        AssertNoErrors("reads");
        _node.Remove("reads");
        NodeMachine.WaitFor(() => _node.ImageMounts.Count == 0, "the image is unmounted");
    }

    [Fact]
    public void Containerd_MayBeKilled()
    {
        _node.Start(_image, "reads", "/bin/sh", "-c", Reader);
        _node.KillContainerd();
        _node.StartContainerd();
        Assert.Contains("RUNNING", _node.Ctr("task", "ls").EnsureSuccess().Output, StringComparison.Ordinal);
        Assert.Equal("top", _node.Run(_image, "new", "/bin/cat", "/data/top").EnsureSuccess().Output);
        AssertNoErrors("reads");
    }

    [Fact]
    public void TheWorkerOfAMount_MayBeKilled_AndItsKeeper()
    {
        _node.Start(_image, "reads", "/bin/sh", "-c", Reader);
        string mount = Assert.Single(_node.ImageMounts);
        int worker = Assert.Single(LazyMountCli.WorkersOf(mount));
        Tool.Run("kill", "-9", $"{worker}").EnsureSuccess();
        NodeMachine.WaitFor(() => LazyMountCli.WorkersOf(mount) is [int next] && next != worker, "another process serves the mount");
        AssertNoErrors("reads");
        int keeper = Assert.Single(LazyMountCli.DaemonsOf(mount));
        Tool.Run("kill", "-9", $"{keeper}").EnsureSuccess();
        AssertNoErrors("reads");
        Assert.Equal("top", _node.Run(_image, "new", "/bin/cat", "/data/top").EnsureSuccess().Output);
    }

    [Fact]
    public void AMountOfWhichAllProcessesWereKilled_IsMadeAgainForNewContainers()
    {
        _node.Start(_image, "old", "/bin/sleep", "1000");
        string mount = Assert.Single(_node.ImageMounts);
        LazyMountCli.KillAllOf(mount);
        Assert.Equal("top", _node.Run(_image, "new", "/bin/cat", "/data/top").EnsureSuccess().Output);
        Assert.Equal([mount], _node.ImageMounts.Distinct());
        Assert.Contains("is dead: mounting", _node.Log, StringComparison.Ordinal);
        // The old one too, when it is started again.
        _node.Ctr("task", "rm", "--force", _node.Name("old"));
        _node.Ctr("task", "start", "--detach", _node.Name("old")).EnsureSuccess();
        Assert.Equal("top", _node.Exec("old", "/bin/cat", "/data/top").EnsureSuccess().Output);
    }

    [Fact]
    public void TheRegistry_MayBeAway_WhenTheServiceStarts()
    {
        Assert.Equal("top", _node.Run(_image, "warm", "/bin/cat", "/data/top").EnsureSuccess().Output);
        NodeMachine.WaitFor(() => _node.ImageMounts.Count == 0, "the image is unmounted");
        _registry.Stop();
        _node.KillNode();
        _node.StartNode();
        Assert.Equal("top", _node.Run(_image, "cold", "/bin/cat", "/data/top").EnsureSuccess().Output); // all of it is in the cache
    }

    private void AssertNoErrors(string container)
    {
        (int count, _) = Count();
        NodeMachine.WaitFor(() => Count().Count > count + 2, "the reader goes on");
        Assert.Equal(0, Count().Bad);

        (int Count, int Bad) Count()
            => _node.Exec(container, "/bin/cat", "/tmp/count").Output.Split(' ', '\n') is [var count, var bad, ..] && int.TryParse(count, out int reads) && int.TryParse(bad, out int failures) ? (reads, failures) : (0, 0);
    }
}
