using System.Buffers.Text;
using LazyMount.Indexes.Model;

namespace LazyMount.Indexes.Tar;

/// <summary>
/// What PAX extended headers say of the entries after them (POSIX pax, "pax Extended Header Keywords"). A record with an
/// empty value takes back what a global header set, save that an extended attribute may be empty. Unknown keywords are
/// ignored, hdrcharset among them: names are bytes.
/// </summary>
internal sealed class PaxAttributes
{
    // Those of the global header included. Kept here too, before an entry is made of them: headers without entries cost nothing else.
    private static readonly int s_maxXattrs = IndexLimits.Default.XattrsOfEntry, s_maxXattrBytes = IndexLimits.Default.XattrBytesOfEntry;

    private readonly ByteBuffer _path = new();
    private readonly ByteBuffer _linkPath = new();
    private readonly ByteBuffer _xattrBytes = new();
    private readonly List<XattrRange> _xattrs = [];
    private bool _hasPath, _hasLinkPath;

    private readonly record struct XattrRange(int Name, int NameLength, int Value, int ValueLength, bool FromLibarchive);

    public bool HasPath => _hasPath;

    public ReadOnlySpan<byte> Path => _path.Bytes;

    public bool HasLinkPath => _hasLinkPath;

    public ReadOnlySpan<byte> LinkPath => _linkPath.Bytes;

    public long? Size { get; private set; }

    public long? Uid { get; private set; }

    public long? Gid { get; private set; }

    public (long Seconds, uint Nanoseconds)? Mtime { get; private set; }

    /// <summary>GNU.sparse.*.</summary>
    public PaxSparse Sparse { get; } = new();

    public int XattrCount => _xattrs.Count;

    public ReadOnlySpan<byte> XattrName(int i) => _xattrBytes.Bytes.Slice(_xattrs[i].Name, _xattrs[i].NameLength);

    public ReadOnlySpan<byte> XattrValue(int i) => _xattrBytes.Bytes.Slice(_xattrs[i].Value, _xattrs[i].ValueLength);

    public void CopyFrom(PaxAttributes other)
    {
        _path.Set(other.Path);
        _linkPath.Set(other.LinkPath);
        _xattrBytes.Set(other._xattrBytes.Bytes);
        _xattrs.Clear();
        _xattrs.AddRange(other._xattrs);
        (_hasPath, _hasLinkPath) = (other._hasPath, other._hasLinkPath);
        (Size, Uid, Gid, Mtime) = (other.Size, other.Uid, other.Gid, other.Mtime);
        Sparse.Clear(); // of one file: a global header cannot have any
    }

    /// <summary>Applies all records of one extended header: "LENGTH KEYWORD=VALUE\n", the length counting itself.</summary>
    public void Apply(ReadOnlySpan<byte> records)
    {
        while (!records.IsEmpty && records[0] != 0) // some writers fill up with zeros
        {
            if (!Utf8Parser.TryParse(records, out int length, out int digits)
                || digits >= records.Length || records[digits] != ' '
                || length <= digits + 1 || length > records.Length || records[length - 1] != '\n')
            {
                throw Malformed(records);
            }
            ReadOnlySpan<byte> record = records[(digits + 1)..(length - 1)];
            int equals = record.IndexOf((byte)'=');
            if (equals <= 0)
            {
                throw Malformed(records);
            }
            ApplyRecord(record[..equals], record[(equals + 1)..]);
            records = records[length..];
        }

        static InvalidDataException Malformed(ReadOnlySpan<byte> at)
            => new($"a PAX extended header has a malformed record at {TarText.Quote(at[..Math.Min(at.Length, 40)])}");
    }

    private void ApplyRecord(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        if (key.SequenceEqual("path"u8))
        {
            _hasPath = SetText(_path, key, value);
        }
        else if (key.SequenceEqual("linkpath"u8))
        {
            _hasLinkPath = SetText(_linkPath, key, value);
        }
        else if (key.SequenceEqual("size"u8))
        {
            Size = Integer(key, value);
        }
        else if (key.SequenceEqual("uid"u8))
        {
            Uid = Integer(key, value);
        }
        else if (key.SequenceEqual("gid"u8))
        {
            Gid = Integer(key, value);
        }
        else if (key.SequenceEqual("mtime"u8))
        {
            Mtime = value.IsEmpty ? null : ParseTime(value);
        }
        else if (key.StartsWith("SCHILY.xattr."u8))
        {
            SetXattr(key["SCHILY.xattr.".Length..], value, fromLibarchive: false);
        }
        else if (key.StartsWith("LIBARCHIVE.xattr."u8))
        {
            SetXattr(DecodeUrl(key["LIBARCHIVE.xattr.".Length..]), DecodeBase64(key, value), fromLibarchive: true);
        }
        else if (key.StartsWith("GNU.sparse."u8))
        {
            Sparse.Apply(key["GNU.sparse.".Length..], value);
        }
    }

    internal static bool SetText(ByteBuffer text, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        if (value.Contains((byte)0))
        {
            throw new InvalidDataException($"the PAX {System.Text.Encoding.ASCII.GetString(key)} {TarText.Quote(value)} holds a zero byte");
        }
        text.Set(value);
        return !value.IsEmpty;
    }

