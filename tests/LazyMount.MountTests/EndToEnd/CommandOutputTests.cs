using System.Globalization;
using System.Text.Json;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>What the commands that look into an image without mounting it print.</summary>
public sealed class CommandOutputTests : IDisposable
{
    private const int SigInt = 2;

    private readonly LazyMountCli _lazymount = new();
    private readonly OciLayoutBuilder _layout;
    private readonly string _image;
    private readonly string[] _layers;

    public CommandOutputTests()
    {
        _layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        _layout.AddLayer(new TarBytes().Directory("./").Directory("etc").File("etc/motd", "hello\n", 0x180, TarBytes.OwnedBy(10, 20)).Symlink("etc/link", "motd").File("gone"));
        _layout.AddLayer(new TarBytes().Whiteout("gone").Directory("bin").File("bin/tool", new string('x', 1234), 0x1ED).HardLink("bin/alias", "bin/tool", 0x1ED).CharacterDevice("null", 1, 3));
        _layers = _layout.WriteImage("v1");
        _image = _layout.Reference("v1");
    }

    public void Dispose() => _lazymount.Dispose();

    /// <summary>Root of a user namespace that maps no other user: files are there, with the caller as owner and without set-user-ID bits, as with cp -a.</summary>
    [Theory]
    [InlineData("cp", "/.")]
    [InlineData("unpack", "")]
    public void OwnersThatAUserNamespaceDoesNotMap_AreSaid_AndTheFilesStay(string command, string path)
    {
        _layout.AddLayer(new TarBytes().File("program", "x", 0x9ED, TarBytes.OwnedBy(10, 20)).File("own", "y").CharacterDevice("null", 1, 3)).WriteImage("owners");
        string target = _lazymount.Directory["copy"];
        string[] words = [LazyMountCli.Binary, "--cache-dir", _lazymount.CacheDirectory, command, _layout.Reference("owners"), .. path.Length > 0 ? (string[])[path] : [], target];
        ToolResult result = Tool.Shell("unshare --user --map-root-user bash -c 'out=$1; shift; \"$@\"; echo $?; stat -c %u:%g:%a:%F \"$out\"/{program,own,null}' bash \"$@\"", [target, .. words]);
        Assert.Equal("1\n0:0:755:regular file\n0:0:644:regular file\n0:0:644:regular empty file\n", result.Output);
        Assert.Contains("lazymount: cannot set the owner 10:20 of '/program' of the image: Invalid argument\n", result.Error, StringComparison.Ordinal);
        Assert.Contains("because this user namespace or file system does not know their owners", result.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("list")]
    [InlineData("umount /no-such-directory")]
    public void StateDirectoryThatCannotBeRead_IsSaid(string command)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root can give up capabilities");
        string state = _lazymount.Directory.CreateDirectory("closed");
        Tool.Run("chmod", "0", state).EnsureSuccess();
        ToolResult result = Tool.Shell($"LAZYMOUNT_STATE=$2 setpriv --bounding-set=-dac_override,-dac_read_search \"$1\" {command}", LazyMountCli.Binary, state);
        Assert.Equal((1, "", $"lazymount: cannot read the state directory '{state}': Permission denied; get permission to read it, or choose another directory with $LAZYMOUNT_STATE\n"), (result.ExitCode, result.Output, result.Error));
    }

    [Fact]
    public void Ls_ListsNames()
    {
        Assert.Equal("bin\netc\nnull\n", Output("ls", _image));
        Assert.Equal("link\nmotd\n", Output("ls", _image, "/etc"));
        Assert.Equal("link\nmotd\n", Output("ls", _image, "etc/"));
    }

    // The sizes of pipes and of buffers are passed.
    private string LargeImage()
    {
        byte[] noise = new byte[3 << 20];
        new Random(1).NextBytes(noise);
        var layout = new OciLayoutBuilder(_lazymount.Directory["large"]);
        layout.AddLayer(new TarBytes().File("noise", noise)).WriteImage("v1");
        return layout.Reference("v1");
    }

