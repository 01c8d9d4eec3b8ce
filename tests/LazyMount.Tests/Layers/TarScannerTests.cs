using System.Formats.Tar;
using System.Text;
using System.Text.RegularExpressions;
using CsCheck;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;
using LazyMount.TestKit;
using Xunit;
using static LazyMount.TestKit.TarBytes;

namespace LazyMount.Tests.Layers;

public sealed partial class TarScannerTests
{
    // A tree with what each format can hold: old times and long names only where they fit. (No negative time with a
    // fraction: GNU tar 1.34 writes "-1.75" rightly and lists it wrongly.)
    private const string MakeTree = """
        set -e; cd "$1"; umask 022
        mkdir -p d/sub; printf 'hello\n' > d/f; head -c 70000 /dev/urandom > d/big; : > d/empty; head -c 512 /dev/zero > d/block
        ln d/f d/h; ln -s '../x y' d/s; chmod 4755 d/f; chmod 1777 d/sub; chmod 2711 d/block; touch -d '2001-02-03 04:05:06 UTC' d/f
        printf u > d/$'\303\274mlaut'
        [ "$2" = v7 ] || { chown 1234:5678 d/big; mknod d/c c 1 3 || true; mkfifo d/p; long=$(printf 'x%.0s' {1..60}); mkdir -p d/$long/$long; printf l > d/$long/$long/file; }
        case $2 in gnu|posix)
          deep=$(printf 'y%.0s' {1..200}); mkdir -p d/$deep/$deep; printf l > d/$deep/$deep/file; ln -s $deep/$deep/$deep d/longlink; ln d/$deep/$deep/file d/longhard
          touch -d '1950-01-01 UTC' d/big; chown 3000000:3000001 d/empty
        esac
        [ "$2" = posix ] && touch -d '2001-02-03 04:05:06.25 UTC' d/block
        tar --format=$2 --sort=name -cf tar d
        """;

    [Theory]
    [InlineData("v7")]
    [InlineData("ustar")]
    [InlineData("gnu")]
    [InlineData("posix")]
    public void TarOfGnuTar_IsReadAsGnuTarListsIt(string format)
    {
        using var directory = new TemporaryDirectory();
        Tool.Shell(MakeTree, directory.Path, format).EnsureSuccess();
        string listing = Tool.Shell("TZ=UTC LC_ALL=C.UTF-8 tar -tvf \"$1/tar\" --numeric-owner --full-time --quoting-style=literal", directory.Path).EnsureSuccess().Output;
        List<string> expected = [.. listing.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => Columns().Replace(line, " ", 5))];

