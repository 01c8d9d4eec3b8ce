using System.Text;
using System.Text.Json.Nodes;
using LazyMount.TestKit;
using LazyMount.Tests.Commands;
using Xunit;
using static LazyMount.TestKit.OciLayoutBuilder;

namespace LazyMount.Tests.Archives;

public sealed class DockerArchiveTests : ArchiveCase
{
    private static readonly byte[] s_low = LayerOf("low", "lower"), s_high = LayerOf("high", "upper");

    private string Reference => $"docker-archive:{File}";

    private void Write(DockerArchiveBuilder archive) => System.IO.File.WriteAllBytes(File, archive.ToArray());

    private static DockerArchiveBuilder Plain(params string[] names) => new DockerArchiveBuilder()
        .Layer("1/layer.tar", s_low).Layer("2/layer.tar", s_high).Image(names, ["1/layer.tar", "2/layer.tar"], [s_low, s_high]);

    [Fact]
    public async Task OldDocker_ALayerIsAFileInADirectoryOfItsOwn()
    {
        Write(Plain("app:v1"));
        Assert.Equal("high low", await ListAsync(Reference));
        Assert.Equal("lower", await CatAsync(Reference, "low"));
        Assert.False(System.IO.Directory.Exists(Path.Combine(Cache, "v1", "blobs"))); // nothing is copied
    }

    [Fact]
    public async Task OldDocker_ALayerThatWasThereBeforeIsASymbolicLink()
    {
        var archive = new DockerArchiveBuilder();
        archive.Tar.Directory("1").File("1/VERSION", "1.0").Directory("2").Symlink("2/layer.tar", "../1/layer.tar").Directory("3").Symlink("3/layer.tar", "/2/layer.tar").HardLink("4", "3/../1/layer.tar");
        Write(archive.Layer("1/layer.tar", s_low).Image(["app:v1"], ["1/layer.tar", "2/layer.tar", "3/layer.tar", "./4"], [s_low, s_low, s_low, s_low]));
        Assert.Equal("low", await ListAsync(Reference));
        Assert.Single(IndexedLayers());
    }

    [Fact]
    public async Task LinkedDirectories_AreFollowed()
    {
        var archive = new DockerArchiveBuilder();
        archive.Tar.Symlink("a", "b/c").Directory("b/c").Symlink("b/c/d", "/../../b");
        Write(archive.Layer("b/layer.tar", s_low).Image(null, ["a/d/../b/layer.tar"], [s_low]));
        Assert.Equal("low", await ListAsync(Reference));
    }

