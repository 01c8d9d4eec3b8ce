using System.Formats.Tar;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using CsCheck;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Layers;

/// <summary>Random trees, packed by tools that we did not write, scanned, and compared with what <c>tar -x</c> makes of the same archive.</summary>
public sealed class TarTreeTests
{
    private enum Kind { File, Directory, Symlink, HardLink, Fifo, Device }

    /// <param name="Parent">Which of the directories so far it stands in.</param>
    private sealed record Node(Kind Kind, int Parent, string Name, int Mode, (long Uid, long Gid) Owner, (long Seconds, int Nanoseconds) Mtime, int Size, string Xattr);

    /// <summary>What a format can say: the tools refuse or bend the rest.</summary>
    private static Gen<Node> Nodes(bool isLarge, bool isV7, bool isText)
    {
        Gen<string> name = Gen.Char[isText ? "abcdeXYZ-_.~" : "abc \n\"\\*\u0001\u00e4\u00fc\u00ff"].Array[1, isLarge ? 250 : 12].Select(chars => new string(chars) + "_");
        Gen<long> id = isLarge ? Gen.Long[0, 4_294_967_294] : Gen.Long[0, 2_097_151];
        // GNU tar 1.34 misreads negative times with a fraction.
        Gen<(long, int)> mtime = isLarge
            ? Gen.Frequency((3, Gen.Select(Gen.Long[0, 15_000_000_000], Gen.Int[0, 999_999_999])), (1, Gen.Select(Gen.Long[-2_000_000_000, -1], Gen.Const(0))))
            : Gen.Select(Gen.Long[0, 8_000_000_000], Gen.Const(0));
        return Gen.Select(Gen.Enum<Kind>(), Gen.Int[0, 20], name, Gen.Int[0, 0xFFF], Gen.Select(id, id), mtime, Gen.Int[0, 3000], Gen.Char["ab\0\n"].Array[0, 5].Select(chars => new string(chars)))
            .Where(node => !isV7 || node.Item1 is not (Kind.Fifo or Kind.Device))
            .Select(node => new Node(node.Item1, node.Item2, node.Item3, node.Item4, node.Item5, node.Item6, node.Item7, node.Item8));
    }

    [Theory]
    [InlineData("v7", false, true)]
    [InlineData("ustar", false, false)]
    [InlineData("gnu", true, false)]
    [InlineData("posix", true, false)]
    public void GnuTar_IsScannedAsItIsUnpacked(string format, bool isLarge, bool isV7)
        => Check(Nodes(isLarge, isV7, isText: false), (tree, tar) => Tool.Shell(
            $"cd \"$1\" && tar --format={format} {(format == "posix" ? "--xattrs --xattrs-include='*'" : "")} --numeric-owner -cf \"$2\" .", tree, tar).EnsureSuccess());

    [Theory]
    [InlineData(TarEntryFormat.Ustar, false)]
    [InlineData(TarEntryFormat.Gnu, true)]
    [InlineData(TarEntryFormat.Pax, true)]
    public void DotNetsTar_IsScannedAsItIsUnpacked(TarEntryFormat format, bool isLarge)
        => Check(Nodes(isLarge, isV7: false, isText: true), (tree, tar) =>
        {
            using FileStream stream = File.Create(tar);
            using var writer = new TarWriter(stream, format);
            foreach (string path in TreeSnapshot.Take(tree).Nodes.Keys.Skip(1))
            {
                writer.WriteEntry(tree + path, path[1..]);
            }
        });

