using System.Numerics;
using System.Text;

namespace LazyMount.Indexes.Tar;

/// <summary>One 512-byte header block, looked at in place. Fields as in POSIX pax, "ustar Interchange Format".</summary>
internal readonly ref struct TarHeader(ReadOnlySpan<byte> block)
{
    public const int BlockSize = 512;

    private const int Name = 0, NameSize = 100;
    private const int ModeField = Name + NameSize, ModeSize = 8;
    private const int UidField = ModeField + ModeSize, UidSize = 8;
    private const int GidField = UidField + UidSize, GidSize = 8;
    private const int SizeField = GidField + GidSize, SizeSize = 12;
    private const int MtimeField = SizeField + SizeSize, MtimeSize = 12;
    private const int Checksum = MtimeField + MtimeSize, ChecksumSize = 8;
    private const int TypeField = Checksum + ChecksumSize, TypeSize = 1;
    private const int LinkNameField = TypeField + TypeSize, LinkNameSize = 100;
    private const int Magic = LinkNameField + LinkNameSize, MagicSize = 8; // with the version
    private const int UserName = Magic + MagicSize, UserNameSize = 32;
    private const int GroupName = UserName + UserNameSize, GroupNameSize = 32;
    private const int DeviceMajorField = GroupName + GroupNameSize, DeviceSize = 8;
    private const int DeviceMinorField = DeviceMajorField + DeviceSize;
    private const int PrefixField = DeviceMinorField + DeviceSize, PrefixSize = 155;
    private const int StarPrefixSize = 131;
    private const int StarTrailer = 508;

    private readonly ReadOnlySpan<byte> _block = block;

    public ReadOnlySpan<byte> Block => _block;

    public byte TypeFlag => _block[TypeField];

    public bool IsZero => _block[0] == 0 && _block.IndexOfAnyExcept((byte)0) < 0;

    /// <summary>The sum of all bytes, the checksum's own taken as spaces. Some old writers summed signed chars.</summary>
    public bool HasValidChecksum()
    {
        if (!TryParseNumber(_block.Slice(Checksum, ChecksumSize), out long stored))
        {
            return false;
        }
        int own = 0;
        foreach (byte b in _block.Slice(Checksum, ChecksumSize))
        {
            own += b;
        }
        int sum = Sum(_block) - own + ChecksumSize * ' ';
        if (sum == stored)
        {
            return true;
        }
        int high = 0;
        for (int i = 0; i < BlockSize; i++)
        {
            high += (uint)(i - Checksum) < ChecksumSize ? 0 : _block[i] >> 7;
        }
        return sum - 256 * high == stored;
    }

    // A lane of 16 bits takes 2 * 255 from each vector: at most 32 vectors of 16 bytes, so it cannot overflow.
    private static int Sum(ReadOnlySpan<byte> bytes)
    {
        var lanes = Vector<ushort>.Zero;
        int i = 0;
        for (; i <= bytes.Length - Vector<byte>.Count; i += Vector<byte>.Count)
        {
            Vector.Widen(new Vector<byte>(bytes[i..]), out Vector<ushort> low, out Vector<ushort> high);
            lanes += low + high;
        }
        Vector.Widen(lanes, out Vector<uint> a, out Vector<uint> b);
        int sum = (int)Vector.Sum(a + b);
        for (; i < bytes.Length; i++)
        {
            sum += bytes[i];
        }
        return sum;
    }

    private bool IsUstar => _block.Slice(Magic, 6).SequenceEqual("ustar\0"u8);

    public bool IsGnu => _block.Slice(Magic, MagicSize).SequenceEqual("ustar  \0"u8);

    public ReadOnlySpan<byte> FileName => Text(Name, NameSize);

    public ReadOnlySpan<byte> LinkName => Text(LinkNameField, LinkNameSize);

    /// <summary>The directory part of the path, without the slash before the name; may be empty.</summary>
    public ReadOnlySpan<byte> Prefix
    {
        get
        {
            if (IsUstar)
            {
                bool isStar = _block[StarTrailer..].SequenceEqual("tar\0"u8);
                return Text(PrefixField, isStar ? StarPrefixSize : PrefixSize);
            }
            // GNU keeps two times here. Go before 1.8 wrote prefixes under the GNU magic, and layers of that age are
            // still about: what is text and not two numbers is such a prefix (Go's own reader does the same).
            ReadOnlySpan<byte> prefix = Text(PrefixField, PrefixSize);
            bool isGoPrefix = IsGnu && Ascii.IsValid(prefix)
                && !(TryParseNumber(_block.Slice(PrefixField, MtimeSize), out _) && TryParseNumber(_block.Slice(PrefixField + MtimeSize, MtimeSize), out _));
            return isGoPrefix ? prefix : default;
        }
    }

    public long Mode => Number(ModeField, ModeSize, "mode");

    public long Uid => Number(UidField, UidSize, "uid");

    public long Gid => Number(GidField, GidSize, "gid");

    public long Size => Number(SizeField, SizeSize, "size");

    public long Mtime => Number(MtimeField, MtimeSize, "mtime");

    // v7 has no device fields; what stands there means nothing.
    public long DeviceMajor => IsUstar || IsGnu ? Number(DeviceMajorField, DeviceSize, "devmajor") : 0;

    public long DeviceMinor => IsUstar || IsGnu ? Number(DeviceMinorField, DeviceSize, "devminor") : 0;

    private ReadOnlySpan<byte> Text(int start, int length)
    {
        ReadOnlySpan<byte> field = _block.Slice(start, length);
        int end = field.IndexOf((byte)0);
        return end < 0 ? field : field[..end];
    }

    private long Number(int start, int length, string field)
        => TryParseNumber(_block.Slice(start, length), out long value)
            ? value
            : throw new InvalidDataException($"the {field} of entry {TarText.Quote(FileName)} is not a number");

    /// <summary>
    /// Octal digits between spaces and zeros (none at all is 0), or GNU base-256: the first bit set, the rest
    /// a big-endian two's complement number.
    /// </summary>
    internal static bool TryParseNumber(ReadOnlySpan<byte> field, out long value)
    {
        value = 0;
        if ((field[0] & 0x80) != 0)
        {
            // Bit 6 of the first byte is the sign; bit 7 only marks the notation.
            Int128 wide = (field[0] & 0x40) != 0 ? -1 : 0;
            wide = (wide << 6) | (byte)(field[0] & 0x3F);
            foreach (byte b in field[1..])
            {
                wide = (wide << 8) | b;
            }
            value = (long)wide;
            return value == wide;
        }
        int i = 0;
        while (i < field.Length && field[i] is (byte)' ' or 0)
        {
            i++;
        }
        for (; i < field.Length && field[i] is not ((byte)' ' or 0); i++)
        {
            int digit = field[i] - '0';
            if ((uint)digit > 7)
            {
                return false;
            }
            value = (value << 3) | (uint)digit; // 12 digits are 36 bits
        }
        return true;
    }
}
