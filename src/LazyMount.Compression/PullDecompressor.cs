using System.Diagnostics.CodeAnalysis;

namespace LazyMount.Compression;

/// <summary>A decoder that reads its input when it needs it.</summary>
internal interface IPullDecoder : IDisposable
{
    /// <summary>Fills the buffer as far as it can; 0 at the end, when whatever follows in the input is to be ignored.</summary>
    /// <exception cref="InvalidDataException">Malformed or cut off; the message is a clause.</exception>
    /// <exception cref="NotSupportedException">Sound, but not to be decoded.</exception>
    int Read(byte[] buffer);
}

/// <summary>
/// Lets a decoder that pulls be pushed to, for the rare formats: it runs in a thread of its own, in turns with the caller, one
/// waiting while the other runs. The one checkpoint is the start.
/// </summary>
internal sealed class PullDecompressor : Decompressor
{
    private const int OutputSize = 128 << 10;

    private readonly string _name;
    private readonly Func<PushedStream, IPullDecoder> _create;
    private readonly byte[] _output = new byte[OutputSize];
    private readonly SemaphoreSlim _decodersTurn = new(0), _callersTurn = new(0);
    private PushedStream? _input;
    private Thread? _thread;

    // Written by the one whose turn it is.
    private ReadOnlyMemory<byte> _piece;
    private bool _wantsInput = true;
    private bool _inputEnded, _ended, _abandoned;
    private int _written;
    private Exception? _failure;

    private long _pieceEnd;
    private long _taken;
    private bool _checkpointTaken;

    /// <param name="name">The format, for messages.</param>
    /// <param name="create">Makes the decoder; called in its thread.</param>
    public PullDecompressor(string name, Func<PushedStream, IPullDecoder> create)
    {
        _name = name;
        _create = create;
    }

    public override long UncompressedOffset => _taken;

    public override long CompressedOffset => _ended || _input is null ? _pieceEnd : _input.Position;

    public override void Push(ReadOnlyMemory<byte> compressed)
    {
        if (!_wantsInput)
            throw new InvalidOperationException("The last piece has not been read to its end.");
        if (compressed.IsEmpty)
            return;
        _pieceEnd += compressed.Length;
        _piece = _ended ? default : compressed;
        _wantsInput = _ended;
    }

    public override bool TryRead(out ReadOnlySpan<byte> run)
    {
        if (_failure is not null)
            throw new InvalidDataException($"its {_name} stream was found to be corrupt before");
        _written = 0;
        if (!_ended && (!_wantsInput || _inputEnded))
            RunDecoder();
        run = _output.AsSpan(0, _written);
        _taken += _written;
        return _written > 0;
    }

    /// <summary>Says that the blob has ended. The last run may come only now, and with it the news that the stream is cut off.</summary>
    public override void Complete()
    {
        if (!_wantsInput && !_ended)
            throw new InvalidOperationException("The last piece has not been read to its end.");
        if (_failure is not null)
            throw new InvalidDataException($"its {_name} stream was found to be corrupt before");
        _inputEnded = true;
    }

    public override bool TryTakeCheckpoint(out Checkpoint checkpoint)
    {
        checkpoint = new Checkpoint(0, 0, 0, AtMemberStart: true, default);
        bool first = !_checkpointTaken;
        _checkpointTaken = true;
        return first;
    }

    public override void Dispose()
    {
        if (_thread is { IsAlive: true })
        {
            _abandoned = true;
            _decodersTurn.Release();
            _thread.Join();
        }
        _decodersTurn.Dispose();
        _callersTurn.Dispose();
        _piece = default;
    }

    private void RunDecoder()
    {
        if (_thread is null)
        {
            _thread = new Thread(Decode) { IsBackground = true, Name = _name };
            _thread.Start();
        }
        _decodersTurn.Release();
        _callersTurn.Wait();
        if (_failure is NotSupportedException unsupported)
            throw unsupported;
        if (_failure is not null)
        {
            throw new InvalidDataException(_inputEnded && _input!.Position >= _pieceEnd
                ? $"its {_name} stream is cut off at byte {_pieceEnd}"
                : $"its {_name} stream is corrupt near byte {CompressedOffset}: {(_failure as InvalidDataException)?.Message ?? "its data is malformed"}", _failure);
        }
    }

    [SuppressMessage("Design", "CA1031", Justification = "told to the caller; a decoder that is not ours throws what it likes for corrupt input")]
    private void Decode()
    {
        _decodersTurn.Wait();
        try
        {
            _input = new PushedStream(NextPiece);
            using IPullDecoder decoder = _create(_input);
            int written;
            while ((written = decoder.Read(_output)) > 0)
            {
                _written = written;
                _callersTurn.Release();
                _decodersTurn.Wait();
                if (_abandoned)
                    return;
            }
        }
        catch (Exception e)
        {
            if (_abandoned)
                return;
            _failure = e;
        }
        _ended = true;
        _wantsInput = true;
        _callersTurn.Release();
    }

    private ReadOnlyMemory<byte> NextPiece()
    {
        if (_piece.IsEmpty && !_inputEnded)
        {
            _wantsInput = true;
            _callersTurn.Release();
            _decodersTurn.Wait();
            if (_abandoned)
                throw new OperationCanceledException();
        }
        ReadOnlyMemory<byte> piece = _piece;
        _piece = default;
        return piece;
    }
}
