using CsCheck;
using LazyMount.Compression;
using Xunit;

namespace LazyMount.Tests.Compression;

public sealed class CheckpointTests
{
    [Fact]
    public void ResumeFromAnyCheckpoint_GivesTheRestOfTheWhole()
        => Gen.Select(Streams.Deflates.Array[1, 4], Gen.Int, Gen.OneOf(200, 5000, 1 << 17), Gen.OneOf(1L, 40_000, 100_000)).Sample((members, seed, piece, spacing) =>
        {
            byte[] blob = [.. members.SelectMany(m => Streams.Member(m.Deflate, m.Data)), 0, 0];
            byte[] data = [.. members.SelectMany(m => m.Data)];
            return ResumesEverywhere(blob, data, Record(blob, seed, piece, spacing), seed, piece);
        }, iter: 50);

    [Fact]
    public void Checkpoints_StandAtTheFirstBoundaryAtOrAfterTheSpacing()
    {
        // Flushes end blocks at known places: each is followed by the end of an empty stored block, byte-aligned.
        const int Block = 10_000;
        byte[] data = Streams.MakeData(11, 60 * Block);
        byte[] blob = Streams.Member(Streams.FullFlushes(data, 6, 59), data);

        List<Checkpoint> checkpoints = Record(blob, 1, 3000, 35_000);

        Assert.Equal(new Checkpoint(0, 0, 0, true, default), checkpoints[0]);
        for (int i = 1; i < checkpoints.Count; i++)
        {
            long span = checkpoints[i].UncompressedOffset - checkpoints[i - 1].UncompressedOffset;
            Assert.InRange(span, 35_000, 4 * Block);
            Assert.False(checkpoints[i].AtMemberStart);
        }
        Assert.InRange(checkpoints.Count, 15, 18);
        Assert.True(ResumesEverywhere(blob, data, checkpoints, 1, 3000));
    }

    [Fact]
    public void FullFlush_NeedsNoWindow()
    {
        byte[] data = Streams.MakeData(12, 400_000);
        byte[] blob = Streams.Member(Streams.FullFlushes(data, 6, 3), data);
        List<Checkpoint> checkpoints = [.. Record(blob, 0, 1 << 16, 100_000).Where(c => c.UncompressedOffset == 100_000)];

        Assert.True(Assert.Single(checkpoints).Window.IsEmpty);
    }

    [Fact]
    public void MemberStart_IsACheckpointWithoutWindow()
    {
        byte[] data = Streams.MakeData(13, 50_000);
        byte[] member = Streams.Member(Streams.Deflate(data, 0), data);
        byte[] empty = Streams.Member([]);
        byte[] blob = [.. member, .. empty, .. member, .. empty];

        Assert.Contains(new Checkpoint(member.Length, 0, data.Length, true, default), Record(blob, 2, 500, 50_000));
        Assert.Equal(2, Record(blob, 2, 500, 50_000).Count);
    }

    [Fact]
    public void ResumedAtMemberStart_VerifiesTheMember()
    {
        byte[] data = Streams.MakeData(14, 50_000);
        byte[] member = Streams.Member(data);
        byte[] blob = [.. member, .. member];
        blob[^6] ^= 1;
        Checkpoint start = new(member.Length, 0, data.Length, true, default);
        using Decompressor decompressor = Decompressor.Resume(CompressionFormat.Gzip, start);

        Assert.Contains("checksum", Streams.Run(decompressor, blob.AsMemory(member.Length)).Error, StringComparison.Ordinal);
    }

    [Fact]
    public void ResumedInAMember_VerifiesTheNextMembersOnly()
    {
        byte[] data = Streams.MakeData(15, 300_000);
        byte[] member = Streams.Member(data);
        Checkpoint middle = Record(member, 0, 1 << 16, 100_000)[1];
        Assert.False(middle.AtMemberStart);

        byte[] blob = [.. member, .. member];
        blob[member.Length - 6] ^= 1;
        using (Decompressor decompressor = Decompressor.Resume(CompressionFormat.Gzip, middle))
            Assert.Null(Streams.Run(decompressor, blob.AsMemory((int)middle.CompressedOffset)).Error);
        blob[^6] ^= 1;
        using (Decompressor decompressor = Decompressor.Resume(CompressionFormat.Gzip, middle))
            Assert.NotNull(Streams.Run(decompressor, blob.AsMemory((int)middle.CompressedOffset)).Error);
    }

