using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using LazyMount.FileSystem;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Exporting;

/// <summary>
/// Writes tar members: ustar headers (POSIX.1-1988), with an extended header (POSIX.1-2001, "pax") in front for what does not
/// fit. The same members give the same bytes. Names are bytes: GNU tar, Go and libarchive take those of a record as they
/// are. The caller writes a member's content and then calls <see cref="Pad"/>.
/// </summary>
internal sealed class PaxWriter(Stream output)
{
    public const int BlockSize = 512;

    private const int NameSize = 100, PrefixSize = 155;
    private const long Max7Digits = (1L << 21) - 1, Max11Digits = (1L << 33) - 1;

    private readonly byte[] _header = new byte[BlockSize];
    private readonly List<byte> _records = [];

    /// <summary>Adds a record to the extended header of the next member.</summary>
    public void AddRecord(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        // "LENGTH KEY=VALUE\n", where the length counts its own digits.
        int rest = key.Length + value.Length + 3;
        int length = rest + 1;
        while (Digits(length) + rest != length)
        {
            length++;
        }
        _records.AddRange(Encoding.ASCII.GetBytes(length.ToString(CultureInfo.InvariantCulture)));
        _records.Add((byte)' ');
        _records.AddRange(key);
        _records.Add((byte)'=');
        _records.AddRange(value);
        _records.Add((byte)'\n');
    }

    /// <summary>Writes the headers of a member.</summary>
    /// <param name="path">Its path; a directory's ends with a slash.</param>
    /// <param name="type">The type flag.</param>
    /// <param name="size">Bytes of content.</param>
    /// <param name="link">Target of a link.</param>
    /// <param name="attributes">Everything else.</param>
    public void WriteHeader(ReadOnlySpan<byte> path, byte type, long size, ReadOnlySpan<byte> link, in NodeAttributes attributes)
    {
        Span<byte> header = _header;
        header.Clear();
        if (!TrySplit(path, out int slash))
        {
            AddRecord("path"u8, path);
            path = path[..NameSize];
            slash = -1;
        }
        if (link.Length > NameSize)
        {
            AddRecord("linkpath"u8, link);
            link = link[..NameSize];
        }
        path[(slash + 1)..].CopyTo(header);
        if (slash > 0)
        {
            path[..slash].CopyTo(header[345..]);
        }
        link.CopyTo(header[157..]);
        PutNumber(header[100..108], attributes.Mode & 0xFFF, default);
        PutNumber(header[108..116], attributes.Uid, "uid"u8);
        PutNumber(header[116..124], attributes.Gid, "gid"u8);
        PutNumber(header[124..136], size, "size"u8);
        PutTime(header[136..148], attributes.MtimeSeconds, attributes.MtimeNanoseconds);
        if ((attributes.Mode & FileMode.TypeMask) is FileMode.CharacterDevice or FileMode.BlockDevice)
        {
            PutNumber(header[329..337], attributes.DeviceMajor, default);
            PutNumber(header[337..345], attributes.DeviceMinor, default);
        }
        if (_records.Count > 0)
        {
            WriteExtendedHeader(path);
        }
        Finish(header, type);
        output.Write(header);
    }

    /// <summary>Fills the last block of a member's content.</summary>
    public void Pad(long size)
    {
        ReadOnlySpan<byte> zeros = stackalloc byte[BlockSize];
        output.Write(zeros[..(int)(-size & (BlockSize - 1))]);
    }

    /// <summary>Two blocks of zeros.</summary>
    public void WriteEnd()
    {
        ReadOnlySpan<byte> zeros = stackalloc byte[2 * BlockSize];
        output.Write(zeros);
    }

    // The name of an extended header says nothing; those who do not know the type see a file of that name.
    private void WriteExtendedHeader(ReadOnlySpan<byte> path)
    {
        Span<byte> header = stackalloc byte[BlockSize];
        header.Clear();
        "PaxHeaders/"u8.CopyTo(header);
        ReadOnlySpan<byte> name = path.TrimEnd((byte)'/');
        name = name[(name.LastIndexOf((byte)'/') + 1)..];
        name[..Math.Min(name.Length, 80)].CopyTo(header[11..]);
        PutNumber(header[100..108], 0b110_100_100, default);
        PutNumber(header[108..116], 0, default);
        PutNumber(header[116..124], 0, default);
        PutNumber(header[124..136], _records.Count, default);
        PutNumber(header[136..148], 0, default);
        Finish(header, (byte)'x');
        output.Write(header);
        output.Write(CollectionsMarshal.AsSpan(_records));
        Pad(_records.Count);
        _records.Clear();
    }

    private static void Finish(Span<byte> header, byte type)
    {
        header[156] = type;
        "ustar\0"u8.CopyTo(header[257..]);
        "00"u8.CopyTo(header[263..]);
        header[148..156].Fill((byte)' ');
        int sum = 0;
        foreach (byte each in header)
        {
            sum += each;
        }
        PutOctal(header[148..155], sum);
    }

    /// <summary>Whether a path fits into name and prefix; the slash between them, or -1 when it needs no prefix.</summary>
    private static bool TrySplit(ReadOnlySpan<byte> path, out int slash)
    {
        slash = -1;
        if (path.Length <= NameSize)
        {
            return true;
        }
        if (path.Length > NameSize + 1 + PrefixSize)
        {
            return false;
        }
        // The first slash that leaves a name short enough; a directory's last slash stays with its name.
        int first = path.Length - NameSize - 1;
        int found = path[first..^1].IndexOf((byte)'/');
        slash = first + found;
        return found >= 0 && slash is > 0 and <= PrefixSize;
    }

    private void PutNumber(Span<byte> field, long value, ReadOnlySpan<byte> key)
    {
        if (value > (field.Length == 8 ? Max7Digits : Max11Digits))
        {
            AddRecord(key, Encoding.ASCII.GetBytes(value.ToString(CultureInfo.InvariantCulture)));
            value = 0;
        }
        PutOctal(field, value);
    }

    private void PutTime(Span<byte> field, long seconds, uint nanoseconds)
    {
        if (nanoseconds != 0 || seconds is < 0 or > Max11Digits)
        {
            AddRecord("mtime"u8, Encoding.ASCII.GetBytes(TimeText(seconds, nanoseconds)));
            seconds = Math.Clamp(seconds, 0, Max11Digits);
        }
        PutOctal(field, seconds);
    }

    // As a decimal number, below 0 too: 1 ns before 1970 is -1 s and 999,999,999 ns, and written -0.000000001.
    private static string TimeText(long seconds, uint nanoseconds)
    {
        if (nanoseconds == 0)
        {
            return seconds.ToString(CultureInfo.InvariantCulture);
        }
        (string sign, ulong whole, uint fraction) = seconds >= 0 ? ("", (ulong)seconds, nanoseconds) : ("-", (ulong)-(seconds + 1), 1_000_000_000 - nanoseconds);
        return string.Create(CultureInfo.InvariantCulture, $"{sign}{whole}.{fraction:D9}").TrimEnd('0');
    }

    // Filled with zeros up to a zero byte.
    private static void PutOctal(Span<byte> field, long value)
    {
        field[^1] = 0;
        for (int i = field.Length - 2; i >= 0; i--, value >>= 3)
        {
            field[i] = (byte)('0' + (value & 7));
        }
    }

    private static int Digits(int value) => value.ToString(CultureInfo.InvariantCulture).Length;
}
