using Xunit;
using static LazyMount.MountTests.Posix.Libc;

namespace LazyMount.MountTests.Posix;

public abstract class DirectoryTests(PosixMount mount)
{
    private const int SeekSet = 0;

    [Fact]
    public void Root_ListsEverythingWithItsType()
    {
        var types = List("", 65536).ToDictionary(e => e.Name, e => e.Type);
        Assert.Equal([".", "..", "big", "caf\u00e9", "closed", "dangling", "dir", "link", "longlink", "many", "new\nline", "null", "old", "pipe",
            "plain", "private", "public", "script", "setuid", "symlink", "xattrs"], types.Keys.Order(StringComparer.Ordinal));
        Assert.Equal((4, 4, 8, 10, 2, 1), (types["."], types["dir"], types["big"], types["symlink"], types["null"], types["pipe"]));
    }

    [Theory]
    [InlineData(280)] // one entry of the longest name at a time
    [InlineData(700)]
    [InlineData(4096)]
    [InlineData(1 << 20)]
    public void ManyEntries_AreListedOnceWithAnyBuffer(int bufferSize)
    {
        string[] names = [.. List("many", bufferSize).Select(e => e.Name)];
        Assert.Equal(PosixMount.ManyFiles + 2, names.Length);
        Assert.Equal(names.Length, names.Distinct().Count());
        Assert.Equal([".", "..", "0000-", "0001-n"], names[..4]);
    }

    [Fact]
    public void Seeking_GoesOnAfterAnyEntry()
    {
        int fd = Open(mount["many"]);
        var all = GetDents(fd, 65536);
        foreach (int i in (int[])[0, 1, 2, 100, 1499, 2999, 3001])
        {
            Assert.Equal(all[i].Next, lseek(fd, all[i].Next, SeekSet));
            Assert.Equal(all.Skip(i + 1).Select(e => e.Name).Take(5), GetDents(fd, 4096).Take(5).Select(e => e.Name));
        }
        lseek(fd, 0, SeekSet);
        Assert.Equal(all, GetDents(fd, 1000));
        Close(fd);
    }

    [Fact]
    public void ABufferTooSmall_IsEINVAL()
    {
        int fd = Open(mount["many"]);
        Assert.Equal(EINVAL, Error(getdents64(fd, new byte[20], 20)));
        Close(fd);
    }

    [Fact]
    public void Dots_HaveTheInodesOfDirectoryAndParent()
    {
        var dots = List("dir", 4096).ToDictionary(e => e.Name, e => e.Inode);
        Assert.Equal((Stat(mount["dir"]).Inode, Stat(mount.Root).Inode), (dots["."], dots[".."]));
    }

    [Fact]
    public void AFile_IsNoDirectory()
    {
        int fd = Open(mount["old"]);
        Assert.Equal(ENOTDIR, Error(getdents64(fd, new byte[4096], 4096)));
        Close(fd);
        fd = Open(mount["dir"]);
        Assert.Equal(EISDIR, Error(pread(fd, new byte[1], 1, 0)));
        Close(fd);
    }

    private List<(string Name, byte Type, ulong Inode, long Next)> List(string path, int bufferSize)
    {
        int fd = Open(mount[path]);
        try
        {
            return GetDents(fd, bufferSize);
        }
        finally
        {
            Close(fd);
        }
    }
}
