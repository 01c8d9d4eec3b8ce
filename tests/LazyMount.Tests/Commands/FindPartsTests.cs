using System.Diagnostics;
using System.Text;
using LazyMount.Cli;
using LazyMount.Finding;
using LazyMount.TestKit;
using LazyMount.Trees;
using Xunit;

namespace LazyMount.Tests.Commands;

/// <summary>The parts of find that take what users or images wrote, where GNU find on a mount cannot be asked.</summary>
public sealed class FindPartsTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void HostileNames_AreMatchedInTime()
    {
        byte[] name = Encoding.ASCII.GetBytes(new string('a', 255));
        var glob = new GlobPattern("*a*a*a*a*a*a*a*a*a*a*a*a*b"u8, ignoresCase: true);
        var regex = new PathRegex(@"\(a*\)*\(a*\)*\(a\|aa\)+b", RegexDialect.Emacs, ignoresCase: false);
        var clock = Stopwatch.StartNew();
        for (int i = 0; i < 200; i++)
        {
            Assert.False(glob.Matches(name));
            Assert.False(regex.Matches(name));
        }
        Assert.True(clock.Elapsed < TimeSpan.FromSeconds(20), $"{clock.Elapsed}");
    }

    [Theory]
    [InlineData(@"\(a\)\1", "aa", true)]
    [InlineData(@".*\<b\>.*", "/a b/c", true)]
    [InlineData(@".*\<b\>.*", "/a bb/c", false)]
    [InlineData("a+", "aaa", true)]
    [InlineData(@"a\+", "a+", true)]
    [InlineData("[a\\]", "\\", true)]
    [InlineData("[]x]", "]", true)]
    [InlineData("a**", "aa", true)]
    [InlineData("*a", "*a", true)]
    [InlineData("a.c", "a\nc", false)]
    [InlineData("^a$", "a", true)]
    [InlineData("a^b", "a^b", true)]
    [InlineData("a$b", "a$b", true)]
    [InlineData("[^a]", "\U0001F600", true)]
    [InlineData("[\U0001F600x]", "\U0001F600", true)]
    [InlineData("..", "\U0001F600", false)]
    [InlineData("\U0001F600+", "\U0001F600\U0001F600", true)]
    public void EmacsRegex_MatchesWholePaths(string pattern, string path, bool matches)
        => Assert.Equal(matches, new PathRegex(pattern, RegexDialect.Emacs, ignoresCase: false).Matches(Encoding.UTF8.GetBytes(path)));

    [Theory]
    [InlineData("(", "posix-extended")]
    [InlineData("a{2", "posix-extended")]
    [InlineData("a{3,2}", "posix-extended")]
    [InlineData("a{x}", "posix-extended")]
    [InlineData("a{99999}", "posix-extended")]
    [InlineData("*a", "posix-extended")]
    [InlineData("[a", "posix-extended")]
    [InlineData("[[:nope:]]", "posix-extended")]
    [InlineData("[z-a]", "posix-extended")]
    [InlineData(@"\1", "posix-basic")]
    [InlineData(@"\)", "posix-basic")]
    [InlineData(@"a\", "posix-basic")]
    public void WrongRegex_IsOneClause(string pattern, string dialect)
        => Assert.DoesNotContain('\n', Assert.Throws<FormatException>(() => new PathRegex(pattern, PathRegex.Dialects[dialect], ignoresCase: false)).Message);

    /// <summary>chmod(1) says what a mode means.</summary>
    [Theory]
    [InlineData("u+rwx,g+rx,o=r")]
    [InlineData("a+r,u+w,g=u,o=g-w")]
    [InlineData("u+s,g+s,+t")]
    [InlineData("+x")]
    [InlineData("ug=rw,o+X")]
    [InlineData("u+x,o+X")]
    [InlineData("o+t,o-t,a=s")]
    [InlineData("=t")]
    [InlineData("u=rwx-x+s")]
    [InlineData("4711")]
    public void Permissions_AreThoseOfChmod(string text)
    {
        string file = _directory["file"];
        File.WriteAllText(file, "");
        Assert.Equal(0, Tool.Shell("umask 0; chmod 0 \"$1\" && chmod -- \"$2\" \"$1\"", file, text).ExitCode);
        string chmod = Tool.Run("stat", "-c", "%a", file).EnsureSuccess().Output.TrimEnd();
        Assert.True(PermissionText.TryParse(text, out uint mode, out _));
        Assert.Equal(chmod, Convert.ToString(mode, 8));
    }

    /// <summary>du(1) says how a size is written.</summary>
    [Fact]
    public void ShortSizes_AreThoseOfDu()
    {
        long[] sizes = [0, 1, 9, 10, 511, 1000, 1023, 1024, 1025, 1075, 1126, 1127, 9 * 1024, 10188, 10189, 10240, 10241, 102400, 1023 * 1024, (1023 * 1024) + 1, 1048575, 1048576, 1048577, 1572864, 1572865,
            5_000_000_000, 9_999_999_999, 1L << 40, (1L << 40) + 1, (10L << 40) - 1, 1L << 42];
        foreach (long size in sizes)
        {
            Tool.Run("truncate", "-s", size.ToString(System.Globalization.CultureInfo.InvariantCulture), _directory[$"{size}"]).EnsureSuccess();
        }
        string[] du = Tool.Shell("cd \"$1\"; shift; du -h --apparent-size \"$@\"", [_directory.Path, .. sizes.Select(size => $"{size}")]).EnsureSuccess().Output.TrimEnd('\n').Split('\n');
        Assert.Equal(du, sizes.Select(size => $"{ByteSize.FormatShort(size)}\t{size}"));
        Assert.Equal("8.0E", ByteSize.FormatShort(long.MaxValue));
    }

    [Fact]
    public void UserNames_AreTakenFromTheFirstLineThatIsOfTheForm()
    {
        IdNames names = IdNames.Parse("root:x:0:0:::\nbroken\n:x:5:\n#c:x:6:\ntwice:x:7:\nother:x:7:\ntwice:x:8:\nneg:x:-1:\nbig:x:4294967296:\nlast:x:4294967295"u8);
        Assert.Equal("root", Encoding.UTF8.GetString(names.NameOf(0)));
        Assert.Equal("twice", Encoding.UTF8.GetString(names.NameOf(7)));
        Assert.Equal("twice", Encoding.UTF8.GetString(names.NameOf(8)));
        Assert.Equal(((uint?)7, 7, null, null), (names.NumberOf("twice"), names.NumberOf("other"), names.NumberOf("neg"), names.NumberOf("big")));
        Assert.Equal(uint.MaxValue, names.NumberOf("last"));
        Assert.True(names.NameOf(5).IsEmpty);
    }

    [Fact]
    public async Task LargeFileOfUsers_IsRefused()
    {
        var layout = new OciLayoutBuilder(_directory["layout"]);
        layout.AddLayer(new TarBytes().Directory("etc").File("etc/passwd", new byte[(16 << 20) + 1])).WriteImage("v1");
        CommandRun run = await CommandRun.RunAsync("find", "--cache-dir", _directory["cache"], layout.Reference("v1"), "-user", "app");
        Assert.Equal((1, ""), (run.ExitCode, run.Output));
        Assert.Contains("16.0 MiB is the limit", run.Error, StringComparison.Ordinal);
    }

    /// <summary>Names of users are file bytes: they are only fetched when they are asked for.</summary>
    [Fact]
    public async Task Ls_AlignsNamesByTheColumnsThatTheyTake()
    {
        var layout = new OciLayoutBuilder(_directory["layout"]);
        layout.AddLayer(new TarBytes().Directory("etc").File("etc/passwd", "用户甲乙丙:x:7:7::/:\n"u8.ToArray()).File("a", "x", edit: TarBytes.OwnedBy(7, 0)).File("b", "x", edit: TarBytes.OwnedBy(0, 0))).WriteImage("v1");
        string[] lines = (await CommandRun.RunAsync("find", "--cache-dir", _directory["cache"], layout.Reference("v1"), "/a", "/b", "-ls")).Output.Split('\n');
        Assert.Contains(" 用户甲乙丙 0 ", lines[0], StringComparison.Ordinal);
        Assert.Contains($" {"0",-10} 0 ", lines[1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task NoFileIsRead_UnlessNamesOfUsersAreAskedFor()
    {
        var layout = new OciLayoutBuilder(_directory["layout"]);
        layout.AddLayer(new TarBytes().Directory("etc").File("etc/passwd", "app:x:7:7::/:\n").File("etc/group", "app:x:7:\n").File("file", "x", edit: TarBytes.OwnedBy(7, 7)));
        string digest = layout.WriteImage("v1")[0], image = layout.Reference("v1"), cache = _directory["cache"];
        Assert.Equal("/file\n", (await CommandRun.RunAsync("find", "--cache-dir", cache, "--no-keep", image, "-user", "app")).Output);
        File.Delete(layout.BlobFile(digest));
        Assert.Equal("/file 7 7\n", (await CommandRun.RunAsync("find", "--cache-dir", cache, image, "-uid", "7", "-printf", "%p %U %G\\n")).Output);
        Assert.Equal("/file\n", (await CommandRun.RunAsync("find", "--cache-dir", cache, image, "-user", "7")).Output);
        Assert.Equal(0, (await CommandRun.RunAsync("du", "--cache-dir", cache, image)).ExitCode);
        Assert.Equal(0, (await CommandRun.RunAsync("ls", "-lR", "--cache-dir", cache, image)).ExitCode);
        foreach (string[] expression in new string[][] { ["-user", "app"], ["-printf", "%u"], ["-printf", "%g"], ["-ls"], ["-nogroup"] })
        {
            CommandRun run = await CommandRun.RunAsync(["find", "--cache-dir", cache, image, .. expression]);
            Assert.NotEqual(0, run.ExitCode);
            Assert.Equal("", run.Output);
        }
    }
}
