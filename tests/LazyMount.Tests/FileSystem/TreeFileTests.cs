using System.Globalization;
using System.Text;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Oci;
using LazyMount.FileSystem;
using LazyMount.FileSystem.Erofs;
using LazyMount.Fuzz.Targets;
using LazyMount.Indexes.Model;
using LazyMount.TestKit;
using Xunit;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Tests.FileSystem;

/// <summary>Trees written down and read in place, at the limits of the format and beyond.</summary>
public sealed class TreeFileTests
{
    private static readonly byte[] s_key = [.. Enumerable.Range(1, 32).Select(i => (byte)i)];

    private static LayerBuilder L => new();

    private static ImageTree Build(params LayerBuilder[] layers) => TreeBuilder.Build([.. layers.Select(l => l.Build())]);

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(long.MinValue)]
    [InlineData(long.MaxValue)]
    public void Times_AreKept(long time)
    {
        ImageTree tree = Build(L.File("a", mtime: time).File("b", mtime: 5).File("c", mtime: 5));
        Assert.Equal([time, 5, 5], new[] { "a", "b", "c" }.Select(name => tree.Attributes(tree.Find(1, Encoding.UTF8.GetBytes(name))).MtimeSeconds));
    }

    [Theory]
    [InlineData(0u, 0u, true)]
    [InlineData(0xFFFu, 0xF_FFFFu, true)]
    [InlineData(0x1000u, 1u, false)]
    [InlineData(1u, 0x10_0000u, false)]
    [InlineData(uint.MaxValue, uint.MaxValue, false)]
    public void DeviceNumbers_AreKept_AndRefusedToErofsBeyondWhatLinuxHas(uint major, uint minor, bool isHeld)
    {
        if ((major, minor) == (0, 0))
        {
            return; // a whiteout of overlayfs
        }
        ImageTree tree = Build(L.Device("d", major, minor));
        NodeAttributes device = tree.Attributes(tree.Find(1, "d"u8));
        Assert.Equal((major, minor), (device.DeviceMajor, device.DeviceMinor));
        AssertHeld(tree, isHeld ? null : "'/d' has a device number");
    }

    [Theory]
    [InlineData(65_535, null)]
    [InlineData(65_536, "'/a' has an attribute of more than 65535 bytes")]
    public void ValuesOfAttributes_AreKept(int length, string? reason)
    {
        string value = new('v', length);
        ImageTree tree = Build(L.File("a", xattrs: [("user.one", "1"), ("user.two", value)]));
        ulong a = tree.Find(1, "a"u8);
        Assert.Equal([("user.one", 1), ("user.two", length)], tree.XattrsOf(a).Select(xattr => (Encoding.UTF8.GetString(xattr.Name), xattr.Value.Length)));
        byte[] found = new byte[length];
        Assert.Equal(length, tree.ReadXattr(a, "user.two"u8, found));
        Assert.Equal(value, Encoding.UTF8.GetString(found));
        Assert.Equal(-1, tree.ReadXattr(a, "user.three"u8, found));
        Assert.Equal(18, tree.WriteXattrNames(a, default));
        AssertHeld(tree, reason);
    }

    [Theory]
    [InlineData(3, null)]
    [InlineData(8, "more than 262148 bytes of attributes")]
    public void ManyAttributesOfOneFile_AreKept(int count, string? reason)
    {
        (string, string)[] xattrs = [.. Enumerable.Range(0, count).Select(i => ($"user.{i}", new string('v', 60_000)))];
        ImageTree tree = Build(L.File("a", xattrs: xattrs));
        Assert.Equal(xattrs, tree.XattrsOf(tree.Find(1, "a"u8)).Select(xattr => (Encoding.UTF8.GetString(xattr.Name), Encoding.UTF8.GetString(xattr.Value))));
        AssertHeld(tree, reason);
    }

    [Theory]
    [InlineData("user.x", null)]
    [InlineData("trusted.overlay.opaque", null)]
    [InlineData("security.capability", null)]
    [InlineData("system.posix_acl_default", null)]
    [InlineData("system.nfs4_acl", "a namespace that EROFS does not know (system.nfs4_acl)")]
    [InlineData("user.", "a namespace that EROFS does not know (user.)")]
    public void NamespacesOfAttributes_AreKept(string name, string? reason)
    {
        ImageTree tree = Build(L.File("a", xattrs: [(name, "v")]).File("b", xattrs: [(name, "v")]));
        Assert.All(new[] { "a", "b" }, file => Assert.Equal([name], tree.XattrsOf(tree.Find(1, Encoding.UTF8.GetBytes(file))).Select(xattr => Encoding.UTF8.GetString(xattr.Name))));
        AssertHeld(tree, reason);
    }

    [Fact]
    public void FilesOfMoreThan16TiB_AreKept_AndRefusedToErofs()
    {
        LayerBuilder layer = L;
        for (int i = 0; i < 17; i++)
            layer.File(i.ToString(CultureInfo.InvariantCulture), 1L << 40);
        ImageTree tree = Build(layer, L.Sparse("s", 1L << 62, (1L << 61, 100)));
        Assert.Equal((17L << 40) + 100, tree.TotalFileSize);
        ulong last = tree.Find(1, "16"u8), sparse = tree.Find(1, "s"u8);
        Assert.Equal((512 + (16 * (512 + (1L << 40))) + 77, 1L << 40), tree.Extent(last, 77));
        Assert.Equal([(1L << 61, 512L, 100L)], tree.Extents(sparse));
        AssertHeld(tree, "its files have more than 16 TiB together");
    }

    [Fact]
    public void NamesOf255Bytes_AreKept()
    {
        string name = new('n', 255);
        ImageTree tree = Build(L.File(name).Symlink($"{name}/x", new string('t', 4095)).File("b"));
        Assert.Equal($"/{name}", Encoding.UTF8.GetString(tree.PathOf(tree.Find(1, Encoding.UTF8.GetBytes(name)))));
        AssertHeld(tree, null);
    }

    [Fact]
    public void ADirectoryOfManyNames_IsReadFromAnyPlace()
    {
        LayerBuilder layer = L;
        string[] names = [.. Enumerable.Range(0, 30_000).Select(i => string.Create(CultureInfo.InvariantCulture, $"{i:x}{new string('-', i % 200)}")).Order(StringComparer.Ordinal)];
        foreach (string name in names)
            layer.File(name);
        ImageTree tree = Build(layer);
        var places = new List<(string Name, ulong Next)>();
        for (DirectoryCursor cursor = tree.ReadDirectory(1); cursor.MoveNext();)
            places.Add((Encoding.UTF8.GetString(cursor.Name), cursor.Next));

        Assert.Equal([".", "..", .. names], places.Select(place => place.Name));
        for (int i = 0; i < places.Count - 1; i += 97)
        {
            DirectoryCursor cursor = tree.ReadDirectory(1, places[i].Next);
            Assert.True(cursor.MoveNext());
            Assert.Equal(places[i + 1].Name, Encoding.UTF8.GetString(cursor.Name));
        }
        Assert.False(tree.ReadDirectory(1, places[^1].Next).MoveNext());
        Assert.Equal(names, tree.NamesIn(1).Select(name => Encoding.UTF8.GetString(name.Name)));
    }

    [Fact]
    public void Details_OfManyKinds_AreEachTheirNodes()
    {
        ImageTree tree = Build(L.Sparse("hole", 1L << 40).Sparse("ends", 10_000, (0, 1), (9_999, 1)).File("x", xattrs: [("odd", "v")]).Sparse("some", 100_000, (5000, 500), (50_000, 1)).File("y"));
        Assert.Equal([(0L, 1024L, 1L), (9_999L, 1025L, 1L)], tree.Extents(tree.Find(1, "ends"u8)));
        Assert.Empty(tree.Extents(tree.Find(1, "hole"u8)));
        Assert.Equal((-1L, 1L << 40), tree.Extent(tree.Find(1, "hole"u8), 12345));
        Assert.Equal(2, tree.Attributes(tree.Find(1, "ends"u8)).Blocks);
        Assert.Equal([5000L, 50_000L], tree.Extents(tree.Find(1, "some"u8)).Select(extent => extent.Offset));
        Assert.Equal("odd", Encoding.UTF8.GetString(Assert.Single(tree.XattrsOf(tree.Find(1, "x"u8))).Name));
        Assert.Empty(tree.XattrsOf(tree.Find(1, "y"u8)));
    }

    [Fact]
    public void TheSameLayers_GiveTheSameBytes_AndOthersOtherDigests()
    {
        static LayerBuilder Layer(long size) => L.File("a", size).Directory("d").File("d/b").HardLink("c", "a");
        Assert.Equal(Build(Layer(3)).Digest, Build(Layer(3)).Digest);
        Assert.NotEqual(Build(Layer(3)).Digest, Build(Layer(4)).Digest);
    }

    [Fact]
    public void AFileThatIsDamagedWhileItIsUsed_GivesItsAnswersOrFails()
    {
        using var directory = new TemporaryDirectory();
        string path = Path.Combine(directory.Path, "tree");
        LayerBuilder layer = L;
        for (int i = 0; i < 3000; i++)
            layer.File($"directory-{i % 50}/file-{i}", i, xattrs: i % 7 == 0 ? [("user.a", new string('x', i))] : []);
        LayerIndex index = layer.Build();
        using (FileStream file = File.Create(path))
        using (var writer = new CheckedFile.Writer(file))
        {
            TreeBuilder.Merge([index], Guid.Empty, s_key).Write(writer);
            writer.Finish();
        }
        byte[] good = File.ReadAllBytes(path);
        List<string> expected = Everything(TreeBuilder.Build([index]));
        var random = new Random(3);
        int failed = 0;
        for (int round = 0; round < 40; round++)
        {
            byte[] bad = [.. good];
            for (int i = 0; i < 3; i++)
                bad[random.Next(bad.Length)] ^= 0x40;
            File.WriteAllBytes(path, good);
            using ImageTree tree = ImageTree.TryOpen(path, s_key)!;
            if (round % 2 == 0)
                Assert.Equal(expected.Take(300), Everything(tree, nodes: 75)); // and keeps some of it in memory
            using (var file = new FileStream(path, System.IO.FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
                file.Write(round % 4 == 0 ? [] : bad);
            if (round % 4 == 0)
            {
                using var file = new FileStream(path, System.IO.FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
                file.SetLength(random.Next(good.Length));
            }
            List<string> seen = Everything(tree);
            failed += seen.Contains("failed") ? 1 : 0;
            Assert.All(expected.Zip(seen), pair => Assert.True(pair.Second == "failed" || pair.First == pair.Second, $"{pair.Second} in the place of {pair.First}"));
        }
        Assert.True(failed > 10);
    }

    [Fact]
    public void BytesAtRandom_AreAnsweredOrRefused()
    {
        var random = new Random(11);
        foreach (byte[] seed in TreeTarget.Seeds())
        {
            for (int i = 0; i < 1500; i++)
            {
                byte[] bytes = [.. seed];
                for (int changes = random.Next(1, 6); changes > 0; changes--)
                {
                    // Half of the changes in inodes, records and the header, where they lead farthest.
                    int at = random.Next(2) == 0 ? random.Next(bytes.Length) : random.Next(3) == 0 ? bytes.Length - 1 - random.Next(400) : 4096 + random.Next(600);
                    bytes[Math.Min(at, bytes.Length - 1)] = (byte)random.Next(random.Next(2) == 0 ? 8 : 256);
                }
                TreeTarget.Run(bytes);
            }
        }
    }

    [Fact]
    public void AFileOfAnotherKey_IsNone()
    {
        using var directory = new TemporaryDirectory();
        string path = Path.Combine(directory.Path, "tree");
        using (FileStream file = File.Create(path))
        using (var writer = new CheckedFile.Writer(file))
        {
            TreeBuilder.Merge([L.File("a").Build()], Guid.Empty, s_key).Write(writer);
            writer.Finish();
        }
        Assert.NotNull(ImageTree.TryOpen(path, s_key));
        Assert.Null(ImageTree.TryOpen(path, new byte[32]));
    }

    [Fact]
    public void BytesOfFiles_StandWhereTheyStood_WhateverElseIsKeptOfThem()
    {
        LayerBuilder layer = L.File("plain", 10).File("big", 20, xattrs: [("user.big", new string('v', 65_536))]).File("mac", 30, xattrs: [("com.apple.quarantine", "0001")]).File("last", 40);
        ImageTree tree = Build(layer);
        Assert.Equal([512L, 1536L, 2560L, 3584L], new[] { "plain", "big", "mac", "last" }.Select(name => tree.Extent(tree.Find(1, Encoding.UTF8.GetBytes(name)), 0).DataOffset));
        Assert.Equal([(0L, 2560L, 30L)], tree.Extents(tree.Find(1, "mac"u8)));
        Assert.Equal(["plain", "big", "mac", "last"], tree.FilesInTarOrder().Select(id => Encoding.UTF8.GetString(tree.PathOf(id))[1..]));
    }

    // The tree that layers make is kept in caches: whoever changes what merging or the format makes raises TreeHeader.Version, and this.
    [Fact]
    public void TheTreeOfOneImage_HasThisDigest()
    {
        ImageTree tree = Build(
            L.Directory("d", uid: 70_000).File("d/f", 5000, mtime: -3, xattrs: [("user.a", "b")]).HardLink("h", "d/f").Symlink("s", "d/f").Device("null", 1, 3).Fifo("p").Sparse("sparse", 100_000, (5000, 500)),
            L.File("d/.wh.f", 0).File("e/odd", xattrs: [("odd", "v")]).File("d/g", 1, mtime: 12));
        Assert.Equal("2 462e8478e88c1d4ac5ee49f3401a206f45c0eff4ef9067319ff609630591d31d", $"{TreeBuilder.Version} {tree.Digest.Hex}");
    }

    /// <summary>A mount goes on with the tree that it had, though an index had to be made again in another way, or could not be stored.</summary>
    [Fact]
    public void TheKey_WhichSaysWhatTheTreeWasMadeFrom_IsNotInTheDigest()
    {
        LayerIndex[] Layers(string name) => [L.Directory("d").File("d/f", 5000, xattrs: [("user.a", "b")]).File(name, 3).Build()];
        Digest DigestOf(string name, byte key, Guid identity = default)
        {
            using ImageTree tree = TreeBuilder.InMemory(TreeBuilder.Merge(Layers(name), identity, Enumerable.Repeat(key, TreeHeader.KeySize).ToArray()));
            return tree.Digest;
        }
        Assert.Equal(DigestOf("name", key: 0), DigestOf("name", key: 7));
        Assert.NotEqual(DigestOf("name", key: 0), DigestOf("other", key: 0));
        Assert.NotEqual(DigestOf("name", key: 0), DigestOf("name", key: 0, new Guid(1, 2, 3, new byte[8])));
    }

    private static List<string> Everything(ImageTree tree, int nodes = int.MaxValue)
    {
        List<string> all = [];
        for (int number = 0; number < Math.Min(nodes, tree.NodeCount); number++)
        {
            int one = number;
            Add(() => $"{tree.Attributes(tree.NodeAt(one))} {tree.LayerOf(tree.NodeAt(one))}");
            Add(() => string.Join(' ', tree.NamesIn(tree.NodeAt(one)).Select(name => $"{Encoding.UTF8.GetString(name.Name)}={name.Node}")));
            Add(() => string.Join(' ', tree.XattrsOf(tree.NodeAt(one)).Select(xattr => Convert.ToHexString(xattr.Value))));
            Add(() => FileMode.IsRegular(tree.Mode(tree.NodeAt(one))) ? string.Join(' ', tree.Extents(tree.NodeAt(one))) : "");
        }
        return all;

        void Add(Func<string> answer)
        {
            try
            {
                all.Add(answer());
            }
            catch (LazyMount.Blobs.Images.ImageException)
            {
                all.Add("failed");
            }
        }
    }

    private static void AssertHeld(ImageTree tree, string? reason)
    {
        if (reason is null)
        {
            Assert.True(new ErofsImage(tree).Size > 0);
            return;
        }
        Assert.Contains(reason, Assert.Throws<InvalidDataException>(() => new ErofsImage(tree)).Message, StringComparison.Ordinal);
    }
}
