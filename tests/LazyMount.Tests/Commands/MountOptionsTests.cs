using LazyMount.Cli;
using LazyMount.Fuse;
using LazyMount.Mounting;
using LazyMount.Output;
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
    [InlineData("umask")]
    [InlineData("umask=")]
    [InlineData("umask=8")]
    [InlineData("umask=1000")]
    [InlineData("umask=-1")]
    [InlineData("context=")]
    [InlineData("noexec=1")]
    public void BadWord_IsRefusedByName(string word)
        => Assert.Contains($"'{word}'", Assert.Throws<UsageException>(() => MountOptions.Parse([$"ro,{word}"], isRoot: true)).Message);

    [Theory]
    [InlineData("umask=0", 0u)]
    [InlineData("umask=22", 18u)]
    [InlineData("umask=0777", 511u)]
    public void Umask_IsOctal(string word, uint mask) => Assert.Equal(mask, MountOptions.Parse([word], isRoot: false).ToFuse("source").Umask);

    [Fact]
    public void QuotedCommas_AreOfTheirWord()
    {
        Assert.Equal("u:r:t:s0:c1,c2", MountOptions.Parse(["noexec,context=\"u:r:t:s0:c1,c2\",uid=5"], isRoot: true).ToFuse("source").Context);
        Assert.Contains("double quote", Assert.Throws<UsageException>(() => MountOptions.Parse(["context=\"a,uid=5"], isRoot: true)).Message);
        Assert.Throws<UsageException>(() => MountOptions.Parse(["context=a"], isRoot: false));
    }

    [Theory]
    [InlineData("oci:/a b:v1 /mnt -o rw", "mount -- oci:/a b:v1 /mnt")]
    [InlineData("debian:12 /mnt -n -o rw,noexec,_netdev,x-a=b,uid=5 -t fuse.lazymount", "mount --options noexec,uid=5 -- debian:12 /mnt")]
    [InlineData("-o platform=linux/arm64,plain-http debian:12 -o prefetch=/a,prefetch=/b /mnt -v", "mount --platform=linux/arm64 --plain-http --prefetch=/a --prefetch=/b --verbose -- debian:12 /mnt")]
    [InlineData("debian:12 /mnt -sfno frob,prefetch=\"/a,b\",context=\"s0:c1,c2\"", "mount --prefetch=/a,b --fake --options context=\"s0:c1,c2\" -- debian:12 /mnt")]
    [InlineData("debian:12 /mnt -f -orw", "mount --fake -- debian:12 /mnt")]
    public void WhatMountPasses_IsACommandLine(string given, string expected)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "some words are for root");
        Assert.Equal(expected, string.Join(' ', Translate(given.Replace("/a b", "/a_b", StringComparison.Ordinal).Split(' '))).Replace("/a_b", "/a b", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("debian:12")]
    [InlineData("debian:12 /mnt more")]
    [InlineData("debian:12 /mnt -x")]
    [InlineData("debian:12 /mnt -o")]
    [InlineData("debian:12 /mnt -o frob")]
    [InlineData("debian:12 /mnt -o help")]
    [InlineData("debian:12 /mnt -o fake")]
    [InlineData("debian:12 /mnt -o options=ro")]
    [InlineData("debian:12 /mnt -o creds-stdin")]
    [InlineData("debian:12 /mnt -o authfile=a.json")]
    [InlineData("NotAName /mnt")]
    public void WhatMountCannotMean_IsRefused(string given) => Assert.Throws<UsageException>(() => Translate(given.Split(' ')));

    private static string[] Translate(string[] given)
    {
        using var output = new CommandOutput(Stream.Null, isTerminal: false);
        return MountHelper.Translate(given, new CommandHost { Arguments = given, Output = output, Error = TextWriter.Null });
    }

    [Theory]
    [InlineData("lazymount", "mount", false)]
    [InlineData("/sbin/mount.lazymount", "debian:12", true)]
    [InlineData("mount.fuse.lazymount", "debian:12", true)]
    [InlineData("lazymount", "mount.lazymount", true)]
    [InlineData(null, "mount", false)]
    public void Helper_IsKnownByItsName(string? program, string first, bool isOne)
    {
        Assert.Equal(isOne, MountHelper.IsCalled(program, [first, "/mnt"], out string[] given));
        Assert.Equal(first == "mount.lazymount" ? ["/mnt"] : [first, "/mnt"], given);
        Assert.False(MountHelper.IsCalled(program, ["daemon", "--for", "1@2", "mount"], out _));
    }

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
