using Grpc.Core;
using LazyMount.Node.Protos;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Node;

/// <summary>Calls that containerd should not make, labels that nobody should write, and the ordinary ones in between, each spoken to the socket.</summary>
public sealed class HostileCallsTests : IDisposable
{
    private const string Reference = "containerd.io/snapshot/cri.image-ref", Manifest = "containerd.io/snapshot/cri.manifest-digest", Layer = "containerd.io/snapshot/cri.layer-digest";

    private readonly RegistryServer _registry = new();
    private readonly NodeMachine _node;
    private readonly SnapshotsClient _client;
    private readonly string _image;
    private readonly string _manifest;
    private readonly string[] _layers;
    private readonly string[] _chains = NodeImage.ChainIds(NodeImage.Layers);

    public HostileCallsTests()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "containerd needs root");
        _node = new NodeMachine(new NodeSettings { Configuration = "prepare_stall = \"2s\"" });
        _client = new SnapshotsClient(_node.Socket);
        var layout = new OciLayoutBuilder(_node.NewDirectory("app"));
        foreach (TarBytes layer in NodeImage.Layers)
        {
            layout.AddLayer(layer);
        }
        _layers = layout.WriteImage("v1");
        _image = Skopeo.Push(layout.Reference("v1"), _registry, "app:v1");
        _manifest = Tool.Run("skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", $"docker://{_image}").EnsureSuccess().Output.Trim();
    }

    public void Dispose()
    {
        _client.Dispose();
        _node.Dispose();
        _registry.Dispose();
    }

    [Fact]
    public void Names_AreHashes_ThatDependOnTheParent_AndLabelsStay()
    {
        string first = Serve(0, "");
        Assert.Matches("^lazymount-[0-9a-f]{64}$", first);
        string second = Serve(1, first);
        Info info = _client.Calls.Stat(new StatSnapshotRequest { Key = second }).Info;
        Assert.Equal((Kind.Committed, first, _chains[1]), (info.Kind, info.Parent, info.Labels[SnapshotsClient.Target]));
        UsageResponse usage = _client.Calls.Usage(new UsageRequest { Key = second });
        Assert.Equal((0, 0), (usage.Size, usage.Inodes));
        Assert.Equal(second, Serve(1, first)); // once more: the same
    }

    [Fact]
    public void AnOrdinaryLayer_BetweenLazyOnes_IsStacked()
    {
        string first = Serve(0, "");
        // The client unpacks the second layer itself.
        Mount mount = Assert.Single(_client.Prepare("extract-1", first, (SnapshotsClient.Target, _chains[1])));
        Assert.Equal("overlay", mount.Type);
        Assert.Contains("rw", mount.Options);
        string target = _node.NewDirectory("unpack");
        Tool.Run("mount", "-t", "overlay", "overlay", "-o", string.Join(',', mount.Options), target).EnsureSuccess();
        File.WriteAllText($"{target}/data/own", "unpacked");
        Tool.Run("umount", target).EnsureSuccess();
        var commit = new CommitSnapshotRequest { Name = "second", Key = "extract-1" };
        commit.Labels.Add(SnapshotsClient.Target, _chains[1]);
        _client.Calls.Commit(commit);
        Assert.True(_client.Calls.Usage(new UsageRequest { Key = "second" }).Inodes > 0);
        Assert.Empty(_node.ImageMounts);

        Mount over = Assert.Single(_client.Prepare("container", "second"));
        Tool.Run("mount", "-t", "overlay", "overlay", "-o", string.Join(',', over.Options), target).EnsureSuccess();
        Assert.Equal("unpackedlower", File.ReadAllText($"{target}/data/own") + File.ReadAllText($"{target}/data/file"));
        Tool.Run("umount", target).EnsureSuccess();
        // A lazy layer over an ordinary one shows the image's layers.
        string third = Serve(2, "second");
        Mount view = Assert.Single(_client.View("view", third));
        Assert.Equal("top", File.ReadAllText($"{view.Source}/data/top"));
        Assert.Equal(2, _node.ImageMounts.Count);
        _client.Remove("container");
        _client.Remove("view");
        Assert.Empty(_node.ImageMounts);
    }

    [Theory]
    [InlineData("oci:/etc:v1")]
    [InlineData("docker-archive:/etc/passwd")]
    [InlineData("../../../etc/passwd")]
    [InlineData("--offline")]
    [InlineData("a b\nc")]
    [InlineData("")]
    public void References_ThatLeadNowhere_ArePulledAsUsual(string reference)
    {
        Mount mount = Assert.Single(_client.Prepare("extract-1", "", (SnapshotsClient.Target, _chains[0]), (Reference, reference), (Manifest, _manifest), (Layer, _layers[0])));
        Assert.Equal("bind", mount.Type);
        Assert.StartsWith(_node.Root + "/snapshots/", mount.Source, StringComparison.Ordinal);
    }

    [Fact]
    public void LabelsThatDoNotFit_ArePulledAsUsual()
    {
        string first = Serve(0, "");
        int key = 0;
        // Another layer, another chain, another manifest, digests that are none.
        Ordinary("", (SnapshotsClient.Target, _chains[0]), (Reference, _image), (Manifest, _manifest), (Layer, _layers[1]));
        Ordinary("", (SnapshotsClient.Target, _layers[0]), (Reference, _image), (Manifest, _manifest), (Layer, _layers[0]));
        Ordinary("", (SnapshotsClient.Target, _chains[0]), (Reference, _image), (Manifest, "sha256:" + new string('0', 64)), (Layer, _layers[0]));
        Ordinary("", (SnapshotsClient.Target, "../x"), (Reference, _image), (Manifest, _manifest), (Layer, _layers[0]));
        Ordinary("", (SnapshotsClient.Target, _chains[0]), (Reference, _image), (Manifest, "x"), (Layer, "y"));
        // Parents that are none of it.
        Ordinary("", Labels(1));
        Ordinary(first, Labels(2));
        Ordinary(first, Labels(0));

        void Ordinary(string parent, params (string, string)[] labels) => Assert.NotEmpty(_client.Prepare($"extract-{key++}", parent, labels));
    }

    [Fact]
    public void CallsThatCannotBeAnswered_GetTheRightError_AndLeaveNothing()
    {
        Code(StatusCode.NotFound, () => _client.Prepare("k", "nobody"));
        Code(StatusCode.NotFound, () => _client.Prepare("k", "nobody", Labels(1)));
        Code(StatusCode.InvalidArgument, () => _client.Prepare("", ""));
        Code(StatusCode.InvalidArgument, () => _client.Prepare(new string('k', 20_000), ""));
        Code(StatusCode.InvalidArgument, () => _client.Prepare("k", "", [.. Enumerable.Range(0, 300).Select(i => ($"containerd.io/snapshot/{i}", new string('x', 4000)))]));
        Code(StatusCode.NotFound, () => _client.Remove("../../../etc/passwd"));
        Assert.NotEmpty(_client.Prepare("../../../tmp/evil\n\0", ""));
        Code(StatusCode.AlreadyExists, () => _client.Prepare("../../../tmp/evil\n\0", ""));
        Code(StatusCode.InvalidArgument, () => _client.Prepare("over an active one", "../../../tmp/evil\n\0"));
        Code(StatusCode.FailedPrecondition, () => _client.Mounts(Serve(0, "")));
        string first = _client.List().Single(info => info.Kind == Kind.Committed).Name;
        Code(StatusCode.FailedPrecondition, () => _client.Calls.Commit(new CommitSnapshotRequest { Name = "n", Key = first }));
        _client.View("view", first);
        Code(StatusCode.FailedPrecondition, () => _client.Remove(first));
        Code(StatusCode.FailedPrecondition, () => _client.Calls.Commit(new CommitSnapshotRequest { Name = "n", Key = "view" }));
        var update = new UpdateSnapshotRequest { Info = new Info { Name = first }, UpdateMask = new() };
        update.UpdateMask.Paths.Add("kind");
        Code(StatusCode.InvalidArgument, () => _client.Calls.Update(update));
        update.UpdateMask.Paths[0] = "labels.a";
        update.Info.Labels.Add("a", "1");
        Assert.Equal("1", _client.Calls.Update(update).Info.Labels["a"]);
        _client.Remove("view");
        _client.Remove("../../../tmp/evil\n\0");
        _client.Remove(first);
        Assert.Empty(Directory.GetDirectories(_node.Root + "/snapshots"));
        Assert.Empty(Directory.GetFiles(_node.Root + "/records"));
    }

    [Fact]
    public void AStuckRegistry_IsWaitedForAMoment_AndPulledFromAsUsual()
    {
        using var stalling = new StallingProxy(_registry.Port, bytesUntilStall: 100);
        (string, string)[] labels = [.. Labels(0).Select(label => label.Item1 == Reference ? (Reference, $"{stalling.Host}/app:v1") : label)];
        Assert.NotEmpty(_client.Prepare("extract-1", "", labels));
        Assert.Contains("the registry has sent nothing for 2 s (prepare_stall)", _node.Log, StringComparison.Ordinal);
        Assert.NotEmpty(_client.Prepare("extract-2", "", labels)); // at once: the image has just failed
    }

    [Fact]
    public void Orphans_AreSwept_AndABrokenRecordIsOnlyLogged()
    {
        string first = Serve(0, "");
        _node.KillNode();
        Directory.CreateDirectory(_node.Root + "/snapshots/77/fs/left over");
        File.WriteAllText(_node.Root + "/records/broken.json", "{");
        _node.StartNode();
        Assert.Contains("cannot read the record", _node.Log, StringComparison.Ordinal);
        Assert.Equal(first, Assert.Single(_client.List()).Name);
        _client.Calls.Cleanup(new CleanupRequest());
        Assert.False(Directory.Exists(_node.Root + "/snapshots/77"));
        Assert.NotEmpty(_client.Prepare("k", "")); // gets a directory that none had
    }

    [Fact]
    public void TwoServices_OnOneRootOrSocket_AreOneTooMany()
    {
        ToolResult second = Tool.Run(NodeMachine.Binary, "serve", "--config", _node.NodeConfiguration);
        Assert.Equal(1, second.ExitCode);
        Assert.Matches($"^lazymount-node: cannot use '{_node.Root}': another lazymount-node \\(process [0-9]+\\) has it; stop that one, or set another root\n$", second.Error);
        string other = Path.Combine(_node.Directory, "other.toml");
        File.WriteAllText(other, $"socket = \"{_node.Socket}\"\nroot = \"{_node.Directory}/other\"\n");
        ToolResult third = Tool.Run(NodeMachine.Binary, "serve", "--config", other);
        Assert.Equal($"lazymount-node: cannot serve on '{_node.Socket}': another process listens there; stop it, or set another socket\n", third.Error);
        Assert.Equal("600\n", Tool.Run("stat", "-c", "%a", _node.Socket).EnsureSuccess().Output);
        Serve(0, "");
    }

    [Fact]
    public void Health_IsTold()
    {
        using var channel = SnapshotsClient.Connect(_node.Socket);
        var health = new Health.HealthClient(channel);
        Assert.Equal(HealthCheckResponse.Types.ServingStatus.Serving, health.Check(new HealthCheckRequest()).Status);
        Code(StatusCode.NotFound, () => health.Check(new HealthCheckRequest { Service = "other" }));
    }

    private (string, string)[] Labels(int layer) => [(SnapshotsClient.Target, _chains[layer]), (Reference, _image), (Manifest, _manifest), (Layer, _layers[layer])];

    // The name of the snapshot that stands for a layer.
    private string Serve(int layer, string parent)
    {
        Code(StatusCode.AlreadyExists, () => _client.Prepare($"extract-{Guid.NewGuid()}", parent, Labels(layer)));
        return _client.List().Single(info => info.Labels.GetValueOrDefault(SnapshotsClient.Target) == _chains[layer] && info.Parent == parent && info.Kind == Kind.Committed).Name;
    }

    private static void Code(StatusCode code, Action call) => Assert.Equal(code, Assert.Throws<RpcException>(call).StatusCode);
}
