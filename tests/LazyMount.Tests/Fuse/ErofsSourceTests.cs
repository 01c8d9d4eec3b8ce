using System.Text;
using LazyMount.Fuse;
using Xunit;

namespace LazyMount.Tests.Fuse;

public sealed class ErofsSourceTests
{
    [Theory]
    [InlineData("lazymount:12@345:docker.io/library/debian:12", 12, 345, null, "docker.io/library/debian:12")]
    [InlineData("lazymount:12@345-4026532211:oci:/a/b:c", 12, 345, 4026532211ul, "oci:/a/b:c")]
    [InlineData("lazymount:1@0:", 1, 0, null, "")]
    public void Source_TellsProcessAndImage(string source, int pid, ulong start, ulong? space, string image)
    {
        Assert.Equal(new ErofsSource(new ServingProcess(pid, start, space), image), ErofsSource.TryParse(source));
        Assert.Equal(source, new ErofsSource(new ServingProcess(pid, start, space), image).ToString());
    }

    [Theory]
    [InlineData("/dev/loop0")]
    [InlineData("lazymount")]
    [InlineData("lazymount:")]
    [InlineData("lazymount:12")]
    [InlineData("lazymount:12:x")]
    [InlineData("lazymount:-1@2:x")]
    [InlineData("lazymount:x@2:y")]
    [InlineData("lazymount:1@:y")]
    [InlineData("lazymount:@1:y")]
    [InlineData("lazymount:1@2-:y")]
    [InlineData("lazymount:1-2@3:y")]
    [InlineData("lazymount:1@2-3-4:y")]
    [InlineData("lazymount:99999999999@1:y")]
    public void OtherSources_AreNotOurs(string source) => Assert.Null(ErofsSource.TryParse(source));

    [Theory]
    [InlineData("oci:/a/../b:c")]
    [InlineData("oci:/a/b/")]
    [InlineData("oci:/a/b/.")]
    public void NamesThatCannotBeWalked_AreOneStep(string image)
        => Assert.Equal("lazymount:7@8:" + image.Replace('/', '_'), new ErofsSource(new ServingProcess(7, 8, null), image).ToString());

    [Fact]
    public void LongNames_LoseTheirBeginning()
    {
        string source = new ErofsSource(new ServingProcess(7, 8, null), "oci:/" + new string('\u00e4', 300) + "/last:tag").ToString();
        Assert.InRange(Encoding.UTF8.GetByteCount(source), 254, 255);
        Assert.StartsWith("lazymount:7@8:", source, StringComparison.Ordinal);
        Assert.EndsWith("_last:tag", source, StringComparison.Ordinal);
    }

    [Fact]
    public void MountTable_HasOursOfBothFaces()
    {
        List<MountInfo> mounts = MountInfo.Parse("""
            1 2 0:3 / /a ro - erofs lazymount:12@3:debian:12 ro,directio
            2 2 0:4 / /b ro - erofs /dev/loop0 ro
            3 2 0:5 / /c ro - fuse.lazymount debian:12 ro
            4 2 0:6 / /d ro - ext4 lazymount:12@3:debian:12 ro
            """u8);
        Assert.Equal([(MountFace.Erofs, "debian:12"), (null, "/dev/loop0"), (MountFace.Fuse, "debian:12"), ((MountFace?)null, "lazymount:12@3:debian:12")],
            mounts.Select(mount => (mount.Face, mount.Image)));
    }
}