    [Fact]
    public void Window_HoldsTheBytesThatAreReachedAndZerosElsewhere()
    {
        // 40,000 stored bytes, a boundary, then a fixed block whose matches reach exactly three places before it.
        var random = new Random(16);
        byte[] head = new byte[40_000];
        for (int i = 0; i < head.Length; i++)
            head[i] = (byte)random.Next(1, 256);
        var writer = new BitWriter().Bits(0, 3).Align().Bits(head.Length, 16).Bits(~head.Length, 16);
        foreach (byte b in head)
            writer.Bits(b, 8);
        writer.Bits(3, 3);
        writer.FixedLiteral(257).FixedDistance(29).Bits(30_000 - 24_577, 13);       // 3 bytes, 30,000 before the boundary
        writer.FixedLiteral(258).FixedDistance(8).Bits(0, 3);                       // 4 bytes from distance 17: 14 before it
        writer.FixedLiteral(258).FixedDistance(6).Bits(0, 2);                       // 4 from distance 9: the last 2, then 2 after it
        writer.FixedLiteral(257).FixedDistance(0);                                  // of what came after
        byte[] deflate = writer.FixedLiteral(256).ToArray();
        byte[] data = Streams.ControlInflate(deflate).Output;
        byte[] blob = Streams.Member(deflate, data);

        foreach (int piece in new[] { 1, 1 << 16 })
        {
            Checkpoint checkpoint = Record(blob, 0, piece, 32_768)[1];
            byte[] expected = new byte[30_000];
            foreach ((int before, int length) in new[] { (30_000, 3), (14, 4), (2, 2) })
                head.AsSpan(head.Length - before, length).CopyTo(expected.AsSpan(30_000 - before));
            Assert.Equal(expected, checkpoint.Window.ToArray());
            Assert.Equal(40_000, checkpoint.UncompressedOffset);
        }
    }

    [Fact]
    public void WindowsOfText_AreMostlyZero()
    {
        // Words at random: most of what a match could refer to is never referred to.
        var random = new Random(18);
        byte[] data = [.. Enumerable.Range(0, 200_000).SelectMany(_ => System.Text.Encoding.ASCII.GetBytes($"{random.Next(4000) * 7919L} "))];
        byte[] blob = Streams.Member(data);
        List<Checkpoint> checkpoints = Record(blob, 0, 1 << 16, 200_000);

        Assert.True(checkpoints.Count > 4);
        Assert.All(checkpoints.Skip(1), c => Assert.InRange(c.Window.Length - c.Window.Span.Count((byte)0), 1, 20_000));
        Assert.True(ResumesEverywhere(blob, data, checkpoints, 4, 1 << 16));
    }

    [Fact]
    public void NoSpacing_TakesNone()
    {
        Assert.Empty(Record(Streams.Member(Streams.MakeData(17, 200_000)), 0, 1000, 0));
        using Decompressor plain = Decompressor.Start(CompressionFormat.None);
        Assert.False(plain.TryTakeCheckpoint(out _));
    }

    [Fact]
    public void UnfitCheckpoint_IsRefused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => Decompressor.Resume(CompressionFormat.Gzip, new(0, 8, 0, false, default)));
        Assert.Throws<ArgumentOutOfRangeException>(() => Decompressor.Resume(CompressionFormat.Gzip, new(-1, 0, 0, false, default)));
        Assert.Throws<ArgumentOutOfRangeException>(() => Decompressor.Resume(CompressionFormat.Gzip, new(0, 0, -1, false, default)));
        Assert.Throws<ArgumentOutOfRangeException>(() => Decompressor.Resume(CompressionFormat.Gzip, new(0, 0, 0, false, new byte[32_769])));
        Assert.Throws<ArgumentException>(() => Decompressor.Resume(CompressionFormat.Gzip, new(0, 1, 0, true, default)));
        Assert.Throws<ArgumentException>(() => Decompressor.Resume(CompressionFormat.None, new(1, 0, 2, true, default)));
        Assert.Throws<ArgumentOutOfRangeException>(() => Decompressor.Resume((CompressionFormat)99, default));
    }

    internal static List<Checkpoint> Record(byte[] blob, int seed, int piece, long spacing)
    {
        var checkpoints = new List<Checkpoint>();
        using Decompressor decompressor = Decompressor.Start(CompressionFormat.Gzip, spacing);
        Assert.Null(Streams.Run(decompressor, blob, seed, piece, checkpoints).Error);
        return checkpoints;
    }

    internal static bool ResumesEverywhere(byte[] blob, byte[] data, List<Checkpoint> checkpoints, int seed, int piece)
    {
        foreach (Checkpoint checkpoint in checkpoints)
        {
            using Decompressor decompressor = Decompressor.Resume(CompressionFormat.Gzip, checkpoint);
            Streams.Verdict rest = Streams.Run(decompressor, blob.AsMemory((int)checkpoint.CompressedOffset), seed, piece);
            if (rest.Error is not null || !rest.Output.AsSpan().SequenceEqual(data.AsSpan((int)checkpoint.UncompressedOffset)))
                return false;
        }
        return checkpoints.Count > 0;
    }
}
