using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>
/// Access control lists and trusted attributes: what other users may do and see on a mount, and through overlayfs on it, is what the kernel
/// lets them do in the same tree on ext4, from which GNU tar has made the layer.
/// </summary>
public sealed class AccessListTests : IDisposable
{
    private const string MakeTree = """
        set -e; cd "$1"; chmod 755 .
        for name in named-user denied named-group masked owned closed-group program plain private; do printf '#!/bin/sh\necho "this is %s"\n' $name > $name; done
        chmod 600 named-user; setfacl -m u:1000:r named-user
        chmod 644 denied; setfacl -m u:1000:---,g:2000:--- denied
        chmod 640 named-group; setfacl -m g:2000:rw named-group
        chmod 600 masked; setfacl -m u:1000:rwx,m::r masked
        chown 1000:1000 owned; chmod 400 owned; setfacl -m u:1001:r,u:1000:--- owned
        chmod 604 closed-group; setfacl -m u:1000:r,m::--- closed-group
        chmod 700 program; setfacl -m u:1000:rx program
        chmod 644 plain; chmod 600 private
        mkdir open inherited; echo inside > open/file; chmod 700 open; setfacl -m u:1000:rx open
        echo inside > inherited/file; setfacl -d -m u:1000:rwx inherited
        setfattr -n trusted.secret -v hidden plain; setfattr -n user.known -v shown plain; setfattr -n trusted.only -v hidden named-user
        """;

    // As each of several users: what access(2) says, what reading, listing and running gives, and which attributes are there.
    private const string Look = """
        cd "$1" || exit 1
        for user in 0:0: 1000:1000: 1001:1001: 1002:2000: 1003:3000:2000 65534:65534:; do
            IFS=: read -r uid gid groups <<< "$user"
            setpriv --reuid $uid --regid $gid --${groups:+groups=}${groups:-clear-groups} bash -c '
                for path in * open/file inherited/file; do
                    for may in r w x; do test -$may $path && echo "$1 $path $may" || echo "$1 $path -"; done
                    test -d $path && ls $path || cat $path
                    test -d $path || ./$path
                    getfacl -n $path; getfattr -d -m - $path; getfattr -n trusted.secret $path; getfattr -n trusted.none $path
                done 2>&1' bash $uid
        done 2>&1 | sed 's/^bash: line [0-9]*: //'
        """;

    private readonly LazyMountCli _lazymount = new();
    private readonly string _tree, _image;

