using LazyMount.Blobs.Files;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Blobs.Files;

public sealed class RangeLocksTests : IDisposable
{
    private static readonly TimeSpan s_short = TimeSpan.FromMilliseconds(100);

    private readonly TemporaryDirectory _directory = new();

    private string Path => _directory["ranges"];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task RangesThatMeet_ExcludeEachOther_AndOthersDoNot()
    {
        using RangeLocks one = new(Path), two = new(Path);
        IDisposable? held = await one.TryTakeAsync(10, 5, s_short, Token);
        Assert.NotNull(held);
        Assert.Null(await two.TryTakeAsync(14, 10, s_short, Token));
        Assert.Null(await two.TryTakeAsync(0, 11, s_short, Token));
        using IDisposable? below = await two.TryTakeAsync(0, 10, s_short, Token), above = await two.TryTakeAsync(15, 1, s_short, Token);
        Assert.True(below is not null && above is not null);
        held.Dispose();
        using IDisposable? now = await two.TryTakeAsync(10, 5, s_short, Token);
        Assert.NotNull(now);
    }

    [Fact]
    public async Task RangesStayLocked_WhenTheProcessClosesAnotherHandleOfTheFile()
    {
        using RangeLocks one = new(Path), other = new(Path);
        using IDisposable? held = await one.TryTakeAsync(0, 1, s_short, Token);
        new RangeLocks(Path).Dispose();
        await File.ReadAllBytesAsync(Path, Token);
        Assert.Null(await other.TryTakeAsync(0, 1, s_short, Token));
    }

    [Fact]
    public async Task DisposingTheLocks_GivesAllRangesBack()
    {
        var one = new RangeLocks(Path);
        IDisposable? held = await one.TryTakeAsync(0, 100, s_short, Token);
        one.Dispose();
        held!.Dispose();
        using var other = new RangeLocks(Path);
        using IDisposable? now = await other.TryTakeAsync(50, 1, s_short, Token);
        Assert.NotNull(now);
    }
}
