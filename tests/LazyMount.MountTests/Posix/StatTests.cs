using System.Text;
using LazyMount.Fuse;
using LazyMount.TestKit;
using Xunit;
using static LazyMount.MountTests.Posix.Libc;

namespace LazyMount.MountTests.Posix;

public abstract class StatTests(PosixMount mount)
{
    [Fact]
    public void File_ShowsWhatTheLayerSays()
    {
        Statx stat = Stat(mount["dir/file"]);
        Assert.Equal((0x81A0, 7u, 8u, 6ul, 2u, mount.Face == MountFace.Fuse ? 1ul : 8ul), (stat.Mode, stat.Uid, stat.Gid, stat.Size, stat.LinkCount, stat.Blocks));
        Assert.Equal((1600000000L, 123456789u), (stat.ModificationTime.Seconds, stat.ModificationTime.Nanoseconds));
        Assert.Equal((1600000000L, 1600000000L), (stat.ChangeTime.Seconds, stat.AccessTime.Seconds));
    }

    [Fact]
    public void TimesBefore1970_AreShown()
    {
        Statx stat = Stat(mount["old"]);
        Assert.Equal((-2L, 500000000u), (stat.ModificationTime.Seconds, stat.ModificationTime.Nanoseconds));
    }

    [Fact]
    public void Directory_CountsItsSubdirectories()
    {
        Assert.Equal((0x41E8, 2u), (Stat(mount["dir"]).Mode, Stat(mount["dir"]).LinkCount));
        Assert.Equal(5u, Stat(mount.Root).LinkCount); // dir, closed, many
    }

    [Fact]
    public void HardLinks_ShareAnInode() => Assert.Equal(Stat(mount["dir/file"]).Inode, Stat(mount["link"]).Inode);

    [Fact]
    public void Inodes_StayTheSameInEveryView()
    {
        ulong inode = Stat(mount["script"]).Inode;
        Assert.Equal(inode, Stat(mount["script"], NoFollow | ForceSync).Inode);
        int fd = Open(mount.Root);
        Assert.Equal(inode, GetDents(fd, 65536).Single(e => e.Name == "script").Inode);
        Close(fd);
    }

    [Fact]
    public void Symlink_HasItsTargetsLength() => Assert.Equal((0xA1FF, 8ul), (Stat(mount["symlink"]).Mode, Stat(mount["symlink"]).Size));

    [Fact]
    public void SpecialFiles_AreShown()
    {
        Statx device = Stat(mount["null"]);
        Assert.Equal((0x21A4, 1u, 3u), (device.Mode, device.RdevMajor, device.RdevMinor));
        Assert.Equal(0x11A4, Stat(mount["pipe"]).Mode);
        Assert.Equal(0x89ED, Stat(mount["setuid"]).Mode);
        Assert.Equal(EACCES, Error(open(Z(mount["null"]), ReadOnly, 0))); // nodev
    }

    [Fact]
    public void NamesThatAreNotUtf8_AreByteExact()
    {
        Assert.Equal(0x81A4, Stat(mount["caf\u00e9"]).Mode);
        Assert.Equal(0x81A4, Stat(mount["new\nline"]).Mode);
        Assert.Equal(ENOENT, Error(statx(AtFdCwd, Encoding.UTF8.GetBytes(mount["caf\u00e9\0"]), NoFollow, BasicStats, out _)));
    }

    [Theory]
    [InlineData("nope", ENOENT)]
    [InlineData("dangling", ENOENT)]
    [InlineData("old/x", ENOTDIR)]
    [InlineData("dir/file/", ENOTDIR)]
    public void WhatIsNotThere_SaysWhy(string path, int error)
    {
        for (int i = 0; i < 2; i++) // the second time from the kernel's negative entry
        {
            Assert.Equal(error, Error(statx(AtFdCwd, Z(mount[path]), 0, BasicStats, out _)));
        }
    }

    [Fact]
    public void NamesOver255Bytes_AreENAMETOOLONG()
    {
        Assert.Equal(ENAMETOOLONG, Error(statx(AtFdCwd, Z(mount[new string('n', 256)]), 0, BasicStats, out _)));
        Assert.Equal(ENOENT, Error(statx(AtFdCwd, Z(mount[new string('n', 255)]), 0, BasicStats, out _)));
    }

    [Theory]
    [InlineData("symlink", "dir/file")]
    [InlineData("dangling", "no/where")]
    public void ReadLink_GivesTheTarget(string path, string target) => Assert.Equal(target, ReadLink(path, 4096));

    [Fact]
    public void ReadLink_GivesLongTargetsWhole()
    {
        Assert.Equal(3999, PosixMount.LongTarget.Length);
        Assert.Equal(PosixMount.LongTarget, ReadLink("longlink", 4096));
        Assert.Equal(PosixMount.LongTarget[..10], ReadLink("longlink", 10));
        Assert.Equal(EINVAL, Error(readlink(Z(mount["dir"]), new byte[10], 10)));
    }

    [Fact]
    public void StatFs_ShowsAFullReadOnlyFileSystem()
    {
        string[] fields = Tool.Run("stat", "-f", "-c", "%T %l %f %c %s %b", mount.Root).EnsureSuccess().Output.Split(' ');
        Assert.Equal([mount.Face == MountFace.Fuse ? "fuseblk" : "erofs", "255", "0"], [fields[0], fields[1], fields[2]]);
        Assert.True(ulong.Parse(fields[3]) > PosixMount.ManyFiles);
        Assert.InRange(long.Parse(fields[4]) * long.Parse(fields[5]), PosixMount.Big.Length, PosixMount.Big.Length + (1 << 20));
    }

    [Fact]
    public void MountTable_ShowsTypeSourceAndOptions()
    {
        string[] fields = File.ReadLines("/proc/self/mounts").Select(line => line.Split(' ')).Single(f => f[1] == mount.Root);
        bool isFuse = mount.Face == MountFace.Fuse;
        Assert.Equal(isFuse ? "fuse.lazymount" : "erofs", fields[2]);
        Assert.Matches(isFuse ? "^test:image$" : $"^lazymount:{Environment.ProcessId}@[0-9]+(-[0-9]+)?:test:image$", fields[0]);
        Assert.Empty(((string[])["ro", "nosuid", "nodev", .. isFuse ? (string[])["default_permissions", "allow_other"] : ["directio"]]).Except(fields[3].Split(',')));
    }

    private string ReadLink(string path, int size)
    {
        var buffer = new byte[size];
        return Encoding.Latin1.GetString(buffer, 0, (int)readlink(Z(mount[path]), buffer, size));
    }
}
