using static LazyMount.TestKit.TarBytes;

namespace LazyMount.MountTests.Zoo;

/// <summary>One layer: what each sort of entry shows.</summary>
internal static class EntryCases
{
    public static ZooCase[] All { get; } =
    [
        new ZooCase("entry types")
            .Layer(tar => tar.Directory("d").File("d/file", "text").File("empty").Symlink("link", "d/file").Fifo("pipe").CharacterDevice("null", 1, 3))
            .Shows("""
                drwxr-xr-x 0:0 d
                -rw-r--r-- 0:0 d/file "text"
                -rw-r--r-- 0:0 empty ""
                lrwxrwxrwx 0:0 link -> d/file
                crw-r--r-- 0:0 null 1,3
                prw-r--r-- 0:0 pipe
                """),
        new ZooCase("special mode bits")
            .Layer(tar => tar.File("setgid", "", 0x5ED).File("setgid-only", "", 0x5A4).File("setuid", "", 0x9ED).Directory("sticky", 0x3FF).File("zero", "", 0))
            .Shows("""
                -rwxr-sr-x 0:0 setgid ""
                -rw-r-Sr-- 0:0 setgid-only ""
                -rwsr-xr-x 0:0 setuid ""
                drwxrwxrwt 0:0 sticky
                ---------- 0:0 zero ""
                """),
        new ZooCase("owners up to 32 bits")
            .Layer(tar => tar.File("big", "", 0x1A4, header => Base256(header, 108, 8, 4_294_967_294)).File("owned", "", 0x1A4, OwnedBy(1000, 100)).Pax(("gid", "70000")).File("pax"))
            .Shows("""
                -rw-r--r-- 4294967294:0 big ""
                -rw-r--r-- 1000:100 owned ""
                -rw-r--r-- 0:70000 pax ""
                """),
        new ZooCase("names that are not UTF-8, and with control characters")
            .Layer(tar => tar.File("caf\u00e9").File("new\nline").File("tab\tback\\slash"))
            .Shows("""
                -rw-r--r-- 0:0 caf\xe9 ""
                -rw-r--r-- 0:0 new\x0aline ""
                -rw-r--r-- 0:0 tab\x09back\x5cslash ""
                """),
        new ZooCase("dots and slashes in names")
            .Layer(tar => tar.Directory("./").File("./a").File("/b").File("d//.///c").Directory("d/"))
            .Shows("""
                drwxr-xr-x 0:0 /
                -rw-r--r-- 0:0 a ""
                -rw-r--r-- 0:0 b ""
                drwxr-xr-x 0:0 d
                -rw-r--r-- 0:0 d/c ""
                """),
        new ZooCase("missing parents")
            .Layer(tar => tar.File("a/b/c", "x", 0x1A4, OwnedBy(5, 6)))
            .Shows("""
                drwxr-xr-x 0:0 a @-
                drwxr-xr-x 0:0 a/b @-
                -rw-r--r-- 5:6 a/b/c "x"
                """),
        new ZooCase("extended attributes")
            .Layer(tar => tar.Pax(("SCHILY.xattr.user.colour", "blue"), ("SCHILY.xattr.user.binary", "\u0001\u00ff")).File("file")
                .Pax(("SCHILY.xattr.user.d", "x")).Directory("dir"))
            .Shows("""
                drwxr-xr-x 0:0 dir user.d="x"
                -rw-r--r-- 0:0 file "" user.binary="\x01\xff" user.colour="blue"
                """),
        new ZooCase("extended attributes of overlayfs's own")
            .Layer(tar => tar.Directory("d").File("d/lower"))
            .Layer(tar => tar.Pax(("SCHILY.xattr.trusted.overlay.opaque", "y"), ("SCHILY.xattr.user.k", "v")).Directory("d").File("d/upper"))
            .Shows("""
                drwxr-xr-x 0:0 d user.k="v"
                -rw-r--r-- 0:0 d/lower ""
                -rw-r--r-- 0:0 d/upper ""
                """)
            .Except(Oracle.Overlay, "- -rw-r--r-- 0:0 d/lower \"\"", "GNU tar sets it, the engines do not; a layer's own mark is .wh..wh..opq"),
        new ZooCase("an empty layer between two")
            .Layer(tar => tar.File("a")).Layer(tar => tar).Layer(tar => tar.File("b"))
            .Shows("""
                -rw-r--r-- 0:0 a ""
                -rw-r--r-- 0:0 b ""
                """),
    ];
}
