using LazyMount.Layers.Archives;
using LazyMount.TestKit;
using LazyMount.Tests.Commands;
using Xunit;

namespace LazyMount.Tests.Archives;

/// <summary>A file or directory of the current directory that is named without its transport: a valid reference to a registry.</summary>
public sealed class LocalImageTests : ArchiveCase
{
    // Below the current directory, by a name that a repository may have too.
    private readonly string _here = $"local-image-{Guid.NewGuid():N}";

    public LocalImageTests() => System.IO.Directory.CreateDirectory(_here);

    protected override void Dispose(bool disposing)
    {
        System.IO.Directory.Delete(_here, recursive: true);
        base.Dispose(disposing);
    }

    private OciLayoutBuilder Layout()
    {
        var layout = new OciLayoutBuilder(Path.Combine(_here, "layout"));
        layout.AddLayer(LayerOf("file", "content")).WriteImage("v1");
        return layout;
    }

    private async Task<string> HintAsync(string reference, int exitCode = 3)
    {
        string refusal = await RefusalAsync(reference, exitCode, "--offline");
        int hint = refusal.LastIndexOf("; did you mean ", StringComparison.Ordinal);
        return hint < 0 ? "" : refusal[(hint + "; did you mean ".Length)..];
    }

    [Theory]
    [InlineData("docker-archive", "")]
    [InlineData("oci-archive", ":v1")]
    [InlineData("oci-archive", "")]
    public async Task Archive_IsNamedByItsTransport_AndCanBeReadSo(string transport, string tag)
    {
        string file = $"{_here}/v2.tar";
        Tool.Run("skopeo", "copy", "--quiet", Layout().Reference("v1"), $"{transport}:{file}{(transport == "oci-archive" ? ":v1" : "")}").EnsureSuccess();
        Assert.Equal($"'{transport}:{file}{tag}'?", await HintAsync(file + tag));
        Assert.Equal("file", await ListAsync($"{transport}:{file}{tag}"));
    }

    [Fact]
    public async Task Layout_IsNamedByItsTransport()
    {
        string reference = Layout().Reference("v1"), directory = $"{_here}/layout";
        Assert.Equal("file", await ListAsync(reference));
        Assert.Equal($"'oci:{directory}:v1'?", await HintAsync($"{directory}:v1"));
        Assert.Equal($"'oci:{directory}'?", await HintAsync(directory));
        System.IO.File.Delete($"{directory}/oci-layout");
        Assert.Equal($"'oci:{directory}'?", await HintAsync(directory));
    }

    [Theory]
    [InlineData("ls")]
    [InlineData("layers")]
    [InlineData("platforms")]
    public async Task EveryCommand_Asks(params string[] command)
    {
        Layout();
        CommandRun run = await CommandRun.RunAsync([.. command, "--offline", "--cache-dir", Directory["cache"], $"{_here}/layout:v1"]);
        Assert.Equal(3, run.ExitCode);
        Assert.EndsWith($"; did you mean 'oci:{_here}/layout:v1'?\n", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task FileOfTheCurrentDirectory_IsFound_ThoughItsNameIsThatOfAnOfficialImage()
    {
        byte[] layer = LayerOf("file", "content");
        string file = $"{_here}.tar";
        System.IO.File.WriteAllBytes(file, new DockerArchiveBuilder().Layer("1/layer.tar", layer).Image(["app:v1"], ["1/layer.tar"], [layer]).ToArray());
        try
        {
            Assert.Equal($"'docker-archive:{file}'?", await HintAsync(file));
        }
        finally
        {
            System.IO.File.Delete(file);
        }
    }

    [Theory]
    [InlineData("Image.tar")] // no repository has upper-case letters
    [InlineData("./image.tar")]
    public async Task FileWhoseNameIsNoReference_IsFoundToo(string name)
    {
        string file = name.StartsWith('.') ? $"./{_here}/{name[2..]}" : $"{_here}/{name}";
        Tool.Run("skopeo", "copy", "--quiet", Layout().Reference("v1"), $"docker-archive:{file}").EnsureSuccess();
        Assert.Equal($"'docker-archive:{file}'?", await HintAsync(file, exitCode: 2));
    }

    [Fact]
    public async Task FileOfBothForms_IsADockerArchive_AndACompressedOneMayBeEither()
    {
        OciLayoutBuilder layout = Layout();
        string both = $"{_here}/both.tar", compressed = $"{_here}/both.tar.gz";
        System.IO.File.WriteAllText(Path.Combine(layout.Directory, "manifest.json"), "[]");
        Tool.Run("tar", "-C", layout.Directory, "-cf", both, ".").EnsureSuccess();
        Assert.Equal($"'docker-archive:{both}'?", await HintAsync(both));
        Tool.Run("gzip", both).EnsureSuccess();
        Assert.Equal($"'docker-archive:{compressed}' or 'oci-archive:{compressed}'?", await HintAsync(compressed));
    }

    [Fact]
    public async Task WhatIsNoImage_IsNotNamed()
    {
        Tool.Run("bash", "-c", "cd \"$1\" && mkdir d && echo text > text && mkfifo pipe && tar -cf tree.tar d text && head -c 700 tree.tar > cut.tar && : > empty", "bash", _here).EnsureSuccess();
        foreach (string name in (string[])["d", "text", "pipe", "tree.tar", "cut.tar", "empty", "nothing"])
        {
            Assert.Equal("", await HintAsync($"{_here}/{name}"));
        }
        Assert.Null(LocalImage.Suggest(""));
    }
}
