using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LazyMount.Compression;

/// <summary>
/// The hot loop, and the only unsafe code of the decoder. It checks the format's rules but no bounds; these hold because
/// - input: a turn is begun only with <see cref="FastInputMargin"/> bytes left, and refills at most three times, each
///   time reading 8 bytes and moving on by 7 at most;
/// - output: a turn is begun only at or before a limit that leaves <see cref="FastOutputMargin"/> bytes, and writes at
///   most three literals, or two and a match, and <see cref="CopyOverrun"/> bytes beyond its end;
/// - history: a match begins at or after <see cref="_historyStart"/>, checked for each, and reads no farther than it writes;
/// - tables: an index is masked to the main table, which <see cref="HuffmanTable.Build"/> has filled, and a sub-table's to
///   the sub-table's size, which lies within the table.
///
/// On a tar of /usr (220 MB, gzip -6; medians of CPU time, busy machine) it gives 1.30 to 1.41 times the throughput of
/// DeflateStream under the JIT, 1.19 times compiled ahead of time for any x64 and 1.22 times for x86-64-v3, without
/// which ILC leaves out BMI2. Indexes are unsigned to keep sign extension off the critical path: 8 % faster in the
/// median of four pairs of runs (-1 to 15 %).
/// </summary>
internal sealed unsafe partial class Inflater
{
    private const int FastInputMargin = 3 * sizeof(ulong);
    private const int CopyOverrun = 32;
    private const int FastOutputMargin = 3 + MaxMatch + CopyOverrun;

    /// <summary>Why decoding of symbols stopped.</summary>
    private enum Stop
    {
        Margin,
        InputEnd,
        EndOfBlock,
        UndefinedLiteral,
        UndefinedDistance,
        TooFar,
    }

    /// <summary>Whether matches that reach into a window under way are recorded: a type argument, so that the loop without costs nothing.</summary>
    private struct Tracked;

    /// <inheritdoc cref="Tracked"/>
    private struct Untracked;

