using System.Buffers;
using System.Globalization;
using ZstdSharp;
using ZstdSharp.Unsafe;

namespace LazyMount.Compression;

/// <summary>
/// zstd framing (RFC 8878): frames one after another, skippable ones passed over, each checksum verified when there is one.
/// ZstdSharp decodes what lies within a frame; where frames begin is found here, because checkpoints stand there.
/// </summary>
internal sealed class ZstdDecompressor : FramedDecompressor
{
    /// <summary>What <c>zstd -d</c> takes without being told to take more.</summary>
    private const int MaxWindowLog = 27;

    private const int OutputSize = 128 << 10; // a block's most

    private enum State
    {
        Header,
        Frame,
        Skipping,
        Failed,
    }

    private readonly ZstdFrameDecoder _decoder = new();
    private readonly byte[] _output = ArrayPool<byte>.Shared.Rent(OutputSize);
    private readonly byte[] _head = new byte[ZstdFrameHeader.MaxLength];
    private int _headLength;
    private int _headGiven; // to the decoder

    private State _state;
    private bool _decoderHasMore;
    private bool _anyFrame;
    private ulong _toSkip;
    private long _frameStart;

    private bool _disposed;

    public ZstdDecompressor(long checkpointSpacing)
        : base("zstd", checkpointSpacing)
    {
    }

    public ZstdDecompressor(in Checkpoint from)
        : base("zstd", from)
    {
    }

    private protected override bool HasFailed => _state == State.Failed;

    private protected override string? Within => _state switch
    {
        State.Header when _headLength > 0 || !_anyFrame => "a frame's header",
        State.Frame => "a frame",
        State.Skipping => "a skippable frame",
        _ => null,
    };

    public override bool TryRead(out ReadOnlySpan<byte> run)
    {
        try
        {
            int written = Decode();
            run = _output.AsSpan(0, written);
            _taken += written;
            Checkpoints?.Advance(_taken);
            return written > 0;
        }
        catch (Exception e) when (e is ZstdException or InvalidDataException)
        {
            _state = State.Failed;
            throw Corrupt(Reason(e), e);
        }
        catch (NotSupportedException)
        {
            _state = State.Failed;
            throw;
        }
    }

    public override void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        _decoder.Dispose();
        ArrayPool<byte>.Shared.Return(_output);
        base.Dispose();
    }

    /// <summary>Goes on until there is output or the input is consumed.</summary>
    private int Decode()
    {
        ReadOnlySpan<byte> input = Piece.Span;
        while (true)
        {
            switch (_state)
            {
                case State.Header:
                    if (!TryReadHeader(input))
                        return 0;
                    break;

                case State.Frame:
                    if (_headGiven == _headLength && _position == input.Length && !_decoderHasMore)
                        return 0;
                    int written = DecodeFrame(input);
                    if (written > 0)
                        return written;
                    break;

                case State.Skipping:
                    int skipped = (int)Math.Min(_toSkip, (ulong)(input.Length - _position));
                    _position += skipped;
                    _toSkip -= (uint)skipped;
                    if (_toSkip > 0)
                        return 0;
                    BeginHeader();
                    break;

                default:
                    throw new InvalidDataException("it was found to be corrupt before");
            }
        }
    }

    private bool TryReadHeader(ReadOnlySpan<byte> input)
    {
        if (_headLength == 0)
            _frameStart = CompressedOffset;
        int length;
        while ((length = ZstdFrameHeader.Length(_head.AsSpan(0, _headLength))) > _headLength)
        {
            int n = Math.Min(length - _headLength, input.Length - _position);
            if (n == 0)
                return false;
            input.Slice(_position, n).CopyTo(_head.AsSpan(_headLength));
            _position += n;
            _headLength += n;
        }

        var header = ZstdFrameHeader.Parse(_head.AsSpan(0, length));
        _anyFrame = true;
        if (header.Skippable)
        {
            _toSkip = header.WindowSize;
            _state = State.Skipping;
            return true;
        }
        if (header.WindowSize > 1UL << MaxWindowLog)
            throw new NotSupportedException(string.Create(CultureInfo.InvariantCulture, $"its zstd frame at byte {_frameStart} needs a window of {header.WindowSize} bytes, more than the maximum of {1 << MaxWindowLog}; compress it again with --long={MaxWindowLog} or less"));
        if (header.Dictionary != 0)
            throw new NotSupportedException($"its zstd frame at byte {_frameStart} needs the dictionary {header.Dictionary}, which does not come with an image; compress it again without a dictionary");
        OfferStart(_frameStart);
        _decoder.Reset();
        _headGiven = 0;
        _state = State.Frame;
        return true;
    }

    private int DecodeFrame(ReadOnlySpan<byte> input)
    {
        bool head = _headGiven < _headLength;
        ReadOnlySpan<byte> given = head ? _head.AsSpan(_headGiven.._headLength) : input[_position..];
        bool ended = _decoder.Decode(given, _output.AsSpan(0, OutputSize), out int consumed, out int written);
        if (head)
            _headGiven += consumed;
        else
            _position += consumed;
        _decoderHasMore = written == OutputSize;
        if (ended)
            BeginHeader();
        return written;
    }

    private void BeginHeader()
    {
        _headLength = 0;
        _decoderHasMore = false;
        _state = State.Header;
    }

    private static string Reason(Exception e) => e is not ZstdException zstd ? e.Message : zstd.Code switch
    {
        ZSTD_ErrorCode.ZSTD_error_checksum_wrong => "the checksum of a frame does not match its bytes",
        ZSTD_ErrorCode.ZSTD_error_memory_allocation => "there is no memory for its window",
        _ => "a block is malformed",
    };
}
