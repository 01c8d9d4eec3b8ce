using System.Text;
using Grpc.Core;
using LazyMount.Node.Protos;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Node;

/// <summary>What the roots of containers hold, and what they cost.</summary>
public sealed class RootTests : IDisposable
{
    private readonly RegistryServer _registry = new();
    private readonly TemporaryDirectory _directory = new();

    public RootTests() => Assert.SkipUnless(Environment.IsPrivilegedProcess, "containerd needs root");

    public void Dispose()
    {
        _registry.Dispose();
        _directory.Dispose();
    }

    [Fact]
    public void ARoot_IsWhatContainerdsOwnSnapshotterShows()
    {
        // Access lists, capabilities, devices, links, sparse names, whiteouts of all kinds.
        string acl = Encoding.Latin1.GetString([2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 7, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255]);
        TarBytes[] layers =
        [
            .. NodeImage.Layers,
            new TarBytes().Pax(("SCHILY.xattr.system.posix_acl_access", acl)).File("data/acl", "acl", 0b110_100_000).Pax(("SCHILY.xattr.user.note", "x")).File("data/note", "note")
                .Whiteout("data/top").Fifo("data/fifo").Symlink("data/absolute", "/etc/passwd").File("data/set", "", 0b010_111_101_101, TarBytes.OwnedBy(3, 4)).Directory("data/sticky", 0b001_111_111_111),
        ];
        string layout = NodeImage.Write(_directory.CreateDirectory("layout"), layers);
        using var containerd = new Containerd();
        TreeSnapshot expected = TreeSnapshot.Take(containerd.Mount(_directory["layout"]));
        using var node = new NodeMachine();
        string image = Skopeo.Push(layout, _registry, "app:v1");
        node.PullLazily(image).EnsureSuccess();
        using var client = new SnapshotsClient(node.Socket);
        Mount mount = Assert.Single(client.Prepare("container", Top(client, NodeImage.ChainIds(layers)[^1])));
        string target = node.NewDirectory("root");
        Tool.Run("mount", "-t", "overlay", "overlay", "-o", string.Join(',', mount.Options), target).EnsureSuccess();
        TreeSnapshot actual = TreeSnapshot.Take(target);
        // A directory that containerd changes while it unpacks has the time of that; here, that of its entry (docs/semantics.md).
        foreach (string path in actual.Nodes.Where(node => node.Value.Type == 'd').Select(node => node.Key).ToArray())
        {
            expected.Replace(path, node => node with { Mtime = actual[path].Mtime });
        }
        string difference = expected.Difference(actual);
        Assert.True(difference.Length == 0, difference);
        // Copied up with all that it has.
        Tool.Shell("echo more >>\"$1/data/acl\" && getfacl -np \"$1/data/acl\" | grep -q user:7:r--", target).EnsureSuccess();
        Tool.Run("umount", target).EnsureSuccess();
        client.Remove("container");
    }

    [Fact]
    public void AFullDisk_IsSaid_AndLeavesNothing()
    {
        using var node = new NodeMachine(new NodeSettings { RootSize = "1m" });
        using var client = new SnapshotsClient(node.Socket);
        string filler = node.Root + "/filler";
        Tool.Shell("head -c 2000000 /dev/zero >\"$1\"", filler); // as much as there is room for
        RpcException full = Assert.Throws<RpcException>(() => client.Prepare("k", ""));
        Assert.Equal(StatusCode.ResourceExhausted, full.StatusCode);
        Assert.Empty(client.List());
        File.Delete(filler);
        Assert.Empty(Directory.GetDirectories(node.Root + "/snapshots"));
        Assert.NotEmpty(client.Prepare("k", ""));
    }

    [Fact]
    public void AContainerdThatForgets_GetsTheSameSnapshotsAgain()
    {
        using var node = new NodeMachine();
        string image = Skopeo.Push(NodeImage.Write(_directory.CreateDirectory("app"), NodeImage.Layers), _registry, "app:v1");
        node.PullLazily(image).EnsureSuccess();
        Assert.Equal("top", node.Run(image, "one", "/bin/cat", "/data/top").EnsureSuccess().Output);
        node.MakeContainerdForget();
        node.PullLazily(image).EnsureSuccess();
        Assert.Equal("top", node.Run(image, "two", "/bin/cat", "/data/top").EnsureSuccess().Output);
    }

    [Fact]
    public void FiftyImagesInUse_TakeBoundedMemory()
    {
        using var node = new NodeMachine();
        using var client = new SnapshotsClient(node.Socket);
        for (int i = 0; i < 50; i++)
        {
            TarBytes layer = NodeImage.Base($"image {i}");
            string image = Skopeo.Push(NodeImage.Write(_directory.CreateDirectory($"app{i}"), layer), _registry, $"app{i}:v1");
            node.PullLazily(image).EnsureSuccess();
            Mount mount = Assert.Single(client.View($"view{i}", Top(client, NodeImage.ChainIds(layer)[0])));
            Assert.Equal(7 + $"{i}".Length - 1, new FileInfo($"{mount.Source}/name").Length);
        }
        IReadOnlyList<string> mounts = node.ImageMounts;
        Assert.Equal(50, mounts.Count);
        int[] processes = [node.NodeProcess, .. mounts.SelectMany(mount => (int[])[.. LazyMountCli.DaemonsOf(mount), .. LazyMountCli.WorkersOf(mount)])];
        Assert.Equal(101, processes.Length);
        Thread.Sleep(1000); // a worker gives back what opening took a moment after it is open
        long looked = Megabytes(processes);
        for (int i = 0; i < 50; i++)
        {
            Assert.Equal($"image {i}", File.ReadAllText($"{client.Mounts($"view{i}")[0].Source}/name")); // decodes a span of 2 MB
        }
        long read = Megabytes(processes);
        TestContext.Current.SendDiagnosticMessage($"50 images in use: {looked} MB, once read from {read} MB");
        Assert.InRange(looked, 50, 450);
        Assert.InRange(read, 50, 500); // 438 as it was measured
        for (int i = 0; i < 50; i++)
        {
            client.Remove($"view{i}");
        }
        Assert.Empty(node.ImageMounts);
    }

    // What pages they share counts once.
    private static long Megabytes(int[] processes)
        => processes.Sum(process => File.ReadLines($"/proc/{process}/smaps_rollup").Where(line => line.StartsWith("Pss:", StringComparison.Ordinal)).Sum(line => long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]))) >> 10;

    private static string Top(SnapshotsClient client, string chain) => client.List().Single(info => info.Labels.GetValueOrDefault(SnapshotsClient.Target) == chain).Name;
}
