using System.Buffers;
using System.IO.Compression;
using System.IO.Hashing;
using System.Runtime.CompilerServices;
using CsCheck;
using LazyMount.Compression;
using Xunit;

namespace LazyMount.Tests.Compression;

/// <summary>Compressed streams to test with, and the two ways to decode them: ours and System.IO.Compression's, the control.</summary>
internal static class Streams
{
    /// <summary>What came of decoding: the bytes that were handed out and, when the stream was refused, why.</summary>
    public readonly record struct Verdict(byte[] Output, string? Error);

    /// <summary>Bytes as files have them: text, tables, runs, noise, and copies of what stood up to 40,000 bytes before.</summary>
    public static readonly Gen<byte[]> Data =
        from seed in Gen.Int
        from size in Gen.OneOf(Gen.Int[0, 300], Gen.Int[300, 20_000], Gen.Int[20_000, 400_000])
        select MakeData(seed, size);

    /// <summary>A DEFLATE stream with fixed, stored and dynamic blocks, some empty, and the bytes that it stands for.</summary>
    public static readonly Gen<(byte[] Deflate, byte[] Data)> Deflates =
        from data in Data
        from level in Gen.Int[0, 9]
        from strategy in Gen.OneOf(ZLibCompressionStrategy.Default, ZLibCompressionStrategy.Default, ZLibCompressionStrategy.Fixed, ZLibCompressionStrategy.HuffmanOnly, ZLibCompressionStrategy.RunLengthEncoding, ZLibCompressionStrategy.Filtered)
        from flushes in Gen.Int[0, 6].Array[0, 5]
        from full in Gen.Bool
        select (full ? FullFlushes(data, level, flushes.Length * 3) : Deflate(data, level, strategy, flushes.Length), data);

    /// <summary>The control refuses truncated streams only when asked to, before its first use in the process.</summary>
    [ModuleInitializer]
    internal static void MakeControlStrict() => AppContext.SetSwitch("System.IO.Compression.UseStrictValidation", true);

    public static byte[] MakeData(int seed, int size)
    {
        var random = new Random(seed);
        var data = new byte[size];
        int at = 0;
        while (at < size)
        {
            Span<byte> part = data.AsSpan(at, Math.Min(size - at, 1 + random.Next(random.Next(2) == 0 ? 40 : 4000)));
            switch (random.Next(6))
            {
                case 0:
                    random.NextBytes(part);
                    break;
                case 1:
                    part.Fill((byte)random.Next(256));
                    break;
                case 2:
                    for (int i = 0; i < part.Length; i++)
                        part[i] = (byte)"etaoin shrdlu\n/.,"[random.Next(1 + random.Next(17))];
                    break;
                case 3 when at > 0:
                    int distance = 1 + random.Next(Math.Min(at, random.Next(2) == 0 ? 20 : 40_000));
                    for (int i = 0; i < part.Length; i++)
                        data[at + i] = data[at + i - distance];
                    break;
                default:
                    for (int i = 0; i < part.Length; i++)
                        part[i] = (byte)(i % 16 < 12 ? 0 : random.Next(4));
                    break;
            }
            at += part.Length;
        }
        return data;
    }

    public static byte[] Deflate(ReadOnlySpan<byte> data, int level = 6, ZLibCompressionStrategy strategy = ZLibCompressionStrategy.Default, int flushes = 0)
    {
        using var output = new MemoryStream();
        using (var deflate = new DeflateStream(output, new ZLibCompressionOptions { CompressionLevel = level, CompressionStrategy = strategy }, leaveOpen: true))
        {
            for (int i = 0; i <= flushes; i++)
            {
                deflate.Write(data[(int)((long)data.Length * i / (flushes + 1))..(int)((long)data.Length * (i + 1) / (flushes + 1))]);
                if (i < flushes)
                    deflate.Flush();
            }
        }
        // The control's encoder writes nothing at all for no data.
        return output.Length == 0 ? [3, 0] : output.ToArray();
    }

    /// <summary>As zlib writes them with Z_FULL_FLUSH: pieces that refer to nothing before them, each ended by an empty stored block.</summary>
    public static byte[] FullFlushes(ReadOnlySpan<byte> data, int level, int flushes)
    {
        using var output = new MemoryStream();
        for (int i = 0; i <= flushes; i++)
        {
            using var piece = new MemoryStream();
            using var deflate = new DeflateStream(piece, new ZLibCompressionOptions { CompressionLevel = level }, leaveOpen: true);
            deflate.Write(data[(int)((long)data.Length * i / (flushes + 1))..(int)((long)data.Length * (i + 1) / (flushes + 1))]);
            deflate.Flush();
            output.Write(piece.ToArray());
        }
        output.Write([3, 0]);
        return output.ToArray();
    }

