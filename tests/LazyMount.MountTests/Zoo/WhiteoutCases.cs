namespace LazyMount.MountTests.Zoo;

/// <summary>Whiteouts and opaque markers.</summary>
internal static class WhiteoutCases
{
    private const string Missing = "which does not exist or is a directory";
    private const string NoName = "a whiteout without a name";
    private const string Prefix = "the image specification keeps the prefix for whiteouts; docker leaves them out too";
    private const string Order = "harmless, and what is meant is plain";
    private const string MarkersAreFiles = "GNU tar knows no whiteouts and makes files of them";

    private const string PseudoLinks = """
        - -rw-r--r-- 0:0 lib/a "new" nlink 3
        - -rw-r--r-- 0:0 lib/b = lib/a
        - -rw-r--r-- 0:0 lib/c = lib/a
        + drwxr-xr-x 0:0 .wh..wh.plnk @now
        + -rw-r--r-- 0:0 .wh..wh.plnk/123.456 "new" nlink 4
        + -rw-r--r-- 0:0 lib/a = .wh..wh.plnk/123.456
        + -rw-r--r-- 0:0 lib/b = .wh..wh.plnk/123.456
        + -rw-r--r-- 0:0 lib/c = .wh..wh.plnk/123.456
        """;

    private static readonly string s_long = new('n', 255);

