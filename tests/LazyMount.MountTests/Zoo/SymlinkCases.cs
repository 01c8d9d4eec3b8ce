namespace LazyMount.MountTests.Zoo;

/// <summary>Entries whose path leads over a symbolic link.</summary>
internal static class SymlinkCases
{
    private const string TarDoesNot = "GNU tar makes such links last, so that nothing is written through them, and never what they lead to";
    private const string LastWins = "what is meant is plain: later entries win; newer releases of umoci see it so as well";

    public static ZooCase[] All { get; } =
    [
        new ZooCase("entry below a symlink of its layer")
            .Layer(tar => tar.Directory("usr").Directory("usr/lib").Symlink("lib", "usr/lib").File("lib/a", "1"))
            .Shows("""
                lrwxrwxrwx 0:0 lib -> usr/lib
                drwxr-xr-x 0:0 usr
                drwxr-xr-x 0:0 usr/lib
                -rw-r--r-- 0:0 usr/lib/a "1"
                """),
        new ZooCase("entry below an absolute symlink of its layer")
            .Layer(tar => tar.Directory("usr").Symlink("lib", "/usr").File("lib/a", "1"))
            .Shows("""
                lrwxrwxrwx 0:0 lib -> /usr
                drwxr-xr-x 0:0 usr
                -rw-r--r-- 0:0 usr/a "1"
                """)
            .Except(Oracle.Overlay, ZooCase.Refuses, TarDoesNot),
        new ZooCase("entry below a symlink that would leave the root")
            .Layer(tar => tar.Directory("usr").Symlink("lib", "../../../usr").File("lib/a", "1"))
            .Shows("""
                lrwxrwxrwx 0:0 lib -> ../../../usr
                drwxr-xr-x 0:0 usr
                -rw-r--r-- 0:0 usr/a "1"
                """)
            .Except(Oracle.Overlay, ZooCase.Refuses, TarDoesNot),
        new ZooCase("entry below a dangling symlink of its layer")
            .Layer(tar => tar.Symlink("lib", "no/where").File("lib/a", "1"))
            .Shows("""
                lrwxrwxrwx 0:0 lib -> no/where
                drwxr-xr-x 0:0 no @-
                drwxr-xr-x 0:0 no/where @-
                -rw-r--r-- 0:0 no/where/a "1"
                """)
            .Except(Oracle.Overlay, ZooCase.Refuses, TarDoesNot),
        new ZooCase("entry below a symlink of its layer to a lower directory")
            .Layer(tar => tar.Directory("usr", 0x1C0).File("usr/lower"))
            .Layer(tar => tar.Symlink("lib", "usr").File("lib/a", "1"))
            .Shows("""
                lrwxrwxrwx 0:0 lib -> usr
                drwx------ 0:0 usr
                -rw-r--r-- 0:0 usr/a "1"
                -rw-r--r-- 0:0 usr/lower ""
                """)
            .Except(Oracle.Overlay, ZooCase.Refuses, TarDoesNot),
        new ZooCase("entry below looping symlinks")
            .Layer(tar => tar.Symlink("a", "b").Symlink("b", "a").File("a/x"))
            .Refused("a symbolic link that leads to itself"),
        new ZooCase("entry below a symlink to a file")
            .Layer(tar => tar.File("f").Symlink("l", "f").File("l/x", "1"))
            .Shows("""
                drwxr-xr-x 0:0 f @-
                -rw-r--r-- 0:0 f/x "1"
                lrwxrwxrwx 0:0 l -> f
                """)
            .Except(Oracle.Containerd, ZooCase.Refuses, LastWins)
            .Except(Oracle.Umoci, ZooCase.Refuses, LastWins)
            .Except(Oracle.Overlay, ZooCase.Refuses, LastWins),
        new ZooCase("entry below a file of its layer")
            .Layer(tar => tar.File("f").File("f/x", "1"))
            .Shows("""
                drwxr-xr-x 0:0 f @-
                -rw-r--r-- 0:0 f/x "1"
                """)
            .Except(Oracle.Containerd, ZooCase.Refuses, LastWins)
            .Except(Oracle.Umoci, ZooCase.Refuses, LastWins)
            .Except(Oracle.Overlay, ZooCase.Refuses, LastWins),
        new ZooCase("entry below a lower file")
            .Layer(tar => tar.File("f")).Layer(tar => tar.File("f/x", "1"))
            .Shows("""
                drwxr-xr-x 0:0 f @-
                -rw-r--r-- 0:0 f/x "1"
                """)
            .Except(Oracle.Umoci, ZooCase.Refuses, LastWins),
        new ZooCase("entry below a lower symlink")
            .Layer(tar => tar.Directory("usr").Symlink("lib", "usr")).Layer(tar => tar.File("lib/a", "1"))
            .Shows("""
                drwxr-xr-x 0:0 lib @-
                -rw-r--r-- 0:0 lib/a "1"
                drwxr-xr-x 0:0 usr
                """)
            .Except(Oracle.Umoci, """
                - drwxr-xr-x 0:0 lib @-
                - -rw-r--r-- 0:0 lib/a "1"
                + lrwxrwxrwx 0:0 lib -> usr
                + -rw-r--r-- 0:0 usr/a "1"
                """, "containers see it so: a layer is extracted where lower layers' links are not"),
        new ZooCase("directory over a symlink of its layer")
            .Layer(tar => tar.Directory("d").Symlink("l", "d").File("l/x", "1").Directory("l").File("l/x", "2"))
            .Shows("""
                drwxr-xr-x 0:0 d
                -rw-r--r-- 0:0 d/x "1"
                drwxr-xr-x 0:0 l
                -rw-r--r-- 0:0 l/x "2"
                """),
        new ZooCase("directory over a lower symlink")
            .Layer(tar => tar.Directory("d").File("d/x").Symlink("l", "d")).Layer(tar => tar.Directory("l").File("l/y"))
            .Shows("""
                drwxr-xr-x 0:0 d
                -rw-r--r-- 0:0 d/x ""
                drwxr-xr-x 0:0 l
                -rw-r--r-- 0:0 l/y ""
                """),
        new ZooCase("hard link over a symlink of its layer")
            .Layer(tar => tar.Directory("d").File("d/x", "1").Symlink("l", "d").HardLink("l/y", "l/x"))
            .Shows("""
                drwxr-xr-x 0:0 d
                -rw-r--r-- 0:0 d/x "1" nlink 2
                -rw-r--r-- 0:0 d/y = d/x
                lrwxrwxrwx 0:0 l -> d
                """),
    ];
}
