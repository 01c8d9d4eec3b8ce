using static LazyMount.TestKit.TarBytes;

namespace LazyMount.MountTests.Zoo;

/// <summary>Entries that stand where something stands already, in the same layer and in lower ones.</summary>
internal static class ReplacementCases
{
    public static ZooCase[] All { get; } =
    [
        new ZooCase("directory over a lower directory")
            .Layer(tar => tar.Pax(("SCHILY.xattr.user.lower", "1")).Directory("d", 0x1C0, OwnedBy(1, 2)).File("d/x"))
            .Layer(tar => tar.Pax(("SCHILY.xattr.user.upper", "2"), ("mtime", "1600000000.5")).Directory("d", 0x1ED, OwnedBy(3, 4)))
            .Shows("""
                drwxr-xr-x 3:4 d @1600000000.5 user.upper="2"
                -rw-r--r-- 0:0 d/x ""
                """),
        new ZooCase("missing parent that a lower layer has")
            .Layer(tar => tar.Pax(("SCHILY.xattr.user.lower", "1"), ("mtime", "1600000000")).Directory("d", 0x1C0, OwnedBy(1, 2)).Directory("d/e", 0x1FF, OwnedBy(3, 4)))
            .Layer(tar => tar.File("d/e/f/x"))
            .Shows("""
                drwx------ 1:2 d @1600000000 user.lower="1"
                drwxrwxrwx 3:4 d/e
                drwxr-xr-x 0:0 d/e/f @-
                -rw-r--r-- 0:0 d/e/f/x ""
                """),
        new ZooCase("missing parent that a middle layer has hidden")
            .Layer(tar => tar.Directory("d", 0x1C0, OwnedBy(1, 2))).Layer(tar => tar.Whiteout("d")).Layer(tar => tar.File("d/x"))
            .Shows("""
                drwxr-xr-x 0:0 d @-
                -rw-r--r-- 0:0 d/x ""
                """),
        new ZooCase("missing parent in a directory that a middle layer made opaque")
            .Layer(tar => tar.Directory("d").Directory("d/e", 0x1C0, OwnedBy(1, 2))).Layer(tar => tar.Directory("d").Opaque("d")).Layer(tar => tar.File("d/e/x"))
            .Shows("""
                drwxr-xr-x 0:0 d
                drwxr-xr-x 0:0 d/e @-
                -rw-r--r-- 0:0 d/e/x ""
                """)
            .Except(Oracle.Containerd, """
                - drwxr-xr-x 0:0 d/e @-
                + drwx------ 1:2 d/e @now
                """, "what is hidden has no attributes to give; the engine looks at each lower layer by itself"),
        new ZooCase("types that change from layer to layer")
            .Layer(tar => tar.File("fdl", "1").Directory("dfd").File("dfd/low").Symlink("ldf", "fdl").Directory("dld").File("dld/low").Directory("fdl2"))
            .Layer(tar => tar.Directory("fdl").File("fdl/x").File("dfd", "2").Directory("ldf").File("ldf/x").Symlink("dld", "dfd"))
            .Layer(tar => tar.Symlink("fdl", "dld").Directory("dfd").File("dfd/top").File("ldf", "3").Directory("dld").File("dld/top"))
            .Shows("""
                drwxr-xr-x 0:0 dfd
                -rw-r--r-- 0:0 dfd/top ""
                drwxr-xr-x 0:0 dld
                -rw-r--r-- 0:0 dld/top ""
                lrwxrwxrwx 0:0 fdl -> dld
                drwxr-xr-x 0:0 fdl2
                -rw-r--r-- 0:0 ldf "3"
                """),
        new ZooCase("devices and fifos replaced, and replacing")
            .Layer(tar => tar.CharacterDevice("c", 1, 3).Fifo("p").File("f").Directory("d").File("d/x"))
            .Layer(tar => tar.File("c", "1").File("p", "2").CharacterDevice("f", 5, 1).Fifo("d"))
            .Shows("""
                -rw-r--r-- 0:0 c "1"
                prw-r--r-- 0:0 d
                crw-r--r-- 0:0 f 5,1
                -rw-r--r-- 0:0 p "2"
                """),
        new ZooCase("a file twice in one layer")
            .Layer(tar => tar.File("f", "first", 0x180, OwnedBy(1, 1)).File("f", "second"))
            .Shows("-rw-r--r-- 0:0 f \"second\""),
        new ZooCase("a directory twice in one layer")
            .Layer(tar => tar.Pax(("SCHILY.xattr.user.first", "1")).Directory("d", 0x1C0, OwnedBy(1, 1)).File("d/x").Directory("d"))
            .Shows("""
                drwxr-xr-x 0:0 d
                -rw-r--r-- 0:0 d/x ""
                """)
            .Except(Oracle.Containerd, """
                - drwxr-xr-x 0:0 d
                + drwxr-xr-x 0:0 d user.first="1"
                """, "the later entry says all attributes"),
        new ZooCase("a directory, then a file in one layer")
            .Layer(tar => tar.Directory("d").File("d/x").File("d", "1"))
            .Shows("-rw-r--r-- 0:0 d \"1\"")
            .Except(Oracle.Overlay, ZooCase.Refuses, "tar does not remove a directory that holds something"),
        new ZooCase("a file, then a directory in one layer")
            .Layer(tar => tar.File("d", "1").Directory("d").File("d/x"))
            .Shows("""
                drwxr-xr-x 0:0 d
                -rw-r--r-- 0:0 d/x ""
                """),
        new ZooCase("a directory, a file and a directory in one layer over a lower directory")
            .Layer(tar => tar.Directory("d").File("d/low"))
            .Layer(tar => tar.Directory("d").File("d/gone").File("d", "1").Directory("d").File("d/top"))
            .Shows("""
                drwxr-xr-x 0:0 d
                -rw-r--r-- 0:0 d/low ""
                -rw-r--r-- 0:0 d/top ""
                """)
            .Except(Oracle.Umoci, "- -rw-r--r-- 0:0 d/low \"\"", "in the layer's own directory only the last one is left, and containers see that")
            .Except(Oracle.Overlay, ZooCase.Refuses, "tar does not remove a directory that holds something"),
        new ZooCase("a file, then a hard link of its name in one layer")
            .Layer(tar => tar.File("a", "a").File("b", "b").HardLink("b", "a"))
            .Shows("""
                -rw-r--r-- 0:0 a "a" nlink 2
                -rw-r--r-- 0:0 b = a
                """),
        new ZooCase("attributes of the root")
            .Layer(tar => tar.Directory("./", 0x1C0, OwnedBy(1, 2)).File("a"))
            .Layer(tar => tar.File("b"))
            .Shows("""
                drwx------ 1:2 /
                -rw-r--r-- 0:0 a ""
                -rw-r--r-- 0:0 b ""
                """)
            .Except(Oracle.Containerd, """
                - drwx------ 1:2 /
                + drwxr-xr-x 0:0 / @now
                """, "it makes every root itself; umoci and podman show what the layers say"),
        new ZooCase("attributes of the root from the highest layer")
            .Layer(tar => tar.Directory("./", 0x1C0, OwnedBy(1, 2)))
            .Layer(tar => tar.Directory("./", 0x1FF))
            .Shows("drwxrwxrwx 0:0 /")
            .Except(Oracle.Containerd, """
                - drwxrwxrwx 0:0 /
                + drwxr-xr-x 0:0 / @now
                """, "it makes every root itself; umoci and podman show what the layers say"),
        new ZooCase("extended attributes of a replaced file")
            .Layer(tar => tar.Pax(("SCHILY.xattr.user.lower", "1")).File("f")).Layer(tar => tar.Pax(("SCHILY.xattr.user.upper", "1")).File("f"))
            .Shows("-rw-r--r-- 0:0 f \"\" user.upper=\"1\""),
    ];
}
