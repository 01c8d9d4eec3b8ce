using System.Security.Cryptography;
using LazyMount.Fuse;
using LazyMount.TestKit;
using Xunit;
using static LazyMount.MountTests.Posix.Libc;

namespace LazyMount.MountTests.Posix;

public abstract class ReadTests(PosixMount mount)
{
    [Theory]
    [InlineData("dir/file", "hello\n")]
    [InlineData("link", "hello\n")]
    [InlineData("symlink", "hello\n")]
    [InlineData("plain", "from an uncompressed layer\n")]
    [InlineData("old", "")]
    public void Content_IsTheLayers(string path, string content)
        => Assert.Equal(content, Tool.Run("cat", mount[path]).EnsureSuccess().Output);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void AnyRange_IsTheSame_CachedOrDirect(bool direct)
    {
        if (direct && IsWithoutDirectReads())
        {
            return;
        }
        byte[] big = PosixMount.Big;
        int fd = Open(mount["big"], direct ? Direct : ReadOnly);
        var random = new Random(1);
        (long, int)[] edges = [(0, 1), (0, 4096), ((4 << 20) - 700, 4096), ((4 << 20) - 3000, 1 << 20), (big.Length - 1, 1), (big.Length - 1, 100), (big.Length - 5000, 100000), (0, big.Length)];
        foreach ((long offset, int length) in edges.Concat(Enumerable.Range(0, 60).Select(_ => (random.NextInt64(big.Length), random.Next(1, 300_000)))))
        {
            int expected = (int)Math.Min(length, big.Length - offset);
            Assert.True(PRead(fd, offset, length).AsSpan().SequenceEqual(big.AsSpan((int)offset, expected)), $"{length} bytes at {offset}");
        }
        Close(fd);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void PastTheEnd_ThereIsNothing(bool direct)
    {
        if (direct && IsWithoutDirectReads())
        {
            return;
        }
        int fd = Open(mount["big"], direct ? Direct : ReadOnly);
        Assert.Empty(PRead(fd, PosixMount.Big.Length, 10));
        Assert.Empty(PRead(fd, 1L << 40, 10));
        Assert.Equal(EINVAL, Error(pread(fd, new byte[1], 1, -1)));
        Close(fd);
    }

    [Fact]
    public unsafe void Mapping_ShowsTheContent()
    {
        const int ReadProtection = 1, Private = 2, Length = 1 << 16;
        const int Offset = (4 << 20) - 4096 * 8;
        int fd = Open(mount["big"]);
        void* map = mmap(null, Length, ReadProtection, Private, fd, Offset);
        Assert.NotEqual((nint)(-1), (nint)map);
        // The kernel copies from the mapping, so that the page faults happen outside managed code.
        int* pipe = stackalloc int[2];
        Assert.Equal(0, Libc.pipe(pipe));
        var copy = new byte[Length];
        for (int at = 0; at < Length; at += 4096)
        {
            Assert.Equal(4096, write(pipe[1], (byte*)map + at, 4096));
            var page = new byte[4096];
            Assert.Equal(4096, read(pipe[0], page, 4096));
            page.CopyTo(copy, at);
        }
        Assert.True(copy.AsSpan().SequenceEqual(PosixMount.Big.AsSpan(Offset, Length)));
        _ = munmap(map, Length);
        Close(pipe[0]);
        Close(pipe[1]);
        Close(fd);
    }

    [Fact]
    public async Task ManyReadersAtOnce_AllGetTheContent()
    {
        string expected = Convert.ToHexStringLower(SHA256.HashData(PosixMount.Big));
        Task<string>[] readers = [.. Enumerable.Range(0, 6).Select(i => Task.Run(() => Tool.Shell(
            i % 2 == 0 || mount.Face == MountFace.Erofs ? "sha256sum < \"$1\"" : "dd if=\"$1\" iflag=direct bs=100k status=none | sha256sum", mount["big"]).EnsureSuccess().Output[..64]))];
        foreach (Task<string> reader in readers)
        {
            Assert.Equal(expected, await reader);
        }
    }

    [Fact]
    public void SeekingForHoles_FindsNone()
    {
        const int SeekData = 3, SeekHole = 4;
        int fd = Open(mount["big"]);
        Assert.Equal(100, lseek(fd, 100, SeekData));
        Assert.Equal(PosixMount.Big.Length, lseek(fd, 100, SeekHole));
        Close(fd);
    }

    [Fact]
    public void Programs_Run() => Assert.Equal("it ran\n", Tool.Run(mount["script"]).EnsureSuccess().Output);

    [Fact]
    public void IoCtls_AreENOTTY()
    {
        int fd = Open(mount["big"]);
        Assert.Equal(ENOTTY, Error(ioctl(fd, 0x5401, new byte[64])));
        Close(fd);
    }

    // The kernel's EROFS in a file knows no O_DIRECT.
    private bool IsWithoutDirectReads()
    {
        if (mount.Face == MountFace.Fuse)
        {
            return false;
        }
        Assert.Equal(EINVAL, Error(open(Z(mount["big"]), Direct, 0)));
        return true;
    }
}
