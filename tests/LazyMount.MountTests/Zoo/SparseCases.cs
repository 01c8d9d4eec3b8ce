using System.Text;
using LazyMount.TestKit;

namespace LazyMount.MountTests.Zoo;

/// <summary>GNU sparse files: one layer, a file in each of the four forms.</summary>
internal static class SparseCases
{
    public static ZooCase[] All { get; } =
    [
        new ZooCase("sparse files in four forms")
            .Layer(tar => InAllForms(tar, 10, [(5, 3)], "abc"))
            .Shows("""
                -rw-r--r-- 0:0 Old "\x00\x00\x00\x00\x00abc\x00\x00"
                -rw-r--r-- 0:0 Pax00 "\x00\x00\x00\x00\x00abc\x00\x00"
                -rw-r--r-- 0:0 Pax01 "\x00\x00\x00\x00\x00abc\x00\x00"
                -rw-r--r-- 0:0 Pax10 "\x00\x00\x00\x00\x00abc\x00\x00"
                """),
        new ZooCase("sparse files that are holes only")
            .Layer(tar => InAllForms(tar, 4, [(4, 0)], ""))
            .Shows("""
                -rw-r--r-- 0:0 Old "\x00\x00\x00\x00"
                -rw-r--r-- 0:0 Pax00 "\x00\x00\x00\x00"
                -rw-r--r-- 0:0 Pax01 "\x00\x00\x00\x00"
                -rw-r--r-- 0:0 Pax10 "\x00\x00\x00\x00"
                """),
        new ZooCase("a hard link to a sparse file, and one that is replaced")
            .Layer(tar => tar.Sparse(SparseFormat.Pax10, "a", 6, [(2, 2)], "xy"u8.ToArray()).HardLink("b", "a").Sparse(SparseFormat.Old, "c", 6, [(0, 2)], "xy"u8.ToArray()))
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
                """),
        new ZooCase("a sparse map out of order")
            .Layer(tar => tar.Sparse(SparseFormat.Old, "f", 10, [(5, 1), (2, 1)], "ab"u8.ToArray()))
            .Refused("the sparse map of \"f\" is not in order"),
        new ZooCase("a sparse map beyond the file")
            .Layer(tar => tar.Sparse(SparseFormat.Pax10, "f", 10, [(9, 2)], "ab"u8.ToArray()))
            .Refused("the sparse map of \"f\" goes beyond the file's size of 10"),
        new ZooCase("a sparse version that does not exist")
            .Layer(tar => tar.Pax(("GNU.sparse.major", "7"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "5")).File("f", "x"))
            .Refused("\"f\" is a GNU sparse file of an unknown version"),
    ];

    private static TarBytes InAllForms(TarBytes tar, long size, (long, long)[] map, string stored)
    {
        foreach (SparseFormat format in Enum.GetValues<SparseFormat>())
        {
            tar.Sparse(format, format.ToString(), size, map, Encoding.Latin1.GetBytes(stored));
        }
        return tar;
    }
}
