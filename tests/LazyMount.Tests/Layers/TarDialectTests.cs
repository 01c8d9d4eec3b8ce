using System.Text;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using LazyMount.TestKit;
using Xunit;
using static LazyMount.TestKit.TarBytes;

namespace LazyMount.Tests.Layers;

/// <summary>Where readers of tar differ, or are tempted to: what we make of it. What the engines see is in the zoo.</summary>
public sealed class TarDialectTests
{
    private static List<(string Name, string Value)> XattrsOf(TarBytes tar)
    {
        LayerEntriesBuilder entries = ScannedTar.Collect(tar.ToArray());
        int set = entries.BuildEntries()[^1].XattrSet;
        return set < 0 ? [] : [.. entries.BuildXattrSets()[set].Select(xattr => (Encoding.Latin1.GetString(xattr.Name.Span), Encoding.Latin1.GetString(xattr.Value.Span)))];
    }

    [Fact]
    public void EmptyAttribute_IsThere()
    {
        Assert.Equal([("user.a", ""), ("user.b", "")], XattrsOf(new TarBytes()
            .Pax(("SCHILY.xattr.user.a", ""), ("LIBARCHIVE.xattr.user.b", "")).File("f")));
        Assert.Equal([("user.a", "")], XattrsOf(new TarBytes()
            .Pax(("SCHILY.xattr.user.a", "first"), ("SCHILY.xattr.user.a", ""), ("LIBARCHIVE.xattr.user.a", "eA")).File("f")));
        Assert.Empty(XattrsOf(new TarBytes().Pax(("SCHILY.xattr.", "no name")).File("f")));
    }

