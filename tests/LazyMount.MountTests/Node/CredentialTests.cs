using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Node;

/// <summary>Where lazymount-node has credentials from, besides the kubelet: the node's files, and providers.</summary>
public sealed class CredentialTests : IDisposable
{
    private const string Login = $"{RegistryServer.User}:{RegistryServer.Password}";

    private readonly RegistryServer _registry = new(requireLogin: true);
    private readonly TemporaryDirectory _directory = new();
    private NodeMachine? _node;

    public void Dispose()
    {
        _node?.Dispose();
        _registry.Dispose();
        _directory.Dispose();
    }

    [Fact]
    public void FilesOfTheNode_OpenPrivateImages()
    {
        NodeMachine node = Start("");
        string image = Push();
        node.PullLazily(image, user: Login).EnsureSuccess();
        Assert.Contains($"falling back to the ordinary pull of {image}", node.Log, StringComparison.Ordinal);
        Assert.Equal("app", node.Run(image, "one", "/bin/cat", "/name").EnsureSuccess().Output);

        File.WriteAllText(node.DockerConfigDirectory + "/config.json", $$$"""{"auths":{"{{{_registry.Host}}}":{"auth":"{{{Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes(Login))}}}"} } }""");
        string other = Push("other");
        node.PullLazily(other, user: Login).EnsureSuccess();
        Assert.DoesNotContain($"falling back to the ordinary pull of {other}", node.Log, StringComparison.Ordinal);
        Assert.Equal("other", node.Run(other, "two", "/bin/cat", "/name").EnsureSuccess().Output);
    }

    [Theory]
    [InlineData("127.0.0.*", true)]
    [InlineData("other.example", false)]
    public void AProvider_IsAskedForTheImagesThatItKnows(string pattern, bool isAsked)
    {
        string program = _directory["provider"];
        File.WriteAllText(program, $$$"""
            #!/bin/sh
            cat >"{{{_directory["question"]}}}"
            echo '{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Registry","cacheDuration":"1h30m","auth":{"{{{_registry.Host}}}":{"username":"{{{RegistryServer.User}}}","password":"{{{RegistryServer.Password}}}"} } }'
            """);
        Tool.Run("chmod", "+x", program).EnsureSuccess();
        NodeMachine node = Start($"""
            [[credential_provider]]
            command = "{program}"
            match_images = ["{pattern}:{_registry.Port}/app"]
            """);
        string image = Push();
        node.PullLazily(image, user: Login).EnsureSuccess();
        Assert.Equal(!isAsked, node.Log.Contains($"falling back to the ordinary pull of {image}", StringComparison.Ordinal));
        Assert.Equal("app", node.Run(image, "one", "/bin/cat", "/name").EnsureSuccess().Output);
        Assert.Equal(isAsked, File.Exists(_directory["question"]));
        if (isAsked)
        {
            Assert.Equal($$"""{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderRequest","image":"{{_registry.Host}}/app"}""", File.ReadAllText(_directory["question"]));
        }
    }

    [Theory]
    [InlineData("exit 3", "it ended with 3")]
    [InlineData("echo '{'", "its answer is no CredentialProviderResponse")]
    public void AProviderThatFails_IsLogged_AndTheImageIsPulledAsUsual(string does, string reason)
    {
        string program = _directory["provider"];
        File.WriteAllText(program, $"#!/bin/sh\n{does}\n");
        Tool.Run("chmod", "+x", program).EnsureSuccess();
        NodeMachine node = Start($"[[credential_provider]]\ncommand = \"{program}\"\nmatch_images = [\"*.*.*.*:{_registry.Port}\"]");
        string image = Push();
        node.PullLazily(image, user: Login).EnsureSuccess();
        Assert.Contains($"the credential provider '{program}' gives nothing for {_registry.Host}/app: {reason}", node.Log, StringComparison.Ordinal);
        Assert.Contains($"falling back to the ordinary pull of {image}", node.Log, StringComparison.Ordinal);
    }

    private NodeMachine Start(string configuration)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "containerd needs root");
        return _node = new NodeMachine(new NodeSettings { Configuration = configuration });
    }

    private string Push(string name = "app") => Skopeo.Push(NodeImage.Write(_directory.CreateDirectory(name), NodeImage.Base(name)), _registry, $"{name}:v1", Login);
}
