using System.Text;
using LazyMount.TestKit;
using static LazyMount.TestKit.TarBytes;

namespace LazyMount.MountTests.Zoo;

/// <summary>One layer: the dialects of tar, and what stands at their edges.</summary>
internal static class TarCases
{
    private static readonly string s_long = new('n', 255);

    // .NET writes no bytes at all for an empty stream.
    private static readonly byte[] s_gzipOfNothing = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    private static byte[] Latin(string text) => Encoding.Latin1.GetBytes(text);

    /// <summary>A GNU long name ('L') or long link ('K') for the next entry.</summary>
    private static TarBytes Gnu(this TarBytes tar, char type, string name) => tar.Raw(Header("././@LongLink", type, name.Length + 1, 0, edit: Old)).Data(Latin(name + "\0"));

    /// <summary>GNU's magic.</summary>
    private static void Old(byte[] header) => "ustar  \0"u8.CopyTo(header.AsSpan(257));

    private static ZooCase Empty(string name, byte[] blob, string mediaType, byte[] tar)
        => new ZooCase(name).Layer(tar => tar.File("a")).Layer(blob, mediaType, tar).Shows("-rw-r--r-- 0:0 a \"\"");

    public static ZooCase[] All { get; } =
    [
        // Names.
        new ZooCase("long names: ustar prefix, GNU, PAX")
            .Layer(tar => tar
                .File("name", "1", edit: header => "prefix"u8.CopyTo(header.AsSpan(345)))
                .Gnu('L', "gnu/" + new string('g', 120)).Raw(Header("cut", '0', 1, 0x1A4, edit: Old)).Data("2"u8)
                .Gnu('K', new string('t', 120)).Gnu('L', "gnulink").Raw(Header("cut", '2', 0, 0x1FF, "cut", Old))
                .Pax(("path", "pax/" + s_long), ("linkpath", "unused")).File("cut", "3"))
            .Shows($"""
                drwxr-xr-x 0:0 gnu @-
                -rw-r--r-- 0:0 gnu/{new string('g', 120)} "2"
                lrwxrwxrwx 0:0 gnulink -> {new string('t', 120)}
                drwxr-xr-x 0:0 pax @-
                -rw-r--r-- 0:0 pax/{s_long} "3"
                drwxr-xr-x 0:0 prefix @-
                -rw-r--r-- 0:0 prefix/name "1"
                """),
        new ZooCase("a PAX path with a newline that is not UTF-8, declared binary")
            .Layer(tar => tar.Pax(("hdrcharset", "BINARY"), ("path", "caf\u00e9\n= x"), ("comment", "a\nb\0c")).File("cut"))
            .Shows("""-rw-r--r-- 0:0 caf\xe9\x0a= x "" """.TrimEnd()),
        new ZooCase("a name of 256 bytes")
            .Layer(tar => tar.Pax(("path", "d/" + s_long + "n")).File("cut"))
            .Refused("of 256 bytes is longer than the 255 that Linux allows"),
        new ZooCase("names that would leave the tree")
            .Layer(tar => tar.File("../a").File("b/../../c").File("/../d/e").HardLink("f", "../../a").Symlink("g", "../../../etc"))
            .Shows("""
                -rw-r--r-- 0:0 a "" nlink 2
                -rw-r--r-- 0:0 c ""
                drwxr-xr-x 0:0 d @-
                -rw-r--r-- 0:0 d/e ""
                -rw-r--r-- 0:0 f = a
                lrwxrwxrwx 0:0 g -> ../../../etc
                """)
            .Except(Oracle.Overlay, ZooCase.Refuses, "GNU tar unpacks no name with two dots, the engines clean them"),
        new ZooCase("the root's own entry")
            .Layer(tar => tar.Pax(("SCHILY.xattr.user.root", "yes"), ("mtime", "7")).Directory("./", 0x1F8, OwnedBy(5, 6)).File("./a"))
            .Shows("""
                drwxrwx--- 5:6 / @7 user.root="yes"
                -rw-r--r-- 0:0 a ""
                """)
            .Except(Oracle.Containerd, """
                - drwxrwx--- 5:6 / @7 user.root="yes"
                + drwxr-xr-x 0:0 / @now
                """, "containerd passes over entries of the root; umoci and GNU tar apply them"),
        new ZooCase("entries without a name, and files in the root's place")
            .Layer(tar => tar.File("", "x").File(".", "x").File("..", "x").File("a"))
            .Shows("-rw-r--r-- 0:0 a \"\"")
            .Except(Oracle.Umoci, ZooCase.Refuses, "it takes them for an attack; containerd passes over them")
            .Except(Oracle.Overlay, ZooCase.Refuses, "GNU tar cannot write a file over a directory"),
        new ZooCase("a slash after a file's name")
            .Layer(tar => tar.Raw(Header("v7/", '\0', 0, 0x1ED)).File("file/").File("full/", "x").Symlink("link/", "file"))
            .Shows("""
                -rw-r--r-- 0:0 file ""
                -rw-r--r-- 0:0 full "x"
                lrwxrwxrwx 0:0 link -> file
                drwxr-xr-x 0:0 v7
                """)
            .Except(Oracle.Overlay, ZooCase.Refuses, "BSD tar marked directories so, and GNU tar takes the file for one; Go does not"),
        new ZooCase("paths that come twice")
            .Layer(tar => tar.Directory("d", 0x1C0).File("d/f", "first").File("a", "1").Directory("d/", 0x1ED, OwnedBy(1, 2)).File("./d//f", "second").Symlink("a", "d"))
            .Shows("""
                lrwxrwxrwx 0:0 a -> d
                drwxr-xr-x 1:2 d
                -rw-r--r-- 0:0 d/f "second"
                """),
        // Numbers.
        new ZooCase("numbers: spaces, zeros, base-256, no magic, a signed checksum")
            .Layer(tar => tar
                .File("base-256", "abc", edit: header => { Base256(header, 124, 12, 3); Base256(header, 136, 12, -1); Base256(header, 100, 8, 0x1A4); })
                .File("spaces", "abc", edit: header => { Latin("         3 \0").CopyTo(header, 124); Latin("   644 \0").CopyTo(header, 100); Latin("     7 \0").CopyTo(header, 108); })
                .File("v7", "abc", edit: header => header.AsSpan(257, 8).Clear())
                .Raw(SignedChecksum(Header("\u00e4", '0', 0, 0x1A4))))
            .Shows("""
                -rw-r--r-- 0:0 base-256 "abc" @-1
                -rw-r--r-- 7:0 spaces "abc"
                -rw-r--r-- 0:0 v7 "abc"
                -rw-r--r-- 0:0 \xe4 ""
                """)
            .Except(Oracle.Containerd, """
                - -rw-r--r-- 0:0 base-256 "abc" @-1
                + -rw-r--r-- 0:0 base-256 "abc" @-
                """, "containerd makes 1970 of every earlier time"),
        new ZooCase("times: fractions, before 1970, beyond 2262")
            .Layer(tar => tar
                .Pax(("mtime", "1.123456789999")).File("cut").Pax(("mtime", "-1.25")).File("early").Pax(("mtime", "-0.5")).File("half")
                .Pax(("mtime", "10000000000.5")).File("late"))
            .Shows("""
                -rw-r--r-- 0:0 cut "" @1.123456789
                -rw-r--r-- 0:0 early "" @-2.75
                -rw-r--r-- 0:0 half "" @-1.5
                -rw-r--r-- 0:0 late "" @10000000000.5
                """)
            .Except(Oracle.Containerd, """
                - -rw-r--r-- 0:0 early "" @-2.75
                - -rw-r--r-- 0:0 half "" @-1.5
                - -rw-r--r-- 0:0 late "" @10000000000.5
                + -rw-r--r-- 0:0 early "" @-
                + -rw-r--r-- 0:0 half "" @-
                + -rw-r--r-- 0:0 late "" @-
                """, "containerd makes 1970 of what does not fit 63 bits of nanoseconds")
            .Except(Oracle.Umoci, """
                - -rw-r--r-- 0:0 late "" @10000000000.5
                + -rw-r--r-- 0:0 late "" @-2147483648
                """, "umoci lets the nanoseconds overflow"),
        new ZooCase("times that only 64 bits hold")
            .Layer(tar => tar.Pax(("mtime", "9223372036854775807")).File("last").Pax(("mtime", "-9223372036854775808")).File("first"))
            .Shows("""
                -rw-r--r-- 0:0 first "" @-9223372036854775808
                -rw-r--r-- 0:0 last "" @9223372036854775807
                """)
            .Except(Oracle.Containerd, """
                - -rw-r--r-- 0:0 first "" @-9223372036854775808
                - -rw-r--r-- 0:0 last "" @9223372036854775807
                + -rw-r--r-- 0:0 first "" @-
                + -rw-r--r-- 0:0 last "" @-
                """, "containerd makes 1970 of them")
            .Except(Oracle.Umoci, """
                - -rw-r--r-- 0:0 first "" @-9223372036854775808
                - -rw-r--r-- 0:0 last "" @9223372036854775807
                + -rw-r--r-- 0:0 first "" @-
                + -rw-r--r-- 0:0 last "" @-1
                """, "umoci lets the nanoseconds overflow")
            .Except(Oracle.Overlay, """
                - -rw-r--r-- 0:0 first "" @-9223372036854775808
                - -rw-r--r-- 0:0 last "" @9223372036854775807
                + -rw-r--r-- 0:0 first "" @-2147483648
                + -rw-r--r-- 0:0 last "" @15032385535
                """, "ext4 holds no others; what the layer says is shown"),
        new ZooCase("a time beyond 64 bits")
            .Layer(tar => tar.Pax(("mtime", "9223372036854775808")).File("f"))
            .Refused("the PAX mtime \"9223372036854775808\" does not fit 64 bits"),
        new ZooCase("owners that mean no owner")
            .Layer(tar => tar.Pax(("uid", "4294967295"), ("gid", "4294967295")).File("last").Pax(("uid", "-2"), ("gid", "-1")).File("negative"))
            .Shows("""
                -rw-r--r-- 0:0 last ""
                -rw-r--r-- 4294967294:0 negative ""
                """)
            .Except(Oracle.Overlay, ZooCase.Refuses, "GNU tar takes no negative owners, the engines cut them to 32 bits"),
        new ZooCase("an owner beyond 32 bits")
            .Layer(tar => tar.Pax(("uid", "4294967296")).File("f"))
            .Refused("the uid 4294967296 of \"f\" does not fit 32 bits")
            .Except(Oracle.Containerd, """
                accepts:
                -rw-r--r-- 0:0 f ""
                """, "cut to 32 bits it would be somebody else, here root")
            .Except(Oracle.Umoci, """
                accepts:
                -rw-r--r-- 0:0 f ""
                """, "cut to 32 bits it would be somebody else, here root"),
        new ZooCase("device numbers up to 12 and 20 bits")
            .Layer(tar => tar.CharacterDevice("c", 4095, 0xFFFFF).Raw(Header("b", '4', 0, 0x1A4, edit: header => Octal(header, 329, 8, 8))))
            .Shows("""
                brw-r--r-- 0:0 b 8,0
                crw-r--r-- 0:0 c 4095,1048575
                """),
        new ZooCase("a device number beyond that")
            .Layer(tar => tar.CharacterDevice("c", 4096 + 1, 0x100000 + 3))
            .Shows("crw-r--r-- 0:0 c 1,3")
            .Except(Oracle.Overlay, ZooCase.Refuses, "GNU tar leaves it out, the engines let mknod(2) cut it"),
        new ZooCase("a size beyond 64 bits")
            .Layer(tar => tar.File("f", "x", edit: header => { header.AsSpan(124, 12).Fill(0x7F); header[124] = 0x80; }))
            .Refused("the size of entry \"f\" is not a number"),

        // PAX.
        new ZooCase("PAX records with empty values")
            .Layer(tar => tar.Pax(("path", ""), ("uid", ""), ("size", ""), ("mtime", "")).File("f", "abc", edit: OwnedBy(3, 4)).Pax(("linkpath", "")).Symlink("s", "f"))
            .Shows("""
                -rw-r--r-- 3:4 f "abc"
                lrwxrwxrwx 0:0 s -> f
                """)
            .Except(Oracle.Overlay, ZooCase.Refuses, "GNU tar has no empty numbers and names; Go passes over them"),
        new ZooCase("an attribute with an empty value")
            .Layer(tar => tar.Pax(("SCHILY.xattr.user.empty", "")).File("f"))
            .Shows("-rw-r--r-- 0:0 f \"\" user.empty=\"\"")
            .Except(Oracle.Umoci, """
                - -rw-r--r-- 0:0 f "" user.empty=""
                + -rw-r--r-- 0:0 f ""
                """, "a map of Go that umoci reads leaves empty ones out; containerd and GNU tar set them"),
        new ZooCase("attributes in both spellings, as libarchive writes them")
            .Layer(tar => tar
                .Pax(("SCHILY.xattr.user.a", "\0\n=\u00ff"), ("LIBARCHIVE.xattr.user.a", "AAo9/w"), ("SCHILY.xattr.security.capability", Capability), ("LIBARCHIVE.xattr.security.capability", "AQAAAgAgAAAAAAAAAAAAAAAAAAA"))
                .File("f"))
            .Shows("""-rw-r--r-- 0:0 f "" security.capability="\x01\x00\x00\x02\x00 \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" user.a="\x00\x0a=\xff" """.TrimEnd()),
        new ZooCase("attributes in libarchive's spelling alone")
            .Layer(tar => tar.Pax(("LIBARCHIVE.xattr.user.%61%2D", "AAo9/w")).File("f"))
            .Shows("""-rw-r--r-- 0:0 f "" user.a-="\x00\x0a=\xff" """.TrimEnd())
            .Except(Oracle.Containerd, """
                - -rw-r--r-- 0:0 f "" user.a-="\x00\x0a=\xff"
                + -rw-r--r-- 0:0 f ""
                """, "none of the three knows the spelling; losing what the layer says would be worse")
            .Except(Oracle.Umoci, """
                - -rw-r--r-- 0:0 f "" user.a-="\x00\x0a=\xff"
                + -rw-r--r-- 0:0 f ""
                """, "none of the three knows the spelling; losing what the layer says would be worse")
            .Except(Oracle.Overlay, """
                - -rw-r--r-- 0:0 f "" user.a-="\x00\x0a=\xff"
                + -rw-r--r-- 0:0 f ""
                """, "none of the three knows the spelling; losing what the layer says would be worse"),
        new ZooCase("a global PAX header")
            .Layer(tar => tar.Raw(Header("g", 'g', 22, 0)).Data("9 uid=42\n13 mtime=1.5\n"u8).File("a").Pax(("uid", "7")).File("b"))
            .Shows("""
                -rw-r--r-- 42:0 a "" @1.5
                -rw-r--r-- 7:0 b "" @1.5
                """)
            .Except(Oracle.Containerd, """
                - -rw-r--r-- 42:0 a "" @1.5
                - -rw-r--r-- 7:0 b "" @1.5
                + -rw-r--r-- 0:0 a ""
                + -rw-r--r-- 7:0 b ""
                """, "Go ignores global headers, POSIX and GNU tar apply them")
            .Except(Oracle.Umoci, ZooCase.Refuses, "it takes the header for an entry of an unknown type"),
        new ZooCase("a malformed PAX record")
            .Layer(tar => tar.Raw(Header("x", 'x', 8, 0)).Data("9 uid=1\n"u8).File("f"))
            .Refused("a PAX extended header has a malformed record"),
        new ZooCase("a PAX header of 4 GiB")
            .Layer(tar => tar.Raw(Header("x", 'x', 0, 0, edit: header => Base256(header, 124, 12, 1L << 32))).File("f"))
            .Refused("a PAX header of 4294967296 bytes at offset 512 is longer than the limit of 1048576"),
        new ZooCase("an extended header with no entry after it")
            .Layer(tar => tar.File("a").Pax(("uid", "1")))
            .Shows("-rw-r--r-- 0:0 a \"\""),
        new ZooCase("Solaris' extended header")
            .Layer(tar => tar.Raw(Header("x", 'X', 9, 0)).Data("9 uid=42\n"u8).File("f"))
            .Shows("-rw-r--r-- 42:0 f \"\"")
            .Except(Oracle.Containerd, ZooCase.Refuses, "Go does not know it")
            .Except(Oracle.Umoci, ZooCase.Refuses, "Go does not know it"),

        // Types.
        new ZooCase("hard links with a size and with long names")
            .Layer(tar => tar.Pax(("path", s_long)).File("cut", "x")
                .File("short", "z").Raw(Header("sized", '1', 1000, 0x1A4, "short")).File("short2", "y")
                .Pax(("linkpath", "./" + s_long)).HardLink("pax", "cut").Gnu('K', "/" + s_long).Raw(Header("gnu", '1', 0, 0x1A4, "cut", Old)))
            .Shows($"""
                -rw-r--r-- 0:0 gnu "x" nlink 3
                -rw-r--r-- 0:0 {s_long} = gnu
                -rw-r--r-- 0:0 pax = gnu
                -rw-r--r-- 0:0 short "z" nlink 2
                -rw-r--r-- 0:0 short2 "y"
                -rw-r--r-- 0:0 sized = short
                """),
        new ZooCase("links, devices and directories with a size have no content")
            .Layer(tar => tar.Raw(Header("d/", '5', 4096, 0x1ED)).Raw(Header("s", '2', 1000, 0x1A4, "f")).Raw(Header("p", '6', 1000, 0x1A4)).File("f", "content"))
            .Shows("""
                drwxr-xr-x 0:0 d
                -rw-r--r-- 0:0 f "content"
                prw-r--r-- 0:0 p
                lrwxrwxrwx 0:0 s -> f
                """)
            .Except(Oracle.Overlay, ZooCase.Refuses, "GNU tar takes the size of a symbolic link or a pipe for content; Go does not"),
        new ZooCase("a symbolic link without a target")
            .Layer(tar => tar.Symlink("s", ""))
            .Refused("the symbolic link \"s\" has no target"),
        new ZooCase("two extended headers in a row")
            .Layer(tar => tar.Pax(("path", "first"), ("uid", "5"), ("SCHILY.xattr.user.first", "1")).Pax(("gid", "7"), ("SCHILY.xattr.user.last", "2")).File("f"))
            .Shows("-rw-r--r-- 0:7 f \"\" user.last=\"2\""),
        new ZooCase("a contiguous file, a directory with a list of names")
            .Layer(tar => tar.Raw(Header("7", '7', 3, 0x1A4)).Data("abc"u8).Raw(Header("D/", 'D', 3, 0x1ED, edit: Old)).Data("Yf\0"u8).File("f"))
            .Shows("""
                -rw-r--r-- 0:0 7 "abc"
                drwxr-xr-x 0:0 D
                -rw-r--r-- 0:0 f ""
                """)
            .Except(Oracle.Containerd, ZooCase.Refuses, "it knows neither type")
            .Except(Oracle.Umoci, ZooCase.Refuses, "it knows neither type"),
        new ZooCase("a volume label and an unknown type are left out")
            .Layer(tar => tar.Raw(Header("label", 'V', 0, 0, edit: Old)).Raw(Header("strange", 'Q', 5, 0)).Data("12345"u8).File("f"))
            .Shows("-rw-r--r-- 0:0 f \"\"")
            .Except(Oracle.Containerd, ZooCase.Refuses, "it refuses types that it does not know")
            .Except(Oracle.Umoci, ZooCase.Refuses, "it refuses types that it does not know")
            .Except(Oracle.Overlay, """
                + ---------- 0:0 strange "12345"
                """, "GNU tar takes unknown types for files"),
        new ZooCase("a file continued from another volume")
            .Layer(tar => tar.Raw(Header("f", 'M', 3, 0x1A4, edit: Old)).Data("abc"u8))
            .Refused("\"f\" is continued from another volume, which is not supported"),

        // The end.
        new ZooCase("no zero blocks at the end")
            .Layer(new TarBytes().File("f", "abc").ToArray(end: false))
            .Shows("-rw-r--r-- 0:0 f \"abc\""),
        new ZooCase("not even padding at the end")
            .Layer(new TarBytes().File("f", "abc").ToArray(end: false)[..515])
            .Shows("-rw-r--r-- 0:0 f \"abc\"")
            .Except(Oracle.Overlay, ZooCase.Refuses, "GNU tar wants whole blocks, Go does not"),
        new ZooCase("one zero block at the end")
            .Layer([.. new TarBytes().File("f", "abc").ToArray(end: false), .. new byte[512]])
            .Shows("-rw-r--r-- 0:0 f \"abc\""),
        new ZooCase("data after the end")
            .Layer([.. new TarBytes().File("f").ToArray(), .. new TarBytes().File("hidden").ToArray(end: false), 1, 2, 3])
            .Shows("-rw-r--r-- 0:0 f \"\""),
        new ZooCase("a lone zero block between two entries")
            .Layer([.. new TarBytes().File("a").ToArray(end: false), .. new byte[512], .. new TarBytes().File("b").ToArray()])
            .Refused("a single zero block at offset 512 is followed by more data")
            .Except(Oracle.Overlay, """
                accepts:
                -rw-r--r-- 0:0 a ""
                """, "GNU tar takes it for the end, which would hide that the layer is damaged"),
        new ZooCase("cut off inside a file")
            .Layer(new TarBytes().File("f", new string('x', 1000)).ToArray()[..1000])
            .Refused("it is cut off at offset 1000 inside the content of \"f\": 512 bytes are missing"),
        new ZooCase("no tar at all")
            .Layer(Encoding.ASCII.GetBytes(new string('x', 2000)))
            .Refused("it is not a tar archive"),
        Empty("a layer that is gzip of nothing", s_gzipOfNothing, OciLayoutBuilder.GzipLayer, [])
            .Except(Oracle.Overlay, ZooCase.Refuses, "GNU tar wants at least a block; the engines see an empty layer"),
        Empty("a layer of zero bytes", [], OciLayoutBuilder.TarLayer, [])
            .Except(Oracle.Overlay, ZooCase.Refuses, "GNU tar wants at least a block; the engines see an empty layer"),
        Empty("a layer of one zero block", OciLayoutBuilder.Gzip(new byte[512]), OciLayoutBuilder.GzipLayer, new byte[512]),
        Empty("a layer of two zero blocks", new byte[1024], OciLayoutBuilder.TarLayer, new byte[1024]),
        Empty("a layer of twenty zero blocks", OciLayoutBuilder.Gzip(new byte[10240]), OciLayoutBuilder.GzipLayer, new byte[10240]),
    ];

    private const string Capability = "\u0001\0\0\u0002\0\u0020\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

    private static byte[] SignedChecksum(byte[] header)
    {
        header.AsSpan(148, 8).Fill((byte)' ');
        Octal(header, 148, 8, header.Sum(each => (sbyte)each));
        return header;
    }
}