    [Fact]
    public void Attribute_HoldsAnyBytes()
    {
        const string Capability = "\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        Assert.Equal([("security.capability", Capability), ("user.new\nline", "a=b\n\0\xFF")], XattrsOf(new TarBytes()
            .Pax(("SCHILY.xattr.user.new\nline", "a=b\n\0\xFF"), ("SCHILY.xattr.security.capability", Capability)).File("f")));
        Assert.Equal([("user.%", "\0"), ("user.=", "\xFF")], XattrsOf(new TarBytes()
            .Pax(("LIBARCHIVE.xattr.user.%25", "AA=="), ("LIBARCHIVE.xattr.user.%3d", "/w")).File("f")));
    }

    [Theory]
    [InlineData("path", "file")]
    [InlineData("size", "3")]
    [InlineData("uid", "7")]
    [InlineData("gid", "8")]
    [InlineData("mtime", "1577836800")]
    public void EmptyRecord_LeavesTheHeadersValue(string key, string value)
    {
        int count = 0;
        ScannedTar.Scan(new TarBytes().Pax((key, "")).File("file", "abc", 0x1A4, OwnedBy(7, 8)).ToArray(), member =>
        {
            count++;
            Assert.Equal(value, key switch
            {
                "path" => Encoding.Latin1.GetString(member.Path),
                "size" => $"{member.Size}",
                "uid" => $"{member.Uid}",
                "gid" => $"{member.Gid}",
                _ => $"{member.MtimeSeconds}",
            });
        });
        Assert.Equal(1, count);
    }

    [Fact]
    public void EmptyLinkRecordAndEmptyLongName_LeaveTheHeadersNames()
    {
        Assert.EndsWith(" link -> target", Assert.Single(ScannedTar.List(new TarBytes().Pax(("linkpath", "")).Symlink("link", "target").ToArray())), StringComparison.Ordinal);
        Assert.EndsWith(" link -> target", Assert.Single(ScannedTar.List(new TarBytes()
            .Raw(Header("L", 'L', 1, 0)).Data("\0"u8).Raw(Header("K", 'K', 1, 0)).Data("\0"u8).Symlink("link", "target").ToArray())), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(4_294_967_294, 4_294_967_294u)]
    [InlineData(-2, 4_294_967_294u)]
    [InlineData(2_147_483_648, 2_147_483_648u)]
    [InlineData(4_294_967_295, 0u)] // chown(2) changes nothing then
    [InlineData(-1, 0u)]
    public void Owner_IsWhatChownMakesOfIt(long id, uint expected)
    {
        int count = 0;
        ScannedTar.Scan(new TarBytes()
            .File("binary", "", 0x1A4, header => { Base256(header, 108, 8, id); Base256(header, 116, 8, id); })
            .Pax(("uid", $"{id}"), ("gid", $"{id}")).File("pax").ToArray(), member =>
        {
            count++;
            Assert.Equal((expected, expected), (member.Uid, member.Gid));
        });
        Assert.Equal(2, count);
    }

    [Theory]
    [InlineData(0xFFF, 0xFFFFF, 0xFFFu, 0xFFFFFu)]
    [InlineData(0x1001, 0x100003, 1u, 3u)]
    [InlineData(-1, -1, 0xFFFu, 0xFFFFFu)]
    public void DeviceNumber_IsWhatMknodMakesOfIt(long major, long minor, uint expectedMajor, uint expectedMinor)
        => ScannedTar.Scan(new TarBytes().Raw(Header("c", '3', 0, 0x1A4, edit: header =>
        {
            Base256(header, 329, 8, major);
            Base256(header, 337, 8, minor);
        })).ToArray(), member => Assert.Equal((expectedMajor, expectedMinor), (member.DeviceMajor, member.DeviceMinor)));

    [Fact]
    public void V7Header_HasNoPrefixAndNoDeviceNumber()
    {
        byte[] tar = new TarBytes().Raw(Header("c", '3', 0, 0x1A4, edit: header =>
        {
            header.AsSpan(257).Fill((byte)'x'); // no magic, and garbage where ustar has fields
        })).ToArray();
        Assert.EndsWith(" 0,0 2020-01-01 00:00:00 c", Assert.Single(ScannedTar.List(tar)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("ustar\0" + "00", "2020/prefix", "2020/prefix/name")]
    [InlineData("ustar  \0", "2020/prefix", "2020/prefix/name")] // as Go wrote before 1.8
    [InlineData("ustar  \0", "01234567012\0" + "01234567012", "name")] // GNU's access and change times
    [InlineData("ustar  \0", "caf\xE9", "name")]
    [InlineData("garbage\0", "prefix", "name")]
    public void Prefix_IsOnlyWhatIsOne(string magic, string prefix, string path)
    {
        byte[] tar = new TarBytes().File("name", "", edit: header =>
        {
            Encoding.Latin1.GetBytes(magic, header.AsSpan(257));
            Encoding.Latin1.GetBytes(prefix, header.AsSpan(345));
        }).ToArray();
        Assert.EndsWith(" " + path, Assert.Single(ScannedTar.List(tar)), StringComparison.Ordinal);
    }

    [Fact]
    public void HardLink_TakesItsNamesFromEverySpelling()
    {
        string longName = new('n', 150);
        LayerEntriesBuilder entries = ScannedTar.Collect(new TarBytes()
            .Pax(("path", longName)).File("short", "x")
            .Pax(("linkpath", "./" + longName), ("size", "77")).HardLink("pax", "short")
            .Raw(Header("K", 'K', longName.Length + 2, 0)).Data(Encoding.ASCII.GetBytes("/" + longName + "\0")).Raw(Header("gnu", '1', 1000, 0x1A4, "short"))
            .HardLink("last", "pax").ToArray());
        LayerPaths paths = entries.BuildPaths();
        Assert.Equal(["/" + longName, "/" + longName, "/pax"], entries.BuildEntries()[1..].Select(entry => ScannedTar.PathOf(paths, entry.LinkPath)));
    }

    [Fact]
    public void NamelessEntry_IsTheRootOrLeftOut()
    {
        var told = new List<string?>();
        var builder = new LayerEntriesBuilder(new IndexBudget(IndexLimits.Default));
        ScannedTar.Scan(new TarBytes().File("", "x").Raw(Header("", '5', 0, 0x1C0)).Symlink(".", "x").ToArray(), member => told.Add(builder.Add(member)));
        Assert.Equal(["it has no name", null, "it would replace the root directory"], told);
        Assert.Equal(0x1C0, Assert.Single(builder.BuildEntries()).Mode);
    }

    [Fact]
    public void SymlinkWithoutTarget_IsRefused()
        => Assert.Contains("the symbolic link \"s\" has no target", Assert.Throws<InvalidDataException>(() => ScannedTar.Collect(new TarBytes().Symlink("s", "").ToArray())).Message, StringComparison.Ordinal);

    [Fact]
    public void LastOfSeveralExtendedHeaders_Counts()
        => Assert.EndsWith(" 0/6 0 2020-01-01 00:00:00 f", Assert.Single(ScannedTar.List(new TarBytes().Pax(("uid", "5")).Pax(("gid", "6")).File("f").ToArray())), StringComparison.Ordinal);
}
