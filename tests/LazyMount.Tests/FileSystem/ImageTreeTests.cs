using System.Text;
using LazyMount.FileSystem;
using LazyMount.Tests.Fuse;
using Xunit;

namespace LazyMount.Tests.FileSystem;

public sealed class ImageTreeTests
{
    [Theory]
    [InlineData("", "/")]
    [InlineData("dir", "/dir")]
    [InlineData("dir/file", "/link")] // one file, and this is its first name
    [InlineData("pipe", "/pipe")]
    public void PathOfANode_IsThatOfItsFirstName(string path, string first)
    {
        var tree = new TestTree();
        Assert.Equal(first, Encoding.UTF8.GetString(tree.Tree.PathOf(tree.Node(path))));
    }

    [Fact]
    public void PathOfADeepNode_HasAllNames()
    {
        ImageTree tree = TreeBuilder.Build([new LayerBuilder().File("a/bb/ccc/dddd").Build()]);
        Assert.Equal("/a/bb/ccc/dddd", Encoding.UTF8.GetString(tree.PathOf(tree.NodeAt(tree.Count - 1))));
    }
}
