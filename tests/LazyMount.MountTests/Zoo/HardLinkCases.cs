using static LazyMount.TestKit.TarBytes;

namespace LazyMount.MountTests.Zoo;

/// <summary>Hard links.</summary>
internal static class HardLinkCases
{
    private const string Missing = "which does not exist or is a directory";

    private const string AcrossLayers = "umoci takes it, as does containerd's native snapshotter; nothing else can be meant";
    private const string Lenient = "harmless, and what is meant is plain";
    private const string NamesThatAreThere = "a link count that counts names which nobody can see, as overlayfs does it, makes backup tools look for them";

    private const string OwnAttributes = """
        - -rwxr-xr-x 3:4 a "x" nlink 2
        - -rwxr-xr-x 3:4 b = a
        + -rw------- 1:2 a "x" nlink 2
        + -rw------- 1:2 b = a
        """;

    public static ZooCase[] All { get; } =
    [
        new ZooCase("hard links of one layer, chained, across directories")
            .Layer(tar => tar.File("b", "x").HardLink("c", "b").Directory("d").HardLink("d/e", "./c").HardLink("a", "/d/e"))
            .Shows("""
                -rw-r--r-- 0:0 a "x" nlink 4
                -rw-r--r-- 0:0 b = a
                -rw-r--r-- 0:0 c = a
                drwxr-xr-x 0:0 d
                -rw-r--r-- 0:0 d/e = a
                """),
        new ZooCase("hard links to a symlink, a device and a fifo")
            .Layer(tar => tar.Symlink("s", "to").HardLink("s2", "s").CharacterDevice("c", 1, 3).HardLink("c2", "c").Fifo("p").HardLink("p2", "p"))
            .Shows("""
                crw-r--r-- 0:0 c 1,3 nlink 2
                crw-r--r-- 0:0 c2 = c
                prw-r--r-- 0:0 p nlink 2
                prw-r--r-- 0:0 p2 = p
                lrwxrwxrwx 0:0 s -> to nlink 2
                lrwxrwxrwx 0:0 s2 = s
                """),
        new ZooCase("hard link before its target")
            .Layer(tar => tar.HardLink("a", "b").File("b", "x"))
            .Shows("""
                -rw-r--r-- 0:0 a "x" nlink 2
                -rw-r--r-- 0:0 b = a
                """)
            .Except(Oracle.Containerd, ZooCase.Refuses, Lenient)
            .Except(Oracle.Umoci, ZooCase.Refuses, Lenient)
            .Except(Oracle.Overlay, ZooCase.Refuses, Lenient),
        new ZooCase("hard links in a cycle")
            .Layer(tar => tar.HardLink("a", "b").HardLink("b", "a"))
            .Refused(Missing),
        new ZooCase("hard link to itself")
            .Layer(tar => tar.File("a", "x").HardLink("a", "a"))
            .Shows("-rw-r--r-- 0:0 a \"x\"")
            .Except(Oracle.Containerd, ZooCase.Refuses, Lenient)
            .Except(Oracle.Umoci, ZooCase.Refuses, Lenient),
        new ZooCase("hard link to nothing but itself")
            .Layer(tar => tar.HardLink("a", "a"))
            .Refused(Missing),
        new ZooCase("hard link to a directory")
            .Layer(tar => tar.Directory("d").HardLink("a", "d"))
            .Refused(Missing),
        new ZooCase("hard link to nothing")
            .Layer(tar => tar.File("b").HardLink("a", "nothing"))
            .Refused(Missing),
        new ZooCase("hard link to what a lower layer has hidden")
            .Layer(tar => tar.File("b")).Layer(tar => tar.Whiteout("b")).Layer(tar => tar.HardLink("a", "b"))
            .Refused(Missing),
        new ZooCase("hard link to a lower file")
            .Layer(tar => tar.File("b", "x")).Layer(tar => tar.HardLink("a", "b"))
            .Shows("""
                -rw-r--r-- 0:0 a "x" nlink 2
                -rw-r--r-- 0:0 b = a
                """)
            .Except(Oracle.Containerd, ZooCase.Refuses, AcrossLayers)
            .Except(Oracle.Overlay, ZooCase.Refuses, AcrossLayers),
        new ZooCase("hard link to a lower file that is replaced later")
            .Layer(tar => tar.File("b", "old")).Layer(tar => tar.HardLink("a", "b")).Layer(tar => tar.File("b", "new"))
            .Shows("""
                -rw-r--r-- 0:0 a "old"
                -rw-r--r-- 0:0 b "new"
                """)
            .Except(Oracle.Containerd, ZooCase.Refuses, AcrossLayers)
            .Except(Oracle.Overlay, ZooCase.Refuses, AcrossLayers),
        new ZooCase("hard link whose target is replaced in its layer")
            .Layer(tar => tar.File("b", "old").HardLink("a", "b").File("b", "new"))
            .Shows("""
                -rw-r--r-- 0:0 a "old"
                -rw-r--r-- 0:0 b "new"
                """),
        new ZooCase("one name of a lower file is replaced")
            .Layer(tar => tar.File("a", "old").HardLink("b", "a").HardLink("c", "a")).Layer(tar => tar.File("b", "new"))
            .Shows("""
                -rw-r--r-- 0:0 a "old" nlink 2
                -rw-r--r-- 0:0 b "new"
                -rw-r--r-- 0:0 c = a
                """)
            .Except(Oracle.Containerd, """
                - -rw-r--r-- 0:0 a "old" nlink 2
                + -rw-r--r-- 0:0 a "old" nlink 3
                """, NamesThatAreThere)
            .Except(Oracle.Overlay, """
                - -rw-r--r-- 0:0 a "old" nlink 2
                + -rw-r--r-- 0:0 a "old" nlink 3
                """, NamesThatAreThere),
        new ZooCase("one name of a lower file is hidden")
            .Layer(tar => tar.File("a", "x").HardLink("b", "a").HardLink("c", "a")).Layer(tar => tar.Whiteout("b"))
            .Shows("""
                -rw-r--r-- 0:0 a "x" nlink 2
                -rw-r--r-- 0:0 c = a
                """)
            .Except(Oracle.Containerd, """
                - -rw-r--r-- 0:0 a "x" nlink 2
                + -rw-r--r-- 0:0 a "x" nlink 3
                """, NamesThatAreThere)
            .Except(Oracle.Overlay, """
                - -rw-r--r-- 0:0 a "x" nlink 2
                + -rw-r--r-- 0:0 a "x" nlink 3
                """, NamesThatAreThere),
        new ZooCase("hard link to what its layer hides afterwards")
            .Layer(tar => tar.File("b", "x")).Layer(tar => tar.HardLink("a", "b").Whiteout("b"))
            .Shows("-rw-r--r-- 0:0 a \"x\"")
            .Except(Oracle.Containerd, ZooCase.Refuses, AcrossLayers)
            .Except(Oracle.Overlay, ZooCase.Refuses, AcrossLayers),
        new ZooCase("hard link to what its layer has hidden before")
            .Layer(tar => tar.File("b", "x")).Layer(tar => tar.Whiteout("b").HardLink("a", "b"))
            .Refused(Missing)
            .Except(Oracle.Containerd, "accepts:", "it links to its own mark, and so hides both names by accident"),
        new ZooCase("hard link over a lower directory")
            .Layer(tar => tar.Directory("d").File("d/x")).Layer(tar => tar.File("a", "x").HardLink("d", "a"))
            .Shows("""
                -rw-r--r-- 0:0 a "x" nlink 2
                -rw-r--r-- 0:0 d = a
                """),
        new ZooCase("attributes of a hard link entry")
            .Layer(tar => tar.File("b", "x", 0x180, OwnedBy(1, 2)).HardLink("a", "b", 0x1ED, OwnedBy(3, 4)))
            .Shows("""
                -rwxr-xr-x 3:4 a "x" nlink 2
                -rwxr-xr-x 3:4 b = a
                """)
            .Except(Oracle.Umoci, OwnAttributes, "containers see what containerd makes: it applies every entry's attributes, docker does so with owners")
            .Except(Oracle.Overlay, OwnAttributes, "tar looks at no attributes of a link"),
        new ZooCase("extended attributes and time of a hard link entry")
            .Layer(tar => tar.Pax(("SCHILY.xattr.user.file", "1")).File("b", "x").Pax(("SCHILY.xattr.user.file", "2"), ("mtime", "1600000000")).HardLink("a", "b"))
            .Shows("""
                -rw-r--r-- 0:0 a "x" @1600000000 user.file="2" nlink 2
                -rw-r--r-- 0:0 b = a
                """)
            .Except(Oracle.Umoci, """
                - -rw-r--r-- 0:0 a "x" @1600000000 user.file="2" nlink 2
                + -rw-r--r-- 0:0 a "x" user.file="1" nlink 2
                """, "as above: containers see what containerd makes")
            .Except(Oracle.Overlay, """
                - -rw-r--r-- 0:0 a "x" @1600000000 user.file="2" nlink 2
                + -rw-r--r-- 0:0 a "x" user.file="1" nlink 2
                """, "tar looks at no attributes of a link"),
        new ZooCase("attributes of a hard link entry to a lower file")
            .Layer(tar => tar.File("b", "x", 0x180)).Layer(tar => tar.HardLink("a", "b"))
            .Shows("""
                -rw------- 0:0 a "x" nlink 2
                -rw------- 0:0 b = a
                """)
            .Except(Oracle.Containerd, ZooCase.Refuses, AcrossLayers)
            .Except(Oracle.Overlay, ZooCase.Refuses, AcrossLayers),
    ];
}
