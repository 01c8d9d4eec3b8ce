using System.Text;
using LazyMount.TestKit;
using LazyMount.Tests.Commands;
using Xunit;

namespace LazyMount.Tests.Archives;

/// <summary>What is pushed like an image and is none: some of it has a tree to show.</summary>
public sealed class ArtifactTests : ArchiveCase
{
    private const string EmptyConfig = "application/vnd.oci.empty.v1+json";

    private string Write(string configType, byte[] config, string artifactType, params (byte[] Bytes, string Type)[] layers)
    {
        string blobs = System.IO.Directory.CreateDirectory(Path.Combine(Directory["layout"], "blobs", "sha256")).FullName;
        string Add(byte[] bytes, string type)
        {
            System.IO.File.WriteAllBytes(Path.Combine(blobs, OciLayoutBuilder.DigestOf(bytes)[7..]), bytes);
            return $$"""{"mediaType":"{{type}}","digest":"{{OciLayoutBuilder.DigestOf(bytes)}}","size":{{bytes.Length}}}""";
        }
        byte[] manifest = Encoding.UTF8.GetBytes(
            $$"""{"schemaVersion":2,{{artifactType}}"config":{{Add(config, configType)}},"layers":[{{string.Join(',', layers.Select(layer => Add(layer.Bytes, layer.Type)))}}]}""");
        System.IO.File.WriteAllText(Path.Combine(Directory["layout"], "oci-layout"), """{"imageLayoutVersion":"1.0.0"}""");
        System.IO.File.WriteAllText(Path.Combine(Directory["layout"], "index.json"), $$"""{"schemaVersion":2,"manifests":[{{Add(manifest, "application/vnd.oci.image.manifest.v1+json")}}]}""");
        return $"oci:{Directory["layout"]}";
    }

    [Theory]
    [InlineData("application/vnd.cncf.helm.config.v1+json", "", "application/vnd.cncf.helm.config.v1+json")]
    [InlineData(EmptyConfig, "\"artifactType\":\"application/vnd.example.thing\",", "application/vnd.example.thing")]
    [InlineData(EmptyConfig, "", EmptyConfig)]
    public async Task ArtifactWithATar_IsShownWithANote(string configType, string artifactType, string named)
    {
        string reference = Write(configType, "{}"u8.ToArray(), artifactType, (OciLayoutBuilder.Gzip(LayerOf("chart", "yaml")), "application/vnd.cncf.helm.chart.content.v1.tar+gzip"));
        CommandRun run = await RunAsync("cat", reference, "chart");
        Assert.Equal((0, "yaml"), (run.ExitCode, run.Output));
        Assert.Equal($"lazymount: note: '{reference}' is not a container image but an artifact of type {named}\n", run.Error);
        run = await RunAsync("config", reference);
        Assert.Equal((0, "{}", ""), (run.ExitCode, run.Output, run.Error));
    }

