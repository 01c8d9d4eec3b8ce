using System.IO.Compression;
using CsCheck;
using Xunit;

namespace LazyMount.Tests.Compression;

public sealed class InflaterTests
{
    [Fact]
    public void ValidStream_GivesItsBytesWhateverThePieces()
        => Gen.Select(Streams.Deflates, Gen.Int, Gen.OneOf(1, 3, 30, 300, 5000, 1 << 17)).Sample((stream, seed, piece) =>
        {
            Streams.Verdict ours = Streams.Inflate(stream.Deflate, seed, piece);
            return ours.Error is null && ours.Output.AsSpan().SequenceEqual(stream.Data);
        }, iter: 120);

    [Fact]
    public void MutatedStream_GetsTheVerdictAndBytesOfTheControl()
        => Gen.Select(Streams.Deflates, Gen.Int, Gen.OneOf(1, 40, 1 << 17)).Sample((stream, seed, piece) =>
            SameAsControl(Mutate(stream.Deflate, new Random(seed)), seed, piece), iter: 700);

    [Fact]
    public void RandomBytes_GetTheVerdictAndBytesOfTheControl()
        => Gen.Select(Gen.Byte.Array[0, 400], Gen.Int[0, 7], Gen.Int).Sample((bytes, head, seed) =>
        {
            if (bytes.Length > 0)
                bytes[0] = (byte)(bytes[0] & 0xF8 | head);
            return SameAsControl(bytes, seed, 40);
        }, iter: 2500);

    [Fact]
    public void RandomCodeLengths_GetTheVerdictAndBytesOfTheControl()
        => Gen.Int.Sample(seed =>
        {
            // Mostly complete codes, a few of them spoilt, then random symbols.
            var random = new Random(seed);
            var writer = new BitWriter().DynamicHead(RandomLengths(random, 257 + random.Next(30), 256), RandomLengths(random, 1 + random.Next(30), -1));
            for (int i = 0; i < 2000; i++)
                writer.Bits(random.Next(256), 8);
            return SameAsControl(writer.ToArray(), seed, 4000);
        }, iter: 700);

    public static TheoryData<string, byte[]> Malformed()
    {
        byte[] endOnly = Lengths(257, (256, 1));
        byte[] two = Lengths(257, (0, 1), (256, 1));
        byte[] withLength = Lengths(258, (0, 2), (1, 2), (256, 2), (257, 2));
        return new()
        {
            { "block type 3", new BitWriter().Bits(1, 1).Bits(3, 2).Bits(0, 13).ToArray() },
            { "complement", new BitWriter().Bits(1, 1).Bits(0, 2).Align().Bits(5, 16).Bits(5, 16).Bits(0, 40).ToArray() },
            { "more than 286", new BitWriter().Bits(5, 3).Bits(30, 5).Bits(0, 5).Bits(15, 4).Bits(0, 100).ToArray() },
            { "more than 30", new BitWriter().Bits(5, 3).Bits(0, 5).Bits(30, 5).Bits(15, 4).Bits(0, 100).ToArray() },
            { "code length code is oversubscribed", CodeLengthCode([1, 1, 1]) },
            { "code length code is incomplete", CodeLengthCode([2, 2, 2]) },
            { "code length code is incomplete", CodeLengthCode([1]) },
            { "code length code is incomplete", CodeLengthCode([]) },
            { "first code length repeats", new BitWriter().Bits(5, 3).Bits(0, 5).Bits(0, 5).Bits(0, 4).Bits(1, 3).Bits(1, 3).Bits(0, 3).Bits(0, 3).Code(0, 1).Bits(0, 30).ToArray() },
            { "beyond the last code", new BitWriter().Bits(5, 3).Bits(0, 5).Bits(0, 5).Bits(0, 4).Bits(0, 3).Bits(1, 3).Bits(1, 3).Bits(0, 3).Code(1, 1).Bits(127, 7).Code(1, 1).Bits(127, 7).Bits(0, 30).ToArray() },
            { "end of the block has no code", new BitWriter().DynamicHead(Lengths(257, (0, 1), (1, 1)), [0]).Bits(0, 64).ToArray() },
            { "literal and length code is oversubscribed", new BitWriter().DynamicHead(Lengths(257, (0, 1), (1, 1), (256, 1)), [0]).Bits(0, 64).ToArray() },
            { "literal and length code is incomplete", new BitWriter().DynamicHead(Lengths(257, (0, 2), (1, 2), (256, 2)), [0]).Bits(0, 64).ToArray() },
            { "literal and length code is incomplete", new BitWriter().DynamicHead(Lengths(257, (256, 2)), [0]).Bits(0, 64).ToArray() },
            { "distance code is oversubscribed", new BitWriter().DynamicHead(two, [1, 1, 1]).Bits(0, 64).ToArray() },
            { "distance code is incomplete", new BitWriter().DynamicHead(two, [2, 2, 2]).Bits(0, 64).ToArray() },
            { "distance code is incomplete", new BitWriter().DynamicHead(two, [2]).Bits(0, 64).ToArray() },
            { "no literal or length", new BitWriter().DynamicHead(endOnly, [0]).Bits(1, 1).Bits(0, 64).ToArray() },
            { "no literal or length", new BitWriter().Bits(3, 3).FixedLiteral(65).FixedLiteral(286).FixedDistance(0).FixedLiteral(256).ToArray() },
            { "no literal or length", new BitWriter().Bits(3, 3).FixedLiteral(65).FixedLiteral(287).FixedDistance(0).FixedLiteral(256).ToArray() },
            { "no distance", new BitWriter().Bits(3, 3).FixedLiteral(65).FixedLiteral(257).FixedDistance(30).FixedLiteral(256).ToArray() },
            { "no distance", new BitWriter().Bits(3, 3).FixedLiteral(65).FixedLiteral(257).FixedDistance(31).FixedLiteral(256).ToArray() },
            { "no distance", new BitWriter().DynamicHead(withLength, [0]).Code(0, 2).Code(3, 2).Code(0, 1).Code(2, 2).ToArray() },
            { "no distance", new BitWriter().DynamicHead(withLength, [1]).Code(0, 2).Code(3, 2).Code(1, 1).Code(2, 2).ToArray() },
            { "reaches back before", new BitWriter().Bits(3, 3).FixedLiteral(65).FixedLiteral(257).FixedDistance(1).FixedLiteral(256).ToArray() },
            { "reaches back before", new BitWriter().Bits(3, 3).FixedLiteral(257).FixedDistance(0).FixedLiteral(256).ToArray() },
        };
    }