    internal static long? Integer(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        if (value.IsEmpty)
        {
            return null;
        }
        return Utf8Parser.TryParse(value, out long number, out int used) && used == value.Length
            ? number
            : throw new InvalidDataException($"the PAX {System.Text.Encoding.ASCII.GetString(key)} {TarText.Quote(value)} is not a number");
    }

    /// <summary>Decimal seconds, maybe negative, maybe with a fraction; digits beyond nanoseconds are cut towards the past.</summary>
    internal static (long Seconds, uint Nanoseconds) ParseTime(ReadOnlySpan<byte> value)
    {
        bool negative = value[0] == '-';
        ReadOnlySpan<byte> digits = negative ? value[1..] : value;
        int dot = digits.IndexOf((byte)'.');
        ReadOnlySpan<byte> whole = dot < 0 ? digits : digits[..dot];
        ReadOnlySpan<byte> fraction = dot < 0 ? default : digits[(dot + 1)..];
        if (whole.Length + fraction.Length == 0 || whole.ContainsAnyExceptInRange((byte)'0', (byte)'9') || fraction.ContainsAnyExceptInRange((byte)'0', (byte)'9'))
        {
            throw new InvalidDataException($"the PAX mtime {TarText.Quote(value)} is not a time");
        }
        ulong seconds = 0;
        if (!whole.IsEmpty && !Utf8Parser.TryParse(whole, out seconds, out _))
        {
            seconds = ulong.MaxValue;
        }
        uint nanoseconds = 0;
        for (int i = 0; i < 9; i++)
        {
            nanoseconds = nanoseconds * 10 + (i < fraction.Length ? fraction[i] - (uint)'0' : 0);
        }
        bool cut = fraction.Length > 9 && fraction[9..].IndexOfAnyExcept((byte)'0') >= 0;
        Int128 floor = seconds;
        if (negative)
        {
            // -1.25 is 2 seconds before the epoch and three quarters on.
            nanoseconds += cut ? 1u : 0;
            floor = -floor - (nanoseconds == 0 ? 0 : 1);
            nanoseconds = nanoseconds is 0 or 1_000_000_000 ? 0 : 1_000_000_000 - nanoseconds;
        }
        return floor == (long)floor
            ? ((long)floor, nanoseconds)
            : throw new InvalidDataException($"the PAX mtime {TarText.Quote(value)} does not fit 64 bits");
    }

    // libarchive writes an attribute in both notations: SCHILY's, being the plain bytes, wins.
    private void SetXattr(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value, bool fromLibarchive)
    {
        int old = -1;
        for (int i = 0; i < _xattrs.Count && old < 0; i++)
        {
            old = XattrName(i).SequenceEqual(name) ? i : -1;
        }
        if (old >= 0)
        {
            if (fromLibarchive && !_xattrs[old].FromLibarchive)
            {
                return;
            }
            _xattrs.RemoveAt(old);
        }
        if (name.IsEmpty)
        {
            return;
        }
        if (_xattrs.Count == s_maxXattrs || _xattrBytes.Length + name.Length + value.Length > s_maxXattrBytes)
        {
            throw new InvalidDataException($"PAX headers give one entry more than {s_maxXattrs} extended attributes, or more than {s_maxXattrBytes} bytes of them");
        }
        int start = _xattrBytes.Length;
        _xattrBytes.Append(name);
        _xattrBytes.Append(value);
        _xattrs.Add(new XattrRange(start, name.Length, start + name.Length, value.Length, fromLibarchive));
    }

    /// <summary>Adds an attribute that comes from no PAX record; the rules are the same.</summary>
    internal void AddXattr(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value) => SetXattr(name, value, fromLibarchive: false);

    internal void ClearXattrs()
    {
        _xattrBytes.Clear();
        _xattrs.Clear();
    }

    private static byte[] DecodeUrl(ReadOnlySpan<byte> text)
    {
        var decoded = new byte[text.Length];
        int length = 0;
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] == '%' && i + 2 < text.Length
                && Utf8Parser.TryParse(text.Slice(i + 1, 2), out byte value, out int used, 'x') && used == 2)
            {
                decoded[length++] = value;
                i += 2;
            }
            else
            {
                decoded[length++] = text[i];
            }
        }
        return decoded[..length];
    }

    // libarchive leaves the padding out.
    private static byte[] DecodeBase64(ReadOnlySpan<byte> key, ReadOnlySpan<byte> text)
    {
        text = text.TrimEnd((byte)'=');
        var padded = new byte[(text.Length + 3) / 4 * 4];
        padded.AsSpan().Fill((byte)'=');
        text.CopyTo(padded);
        var decoded = new byte[Base64.GetMaxDecodedFromUtf8Length(padded.Length)];
        return Base64.DecodeFromUtf8(padded, decoded, out _, out int length) == System.Buffers.OperationStatus.Done
            ? decoded[..length]
            : throw new InvalidDataException($"the value of PAX {TarText.Quote(key)} is not base64");
    }
}
