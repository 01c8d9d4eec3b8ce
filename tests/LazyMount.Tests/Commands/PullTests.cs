using System.Text.Json.Nodes;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Layout;
using LazyMount.Blobs.Sources;
using LazyMount.TestKit;
using LazyMount.Tests.Blobs;
using Microsoft.Extensions.Logging.Abstractions;
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
    public async Task ImageIsNamedByItsOwnTag_WhereNoneIsGiven()
    {
        string layout = $"oci:{_directory["layout"]}";
        CommandRun run = await PullAsync(_image, layout);
        Assert.Equal((0, $"lazymount: note: the image is named v1 in the layout, as in {_image}: read it as {layout}:v1\n"), (run.ExitCode, run.Error));
        Assert.Equal((0, ""), ExitOf(await PullAsync(_source, layout + ":mine")));
        Assert.Equal(["mine", "v1"], Tool.Run("umoci", "ls", "--layout", _directory["layout"]).EnsureSuccess().Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Order());
        Assert.Equal("noise\nsmall\n", (await RunAsync("ls", layout + ":v1")).Output);

        // The same again loses nothing; another image of that tag takes the name, and that is said.
        Assert.DoesNotContain("lost", (await PullAsync(_image, layout)).Error, StringComparison.Ordinal);
        var another = new OciLayoutBuilder(_directory["another"]);
        another.AddLayer(new TarBytes().File("another", "x")).WriteImage("v1");
        Assert.EndsWith("; another image had that name there and has lost it\n", (await PullAsync(another.Reference("v1"), layout)).Error, StringComparison.Ordinal);
        Assert.Equal("another\n", (await RunAsync("ls", layout + ":v1")).Output);

        // A digest is no name.
        string digest = run.Output.Trim(), repository = _image[..^":v1".Length], other = $"oci:{_directory["other"]}";
        Assert.Equal((0, ""), ExitOf(await PullAsync($"{repository}@{digest}", other)));
        Assert.Equal("", Tool.Run("umoci", "ls", "--layout", _directory["other"]).EnsureSuccess().Output);
        Assert.Equal("noise\nsmall\n", (await RunAsync("ls", other)).Output);

        static (int, string) ExitOf(CommandRun run) => (run.ExitCode, run.Error);
    }

    // What others write into an index.json, and what readers of layouts in Go take.
    [Theory]
    [InlineData("""{"schemaVersion":2,"manifests":null}""", """{"schemaVersion":2,"manifests":[NEW]}""")] // umoci init
    [InlineData("""{"manifests":[]}""", """{"manifests":[NEW]}""")]
    [InlineData(" null ", """{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[NEW]}""")]
    [InlineData(""" { "x":1, "x":{"a":1,"a":2,"A":3}, "X":"\ud800", "Manifests" : [ {"digest":"md5:1","x":1,"x":2} ] } """, """ { "x":1, "x":{"a":1,"a":2,"A":3}, "X":"\ud800", "Manifests" : [{"digest":"md5:1","x":1,"x":2},NEW] } """)]
    [InlineData("""{"manifests":[null],"annotations":{"a":"1","A":"2","a":"3"}}""", """{"manifests":[null,NEW],"annotations":{"a":"1","A":"2","a":"3"}}""")]
    [InlineData("""{"manifests":[{"annotations":{"A":"1","a":"2","org.opencontainers.image.ref.name":"v1"}},{"annotations":{"org.opencontainers.image.ref.name":"\u0076\u0031"}},{"annotations":{"Org.Opencontainers.Image.Ref.Name":"v1"}}]}""", """{"manifests":[{"annotations":{"Org.Opencontainers.Image.Ref.Name":"v1"}},NEW]}""")]
    public async Task IndexesThatOthersWrote_KeepTheirBytes(string index, string expected)
    {
        string file = Path.Combine(_directory.CreateDirectory("layout"), "index.json"), layout = $"oci:{_directory["layout"]}:v1";
        File.WriteAllText(file, index);
        CommandRun run = await PullAsync(_image, layout);
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        string changed = File.ReadAllText(file);
        string[] around = expected.Split("NEW");
        Assert.StartsWith(around[0], changed, StringComparison.Ordinal);
        Assert.EndsWith(around[1], changed, StringComparison.Ordinal);
        string added = changed[around[0].Length..^around[1].Length];
        Assert.Equal((run.Output.Trim(), "v1"), ((string)JsonNode.Parse(added)!["digest"]!, (string)JsonNode.Parse(added)!["annotations"]!["org.opencontainers.image.ref.name"]!));
        Assert.True(File.Exists(Path.Combine(_directory["layout"], "oci-layout")));
        Assert.Equal("noise\nsmall\n", (await RunAsync("ls", layout)).Output);
        Assert.Equal((0, ""), ((run = await RunAsync("index", "push", layout)).ExitCode, run.Error));
        Assert.StartsWith(around[0] + added + ",", File.ReadAllText(file), StringComparison.Ordinal);
    }

    [Fact]
    public async Task EntriesOfOthers_KeepBytesThatAreNotUtf8()
    {
        string file = Path.Combine(_directory.CreateDirectory("layout"), "index.json");
        byte[] entry = [.. "{\"annotations\":{\"a\":\"caf"u8, 0xE9, .. "\"}}"u8];
        File.WriteAllBytes(file, [.. "{\"manifests\":["u8, .. entry, .. "]}"u8]);
        Assert.Equal(0, (await PullAsync(_image, $"oci:{_directory["layout"]}:v1")).ExitCode);
        Assert.True(File.ReadAllBytes(file).AsSpan().IndexOf(entry) >= 0);
    }

    [Theory]
    [InlineData("garbage", "malformed")]
    [InlineData("{\"imageLayoutVersion\":\"2.0.0\"}", "only version 1")]
    public async Task LayoutThatNobodyCouldRead_IsNotWrittenTo(string marker, string says)
    {
        string layout = _directory.CreateDirectory("layout");
        File.WriteAllText(Path.Combine(layout, "oci-layout"), marker);
        CommandRun run = await PullAsync(_image, $"oci:{layout}:v1");
        Assert.Equal(1, run.ExitCode);
        Assert.Contains(says, run.Error, StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(layout, "index.json")));
    }

    [Fact]
    public async Task DockerManifestWithUnknownKeysTwice_ChangesItsMediaTypesOnly()
    {
        var other = new OciLayoutBuilder(_directory["other"]);
        other.AddLayer(new TarBytes().File("other", "x")).WriteImage("v1");
        string manifest = Tool.Run("skopeo", "inspect", "--raw", other.Reference("v1")).EnsureSuccess().Output
            .Replace("vnd.oci.image.manifest.v1", "vnd.docker.distribution.manifest.v2", StringComparison.Ordinal)
            .Replace("vnd.oci.image.config.v1", "vnd.docker.container.image.v1", StringComparison.Ordinal)
            .Replace("vnd.oci.image.layer.v1.tar\\u002Bgzip", "vnd.docker.image.rootfs.diff.tar.gzip", StringComparison.Ordinal);
        manifest = manifest[..^1] + ",\"x\":1,\"x\":{\"mediaType\":1},\"X\" : 2}";
        byte[] bytes = System.Text.Encoding.UTF8.GetBytes(manifest);
        File.WriteAllBytes(other.BlobFile(OciLayoutBuilder.DigestOf(bytes)), bytes);
        File.WriteAllText(Path.Combine(_directory["other"], "index.json"), $$"""{"manifests":[{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","digest":"{{OciLayoutBuilder.DigestOf(bytes)}}","size":{{bytes.Length}}}]}""");
        string layout = $"oci:{_directory["layout"]}:v1";
        CommandRun run = await PullAsync($"oci:{_directory["other"]}", layout);
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        string written = (await RunAsync("manifest", layout)).Output;
        Assert.EndsWith(",\"x\":1,\"x\":{\"mediaType\":1},\"X\" : 2}", written, StringComparison.Ordinal);
        Assert.DoesNotContain("vnd.docker", written, StringComparison.Ordinal);
        Assert.Equal("other\n", (await RunAsync("ls", layout)).Output);
    }

    [Fact]
    public async Task HolderOfALayoutThatIsStopped_IsNamed_AndReadersDoNotWait()
    {
        string layout = $"oci:{_directory["layout"]}:v1";
        Assert.Equal(0, (await PullAsync(_image, layout)).ExitCode);
        using Tool holder = Tool.Start("flock", ["-o", _directory["layout"], "sleep", "1000"]);
        while (CrossProcessLock.FindHolder(_directory["layout"]) != holder.ProcessId)
            await Task.Delay(10, TestContext.Current.CancellationToken);
        holder.Signal(19); // SIGSTOP
        Assert.Equal("noise\nsmall\n", (await RunAsync("ls", layout)).Output);

        ImageReference reference = ImageReference.Parse(layout);
        await using IImageSource source = ImageSource.Open(reference, TestRegistries.Options, NullLoggerFactory.Instance);
        Image image = await Image.ResolveAsync(reference, source, null, new BlobCache(_directory["cache"]), TestContext.Current.CancellationToken);
        var writer = new LayoutWriter(reference.WithTag("v2")) { Patience = TimeSpan.FromSeconds(0.1) };
        var e = await Assert.ThrowsAsync<ImageException>(() => writer.AddAsync(image, _ => null, TestContext.Current.CancellationToken));
        Assert.StartsWith($"cannot write 'index.json' in the layout '{_directory["layout"]}': process {holder.ProcessId} has been changing the layout for 0 s; ", e.Message, StringComparison.Ordinal);

        holder.Signal(9);
        Assert.Equal(0, (await PullAsync(_image, $"oci:{_directory["layout"]}:v2")).ExitCode);
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
            Assert.StartsWith($"lazymount: cannot keep '{_image}' in the cache '{cache}': layer {_layers[0]} is not complete there after it was fetched; ", run.Error);
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
            Assert.Contains($"cannot use layer {_layers[0]} of '{_image}': it does not match its digest; push or copy the image again", run.Error);
        }
        Assert.DoesNotContain(Directory.EnumerateFiles(_directory["layout"], "*", SearchOption.AllDirectories), file => file.Contains(_layers[0]["sha256:".Length..], StringComparison.Ordinal) || file.EndsWith("index.json", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(2, "cannot pull to 'debian:12': name an OCI image layout as oci:DIR or oci:DIR:TAG", "debian", "debian:12")]
    [InlineData(2, "is on this machine already", "SOURCE")]
    [InlineData(1, "cannot use '/etc' as an OCI layout: it is not empty, and has no file oci-layout; name another directory", "SOURCE", "oci:/etc:v1")]
    public async Task TargetsThatCannotBe_AreSaid(int exitCode, string sentence, params string[] arguments)
    {
        CommandRun run = await PullAsync([.. arguments.Select(argument => argument == "SOURCE" ? _source : argument)]);
        Assert.Equal((exitCode, ""), (run.ExitCode, run.Output));
        Assert.Contains(sentence, run.Error);
    }

    [Fact]
    public async Task Layout_IsMade_AndWithoutItsParentRefused()
    {
        string parent = _directory["no/such"], layout = $"oci:{parent}/layout";
        CommandRun refused = await PullAsync(_image, layout);
        Assert.Equal((1, $"lazymount: cannot make the layout '{parent}/layout': there is no directory '{parent}'; make it first with mkdir -p '{parent}'\n"), (refused.ExitCode, refused.Error));
        Assert.False(Directory.Exists(_directory["no"]));

        Tool.Run("sh", "-c", refused.Error[refused.Error.IndexOf("mkdir", StringComparison.Ordinal)..]).EnsureSuccess(); // the advice works
        Assert.Equal(0, (await PullAsync(_image, layout)).ExitCode);
    }

    private Task<CommandRun> PullAsync(params string[] arguments) => RunAsync(["pull", .. arguments]);

    private Task<CommandRun> RunAsync(params string[] arguments) => CommandRun.RunAsync([.. arguments, "--cache-dir", _directory["cache"]]);
}
