using Grpc.Core;
using Grpc.Net.Client;
using LazyMount.Node.Protos;
using LazyMount.TestKit;
using Xunit;
using NodeClient = LazyMount.Node.Protos.Node.NodeClient;

namespace LazyMount.MountTests.Node;

/// <summary>Images as volumes of pods: what a kubelet says to the CSI driver.</summary>
public sealed class VolumeTests : IDisposable
{
    private readonly RegistryServer _registry = new();
    private readonly NodeMachine _node;
    private readonly GrpcChannel _channel;
    private readonly NodeClient _client;
    private readonly string _image;

    public VolumeTests()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "mounting for a kubelet needs root");
        _node = new NodeMachine(new NodeSettings { HasVolumes = true });
        _channel = SnapshotsClient.Connect(_node.CsiSocket);
        _client = new NodeClient(_channel);
        _image = Skopeo.Push(NodeImage.Write(_node.NewDirectory("app"), NodeImage.Layers), _registry, "app:v1");
        Directory.CreateDirectory(_node.KubeletDirectory);
    }

    public void Dispose()
    {
        _channel.Dispose();
        _node.Dispose();
        _registry.Dispose();
    }

    [Fact]
    public void TheDriver_TellsWhatItIs_AndRegisters()
    {
        Assert.Equal("csi.lazymount", new Identity.IdentityClient(_channel).GetPluginInfo(new GetPluginInfoRequest()).Name);
        Assert.True(new Identity.IdentityClient(_channel).Probe(new ProbeRequest()).Ready);
        Assert.Equal("node-7", _client.NodeGetInfo(new NodeGetInfoRequest()).NodeId);
        Assert.Equal(NodeServiceCapability.Types.RPC.Types.Type.GetVolumeStats, Assert.Single(_client.NodeGetCapabilities(new NodeGetCapabilitiesRequest()).Capabilities).Rpc.Type);
        using GrpcChannel registration = SnapshotsClient.Connect(_node.CsiRegistration);
        PluginInfo info = new Registration.RegistrationClient(registration).GetInfo(new InfoRequest());
        Assert.Equal(("CSIPlugin", "csi.lazymount", _node.CsiSocket, "1.0.0"), (info.Type, info.Name, info.Endpoint, info.SupportedVersions.Single()));
        new Registration.RegistrationClient(registration).NotifyRegistrationStatus(new RegistrationStatus { PluginRegistered = true });
    }

    [Fact]
    public void TwoPods_ShareOneMount_AndTheLastTakesItAway()
    {
        string first = Target("a"), second = Target("b");
        Publish(first);
        Publish(first); // once more changes nothing
        Publish(second);
        Assert.Equal("top", File.ReadAllText($"{first}/data/top"));
        Assert.Single(Mounts("/images/"));
        Assert.NotEqual(0, Tool.Run("touch", $"{second}/x").ExitCode);
        NodeGetVolumeStatsResponse stats = _client.NodeGetVolumeStats(new NodeGetVolumeStatsRequest { VolumeId = "v", VolumePath = first });
        Assert.Equal([VolumeUsage.Types.Unit.Bytes, VolumeUsage.Types.Unit.Inodes], stats.Usage.Select(usage => usage.Unit));
        Assert.All(stats.Usage, usage => Assert.True(usage.Total > 0 && usage.Used > 0));
        Unpublish(first);
        Unpublish(first);
        Assert.False(Directory.Exists(first));
        Assert.Equal("top", File.ReadAllText($"{second}/data/top"));
        Unpublish(second);
        Assert.Empty(Mounts("/"));
        Code(StatusCode.NotFound, () => _client.NodeGetVolumeStats(new NodeGetVolumeStatsRequest { VolumeId = "v", VolumePath = first }));
    }

    [Fact]
    public void WhatIsWritten_IsThePodsOwn_AndEndsWithTheVolume()
    {
        string mine = Target("a"), others = Target("b");
        Publish(mine, ("writable", "true"));
        Publish(others, ("writable", "true"));
        File.WriteAllText($"{mine}/data/top", "changed");
        Assert.Equal("top", File.ReadAllText($"{others}/data/top"));
        Code(StatusCode.AlreadyExists, () => Publish(mine)); // with other attributes
        Unpublish(mine);
        Publish(mine, ("writable", "true"));
        Assert.Equal("top", File.ReadAllText($"{mine}/data/top"));
        Unpublish(mine);
        Unpublish(others);
        Assert.Empty(Directory.GetFileSystemEntries(_node.Root + "/volumes/changes"));
    }

    [Fact]
    public void TheService_MayBeKilled_AndVolumesGoOn()
    {
        string target = Target("a");
        Publish(target);
        _node.KillNode();
        Assert.Equal("top", File.ReadAllText($"{target}/data/top"));
        _node.StartNode();
        Publish(target);
        Assert.Equal("top", File.ReadAllText($"{target}/data/top"));
        // Of all processes of the mount: it is made again when the kubelet asks next.
        LazyMountCli.KillAllOf(Assert.Single(Mounts("/images/")));
        Publish(target);
        Assert.Equal("top", File.ReadAllText($"{target}/data/top"));
        // A record without a mount, as after a reboot.
        Tool.Run("umount", "-l", target).EnsureSuccess();
        Publish(target);
        Unpublish(target);
        Assert.Empty(Mounts("/"));
        Assert.Empty(Directory.GetFileSystemEntries(_node.Root + "/volumes/records"));
    }

    [Fact]
    public void ASecret_OpensAPrivateImage()
    {
        using var closed = new RegistryServer(requireLogin: true);
        string image = Skopeo.Push(NodeImage.Write(_node.NewDirectory("secret"), NodeImage.Base("secret")), closed, "secret:v1", $"{RegistryServer.User}:{RegistryServer.Password}");
        string target = Target("a");
        NodePublishVolumeRequest request = Request(target, ("image", image));
        Code(StatusCode.PermissionDenied, () => _client.NodePublishVolume(request));
        Assert.False(Directory.Exists(target));
        request.Secrets.Add(".dockerconfigjson", $$$"""{"auths":{"https://{{{closed.Host}}}/v1/":{"username":"{{{RegistryServer.User}}}","password":"{{{RegistryServer.Password}}}"} } }""");
        _client.NodePublishVolume(request);
        Assert.Equal("secret", File.ReadAllText($"{target}/name"));
        request.Secrets[".dockerconfigjson"] = "{";
        Code(StatusCode.InvalidArgument, () => _client.NodePublishVolume(request));
        Unpublish(target);
    }

    [Fact]
    public void BadVolumes_AreRefused_AndLeaveNothing()
    {
        string target = Target("a");
        Code(StatusCode.NotFound, () => _client.NodePublishVolume(Request(target, ("image", $"{_registry.Host}/nonesuch:v1"))));
        Code(StatusCode.InvalidArgument, () => _client.NodePublishVolume(Request(target, ("image", "oci:/etc:v1"))));
        Code(StatusCode.InvalidArgument, () => _client.NodePublishVolume(Request(target, ("image", _image), ("writable", "maybe"))));
        Code(StatusCode.InvalidArgument, () => _client.NodePublishVolume(Request("", ("image", _image))));
        Code(StatusCode.InvalidArgument, () => _client.NodePublishVolume(Request("relative", ("image", _image))));
        Code(StatusCode.InvalidArgument, () => _client.NodePublishVolume(Request("/etc", ("image", _image))));
        Code(StatusCode.InvalidArgument, () => _client.NodePublishVolume(Request($"{_node.KubeletDirectory}/../../etc", ("image", _image))));
        Code(StatusCode.InvalidArgument, () => _client.NodeUnpublishVolume(new NodeUnpublishVolumeRequest { VolumeId = "v", TargetPath = "/etc" }));
        NodePublishVolumeRequest block = Request(target, ("image", _image));
        block.VolumeCapability = new VolumeCapability { Block = new() };
        Code(StatusCode.InvalidArgument, () => _client.NodePublishVolume(block));
        NodePublishVolumeRequest nothing = Request(target, ("image", _image));
        nothing.VolumeCapability = null;
        Code(StatusCode.InvalidArgument, () => _client.NodePublishVolume(nothing));
        // The directory is somebody else's.
        string busy = Target("busy");
        Directory.CreateDirectory($"{busy}/something");
        Code(StatusCode.FailedPrecondition, () => Publish(busy));
        Assert.True(Directory.Exists($"{busy}/something"));
        Assert.False(Directory.Exists(target));
        Assert.Empty(Mounts("/"));
        Assert.Empty(Directory.GetFileSystemEntries(_node.Root + "/volumes/records"));
        Unpublish(Target("never published"));
    }

    private string Target(string pod) => $"{_node.KubeletDirectory}/pods/{pod}/volumes/kubernetes.io~csi/v/mount";

    private void Publish(string target, params (string, string)[] attributes) => _client.NodePublishVolume(Request(target, [("image", _image), .. attributes]));

    private void Unpublish(string target) => _client.NodeUnpublishVolume(new NodeUnpublishVolumeRequest { VolumeId = "v", TargetPath = target });

    private static NodePublishVolumeRequest Request(string target, params (string Key, string Value)[] attributes)
    {
        var request = new NodePublishVolumeRequest { VolumeId = "v", TargetPath = target, VolumeCapability = new VolumeCapability { Mount = new(), AccessMode = new() { Mode = 1 } } };
        foreach ((string key, string value) in attributes)
        {
            request.VolumeContext.Add(key, value);
        }
        return request;
    }

    private string[] Mounts(string part) => [.. File.ReadLines("/proc/self/mounts").Select(line => line.Split(' ')[1].Replace("\\040", " ", StringComparison.Ordinal))
        .Where(mount => mount.StartsWith(_node.Directory + "/", StringComparison.Ordinal) && mount.Contains(part, StringComparison.Ordinal))];

    private static void Code(StatusCode code, Action call) => Assert.Equal(code, Assert.Throws<RpcException>(call).StatusCode);
}