    public AccessListTests()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root can become another user");
        _lazymount.Directory.OpenToAll(); // changes modes
        _tree = _lazymount.Directory.CreateDirectory("tree");
        string tar = _lazymount.Directory["layer.tar"];
        Tool.Shell(MakeTree, _tree).EnsureSuccess();
        Tool.Run("tar", "--xattrs", "--xattrs-include=*", "-cf", tar, "-C", _tree, ".").EnsureSuccess();
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        layout.AddLayer(File.ReadAllBytes(tar)).WriteImage("v1");
        _image = layout.Reference("v1");
    }

    public void Dispose() => _lazymount.Dispose();

    [Theory]
    [InlineData("fuse")]
    [InlineData("erofs")]
    public void UsersMayDoAndSee_WhatTheyMayOnExt4(string face)
    {
        string directory = _lazymount.Mount(_image, "--as", face), mounts = _lazymount.Directory.CreateDirectory("mounts");
        const string Script = """
            set -e; mkdir "$3/ext4" "$3/over-ext4" "$3/over-mount" "$3/none"
            mount --bind "$1" "$3/ext4"; mount -o remount,bind,ro,nosuid,nodev "$3/ext4"
            mount -t overlay -o "ro,nosuid,nodev,lowerdir=$1:$3/none" none "$3/over-ext4"
            mount -t overlay -o "ro,nosuid,nodev,lowerdir=$2:$3/none" none "$3/over-mount"
            look() { bash -c "$LOOK" bash "$1"; }
            look "$3/ext4"; echo ======; look "$2"; echo ======; look "$3/over-ext4"; echo ======; look "$3/over-mount"
            """;
        using Tool tool = Tool.Start(
            "unshare", ["--mount", "--propagation", "private", "bash", "-c", Script, "bash", _tree, directory, mounts], new Dictionary<string, string?> { ["LOOK"] = Look });
        string[] seen = tool.WaitForExit().EnsureSuccess().Output.Split("======\n");
        Assert.Equal(seen[0], seen[1]);
        Assert.Equal(seen[2], seen[3]);
        // That something was compared:
        Assert.Contains("1000 denied -\n", seen[0], StringComparison.Ordinal);
        Assert.Contains("1000 named-user r\n", seen[0], StringComparison.Ordinal);
        Assert.Contains("1001 named-user -\n", seen[0], StringComparison.Ordinal);
        Assert.Contains("1000 open r\n", seen[0], StringComparison.Ordinal);
        Assert.Contains("this is program\n", seen[0], StringComparison.Ordinal);
        Assert.Contains("default:user:1000:rwx\n", seen[0], StringComparison.Ordinal);
        Assert.Equal(1, seen[0].Split("trusted.only=").Length - 1); // root alone
        Assert.Equal(6, seen[0].Split("user.known=").Length - 1);
    }

    /// <summary>What umask= takes away, chmod(1) takes away in the tree on ext4, from its lists too.</summary>
    [Theory]
    [InlineData("027", "g-w,o-rwx")]
    [InlineData("0450", "u-r,g-rx")]
    [InlineData("777", "a-rwx")]
    public void Umask_TakesAwayWhatChmodWould(string umask, string chmod)
    {
        string directory = _lazymount.Mount(_image, "-o", "umask=" + umask), mounts = _lazymount.Directory.CreateDirectory("mounts");
        const string Script = """
            set -e; find "$1" -depth -exec chmod "$4" {} +
            mount --bind "$1" "$3"; mount -o remount,bind,ro,nosuid,nodev "$3"
            bash -c "$LOOK" bash "$3"; echo ======; bash -c "$LOOK" bash "$2"
            """;
        using Tool tool = Tool.Start(
            "unshare", ["--mount", "--propagation", "private", "bash", "-c", Script, "bash", _tree, directory, mounts, chmod], new Dictionary<string, string?> { ["LOOK"] = Look });
        string[] seen = tool.WaitForExit().EnsureSuccess().Output.Split("======\n");
        Assert.Equal(seen[0], seen[1]);
        Assert.Contains("user:1000:rwx", seen[0], StringComparison.Ordinal);
    }

    /// <summary>Such a root has all capabilities, but not in the namespace that counts.</summary>
    [Theory]
    [InlineData("fuse")]
    [InlineData("erofs")]
    public void TrustedNames_AreHiddenFromRootOfAUserNamespace_AndFromRootWithoutTheCapability(string face)
    {
        string file = Path.Combine(_lazymount.Mount(_image, "--as", face), "plain");
        const string List = "getfattr --absolute-names -m - \"$0\"";
        foreach (string path in new[] { file, Path.Combine(_tree, "plain") })
        {
            Assert.Contains("trusted.secret", Tool.Run("bash", "-c", List, path).EnsureSuccess().Output, StringComparison.Ordinal);
            foreach (string[] command in new string[][] { ["unshare", "--user", "--map-root-user"], ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"] })
            {
                string output = Tool.Run(command[0], [.. command[1..], "bash", "-c", List, path]).EnsureSuccess().Output;
                Assert.Contains("user.known", output, StringComparison.Ordinal);
                Assert.DoesNotContain("trusted", output, StringComparison.Ordinal);
            }
        }
    }

    /// <summary>The kernel can make nothing of a list that names an id which a namespace does not map: it would refuse the file to everybody.</summary>
    [Fact]
    public void InAUserNamespaceWithoutTheNamedIds_ModesCount()
    {
        File.WriteAllText(Path.Combine(_tree, "other"), "readable\n");
        string tar = _lazymount.Directory["layer2.tar"];
        Tool.Shell("cd \"$1\" && chown 5:5 other && chmod 664 other && setfacl -m u:1000:rw other && tar --xattrs '--xattrs-include=*' -cf \"$2\" .", _tree, tar).EnsureSuccess();
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout2"]);
        layout.AddLayer(File.ReadAllBytes(tar)).WriteImage("v1");
        const string Script = "\"$1\" mount \"$2\" \"$3\" && cat \"$3/other\" && \"$1\" umount \"$3\"";
        using Tool tool = Tool.Start(
            "unshare", ["--user", "--map-root-user", "--mount", "bash", "-c", Script, "bash", LazyMountCli.Binary, layout.Reference("v1"), _lazymount.NewMountPoint()], _lazymount.Environment);
        Assert.Equal("readable\n", tool.WaitForExit().EnsureSuccess().Output);
    }
}