    /// <summary>A gzip member around a DEFLATE stream of <paramref name="data"/>.</summary>
    public static byte[] Member(byte[] deflate, byte[] data, byte[]? header = null)
    {
        byte[] trailer = [.. BitConverter.GetBytes(Crc32.HashToUInt32(data)), .. BitConverter.GetBytes(data.Length)];
        return [.. header ?? [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255], .. deflate, .. trailer];
    }

    public static byte[] Member(byte[] data, int level = 6) => Member(Deflate(data, level), data);

    /// <summary>Decodes a gzip blob in pieces of 1 to <paramref name="largestPiece"/> bytes.</summary>
    public static Verdict Gzip(byte[] blob, int seed = 0, int largestPiece = 1 << 16)
    {
        using Decompressor decompressor = Decompressor.Start(CompressionFormat.Gzip);
        return Run(decompressor, blob, seed, largestPiece);
    }

    /// <summary>Decodes a bare DEFLATE stream; what stands behind it is not looked at, as the control does, and no piece is read beyond its end.</summary>
    public static Verdict Inflate(ReadOnlySpan<byte> deflate, int seed = 0, int largestPiece = 1 << 16)
    {
        var random = new Random(seed);
        var output = new ArrayBufferWriter<byte>();
        using var memory = new GuardedMemory(Math.Min(deflate.Length, largestPiece));
        using var inflater = new Inflater();
        inflater.Start();
        try
        {
            while (true)
            {
                int n = Math.Min(deflate.Length, 1 + random.Next(1 + random.Next(largestPiece)));
                ReadOnlySpan<byte> piece = memory.Place(deflate[..n]);
                deflate = deflate[n..];
                int position = 0;
                InflateStatus status;
                do
                {
                    status = inflater.Inflate(piece, ref position);
                    output.Write(inflater.TakeOutput());
                }
                while (status is InflateStatus.BlockBoundary or InflateStatus.OutputFull);
                if (status == InflateStatus.End)
                    return new(output.WrittenSpan.ToArray(), null);
                Assert.Equal(n, position);
                if (deflate.IsEmpty)
                    return new(output.WrittenSpan.ToArray(), "cut off");
            }
        }
        catch (InvalidDataException e)
        {
            return new(output.WrittenSpan.ToArray(), e.Message);
        }
    }

    public static Verdict Run(Decompressor decompressor, ReadOnlyMemory<byte> input, int seed = 0, int largestPiece = 1 << 16, List<Checkpoint>? checkpoints = null)
    {
        var random = new Random(seed);
        var output = new ArrayBufferWriter<byte>();
        try
        {
            while (!input.IsEmpty)
            {
                int n = Math.Min(input.Length, 1 + random.Next(1 + random.Next(largestPiece)));
                decompressor.Push(input[..n]);
                input = input[n..];
                while (decompressor.TryRead(out ReadOnlySpan<byte> run))
                    output.Write(run);
                Take();
            }
            decompressor.Complete();
            while (decompressor.TryRead(out ReadOnlySpan<byte> run))
                output.Write(run);
            Take();
        }
        catch (Exception e) when (e is InvalidDataException or NotSupportedException)
        {
            return new(output.WrittenSpan.ToArray(), e.Message);
        }
        return new(output.WrittenSpan.ToArray(), null);

        void Take()
        {
            while (checkpoints is not null && decompressor.TryTakeCheckpoint(out Checkpoint checkpoint))
                checkpoints.Add(checkpoint);
        }
    }

    public static Verdict ControlInflate(byte[] deflate) => Control(new DeflateStream(new MemoryStream(deflate), CompressionMode.Decompress));

    public static Verdict ControlGzip(byte[] blob) => Control(new GZipStream(new MemoryStream(blob), CompressionMode.Decompress));

    private static Verdict Control(Stream stream)
    {
        using (stream)
        {
            using var output = new MemoryStream();
            try
            {
                stream.CopyTo(output);
            }
            catch (InvalidDataException e)
            {
                return new(output.ToArray(), e.Message);
            }
            return new(output.ToArray(), null);
        }
    }
}
