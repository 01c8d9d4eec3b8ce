using CsCheck;
using LazyMount.Layers;
using Xunit;

namespace LazyMount.Tests.Layers;

public sealed class SpanBudgetTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task WorkBegins_InTheOrderItAsked_WhenItFits()
    {
        var budget = new SpanBudget(100);
        SpanReservation first = await budget.ReserveAsync(60, Token);
        Task<SpanReservation> large = budget.ReserveAsync(50, Token).AsTask(), small = budget.ReserveAsync(10, Token).AsTask();
        Assert.False(large.IsCompleted);
        Assert.False(small.IsCompleted); // it would fit, but came later
        first.Dispose();
        SpanReservation second = await large, third = await small;
        Assert.Equal(60, budget.Taken);
        second.Dispose();
        third.Dispose();
        Assert.Equal(0, budget.Taken);
    }

    [Fact]
    public async Task WorkLargerThanTheBudget_RunsAlone()
    {
        var budget = new SpanBudget(100);
        SpanReservation first = await budget.ReserveAsync(1, Token);
        Task<SpanReservation> huge = budget.ReserveAsync(1000, Token).AsTask(), next = budget.ReserveAsync(1, Token).AsTask();
        Assert.False(huge.IsCompleted);
        first.Dispose();
        SpanReservation alone = await huge;
        Assert.False(next.IsCompleted);
        alone.Dispose();
        (await next).Dispose();
        Assert.Equal(0, budget.Taken);
    }

    [Fact]
    public async Task WhoGivesUp_LetsOthersPass()
    {
        var budget = new SpanBudget(100);
        SpanReservation first = await budget.ReserveAsync(60, Token);
        using var cancellation = new CancellationTokenSource();
        Task<SpanReservation> leaving = budget.ReserveAsync(100, cancellation.Token).AsTask(), small = budget.ReserveAsync(10, Token).AsTask();
        await cancellation.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => leaving);
        (await small).Dispose();
        first.Dispose();
        Assert.Equal(0, budget.Taken);
    }

    /// <summary>Any order of work of any size, some of it cancelled: all that is not cancelled runs, and never too much at once.</summary>
    [Fact]
    public async Task AnyWork_EndsWithinTheBound()
        => await Gen.Select(Gen.Long[1, 150], Gen.Bool).Array[1, 60].SampleAsync(async work =>
        {
            var budget = new SpanBudget(100);
            long under = 0;
            await Task.WhenAll(work.Select(async each =>
            {
                using var cancellation = new CancellationTokenSource();
                Task<SpanReservation> waiting = budget.ReserveAsync(each.Item1, cancellation.Token).AsTask();
                if (each.Item2)
                {
                    await cancellation.CancelAsync();
                }
                try
                {
                    using SpanReservation reservation = await waiting;
                    long now = Interlocked.Add(ref under, each.Item1);
                    Assert.True(now <= 100 || now == each.Item1, $"{now} bytes at once");
                    await Task.Yield();
                    Interlocked.Add(ref under, -each.Item1);
                }
                catch (OperationCanceledException)
                {
                }
            }));
            Assert.Equal(0, budget.Taken);
        }, iter: 200);
}