    [Fact]
    public async Task ConfigThatIsNone_IsShownWithANote()
    {
        string reference = Write("application/vnd.oci.image.config.v1+json", "no JSON"u8.ToArray(), "", (LayerOf("a", "content"), "application/vnd.oci.image.layer.v1.tar"));
        CommandRun run = await RunAsync("cat", reference, "a");
        Assert.Equal((0, "content"), (run.ExitCode, run.Output));
        Assert.StartsWith($"lazymount: note: the config of '{reference}' is not an image config", run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("application/octet-stream")]
    [InlineData("application/json")]
    [InlineData("text/html")]
    [InlineData("")]
    public async Task ConfigOfATypeThatServersGaveByMistake_IsAnImages(string configType) // docker takes these for images
    {
        byte[] config = """{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"""u8.ToArray();
        string reference = Write(configType, config, "", (LayerOf("a"), "application/vnd.oci.image.layer.v1.tar"));
        Assert.Equal("a", await ListAsync(reference));
        CommandRun run = await RunAsync("ls", Write(configType, config, "\"artifactType\":\"application/vnd.example.thing\",", (LayerOf("a"), "application/vnd.oci.image.layer.v1.tar")));
        Assert.Contains("an artifact of type application/vnd.example.thing", run.Error, StringComparison.Ordinal);
        run = await RunAsync("ls", Write(configType, "[]"u8.ToArray(), "", (LayerOf("a"), "application/vnd.oci.image.layer.v1.tar")));
        Assert.Contains(configType.Length == 0 ? "is not an image config" : $"an artifact of type {configType}", run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("application/vnd.in-toto+json", "{\"_type\":\"https://in-toto.io/Statement/v0.1\"}")]
    [InlineData("application/vnd.dev.cosign.simplesigning.v1+json", "{\"critical\":{}}")]
    [InlineData("application/wasm", "\0asm\u0001\0\0\0")]
    public async Task LayerThatIsNoTar_IsRefusedByItsType(string type, string content)
    {
        string reference = Write("application/vnd.oci.image.config.v1+json", "{}"u8.ToArray(), "", (Encoding.Latin1.GetBytes(content), type));
        string refusal = await RefusalAsync(reference);
        Assert.Contains($"of type {type}: ", refusal, StringComparison.Ordinal);
        Assert.Contains("it is not a tar archive", refusal, StringComparison.Ordinal);
        Assert.Equal(0, (await RunAsync("layers", reference)).ExitCode);
    }

    [Theory]
    [InlineData("application/vnd.oci.image.layer.nydus.blob.v1", "a nydus (RAFS) blob; use the image that it was converted from")]
    [InlineData("application/vnd.erofs.layer.v1", "an EROFS file system image; use the image that it was converted from")]
    [InlineData("application/vnd.oci.image.layer.v1.erofs", "an EROFS file system image; use the image that it was converted from")]
    [InlineData("application/vnd.sylabs.sif.layer.v1.sif", "a Singularity (SIF) image")]
    [InlineData("application/vnd.in-toto+json", "an in-toto attestation; run lazymount manifest IMAGE")]
    [InlineData("application/vnd.cncf.helm.chart.provenance.v1.prov", "the signature of a helm chart")]
    public async Task LayerOfAKnownType_IsRefusedAsWhatItIs(string type, string what)
    {
        foreach (byte[] content in new[] { "nothing that is known"u8.ToArray(), [.. new byte[2000], 1, 2, 3] })
        {
            string refusal = await RefusalAsync(Write("application/vnd.oci.image.config.v1+json", "{}"u8.ToArray(), "", (content, type)));
            Assert.Contains($" of type {type}: ", refusal, StringComparison.Ordinal);
            string[] parts = what.Split("; ");
            Assert.Contains($"its type is that of {parts[0]}, not of a tree of files (", refusal, StringComparison.Ordinal);
            Assert.All(parts[1..], nextStep => Assert.Contains($"; {nextStep}", refusal, StringComparison.Ordinal));
            Assert.DoesNotContain("built again", refusal, StringComparison.Ordinal);
        }
    }

    /// <summary>File system images begin with zeros, as an empty tar does.</summary>
    [Theory]
    [InlineData(1024, "\u00E2\u00E1\u00F5\u00E0", "an EROFS file system image")]
    [InlineData(1080, "\u0053\u00EF", "an ext2, ext3 or ext4 file system image")]
    [InlineData(0, "hsqs", "a squashfs file system image")]
    [InlineData(0, "XFSB", "an XFS file system image")]
    [InlineData(0, "QFI\u00FB", "a qcow2 disk image")]
    [InlineData(32769, "CD001", "an ISO 9660 image")]
    [InlineData(65600, "_BHRfS_M", "a btrfs file system image")]
    public async Task LayerThatIsAFileSystemImage_IsRefusedAsThat_WhateverItsType(int at, string magic, string what)
    {
        byte[] image = new byte[80_000];
        Encoding.Latin1.GetBytes(magic).CopyTo(image, at);
        foreach ((byte[] blob, string type) in new[] { (image, "application/vnd.oci.image.layer.v1.tar"), (OciLayoutBuilder.Gzip(image), "application/vnd.oci.image.layer.v1.tar+gzip"), (image, "") })
        {
            string refusal = await RefusalAsync(Write("application/vnd.oci.image.config.v1+json", "{}"u8.ToArray(), "", (blob, type)));
            Assert.Contains($"it is not a tar archive but {what}", refusal, StringComparison.Ordinal);
            Assert.DoesNotContain("built again", refusal, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task TarOfAKnownForeignType_IsShown()
        => Assert.Equal("x", (await RunAsync("cat", Write("application/vnd.oci.image.config.v1+json", "{}"u8.ToArray(), "", (LayerOf("a", "x"), "application/vnd.example.erofs")), "a")).Output);

    [Fact]
    public async Task MixedAndUnknownTypes_AreDecidedByTheBytes()
    {
        string reference = Write("application/vnd.docker.container.image.v1+json", "{}"u8.ToArray(), "",
            (OciLayoutBuilder.Gzip(LayerOf("a")), "application/vnd.docker.image.rootfs.diff.tar"),
            (LayerOf("b"), "application/vnd.oci.image.layer.v1.tar+zstd"),
            (OciLayoutBuilder.Gzip(LayerOf("c")), "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
            (LayerOf("d"), "application/octet-stream"),
            (LayerOf("e"), "application/vnd.oci.image.layer.nondistributable.v1.tar"));
        Assert.Equal("a b c d e", await ListAsync(reference));
    }
}