    [Theory]
    [MemberData(nameof(Malformed))]
    public void BrokenRule_IsRefusedByName(string rule, byte[] stream)
    {
        // Alone the careful loop meets it, with something behind it the fast loop does.
        byte[] tail = new byte[100];
        Assert.Contains(rule, Streams.Inflate(stream, largestPiece: 1).Error, StringComparison.Ordinal);
        Assert.Contains(rule, Streams.Inflate([.. stream, .. tail]).Error, StringComparison.Ordinal);
        Assert.NotNull(Streams.ControlInflate([.. stream, .. tail]).Error);
    }

    [Fact]
    public void DistanceCodeOfOneBitOrNone_IsAccepted()
    {
        byte[] withLength = Lengths(258, (65, 2), (66, 2), (256, 2), (257, 2));
        byte[] single = new BitWriter().DynamicHead(withLength, [1]).Code(0, 2).Code(3, 2).Code(0, 1).Code(2, 2).ToArray();
        byte[] none = new BitWriter().DynamicHead(withLength, [0]).Code(0, 2).Code(1, 2).Code(2, 2).ToArray();
        byte[] endOnly = new BitWriter().DynamicHead(Lengths(257, (256, 1)), [0]).Code(0, 1).ToArray();

        foreach ((byte[] stream, string text) in new[] { (single, "AAAA"), (none, "AB"), (endOnly, "") })
        {
            byte[] expected = System.Text.Encoding.ASCII.GetBytes(text);
            Assert.Equal(expected, Streams.ControlInflate(stream).Output);
            Assert.Equal(new Streams.Verdict(expected, null), Streams.Inflate(stream), VerdictComparer);
            Assert.Equal(new Streams.Verdict(expected, null), Streams.Inflate([.. stream, .. new byte[64]], largestPiece: 1), VerdictComparer);
        }
    }

    [Fact]
    public void EveryLengthAtEveryDistance_IsCopiedAsTheControlDoes()
    {
        int[] distances = [.. Enumerable.Range(1, 40), 255, 256, 257, 258, 259, 4096, 32767, 32768];
        var random = new Random(1);
        byte[] head = new byte[33_000];
        random.NextBytes(head);
        var writer = new BitWriter().Bits(0, 3).Align().Bits(head.Length, 16).Bits(~head.Length, 16);
        foreach (byte b in head)
            writer.Bits(b, 8);
        writer.Bits(3, 3);
        foreach (int distance in distances)
        {
            for (int length = 3; length <= 258; length++)
            {
                Match(writer, length, distance);
                writer.FixedLiteral(random.Next(256));
            }
        }
        byte[] stream = writer.FixedLiteral(256).ToArray();

        byte[] expected = Streams.ControlInflate(stream).Output;
        Assert.Equal(head.Length + distances.Length * Enumerable.Range(3, 256).Sum(l => l + 1), expected.Length);
        Assert.Equal(expected, Streams.Inflate(stream).Output);
        Assert.Equal(expected, Streams.Inflate(stream, largestPiece: 20).Output);
    }

