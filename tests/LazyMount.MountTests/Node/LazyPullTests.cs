using System.Text.RegularExpressions;
using LazyMount.Node.Protos;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Node;

/// <summary>Pulls through containerd into lazymount-node, and containers over what was not pulled.</summary>
public sealed partial class LazyPullTests : IDisposable
{
    private readonly RegistryServer _registry = new();
    private readonly NodeMachine _node;

    public LazyPullTests()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "containerd needs root");
        _node = new NodeMachine();
    }

    public void Dispose()
    {
        _node.Dispose();
        _registry.Dispose();
    }

    [Fact]
    public void AnIndexedImage_StartsWithoutItsLayers_AndIsWhatItsLayersSay()
    {
        string image = Push("app", NodeImage.Layers);
        Publish(image);
        int before = BlobRequests(image).Length;
        _node.PullLazily(image).EnsureSuccess();
        // A look for a table of contents at the end of the large layer is all.
        Assert.InRange(LayerRequests(image, before).Sum(line => long.Parse(SizeOfAnswer().Match(line).Groups[1].Value)), 0, 60_000);
        Assert.Empty(_node.ImageMounts); // a pull mounts nothing

        ToolResult run = _node.Run(image, "one", "/bin/sh", "-c",
            "cat /data/file /data/top /opaque/upper; echo; ls /opaque /gone; stat -c '%h %a' /data/link /data/suid; stat -c '%t:%T' /dev0; echo new > /data/file && cat /data/file /data/link");
        Assert.Equal("lowertopupper\n/gone:\n\n/opaque:\nupper\n2 644\n1 4755\n1:5\nnew\ntwo", run.EnsureSuccess().Output);
        Assert.Equal("lower", _node.Run(image, "two", "/bin/cat", "/data/file").EnsureSuccess().Output); // what one has written is its own
        Assert.Contains("is ready in", _node.Log, StringComparison.Ordinal);
    }

    [Fact]
    public void AnImageWithoutIndex_IsIndexedWithinThePull()
    {
        string image = Push("app", NodeImage.Layers);
        _node.PullLazily(image).EnsureSuccess();
        Assert.Equal("top", _node.Run(image, "one", "/bin/cat", "/data/top").EnsureSuccess().Output);
        Assert.Equal(3, Regex.Count(_node.Log, "is served lazily"));
        Assert.DoesNotContain("falling back", _node.Log, StringComparison.Ordinal);
    }

    [Fact]
    public void AnOrdinaryPull_IsUnpackedIntoTheSnapshotter()
    {
        string image = Push("app", NodeImage.Layers);
        _node.Pull(image).EnsureSuccess();
        Assert.Equal("twoupper\n", _node.Run(image, "one", "/bin/sh", "-c", "cat /data/link /opaque/upper; ls /gone; echo").EnsureSuccess().Output);
        Assert.Empty(_node.ImageMounts);
        Assert.DoesNotContain("is served lazily", _node.Log, StringComparison.Ordinal);
    }

    [Fact]
    public void TheLastUser_LeavesNoMount_AndNamespacesShareOne()
    {
        string image = Push("app", NodeImage.Layers);
        _node.PullLazily(image).EnsureSuccess();
        _node.PullLazily(image, "other").EnsureSuccess();
        Assert.Equal(3, CountOfKind("lazy"));
        _node.Start(image, "a", "/bin/sleep", "1000");
        _node.Start(image, "b", "/bin/sleep", "1000");
        _node.Ctr("--namespace", "other", "run", "--detach", "--snapshotter", "lazymount", image, _node.Name("c"), "/bin/sleep", "1000").EnsureSuccess();
        Assert.Single(_node.ImageMounts);

        _node.Remove("a");
        _node.Remove("b");
        _node.Ctr("images", "rm", "--sync", image).EnsureSuccess();
        Assert.Single(_node.ImageMounts); // c goes on
        Assert.Equal("top", _node.Ctr("--namespace", "other", "task", "exec", "--exec-id", "x", _node.Name("c"), "/bin/cat", "/data/top").EnsureSuccess().Output);

        _node.Ctr("--namespace", "other", "task", "rm", "--force", _node.Name("c"));
        _node.Ctr("--namespace", "other", "container", "rm", _node.Name("c")).EnsureSuccess();
        NodeMachine.WaitFor(() => _node.ImageMounts.Count == 0, "the image is unmounted");
        _node.Ctr("--namespace", "other", "images", "rm", "--sync", image).EnsureSuccess();
        NodeMachine.WaitFor(() => CountOfKind("lazy") == 0, "the snapshots are gone");
        NodeMachine.WaitFor(() => Directory.GetDirectories(_node.Root + "/snapshots").Length == 0, "nothing is left on disk");
        Assert.Empty(Directory.GetFiles(_node.Root + "/records"));
    }

    [Fact]
    public void APrefixOfAnotherImage_IsServedByItsLayers()
    {
        string whole = Push("whole", NodeImage.Layers), prefix = Push("prefix", NodeImage.Layers[..2]);
        _node.PullLazily(whole).EnsureSuccess();
        _node.PullLazily(prefix).EnsureSuccess();
        Assert.Equal(3, CountOfKind("lazy"));
        Assert.Equal("no\n", _node.Run(prefix, "one", "/bin/sh", "-c", "test -e /data/top || echo no").EnsureSuccess().Output);
        Assert.Equal("upper", _node.Run(prefix, "two", "/bin/cat", "/opaque/upper").EnsureSuccess().Output);
        Assert.Equal("top", _node.Run(whole, "three", "/bin/cat", "/data/top").EnsureSuccess().Output);
    }

    [Fact]
    public void ManyLayers_AreOneMount()
    {
        TarBytes[] layers = [NodeImage.Base("many"), .. Enumerable.Range(1, 149).Select(i => new TarBytes().File($"data/f{i}", $"{i}"))];
        string image = Push("many", layers);
        _node.PullLazily(image).EnsureSuccess();
        Assert.Equal("150\n", _node.Run(image, "one", "/bin/sh", "-c", "ls /data | wc -l").EnsureSuccess().Output);
        Assert.Equal("149", _node.Run(image, "two", "/bin/cat", "/data/f149").EnsureSuccess().Output);
    }

    [Fact]
    public void AView_ShowsTheImageReadOnly_WithoutACopy()
    {
        string image = Push("app", NodeImage.Layers);
        _node.PullLazily(image).EnsureSuccess();
        using var snapshots = new SnapshotsClient(_node.Socket);
        string top = snapshots.List().Single(info => info.Labels[SnapshotsClient.Target] == NodeImage.ChainIds(NodeImage.Layers)[^1]).Name;
        Mount mount = Assert.Single(snapshots.View("/a/volume/of a pod", top));
        Assert.Equal("bind", mount.Type);
        string target = _node.NewDirectory("volume");
        Tool.Run("mount", "--bind", mount.Source, target).EnsureSuccess();
        Assert.Equal("top", File.ReadAllText($"{target}/data/top"));
        Assert.NotEqual(0, Tool.Run("touch", $"{target}/x").ExitCode);
        Tool.Run("umount", target).EnsureSuccess();
        snapshots.Remove("/a/volume/of a pod");
        NodeMachine.WaitFor(() => _node.ImageMounts.Count == 0, "the image is unmounted");
    }

    private string Push(string name, params TarBytes[] layers) => Skopeo.Push(NodeImage.Write(_node.NewDirectory(name), layers), _registry, $"{name}:v1");

    private void Publish(string image)
    {
        using var lazymount = new LazyMountCli();
        lazymount.Run("index", "push", image).EnsureSuccess();
    }

    private int CountOfKind(string kind)
    {
        string records = string.Join('\n', Directory.GetFiles(_node.Root + "/records").Select(File.ReadAllText));
        return kind == "lazy" ? Regex.Count(records, "\"remote\":") : throw new ArgumentException(kind);
    }

    // The registry's log lines of GETs of blobs.
    private string[] BlobRequests(string image) => [.. _registry.Log.Split('\n').Where(line => BlobGet().IsMatch(line))];

    // Those of layers, after the first ones.
    private string[] LayerRequests(string image, int after)
    {
        string[] layers = [.. Regex.Matches(Tool.Run("skopeo", "inspect", "--raw", "--tls-verify=false", $"docker://{image}").EnsureSuccess().Output, "layer[^}]*?(sha256:[0-9a-f]{64})").Select(match => match.Groups[1].Value)];
        Assert.NotEmpty(layers);
        return [.. BlobRequests(image).Skip(after).Where(line => layers.Any(layer => line.Contains(layer, StringComparison.Ordinal)))];
    }

    [GeneratedRegex("HTTP/1.1\" [0-9]+ ([0-9]+)")]
    private static partial Regex SizeOfAnswer();

    [GeneratedRegex("\"GET /v2/[^\"]*/blobs/sha256:")]
    private static partial Regex BlobGet();
}
