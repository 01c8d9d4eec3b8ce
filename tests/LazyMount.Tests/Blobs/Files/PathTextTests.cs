using CsCheck;
using LazyMount.Blobs.Files;
using LazyMount.TestKit;
using LazyMount.Tests.Commands;
using Xunit;

namespace LazyMount.Tests.Blobs.Files;

public sealed class PathTextTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void BytesBecomeTextAndTheSameBytesAgain()
        => Gen.Byte.Array[0, 40].Sample(bytes =>
        {
            string text = PathText.Decode(bytes);
            Assert.Equal(bytes, PathText.Encode(text));
            Assert.Equal([.. bytes, 0], PathText.ToNative(text));
            Assert.Equal(System.Text.Unicode.Utf8.IsValid(bytes), PathText.IsText(text));
        });

    [Fact]
    public void PathThatIsText_IsGivenToCallsAsItIs() => Assert.Equal("/a/é/😀", PathText.ForCalls("/a/é/😀"));

    [Fact]
    public void PathThatIsNotText_ReachesTheFileOfThatName_AndNoOther()
    {
        Tool.Shell("mkdir -p \"$1/\"$'caf\\xe9/sub' && echo right > \"$1/\"$'caf\\xe9/sub/f' && echo last > \"$1/\"$'caf\\xe9/\\xff'", _directory.Path).EnsureSuccess();
        string directory = Path.Combine(_directory.Path, PathText.Decode([(byte)'c', (byte)'a', (byte)'f', 0xE9]));
        Assert.Equal("right\n", File.ReadAllText(PathText.ForCalls(Path.Combine(directory, "sub", "f"))));
        Assert.Equal("last\n", File.ReadAllText(PathText.ForCalls(Path.Combine(directory, PathText.Decode([0xFF])))));
        Assert.Equal("right\n", File.ReadAllText(PathText.ForCalls(Path.Combine(directory, "sub", "f")))); // once more
        File.WriteAllText(PathText.ForCalls(Path.Combine(directory, "new")), "made");
        AtomicFile.Write(Path.Combine(directory, "whole"), "made"u8, durable: true);
        Assert.Equal("made made", Tool.Shell("cd \"$1/\"$'caf\\xe9' && cat new && printf ' ' && cat whole", _directory.Path).Output);
        Assert.False(File.Exists(PathText.ForCalls(Path.Combine(_directory.Path, PathText.Decode([0xFE])))));
        Assert.Single(Directory.GetFileSystemEntries(_directory.Path)); // no caf\uFFFD beside it
    }

    [Fact]
    public void DirectoryThatWasReplaced_IsOpenedAgain()
    {
        string directory = Path.Combine(_directory.Path, PathText.Decode([0xE9]));
        foreach (string content in (string[])["first", "second"])
        {
            Tool.Shell("rm -rf \"$1/\"$'\\xe9'; mkdir \"$1/\"$'\\xe9' && printf \"$2\" > \"$1/\"$'\\xe9/f'", _directory.Path, content).EnsureSuccess();
            Assert.Equal(content, File.ReadAllText(PathText.ForCalls(Path.Combine(directory, "f"))));
        }
    }

    [Fact]
    public async Task LayoutsArchivesAndCaches_MayHaveAnyName()
    {
        string Named(string name) => Path.Combine(_directory.Path, name + PathText.Decode([0xE9]));
        string layout = _directory.CreateDirectory("layout"), cache = Named("cache");
        new OciLayoutBuilder(layout).AddLayer(new TarBytes().File("f", "content")).WriteImage("v1");
        Tool.Shell("cp -r \"$1/layout\" \"$1/oci\"$'\\xe9'; tar -C \"$1/layout\" -cf \"$1/archive\"$'\\xe9' .", _directory.Path).EnsureSuccess();
        foreach (string image in (string[])[$"oci:{Named("oci")}:v1", $"oci-archive:{Named("archive")}:v1"])
        {
            CommandRun run = await CommandRun.RunAsync("--cache-dir", cache, "cat", image, "/f");
            Assert.Equal((0, "content", ""), (run.ExitCode, run.Output, run.Error));
        }
        CommandRun pull = await CommandRun.RunAsync("--cache-dir", cache, "pull", $"oci:{layout}:v1", $"oci:{Named("pulled")}:v1");
        Assert.Equal((0, ""), (pull.ExitCode, pull.Error));
        string[] names = Tool.Shell("cd \"$1\"; printf '%s\\n' * | LC_ALL=C sed 's/\\xe9/+/' | LC_ALL=C sort", _directory.Path).EnsureSuccess().Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["archive+", "cache+", "layout", "oci+", "pulled+"], names);
        CommandRun read = await CommandRun.RunAsync("--cache-dir", cache, "cat", $"oci:{Named("pulled")}:v1", "/f");
        Assert.Equal((0, "content"), (read.ExitCode, read.Output));
    }
}
