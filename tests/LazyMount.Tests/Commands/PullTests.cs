using System.Text.Json.Nodes;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Commands;

/// <summary>`pull` from a real registry, into the cache and into layouts that skopeo and umoci read.</summary>
public sealed class PullTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly RegistryServer _registry = new();
    private readonly string[] _layers;
    private readonly string _source, _image;

    public PullTests()
    {
        var layout = new OciLayoutBuilder(_directory["source"]);
        byte[] noise = new byte[3 << 20];
        new Random(1).NextBytes(noise);
        _layers = layout.AddLayer(new TarBytes().Directory("./").File("noise", noise)).AddLayer(new TarBytes().File("small", "x")).WriteImage("v1");
        _source = layout.Reference("v1");
        _image = Skopeo.Push(_source, _registry, "test/image:v1");
    }

    public void Dispose()
    {
        _registry.Dispose();
        _directory.Dispose();
    }

    [Fact]
    public async Task Layouts_AreWhatSkopeoAndUmociRead()
    {
        string layout = $"oci:{_directory["layout"]}";
        CommandRun run = await PullAsync(_image, layout + ":mine");
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        string manifest = Tool.Run("skopeo", "inspect", "--raw", layout + ":mine").EnsureSuccess().Output;
        Assert.Equal(Tool.Run("skopeo", "inspect", "--raw", _source).EnsureSuccess().Output, manifest);
        Assert.Equal(run.Output.Trim(), "sha256:" + Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(manifest))));
        Tool.Run("skopeo", "copy", layout + ":mine", $"oci:{_directory["copy"]}:v1").EnsureSuccess();
        string difference = TreeSnapshot.Take(Umoci.Unpack(_source, _directory["bundle1"])).Difference(TreeSnapshot.Take(Umoci.Unpack(layout + ":mine", _directory["bundle2"])));
        Assert.True(difference.Length == 0, difference);
    }

    [Fact]
    public async Task DockerManifests_BecomeOcis()
    {
        string image = $"{_registry.Host}/test/docker:v1", layout = $"oci:{_directory["layout"]}:v1";
        Tool.Run("skopeo", "copy", "--quiet", "--format", "v2s2", "--dest-tls-verify=false", _source, $"docker://{image}").EnsureSuccess();
        Assert.Contains("vnd.docker.distribution.manifest.v2", Tool.Run("skopeo", "inspect", "--raw", "--tls-verify=false", $"docker://{image}").Output);
        Assert.Equal(0, (await PullAsync(image, layout)).ExitCode);
        string manifest = Tool.Run("skopeo", "inspect", "--raw", layout).EnsureSuccess().Output;
        Assert.DoesNotContain("vnd.docker", manifest);
        Assert.Equal(_layers, JsonNode.Parse(manifest)!["layers"]!.AsArray().Select(layer => (string)layer!["digest"]!));
        Umoci.Unpack(layout, _directory["bundle"]);
    }

    [Fact]
    public async Task OtherTags_AreKept_AndOnesOwnIsReplaced()
    {
        var other = new OciLayoutBuilder(_directory["other"]);
        other.AddLayer(new TarBytes().File("other", "x")).WriteImage("v1");
        string layout = $"oci:{_directory["layout"]}";
        Tool.Run("skopeo", "copy", "--quiet", other.Reference("v1"), layout + ":theirs").EnsureSuccess();
        Assert.Equal(0, (await PullAsync(other.Reference("v1"), layout + ":ours")).ExitCode);
        Assert.Equal(0, (await PullAsync(_image, layout + ":ours")).ExitCode);
        Assert.Equal(0, (await PullAsync(_image, layout + ":ours")).ExitCode);
        JsonArray entries = JsonNode.Parse(File.ReadAllText(Path.Combine(_directory["layout"], "index.json")))!["manifests"]!.AsArray();
        Assert.Equal(["theirs", "ours"], entries.Select(entry => (string)entry!["annotations"]!["org.opencontainers.image.ref.name"]!));
        Assert.Equal("other\n", (await RunAsync("ls", layout + ":theirs")).Output);
        Assert.Equal("noise\nsmall\n", (await RunAsync("ls", layout + ":ours")).Output);
    }

    [Fact]
    public async Task WhatIsHere_IsNotFetchedAgain()
    {
        string layout = $"oci:{_directory["layout"]}";
        Assert.Equal(0, (await PullAsync(_image, layout + ":one")).ExitCode);
        Assert.Equal(0, (await PullAsync(_image)).ExitCode);
        foreach (string layer in _layers)
        {
            File.Delete(_registry.BlobFile(layer));
        }
        Assert.Equal(0, (await PullAsync(_image, layout + ":two")).ExitCode);
        Assert.Equal(0, (await PullAsync(_image)).ExitCode);
        Assert.Equal("x", (await RunAsync("cat", _image, "/small")).Output);
        // A blob of the layout that has gone bad is not taken for one that is here.
        string blob = Path.Combine(_directory["layout"], "blobs/sha256", _layers[0]["sha256:".Length..]);
        byte[] bytes = File.ReadAllBytes(blob);
        File.WriteAllBytes(blob, [.. bytes[..^1], (byte)~bytes[^1]]);
        Assert.Equal(0, (await PullAsync(_image, layout + ":three")).ExitCode);
        Assert.Equal(bytes, File.ReadAllBytes(blob));
    }

    [Fact]
    public async Task PullsIntoOneLayoutAtTheSameTime_AllEnterTheirTags()
    {
        var other = new OciLayoutBuilder(_directory["other"]);
        other.AddLayer(new TarBytes().File("other", "x")).WriteImage("v1");
        string[] tags = [.. Enumerable.Range(0, 8).Select(i => $"t{i}")];
        for (int round = 0; round < 20; round++)
        {
            string layout = _directory[$"shared{round}"];
            CommandRun[] runs = await Task.WhenAll(tags.Select(tag => Task.Run(() => PullAsync(other.Reference("v1"), $"oci:{layout}:{tag}"))));
            Assert.All(runs, run => Assert.Equal((0, ""), (run.ExitCode, run.Error)));
            Assert.Equal(tags, Tool.Run("umoci", "ls", "--layout", layout).EnsureSuccess().Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Order());
            Assert.Equal(["blobs", "index.json", "oci-layout"], Directory.EnumerateFileSystemEntries(layout).Select(Path.GetFileName).Order());
        }
    }

    [Fact]
    public async Task LayoutsThatCannotBeWritten_AreSaidAtOnce()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "mounting needs root");
        string layout = _directory["layout"];
        Assert.Equal(0, (await PullAsync(_image, $"oci:{layout}:v1")).ExitCode);
        Tool.Run("mount", "--bind", layout, layout).EnsureSuccess();
        try
        {
            Tool.Run("mount", "-o", "remount,bind,ro", layout).EnsureSuccess();
            CommandRun run = await PullAsync(_image, $"oci:{layout}:v2").WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);
            Assert.Equal((1, ""), (run.ExitCode, run.Output));
            Assert.Contains("in ", run.Error);
            Assert.Contains("Read-only file system", run.Error);
        }
        finally
        {
            Tool.Run("umount", layout).EnsureSuccess();
        }
    }

    [Fact]
    public async Task WhatTheCacheCannotHold_IsNoPull()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "mounting needs root");
        string cache = _directory.CreateDirectory("small");
        Tool.Run("mount", "-t", "tmpfs", "-o", "size=1m", "none", cache).EnsureSuccess();
        try
        {
            CommandRun run = await CommandRun.RunAsync("pull", _image, "--cache-dir", cache);
            Assert.Equal((1, ""), (run.ExitCode, run.Output));
            Assert.StartsWith($"lazymount: all of {_image} was fetched, but the cache {cache} could not keep it: {_layers[0]} is not there as a whole; ", run.Error);
        }
        finally
        {
            Tool.Run("umount", cache).EnsureSuccess();
        }
    }

    [Fact]
    public async Task WrongBytes_AreNotKept()
    {
        byte[] bytes = File.ReadAllBytes(_registry.BlobFile(_layers[0]));
        bytes[1 << 20] ^= 1;
        File.WriteAllBytes(_registry.BlobFile(_layers[0]), bytes);
        foreach (string[] target in new string[][] { [], [$"oci:{_directory["layout"]}:v1"] })
        {
            CommandRun run = await PullAsync([_image, .. target]);
            Assert.Equal(1, run.ExitCode);
            Assert.Contains($"The layer {_layers[0]} of {_image} does not match its digest", run.Error);
        }
        Assert.DoesNotContain(Directory.EnumerateFiles(_directory["layout"], "*", SearchOption.AllDirectories), file => file.Contains(_layers[0]["sha256:".Length..], StringComparison.Ordinal) || file.EndsWith("index.json", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(2, "cannot pull to 'debian:12': name an OCI image layout as oci:DIR or oci:DIR:TAG", "debian", "debian:12")]
    [InlineData(2, "is on this machine already", "SOURCE")]
    [InlineData(1, "is neither empty nor an OCI layout: it has no file oci-layout; name another directory.", "SOURCE", "oci:/etc:v1")]
    public async Task TargetsThatCannotBe_AreSaid(int exitCode, string sentence, params string[] arguments)
    {
        CommandRun run = await PullAsync([.. arguments.Select(argument => argument == "SOURCE" ? _source : argument)]);
        Assert.Equal((exitCode, ""), (run.ExitCode, run.Output));
        Assert.Contains(sentence, run.Error);
    }

    private Task<CommandRun> PullAsync(params string[] arguments) => RunAsync(["pull", .. arguments]);

    private Task<CommandRun> RunAsync(params string[] arguments) => CommandRun.RunAsync([.. arguments, "--cache-dir", _directory["cache"]]);
}
