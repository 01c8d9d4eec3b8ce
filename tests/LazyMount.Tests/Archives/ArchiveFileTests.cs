using System.Text;
using LazyMount.TestKit;
using LazyMount.Tests.Commands;
using Xunit;

namespace LazyMount.Tests.Archives;

/// <summary>What is the same for both forms: the file itself, and which form it is.</summary>
public sealed class ArchiveFileTests : ArchiveCase
{
    private static readonly byte[] s_layer = LayerOf("file", "content");

    private static byte[] DockerArchive(string content = "content")
    {
        byte[] layer = LayerOf("file", content);
        return new DockerArchiveBuilder().Layer("1/layer.tar", layer).Image(["app:v1"], ["1/layer.tar"], [layer]).ToArray();
    }

    private string OciArchive(params string[] tags)
    {
        var layout = new OciLayoutBuilder(Directory["layout"]);
        foreach (string tag in tags)
        {
            layout.AddLayer(LayerOf("file", tag)).WriteImage(tag);
        }
        Tool.Run("tar", "-C", layout.Directory, "-cf", File, ".").EnsureSuccess();
        return $"oci-archive:{File}";
    }

    [Fact]
    public async Task OciArchive_IsALayoutInATar()
    {
        string reference = OciArchive("v1", "v2");
        Assert.Equal("v2", await CatAsync(reference + ":v2", "file"));
        Assert.Contains($"cannot choose an image of '{reference}': it has 'v1', 'v2'; choose one with {reference}:TAG or by its number with {reference}:@0", await RefusalAsync(reference), StringComparison.Ordinal);
        Assert.Contains($"cannot find the tag 'v3' in '{File}': it has 'v1', 'v2'; did you mean 'v1' or 'v2'?", await RefusalAsync(reference + ":v3"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task OciArchiveCompressedAsAWhole_IsReadInPlace()
    {
        OciArchive("v1");
        Tool.Run("gzip", File).EnsureSuccess();
        Assert.Equal("v1", await CatAsync($"oci-archive:{File}.gz", "file"));
        Assert.Equal("v1", await CatAsync($"oci-archive:{File}.gz:v1", "file"));
    }

    [Theory]
    [InlineData("zstd -q -T1")] // one frame
    [InlineData("bzip2 -1")]
    [InlineData("xz -0")]
    public async Task ArchiveThatCannotBeReadAtRandom_IsTranscodedOnceAndAgain(string compressor)
    {
        byte[] content = new byte[20 << 20];
        new Random(5).NextBytes(content.AsSpan(19 << 20));
        var layout = new OciLayoutBuilder(Directory["layout"]).AddLayer(new TarBytes().File("file", content).ToArray());
        layout.WriteImage("v1");
        Tool.Run("bash", "-c", $"tar -C \"$1\" -cf - . | {compressor} -c > \"$2\"", "bash", layout.Directory, File).EnsureSuccess();
        string size = content.Length.ToString(System.Globalization.CultureInfo.InvariantCulture);
        for (int i = 0; i < 3; i++)
        {
            CommandRun run = await RunAsync("stat", $"oci-archive:{File}", "file");
            Assert.Equal((0, ""), (run.ExitCode, run.Error));
            Assert.Contains(size, run.Output, StringComparison.Ordinal);
            if (i == 1)
            {
                System.IO.Directory.Delete(Path.Combine(Cache, "v1", "blobs"), recursive: true);
            }
        }
        Assert.Equal(System.Text.Encoding.UTF8.GetString(content), await CatAsync($"oci-archive:{File}", "file"));
    }

    [Fact]
    public async Task DockerSince25_IsBoth()
    {
        var layout = new OciLayoutBuilder(Directory["layout"]).AddLayer(s_layer, OciLayoutBuilder.TarLayer, OciLayoutBuilder.DigestOf(s_layer));
        layout.WriteImage("v1");
        string config = Path.GetRelativePath(layout.Directory, System.IO.Directory.GetFiles(Path.Combine(layout.Directory, "blobs", "sha256")).Single(path => System.IO.File.ReadAllText(path).Contains("rootfs", StringComparison.Ordinal)));
        System.IO.File.WriteAllText(Path.Combine(layout.Directory, "manifest.json"),
            $$$"""[{"Config":"{{{config}}}","RepoTags":["app:v1"],"Layers":["blobs/sha256/{{{OciLayoutBuilder.DigestOf(s_layer)[7..]}}}"],"LayerSources":{}}]""");
        Tool.Run("bash", "-c", "tar -C \"$1\" -cf \"$2\" $(ls \"$1\")", "bash", layout.Directory, File).EnsureSuccess();
        Assert.Equal("content", await CatAsync($"docker-archive:{File}:app:v1", "file"));
        Assert.Equal("content", await CatAsync($"oci-archive:{File}:v1", "file"));
    }

    [Fact]
    public async Task TheOtherForm_IsNamed()
    {
        System.IO.File.WriteAllBytes(File, DockerArchive());
        Assert.Contains($"cannot use '{File}' as an OCI archive: it is a docker archive (manifest.json); did you mean 'docker-archive:{File}'?", await RefusalAsync($"oci-archive:{File}"), StringComparison.Ordinal);
        Assert.Contains($"cannot use '{File}' as an OCI layout directory: it is a file; for an archive write oci-archive:{File} or docker-archive:{File}", await RefusalAsync($"oci:{File}"), StringComparison.Ordinal);
        string reference = OciArchive("v1");
        Assert.Contains($"cannot use '{File}' as a docker archive: it is an OCI archive (index.json); did you mean '{reference}'?", await RefusalAsync($"docker-archive:{File}"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task WhatHoldsNoImage_IsRefused()
    {
        System.IO.File.WriteAllBytes(File, new TarBytes().Directory("etc").File("etc/hosts").ToArray());
        Assert.Contains("it has neither index.json (OCI) nor manifest.json (docker save)", await RefusalAsync($"docker-archive:{File}"), StringComparison.Ordinal);
        System.IO.File.WriteAllBytes(File, new TarBytes().File("repositories", "{}").ToArray());
        Assert.Contains("older than 1.10", await RefusalAsync($"docker-archive:{File}"), StringComparison.Ordinal);
        System.IO.File.WriteAllBytes(File, new TarBytes().File("image/manifest.json", "[]").ToArray());
        Assert.Contains("make the archive again with tar -C 'image' -cf FILE .", await RefusalAsync($"docker-archive:{File}"), StringComparison.Ordinal);
        System.IO.File.WriteAllBytes(File, new TarBytes().File("index.json", "{}").ToArray());
        Assert.Contains("has no file oci-layout", await RefusalAsync($"oci-archive:{File}"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("docker-archive")]
    [InlineData("oci-archive")]
    public async Task WhatIsNoArchive_IsRefused(string transport)
    {
        Assert.Contains("there is no such file", await RefusalAsync($"{transport}:{File}"), StringComparison.Ordinal);
        Assert.Contains("ends at the first colon", await RefusalAsync($"{transport}:{Directory["with"]}:colon"), StringComparison.Ordinal);
        Assert.Contains($"cannot use '{Directory.Path}' as an archive: it is a directory; for an OCI layout write oci:{Directory.Path}", await RefusalAsync($"{transport}:{Directory.Path}"), StringComparison.Ordinal);
        Tool.Run("mkfifo", Directory["fifo"]).EnsureSuccess();
        Assert.Contains("copy it to a regular file first", await RefusalAsync($"{transport}:{Directory["fifo"]}"), StringComparison.Ordinal);
        Assert.Contains("copy it to a regular file first", await RefusalAsync($"{transport}:/dev/null"), StringComparison.Ordinal);

        System.IO.File.WriteAllBytes(File, []);
        Assert.Contains("it is empty", await RefusalAsync($"{transport}:{File}"), StringComparison.Ordinal);
        System.IO.File.WriteAllText(File, "hello");
        Assert.Contains("it is not a tar archive", await RefusalAsync($"{transport}:{File}"), StringComparison.Ordinal);
        System.IO.File.WriteAllBytes(File, Encoding.ASCII.GetBytes(new string('x', 10_000)));
        Assert.Contains("it is not a tar archive", await RefusalAsync($"{transport}:{File}"), StringComparison.Ordinal);
        System.IO.File.WriteAllBytes(File, OciLayoutBuilder.Gzip(Encoding.ASCII.GetBytes(new string('x', 10_000))));
        Assert.Contains("it is not a tar archive", await RefusalAsync($"{transport}:{File}"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task SparseMembers_AreRefused()
    {
        System.IO.File.WriteAllText(Directory["manifest.json"], "[]");
        using (FileStream file = System.IO.File.OpenWrite(Directory["manifest.json"]))
        {
            file.SetLength(1 << 20);
        }
        Tool.Run("tar", "-C", Directory.Path, "--sparse", "-cf", File, "manifest.json").EnsureSuccess();
        Assert.Contains("is stored as a sparse file", await RefusalAsync($"docker-archive:{File}"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task ArchiveThatWasCutOff_IsRefusedWhereverThatWas()
    {
        byte[] whole = DockerArchive();
        byte[] compressed = OciLayoutBuilder.Gzip(whole);
        for (int length = 512; length < whole.Length - 1536; length += 256) // the zeros after the last content may be missing
        {
            System.IO.File.WriteAllBytes(File, whole[..length]);
            await RefusalAsync($"docker-archive:{File}");
        }
        for (int length = 2; length < compressed.Length; length += 50)
        {
            System.IO.File.WriteAllBytes(File, compressed[..length]);
            await RefusalAsync($"docker-archive:{File}");
        }
    }

    [Fact]
    public async Task ChangedArchive_IsReadAnew()
    {
        foreach (bool gzip in new[] { false, true })
        {
            foreach (string content in new[] { "before", "after!" })
            {
                byte[] bytes = DockerArchive(content);
                System.IO.File.WriteAllBytes(File, gzip ? OciLayoutBuilder.Gzip(bytes) : bytes);
                Assert.Equal(content, await CatAsync($"docker-archive:{File}", "file"));
            }
        }
    }

    [Fact]
    public async Task CommandsThatReadNoTree_KnowArchivesToo()
    {
        System.IO.File.WriteAllBytes(File, DockerArchive());
        foreach (string verb in new[] { "layers", "config", "manifest" })
        {
            CommandRun run = await RunAsync(verb, $"docker-archive:{File}");
            Assert.Equal((0, ""), (run.ExitCode, run.Error));
            Assert.Contains(OciLayoutBuilder.DigestOf(s_layer), run.Output, StringComparison.Ordinal);
        }
    }
}
