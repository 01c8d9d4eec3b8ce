using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>mount(8) and fstab(5): the real mount program starts ours as mount.lazymount and mount.fuse.lazymount, in a mount namespace whose /usr/sbin has them.</summary>
public sealed class MountHelperTests : IDisposable
{
    private readonly LazyMountCli _lazymount = new();
    private readonly string _image, _directory, _fstab;

    public MountHelperTests()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root may mount in a namespace");
        OciLayoutBuilder layout = new OciLayoutBuilder(_lazymount.Directory["layout"])
            .AddLayer(new TarBytes().Directory("./").File("file", "content\n", 0b110_110_110, TarBytes.OwnedBy(7, 8)).Symlink("link", "file"));
        layout.WriteImage("v1");
        layout.WriteImage("v2");
        _image = layout.Reference("v1");
        _directory = _lazymount.Directory.CreateDirectory("mnt");
        _fstab = _lazymount.Directory["fstab"];
        File.WriteAllText(_fstab, "");
        string helpers = _lazymount.Directory.CreateDirectory("helpers");
        File.CreateSymbolicLink(Path.Combine(helpers, "mount.lazymount"), LazyMountCli.Binary);
        File.CreateSymbolicLink(Path.Combine(helpers, "mount.fuse.lazymount"), LazyMountCli.Binary);
    }

    public void Dispose() => _lazymount.Dispose();

    [Theory]
    [InlineData("lazymount", "erofs")]
    [InlineData("lazymount", "fuse.lazymount", "as=fuse")]
    [InlineData("fuse.lazymount", "erofs")]
    [InlineData("fuse.lazymount", "fuse.lazymount", "uid=5,gid=6,umask=027")]
    [InlineData("lazymount", "erofs", "defaults,nofail,_netdev,noauto,users,x-systemd.automount,X-own=a,noatime,relatime,async,comment=hello,ro")]
    [InlineData("lazymount", "erofs", "platform=linux/amd64,plain-http,layer=0,prefetch=\"/file\",index-trust=none,allow_other,read-timeout=5s")]
    public void MountOfTheSystem_MountsAnImage(string type, string shown, string options = "rw")
        => Assert.Equal($"{shown}\ncontent\nro,nosuid,nodev\n", Run($"""
            mount -t {type} -o '{options}' "$IMAGE" "$DIR"
            findmnt -no FSTYPE "$DIR"; cat "$DIR/file"; findmnt -no OPTIONS "$DIR" | grep -o '^ro,nosuid,nodev'
            umount "$DIR"
            """).EnsureSuccess().Output);

    [Fact]
    public void OptionsForOwnersAndPermissions_AreShown()
        => Assert.Equal("5 6 640\n0 0 777\n7 8 640\n", Run("""
            mount -t lazymount -o uid=5,gid=6,umask=027 "$IMAGE" "$DIR"
            stat -c '%u %g %a' "$DIR/file"; umount "$DIR"
            mount -t lazymount -o umask=027 "$IMAGE" "$DIR"
            stat -c '%u %g %a' "$DIR/link" "$DIR/file"; umount "$DIR"
            """).EnsureSuccess().Output);

    [Fact]
    public void Fstab_IsMountedOnce_HoweverOften()
    {
        string second = _lazymount.Directory.CreateDirectory("with space"), third = _lazymount.Directory.CreateDirectory("never");
        File.WriteAllText(_fstab, $"""
            # an image, another face, a directory with a space, and one that is not mounted by -a
            {_image} {_directory} lazymount defaults,nofail 0 0
            {_image} {second.Replace(" ", "\\040", StringComparison.Ordinal)} fuse.lazymount as=fuse,noexec 0 0
            {_image} {third} lazymount noauto 0 0

            """);
        Assert.Equal("content\n1\n1\n0\nnoexec\ncontent\n", Run($"""
            mount -a -T "$FSTAB"; mount -a -T "$FSTAB"; mount -a -T "$FSTAB"
            cat "$DIR/file"
            grep -c ' {_directory} ' /proc/self/mountinfo; grep -c '/with.040space ' /proc/self/mountinfo; grep -c ' {third} ' /proc/self/mountinfo || true
            findmnt -no OPTIONS '{second}' | grep -o noexec
            mount -T "$FSTAB" '{third}'; cat '{third}/file'
            umount "$DIR" '{second}' '{third}'
            """).EnsureSuccess().Output);
    }

    [Fact]
    public void Directory_ThatShowsAnotherImage_IsRefused()
    {
        ToolResult result = Run("""
            mount -t lazymount "$IMAGE" "$DIR"
            mount -t lazymount "${IMAGE%v1}v2" "$DIR" && exit 9; echo $?
            umount "$DIR"
            """).EnsureSuccess();
        Assert.Equal("32\n", result.Output);
        Assert.Contains($"'{_image}' is mounted there", result.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("-o frob", "1", "'frob'", "lazymount help fstab")]
    [InlineData("-o platform", "1", "'platform'", "platform=OS/ARCH")]
    [InlineData("-o plain-http=yes", "1", "'plain-http=yes'", "takes no value")]
    [InlineData("-o umask=9", "1", "'umask=9'", "umask=022")]
    [InlineData("-o creds=u:p", "1", "'creds=u:p'")]
    [InlineData("-o foreground", "1", "'foreground'")]
    [InlineData("-o cache-dir=relative", "1", "'cache-dir=relative'", "absolute")]
    [InlineData("-o platform=plan9", "1", "plan9")]
    [InlineData("-o remount", "32", "cannot remount")]
    public void WrongWord_IsRefused_WithTheCodeOfMount(string options, string code, params string[] parts)
    {
        ToolResult result = Run($"\"$HELPERS/mount.lazymount\" \"$IMAGE\" \"$DIR\" {options} && exit 9; echo $?").EnsureSuccess();
        Assert.Equal(code + "\n", result.Output);
        Sentence.AssertOne(new ToolResult("mount", int.Parse(code), [], result.Error), int.Parse(code), parts);
    }

    [Theory]
    [InlineData("oci:layout:v1")]
    [InlineData("oci-archive:image.tar")]
    [InlineData("docker-archive:./image.tar")]
    public void RelativePath_IsRefused(string image)
    {
        ToolResult result = Run($"cd \"$DIR/..\"; mount -t lazymount {image} \"$DIR\" && exit 9; echo $?").EnsureSuccess();
        Assert.Equal("1\n", result.Output);
        Assert.Contains($"cannot mount '{image}': the path is relative", result.Error, StringComparison.Ordinal);
        Assert.Contains($"write {image.Split(':')[0]}:/", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void FlagsOfMount_AreTaken()
        => Assert.Equal("0\n1\ncontent\nnoexec\nexec\n", Run("""
            mount -f -t lazymount "$IMAGE" "$DIR"; grep -c " $DIR " /proc/self/mountinfo || true
            "$HELPERS/mount.lazymount" "$IMAGE" "$DIR" -f -o frob 2>/dev/null || echo $?
            "$HELPERS/mount.lazymount" "$IMAGE" "$DIR" -sfo frob
            mount -n -s -v -t lazymount -o frob "$IMAGE" "$DIR" >/dev/null 2>&1; cat "$DIR/file"
            "$HELPERS/mount.fuse.lazymount" "$IMAGE" "$DIR" -o remount,rw,noexec -t fuse.lazymount; findmnt -no OPTIONS "$DIR" | grep -o noexec
            "$HELPERS/mount.fuse.lazymount" "$IMAGE" "$DIR" -o remount,exec; findmnt -no OPTIONS "$DIR" | grep -o noexec || echo exec
            umount "$DIR"
            """).EnsureSuccess().Output);

    [Fact]
    public void NamespaceOfAnother_IsEntered()
        => Assert.Equal("content\n0\n", Run("""
            unshare --mount --propagation private sleep 300 >/dev/null 2>&1 & other=$!; trap "kill $other" EXIT
            until [ "$(readlink /proc/$other/ns/mnt)" != "$(readlink /proc/self/ns/mnt)" ]; do sleep 0.05; done
            mount -N $other -t lazymount "$IMAGE" "$DIR"
            nsenter -t $other -m cat "$DIR/file"; grep -c " $DIR " /proc/self/mountinfo || true
            nsenter -t $other -m umount "$DIR"
            """).EnsureSuccess().Output);

    [Fact]
    public void DeadMount_IsNotTakenForTheImage()
    {
        ToolResult result = Run("""
            mount -t lazymount "$IMAGE" "$DIR"
            pkill -KILL -f "daemon .*$DIR" # not what list shows: it shows other tests' mounts, too
            until "$LAZYMOUNT" list | grep "$DIR" | grep -q '^dead'; do sleep 0.05; done
            "$HELPERS/mount.lazymount" "$IMAGE" "$DIR" -o rw && exit 9; echo $?
            "$LAZYMOUNT" umount "$DIR"
            """).EnsureSuccess();
        Assert.Equal("32\n", result.Output);
        Assert.Contains("dead mount", result.Error, StringComparison.Ordinal);
    }

    /// <summary>The example units are what systemd takes for units, and what the mount unit has mount(8) do is done.</summary>
    [Fact]
    public void ExampleUnits_AreUnits_AndTheirOptionsAreTaken()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/systemd-analyze"), "systemd-analyze is not installed");
        string units = _lazymount.Directory.CreateDirectory("units");
        foreach (string unit in Directory.GetFiles(Path.Combine(RepositoryRoot.Path, "docs", "systemd")))
        {
            string path = Path.Combine(units, Path.GetFileName(unit));
            File.WriteAllText(path, File.ReadAllText(unit).Replace("/usr/bin/lazymount", LazyMountCli.Binary, StringComparison.Ordinal));
            Assert.Equal("", Tool.Run("systemd-analyze", "verify", "--man=no", path).EnsureSuccess().Error);
        }
        Dictionary<string, string> mount = File.ReadLines(Path.Combine(units, "srv-debian.mount")).Select(line => line.Split('=', 2)).Where(pair => pair.Length == 2 && !pair[0].StartsWith('#'))
            .GroupBy(pair => pair[0]).ToDictionary(pairs => pairs.Key, pairs => pairs.First()[1]);
        Assert.Equal("content\n", Run($"""
            mount "$IMAGE" "$DIR" -t {mount["Type"]} -o {mount["Options"]}; cat "$DIR/file"; umount "$DIR"
            """).EnsureSuccess().Output);
    }

    /// <summary>A line of fstab with user lets everybody mount it, by FUSE, and whoever has mounted it may unmount it with umount(8).</summary>
    [Theory]
    [InlineData("user")]
    [InlineData("users")]
    public void UserOfFstab_MountsAndUnmounts(string word)
    {
        File.WriteAllText(_fstab, $"{_image} {_directory} lazymount {word},noauto 0 0\n");
        Tool.Run("cp", "--remove-destination", LazyMountCli.Binary, _lazymount.Directory["helpers/mount.lazymount"]).EnsureSuccess(); // where others may run it
        _lazymount.Directory.OpenToAll();
        ToolResult result = Run($$"""
            mkdir "$WORK/home"; chown 65534:65534 "$DIR" "$WORK/home"
            mknod -m 666 "$WORK/fuse" c 10 229; mount --bind "$WORK/fuse" /dev/fuse; mount --bind "$FSTAB" /etc/fstab
            as() { setpriv --reuid $1 --regid $1 --clear-groups env HOME="$WORK/home" LAZYMOUNT_STATE="$WORK/home/state" LAZYMOUNT_CACHE="$WORK/home/cache" "${@:2}"; }
            as 65534 mount "$DIR"; as 65534 mount "$DIR"; findmnt -no FSTYPE "$DIR"; as 65534 cat "$DIR/file"
            {{(word == "user" ? "as 7 umount \"$DIR\" && exit 9" : "")}}
            as 65534 umount "$DIR"; grep -c " $DIR " /proc/self/mountinfo || true
            """).EnsureSuccess();
        Assert.Equal("fuse.lazymount\ncontent\n0\n", result.Output);
        if (word == "user")
        {
            Assert.Contains("must be superuser", result.Error, StringComparison.Ordinal);
        }
    }

    // In a mount namespace of its own, so that nothing is left whatever fails.
    private ToolResult Run(string script)
    {
        const string Prepare = """
            mkdir "$WORK/upper" "$WORK/work"; cp -a "$HELPERS/." "$WORK/upper"
            mount -t overlay -o "ro,lowerdir=$WORK/upper:$(readlink -f /sbin)" none "$(readlink -f /sbin)"

            """;
        using Tool tool = Tool.Start("unshare", ["--mount", "--propagation", "private", "bash", "-ec", Prepare + script], new Dictionary<string, string?>(_lazymount.Environment)
        {
            ["IMAGE"] = _image,
            ["DIR"] = _directory,
            ["FSTAB"] = _fstab,
            ["LAZYMOUNT"] = LazyMountCli.Binary,
            ["HELPERS"] = _lazymount.Directory["helpers"],
            ["WORK"] = _lazymount.Directory.CreateDirectory("work"),
        });
        return tool.WaitForExit();
    }
}
