using System.Globalization;
using System.Text;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>
/// An image with entries of many kinds, and a FUSE mount of it on which other people's tools say what ours must say. Its users are those that
/// every Debian has too, so that names agree, and its links are relative, so that they lead to the same on the mount.
/// </summary>
public sealed class ManyKindsImage : IDisposable
{
    public ManyKindsImage()
    {
        long now = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        TarBytes tar = new TarBytes()
            .Directory("./")
            .Directory("etc").File("etc/passwd", "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\nbin:x:2:2::/:/bin/false\nwithout\n")
            .File("etc/group", "root:x:0:\ndaemon:x:1:\nbin:x:2:a,b\n").File("etc/app.conf", "setting = 1\n", edit: TarBytes.OwnedBy(1, 2)).File("etc/APP.CONF", "")
            .Directory("sizes");
        foreach (int size in new[] { 0, 1, 2, 511, 512, 513, 1023, 1024, 1025, 4096, 12345, 1048576, 1048577, 3000000 })
        {
            tar.File($"sizes/s{size}", new string('x', size));
        }
        tar.Directory("modes").File("modes/setuid", "#!", Octal("4755")).File("modes/setgid", "#!", Octal("2755")).File("modes/none", "", 0).File("modes/group", "", Octal("640"))
            .File("modes/plain", "", Octal("644")).File("modes/exec", "#!", Octal("755")).File("modes/odd", "", Octal("6070")).File("modes/bits", "", Octal("7000"))
            .Directory("modes/sticky", Octal("1777")).Directory("modes/open", Octal("777")).Directory("modes/stuck", Octal("1755")).Directory("modes/closed", Octal("700"))
            .Directory("owners").File("owners/daemon", "d", edit: TarBytes.OwnedBy(1, 1)).File("owners/nobody", "n", edit: TarBytes.OwnedBy(54321, 54322))
            .File("owners/large", "l", edit: header =>
            {
                TarBytes.Base256(header, 108, 8, 4_000_000_000);
                TarBytes.Base256(header, 116, 8, 4_000_000_001);
            })
            .Directory("special").Fifo("special/pipe").CharacterDevice("special/null", 1, 3).CharacterDevice("special/far", 1234, 56789)
            .Raw(TarBytes.Header("special/disk", '4', 0, Octal("660"), edit: header =>
            {
                TarBytes.Octal(header, 329, 8, 8);
                TarBytes.Octal(header, 337, 8, 17);
            }))
            .Directory("links").Symlink("links/file", "../etc/app.conf").Symlink("links/directory", "../etc").Symlink("links/broken", "nowhere/at all")
            .Symlink("links/loop", "loop").Symlink("links/Up", "..").Symlink("links/through", "file/x").Symlink("top", "etc").Symlink("links/tool", "../modes/exec").Symlink("links/pipe", "../special/pipe")
            .File("links/one", "shared contents of two kibibytes".PadRight(2048)).HardLink("links/two", "links/one").Directory("links/sub").HardLink("links/sub/three", "links/one")
            .Directory("names").File("names/with space").File("names/with\nline").File("names/caf\u00c3\u00a9").File("names/CAF\u00c3\u0089").File("names/latin\u00ff").File("names/.hidden", "h")
            .File("names/[x]").File("names/q?").File("names/st*r").File("names/quo\"te").File("names/back\\slash").File("names/tab\there").File("names/esc\u001b[2J").File("names/\u00f0\u009f\u0098\u0080")
            .File("names/archive.tar.gz", "gz").File("names/picture.PNG", "png").File("names/abab").File("names/aab").File("names/a+b").File("names/a{2}").File("names/-dash").File("names/(paren)")
            .Directory("empty").Directory("deep").Directory("deep/1").Directory("deep/1/2").Directory("deep/1/2/3").File("deep/1/2/3/bottom", "b").File("deep/1/leaf", "l").Directory("deep/skip").File("deep/skip/inside")
            .Directory("times").Pax(("mtime", "1000000000.123456789")).File("times/old")
            .Pax(("mtime", "1000000000.123456790")).File("times/older-by-a-nanosecond")
            .Pax(("mtime", "-1.5")).File("times/before-1970");
        foreach ((string name, double age) in new[] { ("minutes", 30.5 * 60), ("hours", 90.5 * 60), ("yesterday", 1.5 * 86400), ("days", 10.5 * 86400), ("months", 170.5 * 86400), ("half-year", 181.5 * 86400), ("future", -3000), ("far-future", -100000) })
        {
            tar.Pax(("mtime", (now - (long)age).ToString(CultureInfo.InvariantCulture))).File($"times/{name}");
        }
        tar.Directory("xattrs").Pax(("SCHILY.xattr.user.color", "blue")).File("xattrs/blue").Pax(("SCHILY.xattr.user.shape", "round")).File("xattrs/round");
        // user::rw- user:1:r-- group::r-- mask::r-- other::r--, and a list that says what the mode says anyway
        string extended = AccessList((1, 6, -1), (2, 4, 1), (4, 4, -1), (16, 4, -1), (32, 4, -1)), plain = AccessList((1, 6, -1), (4, 4, -1), (32, 4, -1));
        tar.Directory("acls").Pax((Access, extended)).File("acls/listed", "x").Pax((Access, plain)).File("acls/plain").File("acls/none").Symlink("acls/link", "listed")
            .Pax((Default, plain)).Directory("acls/inherited").Directory("acls/inherited/inside");
        tar.Directory("wide").File($"wide/{Bytes("日本語")}").File($"wide/{Bytes("e\u0301te\u0301")}").File($"wide/{Bytes("한글.txt")}").File("wide/ascii").File($"wide/{Bytes("\U0001F600\U0001F600")}").File("wide/more-ascii");
        Layout = new OciLayoutBuilder(LazyMount.Directory["layout"]);
        Layout.AddLayer(tar).WriteImage("v1");
        Image = Layout.Reference("v1");
        MountPoint = LazyMount.Mount(Image, "--as", "fuse");
    }

