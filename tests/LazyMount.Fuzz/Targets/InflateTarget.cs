using System.Buffers.Binary;
using System.IO.Compression;
using System.IO.Hashing;
using LazyMount.Compression;
using Decompressor = LazyMount.Compression.Decompressor;

namespace LazyMount.Fuzz.Targets;

/// <summary>
/// gzip as layers are decoded, against System.IO.Compression: what that accepts must give the same bytes, what it refuses
/// must be refused, whatever pieces the stream comes in; and decoding from every checkpoint must give the same rest.
/// The first byte chooses the pieces, and whether the input is a gzip file or a bare DEFLATE stream: that is put into a
/// member with the right checksum, which no fuzzer would guess.
/// </summary>
internal static class InflateTarget
{
    // More would only be slow: a window is 32 KiB and the decoder's buffer 256.
    private const int MaxOutput = 600 << 10;

    /// <param name="Output">What was handed out.</param>
    /// <param name="IsWhole">Decoded to its end or to the error, not cut at <see cref="MaxOutput"/>.</param>
    /// <param name="Error">Why it was refused.</param>
    /// <param name="Checkpoints">That were taken.</param>
    private readonly record struct Outcome(byte[] Output, bool IsWhole, string? Error, List<Checkpoint> Checkpoints)
    {
        public override string ToString() => $"{Output.Length} bytes{(IsWhole ? "" : " and more")}, {Error ?? "accepted"}";
    }

    public static void Run(byte[] input)
    {
        var reader = new InputReader(input);
        byte flags = reader.Byte();
        int pieceSize = (flags & 0x7F) is 0 ? int.MaxValue : (flags & 0x7F) * (flags & 0x7F);
        byte[] rest = reader.Rest.ToArray();
        RunGzip((flags & 0x80) != 0 ? rest : InMember(rest), pieceSize);
    }

    private static void RunGzip(byte[] gzip, int pieceSize)
    {
        Outcome ours = Decode(() => Decompressor.Start(CompressionFormat.Gzip, 32 << 10), gzip, pieceSize);
        Outcome whole = Decode(() => Decompressor.Start(CompressionFormat.Gzip), gzip, int.MaxValue);
        FuzzException.Require(Agree(ours, whole), $"pieces or checkpoints change the result from {whole} to {ours}");
        Outcome control = Control(gzip);
        FuzzException.Require(Agree(ours, control) || IsKnownDifference(gzip, ours, control), $"{ours} is not the control's {control}");

        // Of a stream that was refused some may stand beyond the last byte that was handed out; nobody uses them.
        foreach (Checkpoint checkpoint in ours.Checkpoints.Where(checkpoint => checkpoint.UncompressedOffset <= ours.Output.Length))
        {
            byte[] tail = gzip[(int)checkpoint.CompressedOffset..];
            Outcome resumed = Decode(() => Decompressor.Resume(CompressionFormat.Gzip, checkpoint), tail, pieceSize);
            ReadOnlySpan<byte> expected = ours.Output.AsSpan((int)checkpoint.UncompressedOffset);
            int both = Math.Min(expected.Length, resumed.Output.Length);
            FuzzException.Require(expected[..both].SequenceEqual(resumed.Output.AsSpan(0, both)), $"resumed at {checkpoint}: other bytes");
            FuzzException.Require(ours is not { IsWhole: true, Error: null } || (resumed.Error is null && both == expected.Length), $"resumed at {checkpoint}: {resumed.Error}");
        }
    }

    // How much comes out of a stream before it is refused is not said; and a refusal may lie beyond what was decoded.
    private static bool Agree(in Outcome a, in Outcome b)
    {
        int both = Math.Min(a.Output.Length, b.Output.Length);
        bool accepted = a.Error is null && b.Error is null;
        return a.Output.AsSpan(0, both).SequenceEqual(b.Output.AsSpan(0, both))
            && (accepted ? a.Output.Length == b.Output.Length : !a.IsWhole || !b.IsWhole || a.Error is null == b.Error is null);
    }

    // Ours ignores whatever follows a member unless it begins with both bytes of the magic, as GNU gzip does.
    private static bool IsKnownDifference(byte[] gzip, in Outcome ours, in Outcome control)
        => ours is { IsWhole: true, Error: null } && control.Error is not null
            && control.Output.Length == ours.Output.Length && gzip.AsSpan(1).Contains((byte)0x1F);

    private static Outcome Decode(Func<Decompressor> start, byte[] gzip, int pieceSize)
    {
        using Decompressor decompressor = start();
        using var output = new MemoryStream();
        var checkpoints = new List<Checkpoint>();
        string? error = null;
        bool isWhole = true;
        try
        {
            for (int at = 0; at < gzip.Length && isWhole;)
            {
                int length = Math.Min(pieceSize, gzip.Length - at);
                decompressor.Push(gzip.AsSpan(at, length).ToArray()); // a copy of its own: nothing before or after it to look at
                at += length;
                while (isWhole && decompressor.TryRead(out ReadOnlySpan<byte> run))
                {
                    output.Write(run);
                    isWhole = output.Length < MaxOutput;
                }
            }
            if (isWhole)
            {
                decompressor.Complete();
            }
        }
        catch (InvalidDataException e)
        {
            error = e.Message;
        }
        while (decompressor.TryTakeCheckpoint(out Checkpoint checkpoint))
        {
            FuzzException.Require(checkpoints.Count == 0 || checkpoint.UncompressedOffset > checkpoints[^1].UncompressedOffset, "checkpoints do not ascend");
            checkpoints.Add(checkpoint);
        }
        byte[] bytes = output.ToArray();
        return new Outcome(bytes.Length > MaxOutput ? bytes[..MaxOutput] : bytes, isWhole, error, checkpoints);
    }

