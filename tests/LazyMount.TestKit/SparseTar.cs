using System.Globalization;
using System.Text;

namespace LazyMount.TestKit;

/// <summary>The four forms in which GNU tar writes sparse files.</summary>
public enum SparseFormat
{
    /// <summary>Type 'S', the map in and behind the header.</summary>
    Old,

    /// <summary>PAX, a pair of records for each extent.</summary>
    Pax00,

    /// <summary>PAX, the map in one record.</summary>
    Pax01,

    /// <summary>PAX, the map before the content.</summary>
    Pax10,
}

/// <summary>Sparse files in a <see cref="TarBytes"/>, with any map: right ones and wrong ones.</summary>
public static class SparseTar
{
    private const int Block = 512;

    /// <summary>One file.</summary>
    /// <param name="tar">Where to.</param>
    /// <param name="format">In which form.</param>
    /// <param name="path">Its path.</param>
    /// <param name="size">Its size with holes.</param>
    /// <param name="map">Offset and length of each extent.</param>
    /// <param name="stored">The bytes of all extents.</param>
    public static TarBytes Sparse(this TarBytes tar, SparseFormat format, string path, long size, IReadOnlyList<(long Offset, long Length)> map, byte[] stored)
    {
        string count = map.Count.ToString(CultureInfo.InvariantCulture);
        IEnumerable<string> numbers = map.SelectMany(extent => (string[])[Text(extent.Offset), Text(extent.Length)]);
        switch (format)
        {
            case SparseFormat.Old:
                return tar.Raw(OldHeader(path, size, map, stored.Length)).Data(stored);
            case SparseFormat.Pax00:
                return tar.Pax([("GNU.sparse.size", Text(size)), ("GNU.sparse.numblocks", count),
                    .. map.SelectMany(extent => ((string, string)[])[("GNU.sparse.offset", Text(extent.Offset)), ("GNU.sparse.numbytes", Text(extent.Length))])])
                    .File(path, stored);
            case SparseFormat.Pax01:
                return tar.Pax(("GNU.sparse.size", Text(size)), ("GNU.sparse.numblocks", count), ("GNU.sparse.name", path), ("GNU.sparse.map", string.Join(',', numbers)))
                    .File("GNUSparseFile.1/f", stored);
            default:
                byte[] lines = Encoding.Latin1.GetBytes(string.Concat(numbers.Prepend(count).Select(number => number + "\n")));
                return Version1(tar, path, size, [.. lines, .. new byte[-lines.Length & (Block - 1)], .. stored]);
        }
    }

    /// <summary>A file of version 1.0 with any bytes as map and content.</summary>
    public static TarBytes Version1(this TarBytes tar, string path, long size, byte[] mapAndStored)
        => tar.Pax(("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", path), ("GNU.sparse.realsize", Text(size)))
            .File("GNUSparseFile.1/f", mapAndStored);

    // Four extents in the header, 21 in each block behind it.
    private static byte[] OldHeader(string path, long size, IReadOnlyList<(long Offset, long Length)> map, long stored)
    {
        byte[] blocks = TarBytes.Header(path, 'S', stored, 0x1A4, edit: header =>
        {
            "ustar  \0"u8.CopyTo(header.AsSpan(257));
            Places(header, 386, 0, 4);
            header[482] = (byte)(map.Count > 4 ? 1 : 0);
            Number(header, 483, size);
        });
        for (int first = 4; first < map.Count; first += 21)
        {
            var block = new byte[Block];
            Places(block, 0, first, 21);
            block[504] = (byte)(map.Count > first + 21 ? 1 : 0);
            blocks = [.. blocks, .. block];
        }
        return blocks;

        void Places(byte[] block, int at, int first, int count)
        {
            for (int i = first; i < Math.Min(map.Count, first + count); i++, at += 24)
            {
                Number(block, at, map[i].Offset);
                Number(block, at + 12, map[i].Length);
            }
        }
    }

    private static void Number(byte[] block, int at, long value)
    {
        if (value is >= 0 and < 1L << 33)
        {
            TarBytes.Octal(block, at, 12, value);
        }
        else
        {
            TarBytes.Base256(block, at, 12, value);
        }
    }

    private static string Text(long value) => value.ToString(CultureInfo.InvariantCulture);
}
