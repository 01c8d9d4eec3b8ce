namespace LazyMount.MountTests.Zoo;

/// <summary>Entries that stand where something stands already, in the same layer and in lower ones.</summary>
internal static class ReplacementCases
{
    public static ZooCase[] All { get; } =
    [
        new ZooCase("a directory over a lower directory")
            .Layer(tar => tar.Pax(("SCHILY.xattr.user.lower", "1")).Directory("d", 0x1C0, TestKit.TarBytes.OwnedBy(1, 2)).File("d/x"))
            .Layer(tar => tar.Pax(("SCHILY.xattr.user.upper", "2"), ("mtime", "1600000000.5")).Directory("d", 0x1ED, TestKit.TarBytes.OwnedBy(3, 4)))
            .Shows("""
                drwxr-xr-x 3:4 d @1600000000.5 user.upper="2"
                -rw-r--r-- 0:0 d/x ""
                """),
    ];
}
