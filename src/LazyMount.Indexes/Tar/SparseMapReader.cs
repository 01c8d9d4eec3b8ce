using System.Buffers.Text;
using LazyMount.Indexes.Model;

namespace LazyMount.Indexes.Tar;

/// <summary>
/// Reads the map of a GNU sparse file from wherever its format keeps it (GNU tar manual, "Storing Sparse Files"): in and
/// behind the header (old GNU), in PAX records (0.0, 0.1), before the content (1.0). Used again for the next file.
/// </summary>
internal sealed class SparseMapReader(IndexLimits limits)
{
    // A place in the map: offset and length, 12 bytes each. Four in the header, 21 in each block behind it.
    private const int PlaceSize = 24, FieldSize = 12;
    private const int HeaderMap = 386, HeaderPlaces = 4, HeaderIsExtended = 482, HeaderRealSize = 483;
    private const int BlockPlaces = 21, BlockIsExtended = BlockPlaces * PlaceSize;

    private const int MaxDigits = 19; // of 2^63 - 1

    private readonly List<SparseExtent> _extents = [];
    private TarMember _member = null!;
    private long _end;     // in the file, of the last place, which may be empty
    private long _dataEnd; // of the last that is not
    private long _stored;
    private bool _isOld;

    // Of a 1.0 map, which comes in blocks: numbers in decimal, a line each: their count, then offset and length of each extent.
    private long _number;
    private int _digits;
    private long _numbersLeft;
    private bool _hasCount;
    private long _offset;

    /// <summary>An old header: the file's size and the first places. True: the map goes on in the next block.</summary>
    public bool BeginOld(TarMember member, TarHeader header)
    {
        if (!header.IsGnu)
        {
            throw new NotSupportedException($"{TarText.Quote(member.Path)} is a sparse file in another form than GNU's, which is not supported");
        }
        Begin(member, isOld: true);
        member.Size = Number(header.Block.Slice(HeaderRealSize, FieldSize));
        ReadPlaces(header.Block[HeaderMap..], HeaderPlaces);
        return header.Block[HeaderIsExtended] != 0;
    }

    /// <summary>A map in PAX records.</summary>
    public void ReadRecords(TarMember member, PaxSparse records)
    {
        Begin(member, isOld: false);
        member.Size = SizeOf(records);
        long left = records.ExtentCount ?? throw Bad("does not say how many extents it has");
        ReadOnlySpan<byte> map = records.Map;
        for (; left > 0 && !map.IsEmpty; left--)
        {
            long offset = NextNumber(ref map);
            Add(offset, NextNumber(ref map));
        }
        if (left != 0 || !map.IsEmpty)
        {
            throw Bad("does not have as many extents as it says");
        }
    }

    /// <summary>A map before the content: <see cref="ReadBlock"/> takes it.</summary>
    public void BeginBlocks(TarMember member, PaxSparse records)
    {
        Begin(member, isOld: false);
        member.Size = SizeOf(records);
    }

    /// <summary>The next block of the map; true when there is another.</summary>
    public bool ReadBlock(ReadOnlySpan<byte> block)
    {
        if (_isOld)
        {
            ReadPlaces(block, BlockPlaces);
            return block[BlockIsExtended] != 0;
        }
        foreach (byte b in block)
        {
            if (b != '\n')
            {
                int digit = b - '0';
                if ((uint)digit > 9 || _digits == MaxDigits || _number > (long.MaxValue - digit) / 10)
                {
                    throw Bad("holds something that is not a number");
                }
                _number = _number * 10 + digit;
                _digits++;
            }
            else if (!EndNumber())
            {
                return false; // the rest of the block is padding
            }
        }
        return true;
    }

    /// <summary>The blocks of the map are part of the content (1.0), not between header and content (old).</summary>
    public bool IsInContent => !_isOld;

    /// <summary>The map is complete: null when the file has no holes.</summary>
    /// <param name="storedSize">Bytes of content that the tar holds.</param>
    public SparseMap? Build(long storedSize)
    {
        if (_end > _member.Size)
        {
            throw Bad($"goes beyond the file's size of {_member.Size}");
        }
        if (_stored != storedSize)
        {
            throw Bad($"has {_stored} bytes where {storedSize} are stored");
        }
        return _stored == _member.Size ? null : new SparseMap([.. _extents], _stored);
    }

    private void Begin(TarMember member, bool isOld)
    {
        _member = member;
        _extents.Clear();
        (_end, _dataEnd, _stored, _isOld) = (0, 0, 0, isOld);
        (_number, _digits, _numbersLeft, _hasCount) = (0, 0, 0, false);
    }

    private bool EndNumber()
    {
        if (_digits == 0)
        {
            throw Bad("holds an empty number");
        }
        if (!_hasCount)
        {
            _hasCount = true;
            _numbersLeft = _number <= limits.SparseExtentsOfFile ? 2 * _number : throw TooMany();
        }
        else
        {
            _numbersLeft--;
            if (_numbersLeft % 2 != 0)
            {
                _offset = _number;
            }
            else
            {
                Add(_offset, _number);
            }
        }
        (_number, _digits) = (0, 0);
        return _numbersLeft > 0;
    }

    private void ReadPlaces(ReadOnlySpan<byte> places, int count)
    {
        // The first that is not there ends this block's, as for GNU tar and Go.
        for (int i = 0; i < count && places[i * PlaceSize] != 0; i++)
        {
            Add(Number(places.Slice(i * PlaceSize, FieldSize)), Number(places.Slice(i * PlaceSize + FieldSize, FieldSize)));
        }
    }

    private void Add(long offset, long length)
    {
        if (offset < 0 || length < 0)
        {
            throw Bad("holds a negative number");
        }
        if (offset < _end)
        {
            throw Bad("is not in order");
        }
        if (length > long.MaxValue - offset)
        {
            throw Bad("goes beyond what a file can hold");
        }
        _end = offset + length;
        if (length == 0)
        {
            return; // such as GNU tar writes at the end of a file
        }
        if (offset > _dataEnd || _extents.Count == 0)
        {
            if (_extents.Count == limits.SparseExtentsOfFile)
            {
                throw TooMany();
            }
            _extents.Add(new SparseExtent(offset, _stored));
        }
        _dataEnd = _end;
        _stored += length;
    }

    private long SizeOf(PaxSparse records) => records.Size switch
    {
        null => throw Bad("does not have the file's size"),
        < 0 => throw Bad("has a negative size"),
        long size => size,
    };

    private long Number(ReadOnlySpan<byte> field)
        => TarHeader.TryParseNumber(field, out long value) ? value : throw Bad("holds something that is not a number");

    private long NextNumber(ref ReadOnlySpan<byte> map)
    {
        if (!Utf8Parser.TryParse(map, out long number, out int used) || (used < map.Length && map[used] != ','))
        {
            throw Bad("holds something that is not a number");
        }
        map = map[Math.Min(used + 1, map.Length)..];
        return number;
    }

    private InvalidDataException TooMany() => Bad($"has more than {limits.SparseExtentsOfFile} extents");

    private InvalidDataException Bad(string what) => new($"the sparse map of {TarText.Quote(_member.Path)} {what}");
}
