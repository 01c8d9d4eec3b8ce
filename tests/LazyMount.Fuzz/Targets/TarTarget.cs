using System.Text;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;
using LazyMount.TestKit;

namespace LazyMount.Fuzz.Targets;

/// <summary>
/// A layer's tar through scanner, entries and merge. The result must not depend on the pieces that the tar comes in, and
/// only the two exceptions of the contract may come. The first byte chooses the pieces and whether checksums are set
/// right first, which no fuzzer would guess.
/// </summary>
internal static class TarTarget
{
    // Small, so that the bounds are met.
    private static readonly IndexLimits s_limits = new()
    {
        PaxHeaderSize = 4096,
        LongNameSize = 2048,
        PathLength = 1024,
        PathDepth = 40,
        LinkTargetLength = 300,
        SparseExtentsOfFile = 30,
        Entries = 60,
        Memory = 20_000,
        SmallestMemory = 20_000,
    };

    public static void Run(byte[] input)
    {
        var reader = new InputReader(input);
        byte flags = reader.Byte();
        byte[] tar = reader.Rest.ToArray();
        if ((flags & 0x80) == 0)
        {
            SetChecksums(tar);
        }
        (string whole, LayerEntriesBuilder? entries) = Scan(tar, int.MaxValue);
        int step = (flags & 0x7F) * 9 + 1;
        (string pieces, _) = Scan(tar, step);
        FuzzException.Require(whole == pieces, $"the result depends on the pieces (of {step} bytes):\n{whole}\n{pieces}");
        if (entries is not null)
        {
            LayerIndex layer = TreeWalk.Index(entries, tar.Length);
            TreeWalk.CheckLayer(layer);
            TreeWalk.Merge([layer]);
            TreeWalk.Merge([layer, layer]);
        }
    }

    internal static (string, LayerEntriesBuilder?) Scan(byte[] tar, int pieceSize)
    {
        var found = new StringBuilder();
        var scanner = new TarScanner(s_limits);
        var entries = new LayerEntriesBuilder(new IndexBudget(s_limits));
        try
        {
            for (int at = 0; at < tar.Length;)
            {
                int length = Math.Min(pieceSize, tar.Length - at);
                ReadOnlySpan<byte> piece = tar.AsSpan(at, length).ToArray(); // of its own: nothing outside to look at
                while (scanner.TryRead(ref piece))
                {
                    TarMember member = scanner.Member;
                    string? skipped = entries.Add(member);
                    found.Append(skipped).Append('|').Append(Convert.ToHexString(member.Path)).Append('|').Append(Convert.ToHexString(member.Link))
                        .Append($"|{member.Type} {member.Mode} {member.Uid} {member.Gid} {member.Size} {member.MtimeSeconds}.{member.MtimeNanoseconds} {member.DeviceMajor},{member.DeviceMinor} {member.DataOffset} {member.SparseMap?.StoredSize} {member.SparseMap?.Blocks}\n");
                    for (int i = 0; i < member.XattrCount; i++)
                    {
                        found.Append(Convert.ToHexString(member.XattrName(i))).Append('=').Append(Convert.ToHexString(member.XattrValue(i))).Append('\n');
                    }
                }
                FuzzException.Require(piece.IsEmpty, "the piece is not used up");
                at += length;
            }
            scanner.Complete();
            return (found.ToString(), entries);
        }
        catch (Exception e) when (e is InvalidDataException or NotSupportedException)
        {
            FuzzException.Require(e.Message.Length < 2000 && !e.Message.Any(char.IsControl), $"not one readable sentence: {e.Message}");
            return (found.Append(e.Message).ToString(), null);
        }
    }