    [Fact]
    public void Truncation_IsRefusedAtEveryByte()
    {
        byte[] data = Streams.MakeData(7, 3000);
        foreach (byte[] stream in new[] { Streams.Deflate(data, 9), Streams.Deflate(data, 0), Streams.Deflate(data, 9, ZLibCompressionStrategy.Fixed, 2) })
        {
            byte[] blob = Streams.Member(stream, data);
            for (int length = 0; length < blob.Length; length++)
            {
                Streams.Verdict ours = Streams.Gzip(blob[..length], length, 100);
                Assert.Contains("cut off", ours.Error, StringComparison.Ordinal);
                Assert.True(data.AsSpan().StartsWith(ours.Output));
            }
        }
    }

    private static bool SameAsControl(byte[] stream, int seed, int piece)
    {
        Streams.Verdict control = Streams.ControlInflate(stream);
        Streams.Verdict ours = Streams.Inflate(stream, seed, piece);

        // Of a refused stream, how much comes out before is up to the decoder; what comes out is not.
        if (control.Error is not null)
            return ours.Error is not null && (control.Output.AsSpan().StartsWith(ours.Output) || ours.Output.AsSpan().StartsWith(control.Output));
        return ours.Error is null && ours.Output.AsSpan().SequenceEqual(control.Output);
    }

    private static byte[] Mutate(byte[] stream, Random random)
    {
        byte[] bytes = [.. stream];
        switch (random.Next(4))
        {
            case 0:
                for (int i = random.Next(1, 4); i > 0; i--)
                    bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
                return bytes;
            case 1:
                return bytes[..random.Next(bytes.Length)];
            case 2:
                int at = random.Next(bytes.Length);
                int from = random.Next(bytes.Length);
                return [.. bytes[..at], .. bytes[from..]];
            default:
                // Near the head, where the codes are.
                bytes[random.Next(Math.Min(bytes.Length, 60))] ^= (byte)(1 << random.Next(8));
                return bytes;
        }
    }

    private static byte[] RandomLengths(Random random, int symbols, int needed)
    {
        // Split leaves of a tree until there are as many as symbols in use.
        var leaves = new List<byte> { 0 };
        int used = random.Next(1, symbols + 1);
        for (int tries = 0; leaves.Count < used && tries < 10_000; tries++)
        {
            int i = random.Next(4) == 0 ? 0 : random.Next(leaves.Count);
            if (leaves[i] >= 15)
                continue;
            leaves[i]++;
            leaves.Add(leaves[i]);
        }
        var lengths = new byte[symbols];
        if (leaves.Count > 1)
            leaves.CopyTo(lengths);
        random.Shuffle(lengths);
        if (needed >= 0 && lengths[needed] == 0)
        {
            int donor = Array.FindIndex(lengths, l => l != 0);
            if (donor >= 0)
                (lengths[needed], lengths[donor]) = (lengths[donor], 0);
        }
        if (random.Next(8) == 0)
            lengths[random.Next(symbols)] = (byte)random.Next(16);
        return lengths;
    }

    private static byte[] Lengths(int count, params (int Symbol, byte Length)[] codes)
    {
        var lengths = new byte[count];
        foreach ((int symbol, byte length) in codes)
            lengths[symbol] = length;
        return lengths;
    }

    /// <summary>A dynamic head whose code length code has these lengths for its first symbols in the order of the format.</summary>
    private static byte[] CodeLengthCode(byte[] lengths)
    {
        var writer = new BitWriter().Bits(5, 3).Bits(0, 5).Bits(0, 5).Bits(15, 4);
        for (int i = 0; i < 19; i++)
            writer.Bits(i < lengths.Length ? lengths[i] : 0, 3);
        return writer.Bits(0, 64).ToArray();
    }

    private static void Match(BitWriter writer, int length, int distance)
    {
        // Written from the tables of RFC 1951, 3.2.5, not from the decoder's.
        int[] lengthBases = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
        int[] lengthExtra = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
        int[] distanceBases = [1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577];
        int l = Array.FindLastIndex(lengthBases, b => b <= length);
        writer.FixedLiteral(257 + l).Bits(length - lengthBases[l], lengthExtra[l]);
        int d = Array.FindLastIndex(distanceBases, b => b <= distance);
        writer.FixedDistance(d).Bits(distance - distanceBases[d], Math.Max(0, d / 2 - 1));
    }

    private static IEqualityComparer<Streams.Verdict> VerdictComparer { get; } = EqualityComparer<Streams.Verdict>.Create(
        static (a, b) => a.Error == b.Error && a.Output.AsSpan().SequenceEqual(b.Output),
        static v => v.Output.Length);
}
