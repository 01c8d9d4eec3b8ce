using System.Diagnostics;
using LazyMount.Indexes.Model;

namespace LazyMount.Indexes.Tar;

/// <summary>
/// Finds the members of a tar stream that arrives in pieces of any size, and skips their contents without copying.
/// <code>
/// foreach (piece of the tar) { while (scanner.TryRead(ref piece)) Use(scanner.Member); }
/// scanner.Complete();
/// </code>
/// Knows v7, ustar, GNU and PAX. Malformed input throws <see cref="InvalidDataException"/>; what is well-formed but not
/// supported <see cref="NotSupportedException"/>. Allocates nothing per member unless it has long names or attributes.
/// <para>Where the dialects differ the container engines' common ground, Go's archive/tar, is followed: links, devices and
/// directories have no content, whatever their size field says; a record with an empty value is as if not there, but for
/// extended attributes; padding missing after the last content is fine. Global PAX headers are applied as POSIX says (Go ignores them).</para>
/// </summary>
internal sealed class TarScanner(IndexLimits limits)
{
    private enum State
    {
        Header,
        Content,   // of a member: skipped
        Extension, // content of an x, g, L or K header: collected
        SparseMap, // blocks of a member's sparse map
        ZeroBlock, // one has been seen: another ends the archive
        End,
    }

    private readonly byte[] _block = new byte[TarHeader.BlockSize];
    private readonly ByteBuffer _extension = new();
    private readonly ByteBuffer _longName = new();
    private readonly ByteBuffer _longLink = new();
    private readonly PaxAttributes _global = new();
    private readonly PaxAttributes _local = new();
    private readonly SparseMapReader _sparse = new(limits);

    private State _state = State.Header;
    private int _blockLength;        // bytes of a header that came in pieces
    private long _position;          // of the next byte, in the tar
    private long _left;              // Content, Extension: bytes to the next header
    private int _padding;            // how many of them are padding
    private byte _extensionType;
    private bool _hasLongName, _hasLongLink, _hasLocal, _hasGlobal;
    private int _members;

    public TarScanner() : this(IndexLimits.Default)
    {
    }

    /// <summary>A global PAX header has been seen.</summary>
    public bool HasGlobalHeader => _hasGlobal;

    /// <summary>The member that <see cref="TryRead"/> found; valid until its next call.</summary>
    public TarMember Member { get; } = new();

    /// <summary>Goes on to the next member. False: <paramref name="piece"/> is used up.</summary>
    public bool TryRead(ref ReadOnlySpan<byte> piece)
    {
        while (!piece.IsEmpty)
        {
            switch (_state)
            {
                case State.Content:
                    Take(ref piece, (int)Math.Min(_left, piece.Length));
                    break;

                case State.Extension:
                    int wanted = (int)Math.Min(_left - _padding, piece.Length);
                    if (wanted > 0)
                    {
                        _extension.Append(piece[..wanted]);
                        Take(ref piece, wanted);
                    }
                    else
                    {
                        Take(ref piece, (int)Math.Min(_left, piece.Length));
                    }
                    break;

                case State.SparseMap:
                    if (!TryTakeBlock(ref piece, out ReadOnlySpan<byte> map))
                    {
                        return false;
                    }
                    if (ReadSparseMap(map))
                    {
                        return true;
                    }
                    break;

                case State.End:
                    _position += piece.Length;
                    piece = default;
                    break;

                default:
                    if (!TryTakeBlock(ref piece, out ReadOnlySpan<byte> block))
                    {
                        return false;
                    }
                    if (ReadHeader(new TarHeader(block)))
                    {
                        return true;
                    }
                    break;
            }
        }
        return false;
    }

    /// <summary>
    /// How many bytes come next that tell nothing, being content or what follows the end: a reader that can seek may
    /// pass over as many as it likes of them with <see cref="Skip"/>.
    /// </summary>
    public long Skippable => _state switch
    {
        State.Content => _left,
        State.End => long.MaxValue - _position,
        _ => 0,
    };

