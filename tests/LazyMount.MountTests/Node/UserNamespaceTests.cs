using Grpc.Core;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Node;

/// <summary>Containers with a user namespace: the image's ids are mapped, or the container is refused.</summary>
public sealed class UserNamespaceTests : IDisposable
{
    private readonly RegistryServer _registry = new();
    private readonly NodeMachine _node;

    public UserNamespaceTests()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "containerd needs root");
        _node = new NodeMachine();
    }

    public void Dispose()
    {
        _node.Dispose();
        _registry.Dispose();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void AContainer_SeesItsOwnIds_AndWritesAsThem(bool isLazy)
    {
        string image = Skopeo.Push(NodeImage.Write(_node.NewDirectory("app"), NodeImage.Base("app"), new TarBytes().File("data/mine", "mine", edit: TarBytes.OwnedBy(7, 8))), _registry, "app:v1");
        (isLazy ? _node.PullLazily(image) : _node.Pull(image)).EnsureSuccess();
        ToolResult run = _node.Ctr("run", "--rm", "--snapshotter", "lazymount", "--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536", "--remap-labels", image, _node.Name("one"),
            "/bin/sh", "-c", "stat -c %u:%g /data/file /data/mine / && echo new > /data/file && touch /data/new && stat -c %u:%g /data/file /data/new");
        Assert.Equal("0:0\n7:8\n0:0\n0:0\n0:0\n", run.EnsureSuccess().Output);
        NodeMachine.WaitFor(() => !File.ReadAllText("/proc/self/mounts").Contains($"{_node.Root}/", StringComparison.Ordinal), "nothing stays mounted");
    }

    [Theory]
    [InlineData("0:100000", "0:0:1")]
    [InlineData("0:100000:0", "0:0:1")]
    [InlineData("a:b:c", "0:0:1")]
    [InlineData("0:100000:65536", null)]
    [InlineData("0:0:4294967296", "0:0:1")]
    public void MappingsThatCannotBeUnderstood_AreRefused(string users, string? groups)
    {
        using var client = new SnapshotsClient(_node.Socket);
        (string, string)[] labels = [("containerd.io/snapshot/uidmapping", users), .. groups is null ? ((string, string)[])[] : [("containerd.io/snapshot/gidmapping", groups)]];
        Assert.Equal(StatusCode.InvalidArgument, Assert.Throws<RpcException>(() => client.Prepare("k", "", labels)).StatusCode);
        Assert.Empty(client.List());
    }
}
