namespace LazyMount.MountTests.Zoo;

/// <summary>Hard links.</summary>
internal static class HardLinkCases
{
    private const string Missing = "which does not exist or is a directory";

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
                """),
        new ZooCase("hard links in a cycle")
            .Layer(tar => tar.HardLink("a", "b").HardLink("b", "a"))
            .Refused(Missing),
        new ZooCase("hard link to itself")
            .Layer(tar => tar.File("a", "x").HardLink("a", "a"))
            .Shows("-rw-r--r-- 0:0 a \"x\""),
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
                """),
        new ZooCase("hard link to a lower file that is replaced later")
            .Layer(tar => tar.File("b", "old")).Layer(tar => tar.HardLink("a", "b")).Layer(tar => tar.File("b", "new"))
            .Shows("""
                -rw-r--r-- 0:0 a "old"
                -rw-r--r-- 0:0 b "new"
                """),
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
                """),
        new ZooCase("one name of a lower file is hidden")
            .Layer(tar => tar.File("a", "x").HardLink("b", "a").HardLink("c", "a")).Layer(tar => tar.Whiteout("b"))
            .Shows("""
                -rw-r--r-- 0:0 a "x" nlink 2
                -rw-r--r-- 0:0 c = a
                """),
        new ZooCase("hard link to what its layer hides afterwards")
            .Layer(tar => tar.File("b", "x")).Layer(tar => tar.HardLink("a", "b").Whiteout("b"))
            .Shows("-rw-r--r-- 0:0 a \"x\""),
        new ZooCase("hard link to what its layer has hidden before")
            .Layer(tar => tar.File("b", "x")).Layer(tar => tar.Whiteout("b").HardLink("a", "b"))
            .Refused(Missing),
        new ZooCase("hard link over a lower directory")
            .Layer(tar => tar.Directory("d").File("d/x")).Layer(tar => tar.File("a", "x").HardLink("d", "a"))
            .Shows("""
                -rw-r--r-- 0:0 a "x" nlink 2
                -rw-r--r-- 0:0 d = a
                """),
        new ZooCase("attributes of a hard link entry")
            .Layer(tar => tar.File("b", "x", 0x180).HardLink("a", "b"))
            .Shows("""
                -rw------- 0:0 a "x" nlink 2
                -rw------- 0:0 b = a
                """),
    ];
}
