using System.Text;
using LazyMount.Fuse;
using Xunit;

namespace LazyMount.Tests.Fuse;

public sealed class MountInfoTests
{
    [Fact]
    public void Line_IsReadWithAnyNumberOfOptionalFields()
    {
        Assert.Equal([new MountInfo(36, "0:52", "/mnt", "fuse.lazymount", "docker.io/library/debian:12")],
            Parse("36 35 0:52 / /mnt ro,nosuid shared:1 master:2 - fuse.lazymount docker.io/library/debian:12 ro,user_id=0\n"));
        Assert.Equal([new MountInfo(36, "0:52", "/mnt", "tmpfs", "none")], Parse("36 35 0:52 / /mnt ro - tmpfs none rw"));
    }

    [Theory]
    [InlineData(@"/a\040b", "/a b")]
    [InlineData(@"/a\011\012\134", "/a\t\n\\")]
    [InlineData(@"/a\04", @"/a\04")]
    [InlineData(@"/a\9zz", @"/a\9zz")]
    [InlineData("/-", "/-")]
    public void MountPoint_IsUnescaped(string escaped, string plain)
        => Assert.Equal(plain, Assert.Single(Parse($"1 2 0:3 / {escaped} ro - fuse.lazymount x ro\n")).MountPoint);

    [Fact]
    public void NamesThatAreNotAscii_AreUtf8()
        => Assert.Equal("/käse", Assert.Single(Parse("1 2 0:3 / /käse ro - fuse.lazymount x ro\n")).MountPoint);

    [Theory]
    [InlineData("")]
    [InlineData("\n\n")]
    [InlineData("1 2 0:3 / /mnt ro")]
    [InlineData("1 2 0:3 / /mnt ro -")]
    [InlineData("- - - - - - - - -")]
    public void OtherLines_AreLeftOut(string text) => Assert.Empty(Parse(text));

    private static List<MountInfo> Parse(string text) => MountInfo.Parse(Encoding.UTF8.GetBytes(text));
}
