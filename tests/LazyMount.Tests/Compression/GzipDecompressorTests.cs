using System.IO.Hashing;
using CsCheck;
using LazyMount.Compression;
using Xunit;

namespace LazyMount.Tests.Compression;

public sealed class GzipDecompressorTests
{
    private static readonly byte[] s_data = Streams.MakeData(3, 5000);
    private static readonly byte[] s_member = Streams.Member(s_data);

    public static TheoryData<byte> Flags()
    {
        var flags = new TheoryData<byte>();
        for (byte f = 0; f < 32; f++)
            flags.Add(f);
        return flags;
    }

    [Theory]
    [MemberData(nameof(Flags))]
    public void AnyHeaderFields_ArePassed(byte flags)
    {
        byte[] blob = Streams.Member(Streams.Deflate(s_data), s_data, Header(flags));
        foreach (int piece in new[] { 1, 7, 1 << 16 })
        {
            Streams.Verdict ours = Streams.Gzip(blob, piece, piece);
            Assert.Null(ours.Error);
            Assert.Equal(s_data, ours.Output);
        }
        Assert.Equal(s_data, Streams.ControlGzip(blob).Output);
    }

    [Fact]
    public void EmptyExtraField_IsPassed()
    {
        byte[] blob = Streams.Member(Streams.Deflate(s_data), s_data, [0x1F, 0x8B, 8, 4, 0, 0, 0, 0, 0, 255, 0, 0]);
        Assert.Equal(s_data, Streams.Gzip(blob, largestPiece: 1).Output);
    }

    [Fact]
    public void HeaderChecksumThatDoesNotMatch_IsRefused()
    {
        byte[] header = Header(0b1_1111);
        for (int i = 4; i < header.Length; i++)
        {
            byte[] bad = [.. header];

            // A zero made or unmade would move a name's end: flip high bits of nonzero bytes only.
            bad[i] ^= 0x20;
            if (header[i] == 0 && i is not (4 or 5 or 6 or 7 or 8))
                continue;
            if (i is 10 or 11)
                continue;
            byte[] blob = Streams.Member(Streams.Deflate(s_data), s_data, bad);
            Assert.Contains("header does not match", Streams.Gzip(blob, i, 9).Error, StringComparison.Ordinal);
            Assert.NotNull(Streams.ControlGzip(blob).Error);
        }
    }

