using System.Text;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using Xunit;

namespace LazyMount.Tests.Layers;

public sealed class LayerPathsBuilderTests
{
    [Theory]
    [InlineData("a/b", "/a/b")]
    [InlineData("./a/b/", "/a/b")]
    [InlineData("/a//b", "/a/b")]
    [InlineData("a/./b/.", "/a/b")]
    [InlineData("a/../b", "/b")]
    [InlineData("../../etc/passwd", "/etc/passwd")]
    [InlineData("a/b/../../..", "/")]
    [InlineData("./", "/")]
    [InlineData("", "/")]
    [InlineData("///", "/")]
    [InlineData("..", "/")]
    [InlineData("a/...", "/a/...")]
    [InlineData("a/b/../c", "/a/c")]
    public void Path_IsCleanedAndNeverEscapes(string path, string expected)
    {
        var builder = new LayerPathsBuilder(new IndexBudget(IndexLimits.Default));
        builder.Add("a/b/x"u8); // so that the remembered directory is in play
        int node = builder.Add(Encoding.Latin1.GetBytes(path));
        Assert.Equal(expected, ScannedTar.PathOf(builder.Build(), node));
        Assert.Equal(node, builder.Add(Encoding.Latin1.GetBytes(expected)));
    }

    [Fact]
    public void DroppedComponents_MakeNoNodes()
    {
        var builder = new LayerPathsBuilder(new IndexBudget(IndexLimits.Default));
        builder.Add("gone/../kept"u8);
        Assert.Equal(2, builder.Build().Count);
    }

    [Fact]
    public void EveryPath_IsThereOnceWithItsParentBefore()
    {
        var random = new Random(1);
        var builder = new LayerPathsBuilder(new IndexBudget(IndexLimits.Default));
        var expected = new Dictionary<string, int>();
        for (int i = 0; i < 20_000; i++)
        {
            string path = "/" + string.Join('/', Enumerable.Range(0, random.Next(1, 6)).Select(_ => (char)('a' + random.Next(12))));
            int node = builder.Add(Encoding.Latin1.GetBytes(path[random.Next(2)..] + (random.Next(3) == 0 ? "/" : "")));
            Assert.Equal(node, expected.TryGetValue(path, out int known) ? known : expected[path] = node);
        }
        LayerPaths paths = builder.Build();
        var all = new HashSet<string>();
        for (int node = 1; node < paths.Count; node++)
        {
            Assert.True(paths.Parent(node) < node);
            Assert.True(all.Add(ScannedTar.PathOf(paths, node)));
        }
        Assert.All(expected, pair => Assert.Equal(pair.Key, ScannedTar.PathOf(paths, pair.Value)));
    }

    [Fact]
    public void Limits_EachHaveTheirOwnError()
    {
        var limits = new IndexLimits { PathLength = 100, PathDepth = 5, NameLength = 20, Memory = 240, SmallestMemory = 240 };
        Refused("longer than the limit of 100", new string('a', 101));
        Refused("more than 5 components", "1/2/3/4/5/6");
        Refused("longer than the 20 that Linux allows", "x/" + new string('a', 21));
        Refused("holds a zero byte", "a\0b");
        Refused("more than 240 bytes of memory", "1/2/3/4/5", "5/6/7/8/9");
        new LayerPathsBuilder(new IndexBudget(limits)).Add("1/2/../2/../2/3/4/5"u8);

        void Refused(string reason, params string[] paths)
        {
            var builder = new LayerPathsBuilder(new IndexBudget(limits));
            var e = Assert.Throws<InvalidDataException>(() => Array.ForEach(paths, path => builder.Add(Encoding.Latin1.GetBytes(path))));
            Assert.Contains(reason, e.Message, StringComparison.Ordinal);
        }
    }
}
