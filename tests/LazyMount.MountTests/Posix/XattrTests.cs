using System.Text;
using LazyMount.TestKit;
using Xunit;
using static LazyMount.MountTests.Posix.Libc;

namespace LazyMount.MountTests.Posix;

public abstract class XattrTests(PosixMount mount)
{
    [Theory]
    [InlineData("user.a", "value")]
    [InlineData("user.b", "\0\u00ff")]
    public void Value_IsGiven(string name, string value)
    {
        Assert.Equal(value.Length, lgetxattr(Path, Z(name), null, 0));
        var buffer = new byte[100];
        Assert.Equal(value, Encoding.Latin1.GetString(buffer, 0, (int)lgetxattr(Path, Z(name), buffer, buffer.Length)));
    }

    [Fact]
    public void LongValue_IsGivenWhole()
    {
        var buffer = new byte[5000];
        Assert.Equal(5000, lgetxattr(Path, Z(PosixMount.LongXattr), buffer, buffer.Length));
        Assert.All(buffer, b => Assert.Equal((byte)'v', b));
    }

    [Fact]
    public void TooLittleRoom_IsERANGE()
    {
        Assert.Equal(ERANGE, Error(lgetxattr(Path, Z("user.a"), new byte[4], 4)));
        Assert.Equal(ERANGE, Error(llistxattr(Path, new byte[5], 5)));
    }

    [Fact]
    public void NoSuchAttribute_IsENODATA()
    {
        Assert.Equal(ENODATA, Error(lgetxattr(Path, Z("user.nope"), null, 0)));
        Assert.Equal(ENODATA, Error(lgetxattr(Z(mount["dir"]), Z("user.a"), null, 0)));
    }

    [Fact]
    public void List_HasEveryName()
    {
        var buffer = new byte[100];
        int length = (int)llistxattr(Path, buffer, buffer.Length);
        Assert.Equal(length, llistxattr(Path, null, 0));
        Assert.Equal(["user.a", "user.b", "user.long"], Encoding.Latin1.GetString(buffer, 0, length - 1).Split('\0'));
        Assert.Equal(0, llistxattr(Z(mount["dir"]), null, 0));
    }

    [Fact]
    public void Getfattr_Agrees()
        => Assert.Contains("user.a=\"value\"", Tool.Run("getfattr", "-d", "--absolute-names", mount["xattrs"]).EnsureSuccess().Output);

    private byte[] Path => Z(mount["xattrs"]);
}
