using Grpc.Core;
using Grpc.Net.Client;
using LazyMount.MountTests.Node.Protos;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Node;

/// <summary>What a kubelet says to containerd's CRI service, and to lazymount-node in front of it.</summary>
public sealed class KubeletTests : IDisposable
{
    private const int Host = 2;

    private readonly RegistryServer _registry = new();
    private readonly RegistryServer _private = new(requireLogin: true);
    private readonly NodeMachine _node;
    private readonly GrpcChannel _direct;
    private readonly GrpcChannel _proxied;

    public KubeletTests()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "containerd needs root");
        using var directory = new TemporaryDirectory();
        string pause = Skopeo.Push(NodeImage.Write(directory["pause"], NodeImage.Base("pause")), _registry, "pause:v1");
        _node = new NodeMachine(new NodeSettings { PauseImage = pause, PassesImageService = true });
        (_direct, _proxied) = (SnapshotsClient.Connect(_node.ContainerdSocket), SnapshotsClient.Connect(_node.Socket));
    }

    public void Dispose()
    {
        _direct.Dispose();
        _proxied.Dispose();
        _node.Dispose();
        _private.Dispose();
        _registry.Dispose();
    }

    [Fact]
    public void APod_RunsFromPullToStats()
    {
        string image = Skopeo.Push(NodeImage.Write(_node.NewDirectory("app"), NodeImage.Layers), _registry, "app:v1");
        var images = new ImageService.ImageServiceClient(_proxied);
        Assert.StartsWith("sha256:", images.PullImage(new PullImageRequest { Image = new ImageSpec { Image = image } }).ImageRef, StringComparison.Ordinal);
        Assert.NotNull(images.ImageStatus(new ImageStatusRequest { Image = new ImageSpec { Image = image } }).Image);
        Assert.Contains($"of {image}", _node.Log, StringComparison.Ordinal);
        Assert.NotEmpty(images.ImageFsInfo(new Nothing()).ImageFilesystems);

        var runtime = new RuntimeService.RuntimeServiceClient(_direct);
        var pod = new PodSandboxConfig
        {
            Metadata = new PodSandboxMetadata { Name = "pod", Uid = "1", Namespace = "default" },
            LogDirectory = _node.NewDirectory("logs"),
            Linux = new LinuxPodSandboxConfig { SecurityContext = new LinuxSandboxSecurityContext { NamespaceOptions = new NamespaceOption { Network = Host } } },
        };
        string sandbox = runtime.RunPodSandbox(new RunPodSandboxRequest { Config = pod }).PodSandboxId;
        var container = new ContainerConfig { Metadata = new ContainerMetadata { Name = "c" }, Image = new ImageSpec { Image = image }, Linux = new LinuxContainerConfig { SecurityContext = new LinuxContainerSecurityContext { NamespaceOptions = new NamespaceOption { Network = Host } } } };
        container.Command.AddRange(["/bin/sleep", "1000"]);
        string id = runtime.CreateContainer(new CreateContainerRequest { PodSandboxId = sandbox, Config = container, SandboxConfig = pod }).ContainerId;
        runtime.StartContainer(new ContainerRequest { ContainerId = id });
        var exec = new ExecSyncRequest { ContainerId = id, Timeout = 20 };
        exec.Cmd.AddRange(["/bin/sh", "-c", "cat /data/top; dd if=/dev/zero of=/tmp/x bs=65536 count=4 2>/dev/null"]);
        Assert.Equal("top", runtime.ExecSync(exec).Stdout.ToStringUtf8());
        NodeMachine.WaitFor(() => runtime.ContainerStats(new ContainerRequest { ContainerId = id }).Stats.WritableLayer is { UsedBytes.Value: > 200_000 }, "the usage of the container is told");
        runtime.StopPodSandbox(new PodSandboxRequest { PodSandboxId = sandbox });
        runtime.RemovePodSandbox(new PodSandboxRequest { PodSandboxId = sandbox });
        NodeMachine.WaitFor(() => _node.ImageMounts.Count == 0, "the images are unmounted");
    }

    [Fact]
    public void APrivateImage_IsServedLazily_WithTheCredentialsOfItsPull_AndPulledAsUsualWithout()
    {
        string login = $"{RegistryServer.User}:{RegistryServer.Password}";
        string image = Skopeo.Push(NodeImage.Write(_node.NewDirectory("app"), NodeImage.Layers), _private, "secret:v1", login);
        string other = Skopeo.Push(NodeImage.Write(_node.NewDirectory("other"), NodeImage.Base("other")), _private, "other:v1", login);
        var given = new AuthConfig { Username = RegistryServer.User, Password = RegistryServer.Password };

        // Past the proxy nobody tells us the password: the pull goes on without us.
        new ImageService.ImageServiceClient(_direct).PullImage(new PullImageRequest { Image = new ImageSpec { Image = other }, Auth = given });
        Assert.Contains($"falling back to the ordinary pull of {other}", _node.Log, StringComparison.Ordinal);
        Assert.Equal("other", _node.RunIn("k8s.io", other, "two", "/bin/cat", "/name").EnsureSuccess().Output);

        var images = new ImageService.ImageServiceClient(_proxied);
        Assert.NotEqual(StatusCode.OK, Assert.Throws<RpcException>(() => images.PullImage(new PullImageRequest { Image = new ImageSpec { Image = image }, Auth = new AuthConfig { Username = "mallory", Password = "x" } })).StatusCode);
        images.PullImage(new PullImageRequest { Image = new ImageSpec { Image = image }, Auth = new AuthConfig { Auth = Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes(login)) } });
        Assert.DoesNotContain($"falling back to the ordinary pull of {image}", _node.Log, StringComparison.Ordinal);
        Assert.Equal("top", _node.RunIn("k8s.io", image, "one", "/bin/cat", "/data/top").EnsureSuccess().Output);
        Assert.DoesNotContain(RegistryServer.Password, _node.Log, StringComparison.Ordinal);
        Assert.DoesNotContain(RegistryServer.Password, Tool.Shell("cat $(find \"$1\" -type f -not -path '*/layout/*')", _node.Root + "/records").Output, StringComparison.Ordinal);
    }

    [Fact]
    public void ARuntimeThatIsAway_IsSaid()
    {
        _node.KillContainerd();
        RpcException error = Assert.Throws<RpcException>(() => new ImageService.ImageServiceClient(_proxied).ImageFsInfo(new Nothing()));
        Assert.Equal(StatusCode.Unavailable, error.StatusCode);
        Assert.StartsWith("cannot reach the container runtime", error.Status.Detail, StringComparison.Ordinal);
        _node.StartContainerd();
    }
}
