using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics;

namespace LazyMount.Compression;

/// <summary>Why <see cref="Inflater.Inflate"/> came back.</summary>
internal enum InflateStatus
{
    /// <summary>All input is consumed.</summary>
    NeedInput,

    /// <summary>The output must be taken before decoding can go on.</summary>
    OutputFull,

    /// <summary>A block has ended and another one begins at the next bit: a checkpoint can stand here.</summary>
    BlockBoundary,

    /// <summary>The last block has ended; the rest of its last byte is dropped, the next input byte is not the stream's.</summary>
    End,
}

/// <summary>
/// Decodes a DEFLATE stream (RFC 1951) that arrives in pieces of any size, and stops wherever a piece ends. A malformed
/// stream throws <see cref="InvalidDataException"/> with the rule that it breaks as its message.
///
/// Bits wait in <see cref="_bits"/>, the next one lowest; <see cref="_count"/> says how many. Bytes enter it one at a
/// time and only when a symbol needs them, so that at every block boundary fewer than 8 bits wait there; code that
/// reads ahead returns whole bytes to the input before it leaves (<see cref="ReturnWholeBytes"/>). The higher bits of
/// <see cref="_bits"/> are zero.
///
/// Output goes to one buffer that always keeps the last 32 KiB in front of what is being written, and is moved to the
/// buffer's beginning when the end is reached.
/// </summary>
internal sealed partial class Inflater : IDisposable
{
    /// <summary>The farthest that a back-reference reaches.</summary>
    public const int WindowSize = 32 << 10;

    private const int MaxMatch = 258;

    // 128, 256 and 512 KiB gave 672, 660 and 646 MB/s on a tar of /usr: level within the noise. A power of two, as the
    // pool hands out.
    private const int BufferSize = 256 << 10;

    /// <summary>Symbols are decoded only while the output stands at or before this, so none needs to look at the room that is left.</summary>
    private const int OutputLimit = BufferSize - FastOutputMargin;

    private enum State
    {
        BlockHeader,
        StoredLength,
        Stored,
        CodeCounts,
        CodeLengthCode,
        CodeLengths,
        Symbols,
        End,
    }

    private byte[]? _buffer = ArrayPool<byte>.Shared.Rent(BufferSize);
    private int _historyStart;
    private int _taken;
    private int _out;

    private ulong _bits;
    private int _count;
    private int _bitsToSkip;

    private State _state;
    private bool _finalBlock;
    private int _storedLeft;

    private uint[] _literals = DeflateCodes.FixedLiterals;
    private uint[] _distances = DeflateCodes.FixedDistances;

    private SparseWindow? _window;
    private int _windowEnd;
    private byte[]? _finishedWindow;

    /// <summary>Bits of the last consumed byte that are still to be decoded; fewer than 8 at a block boundary.</summary>
    public int WaitingBits => _count;

    /// <summary>Bytes decoded and not taken.</summary>
    public int Available => _out - _taken;

    /// <summary>Starts a stream at the next input byte.</summary>
    public void Start() => Start(0, default);

    /// <summary>Starts at a block header: bit <paramref name="bit"/> of the next input byte, <paramref name="window"/> being the history.</summary>
    public void Start(int bit, ReadOnlySpan<byte> window)
    {
        Debug.Assert(Available == 0 && _window is null);
        MakeRoom();
        window.CopyTo(_buffer.AsSpan(_out));
        _historyStart = _out;
        _out += window.Length;
        _taken = _out;
        _bits = 0;
        _count = 0;
        _bitsToSkip = bit;
        _state = State.BlockHeader;
        _finalBlock = false;
    }

    /// <summary>All output decoded since the last call; valid until <see cref="Inflate"/> is called.</summary>
    public ReadOnlySpan<byte> TakeOutput()
    {
        ReadOnlySpan<byte> output = _buffer.AsSpan(_taken, _out - _taken);
        _taken = _out;
        return output;
    }

    /// <summary>Begins to record, here at a block boundary, which bytes of the window are needed to decode on from here.</summary>
    public void TrackWindow()
    {
        Debug.Assert(_window is null && _state == State.BlockHeader);
        _window = new SparseWindow();
        _windowEnd = _out;
        _finishedWindow = null;
    }