    private static Outcome Control(byte[] gzip)
    {
        var output = new byte[MaxOutput];
        int length = 0;
        string? error = null;
        try
        {
            using var stream = new GZipStream(new MemoryStream(gzip), CompressionMode.Decompress);
            for (int read; length < output.Length && (read = stream.Read(output, length, output.Length - length)) > 0; length += read)
            {
            }
            // The control takes an empty file for an empty stream.
            error = gzip.Length == 0 ? "empty" : null;
        }
        catch (InvalidDataException e)
        {
            error = e.Message;
        }
        return new Outcome(output[..length], length < MaxOutput, error, []);
    }

    /// <summary>A gzip member around a DEFLATE stream; what follows the stream is left out. A malformed stream stays as it is.</summary>
    private static byte[] InMember(byte[] deflate)
    {
        using var output = new MemoryStream();
        int position = 0;
        bool ended = false;
        using (var inflater = new Inflater())
        {
            inflater.Start();
            try
            {
                InflateStatus status;
                do
                {
                    status = inflater.Inflate(deflate, ref position);
                    output.Write(inflater.TakeOutput());
                }
                while (status is InflateStatus.OutputFull or InflateStatus.BlockBoundary && output.Length < MaxOutput);
                ended = status == InflateStatus.End;
            }
            catch (InvalidDataException)
            {
            }
        }
        byte[] bytes = output.ToArray();
        byte[] trailer = new byte[8];
        BinaryPrimitives.WriteUInt32LittleEndian(trailer, Crc32.HashToUInt32(bytes));
        BinaryPrimitives.WriteInt32LittleEndian(trailer.AsSpan(4), bytes.Length);
        return [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, .. ended ? deflate[..position] : deflate, .. trailer];
    }

    public static IEnumerable<byte[]> Seeds()
    {
        byte[] text = [.. Enumerable.Range(0, 3000).SelectMany(i => System.Text.Encoding.ASCII.GetBytes($"line {i * 7919 % 1000} of a file\n"))];
        byte[] noise = new byte[2000];
        new Random(1).NextBytes(noise);
        byte[] mixed = [.. text, .. noise, .. new byte[70_000], .. text];
        foreach ((byte[] data, int level, ZLibCompressionStrategy strategy, int flushes) in new[]
        {
            (Array.Empty<byte>(), 6, ZLibCompressionStrategy.Default, 0),
            (text[..500], 6, ZLibCompressionStrategy.Default, 0),
            (text[..500], 6, ZLibCompressionStrategy.Fixed, 2),
            (text[..300], 0, ZLibCompressionStrategy.Default, 0),
            (noise, 6, ZLibCompressionStrategy.HuffmanOnly, 1),
            (mixed, 9, ZLibCompressionStrategy.Default, 8),
            (mixed, 6, ZLibCompressionStrategy.RunLengthEncoding, 3),
            (new byte[200_000], 6, ZLibCompressionStrategy.Default, 6),
        })
        {
            byte[] deflate = Deflate(data, level, strategy, flushes);
            yield return [0, .. deflate];
            yield return [17, .. deflate];
            byte[] member = InMember(deflate);
            yield return [0x80, .. member];
            yield return [0x83, .. member, .. member, 0, 0, 0];
        }
        byte[] small = InMember(Deflate(text[..200], 6, ZLibCompressionStrategy.Default, 0));
        // FEXTRA, FNAME, FCOMMENT and FHCRC: the header checksum is wrong, which is what a fuzzer can change.
        yield return [0x80, 0x1F, 0x8B, 8, 0x1C, 1, 2, 3, 4, 0, 3, 4, 0, (byte)'S', (byte)'G', 0, 0, (byte)'n', 0, (byte)'c', 0, .. small.AsSpan(10)];
        yield return [0x81, 0x1F, 0x8B, 8, 0x02, 0, 0, 0, 0, 0, 3, 0, 0, .. small.AsSpan(10)];
    }

    private static byte[] Deflate(byte[] data, int level, ZLibCompressionStrategy strategy, int flushes)
    {
        using var output = new MemoryStream();
        using (var deflate = new DeflateStream(output, new ZLibCompressionOptions { CompressionLevel = level, CompressionStrategy = strategy }))
        {
            for (int i = 0; i <= flushes; i++)
            {
                deflate.Write(data.AsSpan()[(int)((long)data.Length * i / (flushes + 1))..(int)((long)data.Length * (i + 1) / (flushes + 1))]);
                deflate.Flush();
            }
        }
        return output.ToArray();
    }
}