    private static void Check(Gen<Node> nodes, Action<string, string> pack)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root can unpack owners and devices");
        nodes.Array[1, 30].Sample(tree =>
        {
            using var directory = new TemporaryDirectory();
            File.WriteAllBytes(directory["seed"], TarOf(tree));
            const string Unpack = "mkdir \"$1/$3\" && tar --numeric-owner --xattrs --xattrs-include='*' --delay-directory-restore -p -xf \"$1/$2\" -C \"$1/$3\"";
            Tool.Shell(Unpack, directory.Path, "seed", "tree").EnsureSuccess();
            pack(directory["tree"], directory["tar"]);
            Tool.Shell(Unpack, directory.Path, "tar", "unpacked").EnsureSuccess();
            List<string> expected = [.. TreeText.Lines(TreeSnapshot.Take(directory["unpacked"])).Skip(1)];
            Assert.Equal(expected, Shown(File.ReadAllBytes(directory["tar"])));
        }, iter: 8, threads: 1);
    }

    private static byte[] TarOf(Node[] tree)
    {
        var tar = new TarBytes();
        List<string> directories = [""], files = [];
        var taken = new HashSet<string>();
        foreach (Node node in tree)
        {
            string path = directories[node.Parent % directories.Count] + node.Name;
            if (path.Length > (node.Name.Length > 13 ? 3000 : 60) || !taken.Add(path))
            {
                continue;
            }
            (string, string)[] records =
            [
                ("path", path), ("uid", $"{node.Owner.Uid}"), ("gid", $"{node.Owner.Gid}"),
                ("mtime", string.Create(CultureInfo.InvariantCulture, $"{node.Mtime.Seconds}.{node.Mtime.Nanoseconds:D9}")),
            ];
            tar.Pax(node.Kind is Kind.File or Kind.Directory && node.Xattr != "" ? [.. records, ("SCHILY.xattr.user.x", node.Xattr)] : records);
            switch (node.Kind)
            {
                case Kind.Directory:
                    directories.Add(path + "/");
                    tar.Directory("d", node.Mode);
                    break;
                case Kind.Symlink:
                    tar.Symlink("s", node.Name[..Math.Min(90, node.Name.Length)]);
                    break;
                case Kind.HardLink when files.Count > 0:
                    tar.Pax(("linkpath", files[node.Parent % files.Count])).HardLink("h", "");
                    break;
                case Kind.Fifo:
                    tar.Raw(TarBytes.Header("p", '6', 0, node.Mode));
                    break;
                case Kind.Device:
                    tar.Raw(TarBytes.Header("b", node.Size % 2 == 0 ? '3' : '4', 0, node.Mode, edit: header =>
                    {
                        TarBytes.Octal(header, 329, 8, 1 + node.Size % 4095);
                        TarBytes.Octal(header, 337, 8, node.Mode * 256);
                    }));
                    break;
                default:
                    files.Add(path);
                    tar.File("f", new string((char)('a' + node.Mode % 26), node.Size), node.Mode);
                    break;
            }
        }
        return tar.ToArray();
    }

    /// <summary>The tree that the entries of a tar make in which every path comes once, as <see cref="TreeText"/> lines.</summary>
    private static IEnumerable<string> Shown(byte[] tar)
    {
        LayerEntriesBuilder entries = ScannedTar.Collect(tar);
        LayerPaths paths = entries.BuildPaths();
        Xattr[][] xattrs = entries.BuildXattrSets();
        ReadOnlyMemory<byte>[] targets = entries.BuildLinkTargets();
        var nodes = new Dictionary<int, TreeNode>();
        var links = new Dictionary<int, List<int>>();
        foreach (LayerEntry entry in entries.BuildEntries())
        {
            if (entry.Type == EntryType.HardLink)
            {
                links[entry.Path] = links[entry.LinkPath];
                links[entry.Path].Add(entry.Path);
                nodes[entry.Path] = nodes[entry.LinkPath];
                continue;
            }
            links[entry.Path] = [entry.Path];
            ReadOnlySpan<byte> content = tar.AsSpan((int)entry.DataOffset, (int)entry.Size);
            string target = entry.Type == EntryType.Symlink ? Encoding.Latin1.GetString(targets[entry.LinkTarget].Span) : "";
            uint mode = entry.Type == EntryType.Symlink ? 0x1FFu : entry.Mode;
            nodes[entry.Path] = new TreeNode
            {
                Mode = mode | entry.Type switch
                {
                    EntryType.Directory => 0x4000u,
                    EntryType.Symlink => 0xA000u,
                    EntryType.CharacterDevice => 0x2000u,
                    EntryType.BlockDevice => 0x6000u,
                    EntryType.Fifo => 0x1000u,
                    _ => 0x8000u,
                },
                Uid = entry.Uid,
                Gid = entry.Gid,
                Size = (ulong)(entry.Type == EntryType.Symlink ? target.Length : entry.Size),
                Mtime = string.Create(CultureInfo.InvariantCulture, $"{entry.MtimeSeconds}.{entry.MtimeNanoseconds:D9}"),
                Device = entry.Type is EntryType.CharacterDevice or EntryType.BlockDevice ? $"{entry.DeviceMajor}:{entry.DeviceMinor}" : "",
                LinkTarget = target,
                Content = entry.Type != EntryType.File ? "" : content.Length <= 48 ? TreeText.Quote(content) : "sha256:" + Convert.ToHexStringLower(SHA256.HashData(content)),
                FirstName = "",
                LinkCount = 1,
                Xattrs = entry.XattrSet < 0 ? "" : string.Join(' ', xattrs[entry.XattrSet].Select(xattr => $"{Encoding.Latin1.GetString(xattr.Name.Span)}={Convert.ToHexStringLower(xattr.Value.Span)}")),
            };
        }
        return nodes.Keys.Where(node => node != 0).Select(node => (Path: ScannedTar.PathOf(paths, node), Node: nodes[node], Names: links[node]))
            .Select(each => (each.Path, Node: each.Node with
            {
                FirstName = each.Names.Select(name => ScannedTar.PathOf(paths, name)).Min(StringComparer.Ordinal)!,
                LinkCount = (uint)(each.Node.Type == 'd' ? 0 : each.Names.Count),
            }))
            .OrderBy(each => each.Path, StringComparer.Ordinal)
            .Select(each => TreeText.Line(each.Path, each.Node));
    }
}