    /// <summary>Walks the headers as far as they make sense and gives each the checksum that it should have.</summary>
    internal static void SetChecksums(byte[] tar)
    {
        for (long at = 0; at + TarHeader.BlockSize <= tar.Length;)
        {
            Span<byte> block = tar.AsSpan((int)at, TarHeader.BlockSize);
            at += TarHeader.BlockSize;
            var header = new TarHeader(block);
            if (header.IsZero)
            {
                continue;
            }
            TarBytes.SetChecksum(block);
            long size;
            try
            {
                size = header.Size;
            }
            catch (InvalidDataException)
            {
                return;
            }
            // The blocks of an old sparse map follow its header.
            for (bool isExtended = header.TypeFlag == 'S' && block[482] != 0; isExtended && at + TarHeader.BlockSize <= tar.Length; at += TarHeader.BlockSize)
            {
                isExtended = tar[at + 504] != 0;
            }
            bool hasContent = header.TypeFlag is not ((>= (byte)'1' and <= (byte)'6'));
            at += hasContent && size is > 0 and < int.MaxValue ? (size + 511) / 512 * 512 : 0;
        }
    }

    public static IEnumerable<byte[]> Seeds()
    {
        static byte[] Seed(byte flags, TarBytes tar) => [flags, .. tar.ToArray()];

        yield return Seed(0, new TarBytes().Directory("d").File("d/f", "content").Symlink("s", "d/f").HardLink("h", "d/f").Fifo("p").CharacterDevice("c", 1, 3));
        yield return Seed(1, new TarBytes().File("./a/../b//c", "x").Whiteout("a/x").Opaque("d").File(".wh..wh.plnk/1"));
        yield return Seed(57, new TarBytes().Pax(("path", new string('p', 300).Insert(150, "/")), ("mtime", "-1.25"), ("uid", "4294967295"), ("SCHILY.xattr.user.a", "v\0w")).File("short", "x"));
        yield return Seed(3, new TarBytes().Pax(("linkpath", "target"), ("LIBARCHIVE.xattr.user.%62", "dmFsdWU"), ("size", "3")).Symlink("s", "t").File("f", "abc"));
        yield return Seed(4, new TarBytes().Raw(TarBytes.Header("g", 'g', 30, 0)).Data("12 gid=1234\n18 comment=abcdef\n"u8).File("f").File("g"));
        yield return Seed(5, new TarBytes().Raw(TarBytes.Header("././@LongLink", 'L', 200, 0)).Data(Encoding.ASCII.GetBytes(new string('n', 199) + "\0")).File("n")
            .Raw(TarBytes.Header("././@LongLink", 'K', 150, 0)).Data(Encoding.ASCII.GetBytes(new string('k', 149) + "\0")).Symlink("l", "k"));
        yield return Seed(6, new TarBytes().File("base256", edit: header =>
        {
            TarBytes.Base256(header, 108, 8, -2);
            TarBytes.Base256(header, 136, 12, -5_000_000_000);
        }));
        yield return Seed(7, new TarBytes().Symlink("s", "d").File("s/under").Directory("d").HardLink("late", "s/under").Symlink("loop", "loop").File("d"));
        yield return Seed(8, new TarBytes().File("v7", "abc", edit: header => header.AsSpan(257).Clear()).Directory("dir/", edit: header => header[156] = 0));
        yield return Seed(9, new TarBytes().File("file", edit: header => Encoding.ASCII.GetBytes("pre/fix").CopyTo(header, 345)));
        (long, long)[] map = [(1, 2), (600, 1), (602, 0), (5000, 3), (6000, 1), (7000, 1)];
        foreach (SparseFormat format in Enum.GetValues<SparseFormat>())
        {
            yield return Seed(10, new TarBytes().Sparse(format, "sparse", 1L << 40, map, "12345678"u8.ToArray()).File("next", "x"));
        }
        (long, long)[] longMap = [.. Enumerable.Range(1, 6).Select(i => (i * 1000L, 10L)), (9000, 0)];
        yield return Seed(12, new TarBytes().Sparse(SparseFormat.Old, "sparse", 9000, longMap, new byte[60]).File("after"));
        yield return Seed(0x80, new TarBytes().File("unedited", "content"));
    }
}