    public static ZooCase[] All { get; } =
    [
        new ZooCase("whiteouts of a file and a directory")
            .Layer(tar => tar.Directory("d").File("d/x").File("f").File("g"))
            .Layer(tar => tar.Whiteout("d").Whiteout("f"))
            .Shows("-rw-r--r-- 0:0 g \"\""),
        new ZooCase("whiteout of nothing")
            .Layer(tar => tar.File("a")).Layer(tar => tar.Whiteout("b"))
            .Shows("-rw-r--r-- 0:0 a \"\""),
        new ZooCase("whiteout before a file of its layer")
            .Layer(tar => tar.File("a", "lower")).Layer(tar => tar.Whiteout("a").File("a", "upper"))
            .Shows("-rw-r--r-- 0:0 a \"upper\""),
        new ZooCase("whiteout after a file of its layer")
            .Layer(tar => tar.File("a", "lower")).Layer(tar => tar.File("a", "upper").Whiteout("a"))
            .Shows("-rw-r--r-- 0:0 a \"upper\"")
            .Except(Oracle.Containerd, ZooCase.Refuses, "the image specification: wherever a whiteout stands, it hides only lower layers"),
        new ZooCase("whiteout before a directory of its layer")
            .Layer(tar => tar.Directory("d").File("d/lower")).Layer(tar => tar.Whiteout("d").Directory("d").File("d/upper"))
            .Shows("""
                drwxr-xr-x 0:0 d
                -rw-r--r-- 0:0 d/upper ""
                """)
            .Except(Oracle.Containerd, "+ -rw-r--r-- 0:0 d/lower \"\"", "the image specification: wherever a whiteout stands, it hides only lower layers, and those it does hide"),
        new ZooCase("whiteout after a directory of its layer")
            .Layer(tar => tar.Directory("d").File("d/lower")).Layer(tar => tar.Directory("d").File("d/upper").Whiteout("d"))
            .Shows("""
                drwxr-xr-x 0:0 d
                -rw-r--r-- 0:0 d/upper ""
                """)
            .Except(Oracle.Containerd, ZooCase.Refuses, "the image specification: wherever a whiteout stands, it hides only lower layers"),
        new ZooCase("whiteout in a directory that is nowhere")
            .Layer(tar => tar.File("a")).Layer(tar => tar.Whiteout("d/b"))
            .Shows("""
                -rw-r--r-- 0:0 a ""
                drwxr-xr-x 0:0 d @-
                """)
            .Except(Oracle.Umoci, "- drwxr-xr-x 0:0 d @-", "containerd and docker make the parents of whiteouts, and so containers see them"),
        new ZooCase("whiteout below a lower file")
            .Layer(tar => tar.File("a")).Layer(tar => tar.Whiteout("a/b"))
            .Shows("drwxr-xr-x 0:0 a @-")
            .Except(Oracle.Umoci, """
                - drwxr-xr-x 0:0 a @-
                + -rw-r--r-- 0:0 a ""
                """, "containerd and docker make the parents of whiteouts, and so containers see them"),
        new ZooCase("whiteout below a lower symlink")
            .Layer(tar => tar.Directory("d").File("d/x").Symlink("l", "d")).Layer(tar => tar.Whiteout("l/x"))
            .Shows("""
                drwxr-xr-x 0:0 d
                -rw-r--r-- 0:0 d/x ""
                drwxr-xr-x 0:0 l @-
                """)
            .Except(Oracle.Umoci, """
                - -rw-r--r-- 0:0 d/x ""
                - drwxr-xr-x 0:0 l @-
                + lrwxrwxrwx 0:0 l -> d
                """, "a layer of a container knows nothing of lower layers' links"),
        new ZooCase("whiteout below a symlink of its layer")
            .Layer(tar => tar.Directory("d").File("d/x").File("d/y")).Layer(tar => tar.Symlink("l", "d").Whiteout("l/x"))
            .Shows("""
                drwxr-xr-x 0:0 d
                -rw-r--r-- 0:0 d/y ""
                lrwxrwxrwx 0:0 l -> d
                """)
            .Except(Oracle.Overlay, ZooCase.Refuses, "tar does not make what a link leads to"),
        new ZooCase("opaque marker in a directory that is nowhere")
            .Layer(tar => tar.File("a")).Layer(tar => tar.Opaque("d"))
            .Shows("""
                -rw-r--r-- 0:0 a ""
                drwxr-xr-x 0:0 d @-
                """)
            .Except(Oracle.Umoci, "- drwxr-xr-x 0:0 d @-", "containerd and docker make the parents of whiteouts, and so containers see them"),
        new ZooCase("opaque marker below a symlink of its layer")
            .Layer(tar => tar.Directory("d").File("d/x")).Layer(tar => tar.Symlink("l", "d").Opaque("l").File("l/y"))
            .Shows("""
                drwxr-xr-x 0:0 d
                -rw-r--r-- 0:0 d/y ""
                lrwxrwxrwx 0:0 l -> d
                """)
            .Except(Oracle.Overlay, ZooCase.Refuses, "tar does not make what a link leads to"),
        new ZooCase("whiteout below a file of its layer")
            .Layer(tar => tar.Directory("a").File("a/b")).Layer(tar => tar.File("a").Whiteout("a/b"))
            .Shows("-rw-r--r-- 0:0 a \"\"")
            .Except(Oracle.Containerd, ZooCase.Refuses, "umoci repack writes this when a directory became a file")
            .Except(Oracle.Overlay, ZooCase.Refuses, "tar cannot extract it"),
        new ZooCase("whiteout below a whiteout")
            .Layer(tar => tar.Directory("a").File("a/b").File("c")).Layer(tar => tar.Whiteout("a").Whiteout("a/b"))
            .Shows("-rw-r--r-- 0:0 c \"\"")
            .Except(Oracle.Containerd, ZooCase.Refuses, "umoci and podman take it, and what is meant is plain"),
        new ZooCase("whiteout below a later whiteout")
            .Layer(tar => tar.Directory("a").File("a/b").File("c")).Layer(tar => tar.Whiteout("a/b").Whiteout("a"))
            .Shows("-rw-r--r-- 0:0 c \"\"")
            .Except(Oracle.Containerd, ZooCase.Refuses, "umoci takes it, and what is meant is plain"),
        new ZooCase("whiteout with entries below and no directory entry")
            .Layer(tar => tar.Directory("a", 0x1C0).File("a/b")).Layer(tar => tar.Whiteout("a").File("a/c"))
            .Shows("""
                drwxr-xr-x 0:0 a @-
                -rw-r--r-- 0:0 a/c ""
                """)
            .Except(Oracle.Containerd, ZooCase.Refuses, "umoci takes it, and what is meant is plain"),
        new ZooCase("whiteout in the lowest layer")
            .Layer(tar => tar.File("a").Whiteout("a").Whiteout("b").File("c"))
            .Shows("""
                -rw-r--r-- 0:0 a ""
                -rw-r--r-- 0:0 c ""
                """)
            .Except(Oracle.Containerd, "- -rw-r--r-- 0:0 a \"\"", "the image specification: wherever a whiteout stands, it hides only lower layers"),
        new ZooCase("opaque directory, marker first")
            .Layer(tar => tar.Directory("d").File("d/lower").Directory("d/sub").File("d/sub/lower")).Layer(tar => tar.Directory("d").Opaque("d").File("d/upper"))
            .Shows("""
                drwxr-xr-x 0:0 d
                -rw-r--r-- 0:0 d/upper ""
                """),
        new ZooCase("opaque directory, marker last")
            .Layer(tar => tar.Directory("d").File("d/lower").Directory("d/sub").File("d/sub/lower")).Layer(tar => tar.Directory("d").File("d/upper").Directory("d/sub").File("d/sub/upper").Opaque("d"))
            .Shows("""
                drwxr-xr-x 0:0 d
                drwxr-xr-x 0:0 d/sub
                -rw-r--r-- 0:0 d/sub/upper ""
                -rw-r--r-- 0:0 d/upper ""
                """),
        new ZooCase("opaque directory, children again in the next layer")
            .Layer(tar => tar.Directory("d").File("d/a", "0").File("d/b", "0")).Layer(tar => tar.Directory("d").Opaque("d")).Layer(tar => tar.File("d/a", "2"))
            .Shows("""
                drwxr-xr-x 0:0 d
                -rw-r--r-- 0:0 d/a "2"
                """),
        new ZooCase("opaque marker without a directory entry")
            .Layer(tar => tar.Directory("d", 0x1C0).File("d/lower")).Layer(tar => tar.Opaque("d"))
            .Shows("drwx------ 0:0 d"),
        new ZooCase("opaque marker over a lower file")
            .Layer(tar => tar.File("d")).Layer(tar => tar.Directory("d").Opaque("d"))
            .Shows("drwxr-xr-x 0:0 d"),
        new ZooCase("opaque root")
            .Layer(tar => tar.File("lower")).Layer(tar => tar.File(".wh..wh..opq").File("upper"))
            .Shows("-rw-r--r-- 0:0 upper \"\"")
            .Except(Oracle.Containerd, "+ -rw-r--r-- 0:0 lower \"\"", "the image specification knows no exception; the kernel does not look for the mark at the root")
            .Except(Oracle.Overlay, "+ -rw-r--r-- 0:0 lower \"\"", "the kernel does not look for the mark at the root"),
        new ZooCase("AUFS leftovers")
            .Layer(tar => tar.File("a").Directory(".wh..wh.plnk").File(".wh..wh.plnk/1.2").File(".wh..wh.aufs"))
            .Shows("-rw-r--r-- 0:0 a \"\"")
            .Except(Oracle.Containerd, """
                + drwxr-xr-x 0:0 .wh..wh.plnk @now
                + -rw-r--r-- 0:0 .wh..wh.plnk/1.2 ""
                """, Prefix)
            .Except(Oracle.Umoci, """
                + drwxr-xr-x 0:0 .wh..wh.plnk @now
                + -rw-r--r-- 0:0 .wh..wh.plnk/1.2 ""
                """, Prefix),
        new ZooCase("AUFS pseudo-links")
            .Layer(tar => tar.Directory("lib").File("lib/a", "old"))
            .Layer(tar => tar.Directory("lib").Directory(".wh..wh.plnk").File(".wh..wh.plnk/123.456", "new")
                .HardLink("lib/a", ".wh..wh.plnk/123.456").HardLink("lib/b", ".wh..wh.plnk/123.456").HardLink("lib/c", "lib/a"))
            .Shows("""
                drwxr-xr-x 0:0 lib
                -rw-r--r-- 0:0 lib/a "new" nlink 3
                -rw-r--r-- 0:0 lib/b = lib/a
                -rw-r--r-- 0:0 lib/c = lib/a
                """)
            .Except(Oracle.Containerd, PseudoLinks, Prefix)
            .Except(Oracle.Umoci, PseudoLinks, Prefix),
        new ZooCase("AUFS pseudo-link before its content")
            .Layer(tar => tar.HardLink("a", ".wh..wh.plnk/1.2").File(".wh..wh.plnk/1.2", "new"))
            .Shows("-rw-r--r-- 0:0 a \"new\"")
            .Except(Oracle.Containerd, ZooCase.Refuses, Order)
            .Except(Oracle.Umoci, ZooCase.Refuses, Order)
            .Except(Oracle.Overlay, ZooCase.Refuses, Order),
        new ZooCase("AUFS pseudo-link to nothing")
            .Layer(tar => tar.File(".wh..wh.plnk/1.2").HardLink("a", ".wh..wh.plnk/3.4"))
            .Refused(Missing),
        new ZooCase("hard link to a whiteout")
            .Layer(tar => tar.File("a")).Layer(tar => tar.Whiteout("a").HardLink("b", ".wh.a"))
            .Refused(Missing)
            .Except(Oracle.Overlay, "accepts:\n-rw-r--r-- 0:0 b \"\"", MarkersAreFiles),
        new ZooCase("hard link to an opaque marker")
            .Layer(tar => tar.Directory("d").Opaque("d").HardLink("b", "d/.wh..wh..opq"))
            .Refused(Missing)
            .Except(Oracle.Overlay, "accepts:\n-rw-r--r-- 0:0 b \"\"\ndrwxr-xr-x 0:0 d", MarkersAreFiles),
        new ZooCase("hard link to AUFS's own file")
            .Layer(tar => tar.File(".wh..wh.aufs", "x").HardLink("b", ".wh..wh.aufs"))
            .Refused(Missing)
            .Except(Oracle.Overlay, "accepts:\n-rw-r--r-- 0:0 b \"x\"", MarkersAreFiles),
        new ZooCase("files below a name that is a whiteout's")
            .Layer(tar => tar.File("a").Directory("d").File("d/.wh.a/x", "x").HardLink("d/y", "d/.wh.a/x").Symlink("l", "d/.wh.a").File("l/z").Directory("d"))
            .Shows("""
                -rw-r--r-- 0:0 a ""
                drwxr-xr-x 0:0 d
                -rw-r--r-- 0:0 d/y "x"
                lrwxrwxrwx 0:0 l -> d/.wh.a
                """)
            .Except(Oracle.Containerd, """
                - -rw-r--r-- 0:0 d/y "x"
                + drwxr-xr-x 0:0 d/.wh.a @now
                + -rw-r--r-- 0:0 d/.wh.a/x "x" nlink 2
                + -rw-r--r-- 0:0 d/.wh.a/z ""
                + -rw-r--r-- 0:0 d/y = d/.wh.a/x
                """, Prefix)
            .Except(Oracle.Umoci, """
                - -rw-r--r-- 0:0 d/y "x"
                + drwxr-xr-x 0:0 d/.wh.a @now
                + -rw-r--r-- 0:0 d/.wh.a/x "x" nlink 2
                + -rw-r--r-- 0:0 d/.wh.a/z ""
                + -rw-r--r-- 0:0 d/y = d/.wh.a/x
                """, Prefix),
        new ZooCase("whiteout whose name is empty")
            .Layer(tar => tar.File("a")).Layer(tar => tar.File(".wh."))
            .Refused(NoName)
            .Except(Oracle.Overlay, "accepts:\n-rw-r--r-- 0:0 a \"\"", MarkersAreFiles),
        new ZooCase("whiteout of a dot")
            .Layer(tar => tar.File("a")).Layer(tar => tar.Directory("d").File("d/.wh.."))
            .Refused(NoName)
            .Except(Oracle.Overlay, "accepts:\n-rw-r--r-- 0:0 a \"\"\ndrwxr-xr-x 0:0 d", MarkersAreFiles)
            .Except(Oracle.Umoci, "accepts:\n-rw-r--r-- 0:0 a \"\"\ndrwxr-xr-x 0:0 d", "it refuses the same name in the root; below it looks for nothing but lower files to remove"),
        new ZooCase("whiteout of two dots")
            .Layer(tar => tar.File("a")).Layer(tar => tar.Directory("d").File("d/.wh..."))
            .Refused(NoName)
            .Except(Oracle.Overlay, "accepts:\n-rw-r--r-- 0:0 a \"\"\ndrwxr-xr-x 0:0 d", MarkersAreFiles),
        new ZooCase("whiteout of a dot in the lowest layer")
            .Layer(tar => tar.File("a").File(".wh.."))
            .Refused(NoName)
            .Except(Oracle.Overlay, "accepts:\n-rw-r--r-- 0:0 a \"\"", MarkersAreFiles),
        new ZooCase("whiteouts of names as long as Linux allows")
            .Layer(tar => tar.Pax(("path", s_long)).File("cut").Directory("d").Pax(("path", "d/" + s_long[1..])).File("cut"))
            .Layer(tar => tar.Pax(("path", ".wh." + s_long)).File("cut").Pax(("path", "d/.wh." + s_long[1..])).File("cut"))
            .Shows("drwxr-xr-x 0:0 d")
            .Except(Oracle.Overlay, ZooCase.Refuses, "GNU tar makes files of whiteouts, and none can have the mark's four bytes more"),
        new ZooCase("whiteout of a name that is longer than Linux allows")
            .Layer(tar => tar.File("a")).Layer(tar => tar.Pax(("path", ".wh." + s_long + "n")).File("cut"))
            .Refused("of 260 bytes is longer than the 255 that Linux allows"),
        new ZooCase("whiteouts as overlayfs writes them")
            .Layer(tar => tar.File("a").Directory("d").File("d/x").File("e").File("f").File("g").Directory("h").File("h/x"))
            .Layer(tar => tar.CharacterDevice("a", 0, 0).HardLink("d", "a").CharacterDevice("e", 0, 0).File("e", "upper").File("f", "upper").CharacterDevice("f", 0, 0)
                .CharacterDevice("g", 0, 1).CharacterDevice("h", 0, 0).Directory("h").CharacterDevice("none", 0, 0))
            .Shows("""
                -rw-r--r-- 0:0 e "upper"
                crw-r--r-- 0:0 g 0,1
                drwxr-xr-x 0:0 h
                -rw-r--r-- 0:0 h/x ""
                """)
            .Except(Oracle.Umoci, """
                - -rw-r--r-- 0:0 h/x ""
                + crw-r--r-- 0:0 a 0,0 nlink 2
                + crw-r--r-- 0:0 d = a
                + crw-r--r-- 0:0 f 0,0
                + crw-r--r-- 0:0 none 0,0
                """, "it makes the devices; overlayfs takes them for its own, so containers see none"),
    ];
}