    /// <summary>Says that bytes were passed over: at most <see cref="Skippable"/>.</summary>
    public void Skip(long length)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, Skippable);
        _position += length;
        if (_state == State.Content)
        {
            _left -= length;
            _state = _left == 0 ? State.Header : State.Content;
        }
    }

    /// <summary>Says that the stream has ended; throws when it was cut off. No, one or two zero blocks at the end are all fine.</summary>
    public void Complete()
    {
        switch (_state)
        {
            case State.Content when _left > _padding:
                throw new InvalidDataException($"it is cut off at offset {_position} inside the content of {TarText.Quote(Member.Path)}: {_left - _padding} bytes are missing");
            case State.Extension:
                throw new InvalidDataException($"it is cut off at offset {_position} inside an extended header");
            case State.SparseMap:
                throw new InvalidDataException($"it is cut off at offset {_position} inside the sparse map of {TarText.Quote(Member.Path)}");
            case State.Header or State.ZeroBlock when _block.AsSpan(0, _blockLength).IndexOfAnyExcept((byte)0) >= 0:
                throw _position == _blockLength
                    ? new InvalidDataException($"it is not a tar archive: it has only {_position} bytes")
                    : new InvalidDataException($"it is cut off at offset {_position} inside a header");
        }
    }

    private void Take(ref ReadOnlySpan<byte> piece, int length)
    {
        piece = piece[length..];
        _position += length;
        _left -= length;
        if (_left == 0)
        {
            bool isExtension = _state == State.Extension;
            _state = State.Header;
            if (isExtension)
            {
                ApplyExtension();
            }
        }
    }

    /// <summary>A whole block, in place when the piece holds one.</summary>
    private bool TryTakeBlock(ref ReadOnlySpan<byte> piece, out ReadOnlySpan<byte> block)
    {
        int length = Math.Min(TarHeader.BlockSize - _blockLength, piece.Length);
        _position += length;
        if (length == TarHeader.BlockSize)
        {
            block = piece[..length];
            piece = piece[length..];
            return true;
        }
        piece[..length].CopyTo(_block.AsSpan(_blockLength));
        piece = piece[length..];
        _blockLength += length;
        block = _block;
        if (_blockLength < TarHeader.BlockSize)
        {
            return false;
        }
        _blockLength = 0;
        return true;
    }

    /// <summary>True when a member is ready.</summary>
    private bool ReadHeader(TarHeader header)
    {
        long headerOffset = _position - TarHeader.BlockSize;
        if (header.IsZero)
        {
            _state = _state == State.ZeroBlock ? State.End : State.ZeroBlock;
            return false;
        }
        if (_state == State.ZeroBlock)
        {
            throw new InvalidDataException($"a single zero block at offset {headerOffset - TarHeader.BlockSize} is followed by more data");
        }
        if (!header.HasValidChecksum())
        {
            throw new InvalidDataException(headerOffset == 0
                ? "it is not a tar archive: its first 512 bytes are not a tar header"
                : $"the header at offset {headerOffset} is damaged: its checksum is wrong");
        }
        switch (header.TypeFlag)
        {
            case (byte)'x' or (byte)'X' or (byte)'g': // X: Solaris' x
                BeginExtension(header, limits.PaxHeaderSize, "PAX header");
                return false;
            case (byte)'L' or (byte)'K':
                BeginExtension(header, limits.LongNameSize, "long name");
                return false;
            default:
                return ReadMember(header);
        }
    }

    private void BeginExtension(TarHeader header, int limit, string what)
    {
        long size = header.Size;
        if (size < 0 || size > limit)
        {
            throw new InvalidDataException($"a {what} of {size} bytes at offset {_position} is longer than the limit of {limit}");
        }
        _extensionType = header.TypeFlag;
        _extension.Clear();
        BeginContent(State.Extension, size);
        if (size == 0)
        {
            ApplyExtension();
        }
    }

    private void ApplyExtension()
    {
        switch (_extensionType)
        {
            case (byte)'g':
                _global.Apply(_extension.Bytes);
                if (_global.Sparse.IsPresent)
                {
                    throw new InvalidDataException("a global PAX header has GNU.sparse, which is allowed for one file only");
                }
                _hasGlobal = true;
                break;
            case (byte)'L':
                _longName.Set(UpToZero(_extension.Bytes));
                _hasLongName = _longName.Length > 0;
                break;
            case (byte)'K':
                _longLink.Set(UpToZero(_extension.Bytes));
                _hasLongLink = _longLink.Length > 0;
                break;
            default:
                _local.CopyFrom(_global); // of two in a row the last counts, as for Go, GNU tar and libarchive
                _hasLocal = true;
                _local.Apply(_extension.Bytes);
                break;
        }
    }

    /// <summary>True when the member is ready, false when its sparse map follows.</summary>
    private bool ReadMember(TarHeader header)
    {
        if (++_members > limits.Entries)
        {
            throw new InvalidDataException($"it has more than {limits.Entries} entries");
        }
        PaxAttributes? pax = _hasLocal ? _local : _hasGlobal ? _global : null;
        TarMember member = Member;
        ReadNames(header, pax);

        byte flag = header.TypeFlag;
        if (flag is (byte)'M' or (byte)'N')
        {
            throw new NotSupportedException($"{TarText.Quote(member.Path)} is {(flag == 'M' ? "continued from another volume" : "an old GNU list of long names")}, which is not supported");
        }

        long size = pax?.Size ?? header.Size;
        bool endsWithSlash = member.Path is [.., (byte)'/'];
        (EntryType? type, bool hasContent) = flag switch
        {
            0 when endsWithSlash => (EntryType.Directory, false), // v7 had no type for directories but the slash
            0 or (byte)'0' or (byte)'7' or (byte)'S' => (EntryType.File, true),
            (byte)'1' => (EntryType.HardLink, false),
            (byte)'2' => (EntryType.Symlink, false),
            (byte)'3' => (EntryType.CharacterDevice, false),
            (byte)'4' => (EntryType.BlockDevice, false),
            (byte)'5' => (EntryType.Directory, false),
            (byte)'6' => (EntryType.Fifo, false),
            (byte)'D' => (EntryType.Directory, true), // GNU: with a list of names, which is skipped
            _ => ((EntryType?)null, true),
        };
        if (!hasContent)
        {
            size = 0;
        }
        if (size < 0 || size > long.MaxValue - _position - TarHeader.BlockSize)
        {
            throw new InvalidDataException($"the size {size} of {TarText.Quote(member.Path)} is impossible");
        }
        member.Type = type ?? EntryType.File;
        member.SkipReason = type is not null ? null
            : flag == 'V' ? "it is a volume label"
            : $"its tar type '{(flag is > 32 and < 127 ? ((char)flag).ToString() : $"\\x{flag:x2}")}' is not a kind of file that an image can have (sockets, for example, are made by running programs)";
        member.Pax = pax is { XattrCount: > 0 } ? pax : null;
        member.DataOffset = _position;
        member.Size = type == EntryType.File ? size : 0;
        member.SparseMap = null;
        if (member.SkipReason is null)
        {
            ReadAttributes(header, pax);
        }
        (_hasLocal, _hasLongName, _hasLongLink) = (false, false, false);
        BeginContent(State.Content, size);
        return !(flag == 'S' || pax?.Sparse.IsPresent == true) || BeginSparse(header, pax?.Sparse);
    }

    /// <summary>The content is not the file's bytes: there is a map. True when it has been read already.</summary>
    private bool BeginSparse(TarHeader header, PaxSparse? records)
    {
        bool isOld = header.TypeFlag == 'S';
        if (Member.Type != EntryType.File || Member.SkipReason is not null || (isOld && records?.IsPresent == true))
        {
            throw new InvalidDataException($"{TarText.Quote(Member.Path)} {(isOld ? "has two sparse maps" : "has a sparse map but is not a file")}");
        }
        switch (isOld ? null : records!.HasMapInContent)
        {
            case null when isOld:
                return !_sparse.BeginOld(Member, header) ? EndSparse() : AwaitSparseMap();
            case false:
                _sparse.ReadRecords(Member, records!);
                return EndSparse();
            case true:
                _sparse.BeginBlocks(Member, records!);
                return AwaitSparseMap();
            default:
                throw new NotSupportedException($"{TarText.Quote(Member.Path)} is a GNU sparse file of an unknown version");
        }
    }

    private bool AwaitSparseMap()
    {
        _state = State.SparseMap;
        return false;
    }

    /// <summary>A block of the map: of a 1.0 file it is part of the content, of an old one it is not.</summary>
    private bool ReadSparseMap(ReadOnlySpan<byte> block)
    {
        if (_sparse.IsInContent)
        {
            if (_left - _padding < TarHeader.BlockSize)
            {
                throw new InvalidDataException($"the sparse map of {TarText.Quote(Member.Path)} does not end");
            }
            _left -= TarHeader.BlockSize;
        }
        return !_sparse.ReadBlock(block) && EndSparse();
    }

    private bool EndSparse()
    {
        // The blocks of an old map came in between since the size was found possible.
        if (_left > long.MaxValue - _position)
        {
            throw new InvalidDataException($"the size {_left - _padding} of {TarText.Quote(Member.Path)} is impossible");
        }
        Member.DataOffset = _position;
        Member.SparseMap = _sparse.Build(_left - _padding);
        _state = _left == 0 ? State.Header : State.Content;
        return true;
    }

    private void ReadNames(TarHeader header, PaxAttributes? pax)
    {
        ByteBuffer path = Member.PathBuffer;
        if (pax is { Sparse.Name.IsEmpty: false })
        {
            path.Set(pax.Sparse.Name);
        }
        else if (_hasLongName)
        {
            path.Set(_longName.Bytes);
        }
        else if (pax is { HasPath: true })
        {
            path.Set(pax.Path);
        }
        else
        {
            path.Set(header.Prefix);
            if (path.Length > 0)
            {
                path.Append((byte)'/');
            }
            path.Append(header.FileName);
        }
        Member.LinkBuffer.Set(_hasLongLink ? _longLink.Bytes : pax is { HasLinkPath: true } ? pax.LinkPath : header.LinkName);
    }

    private void ReadAttributes(TarHeader header, PaxAttributes? pax)
    {
        TarMember member = Member;
        member.Mode = TarMember.ModeOf(header.Mode);
        member.Uid = Id(pax?.Uid ?? header.Uid, "uid");
        member.Gid = Id(pax?.Gid ?? header.Gid, "gid");
        (member.MtimeSeconds, member.MtimeNanoseconds) = pax?.Mtime ?? (header.Mtime, 0);
        bool isDevice = member.Type is EntryType.CharacterDevice or EntryType.BlockDevice;
        member.DeviceMajor = isDevice ? TarMember.DeviceMajorOf(header.DeviceMajor) : 0;
        member.DeviceMinor = isDevice ? TarMember.DeviceMinorOf(header.DeviceMinor) : 0;
    }

    private uint Id(long value, string what)
        => TarMember.IdOf(value) ?? throw new InvalidDataException($"the {what} {value} of {TarText.Quote(Member.Path)} does not fit 32 bits");

    private void BeginContent(State state, long size)
    {
        _padding = (int)(-size & (TarHeader.BlockSize - 1));
        _left = size + _padding;
        _state = _left == 0 ? State.Header : state;
        Debug.Assert(_left >= 0);
    }

    private static ReadOnlySpan<byte> UpToZero(ReadOnlySpan<byte> bytes)
    {
        int end = bytes.IndexOf((byte)0);
        return end < 0 ? bytes : bytes[..end];
    }
}
