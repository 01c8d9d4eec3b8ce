namespace LazyMount.MountTests.Zoo;

/// <summary>Hard links.</summary>
internal static class HardLinkCases
{
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
    ];
}
