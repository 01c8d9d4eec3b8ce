using System.Text.Json.Nodes;
using LazyMount.TestKit;
using LazyMount.Tests.Commands;
using Xunit;

namespace LazyMount.Tests.Published;

/// <summary>
/// Engines that do not know our indexes pull an image through the image index that names them: what they get is the image,
/// with the digest of its manifest unchanged.
/// </summary>
public sealed class BoundImageEngineTests(BoundImageInRegistry image) : IClassFixture<BoundImageInRegistry>
{
    private const string RootOnly = "the engine runs as root";

    [Theory]
    [InlineData("lazy")]
    [InlineData("soci")]
    public void Skopeo_CopiesTheImageOfOnePlatform(string tag)
    {
        using var directory = new TemporaryDirectory();
        foreach (string platform in (string[])["amd64", "arm64"])
        {
            Tool.Run("skopeo", "--override-arch", platform, "copy", "--quiet", "--src-tls-verify=false", $"docker://{image.Reference(tag)}", $"oci:{directory[platform]}:v1").EnsureSuccess();
            JsonNode index = JsonNode.Parse(File.ReadAllBytes(Path.Combine(directory[platform], "index.json")))!;
            Assert.Equal(image.Manifests[tag][platform], (string?)index["manifests"]![0]!["digest"]);
            Assert.Equal(3, Directory.GetFiles(Path.Combine(directory[platform], "blobs", "sha256")).Length); // manifest, config, layer
        }
    }

    [Theory]
    [InlineData("lazy")]
    [InlineData("soci")]
    public void Podman_PullsTheImageAndShowsItsFiles(string tag)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        using var podman = new Podman();
        foreach (string platform in (string[])["amd64", "arm64"])
        {
            podman.Run("pull", "--quiet", "--tls-verify=false", "--platform", $"linux/{platform}", $"docker://{image.Reference(tag)}").EnsureSuccess();
            string root = podman.Run("image", "mount", image.Reference(tag)).EnsureSuccess().Output.Trim();
            Assert.Equal(platform, File.ReadAllText(Path.Combine(root, "etc", "platform")));
            Assert.Equal(["etc"], Directory.GetFileSystemEntries(root).Select(Path.GetFileName));
            podman.Run("image", "umount", image.Reference(tag)).EnsureSuccess();
        }
    }

    [Theory]
    [InlineData("lazy")]
    [InlineData("soci")]
    public void Containerd_PullsTheImageOfOnePlatformAndMountsIt(string tag)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        using var containerd = new Containerd();
        using var directory = new TemporaryDirectory();
        containerd.Ctr("images", "pull", "--plain-http", "--platform", "linux/amd64", image.Reference(tag)).EnsureSuccess();
        string target = directory.CreateDirectory("mnt");
        containerd.Ctr("images", "mount", "--platform", "linux/amd64", image.Reference(tag), target).EnsureSuccess();
        try
        {
            Assert.Equal("amd64", File.ReadAllText(Path.Combine(target, "etc", "platform")));
        }
        finally
        {
            containerd.Ctr("images", "unmount", target).EnsureSuccess();
        }
    }
}

/// <summary>An image for two platforms in a registry, under a tag that binds it to its indexes.</summary>
public sealed class BoundImageInRegistry : IAsyncLifetime
{
    private readonly RegistryServer _registry = new();
    private readonly TemporaryDirectory _directory = new();

    /// <summary>The image with our indexes has the tag "lazy", with SOCI's "soci".</summary>
    public string Reference(string tag) => $"{_registry.Host}/engines/app:{tag}";

    /// <summary>The digest of each platform's manifest, by tag and architecture.</summary>
    public Dictionary<string, Dictionary<string, string>> Manifests { get; } = new() { ["v1"] = [], ["lazy"] = [], ["soci"] = [] };

    public async ValueTask InitializeAsync()
    {
        var layout = new OciLayoutBuilder(_directory.CreateDirectory("layout"));
        byte[] data = new byte[3 << 20];
        new Random(1).NextBytes(data);
        foreach (string platform in (string[])["amd64", "arm64"])
        {
            layout.AddLayer(new TarBytes().Directory("etc").File("etc/platform", platform).File("etc/data", data)).WriteImage(platform, platform);
            Skopeo.Push(layout.Reference(platform), _registry, $"engines/app:{platform}");
        }
        JsonNode roots = JsonNode.Parse(File.ReadAllBytes(Path.Combine(layout.Directory, "index.json")))!;
        var entries = new JsonArray();
        foreach (JsonNode? root in roots["manifests"]!.AsArray())
        {
            JsonNode entry = root!.DeepClone();
            string platform = (string)entry["annotations"]!["org.opencontainers.image.ref.name"]!;
            Manifests["v1"][platform] = (string)entry["digest"]!;
            entry.AsObject().Remove("annotations");
            entry["platform"] = new JsonObject { ["architecture"] = platform, ["os"] = "linux" };
            entries.Add(entry);
        }
        var index = new JsonObject { ["schemaVersion"] = 2, ["mediaType"] = "application/vnd.oci.image.index.v1+json", ["manifests"] = entries };
        using var client = new HttpClient();
        using var body = new StringContent(index.ToJsonString(), null, "application/vnd.oci.image.index.v1+json");
        body.Headers.ContentType!.CharSet = null;
        (await client.PutAsync(new Uri($"http://{_registry.Host}/v2/engines/app/manifests/v1"), body)).EnsureSuccessStatusCode();
        foreach ((string tag, string format) in (IEnumerable<(string, string)>)[("lazy", "lazymount"), ("soci", "soci2")])
        {
            CommandRun run = await CommandRun.RunAsync("index", "push", "--bind", tag, "--format", format, Reference("v1"), "--cache-dir", _directory["cache"]);
            Assert.Equal((0, ""), (run.ExitCode, run.Error));
            Assert.EndsWith($" is lazy and pinned; the tag {tag} names it\n", run.Output);
            foreach (JsonNode? entry in JsonNode.Parse(Tool.Run("skopeo", "inspect", "--raw", "--tls-verify=false", $"docker://{Reference(tag)}").EnsureSuccess().Output)!["manifests"]!.AsArray())
            {
                Manifests[tag].TryAdd((string)entry!["platform"]!["architecture"]!, (string)entry["digest"]!);
            }
        }
        Assert.Equal(Manifests["v1"]["amd64"], Manifests["lazy"]["amd64"]);
    }

    public ValueTask DisposeAsync()
    {
        _registry.Dispose();
        _directory.Dispose();
        return ValueTask.CompletedTask;
    }
}
