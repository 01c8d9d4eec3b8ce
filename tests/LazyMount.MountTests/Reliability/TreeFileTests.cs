using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Reliability;

/// <summary>The tree file in the cache is damaged, cut or deleted while it is used, and before.</summary>
public sealed class TreeFileTests : IDisposable
{
    private const int Files = 4000;

    private readonly LazyMountCli _lazymount = new();
    private readonly Dictionary<string, string> _expected = [];

    public void Dispose() => _lazymount.Dispose();

    private string Write()
    {
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        var tar = new TarBytes().Directory("./");
        for (int i = 0; i < Files; i++)
        {
            _expected[$"d{i % 40}/some-file-{i}"] = $"content of {i}";
            tar.File($"d{i % 40}/some-file-{i}", $"content of {i}");
        }
        layout.AddLayer(tar);
        layout.WriteImage("v1");
        return layout.Reference("v1");
    }

    private string TreeFile => Assert.Single(Directory.GetFiles(Path.Combine(_lazymount.CacheDirectory, "v1", "trees")));

    [Fact]
    public void OpeningAgain_TakesTheTreeThatIsThere()
    {
        string image = Write();
        _lazymount.Run("ls", image, "/d1").EnsureSuccess();
        DateTime written = File.GetCreationTimeUtc(TreeFile);
        byte[] bytes = File.ReadAllBytes(TreeFile);
        Assert.Equal(Files / 40, _lazymount.Run("ls", image, "/d1").EnsureSuccess().Output.Split('\n').Length - 1);
        Assert.Equal(written, File.GetCreationTimeUtc(TreeFile));
        _lazymount.Run("ls", "--layer", "0", image).EnsureSuccess();
        Assert.Equal(2, Directory.GetFiles(Path.GetDirectoryName(TreeFileOf(bytes))!).Length);
    }

    private string TreeFileOf(byte[] bytes)
        => Directory.GetFiles(Path.Combine(_lazymount.CacheDirectory, "v1", "trees")).Single(file => File.ReadAllBytes(file).AsSpan().SequenceEqual(bytes));

    [Theory]
    [InlineData("fuse")]
    [InlineData("erofs")]
    public void DamageWhileItIsMounted_GivesErrorsAndNoWrongAnswers_AndIsMendedByTheNextMount(string face)
    {
        Assert.SkipUnless(face == "fuse" || Environment.IsPrivilegedProcess, "only root can mount EROFS");
        string image = Write();
        _lazymount.Run("ls", image).EnsureSuccess();
        byte[] good = File.ReadAllBytes(TreeFile);
        var random = new Random(5);
        int failed = 0;
        for (int round = 0; round < 6; round++)
        {
            string directory = _lazymount.Mount(image, "--as", face);
            string tree = TreeFile;
            Assert.Equal(good, File.ReadAllBytes(tree)); // made again if it was deleted
            using (var file = new FileStream(tree, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete))
            {
                if (round % 3 == 0)
                {
                    file.SetLength(random.Next(good.Length / 2));
                }
                else
                {
                    for (int i = 0; i < 40; i++)
                    {
                        file.Position = random.Next(good.Length);
                        file.WriteByte(0xA5);
                    }
                }
            }
            failed += CountFailures(directory);
            _lazymount.Run("umount", directory).EnsureSuccess();
        }
        Assert.True(failed > 0, "nothing was ever damaged");
        Assert.Equal(0, CountFailures(_lazymount.Mount(image, "--as", face)));
    }

    [Theory]
    [InlineData("cut")]
    [InlineData("empty")]
    [InlineData("changed")]
    [InlineData("other")]
    public void DamageBefore_CostsARebuild(string damage)
    {
        string image = Write();
        _lazymount.Run("ls", image).EnsureSuccess();
        string tree = TreeFile;
        byte[] good = File.ReadAllBytes(tree);
        File.WriteAllBytes(tree, damage switch
        {
            "cut" => good[..^1],
            "empty" => [],
            "changed" => [.. good[..^30], (byte)(good[^30] ^ 1), .. good[^29..]],
            _ => new byte[50_000],
        });
        Assert.Equal(0, CountFailures(_lazymount.Mount(image)));
        Assert.Equal(good, File.ReadAllBytes(TreeFile));
    }

    [Fact]
    public void ATreeOfAnotherImageInItsPlace_IsNoticed()
    {
        string image = Write();
        var other = new OciLayoutBuilder(_lazymount.Directory["other"]);
        other.AddLayer(new TarBytes().Directory("./").File("foreign", "foreign"));
        other.WriteImage("v1");
        _lazymount.Run("ls", other.Reference("v1")).EnsureSuccess();
        byte[] foreign = File.ReadAllBytes(TreeFile);
        File.Delete(TreeFile);
        _lazymount.Run("ls", image).EnsureSuccess();
        File.WriteAllBytes(TreeFile, foreign);
        Assert.Equal(0, CountFailures(_lazymount.Mount(image)));
        Assert.DoesNotContain("foreign", _lazymount.Run("ls", image).EnsureSuccess().Output, StringComparison.Ordinal);
    }

