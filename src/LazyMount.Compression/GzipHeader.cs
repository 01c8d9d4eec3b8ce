using System.IO.Hashing;

namespace LazyMount.Compression;

/// <summary>
/// Passes over a gzip member's header (RFC 1952, 2.3), which arrives in pieces. Nothing in it is kept. Starts as its default:
/// before the magic.
/// </summary>
public struct GzipHeader
{
    internal const byte Magic1 = 0x1F;
    internal const byte Magic2 = 0x8B;
    private const byte DeflateMethod = 8;

    [Flags]
    private enum Flags : byte
    {
        Text = 1 << 0,
        HeaderCrc = 1 << 1,
        Extra = 1 << 2,
        Name = 1 << 3,
        Comment = 1 << 4,
        Reserved = 0b1110_0000,
    }

    private enum Field
    {
        Fixed,
        ExtraLength,
        Extra,
        Name,
        Comment,
        HeaderCrc,
        End,
    }

    private const int FixedLength = 10;

    private Field _field;
    private Flags _flags;
    private int _bytesOfField;
    private int _value;
    private int _extraLength;
    private Crc32? _crc;

    /// <summary>Whether anything but a gzip member is ruled out by the first bytes.</summary>
    internal static bool HasMagic(ReadOnlySpan<byte> head) => head is [Magic1, Magic2, ..];

    /// <summary>A header whose magic has been read.</summary>
    internal static GzipHeader AfterMagic() => new() { _bytesOfField = 2 };

    /// <summary>Moves <paramref name="position"/> over what belongs to the header; true at its end.</summary>
    /// <exception cref="InvalidDataException">It is no gzip header, or is damaged.</exception>
    public bool TryPass(ReadOnlySpan<byte> input, ref int position)
    {
        while (true)
        {
            if (_field == Field.End)
                return true;
            if (position == input.Length)
                return false;
            PassByte(input[position++]);
        }
    }

    private void PassByte(byte value)
    {
        int at = _bytesOfField++;
        if (_field == Field.HeaderCrc)
        {
            _value |= value << (8 * at);
            if (at == 0)
                return;
            if (_value != (ushort)_crc!.GetCurrentHashAsUInt32())
                throw new InvalidDataException("the checksum of a gzip member's header does not match");
            _field = Field.End;
            return;
        }

        // Hardly any header has its own checksum, but whether it does is known only at its fourth byte.
        if (_field == Field.Fixed && at < 4)
            CheckLead(at, value);
        if (_field == Field.Fixed && at == 3 && _flags.HasFlag(Flags.HeaderCrc))
        {
            _crc = new Crc32();
            _crc.Append([Magic1, Magic2, DeflateMethod]);
        }
        _crc?.Append([value]);

        switch (_field)
        {
            case Field.Fixed when at == FixedLength - 1:
                GoOnAfter(Field.Fixed);
                break;
            case Field.ExtraLength:
                _extraLength |= value << (8 * at);
                if (at == 1)
                    GoOnAfter(_extraLength == 0 ? Field.Extra : Field.ExtraLength);
                break;
            case Field.Extra when at == _extraLength - 1:
            case Field.Name or Field.Comment when value == 0:
                GoOnAfter(_field);
                break;
        }
    }

    private void CheckLead(int at, byte value)
    {
        switch (at)
        {
            case 0 when value != Magic1:
            case 1 when value != Magic2:
                throw new InvalidDataException("a gzip member does not begin with 1F 8B");
            case 2 when value != DeflateMethod:
                throw new InvalidDataException($"a gzip member is compressed by method {value}, which is not DEFLATE");
            case 3:
                _flags = (Flags)value;
                if ((_flags & Flags.Reserved) != 0)
                    throw new InvalidDataException($"a gzip member's header has reserved flags ({value:X2})");
                break;
        }
    }

    private void GoOnAfter(Field field)
    {
        _bytesOfField = 0;
        _field = field switch
        {
            Field.Fixed when _flags.HasFlag(Flags.Extra) => Field.ExtraLength,
            Field.ExtraLength => Field.Extra,
            < Field.Name when _flags.HasFlag(Flags.Name) => Field.Name,
            < Field.Comment when _flags.HasFlag(Flags.Comment) => Field.Comment,
            < Field.HeaderCrc when _flags.HasFlag(Flags.HeaderCrc) => Field.HeaderCrc,
            _ => Field.End,
        };
    }
}
