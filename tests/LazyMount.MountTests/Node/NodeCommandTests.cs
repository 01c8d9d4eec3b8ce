using System.Net;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Node;

/// <summary>The command line of lazymount-node, its configuration and its counters.</summary>
public sealed class NodeCommandTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void ThePrintedConfiguration_IsTheDocumentedOne_AndAllItsKeysAreKnown()
    {
        string text = Tool.Run(NodeMachine.Binary, "config").EnsureSuccess().Output;
        Assert.Equal(File.ReadAllText(Path.Combine(RepositoryRoot.Path, "docs", "node.toml")), text);
        // Every key with its example.
        string[] lines = [.. text.Split('\n').Select(line => System.Text.RegularExpressions.Regex.IsMatch(line, @"^#(\[\[|[a-z_]+ = )") ? line[1..] : line)];
        File.WriteAllLines(_directory["node.toml"], lines);
        ToolResult doctor = Tool.Run(NodeMachine.Binary, "doctor", "--config", _directory["node.toml"]);
        Assert.Equal("", doctor.Error);
        Assert.Contains("the socket '/run/lazymount/node.sock'", doctor.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("sockett = \"/x\"", "sockett is not a known key")]
    [InlineData("socket = \"x\"", "socket is not an absolute path of at most 107 bytes")]
    [InlineData("root = \"/a:b\"", "root is not a path without commas, colons, spaces and backslashes")]
    [InlineData("metrics = \"0.0.0.0:80\"", "metrics is not an address of this machine with a port")]
    [InlineData("prepare_stall = \"soon\"", "prepare_stall is not a time up to a day")]
    [InlineData("[cache]\nlimit = \"x\"", "cache.limit is not a size, such as 500M or 20G")]
    [InlineData("[registries]\nindex_trust = \"all\"", "registries.index_trust is not auto, bound, registry or none")]
    [InlineData("[registries]\nmirrors = [\"x\"]", "registries.mirrors is not an array of HOST=URL")]
    [InlineData("[[credential_provider]]\ncommand = \"/bin/true\"", "credential_provider[0].match_images is not there: a provider needs images")]
    [InlineData("[cri", "line 1")]
    public void WrongConfigurations_GetOneSentence(string text, string sentence)
    {
        File.WriteAllText(_directory["node.toml"], text);
        ToolResult result = Tool.Run(NodeMachine.Binary, "serve", "--config", _directory["node.toml"]);
        Assert.Equal(1, result.ExitCode);
        Assert.StartsWith($"lazymount-node: cannot use the configuration file '{_directory["node.toml"]}': ", result.Error, StringComparison.Ordinal);
        Assert.Contains(sentence, result.Error, StringComparison.Ordinal);
        Assert.Single(result.Error.TrimEnd('\n').Split('\n'));
    }

    [Theory]
    [InlineData("serve", "--config")]
    [InlineData("serv")]
    [InlineData()]
    public void WrongWords_AreUsageErrors(params string[] words)
    {
        ToolResult result = Tool.Run(NodeMachine.Binary, words);
        Assert.Equal(2, result.ExitCode);
        Assert.StartsWith("lazymount-node: cannot understand '", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Counters_AreServedOnTheirPort_AndNothingElseIs()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "containerd needs root");
        using var registry = new RegistryServer();
        int port;
        using (var listener = new System.Net.Sockets.TcpListener(IPAddress.Loopback, 0))
        {
            listener.Start();
            port = ((IPEndPoint)listener.LocalEndpoint).Port;
        }
        using var node = new NodeMachine(new NodeSettings { Configuration = $"metrics = \"127.0.0.1:{port}\"\nlog_format = \"json\"" });
        string image = Skopeo.Push(NodeImage.Write(_directory.CreateDirectory("app"), NodeImage.Layers), registry, "app:v1");
        node.PullLazily(image).EnsureSuccess();
        using (var client = new SnapshotsClient(node.Socket))
        {
            client.Prepare("extract-1", "", (SnapshotsClient.Target, "sha256:" + new string('0', 64)), ("containerd.io/snapshot/cri.image-ref", image), ("containerd.io/snapshot/cri.layer-digest", "sha256:" + new string('1', 64)));
            client.Remove("extract-1");
        }
        node.Run(image, "one", "/bin/true").EnsureSuccess();

        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}") };
        string text = await http.GetStringAsync("/metrics", TestContext.Current.CancellationToken);
        Assert.Contains("\nlazymount_node_layers_served_total 3\n", text, StringComparison.Ordinal);
        Assert.Contains("\nlazymount_node_fallbacks_total{reason=\"invalid\"} 1\n", text, StringComparison.Ordinal);
        Assert.Contains("\nlazymount_node_mount_seconds_count 1\n", text, StringComparison.Ordinal);
        Assert.Contains("\nlazymount_node_snapshots{kind=\"lazy\"} 3\n", text, StringComparison.Ordinal);
        File.WriteAllText(_directory["metrics"], text);
        Tool.Shell("/usr/bin/python3 -c 'import sys; from prometheus_client.parser import text_string_to_metric_families as parse; sys.exit(0 if len(list(parse(sys.stdin.read()))) > 5 else 1)' <\"$1\"", _directory["metrics"]).EnsureSuccess();
        Assert.Equal(HttpStatusCode.NotFound, (await http.GetAsync("/containerd.services.snapshots.v1.Snapshots/List", TestContext.Current.CancellationToken)).StatusCode);
        using var foreign = new HttpRequestMessage(HttpMethod.Get, "/metrics") { Headers = { Host = "evil.example" } };
        Assert.Equal(HttpStatusCode.Forbidden, (await http.SendAsync(foreign, TestContext.Current.CancellationToken)).StatusCode);
        Assert.Equal(text.Split('\n')[0], Tool.Run("curl", "-s", "--http2-prior-knowledge", "--unix-socket", node.Socket, "http://localhost/metrics").EnsureSuccess().Output.Split('\n')[0]);
        Assert.All(node.Log.TrimEnd('\n').Split('\n'), line => System.Text.Json.JsonDocument.Parse(line).Dispose());
    }
}
