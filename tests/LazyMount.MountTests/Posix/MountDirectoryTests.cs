using LazyMount.Fuse;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Posix;

/// <summary>What is checked is what is mounted on, and by one process at a time.</summary>
public sealed class MountDirectoryTests : IAsyncLifetime
{
    private readonly TemporaryDirectory _directory = new();
    private TestImage _image = null!;
    private string _root = null!;

    public static TheoryData<MountFace> Faces => Environment.IsPrivilegedProcess ? [MountFace.Fuse, MountFace.Erofs] : [MountFace.Fuse];

    public async ValueTask InitializeAsync()
    {
        _image = await TestImage.CreateAsync(_directory, new TarBytes().File("file", "content\n"));
        _root = _directory.CreateDirectory("mnt");
    }

    public async ValueTask DisposeAsync()
    {
        await _image.DisposeAsync();
        _directory.Dispose();
    }

    [Theory]
    [MemberData(nameof(Faces))]
    public async Task WhatTakesItsPlace_IsNotCovered(MountFace face)
    {
        string victim = _directory.CreateDirectory("victim"), moved = _directory["moved"];
        File.WriteAllText(victim + "/file", "the victim's\n");
        using MountDirectory target = MountDirectory.Open(_root);
        Directory.Move(_root, moved);
        File.CreateSymbolicLink(_root, victim);

        await using FuseMount mount = _image.Mount(target, face: face);
        Assert.Equal("the victim's\n", await File.ReadAllTextAsync(_root + "/file", TestContext.Current.CancellationToken));
        Assert.Equal(moved, mount.Directory);
        Assert.Equal("content\n", await File.ReadAllTextAsync(moved + "/file", TestContext.Current.CancellationToken));
    }

    [Theory]
    [MemberData(nameof(Faces))]
    public void WhatIsFilledMeanwhile_IsNotCovered(MountFace face)
    {
        using MountDirectory target = MountDirectory.Open(_root);
        File.WriteAllText(_root + "/new", "");
        Assert.Equal($"cannot mount on '{_root}': it is not empty; name an empty directory", Assert.Throws<FuseException>(() => _image.Mount(target, face: face)).Message);
    }

    [Theory]
    [MemberData(nameof(Faces))]
    public void WhatIsRemovedMeanwhile_IsSaid(MountFace face)
    {
        using MountDirectory target = MountDirectory.Open(_root);
        Directory.Delete(_root);
        string message = Assert.Throws<FuseException>(() => _image.Mount(target, face: face)).Message;
        Assert.Contains("it was removed", message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Faces))]
    public void WhatIsUnmountedMeanwhile_IsSaid(MountFace face)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root can mount what is to be unmounted");
        Tool.Run("mount", "-t", "tmpfs", "none", _root).EnsureSuccess();
        string below = Directory.CreateDirectory(_root + "/below").FullName;
        using MountDirectory target = MountDirectory.Open(below);
        Tool.Run("umount", "--lazy", _root).EnsureSuccess();
        FuseException refused = Assert.Throws<FuseException>(() => _image.Mount(target, face: face));
        Assert.Contains("the file system that it stands in was unmounted", refused.Message, StringComparison.Ordinal);
        Assert.False(refused.IsWithoutErofs);
    }

    [Fact]
    public void TheSecondOfTwo_IsRefused_UntilTheFirstLetsGo()
    {
        Directory.CreateSymbolicLink(_directory["link"], _root);
        using (MountDirectory.Open(_root))
        {
            Assert.Equal(
                $"cannot mount on '{_directory["link"]}': another process is mounting an image there; wait for it, or choose another directory",
                Assert.Throws<FuseException>(() => MountDirectory.Open(_directory["link"])).Message);
        }
        MountDirectory.Open(_directory["link"]).Dispose();
    }
}
