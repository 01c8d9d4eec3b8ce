using System.Runtime.InteropServices;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>mount_setattr(2) with MOUNT_ATTR_IDMAP, as container engines map the ids of an image to those of a user namespace.</summary>
public sealed class IdMappedMountTests : IDisposable
{
    private readonly LazyMountCli _lazymount = new();
    private readonly string _image;
    private readonly Tool? _user;

    public IdMappedMountTests()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root can map the ids of a mount");
        Assert.SkipUnless(RuntimeInformation.ProcessArchitecture == Architecture.X64, "makes system calls by their number");
        OciLayoutBuilder layout = new OciLayoutBuilder(_lazymount.Directory["layout"]).AddLayer(new TarBytes()
            .Directory("./", 0b111_101_101).File("file", "content\n", 0b110_000_000).File("other", "content\n", 0b110_100_100, TarBytes.OwnedBy(7, 8))
            .File("beyond", "content\n", 0b110_100_100, TarBytes.OwnedBy(100_000, 100_000)));
        layout.WriteImage("v1");
        _image = layout.Reference("v1");
        _lazymount.Directory.OpenToAll();

        _user = Tool.Start("unshare", ["--user", "sleep", "300"]);
        for (int attempt = 0; File.ResolveLinkTarget($"/proc/{_user.ProcessId}/ns/user", false)?.Name == File.ResolveLinkTarget("/proc/self/ns/user", false)?.Name; attempt++)
        {
            Assert.True(attempt < 1200, "the user namespace is not there after a minute");
            Thread.Sleep(50);
        }
        File.WriteAllText($"/proc/{_user.ProcessId}/uid_map", "0 1000 65536");
        File.WriteAllText($"/proc/{_user.ProcessId}/gid_map", "0 2000 65536");
    }

    public void Dispose()
    {
        _user?.Dispose();
        _lazymount.Dispose();
    }

    [Theory]
    [InlineData("1000:2000 1007:2008 65534:65534", "0:0 7:8 100000:100000", "--as", "erofs")]
    [InlineData("1000:2000 1007:2008 65534:65534", "0:0 7:8 100000:100000", "--as", "fuse")]
    [InlineData("1005:2000 1005:2008 1005:65534", "5:0 5:8 5:100000", "-o", "uid=5")]
    [InlineData("1005:2006 1005:2006 1005:2006", "5:6 5:6 5:6", "-o", "uid=5,gid=6")]
    public void Owners_AreMapped_AndTheirRights(string owners, string unmapped, params string[] options)
    {
        string directory = _lazymount.Mount(_image, options), mapped = _lazymount.NewMountPoint(), over = _lazymount.Directory.CreateDirectory("over");
        Map(directory, mapped);
        Assert.Equal(owners, OwnersIn(mapped));
        Assert.Equal(unmapped, OwnersIn(directory));
        uint owner = uint.Parse(owners.Split(':')[0]);
        Assert.Equal("content\n", As(owner, mapped + "/file").EnsureSuccess().Output);
        Assert.Contains("Permission denied", As(owner + 1, mapped + "/file").Error, StringComparison.Ordinal);
        Assert.Contains("Permission denied", As(owner, directory + "/file").Error, StringComparison.Ordinal);

        // As the lower layer of a container whose ids are mapped.
        const string Overlay = "mkdir \"$2/none\" \"$2/merged\" && mount -t overlay -o \"ro,lowerdir=$1:$2/none\" none \"$2/merged\" && cd \"$2/merged\" && stat -c %u:%g file other beyond | tr '\\n' ' '";
        Assert.Equal(owners, Tool.Run("unshare", "--mount", "--propagation", "private", "bash", "-c", Overlay, "bash", mapped, over).EnsureSuccess().Output.TrimEnd());

        _lazymount.Run("umount", directory).EnsureSuccess(); // with its bind mounts
        Assert.False(LazyMountCli.IsMounted(mapped));
    }

    // open_tree, mount_setattr(MOUNT_ATTR_IDMAP) and move_mount, with the user namespace of a process.
    private void Map(string directory, string to)
    {
        const string Perl = """
            my ($dir, $to, $pid) = @ARGV; my $none = "";
            open(my $ns, "<", "/proc/$pid/ns/user") or die;
            (my $tree = syscall(428, -100, $dir, 1)) >= 0 or die "open_tree $!";
            my $attributes = pack("Q4", 0x100000, 0, 0, fileno($ns));
            syscall(442, $tree, $none, 0x1000, $attributes, 32) == 0 or die "mount_setattr $!";
            syscall(429, $tree, $none, -100, $to, 4) == 0 or die "move_mount $!";
            """;
        Tool.Run("perl", "-e", Perl, directory, to, $"{_user!.ProcessId}").EnsureSuccess();
    }

    private static string OwnersIn(string directory)
        => Tool.Run("stat", "-c", "%u:%g", directory + "/file", directory + "/other", directory + "/beyond").EnsureSuccess().Output.TrimEnd().Replace('\n', ' ');

    private static ToolResult As(uint user, string file) => Tool.Run("setpriv", $"--reuid={user}", "--regid=65534", "--clear-groups", "cat", file);
}
