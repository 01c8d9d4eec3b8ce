using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace LazyMount.TestKit;

/// <summary>
/// A tar stream written header by header, so that a test can say every byte of it. Strings become bytes as Latin-1.
/// All entries are of 1 January 2020 and root's unless an edit of the header says otherwise.
/// </summary>
public sealed class TarBytes
{
    private const int Block = 512;
    private const long Mtime = 1577836800;
    private readonly List<byte> _bytes = [];

    public TarBytes File(string path, string content = "", int mode = 0x1A4 /* 0644 */, Action<byte[]>? edit = null)
        => File(path, Encoding.Latin1.GetBytes(content), mode, edit);

    public TarBytes File(string path, byte[] content, int mode = 0x1A4, Action<byte[]>? edit = null)
        => Raw(Header(path, '0', content.Length, mode, edit: edit)).Data(content);

    public TarBytes Directory(string path, int mode = 0x1ED /* 0755 */, Action<byte[]>? edit = null)
        => Raw(Header(path.TrimEnd('/') + "/", '5', 0, mode, edit: edit));

    public TarBytes Symlink(string path, string target) => Raw(Header(path, '2', 0, 0x1FF, target));

    /// <summary>Mode and owner are those of the file, as every writer has it.</summary>
    public TarBytes HardLink(string path, string target, int mode = 0x1A4, Action<byte[]>? edit = null) => Raw(Header(path, '1', 0, mode, target, edit));

    public TarBytes Fifo(string path) => Raw(Header(path, '6', 0, 0x1A4));

    public TarBytes CharacterDevice(string path, int major, int minor) => Raw(Header(path, '3', 0, 0x1A4, edit: header =>
    {
        Octal(header, 329, 8, major);
        Octal(header, 337, 8, minor);
    }));

    /// <summary>Hides <paramref name="path"/> of lower layers.</summary>
    public TarBytes Whiteout(string path)
    {
        int name = path.LastIndexOf('/') + 1;
        return File($"{path[..name]}.wh.{path[name..]}");
    }

    /// <summary>Hides all that lower layers have in <paramref name="directory"/>.</summary>
    public TarBytes Opaque(string directory) => File($"{directory}/.wh..wh..opq");

    /// <summary>PAX records for the next entry, values as bytes in Latin-1.</summary>
    public TarBytes Pax(params (string Key, string Value)[] records) => Pax('x', records);

    /// <summary>A PAX extended header for all entries that follow.</summary>
    public TarBytes GlobalPax(params (string Key, string Value)[] records) => Pax('g', records);

    private TarBytes Pax(char type, (string Key, string Value)[] records)
    {
        string text = string.Concat(records.Select(record => PaxRecord(record.Key, record.Value)));
        return Raw(Header("PaxHeaders/entry", type, text.Length, 0x1A4)).Data(Encoding.Latin1.GetBytes(text));
    }

    /// <summary>Bytes as they are.</summary>
    public TarBytes Raw(ReadOnlySpan<byte> bytes)
    {
        _bytes.AddRange(bytes);
        return this;
    }

    /// <summary>Content, filled up to a whole block.</summary>
    public TarBytes Data(ReadOnlySpan<byte> content)
    {
        _bytes.AddRange(content);
        _bytes.AddRange(new byte[(Block - content.Length % Block) % Block]);
        return this;
    }

    /// <summary>The stream so far, with or without the two blocks of zeros that end an archive.</summary>
    public byte[] ToArray(bool end = true) => end ? [.. _bytes, .. new byte[2 * Block]] : [.. _bytes];

    /// <summary>One ustar header; <paramref name="edit"/> changes it before the checksum is set.</summary>
    public static byte[] Header(string path, char typeFlag, long size, int mode, string link = "", Action<byte[]>? edit = null)
    {
        byte[] header = new byte[Block];
        Encoding.Latin1.GetBytes(path, header.AsSpan(0, 100));
        Octal(header, 100, 8, mode);
        Octal(header, 108, 8, 0);
        Octal(header, 116, 8, 0);
        Octal(header, 124, 12, size);
        Octal(header, 136, 12, Mtime);
        header[156] = (byte)typeFlag;
        Encoding.Latin1.GetBytes(link, header.AsSpan(157, 100));
        "ustar\0"u8.CopyTo(header.AsSpan(257));
        "00"u8.CopyTo(header.AsSpan(263));
        edit?.Invoke(header);
        SetChecksum(header);
        return header;
    }

    /// <summary>A number in octal with a terminating zero byte.</summary>
    public static void Octal(byte[] header, int at, int length, long value)
        => Encoding.Latin1.GetBytes(Convert.ToString(value, 8).PadLeft(length - 1, '0') + "\0", header.AsSpan(at, length));

    /// <summary>A number in GNU's base-256 form.</summary>
    public static void Base256(byte[] header, int at, int length, long value)
    {
        header.AsSpan(at, length).Fill((byte)(value < 0 ? 0xFF : 0));
        BinaryPrimitives.WriteInt64BigEndian(header.AsSpan(at + length - 8, 8), value);
        header[at] |= 0x80;
    }

    /// <summary>The entry's owner, for the edit of an entry.</summary>
    public static Action<byte[]> OwnedBy(int uid, int gid) => header =>
    {
        Octal(header, 108, 8, uid);
        Octal(header, 116, 8, gid);
    };

    /// <summary>Makes a header's checksum right.</summary>
    public static void SetChecksum(Span<byte> header)
    {
        header.Slice(148, 8).Fill((byte)' ');
        int sum = 0;
        foreach (byte value in header)
        {
            sum += value;
        }
        Encoding.Latin1.GetBytes(Convert.ToString(sum, 8).PadLeft(6, '0') + "\0 ", header.Slice(148, 8));
    }

    private static string PaxRecord(string key, string value)
    {
        // The length counts its own digits.
        int rest = key.Length + value.Length + 3;
        int length = rest + 1;
        while (length.ToString(CultureInfo.InvariantCulture).Length + rest != length)
        {
            length++;
        }
        return $"{length.ToString(CultureInfo.InvariantCulture)} {key}={value}\n";
    }
}