        byte[] tar = File.ReadAllBytes(directory["tar"]);
        foreach (int pieceSize in (int[])[1, 7, 511, 512, 513, 4096, int.MaxValue])
        {
            List<string> actual = ScannedTar.List(tar, pieceSize);
            Assert.Equal(expected, actual.ConvertAll(line => Columns().Replace(line, " ", 5)));
        }
        Assert.True(expected.Count > 8);
    }

    // The time's fraction is padded to the longest.
    [GeneratedRegex(" +")]
    private static partial Regex Columns();

    [Theory]
    [InlineData(TarEntryFormat.V7)]
    [InlineData(TarEntryFormat.Ustar)]
    [InlineData(TarEntryFormat.Gnu)]
    [InlineData(TarEntryFormat.Pax)]
    public void TarOfDotNet_GivesEntriesAndContents(TarEntryFormat format)
    {
        var stream = new MemoryStream();
        using (var writer = new TarWriter(stream, format, leaveOpen: true))
        {
            TarEntryType file = format == TarEntryFormat.V7 ? TarEntryType.V7RegularFile : TarEntryType.RegularFile;
            for (int i = 0; i < 20; i++)
            {
                TarEntry entry = format switch
                {
                    TarEntryFormat.V7 => new V7TarEntry(file, $"dir/{i}"),
                    TarEntryFormat.Ustar => new UstarTarEntry(file, $"dir/{i}"),
                    TarEntryFormat.Gnu => new GnuTarEntry(file, $"dir/{i}{new string('n', i * 20)}"),
                    _ => new PaxTarEntry(file, $"dir/{i}{new string('n', i * 20)}"),
                };
                entry.Mode = UnixFileMode.UserRead | UnixFileMode.SetUser;
                entry.Uid = i;
                entry.ModificationTime = DateTimeOffset.FromUnixTimeSeconds(1_000_000 + i);
                entry.DataStream = new MemoryStream(Encoding.ASCII.GetBytes(new string((char)('a' + i), i * 100)));
                writer.WriteEntry(entry);
            }
        }
        byte[] tar = stream.ToArray();
        int count = 0;
        ScannedTar.Scan(tar, member =>
        {
            Assert.StartsWith($"dir/{count}", Encoding.ASCII.GetString(member.Path), StringComparison.Ordinal);
            Assert.Equal(EntryType.File, member.Type);
            Assert.Equal(0x900, member.Mode); // 04400
            Assert.Equal((uint)count, member.Uid);
            Assert.Equal(1_000_000 + count, member.MtimeSeconds);
            Assert.Equal(new string((char)('a' + count), count * 100), Encoding.ASCII.GetString(tar, (int)member.DataOffset, (int)member.Size));
            count++;
        });
        Assert.Equal(20, count);
    }

    [Fact]
    public void PaxRecords_OverrideTheHeader()
    {
        byte[] tar = new TarBytes()
            .Pax(("path", "p/\xE4\n="), ("size", "3"), ("uid", "4294967294"), ("gid", "70000"), ("mtime", "-1.25"), ("hdrcharset", "BINARY"), ("comment", "x"),
                ("SCHILY.xattr.user.bin", "a\0b\nc=d"), ("LIBARCHIVE.xattr.user.bin", "aWdub3JlZA"), ("LIBARCHIVE.xattr.user.%41%25", "aGk"))
            .Raw(Header("short", '0', 0, 0x1A4)).Data("abc"u8)
            .Pax(("linkpath", "somewhere/else"))
            .Symlink("link", "short")
            .File("last", "x")
            .ToArray();
        int count = 0;
        ScannedTar.Scan(tar, member =>
        {
            switch (count++)
            {
                case 0:
                    Assert.Equal("p/\xE4\n=", Encoding.Latin1.GetString(member.Path));
                    Assert.Equal((3, 4294967294u, 70000u), (member.Size, member.Uid, member.Gid));
                    Assert.Equal((-2, 750_000_000u), (member.MtimeSeconds, member.MtimeNanoseconds));
                    Assert.Equal(2, member.XattrCount);
                    Assert.Equal("user.bin", Encoding.Latin1.GetString(member.XattrName(0)));
                    Assert.Equal("a\0b\nc=d", Encoding.Latin1.GetString(member.XattrValue(0)));
                    Assert.Equal("user.A%", Encoding.Latin1.GetString(member.XattrName(1)));
                    Assert.Equal("hi", Encoding.Latin1.GetString(member.XattrValue(1)));
                    break;
                case 1:
                    Assert.Equal("somewhere/else", Encoding.Latin1.GetString(member.Link));
                    Assert.Equal((0u, 0), (member.Uid, member.XattrCount));
                    break;
                default:
                    Assert.Equal("last", Encoding.Latin1.GetString(member.Path));
                    break;
            }
        }, pieceSize: 5);
        Assert.Equal(3, count);
    }

    [Fact]
    public void GlobalPaxHeader_AppliesUntilOverridden()
    {
        byte[] records = "12 uid=4321\n15 mtime=100.5\n"u8.ToArray();
        byte[] tar = new TarBytes()
            .Raw(Header("g", 'g', records.Length, 0)).Data(records)
            .File("a")
            .Pax(("uid", ""), ("gid", "7"))
            .File("b")
            .File("c")
            .ToArray();
        Assert.Equal(
            ["-rw-r--r-- 4321/0 0 1970-01-01 00:01:40.5 a", "-rw-r--r-- 0/7 0 1970-01-01 00:01:40.5 b", "-rw-r--r-- 4321/0 0 1970-01-01 00:01:40.5 c"],
            ScannedTar.List(tar));
    }

    [Theory]
    [InlineData("0", 0, 0u)]
    [InlineData("12.5", 12, 500_000_000u)]
    [InlineData("-12", -12, 0u)]
    [InlineData("-0.000000001", -1, 999_999_999u)]
    [InlineData("1.1234567899", 1, 123_456_789u)]
    [InlineData("-0.0000000001", -1, 999_999_999u)]
    [InlineData("-1.9999999999", -2, 0u)]
    [InlineData("9223372036854775807", long.MaxValue, 0u)]
    [InlineData("7.", 7, 0u)]
    [InlineData("-0.5", -1, 500_000_000u)]
    [InlineData("-1.25", -2, 750_000_000u)]
    [InlineData("-9223372036854775808", long.MinValue, 0u)]
    [InlineData("-9223372036854775807.5", long.MinValue, 500_000_000u)]
    [InlineData("9223372036854775807.9999999999", long.MaxValue, 999_999_999u)]
    [InlineData("-0", 0, 0u)]
    [InlineData("00000000000000000000000012", 12, 0u)]
    public void PaxTime_IsExact(string text, long seconds, uint nanoseconds)
        => Assert.Equal((seconds, nanoseconds), PaxAttributes.ParseTime(Encoding.ASCII.GetBytes(text)));

    [Theory]
    [InlineData("0000644\0", 0x1A4L)]
    [InlineData("   644 \0", 0x1A4L)]
    [InlineData("644\0junk", 0x1A4L)]
    [InlineData("\0\0\0\0\0\0\0\0", 0L)]
    [InlineData("77777777", 0xFFFFFFL)]
    [InlineData("\x80\0\0\0\0\0\x01\x02", 0x102L)]
    [InlineData("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFE", -2L)]
    [InlineData("00008\0\0\0", null)]
    [InlineData("-1234567", null)]
    public void Number_IsOctalOrBase256(string field, long? expected)
        => Assert.Equal(expected, TarHeader.TryParseNumber(Encoding.Latin1.GetBytes(field), out long value) ? value : null);

    [Fact]
    public void Base256Number_TooLargeFor64Bits_IsRefused()
    {
        Assert.False(TarHeader.TryParseNumber([0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], out _));
        Assert.True(TarHeader.TryParseNumber([0x80, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], out long largest));
        Assert.Equal(long.MaxValue, largest);
    }

    [Fact]
    public void Checksum_OfSignedChars_IsAccepted()
    {
        byte[] header = Header("\xE4\xF6", '0', 0, 0x1A4, edit: null);
        int sum = 0;
        header.AsSpan(148, 8).Fill((byte)' ');
        foreach (byte b in header)
        {
            sum += (sbyte)b;
        }
        Octal(header, 148, 8, sum);
        Assert.Single(ScannedTar.List(new TarBytes().Raw(header).ToArray()));
    }

    [Fact]
    public void TrailingSlash_MakesADirectoryInV7Only()
    {
        byte[] tar = new TarBytes().Raw(Header("old/", '\0', 0, 0x1ED)).Raw(Header("zero/", '0', 0, 0x1ED)).File("full/", "x").File("plain").ToArray();
        Assert.Equal("d---", string.Concat(ScannedTar.List(tar).Select(line => line[0])));
    }

    [Fact]
    public void LinksAndDirectoriesWithASize_HaveNoContent()
    {
        byte[] tar = new TarBytes()
            .Raw(Header("d/", '5', 4096, 0x1ED)).Raw(Header("h", '1', 1000, 0x1A4, "f")).Raw(Header("s", '2', 1000, 0x1A4, "f"))
            .File("f", "content")
            .ToArray();
        Assert.Equal(4, ScannedTar.List(tar).Count);
    }

    [Fact]
    public void UnknownTypes_AreSkippedWithTheirContentAndTold()
    {
        byte[] tar = new TarBytes()
            .Raw(Header("label", 'V', 0, 0)).Raw(Header("strange", 'Z', 5, 0)).Data("12345"u8).Raw(Header("dump/", 'D', 3, 0x1ED)).Data("Yf\0"u8)
            .File("f")
            .ToArray();
        List<string> lines = ScannedTar.List(tar, 100);
        Assert.Equal("skipped label: it is a volume label", lines[0]);
        Assert.StartsWith("skipped strange: its tar type 'Z' is not a kind of file that an image can have", lines[1], StringComparison.Ordinal);
        Assert.StartsWith("drwxr-xr-x 0/0 0 ", lines[2], StringComparison.Ordinal);
        Assert.EndsWith(" f", lines[3], StringComparison.Ordinal);
    }

    [Fact]
    public void GoPrefixUnderGnuMagic_IsAPrefix()
    {
        byte[] tar = new TarBytes().File("name", "", edit: header =>
        {
            "ustar  \0"u8.CopyTo(header.AsSpan(257));
            "prefix"u8.CopyTo(header.AsSpan(345));
        }).ToArray();
        Assert.EndsWith(" prefix/name", ScannedTar.List(tar)[0], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(512)]
    [InlineData(1024)]
    public void End_MayHaveNoOneOrTwoZeroBlocks(int zeros)
    {
        byte[] tar = [.. new TarBytes().File("f", "x").ToArray(end: false), .. new byte[zeros]];
        Assert.Single(ScannedTar.List(tar));
        Assert.Empty(ScannedTar.List(new byte[zeros]));
    }

    [Fact]
    public void DataAfterTheEnd_IsIgnored()
    {
        byte[] tar = [.. new TarBytes().File("f").ToArray(), .. new TarBytes().File("hidden").ToArray(end: false), 1, 2, 3];
        Assert.Single(ScannedTar.List(tar, 300));
    }

    [Fact]
    public void ExtendedHeaderAtTheEnd_IsAboutNothing()
    {
        Assert.Empty(ScannedTar.List(new TarBytes().Pax(("uid", "1")).ToArray()));
        Assert.Empty(ScannedTar.List(new TarBytes().Raw(Header("L", 'L', 3, 0)).Data("abc"u8).ToArray(end: false)));
    }

    [Fact]
    public void MissingPaddingAtTheEnd_IsAccepted()
        => Assert.Single(ScannedTar.List(new TarBytes().File("f", "abc").ToArray(end: false)[..(512 + 3)]));

    public static TheoryData<string, byte[]> Malformed => new()
    {
        { "it is not a tar archive: its first 512 bytes are not a tar header", Encoding.ASCII.GetBytes(new string('x', 2000)) },
        { "it is not a tar archive: it has only 5 bytes", "hello"u8.ToArray() },
        { "is cut off at offset 1124 inside the content of \"f\": 900 bytes are missing", new TarBytes().File("a").File("f", new string('x', 1000)).ToArray()[..1124] },
        { "is cut off at offset 700 inside a header", new TarBytes().File("a").File("f").ToArray()[..700] },
        { "the header at offset 512 is damaged", [.. new TarBytes().File("a").ToArray(end: false), .. Encoding.ASCII.GetBytes(new string('x', 512))] },
        { "a single zero block at offset 512", [.. new TarBytes().File("a").ToArray(end: false), .. new byte[512], .. new TarBytes().File("b").ToArray()] },
        { "is cut off at offset 522 inside an extended header", [.. Header("x", 'x', 100, 0), .. new byte[10]] },
        { "malformed record", new TarBytes().Raw(Header("x", 'x', 10, 0)).Data("99 uid=1\n\n"u8).File("f").ToArray() },
        { "malformed record", new TarBytes().Raw(Header("x", 'x', 8, 0)).Data("8 uid=1x"u8).File("f").ToArray() },
        { "malformed record", new TarBytes().Raw(Header("x", 'x', 8, 0)).Data("8 uid-1\n"u8).File("f").ToArray() },
        { "malformed record", new TarBytes().Raw(Header("x", 'x', 9, 0)).Data("-9 uid=1\n"u8).File("f").ToArray() },
        { "holds a zero byte", new TarBytes().Pax(("path", "a\0b")).File("f").ToArray() },
        { "the PAX uid \"12x\" is not a number", new TarBytes().Pax(("uid", "12x")).File("f").ToArray() },
        { "the PAX mtime \"soon\" is not a time", new TarBytes().Pax(("mtime", "soon")).File("f").ToArray() },
        { "is not base64", new TarBytes().Pax(("LIBARCHIVE.xattr.user.a", "!!!")).File("f").ToArray() },
        { "the PAX mtime \"+1\" is not a time", new TarBytes().Pax(("mtime", "+1")).File("f").ToArray() },
        { "the PAX mtime \"-.\" is not a time", new TarBytes().Pax(("mtime", "-.")).File("f").ToArray() },
        { "the PAX mtime \"9223372036854775808\" does not fit 64 bits", new TarBytes().Pax(("mtime", "9223372036854775808")).File("f").ToArray() },
        { "the PAX mtime \"-9223372036854775808.1\" does not fit 64 bits", new TarBytes().Pax(("mtime", "-9223372036854775808.1")).File("f").ToArray() },
        { "the PAX mtime \"99999999999999999999999\" does not fit 64 bits", new TarBytes().Pax(("mtime", "99999999999999999999999")).File("f").ToArray() },
        { "malformed record", new TarBytes().Raw(Header("x", 'x', 20, 0)).Data("4294967296 path=abc\n"u8).File("f").ToArray() },
        { "malformed record", new TarBytes().Raw(Header("x", 'x', 6, 0)).Data("6 =ab\n"u8).File("f").ToArray() },
        { "the size of entry \"f\" is not a number", new TarBytes().File("f", edit: header => { header.AsSpan(124, 12).Fill(0x7F); header[124] = 0x80; }).ToArray() },
        { "the size 9223372036854775807 of \"f\" is impossible", new TarBytes().File("f", edit: header => Base256(header, 124, 12, long.MaxValue)).ToArray() },
        { "the size -1 of \"f\" is impossible", new TarBytes().File("f", edit: header => Base256(header, 124, 12, -1)).ToArray() },
        { "68719476735 bytes are missing", new TarBytes().File("f", edit: header => "777777777777"u8.CopyTo(header.AsSpan(124))).ToArray(end: false) },
        { "a PAX header of 4294967296 bytes at offset 512 is longer than the limit", new TarBytes().Raw(Header("x", 'x', 0, 0, edit: header => Base256(header, 124, 12, 1L << 32))).ToArray() },
        { "a long name of 4294967296 bytes at offset 512 is longer than the limit", new TarBytes().Raw(Header("L", 'L', 0, 0, edit: header => Base256(header, 124, 12, 1L << 32))).ToArray() },
        { "a PAX header of -1 bytes", new TarBytes().Raw(Header("x", 'g', 0, 0, edit: header => Base256(header, 124, 12, -1))).ToArray() },
        { "does not fit 32 bits", new TarBytes().Pax(("uid", "4294967296")).File("f").ToArray() },
        { "the size -5 of \"f\" is impossible", new TarBytes().Pax(("size", "-5")).File("f").ToArray() },
        { "the size 9223372036854775807 of \"f\" is impossible", new TarBytes().Pax(("size", "9223372036854775807")).File("f").ToArray() },
        { "the size of entry \"f\" is not a number", new TarBytes().File("f", edit: header => header[124] = (byte)'z').ToArray() },
        { "longer than the limit of 1048576", new TarBytes().Raw(Header("x", 'x', (1 << 20) + 1, 0)).ToArray() },
        { "longer than the limit of 65536", new TarBytes().Raw(Header("L", 'L', (64 << 10) + 1, 0)).ToArray() },
    };

    [Theory]
    [MemberData(nameof(Malformed))]
    public void Malformed_IsRefusedWithItsReason(string reason, byte[] tar)
    {
        foreach (int pieceSize in (int[])[1, 512, int.MaxValue])
        {
            var e = Assert.Throws<InvalidDataException>(() => ScannedTar.List(tar, pieceSize));
            Assert.Contains(reason, e.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void WhatIsNotSupportedYet_IsRefusedAsThat()
    {
        foreach (byte[] tar in (byte[][])
            [
                new TarBytes().Raw(Header("f", 'M', 0, 0)).ToArray(),
                new TarBytes().Raw(Header("f", 'N', 0, 0)).ToArray(),
            ])
        {
            Assert.Contains("\"f\"", Assert.Throws<NotSupportedException>(() => ScannedTar.List(tar)).Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void TooManyEntries_AreRefused()
    {
        byte[] tar = new TarBytes().File("a").File("b").File("c").ToArray();
        Assert.Equal(3, ScannedTar.List(tar, limits: new IndexLimits { Entries = 3 }).Count);
        Assert.Throws<InvalidDataException>(() => ScannedTar.List(tar, limits: new IndexLimits { Entries = 2 }));
    }

    [Fact]
    public void DamagedTar_NeverFailsWithAnythingElse()
    {
        byte[] tar = new TarBytes()
            .Pax(("path", "some/path"), ("mtime", "12.5"), ("SCHILY.xattr.user.a", "value"), ("LIBARCHIVE.xattr.user.b", "dmFsdWU"))
            .File("f", new string('x', 600))
            .Raw(Header("L", 'L', 120, 0)).Data(Encoding.ASCII.GetBytes(new string('n', 120))).File("g", "1")
            .HardLink("h", "g").Symlink("s", "../..").CharacterDevice("c", 1, 3).Directory("d")
            .ToArray();
        // Damage anywhere, then the checksums put right so that the parsers behind them are reached.
        Gen.Select(Gen.Int[0, tar.Length - 1], Gen.Byte, Gen.Int[1, 600], Gen.Int[0, tar.Length]).Array[1, 6].Sample(damages =>
        {
            byte[] damaged = [.. tar];
            foreach ((int at, byte value, _, _) in damages)
            {
                damaged[at] = value;
            }
            for (int at = 0; at + 512 <= damaged.Length; at += 512)
            {
                if (damaged.AsSpan(at + 257, 5).SequenceEqual("ustar"u8))
                {
                    damaged.AsSpan(at + 148, 8).Fill((byte)' ');
                    Octal(damaged, at + 148, 8, damaged[at..(at + 512)].Sum(b => b));
                }
            }
            try
            {
                ScannedTar.Collect(damaged[..^(damages[0].Item4 / 2)]);
                ScannedTar.List(damaged, damages[0].Item3);
            }
            catch (Exception e) when (e is InvalidDataException or NotSupportedException)
            {
            }
        }, iter: 3000);
    }
}
