using LazyMount.Cli;
using LazyMount.Fuse;
using LazyMount.Mounting;
using Xunit;

namespace LazyMount.Tests.Commands;

public sealed class MountOptionsTests
{
    [Fact]
    public void Lists_AreReadInOrder_LaterWordsWin()
        => Assert.Equal(
            new MountOptions { AllowOther = true, Uid = 1000, Gid = 0, NoExec = false },
            MountOptions.Parse(["ro,noexec,uid=5,", " allow_other ,exec", "uid=1000,gid=0"], isRoot: false));

    [Theory]
    [InlineData("rw")]
    [InlineData("frob")]
    [InlineData("uid")]
    [InlineData("uid=")]
    [InlineData("uid=-1")]
    [InlineData("uid=4294967295")]
    [InlineData("gid=staff")]
    [InlineData("noexec=1")]
    public void BadWord_IsRefusedByName(string word)
        => Assert.Contains($"'{word}'", Assert.Throws<UsageException>(() => MountOptions.Parse([$"ro,{word}"], isRoot: true)).Message);

    [Theory]
    [InlineData("suid")]
    [InlineData("dev")]
    public void SuidAndDev_AreForRootOnly(string word)
    {
        Assert.Throws<UsageException>(() => MountOptions.Parse([word], isRoot: false));
        FuseMountOptions options = MountOptions.Parse([word], isRoot: true).ToFuse("source");
        Assert.Equal((word == "suid", word == "dev", "source"), (options.Suid, options.Dev, options.Source));
    }
}
