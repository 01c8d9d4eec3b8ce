using Xunit;
using static LazyMount.MountTests.Posix.Libc;

namespace LazyMount.MountTests.Posix;

/// <summary>Every system call that would write gives EROFS, as root.</summary>
public abstract class ReadOnlyTests(PosixMount mount)
{
    public static TheoryData<string> Calls => [.. s_calls.Keys];

    private static readonly unsafe Dictionary<string, Func<PosixMount, nint>> s_calls = new()
    {
        ["open for writing"] = m => open(Z(m["big"]), WriteOnly, 0),
        ["open for reading and writing"] = m => open(Z(m["big"]), ReadWrite, 0),
        ["open for appending"] = m => open(Z(m["big"]), WriteOnly | Append, 0),
        ["open and truncate"] = m => open(Z(m["big"]), ReadOnly | Truncate, 0),
        ["open and create"] = m => open(Z(m["new"]), WriteOnly | Create, 0x1a4),
        ["open an unnamed file"] = m => open(Z(m["dir"]), 0x400000 | 0x10000 | ReadWrite, 0x1a4),
        ["mkdir"] = m => mkdir(Z(m["new"]), 0x1ed),
        ["rmdir"] = m => rmdir(Z(m["closed"])),
        ["unlink"] = m => unlink(Z(m["old"])),
        ["rename"] = m => rename(Z(m["old"]), Z(m["new"])),
        ["link"] = m => link(Z(m["old"]), Z(m["new"])),
        ["symlink"] = m => symlink(Z("x"), Z(m["new"])),
        ["chmod"] = m => chmod(Z(m["old"]), 0x1ff),
        ["chown"] = m => lchown(Z(m["old"]), 1, 1),
        ["utimens"] = m => utimensat(AtFdCwd, Z(m["old"]), null, 0),
        ["truncate"] = m => truncate(Z(m["big"]), 0),
        ["setxattr"] = m => lsetxattr(Z(m["old"]), Z("user.a"), [1], 1, 0),
        ["removexattr"] = m => lremovexattr(Z(m["xattrs"]), Z("user.a")),
        ["mknod"] = m => mknod(Z(m["new"]), 0x81a4, 0),
        ["mkfifo"] = m => mkfifo(Z(m["new"]), 0x1a4),
        ["access for writing"] = m => access(Z(m["old"]), 2),
    };

    [Theory]
    [MemberData(nameof(Calls))]
    public void WritingCall_IsEROFS(string call) => Assert.Equal(EROFS, Error(s_calls[call](mount)));
}
