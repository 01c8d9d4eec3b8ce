namespace LazyMount.Indexes.Tar;

/// <summary>The GNU.sparse.* records of one file (GNU tar manual, "PAX Format" of "Storing Sparse Files").</summary>
internal sealed class PaxSparse
{
    private readonly ByteBuffer _name = new();
    private readonly ByteBuffer _map = new();
    private long? _major, _minor;
    private int _pairs; // records of 0.0, which stand in pairs: offset, length

    /// <summary>Some record was there: the content is not the file's bytes.</summary>
    public bool IsPresent { get; private set; }

    /// <summary>The file's name; the member's own is made up. Empty for none.</summary>
    public ReadOnlySpan<byte> Name => _name.Bytes;

    /// <summary>The file's size with its holes.</summary>
    public long? Size { get; private set; }

    public long? ExtentCount { get; private set; }

    /// <summary>Offsets and lengths with commas between them.</summary>
    public ReadOnlySpan<byte> Map => _map.Bytes;

    /// <summary>True for 1.0, whose map stands before the content; false for 0.0 and 0.1, whose map is <see cref="Map"/>; null for others.</summary>
    public bool? HasMapInContent => (_major, _minor) switch
    {
        (1, 0) => true,
        (0, 0 or 1) => false,
        (null, null) when _map.Length > 0 || ExtentCount is not null => false,
        _ => null,
    };

    public void Clear()
    {
        _name.Clear();
        _map.Clear();
        (_major, _minor, _pairs, Size, ExtentCount, IsPresent) = (null, null, 0, null, null, false);
    }

    /// <summary>Applies a record whose key begins with "GNU.sparse."; <paramref name="key"/> is what follows.</summary>
    public void Apply(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        if (value.IsEmpty)
        {
            return; // as if it were not there
        }
        IsPresent = true;
        if (key.SequenceEqual("major"u8))
        {
            _major = PaxAttributes.Integer(key, value);
        }
        else if (key.SequenceEqual("minor"u8))
        {
            _minor = PaxAttributes.Integer(key, value);
        }
        else if (key.SequenceEqual("name"u8))
        {
            PaxAttributes.SetText(_name, key, value);
        }
        else if (key.SequenceEqual("size"u8) || key.SequenceEqual("realsize"u8))
        {
            Size = PaxAttributes.Integer(key, value);
        }
        else if (key.SequenceEqual("numblocks"u8))
        {
            ExtentCount = PaxAttributes.Integer(key, value);
        }
        else if (key.SequenceEqual("map"u8))
        {
            _map.Set(value);
        }
        else if (key.SequenceEqual("offset"u8) || key.SequenceEqual("numbytes"u8))
        {
            bool isOffset = key[0] == 'o';
            if (isOffset != (_pairs++ % 2 == 0) || value.Contains((byte)','))
            {
                throw new InvalidDataException("a PAX extended header has GNU.sparse.offset and GNU.sparse.numbytes not in turn");
            }
            if (_map.Length > 0)
            {
                _map.Append((byte)',');
            }
            _map.Append(value);
        }
    }
}
