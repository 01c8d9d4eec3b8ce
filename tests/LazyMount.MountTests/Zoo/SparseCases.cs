using System.Text;
using LazyMount.TestKit;

namespace LazyMount.MountTests.Zoo;

/// <summary>GNU sparse files, and maps that are none.</summary>
internal static class SparseCases
{
    public static ZooCase[] All { get; } =
    [
        new ZooCase("sparse files in the PAX forms")
            .Layer(tar => InPaxForms(tar, 10, [(5, 3), (10, 0)], "abc"))
            .Shows("""
                -rw-r--r-- 0:0 Pax00 "\x00\x00\x00\x00\x00abc\x00\x00"
                -rw-r--r-- 0:0 Pax01 "\x00\x00\x00\x00\x00abc\x00\x00"
                -rw-r--r-- 0:0 Pax10 "\x00\x00\x00\x00\x00abc\x00\x00"
                """),
        new ZooCase("a sparse file in the old GNU form")
            .Layer(tar => tar.Sparse(SparseFormat.Old, "f", 10, [(5, 3), (10, 0)], "abc"u8.ToArray()))
            .Shows("""
                -rw-r--r-- 0:0 f "\x00\x00\x00\x00\x00abc\x00\x00"
                """)
            .Except(Oracle.Containerd, ZooCase.Refuses, "Go reads type 'S' and its unpacker does not expect it; GNU tar, which writes it, unpacks it")
            .Except(Oracle.Umoci, ZooCase.Refuses, "the same"),
        new ZooCase("sparse files that are holes only")
            .Layer(tar => InPaxForms(tar, 4, [(4, 0)], ""))
            .Shows("""
                -rw-r--r-- 0:0 Pax00 "\x00\x00\x00\x00"
                -rw-r--r-- 0:0 Pax01 "\x00\x00\x00\x00"
                -rw-r--r-- 0:0 Pax10 "\x00\x00\x00\x00"
                """),
        new ZooCase("a hard link to a sparse file, and one that is replaced")
            .Layer(tar => tar.Sparse(SparseFormat.Pax10, "a", 6, [(2, 2), (6, 0)], "xy"u8.ToArray()).HardLink("b", "a").Sparse(SparseFormat.Pax00, "c", 6, [(0, 2), (6, 0)], "xy"u8.ToArray()))
            .Layer(tar => tar.File("c", "full").Sparse(SparseFormat.Pax01, "d", 3, [(2, 1)], "z"u8.ToArray()))
            .Shows("""
                -rw-r--r-- 0:0 a "\x00\x00xy\x00\x00" nlink 2
                -rw-r--r-- 0:0 b = a
                -rw-r--r-- 0:0 c "full"
                -rw-r--r-- 0:0 d "\x00\x00z"
                """),
        new ZooCase("sparse extents that fill no blocks")
            .Layer(tar => tar.Sparse(SparseFormat.Pax10, "f", 8, [(1, 2), (5, 2)], "abcd"u8.ToArray()))
            .Shows("""
                -rw-r--r-- 0:0 f "\x00ab\x00\x00cd\x00"
                """)
            .Except(Oracle.Overlay, """
                - -rw-r--r-- 0:0 f "\x00ab\x00\x00cd\x00"
                + -rw-r--r-- 0:0 f "\x00ab\x00\x00\x00\x00"
                """, "GNU tar skips to the next block after each extent, and ends the file where the map ends; it writes no such map"),
        new ZooCase("a sparse map out of order")
            .Layer(tar => tar.Directory(".").Sparse(SparseFormat.Old, "f", 10, [(5, 1), (2, 1)], "ab"u8.ToArray()))
            .Refused("the sparse map of \"f\" is not in order")
            .Except(Oracle.Overlay, """
                accepts:
                -rw-r--r-- 0:0 f "\x00\x00\x00\x00\x00a"
                """, "GNU tar writes wherever the map says; Go refuses the map"),
        new ZooCase("a sparse map beyond the file")
            .Layer(tar => tar.Directory(".").Sparse(SparseFormat.Pax10, "f", 10, [(9, 2)], "ab"u8.ToArray()))
            .Refused("the sparse map of \"f\" goes beyond the file's size of 10")
            .Except(Oracle.Overlay, """
                accepts:
                -rw-r--r-- 0:0 f "\x00\x00\x00\x00\x00\x00\x00\x00\x00ab"
                """, "GNU tar writes wherever the map says; Go refuses the map"),
    ];

    private static TarBytes InPaxForms(TarBytes tar, long size, (long, long)[] map, string stored)
    {
        foreach (SparseFormat format in (SparseFormat[])[SparseFormat.Pax00, SparseFormat.Pax01, SparseFormat.Pax10])
        {
            tar.Sparse(format, format.ToString(), size, map, Encoding.Latin1.GetBytes(stored));
        }
        return tar;
    }
}
