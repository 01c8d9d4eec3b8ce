using System.Text.RegularExpressions;
using LazyMount.MountTests.EndToEnd;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Zoo;

/// <summary>What all cases share: one containerd, one lazymount with its cache.</summary>
public sealed class ZooKeeper : IDisposable
{
    private readonly Lazy<Containerd> _containerd = new();

    public LazyMountCli LazyMount { get; } = new();

    public Containerd Containerd => _containerd.Value;

    public void Dispose()
    {
        LazyMount.Dispose();
        if (_containerd.IsValueCreated)
        {
            _containerd.Value.Dispose();
        }
    }
}

/// <summary>
/// Every case of the zoo through a real mount by the real binary, against the expectation beside it and then against the
/// oracles: a difference to one of those is either written in the case or a failure.
/// </summary>
public sealed partial class ZooTests(ZooKeeper keeper) : IClassFixture<ZooKeeper>
{
    /// <summary>The cases by name. A new subject's list is added here.</summary>
    internal static readonly Dictionary<string, ZooCase> Cases = new ZooCase[][]
    {
        EntryCases.All, TarCases.All, WhiteoutCases.All, SymlinkCases.All, HardLinkCases.All, ReplacementCases.All, SparseCases.All,
    }.SelectMany(cases => cases).ToDictionary(each => each.Name);

    public static TheoryData<string> Names { get; } = [.. Cases.Keys];

    public static MatrixTheoryData<string, string> NamesAndFaces { get; } = new(Cases.Keys, ["fuse", "erofs"]);

    public static MatrixTheoryData<string, Oracle> NamesAndOracles { get; } = new(Cases.Keys, Enum.GetValues<Oracle>());

    [Theory]
    [MemberData(nameof(NamesAndFaces))]
    public void Mount_ShowsWhatIsWrittenDown(string name, string face)
    {
        Assert.SkipUnless(face == "fuse" || Environment.IsPrivilegedProcess, "only root can mount EROFS");
        ZooCase zooCase = Cases[name];
        using var directory = new TemporaryDirectory();
        string image = zooCase.Write(directory["layout"]);
        string target = keeper.LazyMount.NewMountPoint();
        ToolResult result = keeper.LazyMount.Run("mount", "--as", face, image, target);
        if (zooCase.Refusal is not null)
        {
            Assert.Equal(1, result.ExitCode);
            Assert.Contains(zooCase.Refusal, result.Error, StringComparison.Ordinal);
            return;
        }
        result.EnsureSuccess();
        string shown = TreeText.Of(TreeSnapshot.Take(target));
        Assert.True(zooCase.Tree == shown, $"expected:\n{zooCase.Tree}\nshown:\n{shown}");
        // Lazily: a process that another test is just starting may hold a directory of ours open for a moment.
        keeper.LazyMount.Run("umount", "-l", target).EnsureSuccess();
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void ErofsImage_ShowsWhatIsWrittenDown(string name)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root can mount a file system image");
        ZooCase zooCase = Cases[name];
        if (zooCase.Refusal is not null)
        {
            return;
        }
        using var directory = new TemporaryDirectory();
        string shown = TreeText.Of(ExportedErofs.Take(keeper.LazyMount, zooCase.Write(directory["layout"])));
        Assert.True(zooCase.Tree == shown, $"expected:\n{zooCase.Tree}\nshown:\n{shown}");
    }

    [Theory]
    [MemberData(nameof(NamesAndOracles))]
    public void Oracle_SeesTheSameOrWhatIsWrittenDown(string name, Oracle oracle)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root can unpack owners and devices, and mount");
        ZooCase zooCase = Cases[name];
        string actual = ActualDifference(zooCase, oracle);
        Assert.True(zooCase.DifferenceOf(oracle) == actual, $"{oracle} differs from our tree, as written down:\n{zooCase.DifferenceOf(oracle)}\nin fact:\n{actual}");
    }

    /// <summary>docs/semantics.md names every case in which a container sees something else, and no case that there is not.</summary>
    [Fact]
    public void Semantics_NameEveryDifferenceToAContainer()
    {
        string document = File.ReadAllText(Path.Combine(RepositoryRoot.Path, "docs", "semantics.md"));
        HashSet<string> named = [.. ZooName().Matches(document).Select(match => match.Groups[1].Value.Trim())];
        Assert.Empty(named.Except(Cases.Keys));
        Assert.Empty(Cases.Values.Where(each => each.DifferenceOf(Oracle.Containerd) != (each.Refusal is null ? "" : ZooCase.Refuses)).Select(each => each.Name).Except(named));
    }

    [GeneratedRegex("zoo: ([^;|\\n]+)")]
    private static partial Regex ZooName();

    private string ActualDifference(ZooCase zooCase, Oracle oracle)
    {
        using var directory = new TemporaryDirectory();
        string image = zooCase.Write(directory["layout"]);
        try
        {
            using OverlayMount? overlay = oracle == Oracle.Overlay ? new OverlayMount(zooCase.Tars) : null;
            TreeSnapshot seen = TreeSnapshot.Take(oracle switch
            {
                Oracle.Containerd => keeper.Containerd.Mount(directory["layout"]),
                Oracle.Umoci => Umoci.Unpack(image, directory["bundle"]),
                _ => overlay!.Root,
            }, ignoreGhosts: true);
            return zooCase.Tree is null ? string.Join('\n', TreeText.Lines(seen).Skip(1).Prepend("accepts:")) : TreeText.Difference(zooCase.Tree, seen);
        }
        catch (InvalidOperationException refusal)
        {
            TestContext.Current.TestOutputHelper?.WriteLine(refusal.Message);
            return ZooCase.Refuses;
        }
    }
}
