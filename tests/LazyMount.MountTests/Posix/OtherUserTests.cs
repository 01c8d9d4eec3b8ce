using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Posix;

/// <summary>What nobody (65534) may do on root's mount: what the modes say.</summary>
public abstract class OtherUserTests(PosixMount mount)
{
    [Fact]
    public void PublicFile_IsRead() => Assert.Equal("everybody\n", AsNobody("cat", mount["public"]).EnsureSuccess().Output);

    [Theory]
    [InlineData("cat", "private")]
    [InlineData("cat", "dir/file")]
    [InlineData("cat", "closed/inside")]
    [InlineData("ls", "closed")]
    public void WhatModesForbid_IsEACCES(string program, string path)
        => Assert.Contains("Permission denied", AsNobody(program, mount[path]).Error);

    [Fact]
    public void Owner_IsTheLayers()
        => Assert.Equal("hello\n", Tool.Run("setpriv", "--reuid=7", "--regid=8", "--clear-groups", "cat", mount["dir/file"]).EnsureSuccess().Output);

    [Fact]
    public void Setuid_IsNotHonoured() => Assert.Contains("nosuid", Tool.Run("findmnt", "-no", "OPTIONS", mount.Root).EnsureSuccess().Output);

    private static ToolResult AsNobody(params string[] command)
        => Tool.Run("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", .. command]);
}
