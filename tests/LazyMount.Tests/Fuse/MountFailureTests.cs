using LazyMount.Fuse;
using Xunit;

namespace LazyMount.Tests.Fuse;

/// <summary>The sentences as users read them.</summary>
public sealed class MountFailureTests
{
    [Theory]
    [InlineData(2)]
    [InlineData(6)]
    [InlineData(19)]
    public void NoDevice_NamesModuleAndContainerOptions(int errno) => Is(
        "cannot open '/dev/fuse': there is no such device; load the kernel module with modprobe fuse, or run the container with --device /dev/fuse --cap-add SYS_ADMIN",
        MountFailure.Device(errno));

    [Fact]
    public void DeviceDenied() => Is(
        "cannot open '/dev/fuse': permission denied; run as root, or run the container with --device /dev/fuse --cap-add SYS_ADMIN",
        MountFailure.Device(13));

    [Fact]
    public void MountDenied() => Is(
        "cannot mount on '/m': the system does not permit it; run as root, or run the container with --device /dev/fuse --cap-add SYS_ADMIN",
        MountFailure.Mount("/m", 1));

    [Fact]
    public void MountBusy() => Is("cannot mount on '/m': it is busy; choose another directory", MountFailure.Mount("/m", 16));

    [Fact]
    public void MountUnknown() => Is("cannot mount on '/m': Cannot allocate memory; see dmesg", MountFailure.Mount("/m", 12));

    [Theory]
    [InlineData(1, true, "cannot mount as EROFS: the system refuses to give the mount its place at '/m' (Operation not permitted); mount with --as fuse")]
    [InlineData(13, true, "cannot mount as EROFS: the system refuses to give the mount its place at '/m' (Permission denied); mount with --as fuse")]
    [InlineData(38, true, "cannot mount as EROFS: the system refuses to give the mount its place at '/m' (Function not implemented); mount with --as fuse")]
    [InlineData(2, false, "cannot mount on '/m': it was removed, or the file system that it stands in was unmounted; make it again with mkdir -p '/m'")]
    [InlineData(16, false, "cannot mount on '/m': it is busy; choose another directory")]
    [InlineData(22, false, "cannot mount on '/m': it was removed, or the file system that it stands in was unmounted; make it again with mkdir -p '/m'")]
    [InlineData(28, false, "cannot mount on '/m': there are too many mounts; raise the limit of a mount namespace with sysctl fs.mount-max=N")]
    [InlineData(12, false, "cannot mount on '/m': Cannot allocate memory; see dmesg")]
    public void PlaceRefused_IsFusesBusiness_OnlyWhereMovingIsForbidden(int errno, bool mayBeFuse, string sentence)
    {
        FuseException refused = MountFailure.ErofsPlace("/m", errno);
        Assert.Equal((sentence, mayBeFuse), (refused.Message, refused.IsWithoutErofs));
    }

    [Fact]
    public void NoFusermount() => Is(
        "cannot run fusermount3: it is not installed; install it with apt install fuse3, or run as root",
        MountFailure.NoFusermount());

    [Fact]
    public void KernelTooOld() => Is(
        "cannot mount: the kernel's FUSE protocol is older than 7.23; Linux 3.15 or later is needed",
        MountFailure.KernelTooOld(23));

    [Theory]
    [InlineData("fusermount3: option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf\n",
        "cannot mount on '/m': allow_other is refused; add the line user_allow_other to '/etc/fuse.conf', or mount without allow_other")]
    [InlineData("fusermount3: fuse device not found, try 'modprobe fuse' first\n",
        "cannot open '/dev/fuse': there is no such device; load the kernel module with modprobe fuse, or run the container with --device /dev/fuse --cap-add SYS_ADMIN")]
    [InlineData("fusermount3: failed to open /dev/fuse: Permission denied\n",
        "cannot open '/dev/fuse': permission denied; run as root, or run the container with --device /dev/fuse --cap-add SYS_ADMIN")]
    [InlineData("fusermount3: user has no write access to mountpoint /m\n",
        "cannot mount on '/m': you may not write to it; name a directory that you own")]
    [InlineData("fusermount3: mount failed: Operation not permitted\n",
        "cannot mount on '/m': the system does not permit it; run as root, or run the container with --device /dev/fuse --cap-add SYS_ADMIN")]
    [InlineData("fusermount3: too many FUSE filesystems mounted\nmore\n",
        "cannot mount on '/m': too many FUSE filesystems mounted; run as root, or see fusermount3(1)")]
    [InlineData("", "cannot mount on '/m': fusermount3 failed without a message; run as root, or see fusermount3(1)")]
    public void WhatFusermountSays_BecomesOurSentence(string stderr, string sentence) => Is(sentence, MountFailure.Fusermount("/m", stderr));

    [Theory]
    [InlineData("fusermount3: failed to unmount /m: Device or resource busy\n",
        "cannot unmount '/m': it is busy; end the processes that fuser -vm '/m' shows, or detach it with lazymount umount -l '/m'")]
    [InlineData("fusermount3: entry for /m not found in /etc/mtab\n",
        "cannot unmount '/m': another user mounted it; run as that user or as root")]
    [InlineData("fusermount3: failed to unmount /m: Operation not permitted\n",
        "cannot unmount '/m': another user mounted it; run as that user or as root")]
    public void WhatFusermountSaysToUnmounting_BecomesOurSentence(string stderr, string sentence)
        => Is(sentence, MountFailure.FusermountUnmount("/m", stderr));

    [Fact]
    public void FusermountOptions_EscapeTheSource()
        => Assert.Equal(@"ro,nosuid,nodev,noexec,fsname=oci:/a\,b\\c,subtype=lazymount,default_permissions,max_read=1048576,allow_other",
            FuseMount.FusermountOptions(new FuseMountOptions { Source = @"oci:/a,b\c", NoExec = true, AllowOther = true }));

    private static void Is(string sentence, FuseException exception) => Assert.Equal(sentence, exception.Message);
}
