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

    [Fact]
    public void Skopeo_CopiesTheImageOfOnePlatform()
    {
        using var directory = new TemporaryDirectory();
        foreach (string platform in (string[])["amd64", "arm64"])
        {
            Tool.Run("skopeo", "--override-arch", platform, "copy", "--quiet", "--src-tls-verify=false", $"docker://{image.Reference}", $"oci:{directory[platform]}:v1").EnsureSuccess();
            JsonNode index = JsonNode.Parse(File.ReadAllBytes(Path.Combine(directory[platform], "index.json")))!;
            Assert.Equal(image.Manifests[platform], (string?)index["manifests"]![0]!["digest"]);
            Assert.Equal(3, Directory.GetFiles(Path.Combine(directory[platform], "blobs", "sha256")).Length); // manifest, config, layer
        }
    }

    [Fact]
    public void Podman_PullsTheImageAndShowsItsFiles()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        using var podman = new Podman();
        foreach (string platform in (string[])["amd64", "arm64"])
        {
            podman.Run("pull", "--quiet", "--tls-verify=false", "--platform", $"linux/{platform}", $"docker://{image.Reference}").EnsureSuccess();
            string root = podman.Run("image", "mount", image.Reference).EnsureSuccess().Output.Trim();
            Assert.Equal(platform, File.ReadAllText(Path.Combine(root, "etc", "platform")));
            Assert.Equal(["etc"], Directory.GetFileSystemEntries(root).Select(Path.GetFileName));
            podman.Run("image", "umount", image.Reference).EnsureSuccess();
        }
    }

    [Fact]
    public void Containerd_PullsTheImageOfOnePlatformAndMountsIt()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        using var containerd = new Containerd();
        using var directory = new TemporaryDirectory();
        containerd.Ctr("images", "pull", "--plain-http", "--platform", "linux/amd64", image.Reference).EnsureSuccess();
        string target = directory.CreateDirectory("mnt");
        containerd.Ctr("images", "mount", "--platform", "linux/amd64", image.Reference, target).EnsureSuccess();
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

    public string Reference => $"{_registry.Host}/engines/app:lazy";

    /// <summary>The digest of each platform's manifest, by architecture.</summary>
    public Dictionary<string, string> Manifests { get; } = [];

    public async ValueTask InitializeAsync()
    {
        var layout = new OciLayoutBuilder(_directory.CreateDirectory("layout"));
        foreach (string platform in (string[])["amd64", "arm64"])
        {
            layout.AddLayer(new TarBytes().Directory("etc").File("etc/platform", platform)).WriteImage(platform, platform);
            Skopeo.Push(layout.Reference(platform), _registry, $"engines/app:{platform}");
        }
        JsonNode roots = JsonNode.Parse(File.ReadAllBytes(Path.Combine(layout.Directory, "index.json")))!;
        var entries = new JsonArray();
        foreach (JsonNode? root in roots["manifests"]!.AsArray())
        {
            JsonNode entry = root!.DeepClone();
            string platform = (string)entry["annotations"]!["org.opencontainers.image.ref.name"]!;
            Manifests[platform] = (string)entry["digest"]!;
            entry.AsObject().Remove("annotations");
            entry["platform"] = new JsonObject { ["architecture"] = platform, ["os"] = "linux" };
            entries.Add(entry);
        }
        var index = new JsonObject { ["schemaVersion"] = 2, ["mediaType"] = "application/vnd.oci.image.index.v1+json", ["manifests"] = entries };
        using var client = new HttpClient();
        using var body = new StringContent(index.ToJsonString(), null, "application/vnd.oci.image.index.v1+json");
        body.Headers.ContentType!.CharSet = null;
        (await client.PutAsync(new Uri($"http://{_registry.Host}/v2/engines/app/manifests/v1"), body)).EnsureSuccessStatusCode();
        CommandRun run = await CommandRun.RunAsync("index", "push", "--bind", "lazy", $"{_registry.Host}/engines/app:v1", "--cache-dir", _directory["cache"]);
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        Assert.EndsWith($" is lazy and pinned; the tag lazy names it\n", run.Output);
    }

    public ValueTask DisposeAsync()
    {
        _registry.Dispose();
        _directory.Dispose();
        return ValueTask.CompletedTask;
    }
}
