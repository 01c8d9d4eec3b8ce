using System.Buffers.Binary;
using System.IO.Hashing;

namespace LazyMount.Compression;

/// <summary>
/// gzip framing (RFC 1952): members one after another, the checksum and size of each verified unless decoding began in
/// its middle. What follows the last member is ignored if it does not begin like another, as GNU gzip does.
/// </summary>
internal sealed class GzipDecompressor : FramedDecompressor
{
    /// <summary>CRC-32 and size modulo 2^32 of the uncompressed bytes, both little-endian.</summary>
    private const int TrailerLength = 8;

    private enum State
    {
        Header,
        Body,
        Trailer,
        BetweenMembers,
        Ignoring,
        Failed,
    }

    private readonly Inflater _inflater = new();

    private State _state;
    private GzipHeader _header;
    private long _memberStart;

    private readonly Crc32 _crc = new();
    private bool _verify;
    private long _memberLength;

    private readonly byte[] _trailer = new byte[TrailerLength];
    private int _trailerRead;
    private bool _magic1Read;

    public GzipDecompressor(long checkpointSpacing)
        : base("gzip", checkpointSpacing)
    {
    }

    public GzipDecompressor(in Checkpoint from)
        : base("gzip", from)
    {
        if (from.AtMemberStart)
            return;
        _inflater.Start(from.Bit, from.Window.Span);
        _state = State.Body;
    }

    private long DecodedOffset => _taken + _inflater.Available;

    private protected override bool HasFailed => _state == State.Failed;

    private protected override string? Within => _state switch
    {
        State.Header => "a member's header",
        State.Body => "a member's compressed data",
        State.Trailer => "a member's checksum and size",
        _ => null,
    };

    public override bool TryRead(out ReadOnlySpan<byte> run)
    {
        try
        {
            Decode();
        }
        catch (InvalidDataException e)
        {
            _state = State.Failed;
            throw Corrupt(e.Message, e);
        }

        run = _inflater.TakeOutput();
        if (_verify)
            _crc.Append(run);
        _memberLength += run.Length;
        _taken += run.Length;
        return !run.IsEmpty;
    }

    public override void Dispose()
    {
        _inflater.Dispose();
        base.Dispose();
    }

    /// <summary>Goes on until the input is consumed, the output is full, or a member ends whose last output must be taken first.</summary>
    private void Decode()
    {
        ReadOnlySpan<byte> input = Piece.Span;
        while (true)
        {
            switch (_state)
            {
                case State.Header:
                    if (!_header.TryPass(input, ref _position))
                        return;
                    BeginMember();
                    break;

                case State.Body:
                    InflateStatus status = _inflater.Inflate(input, ref _position);
                    if (Checkpoints is not null)
                        RecordCheckpoint(status);
                    if (status == InflateStatus.BlockBoundary)
                        break;
                    if (status != InflateStatus.End)
                        return;
                    _state = State.Trailer;
                    _trailerRead = 0;
                    break;

                case State.Trailer:
                    // The checksum is that of the output taken.
                    if (_inflater.Available > 0)
                        return;
                    int n = Math.Min(TrailerLength - _trailerRead, input.Length - _position);
                    input.Slice(_position, n).CopyTo(_trailer.AsSpan(_trailerRead));
                    _position += n;
                    _trailerRead += n;
                    if (_trailerRead < TrailerLength)
                        return;
                    CheckTrailer();
                    _magic1Read = false;
                    _state = State.BetweenMembers;
                    break;

                case State.BetweenMembers:
                    if (!TryFindMember(input))
                        return;
                    break;

                case State.Ignoring:
                    _position = input.Length;
                    return;

                default:
                    throw new InvalidDataException("it was found to be corrupt before");
            }
        }
    }

    private void BeginMember()
    {
        _inflater.Start();
        _crc.Reset();
        _verify = true;
        _memberLength = 0;
        _state = State.Body;
        OfferStart(_memberStart);
    }

    private void RecordCheckpoint(InflateStatus status)
    {
        CheckpointRecorder checkpoints = Checkpoints!;
        checkpoints.Advance(DecodedOffset);
        if (_inflater.TryTakeWindow(out byte[]? window))
            checkpoints.SetWindow(window, DecodedOffset);
        if (status == InflateStatus.BlockBoundary && checkpoints.Wants(DecodedOffset))
        {
            int waiting = _inflater.WaitingBits;
            checkpoints.Add(new Checkpoint(CompressedOffset - (waiting > 0 ? 1 : 0), (byte)(-waiting & 7), DecodedOffset, AtMemberStart: false, default));
            _inflater.TrackWindow();
        }
    }

    private void CheckTrailer()
    {
        if (!_verify)
            return;
        if (BinaryPrimitives.ReadUInt32LittleEndian(_trailer) != _crc.GetCurrentHashAsUInt32())
            throw new InvalidDataException("the checksum of a member does not match its bytes");
        if (BinaryPrimitives.ReadUInt32LittleEndian(_trailer.AsSpan(4)) != (uint)_memberLength)
            throw new InvalidDataException("the size of a member does not match its bytes");
    }

    /// <summary>Looks for the magic of another member; anything else is padding or garbage, to the end of the blob.</summary>
    private bool TryFindMember(ReadOnlySpan<byte> input)
    {
        if (_position == input.Length)
            return false;
        byte value = input[_position];
        if (!_magic1Read && value == GzipHeader.Magic1)
        {
            _memberStart = CompressedOffset;
            _position++;
            _magic1Read = true;
        }
        else if (_magic1Read && value == GzipHeader.Magic2)
        {
            _position++;
            _header = GzipHeader.AfterMagic();
            _state = State.Header;
        }
        else
        {
            _state = State.Ignoring;
        }
        return true;
    }
}