    /// <summary>
    /// Decodes symbols while the margins last. Needs fewer than 8 waiting bits, <see cref="FastInputMargin"/> bytes of
    /// input, and the output at or before <paramref name="outputLimit"/>, itself not beyond <see cref="OutputLimit"/>.
    /// </summary>
    private Stop DecodeFast<TTracking>(ReadOnlySpan<byte> input, ref int position, int outputLimit)
        where TTracking : struct
    {
        Debug.Assert(_count < 8 && input.Length - position >= FastInputMargin && _out <= outputLimit && outputLimit <= OutputLimit);
        const ulong LiteralMask = (1 << DeflateCodes.LiteralTableBits) - 1;
        const ulong DistanceMask = (1 << DeflateCodes.DistanceTableBits) - 1;

        Stop stop = Stop.Margin;
        fixed (byte* inputStart = input, buffer = _buffer)
        fixed (uint* literals = _literals, distances = _distances)
        {
            byte* next = inputStart + position;
            byte* inputLimit = inputStart + input.Length - FastInputMargin;
            byte* output = buffer + _out;
            byte* limit = buffer + outputLimit;
            byte* historyStart = buffer + _historyStart;

            // Entries are subtracted from the count whole: only its low byte is meant.
            ulong bits = _bits;
            uint count = (uint)_count;

            // 56 bits wait after a refill. A turn uses at most 11 + 11 + (11 + 4 + 5) of them before the distance is
            // looked up with 8 more, and a distance 15 + 13.
            Refill(ref bits, ref count, ref next);
            uint entry = literals[bits & LiteralMask];
            do
            {
                ulong saved = bits;
                bits >>= (int)entry;
                count -= entry;
                if ((int)entry < 0)
                {
                    *output++ = (byte)(entry >> 16);
                    entry = literals[bits & LiteralMask];
                    saved = bits;
                    bits >>= (int)entry;
                    count -= entry;
                    if ((int)entry < 0)
                    {
                        *output++ = (byte)(entry >> 16);
                        entry = literals[bits & LiteralMask];
                        saved = bits;
                        bits >>= (int)entry;
                        count -= entry;
                        if ((int)entry < 0)
                        {
                            *output++ = (byte)(entry >> 16);
                            Refill(ref bits, ref count, ref next);
                            entry = literals[bits & LiteralMask];
                            continue;
                        }
                    }
                }

                if ((entry & HuffmanTable.Exceptional) != 0)
                {
                    if ((entry & HuffmanTable.SubTable) != 0)
                    {
                        entry = literals[(entry >> 16) + ((uint)bits & ((1u << (int)(entry >> 8 & 0xF)) - 1))];
                        saved = bits;
                        bits >>= (int)entry;
                        count -= entry;
                        if ((int)entry < 0)
                        {
                            *output++ = (byte)(entry >> 16);
                            Refill(ref bits, ref count, ref next);
                            entry = literals[bits & LiteralMask];
                            continue;
                        }
                    }
                    if ((entry & HuffmanTable.Exceptional) != 0)
                    {
                        stop = (entry & HuffmanTable.EndOfBlock) != 0 ? Stop.EndOfBlock : Stop.UndefinedLiteral;
                        break;
                    }
                }
                uint length = (entry >> 16) + (uint)(LowBits(saved, entry) >> (int)(entry >> 8));

                entry = distances[bits & DistanceMask];
                if ((byte)count < 28)
                    Refill(ref bits, ref count, ref next);
                if ((entry & HuffmanTable.Exceptional) != 0)
                {
                    if ((entry & HuffmanTable.SubTable) == 0)
                    {
                        stop = Stop.UndefinedDistance;
                        break;
                    }
                    bits >>= DeflateCodes.DistanceTableBits;
                    count -= DeflateCodes.DistanceTableBits;
                    entry = distances[(entry >> 16) + ((uint)bits & ((1u << (int)(entry >> 8 & 0xF)) - 1))];
                    if ((entry & HuffmanTable.Exceptional) != 0)
                    {
                        stop = Stop.UndefinedDistance;
                        break;
                    }
                }
                saved = bits;
                bits >>= (int)entry;
                count -= entry;
                uint distance = (entry >> 16) + (uint)(LowBits(saved, entry) >> (int)(entry >> 8));
                if (distance > output - historyStart)
                {
                    stop = Stop.TooFar;
                    break;
                }

                // The next entry is on its way while the match is copied.
                Refill(ref bits, ref count, ref next);
                entry = literals[bits & LiteralMask];

                byte* from = output - distance;
                if (typeof(TTracking) == typeof(Tracked) && from < buffer + _windowEnd)
                    KeepReached((int)(from - buffer), (int)length);
                byte* end = output + length;
                if (distance >= 16)
                {
                    Vector128.Store(Vector128.Load(from), output);
                    Vector128.Store(Vector128.Load(from + 16), output + 16);
                    for (int done = 32; done < (int)length; done += 16)
                        Vector128.Store(Vector128.Load(from + done), output + done);
                }
                else if (distance == 1)
                {
                    Vector128<byte> splat = Vector128.Create(*from);
                    do
                    {
                        Vector128.Store(splat, output);
                        output += 16;
                    }
                    while (output < end);
                }
                else
                {
                    // 8 bytes are stored, but only the first `distance` of them are sure to be right.
                    uint step = Math.Min(distance, 8);
                    do
                    {
                        Unsafe.WriteUnaligned(output, Unsafe.ReadUnaligned<ulong>(from));
                        from += step;
                        output += step;
                    }
                    while (output < end);
                }
                output = end;
            }
            while (next <= inputLimit && output <= limit);

            _bits = bits;
            _count = (byte)count;
            position = (int)(next - inputStart);
            _out = (int)(output - buffer);
        }
        ReturnWholeBytes(ref position);
        return stop;
    }

    /// <summary>
    /// Fills up to 56 to 63 waiting bits. What stands above them is the beginning of the byte at <paramref name="next"/>,
    /// which the next refill adds once more, unchanged.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Refill(ref ulong bits, ref uint count, ref byte* next)
    {
        ulong load = Unsafe.ReadUnaligned<ulong>(next);
        if (!BitConverter.IsLittleEndian)
            load = System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(load);
        bits |= load << (int)count;
        next += 7 - (count >> 3 & 7);
        count |= 56;
    }

    /// <summary>As many bits as the low byte of <paramref name="entry"/> says.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong LowBits(ulong bits, uint entry)
        => Bmi2.X64.IsSupported ? Bmi2.X64.ZeroHighBits(bits, entry) : bits & ((1UL << (int)entry) - 1);
}
