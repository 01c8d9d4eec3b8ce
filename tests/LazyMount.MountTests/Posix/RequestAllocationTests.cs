using LazyMount.TestKit;
using Xunit;
using static LazyMount.MountTests.Posix.Libc;

namespace LazyMount.MountTests.Posix;

/// <summary>Alone, because it counts what the whole process allocates.</summary>
[CollectionDefinition(nameof(RequestAllocationTests), DisableParallelization = true)]
[Collection(nameof(RequestAllocationTests))]
public sealed class RequestAllocationTests
{
    [Fact]
    public async Task RequestsAnsweredFromMemory_AllocateNothing()
    {
        using var directory = new TemporaryDirectory();
        await using TestImage image = await TestImage.CreateAsync(directory, new TarBytes()
            .Pax(("SCHILY.xattr.user.a", "value")).File("file", PosixMount.Big)
            .Sparse(SparseFormat.Pax10, "sparse", 1L << 40, [(6000, 4096), (20_000, 100)], new byte[4196]));
        string root = directory.CreateDirectory("mnt");
        await using var mount = image.Mount(root);

        byte[] path = Z(root + "/file"), name = Z("user.a"), buffer = new byte[4096];
        Tool.Run("cat", root + "/file").EnsureSuccess(); // every span is decoded and stays
        int fd = Open(root + "/file", Direct), sparse = Open(root + "/sparse", Direct);
        Ask(200);
        // What requests take they take each time, what other threads of the process take (timers, connections that other tests have
        // left to be closed) they do not.
        const int Rounds = 5000, Tries = 5;
        long allocated = long.MaxValue;
        for (int i = 0; i < Tries; i++)
        {
            long before = GC.GetTotalAllocatedBytes(precise: true);
            Ask(Rounds);
            allocated = Math.Min(allocated, GC.GetTotalAllocatedBytes(precise: true) - before);
        }
        Close(fd);
        Close(sparse);
        Assert.True(allocated < 2 * Rounds, $"{allocated} bytes for {8 * Rounds} requests");

        void Ask(int rounds)
        {
            for (int i = 0; i < rounds; i++)
            {
                Assert.True(statx(AtFdCwd, path, ForceSync, BasicStats, out _) == 0); // GETATTR
                Assert.True(pread(fd, buffer, 4096, i * 1000L) == 4096); // READ
                Assert.True(pread(sparse, buffer, 4096, i * 7L) == 4096); // READ of holes and data
                Assert.True(pread(sparse, buffer, 4096, (1L << 39) + i) == 4096); // and of holes only
                Assert.True(lseek(sparse, 10, 3) == 6000); // LSEEK
                Assert.True(lgetxattr(path, name, buffer, 100) == 5); // GETXATTR
                Assert.True(llistxattr(path, buffer, 100) == 7); // LISTXATTR
                Assert.True(statfs(path, buffer) == 0); // STATFS
            }
        }
    }
}