    [Fact]
    public async Task LinksThatGoInACircle_AreRefused()
    {
        var archive = new DockerArchiveBuilder();
        archive.Tar.Symlink("a", "b").Symlink("b", "a").HardLink("c", "c");
        Write(archive.Image(null, ["a/layer.tar"], [s_low]).Image(null, ["c"], [s_low]));
        Assert.Contains("are circular", await RefusalAsync(Reference + ":@0"), StringComparison.Ordinal);
        Assert.Contains("are circular", await RefusalAsync(Reference + ":@1"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945")] // ko and crane
    [InlineData("config.json")] // jib
    [InlineData("blobs/sha256/4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945")] // docker since 25
    public async Task CompressedLayers_AreReadAsTheyAre(string configPath)
    {
        byte[] low = Gzip(s_low), high = Gzip(s_high);
        Write(new DockerArchiveBuilder().Layer("a.tar.gz", low).Layer("b.tar.gz", high).Image(["app:v1"], ["a.tar.gz", "b.tar.gz"], [s_low, s_high], configPath));
        Assert.Equal("high low", await ListAsync(Reference));
        Assert.Equal("upper", await CatAsync(Reference, "high"));

        // Their digests are those of the bytes that are there, so that an index made from a registry's copy serves too.
        CommandRun layers = await RunAsync("layers", "--json", Reference);
        Assert.Equal([DigestOf(low), DigestOf(high)], JsonNode.Parse(layers.Output)!.AsArray().Select(layer => (string)layer!["layerDigest"]!));
        Assert.Equal(["True", "True"], JsonNode.Parse(layers.Output)!.AsArray().Select(layer => layer!["indexed"]!.GetValue<bool>().ToString()));
    }

    [Fact]
    public async Task LayerThatIsNotWhatItsDiffIdSays_IsRefused()
    {
        Write(new DockerArchiveBuilder().Layer("a.tar", s_low).Image(null, ["a.tar"], [s_high]));
        Assert.Contains($"cannot use layer {DigestOf(s_high)}: ", await RefusalAsync(Reference), StringComparison.Ordinal);

        Write(new DockerArchiveBuilder().Layer("a.tar.gz", Gzip(s_low)).Image(null, ["a.tar.gz"], [s_high]));
        string refusal = await RefusalAsync(Reference);
        Assert.Contains($": its content has the digest {DigestOf(s_low)}, but the image's config says {DigestOf(s_high)}", refusal, StringComparison.Ordinal);
    }

    [Fact]
    public async Task LayerThatIsNotWhatItsDiffIdSays_IsRefusedAlsoWhenItsBlobIsIndexedAlready()
    {
        var layout = new OciLayoutBuilder(Directory["layout"]).AddLayer(s_low);
        layout.WriteImage("v1");
        await ListAsync(layout.Reference("v1"));
        Write(new DockerArchiveBuilder().Layer("a.tar.gz", Gzip(s_low)).Image(null, ["a.tar.gz"], [s_high]));
        Assert.Contains("its content has the digest", await RefusalAsync(Reference), StringComparison.Ordinal);
        Write(new DockerArchiveBuilder().Layer("a.tar.gz", Gzip(s_low)).Image(null, ["a.tar.gz"], [s_low]));
        Assert.Equal("low", await ListAsync(Reference));
    }

    [Fact]
    public async Task SeveralImages_AreChosenByNameOrNumber()
    {
        Write(Plain("app:v1", "registry.example.org:5000/app:v2").Layer("3", s_high).Image(["debian", "docker.io/me/other:x"], ["3"], [s_high]).Image(null, ["1/layer.tar"], [s_low]));
        foreach (string name in new[] { "app:v1", "docker.io/library/app:v1", "registry.example.org:5000/app:v2", "@0" })
        {
            Assert.Equal("high low", await ListAsync($"{Reference}:{name}"));
        }
        foreach (string name in new[] { "debian", "debian:latest", "me/other:x", "@1" })
        {
            Assert.Equal("high", await ListAsync($"{Reference}:{name}"));
        }
        Assert.Equal("low", await ListAsync($"{Reference}:@2"));

        string refusal = await RefusalAsync(Reference);
        Assert.Contains(": it has 'app:v1', 'registry.example.org:5000/app:v2', 'debian', 'docker.io/me/other:x'; choose one", refusal, StringComparison.Ordinal);
        Assert.Contains("cannot find the image 'docker.io/library/app:latest' in ", await RefusalAsync($"{Reference}:app"), StringComparison.Ordinal);
        Assert.EndsWith("; did you mean 'registry.example.org:5000/app:v2'?", await RefusalAsync($"{Reference}:registry.example.org:5000/apq:v2"), StringComparison.Ordinal);
        Assert.EndsWith($"; choose one with {Reference}:NAME:TAG or by its number with {Reference}:@0", await RefusalAsync($"{Reference}:nothing.example/like/any/of/them:1"), StringComparison.Ordinal);
        Assert.Contains("cannot find the image @3 in ", await RefusalAsync($"{Reference}:@3"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task ImagesWithoutNames_AreCounted()
    {
        Write(Plain().Image(null, ["1/layer.tar"], [s_low]));
        Assert.Contains("it has 2 images without a name", await RefusalAsync(Reference), StringComparison.Ordinal);
        Assert.Contains("it has 2 images without a name", await RefusalAsync(Reference + ":app"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task SeveralImages_ShareWhatIsIndexed()
    {
        Write(Plain("a:1").Image(["b:1"], ["1/layer.tar"], [s_low]));
        Assert.Equal("low", await ListAsync(Reference + ":b:1"));
        Assert.Single(IndexedLayers());
        Assert.Equal("high low", await ListAsync(Reference + ":a:1"));
        Assert.Equal(2, IndexedLayers().Length);
    }

    [Fact]
    public async Task MemberThatStandsTwice_TheLastOneCounts()
    {
        var archive = new DockerArchiveBuilder();
        archive.Tar.File("manifest.json", "no JSON").File("./1/layer.tar", "no tar");
        Write(archive.Layer("1//layer.tar", s_low).Image(null, ["1/layer.tar"], [s_low]));
        Assert.Equal("low", await ListAsync(Reference));
    }

    [Fact]
    public async Task ArchiveCompressedAsAWhole_IsReadInPlace()
    {
        byte[] random = new byte[9 << 20];
        new Random(1).NextBytes(random);
        byte[] big = new TarBytes().File("big", random).File("end", "the end").ToArray();
        System.IO.File.WriteAllBytes(File, Gzip(new DockerArchiveBuilder().Layer("1/layer.tar", s_low).Layer("2/layer.tar", big).Layer("3.tar.gz", Gzip(s_high))
            .Image(["app"], ["1/layer.tar", "2/layer.tar", "3.tar.gz"], [s_low, big, s_high]).ToArray()));
        Assert.Equal("big end high low", await ListAsync(Reference));
        for (int i = 0; i < 2; i++)
        {
            Assert.Equal("the end", await CatAsync(Reference, "end"));
            Assert.Equal("upper", await CatAsync(Reference, "high"));
        }
        CommandRun run = await RunAsync("stat", "--json", Reference, "big");
        Assert.Equal(random.Length, (int)JsonNode.Parse(run.Output)!["size"]!);
    }

    [Fact]
    public async Task Manifest_IsTheOneThatSkopeoMakes()
    {
        Write(Plain("app:v1"));
        ToolResult skopeo = Tool.Run("skopeo", "inspect", "--raw", Reference).EnsureSuccess();
        Assert.Equal(skopeo.Output, (await RunAsync("manifest", Reference)).Output);
        Assert.Equal(Tool.Run("skopeo", "inspect", "--raw", "--config", Reference).EnsureSuccess().Output.TrimEnd('\n'), (await RunAsync("config", Reference)).Output);
    }

    [Fact]
    public async Task WhatDoesNotFitTogether_IsRefused()
    {
        Write(Plain("app").Image(null, ["1/layer.tar"], [s_low, s_high]).Image(null, ["missing.tar"], [s_low]).Image(null, [], []).Image(null, ["1"], [s_low]));
        JsonArray images;
        await ExpectAsync("@1", "lists 1 layers, but the config");
        await ExpectAsync("@2", "cannot find the layer 'missing.tar'");
        Assert.Equal("", await ListAsync(Reference + ":@3"));
        await ExpectAsync("@4", "cannot find the layer '1'"); // a directory

        DockerArchiveBuilder archive = Plain("app");
        images = archive.Manifest;
        images.Add(new JsonObject { ["Config"] = "gone.json", ["Layers"] = new JsonArray() });
        images.Add(new JsonObject { ["Layers"] = new JsonArray() });
        images.Add(new JsonObject { ["Config"] = "1/layer.tar", ["Layers"] = new JsonArray() });
        images.Add(new JsonObject { ["Config"] = "empty.json", ["Layers"] = new JsonArray() });
        images.Add(new JsonObject { ["Config"] = images[0]!["Config"]!.DeepClone(), ["Layers"] = new JsonArray(null, "2/layer.tar") });
        images.Add(new JsonObject { ["Config"] = "huge.json" });
        images.Add(new JsonObject { ["Config"] = "many.json", ["Layers"] = new JsonArray([.. Enumerable.Repeat("1/layer.tar", 1001).Select(path => (JsonNode)path)]) });
        archive.Tar.File("empty.json", "{}").File("huge.json", new byte[(8 << 20) + 1])
            .File("many.json", $$$"""{"rootfs":{"diff_ids":[{{{string.Join(',', Enumerable.Repeat($"\"{DigestOf(s_low)}\"", 1001))}}}]}}""");
        Write(archive);
        await ExpectAsync("@1", "cannot find the config 'gone.json'");
        await ExpectAsync("@2", "names no path of the config");
        await ExpectAsync("@3", "has no list of diff_ids");
        await ExpectAsync("@4", "has no list of diff_ids");
        await ExpectAsync("@5", "names no path of the layer");
        await ExpectAsync("@6", "more than the maximum of 8388608");
        await ExpectAsync("@7", "more than the maximum of 1000");

        async Task ExpectAsync(string image, string reason) => Assert.Contains(reason, await RefusalAsync($"{Reference}:{image}"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"type":"layers"}""", "[]")]
    [InlineData("""{"type":"layers"}""", "null")]
    [InlineData("""{"type":"layers","diff_ids":null}""", "null")]
    [InlineData("""{"type":"layers","diff_ids":[]}""", "[]")]
    [InlineData("{}", "null")]
    public async Task ImageWithoutLayers_IsAnEmptyTree(string rootFs, string layers)
    {
        string config = $$"""{"architecture":"amd64","os":"linux","rootfs":{{rootFs}}}""";
        System.IO.File.WriteAllBytes(File, new TarBytes().File("config.json", config).File("manifest.json", $$"""[{"Config":"config.json","RepoTags":null,"Layers":{{layers}}}]""").ToArray());
        Assert.Equal("", await ListAsync(Reference));
        Assert.Equal(Tool.Run("skopeo", "inspect", "--raw", Reference).EnsureSuccess().Output, (await RunAsync("manifest", Reference)).Output);

        string layout = $"oci:{Directory["layout"]}:v1";
        Assert.Equal((0, ""), await ExitAsync("pull", Reference, layout));
        Tool.Run("skopeo", "inspect", layout).EnsureSuccess();
        Assert.Equal("", await ListAsync(layout));
        Assert.Equal((0, ""), await ExitAsync("unpack", layout, Directory["tree"]));
        Assert.Empty(System.IO.Directory.GetFileSystemEntries(Directory["tree"]));
        Assert.Equal((0, ""), await ExitAsync("export", layout, "-o", Directory["tree.tar"]));
        Assert.Equal("./\n", Tool.Run("tar", "-tf", Directory["tree.tar"]).EnsureSuccess().Output);
        Assert.Equal((0, ""), await ExitAsync("tree", layout));
        Assert.Equal((0, ""), await ExitAsync("layers", layout));

        async Task<(int, string)> ExitAsync(string verb, params string[] arguments)
        {
            CommandRun run = await RunAsync(verb, arguments);
            return (run.ExitCode, run.Error);
        }
    }

    [Fact]
    public async Task MediaTypes_AreWhatTheLayersAre()
    {
        byte[] third = LayerOf("third");
        Write(new DockerArchiveBuilder().Layer("1.tar", s_low).Layer("2.tar.gz", Gzip(s_high)).Layer("3.tar.xz", Xz(third)).Image(["app:v7"], ["1.tar", "2.tar.gz", "3.tar.xz"], [s_low, s_high, third]));
        const string Docker = "application/vnd.docker.image.rootfs.diff.tar", Oci = "application/vnd.oci.image.layer.v1.tar";
        Assert.Equal([Docker, Docker + ".gzip", Docker + ".xz"], JsonNode.Parse((await RunAsync("layers", "--json", Reference)).Output)!.AsArray().Select(layer => (string)layer!["mediaType"]!));

        string layout = $"oci:{Directory["layout"]}:v1";
        CommandRun run = await RunAsync("pull", Reference, layout);
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        Assert.Equal([Oci, Oci + "+gzip", Oci + "+xz"], JsonNode.Parse((await RunAsync("manifest", layout)).Output)!["layers"]!.AsArray().Select(layer => (string)layer!["mediaType"]!));
        Assert.Equal("high low third", await ListAsync(layout));
    }

    [Fact]
    public async Task PulledPlainLayers_AreReadByUmoci()
    {
        Write(Plain("app:v7"));
        CommandRun run = await RunAsync("pull", $"{Reference}:app:v7", $"oci:{Directory["layout"]}");
        Assert.Equal((0, $"lazymount: note: the image is named v7 in the layout, as in {Reference}:docker.io/library/app:v7: read it as oci:{Directory["layout"]}:v7\n"), (run.ExitCode, run.Error));
        string bundle = Umoci.Unpack($"oci:{Directory["layout"]}:v7", Directory["bundle"]);
        Assert.Equal(["high", "low"], System.IO.Directory.GetFiles(bundle).Select(Path.GetFileName).Order());
    }

    [Theory]
    [InlineData("no JSON", "is not a list of images as docker save writes it")]
    [InlineData("{}", "is not a list of images as docker save writes it")]
    [InlineData("[null]", "is not a list of images as docker save writes it")]
    [InlineData("[]", "its manifest.json is an empty list")]
    [InlineData("""[{"Config":"a","Config":"b"}]""", "is not a list of images as docker save writes it")]
    [InlineData("""[{"Config":7}]""", "is not a list of images as docker save writes it")]
    public async Task BadManifestJson_IsRefused(string json, string reason)
    {
        System.IO.File.WriteAllBytes(File, new TarBytes().File("manifest.json", json).ToArray());
        Assert.Contains(reason, await RefusalAsync(Reference), StringComparison.Ordinal);
    }

    [Fact]
    public async Task HugeManifestJson_IsRefused()
    {
        System.IO.File.WriteAllBytes(File, new TarBytes().File("manifest.json", new byte[(4 << 20) + 1]).ToArray());
        Assert.Contains("more than the maximum of 4194304", await RefusalAsync(Reference), StringComparison.Ordinal);
    }

    [Fact]
    public async Task NamesOfPropertiesInAnyCase_AreRead() // as Go's encoding/json does
    {
        Write(Plain("app"));
        string text = Encoding.Latin1.GetString(System.IO.File.ReadAllBytes(File)).Replace("RepoTags", "repotags", StringComparison.Ordinal).Replace("\"Layers\"", "\"layers\"", StringComparison.Ordinal);
        System.IO.File.WriteAllBytes(File, Encoding.Latin1.GetBytes(text));
        Assert.Equal("high low", await ListAsync(Reference + ":app"));
    }

    private byte[] Xz(byte[] bytes)
    {
        System.IO.File.WriteAllBytes(Directory["plain"], bytes);
        Tool.Run("xz", Directory["plain"]).EnsureSuccess();
        return System.IO.File.ReadAllBytes(Directory["plain.xz"]);
    }

    private string[] IndexedLayers() => System.IO.Directory.GetFiles(Path.Combine(Cache, "v1", "layers"), "*", SearchOption.AllDirectories);
}
