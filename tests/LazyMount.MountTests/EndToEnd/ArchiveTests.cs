using System.Text.Json.Nodes;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>Archives as real tools write them, mounted in place, and path for path what umoci unpacks of the same image.</summary>
public sealed class ArchiveTests(DebianImages debian) : IDisposable
{
    private const string RootOnly = "umoci sets owners and makes devices only as root";

    private readonly LazyMountCli _lazymount = new();

    private string File => _lazymount.Directory["image.tar"];

    public void Dispose() => _lazymount.Dispose();

    [Theory]
    [InlineData("docker-archive", "")]
    [InlineData("docker-archive", ":app:v1")]
    [InlineData("oci-archive", "")]
    [InlineData("oci-archive", ":v1")]
    public void Skopeo_TreeIsWhatUmociUnpacks(string transport, string name)
    {
        string reference = $"{transport}:{File}{name}";
        Copy(debian.Sample, reference);
        AssertSameAsUmoci(reference);
        AssertNothingCopied();
    }

    [Theory]
    [InlineData("docker-archive", "gzip -1")]
    [InlineData("oci-archive", "gzip -9")]
    [InlineData("docker-archive", "pigz")]
    public void SkopeoThenCompressed_TreeIsWhatUmociUnpacks(string transport, string compressor)
    {
        Copy(debian.Sample, $"{transport}:{File}");
        Tool.Shell($"{compressor} \"$1\"", File).EnsureSuccess();
        AssertSameAsUmoci($"{transport}:{File}.gz");
        AssertNothingCopied();
    }

    [Fact]
    public void LayoutPutIntoATar_TreeIsWhatUmociUnpacks()
    {
        Tool.Shell("tar -C \"$1\" -cf \"$2\" .", debian.Sample.Split(':')[1], File).EnsureSuccess();
        AssertSameAsUmoci($"oci-archive:{File}:sample");
    }

    [Fact]
    public void Containerd_TreeIsWhatUmociUnpacks_ByBothNames()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "containerd runs as root");
        Copy(debian.Sample, $"oci-archive:{File}:v1");
        string exported = _lazymount.Directory["exported.tar"];
        using (var containerd = new Containerd())
        {
            containerd.Ctr("image", "import", "--no-unpack", "--base-name", "example.org/app", File).EnsureSuccess();
            containerd.Ctr("image", "export", exported, "example.org/app:v1").EnsureSuccess();
        }
        AssertSameAsUmoci($"oci-archive:{exported}");
        TreeSnapshot layout = TreeSnapshot.Take(_lazymount.Mount($"oci-archive:{exported}:example.org/app:v1"));
        TreeSnapshot docker = TreeSnapshot.Take(_lazymount.Mount($"docker-archive:{exported}:example.org/app:v1"));
        Assert.Equal("", layout.Difference(docker));
    }

    [Fact]
    public void SecondOpen_ReadsNoLayer()
    {
        string reference = $"docker-archive:{File}";
        Copy(debian.Sample, reference);
        _lazymount.Run("ls", reference).EnsureSuccess();
        string trace = _lazymount.Directory["trace"];
        using Tool strace = Tool.Start("strace", ["-f", "-y", "-e", "trace=pread64", "-o", trace, LazyMountCli.Binary, "ls", reference], _lazymount.Environment);
        strace.WaitForExit().EnsureSuccess();
        long read = System.IO.File.ReadLines(trace).Where(line => line.Contains(File, StringComparison.Ordinal))
            .Sum(line => long.TryParse(line[(line.LastIndexOf('=') + 1)..], out long bytes) ? bytes : 0);
        Assert.InRange(read, 1, 1 << 20); // of some 50 MB
    }

    [Fact]
    public void MountedArchive_IsNamedByItsAbsolutePath()
    {
        Copy(debian.Sample, $"docker-archive:{File}:app:v1");
        string directory = _lazymount.NewMountPoint();
        string line = "cd \"$1\" && exec \"$2\" mount docker-archive:image.tar:app:v1 \"$3\"";
        using (Tool mount = Tool.Start("bash", ["-c", line, "bash", _lazymount.Directory.Path, LazyMountCli.Binary, directory], _lazymount.Environment))
        {
            mount.WaitForExit().EnsureSuccess();
        }
        JsonNode listing = JsonNode.Parse(_lazymount.Run("list", "--json").EnsureSuccess().Output)!.AsArray().Single(each => (string)each!["mountPoint"]! == directory)!;
        Assert.Equal($"docker-archive:{File}:docker.io/library/app:v1", (string)listing["image"]!);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ArchiveDeletedOrReplacedUnderAMount_GoesOnBeingRead(bool gzip)
    {
        (byte[] content, string reference) = WriteBig(gzip);
        string directory = _lazymount.Mount(reference);
        System.IO.File.Delete(File);
        System.IO.File.WriteAllText(File, "something else");
        Assert.Equal(content, System.IO.File.ReadAllBytes(Path.Combine(directory, "big")));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ArchiveOverwrittenUnderAMount_GivesAnErrorAndNeverAWrongByte(bool gzip)
    {
        (_, string reference) = WriteBig(gzip);
        string directory = _lazymount.Mount(reference);
        using (var file = new FileStream(File, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            file.Position = 100_000;
            file.Write(new byte[(int)file.Length - 200_000]);
        }
        AssertInputOutputError(directory);
    }

    [Fact]
    public void ArchiveCutOffUnderAMount_GivesAnError()
    {
        (_, string reference) = WriteBig(gzip: false);
        string directory = _lazymount.Mount(reference);
        using (var file = new FileStream(File, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            file.SetLength(100_000);
        }
        AssertInputOutputError(directory);
    }

    private void AssertInputOutputError(string directory)
    {
        ToolResult cat = Tool.Run("cat", Path.Combine(directory, "big"));
        Assert.NotEqual(0, cat.ExitCode);
        Assert.Contains("Input/output error", cat.Error, StringComparison.Ordinal);
        string log = System.IO.File.ReadAllText(System.IO.Directory.GetFiles(_lazymount.StateDirectory, "*.log").Single());
        Assert.Contains(File, log, StringComparison.Ordinal);
    }

    private (byte[] Content, string Reference) WriteBig(bool gzip)
    {
        var content = new byte[9 << 20];
        new Random(7).NextBytes(content);
        byte[] layer = new TarBytes().Directory("./").File("big", content).ToArray();
        byte[] archive = new DockerArchiveBuilder().Layer("1/layer.tar", layer).Image(["app:v1"], ["1/layer.tar"], [layer]).ToArray();
        System.IO.File.WriteAllBytes(File, gzip ? OciLayoutBuilder.Gzip(archive) : archive);
        string reference = $"docker-archive:{File}";
        _lazymount.Run("ls", reference).EnsureSuccess(); // indexed, so that a mount has nothing of it in memory
        return (content, reference);
    }

    private static void Copy(string from, string to) => Tool.Run("skopeo", "copy", "--quiet", from, to).EnsureSuccess();

    private void AssertNothingCopied() => Assert.DoesNotContain(CacheFiles.All(_lazymount), file => file.Contains("/blobs/", StringComparison.Ordinal));

    private void AssertSameAsUmoci(string reference)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, RootOnly);
        TreeSnapshot expected = TreeSnapshot.Take(Umoci.Unpack(debian.Sample, _lazymount.Directory["bundle"]));
        string difference = expected.Difference(TreeSnapshot.Take(_lazymount.Mount(reference)));
        Assert.True(difference.Length == 0, difference);
    }
}