    /// <summary>Takes the window begun by <see cref="TrackWindow"/> once 32 KiB have been decoded since, or the stream has ended.</summary>
    public bool TryTakeWindow([System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out byte[]? window)
    {
        window = _finishedWindow;
        _finishedWindow = null;
        return window is not null;
    }

    /// <summary>Decodes until something is to be done; <paramref name="position"/> moves over the input consumed.</summary>
    public InflateStatus Inflate(ReadOnlySpan<byte> input, ref int position)
    {
        ObjectDisposedException.ThrowIf(_buffer is null, this);
        if (_out > OutputLimit)
        {
            if (_taken != _out)
                return InflateStatus.OutputFull;
            MakeRoom();
        }

        while (true)
        {
            InflateStatus? status = _state switch
            {
                State.BlockHeader => ReadBlockHeader(input, ref position),
                State.StoredLength => ReadStoredLength(input, ref position),
                State.Stored => CopyStored(input, ref position),
                State.CodeCounts => ReadCodeCounts(input, ref position),
                State.CodeLengthCode => ReadCodeLengthCode(input, ref position),
                State.CodeLengths => ReadCodeLengths(input, ref position),
                State.Symbols => ReadSymbols(input, ref position),
                _ => InflateStatus.End,
            };
            if (_window is not null && (_out - _windowEnd >= WindowSize || _state == State.End))
                FinishWindow();
            if (status is { } known)
                return known;
        }
    }

    public void Dispose()
    {
        if (_buffer is not null)
            ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = null;
    }

    private void FinishWindow()
    {
        _finishedWindow = _window!.ToArray();
        _window = null;
    }

    /// <summary>Moves the history to the buffer's beginning if the buffer is nearly full. All output has been taken.</summary>
    private void MakeRoom()
    {
        if (_out <= OutputLimit - WindowSize)
            return;
        int shift = _out - WindowSize;
        _buffer.AsSpan(shift, WindowSize).CopyTo(_buffer);
        _out = WindowSize;
        _taken = WindowSize;
        _historyStart = Math.Max(0, _historyStart - shift);
        _windowEnd -= shift;
    }

    private InflateStatus? ReadBlockHeader(ReadOnlySpan<byte> input, ref int position)
    {
        if (!TryFill(3 + _bitsToSkip, input, ref position))
            return InflateStatus.NeedInput;
        Drop(_bitsToSkip);
        _bitsToSkip = 0;
        uint header = Drop(3);
        _finalBlock = (header & 1) != 0;
        switch (header >> 1)
        {
            case 0:
                Drop(_count & 7);
                _state = State.StoredLength;
                break;
            case 1:
                _literals = DeflateCodes.FixedLiterals;
                _distances = DeflateCodes.FixedDistances;
                _state = State.Symbols;
                break;
            case 2:
                _state = State.CodeCounts;
                break;
            default:
                throw new InvalidDataException("block type 3 is reserved");
        }
        return null;
    }

    private InflateStatus? ReadStoredLength(ReadOnlySpan<byte> input, ref int position)
    {
        if (!TryFill(32, input, ref position))
            return InflateStatus.NeedInput;
        uint length = Drop(16);
        if (length != (Drop(16) ^ 0xFFFF))
            throw new InvalidDataException("the length of a stored block does not match its complement");
        _storedLeft = (int)length;
        _state = State.Stored;
        return null;
    }

    private InflateStatus? CopyStored(ReadOnlySpan<byte> input, ref int position)
    {
        int n = Math.Min(Math.Min(_storedLeft, input.Length - position), BufferSize - _out);
        input.Slice(position, n).CopyTo(_buffer.AsSpan(_out));
        position += n;
        _out += n;
        _storedLeft -= n;
        if (_storedLeft == 0)
            return EndBlock();
        return position == input.Length ? InflateStatus.NeedInput : InflateStatus.OutputFull;
    }

    private InflateStatus? ReadSymbols(ReadOnlySpan<byte> input, ref int position)
    {
        while (true)
        {
            if (_out > OutputLimit)
                return InflateStatus.OutputFull;
            if (_window is not null && _out - _windowEnd >= WindowSize)
                return null;
            Stop stop = _count < 8 && input.Length - position >= FastInputMargin
                ? _window is null
                    ? DecodeFast<Untracked>(input, ref position, OutputLimit)
                    : DecodeFast<Tracked>(input, ref position, Math.Min(OutputLimit, _windowEnd + WindowSize - 1))
                : DecodeSymbol(input, ref position);
            switch (stop)
            {
                case Stop.Margin:
                    break;
                case Stop.InputEnd:
                    return InflateStatus.NeedInput;
                case Stop.EndOfBlock:
                    return EndBlock();
                case Stop.UndefinedLiteral:
                    throw new InvalidDataException("there is no literal or length with this code");
                case Stop.UndefinedDistance:
                    throw new InvalidDataException("there is no distance with this code");
                default:
                    throw new InvalidDataException("a distance reaches back before the beginning of the stream");
            }
        }
    }

    private InflateStatus EndBlock()
    {
        if (!_finalBlock)
        {
            _state = State.BlockHeader;
            return InflateStatus.BlockBoundary;
        }
        Drop(_count);
        _state = State.End;
        return InflateStatus.End;
    }

    /// <summary>Decodes one literal or one length with its distance, taking no more input than that.</summary>
    private Stop DecodeSymbol(ReadOnlySpan<byte> input, ref int position)
    {
        // Nothing is dropped before the whole symbol is there (48 bits at most), so running out of input leaves no
        // state but the bits. An entry found with too few bits may be the wrong one, but never asks for fewer bits
        // than the right one would: codes are prefix-free.
        while (true)
        {
            uint entry = Look(_literals, DeflateCodes.LiteralTableBits, _bits, out int used);
            if (used <= _count)
            {
                if ((entry & HuffmanTable.Literal) != 0)
                {
                    Drop(used);
                    _buffer![_out++] = (byte)(entry >> 16);
                    return Stop.Margin;
                }
                if ((entry & HuffmanTable.Exceptional) != 0)
                {
                    if ((entry & HuffmanTable.EndOfBlock) == 0)
                        return Stop.UndefinedLiteral;
                    Drop(used);
                    return Stop.EndOfBlock;
                }
                uint far = Look(_distances, DeflateCodes.DistanceTableBits, _bits >> used, out int usedByDistance);
                if (used + usedByDistance <= _count)
                {
                    if ((far & HuffmanTable.Exceptional) != 0)
                        return Stop.UndefinedDistance;
                    int length = Value(entry, _bits, used);
                    Drop(used);
                    int distance = Value(far, _bits, usedByDistance);
                    Drop(usedByDistance);
                    return CopyMatch(length, distance) ? Stop.Margin : Stop.TooFar;
                }
            }
            if (position == input.Length)
                return Stop.InputEnd;
            _bits |= (ulong)input[position++] << _count;
            _count += 8;
        }
    }

    /// <summary>The entry that <paramref name="bits"/> begin with, through the sub-table if it has one; <paramref name="used"/> are all bits that it stands for.</summary>
    private static uint Look(uint[] table, int tableBits, ulong bits, out int used)
    {
        uint entry = table[(int)bits & ((1 << tableBits) - 1)];
        used = 0;
        if ((entry & HuffmanTable.SubTable) != 0)
        {
            used = tableBits;
            int index = (int)(bits >> tableBits) & ((1 << (int)(entry >> 8 & 0xF)) - 1);
            entry = table[(int)(entry >> 16) + index];
        }
        used += (byte)entry;
        return entry;
    }

    /// <summary>Base plus extra bits; <paramref name="used"/> as <see cref="Look"/> found it.</summary>
    private static int Value(uint entry, ulong bits, int used)
    {
        int extraBits = (byte)entry - (int)(entry >> 8 & 0xF);
        return (int)(entry >> 16) + ((int)(bits >> (used - extraBits)) & ((1 << extraBits) - 1));
    }

    private bool CopyMatch(int length, int distance)
    {
        if (distance > _out - _historyStart)
            return false;
        int from = _out - distance;
        if (_window is not null && from < _windowEnd)
            KeepReached(from, length);
        Span<byte> buffer = _buffer;
        for (int i = 0; i < length; i++)
            buffer[_out + i] = buffer[from + i];
        _out += length;
        return true;
    }

    private void KeepReached(int from, int length)
    {
        int distance = _windowEnd - from;
        _window!.Keep(_buffer.AsSpan(from, Math.Min(length, distance)), distance);
    }

    /// <summary>Takes input until <paramref name="n"/> bits wait (56 at most).</summary>
    private bool TryFill(int n, ReadOnlySpan<byte> input, ref int position)
    {
        while (_count < n)
        {
            if (position == input.Length)
                return false;
            _bits |= (ulong)input[position++] << _count;
            _count += 8;
        }
        return true;
    }

    /// <summary>Takes as many bytes as fit, with 8 bytes of input at hand. Owes a <see cref="ReturnWholeBytes"/>.</summary>
    private void FillAhead(ReadOnlySpan<byte> input, ref int position)
    {
        int bytes = (63 - _count) >> 3;
        ulong next = BinaryPrimitives.ReadUInt64LittleEndian(input[position..]);
        _bits |= (next & ((1UL << (8 * bytes)) - 1)) << _count;
        position += bytes;
        _count += 8 * bytes;
    }

    /// <summary>
    /// Gives the whole bytes among the waiting bits back to the input. They are this piece's: a piece that ends within
    /// a symbol leaves fewer bits than the symbol has, so the next one uses them up before anything else.
    /// </summary>
    private void ReturnWholeBytes(ref int position)
    {
        Debug.Assert(position >= _count >> 3);
        position -= _count >> 3;
        _count &= 7;
        _bits &= (1UL << _count) - 1;
    }

    private uint Drop(int n)
    {
        uint dropped = (uint)_bits & (uint)((1UL << n) - 1);
        _bits >>= n;
        _count -= n;
        return dropped;
    }
}