    [Fact]
    public void FilesWhoseAttributesErofsCannotHold_HaveTheirBytes()
    {
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        layout.AddLayer(new TarBytes().Directory("./").File("a", "first").Pax(("SCHILY.xattr.com.apple.quarantine", "0001")).File("mac", "content of mac")
            .Pax(("SCHILY.xattr.user.big", new string('v', 65_536))).File("big", "content of big").File("z", "last"));
        layout.WriteImage("v1");
        string image = layout.Reference("v1"), directory = _lazymount.Mount(image), exported = _lazymount.Directory["exported.tar"];
        Assert.Equal("content of mac", _lazymount.Run("cat", image, "/mac").EnsureSuccess().Output);
        Assert.Equal("content of big", File.ReadAllText(Path.Combine(directory, "big")));
        Assert.Equal("content of mac", File.ReadAllText(Path.Combine(directory, "mac")));
        _lazymount.Run("export", "-o", exported, image).EnsureSuccess();
        Assert.Equal("content of mac", Tool.Run("tar", "-xOf", exported, "mac").EnsureSuccess().Output);
    }

    [Fact]
    public void ATreeLargerThanTheCacheMayBe_IsInMemory()
    {
        string image = Write();
        Assert.Equal(41, _lazymount.Run("ls", "--cache-limit", "600K", image).EnsureSuccess().Output.Split('\n').Length);
        Assert.Empty(Directory.GetFiles(Path.Combine(_lazymount.CacheDirectory, "v1", "trees")));
    }

    [Fact]
    public void AHandleOfAnotherImage_IsStale_AndLeavesTheTreeAlone()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess && System.Runtime.InteropServices.RuntimeInformation.OSArchitecture == System.Runtime.InteropServices.Architecture.X64, "only root opens by handle; the number of the call is x86_64's");
        string image = Write(), directory = _lazymount.Mount(image, "--as", "fuse");
        // Handles as FUSE makes them, with each number as the node id.
        const string Perl = """
            my ($real, $id) = (pack('IiC128', 128, 0, (0) x 128), pack('i', 0));
            syscall(303, -100, "$ARGV[0]/d1", $real, $id, 0) == 0 or die "name_to_handle_at: $!"; # AT_FDCWD
            my ($bytes, $type, $high, $low, $generation) = unpack('IiIII', $real);
            opendir(my $mount, $ARGV[0]) or die;
            for my $node (1 .. 4000) {
                my $handle = pack('IiIII', $bytes, $type, 0, $node, $generation);
                my $fd = syscall(304, fileno($mount), $handle, 0);
                if ($fd >= 0) { $opened++; POSIX::close($fd) }
            }
            print $opened > 20 ? 'some' : "few: $opened $!";
            """;
        ToolResult tried = Tool.Run("perl", "-MPOSIX", "-e", Perl, directory).EnsureSuccess();
        Assert.Equal("some", tried.Output);
        Assert.True(File.Exists(TreeFile), tried.Error);
    }

    [Fact]
    public void DeletedWhileItIsMounted_ItServesOn()
    {
        string image = Write(), directory = _lazymount.Mount(image, "--as", "fuse");
        File.Delete(TreeFile);
        Assert.Equal(0, CountFailures(directory));
    }

    [Fact]
    public void CacheVerify_FindsADamagedTree()
    {
        string image = Write();
        _lazymount.Run("ls", image).EnsureSuccess();
        _lazymount.Run("cache", "verify").EnsureSuccess();
        string tree = TreeFile;
        byte[] bytes = File.ReadAllBytes(tree);
        bytes[10_000] ^= 1;
        File.WriteAllBytes(tree, bytes);
        ToolResult verified = _lazymount.Run("cache", "verify");
        Assert.Equal(1, verified.ExitCode);
        Assert.Contains($"damaged, will be fetched or made again: {tree}", verified.Output, StringComparison.Ordinal);
        Assert.False(File.Exists(tree));
        _lazymount.Run("ls", image).EnsureSuccess();
    }

    // Everything that is expected is there with its content, or fails; nothing else is there.
    private int CountFailures(string directory)
    {
        int failures = 0;
        foreach ((string path, string content) in _expected)
        {
            Try(() => Assert.Equal(content, File.ReadAllText(Path.Combine(directory, path))));
        }
        for (int i = 0; i < 40; i++)
        {
            string[] names = [.. _expected.Keys.Where(path => path.StartsWith($"d{i}/", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
            Try(() => Assert.Equal(names, Directory.GetFiles(Path.Combine(directory, $"d{i}")).Select(path => Path.GetRelativePath(directory, path)).Order(StringComparer.Ordinal)));
            Try(() => Assert.False(File.Exists(Path.Combine(directory, $"d{i}/none"))));
        }
        return failures;

        void Try(Action question)
        {
            try
            {
                question();
            }
            catch (IOException e) when (e is not FileNotFoundException and not DirectoryNotFoundException && e.Message.Contains("Input/output error", StringComparison.Ordinal))
            {
                failures++;
            }
        }
    }
}
