using LazyMount.Layers;
using Xunit;

namespace LazyMount.Tests.Layers;

public sealed class ReadAheadTests
{
    private const long MiB = 1 << 20;
    private const long BlobSize = 100 * MiB;

    private readonly ReadAhead _readAhead = new();

    private (long Offset, long End) Note(long offset, long length, long fileEnd = BlobSize) => _readAhead.Note(offset, offset + length, fileEnd, BlobSize);

    [Fact]
    public void ReaderInOrder_IsGoneAheadOf_FartherAndFarther_AndNothingTwice()
    {
        Assert.Equal(default, Note(0, MiB));
        long ahead = 0, reached = MiB;
        for (int i = 1; i < 60; i++)
        {
            (long offset, long end) = Note(i * MiB, MiB);
            reached = (i + 1) * MiB;
            if (end > offset)
            {
                Assert.True(offset >= ahead);
                Assert.True(offset >= reached);
                ahead = end;
                Assert.True(_readAhead.IsWanted(offset));
            }
        }
        Assert.InRange(ahead - reached, 1, 8 * MiB);
    }

    [Fact]
    public void TheEndOfTheFile_IsPassedByAPartOfWhatWasRead()
    {
        long ahead = 0;
        for (int i = 0; i < 16; i++)
        {
            ahead = Math.Max(ahead, Note(i * MiB, MiB, fileEnd: (i + 1) * MiB).End);
        }
        Assert.InRange(ahead, 16 * MiB + 1, 18 * MiB);
        for (int i = 50; i < 53; i++)
        {
            Assert.InRange(Note(i * MiB, MiB, fileEnd: 53 * MiB).End, 0, 53 * MiB + 3 * MiB / 8);
        }
    }

    [Fact]
    public void SmallFilesOfOneDirectory_FetchNothingBehindIt()
    {
        for (long at = 0; at < MiB; at += MiB / 5)
        {
            Assert.Equal(default, Note(at, MiB / 5, fileEnd: at + MiB / 5));
        }
    }

    [Fact]
    public void TheRestOfAFile_IsFetchedHoweverSmall()
    {
        Note(0, MiB / 4);
        Assert.Equal((MiB / 2, MiB / 2 + 1000), Note(MiB / 4, MiB / 4, fileEnd: MiB / 2 + 1000));
    }

    [Fact]
    public void TheEnd_IsNotPassed()
    {
        (long, long End) last = default;
        for (long at = BlobSize - 10 * MiB; at < BlobSize; at += MiB)
        {
            if (Note(at, MiB) is var step && step.End > 0)
            {
                last = step;
            }
        }
        Assert.Equal(BlobSize, last.End);
    }

    [Fact]
    public void RandomReads_AreNotGoneAheadOf()
    {
        foreach (int place in (int[])[30, 3, 77, 51, 12, 64, 91, 5, 40, 22, 85, 70])
        {
            Assert.Equal(default, Note(place * MiB, MiB / 4));
        }
        Assert.False(_readAhead.IsWanted(90 * MiB));
    }

    [Fact]
    public void TwoReadersInTurn_AreToldApart()
    {
        int steps = 0;
        for (int i = 0; i < 10; i++)
        {
            steps += Note(i * MiB, MiB).End > 0 ? 1 : 0;
            steps += Note(50 * MiB + i * MiB, MiB).End > 0 ? 1 : 0;
        }
        Assert.True(steps >= 4);
    }
}