    [Theory]
    [InlineData("-o pipe", "cat pipe >copy")]
    [InlineData("-o pipe", "sleep 1; cat pipe >copy")]
    [InlineData("-o /dev/stdout | cat >copy", "")]
    [InlineData("-o /dev/stdout >copy", "")]
    [InlineData("-o /dev/fd/9 9>copy", "")]
    [InlineData("-o /dev/fd/9 9> >(cat >copy)", "wait $!; sleep 1")]
    public void Export_WritesToPipesAndOpenFilesAsTheyAre(string output, string reader)
    {
        string image = LargeImage(), tar = _lazymount.Directory["tar"], directory = _lazymount.Directory.CreateDirectory("out");
        _lazymount.Run("export", "-o", tar, image).EnsureSuccess();
        const string Script = "cd \"$1\"; mkfifo pipe; \"$2\" export --cache-dir \"$3\" \"$4\" ";
        Tool.Shell($"set -o pipefail; {Script}{output} & {(reader.Length > 0 ? reader : "true")}; wait $!", directory, LazyMountCli.Binary, _lazymount.CacheDirectory, image).EnsureSuccess();
        Assert.True(File.ReadAllBytes(tar).AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(directory, "copy"))));
    }

    [Theory]
    [InlineData("sleep 300")] // nobody opens it
    [InlineData("exec sleep 300 <pipe")] // nobody reads it
    public void Export_ToAPipeThatNobodyReads_EndsByCtrlC(string reader)
    {
        string image = LargeImage(), directory = _lazymount.Directory.CreateDirectory("out"), pipe = Path.Combine(directory, "pipe");
        Tool.Run("mkfifo", pipe).EnsureSuccess();
        _lazymount.Run("ls", image).EnsureSuccess();
        using Tool other = Tool.Start("bash", ["-c", $"cd \"$1\"; {reader}", "bash", directory]);
        using Tool export = _lazymount.Start("export", "-o", pipe, image);
        Thread.Sleep(2000);
        Assert.False(export.HasExited);
        export.Signal(SigInt);
        Assert.Equal(128 + SigInt, export.WaitForExit(TimeSpan.FromSeconds(20)).ExitCode);
        Assert.Equal([pipe], Directory.EnumerateFileSystemEntries(directory));
    }

    [Fact]
    public void LsLong_ShowsModeLinksOwnerSizeTimeAndTarget()
    {
        string[] lines = Output("ls", "-l", _image, "/etc").TrimEnd('\n').Split('\n');
        Assert.StartsWith("total ", lines[0], StringComparison.Ordinal);
        Assert.Equal(["lrwxrwxrwx 1  0  0 4 2020-01-01 00:00 link -> motd", "-rw------- 1 10 20 6 2020-01-01 00:00 motd"], lines[1..]);
        Assert.Contains("crw-r--r-- 1 0 0 1, 3 ", Output("ls", "-l", _image, "/null"), StringComparison.Ordinal);
        Assert.Contains("-rwxr-xr-x 2 0 0 1234 ", Output("ls", "-l", _image, "/bin"), StringComparison.Ordinal);
    }

    [Fact]
    public void LsRecursive_ListsEveryDirectory()
        => Assert.Equal("/:\nbin\netc\nnull\n\n/bin:\nalias\ntool\n\n/etc:\nlink\nmotd\n", Output("ls", "-R", _image));

    [Fact]
    public void LsJson_HasEveryEntry()
    {
        JsonElement[] entries = JsonLines("ls", "--json", "-R", _image);
        Assert.Equal(["/bin", "/bin/alias", "/bin/tool", "/etc", "/etc/link", "/etc/motd", "/null"], entries.Select(entry => entry.GetProperty("path").GetString()));
        JsonElement motd = entries.Single(entry => entry.GetProperty("name").GetString() == "motd");
        Assert.Equal("file", motd.GetProperty("type").GetString());
        Assert.Equal("0600", motd.GetProperty("mode").GetString());
        Assert.Equal(10, motd.GetProperty("uid").GetInt32());
        Assert.Equal(6, motd.GetProperty("size").GetInt32());
        Assert.Equal(0, motd.GetProperty("layer").GetInt32());
    }

    [Fact]
    public void Cat_WritesBytesOfEveryFileAndFollowsLinks()
    {
        Assert.Equal("hello\n" + new string('x', 1234), Output("cat", _image, "/etc/motd", "bin/alias"));
        Assert.Equal("hello\n", Output("cat", _image, "/etc/link"));
    }

    [Fact]
    public void Cat_OfWhatIsNotAFile_Fails()
    {
        Sentence.AssertOne(_lazymount.Run("cat", _image, "/no/such"), 1, "/no/such");
        Sentence.AssertOne(_lazymount.Run("cat", _image, "/gone"), 1, "/gone");
        Sentence.AssertOne(_lazymount.Run("cat", _image, "/etc"), 1, "/etc", "directory");
    }

    [Fact]
    public void Ls_OfWhatIsNotThere_Fails() => Sentence.AssertOne(_lazymount.Run("ls", _image, "/no/such"), 1, "/no/such");

    [Fact]
    public void Tree_DrawsAllAndCounts()
        => Assert.Equal("/\n├── bin\n│   ├── alias\n│   └── tool\n├── etc\n│   ├── link -> motd\n│   └── motd\n└── null\n\n2 directories, 5 files\n", Output("tree", _image));

    [Fact]
    public void TreeJson_Nests()
    {
        using JsonDocument json = Json("tree", "--json", _image);
        JsonElement etc = json.RootElement.GetProperty("children").EnumerateArray().Single(child => child.GetProperty("name").GetString() == "etc");
        Assert.Equal(["link", "motd"], etc.GetProperty("children").EnumerateArray().Select(child => child.GetProperty("name").GetString()));
    }

    [Fact]
    public void Stat_NamesTheLayer()
    {
        Assert.Contains(_layers[1], Output("stat", _image, "/bin/tool"), StringComparison.Ordinal);
        JsonElement[] entries = JsonLines("stat", "--json", _image, "/etc/motd", "/bin/alias", "/etc/link");
        Assert.Equal([_layers[0], _layers[1], _layers[0]], entries.Select(entry => entry.GetProperty("layerDigest").GetString()));
        Assert.Equal(2, entries[1].GetProperty("links").GetInt32());
        Assert.Equal("motd", entries[2].GetProperty("target").GetString());
    }

    [Fact]
    public void Layers_ListsThemLowestFirst()
    {
        string[] lines = Output("layers", _image).TrimEnd('\n').Split('\n');
        Assert.Equal(3, lines.Length);
        Assert.Contains(_layers[0], lines[1], StringComparison.Ordinal);
        Assert.Contains(_layers[1], lines[2], StringComparison.Ordinal);

        Output("ls", _image);
        using JsonDocument json = Json("layers", "--json", _image);
        JsonElement[] layers = [.. json.RootElement.EnumerateArray()];
        Assert.Equal(_layers, layers.Select(layer => layer.GetProperty("layerDigest").GetString()));
        Assert.Equal([5, 5], layers.Select(layer => layer.GetProperty("entries").GetInt32()));
        Assert.All(layers, layer => Assert.Equal("gzip", layer.GetProperty("format").GetString()));
        Assert.All(layers, layer => Assert.Equal("layer", layer.GetProperty("proof").GetString()));
        Assert.All(layers.Zip(_layers), pair => Assert.Equal(new FileInfo(_layout.BlobFile(pair.Second)).Length, pair.First.GetProperty("compressedSize").GetInt64()));
    }

    [Fact]
    public void ManifestAndConfig_AreTheExactBytes()
    {
        byte[] manifest = _lazymount.Run("manifest", _image).EnsureSuccess().OutputBytes;
        using JsonDocument index = JsonDocument.Parse(File.ReadAllText(Path.Combine(_layout.Directory, "index.json")));
        Assert.Equal(index.RootElement.GetProperty("manifests")[0].GetProperty("digest").GetString(), OciLayoutBuilder.DigestOf(manifest));
        using JsonDocument parsed = JsonDocument.Parse(manifest);
        byte[] config = _lazymount.Run("config", _image).EnsureSuccess().OutputBytes;
        Assert.Equal(parsed.RootElement.GetProperty("config").GetProperty("digest").GetString(), OciLayoutBuilder.DigestOf(config));
    }

    [Fact]
    public void List_ShowsMountsWithTheirImage()
    {
        string directory = _lazymount.Mount(_image);
        Assert.Contains(directory, Output("list"), StringComparison.Ordinal);
        using JsonDocument json = Json("list", "--json");
        JsonElement mount = json.RootElement.EnumerateArray().Single(mount => mount.GetProperty("mountPoint").GetString() == directory);
        Assert.EndsWith("Z", mount.GetProperty("since").GetString(), StringComparison.Ordinal);
        Assert.Equal("alive", mount.GetProperty("state").GetString());
        Assert.Equal("layer", mount.GetProperty("proof").GetString());
        Assert.Contains($"proofs of the layers of '{_image}': 2 layer", File.ReadAllText(mount.GetProperty("logFile").GetString()!), StringComparison.Ordinal);
        Assert.Equal(_image, mount.GetProperty("image").GetString());
        Assert.Equal(LazyMountCli.DaemonsOf(directory).Single().ToString(CultureInfo.InvariantCulture), mount.GetProperty("pid").ToString());
    }

    [Fact]
    public void ClosedOutput_EndsSilently()
    {
        ToolResult result = Tool.Shell("set -o pipefail; \"$1\" ls --json -R \"$2\" | true; exit 0", LazyMountCli.Binary, _image);
        Assert.Equal("", result.Error);
    }

    [Theory]
    [InlineData("2>&-")]
    [InlineData("2>/dev/full")]
    public void MessageThatNobodyCanBeTold_LeavesTheExitCode(string error)
        => Assert.Equal(2, Tool.Shell("\"$1\" ls --frob " + error, LazyMountCli.Binary).ExitCode);

    [Fact]
    public void NameThatIsNotUtf8_IsFoundAsItIsTyped()
    {
        _layout.AddLayer(new TarBytes().File("caf\u00e9", "latin"u8.ToArray()));
        _layout.WriteImage("latin");
        const string Line = """export LAZYMOUNT_CACHE=$3; name=$(printf 'caf\351'); "$1" cat "$2" "$name" && "$1" ls "$2" "/$name" && "$1" stat "$2" "$name" | head -1""";
        ToolResult result = Tool.Shell(Line, LazyMountCli.Binary, _layout.Reference("latin"), _lazymount.CacheDirectory).EnsureSuccess();
        Assert.Equal("latin/caf\u00e9\n  File: caf\u00e9\n", System.Text.Encoding.Latin1.GetString(result.OutputBytes));
    }

    [Fact]
    public void OutputThatIsClosedFromTheBeginning_GoesNowhereElse()
    {
        // Whatever is opened first would get the number, and then what is written.
        foreach (string closed in new[] { ">&-", ">&- 2>&-", "<&- >&-", "<&- >&- 2>&-" })
        {
            ToolResult result = Tool.Shell($"\"$1\" --cache-dir \"$3\" export \"$2\" {closed}", LazyMountCli.Binary, _image, _lazymount.Directory["fresh-cache"]);
            Assert.True(result.ExitCode == 1, $"{closed}: {result.ExitCode}");
            Assert.Equal(closed.Contains("2>", StringComparison.Ordinal) ? "" : "lazymount: cannot write the output: Bad file descriptor\n", result.Error);
        }
    }

    [Theory]
    [InlineData("export \"$2\" > \"$3\"")]
    [InlineData("cat \"$2\" /large > \"$3\"")]
    [InlineData("export \"$2\" -o \"$3\"")]
    public void ASignal_EndsWhoeverWaitsForTheReaderOfAPipe(string command)
    {
        var layout = new OciLayoutBuilder(_lazymount.Directory["large"]);
        layout.AddLayer(new TarBytes().File("large", new byte[4 << 20])).WriteImage("v1");
        string pipe = _lazymount.Directory["pipe"], image = layout.Reference("v1");
        Tool.Run("mkfifo", pipe).EnsureSuccess();
        // The reader takes nothing.
        ToolResult result = Tool.Shell($"sleep 60 < \"$3\" & reader=$!; export LAZYMOUNT_CACHE=\"$4\"; timeout --signal=INT --kill-after=20 3 \"$1\" {command}; code=$?; kill $reader; exit $code", LazyMountCli.Binary, image, pipe, _lazymount.CacheDirectory);
        Assert.Equal((124, ""), (result.ExitCode, result.Error)); // 137 had it to be killed
    }

    [Fact]
    public void ASignal_EndsWhoeverWaitsForAPipeToBeRead()
    {
        string pipe = _lazymount.Directory["pipe"];
        Tool.Run("mkfifo", pipe).EnsureSuccess();
        Assert.Equal(124, Tool.Run("timeout", "--signal=INT", "--kill-after=20", "3", LazyMountCli.Binary, "--cache-dir", _lazymount.CacheDirectory, "export", "-o", pipe, _image).ExitCode);
    }

    [Fact]
    public void HelpAndVersion_GoToStandardOutput()
    {
        Assert.Contains("mount", Output("--help"), StringComparison.Ordinal);
        Assert.StartsWith("lazymount ", Output("--version"), StringComparison.Ordinal);
        Assert.Contains("Examples:", Output("mount", "--help"), StringComparison.Ordinal);
    }

    private string Output(params string[] arguments) => _lazymount.Run(arguments).EnsureSuccess().Output;

    private JsonElement[] JsonLines(params string[] arguments) => [.. Output(arguments).TrimEnd('\n').Split('\n').Select(line => JsonDocument.Parse(line).RootElement)];

    private JsonDocument Json(params string[] arguments) => JsonDocument.Parse(Output(arguments));
}