    [Theory]
    [InlineData(0, 0x1E, "does not begin with 1F 8B")]
    [InlineData(1, 0x8C, "does not begin with 1F 8B")]
    [InlineData(2, 7, "method 7")]
    [InlineData(3, 0x20, "reserved flags")]
    [InlineData(3, 0x40, "reserved flags")]
    [InlineData(3, 0x80, "reserved flags")]
    public void BadHeaderByte_IsRefused(int at, byte value, string reason)
    {
        byte[] blob = [.. s_member];
        blob[at] = value;
        Assert.Contains(reason, Streams.Gzip(blob).Error, StringComparison.Ordinal);
        Assert.NotNull(Streams.ControlGzip(blob).Error);

        // In a second member the first two are garbage; the others are refused.
        Streams.Verdict second = Streams.Gzip([.. s_member, .. blob], at, 11);
        if (at < 2)
            Assert.Null(second.Error);
        else
            Assert.Contains(reason, second.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void WrongChecksumOrSize_IsRefused()
    {
        for (int i = 1; i <= 8; i++)
        {
            byte[] blob = [.. s_member, .. s_member];
            blob[^i] ^= 4;
            string reason = i <= 4 ? "the size of a member" : "the checksum of a member";
            Assert.Contains(reason, Streams.Gzip(blob, i, 50).Error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void EmptyBlob_IsRefused()
        => Assert.Contains("within a member's header", Streams.Gzip([]).Error, StringComparison.Ordinal);

    [Fact]
    public void EmptyMembers_GiveNothing()
    {
        byte[] empty = Streams.Member([]);
        Assert.Equal(s_data, Streams.Gzip([.. empty, .. s_member, .. empty, .. empty], largestPiece: 5).Output);
    }

    [Fact]
    public void ManyMembers_GiveTheirBytesInOrder()
        => Gen.Select(Streams.Deflates.Array[1, 6], Gen.Int, Gen.OneOf(1, 50, 5000, 1 << 17)).Sample((members, seed, piece) =>
        {
            byte[] blob = [.. members.SelectMany(m => Streams.Member(m.Deflate, m.Data))];
            Streams.Verdict ours = Streams.Gzip(blob, seed, piece);
            return ours.Error is null && ours.Output.AsSpan().SequenceEqual(members.SelectMany(m => m.Data).ToArray());
        }, iter: 40);

    [Fact]
    public void MutatedBlob_GetsTheVerdictAndBytesOfTheControl()
        => Gen.Select(Streams.Deflates, Gen.Int, Gen.OneOf(1, 40, 1 << 17)).Sample((stream, seed, piece) =>
        {
            var random = new Random(seed);
            byte[] first = Streams.Member(stream.Deflate, stream.Data);
            byte[] blob = [.. first, .. s_member];
            int at = random.Next(3) == 0 ? random.Next(10) : random.Next(blob.Length);
            if (random.Next(3) == 0)
                blob = blob[..at];
            else
                blob[at] ^= (byte)(1 << random.Next(8));

            Streams.Verdict control = Streams.ControlGzip(blob);
            Streams.Verdict ours = Streams.Gzip(blob, seed, piece);

            // A lone 1F behind a member: the control takes it for a header cut off, GNU gzip and we for garbage.
            if (blob.Length == first.Length + 1)
                return ours.Error is null && ours.Output.AsSpan().SequenceEqual(stream.Data);
            return control.Error is null
                ? ours.Error is null && control.Output.AsSpan().SequenceEqual(ours.Output)
                : ours.Error is not null;
        }, iter: 300);

    [Theory]
    [InlineData(new byte[] { 0 })]
    [InlineData(new byte[] { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 })]
    [InlineData(new byte[] { 0, 0, 0x1F, 0x8B, 8 })]
    [InlineData(new byte[] { 0x1F })]
    [InlineData(new byte[] { 0x1F, 0x1F, 0x8B })]
    [InlineData(new byte[] { 1, 2, 3 })]
    public void PaddingOrGarbageAfterTheLastMember_IsIgnored(byte[] tail)
    {
        foreach (int piece in new[] { 1, 1 << 16 })
        {
            Streams.Verdict ours = Streams.Gzip([.. s_member, .. s_member, .. tail], largestPiece: piece);
            Assert.Null(ours.Error);
            Assert.Equal([.. s_data, .. s_data], ours.Output);
        }
    }

    [Fact]
    public void TruncatedSecondMember_IsRefused()
    {
        for (int length = 2; length < s_member.Length; length++)
            Assert.Contains("cut off", Streams.Gzip([.. s_member, .. s_member[..length]], length, 4000).Error, StringComparison.Ordinal);
    }

    [Fact]
    public void AfterARefusal_NoMoreBytesComeOut()
    {
        using Decompressor decompressor = Decompressor.Start(CompressionFormat.Gzip);
        byte[] bad = [.. s_member[..10], 7, .. s_member];
        decompressor.Push(bad);
        Assert.Throws<InvalidDataException>(() => decompressor.TryRead(out _));
        Assert.Throws<InvalidDataException>(() => decompressor.TryRead(out _));
        Assert.Throws<InvalidDataException>(decompressor.Complete);
    }

    [Fact]
    public void PushBeforeThePieceIsRead_IsRefused()
    {
        using Decompressor decompressor = Decompressor.Start(CompressionFormat.Gzip);
        decompressor.Push(s_member);
        Assert.Throws<InvalidOperationException>(() => decompressor.Push(s_member));
        Assert.Throws<InvalidOperationException>(decompressor.Complete);
    }

    [Fact]
    public void Offsets_CountFromTheStartOfTheBlob()
    {
        using Decompressor decompressor = Decompressor.Start(CompressionFormat.Gzip);
        Assert.Equal(2 * s_data.Length, Streams.Run(decompressor, (byte[])[.. s_member, .. s_member], 5, 100).Output.Length);
        Assert.Equal(2 * s_data.Length, decompressor.UncompressedOffset);
        Assert.Equal(2 * s_member.Length, decompressor.CompressedOffset);
    }

    [Fact]
    public void Decoding_DoesNotAllocate()
    {
        byte[] blob = Streams.Member(Streams.MakeData(9, 3_000_000));
        // What the runtime makes now and then for code that it compiles anew is not meant.
        Assert.Contains(0, Enumerable.Range(0, 5).Select(_ => Decode(blob)));

        // Bytes allocated from the 20th piece on.
        static long Decode(byte[] blob)
        {
            using Decompressor decompressor = Decompressor.Start(CompressionFormat.Gzip);
            long before = 0;
            for (int at = 0; at < blob.Length; at += 4096)
            {
                decompressor.Push(blob.AsMemory(at, Math.Min(4096, blob.Length - at)));
                while (decompressor.TryRead(out _))
                {
                }
                if (at == 4096 * 20)
                    before = GC.GetAllocatedBytesForCurrentThread();
            }
            return GC.GetAllocatedBytesForCurrentThread() - before;
        }
    }

    private static byte[] Header(byte flags)
    {
        List<byte> header = [0x1F, 0x8B, 8, flags, 1, 2, 3, 4, 0, 3];
        if ((flags & 4) != 0)
            header.AddRange([4, 0, 0, 0x1F, 0x8B, 0]);
        if ((flags & 8) != 0)
            header.AddRange("name\0"u8);
        if ((flags & 16) != 0)
            header.AddRange("a comment\0"u8);
        if ((flags & 2) != 0)
            header.AddRange(BitConverter.GetBytes((ushort)Crc32.HashToUInt32(header.ToArray())));
        return [.. header];
    }
}