    public LazyMountCli LazyMount { get; } = new();

    public OciLayoutBuilder Layout { get; }

    public string Image { get; }

    public string MountPoint { get; }

    /// <summary>Runs a line of a shell in the root of the mount: other people's tool.</summary>
    public ToolResult Theirs(string line) => Tool.Shell($"export TZ=UTC0 LC_ALL=C.UTF-8; unset LS_COLORS; cd \"$1\"; {line}", MountPoint);

    /// <summary>Runs a line of a shell in which <c>$L</c> is our program and <c>$I</c> the image.</summary>
    public ToolResult Ours(string line) => Tool.Shell($"export LAZYMOUNT_CACHE=$3 L=$1 I=$2; unset LS_COLORS NO_COLOR; {line}", LazyMountCli.Binary, Image, LazyMount.CacheDirectory);

    /// <summary>Asserts that two programs said the same and ended alike.</summary>
    public static void AssertSame(ToolResult theirs, ToolResult ours, bool isSorted = false)
    {
        Assert.Equal(Lines(theirs, isSorted), Lines(ours, isSorted));
        Assert.Equal((theirs.ExitCode, theirs.Error == ""), (ours.ExitCode, ours.Error == ""));
    }

    public void Dispose() => LazyMount.Dispose();

    private static string Lines(ToolResult result, bool isSorted)
    {
        string text = Encoding.Latin1.GetString(result.OutputBytes);
        return isSorted ? string.Join('\n', text.Split('\n').Order(StringComparer.Ordinal)) : text;
    }

    private const string Access = "SCHILY.xattr.system.posix_acl_access", Default = "SCHILY.xattr.system.posix_acl_default";

    // linux/posix_acl_xattr.h: version 2, then tag, permissions and id of each entry. The bytes as Latin-1, as TarBytes takes text.
    private static string AccessList(params (short Tag, short Permissions, int Id)[] entries)
        => Encoding.Latin1.GetString([2, 0, 0, 0, .. entries.SelectMany(entry => (byte[])[.. BitConverter.GetBytes(entry.Tag), .. BitConverter.GetBytes(entry.Permissions), .. BitConverter.GetBytes(entry.Id)])]);

    private static string Bytes(string text) => Encoding.Latin1.GetString(Encoding.UTF8.GetBytes(text));

    private static int Octal(string digits) => Convert.ToInt32(digits, 8);
}
