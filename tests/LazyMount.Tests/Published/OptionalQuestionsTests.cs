using System.Diagnostics;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Sources;
using LazyMount.Indexes.Published;
using Xunit;

namespace LazyMount.Tests.Published;

/// <summary>What an image waits for that it can do without, and for how long.</summary>
public sealed class OptionalQuestionsTests
{
    private const int MiB = 1 << 20;

    private static readonly TimeSpan s_patience = TimeSpan.FromMilliseconds(300);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task QuestionWithoutAnAnswer_EndsAllOthersAtOnce()
    {
        var questions = new OptionalQuestions(s_patience);
        var e = await Assert.ThrowsAsync<ImageException>(() => questions.AskAsync(Silence, Token));
        Assert.Equal(ImageError.Unreachable, e.Error);
        bool asked = false;
        await Assert.ThrowsAsync<ImageException>(() => questions.AskAsync(
            _ =>
            {
                asked = true;
                return Task.FromResult(1);
            },
            Token));
        Assert.False(asked);
    }

    [Fact]
    public async Task QuestionsOneAfterTheOther_ShareThePatience()
    {
        var questions = new OptionalQuestions(s_patience);
        for (int i = 0; i < 2; i++)
        {
            Assert.Equal(1, await questions.AskAsync(
                async token =>
                {
                    await Task.Delay(200 - (i * 150), token);
                    return 1;
                },
                Token));
        }
        await Assert.ThrowsAsync<ImageException>(() => questions.AskAsync(
            async token =>
            {
                await Task.Delay(200, token);
                return 1;
            },
            Token));
    }

    [Fact]
    public async Task RefusedQuestion_DoesNotEndTheOthers()
    {
        var questions = new OptionalQuestions(s_patience);
        await Assert.ThrowsAsync<ImageException>(() => questions.AskAsync<int>(_ => throw new ImageException(ImageError.NotFound, "no"), Token));
        Assert.Equal(1, await questions.AskAsync(_ => Task.FromResult(1), Token));
    }

    [Fact]
    public async Task CallersCancellation_IsNotTakenForSilence()
    {
        var questions = new OptionalQuestions(Timeout.InfiniteTimeSpan);
        using var mine = new CancellationTokenSource();
        Task<int> asking = questions.AskAsync(Silence, mine.Token);
        await mine.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => asking);
        Assert.Equal(1, await questions.AskAsync(_ => Task.FromResult(1), Token));
    }

    [Fact]
    public async Task IndexThatComesSlowly_IsReadToItsEnd_WhileItsLayerWouldTakeLonger()
    {
        // 20 bytes in two seconds; at 1 MiB/s the layer takes a hundred.
        byte[] index = await ReadAsync(new Drip(20, TimeSpan.FromMilliseconds(100)), 20, layerSize: 100 * MiB);
        Assert.All(index, each => Assert.Equal(7, each));
    }

    [Theory]
    [InlineData(20_000, 100)] // a byte each tenth of a second: half an hour, where the layer takes 100 s
    [InlineData(20, 600_000)] // one byte, and no more
    public async Task IndexThatComesTooSlowly_IsGivenUp(int size, int millisecondsAByte)
    {
        long began = Stopwatch.GetTimestamp();
        await Assert.ThrowsAsync<ImageException>(() => ReadAsync(new Drip(size, TimeSpan.FromMilliseconds(millisecondsAByte)), size, layerSize: 100 * MiB));
        Assert.InRange(Stopwatch.GetElapsedTime(began).TotalSeconds, 0, 30);
    }

    [Fact]
    public async Task IndexThatDoesNotBegin_EndsAllQuestions()
    {
        var questions = new OptionalQuestions(s_patience);
        await Assert.ThrowsAsync<ImageException>(() => questions.ReadAsync(
            async token => await Silence(token) == 1 ? Stream.Null : Stream.Null, new byte[10], 100 * MiB, Token));
        await Assert.ThrowsAsync<ImageException>(() => questions.AskAsync(_ => Task.FromResult(1), Token));
    }

    [Fact]
    public async Task IndexThatEndsEarly_IsToldApartFromSilence()
        => await Assert.ThrowsAsync<ImageException>(() => new OptionalQuestions(s_patience).ReadAsync(_ => Task.FromResult<Stream>(new MemoryStream([1, 2])), new byte[3], MiB, Token));

    private static async Task<byte[]> ReadAsync(Drip stream, int size, long layerSize)
    {
        byte[] bytes = new byte[size];
        await new OptionalQuestions(s_patience).ReadAsync(_ => Task.FromResult<Stream>(stream), bytes, layerSize, Token);
        return bytes;
    }

    private static async Task<int> Silence(CancellationToken cancellationToken)
    {
        await Task.Delay(Timeout.Infinite, cancellationToken);
        return 1;
    }

    /// <summary>Gives the first byte at once and then one at a time.</summary>
    private sealed class Drip(int size, TimeSpan pause) : ForwardStream
    {
        private int _given;

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (_given == size)
                return 0;
            if (_given > 0)
                await Task.Delay(pause, cancellationToken);
            buffer.Span[0] = 7;
            _given++;
            return 1;
        }
    }
}
