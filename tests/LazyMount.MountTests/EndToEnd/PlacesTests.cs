using System.Text.Json;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>Where records, logs and the cache are, and what becomes of a mount whose records cannot be written.</summary>
public sealed class PlacesTests : IDisposable
{
    private readonly LazyMountCli _lazymount = new();
    private readonly string _image, _directory;

    public PlacesTests()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root can make the namespaces");
        OciLayoutBuilder layout = new OciLayoutBuilder(_lazymount.Directory["layout"]).AddLayer(new TarBytes().File("file", "content\n"));
        layout.WriteImage("v1");
        _image = layout.Reference("v1");
        _directory = _lazymount.NewMountPoint();
    }

    public void Dispose() => _lazymount.Dispose();

    [Theory]
    [InlineData("erofs", "touch \"$WORK/file\"; export LAZYMOUNT_STATE=\"$WORK/file/state\"", "cannot make the state directory")]
    [InlineData("fuse", "mkdir -m 777 \"$WORK/open\"; export LAZYMOUNT_STATE=\"$WORK/open\"", "others may write to it")]
    [InlineData("fuse", "mkdir -m 700 \"$WORK/ro\"; mount -t tmpfs -o ro,mode=700 none \"$WORK/ro\"; export LAZYMOUNT_STATE=\"$WORK/ro\"", "has no log file")]
    [InlineData("erofs", "mkdir -m 700 \"$WORK/ro\"; mount -t tmpfs -o ro,mode=700 none \"$WORK/ro\"; export LAZYMOUNT_STATE=\"$WORK/ro/state\"", "cannot make the state directory")]
    public void UnwritableState_IsAWarning_AndTheMountIsListed(string face, string prepare, string warning)
    {
        ToolResult result = Run(prepare + "\n" + $$"""
            "$LAZYMOUNT" mount --as {{face}} "$IMAGE" "$DIR"
            cat "$DIR/file"; "$LAZYMOUNT" list --json
            "$LAZYMOUNT" umount "$DIR"; grep -c " $DIR " /proc/self/mountinfo || true
            """).EnsureSuccess();
        Assert.StartsWith("content\n", result.Output, StringComparison.Ordinal);
        Assert.EndsWith("\n0\n", result.Output, StringComparison.Ordinal);
        using JsonDocument list = JsonDocument.Parse(result.Output["content\n".Length..^"0\n".Length]);
        JsonElement mount = list.RootElement.EnumerateArray().Single(mount => mount.GetProperty("mountPoint").GetString() == _directory);
        Assert.Equal(("alive", _image, face), (mount.GetProperty("state").GetString(), mount.GetProperty("image").GetString(), mount.GetProperty("face").GetString()));
        Assert.StartsWith("lazymount: note: the mount has no ", result.Error, StringComparison.Ordinal);
        Assert.Contains(warning, result.Error, StringComparison.Ordinal);
        Assert.Contains("LAZYMOUNT_STATE", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void UnwritableState_InFront_IsAWarning()
    {
        ToolResult result = Run("""
            touch "$WORK/file"; export LAZYMOUNT_STATE="$WORK/file/state"
            "$LAZYMOUNT" mount -f "$IMAGE" "$DIR" & until grep -q " $DIR " /proc/self/mountinfo; do sleep 0.05; done
            cat "$DIR/file"; kill $!; wait $!
            """).EnsureSuccess();
        Assert.Equal("content\n", result.Output);
        Assert.Contains("note: the mount has no record and no log file: cannot make the state directory", result.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("XDG_STATE_HOME=\"$WORK/xdg\"", "xdg/lazymount")]
    [InlineData("XDG_STATE_HOME=relative", "lib/lazymount")]
    [InlineData("XDG_STATE_HOME=", "lib/lazymount")]
    [InlineData("XDG_STATE_HOME=\"$WORK/xdg\" LAZYMOUNT_STATE=\"$WORK/own\"", "own")]
    public void RecordsOfRoot_AreWhereVariablesSay(string variables, string expected)
        => Assert.Equal($"./{expected}\n", Run($$"""
            unset LAZYMOUNT_STATE XDG_STATE_HOME; mkdir "$WORK/lib"; mount --bind "$WORK/lib" /var/lib; cd "$WORK"
            env {{variables}} "$LAZYMOUNT" mount "$IMAGE" "$DIR"
            find . -name '*.json' -printf '%h\n'
            env {{variables}} "$LAZYMOUNT" umount "$DIR"
            """).EnsureSuccess().Output);

    /// <summary>User 0 of a namespace that a user has made: the system's directories are not theirs to write.</summary>
    [Fact]
    public void RootOfAUsersNamespace_HasTheUsersDirectories()
        => Assert.Equal("content\n./.cache/lazymount/v1/trees\n./.local/state/lazymount\n", Run("""
            mknod -m 666 "$WORK/fuse" c 10 229; mount --bind "$WORK/fuse" /dev/fuse
            mkdir "$WORK/home" "$WORK/mnt"; cp "$LAZYMOUNT" "$WORK/lazymount"; chmod -R a+rX "$WORK/.."; chown -R 65534:65534 "$WORK/home" "$WORK/mnt"
            unset LAZYMOUNT_STATE LAZYMOUNT_CACHE XDG_STATE_HOME XDG_CACHE_HOME; export HOME="$WORK/home"; cd "$HOME"
            setpriv --reuid 65534 --regid 65534 --clear-groups unshare --user --map-root-user --mount bash -ec '
                "$WORK/lazymount" mount "$IMAGE" "$WORK/mnt"; cat "$WORK/mnt/file"
                find . -name trees; find . -name "*.json" -printf "%h\n"
                "$WORK/lazymount" umount "$WORK/mnt"'
            """).EnsureSuccess().Output);

    /// <summary>User 0 of a namespace in which the system's directories can be written, as in a container without root.</summary>
    [Fact]
    public void RootOfANamespaceThatMayWrite_HasTheSystemsDirectories()
        => Assert.Equal("content\n./lazymount\n", Run("""
            unset LAZYMOUNT_STATE XDG_STATE_HOME; mkdir "$WORK/lib"; mount --bind "$WORK/lib" /var/lib; cd "$WORK/lib"
            unshare --user --map-root-user --mount bash -ec '
                "$LAZYMOUNT" mount "$IMAGE" "$DIR"; cat "$DIR/file"; find . -name "*.json" -printf "%h\n"; "$LAZYMOUNT" umount "$DIR"'
            """).EnsureSuccess().Output);

    private ToolResult Run(string script)
    {
        using Tool tool = Tool.Start("unshare", ["--mount", "--propagation", "private", "bash", "-ec", script], new Dictionary<string, string?>(_lazymount.Environment)
        {
            ["IMAGE"] = _image,
            ["DIR"] = _directory,
            ["LAZYMOUNT"] = LazyMountCli.Binary,
            ["WORK"] = _lazymount.Directory.CreateDirectory("work"),
        });
        return tool.WaitForExit();
    }
}
