using LazyMount.Serving;
using Xunit;

namespace LazyMount.Tests.Serving;

public sealed class IdleResourceTests
{
    private readonly List<Thing> _things = [];

    [Fact]
    public async Task Users_ShareOneOpening_AndItIsClosedWhenNobodyUsesIt()
    {
        var resource = new IdleResource<Thing>(_ => Task.FromResult(NewThing()), TimeSpan.FromMilliseconds(20));
        Assert.Empty(_things);
        IdleResource<Thing>.Lease first = await resource.UseAsync(Token), second = await resource.UseAsync(Token);
        Assert.Same(first.Value, second.Value);
        first.Dispose();
        first.Dispose(); // the second time does not count
        await Task.Delay(200, Token);
        Assert.False(second.Value.IsClosed.IsCompleted);
        second.Dispose();
        await _things[0].IsClosed.WaitAsync(TimeSpan.FromSeconds(20), Token);
        Assert.False(resource.IsOpen);
        using IdleResource<Thing>.Lease third = await resource.UseAsync(Token);
        Assert.NotSame(_things[0], third.Value);
    }

    [Fact]
    public async Task OpeningThatFailed_IsTriedAgain()
    {
        int tries = 0;
        var resource = new IdleResource<Thing>(_ => ++tries == 1 ? throw new IOException("not now") : Task.FromResult(NewThing()), TimeSpan.FromMinutes(1));
        await Assert.ThrowsAsync<IOException>(() => resource.UseAsync(Token));
        using IdleResource<Thing>.Lease lease = await resource.UseAsync(Token);
        Assert.Equal(2, tries);
    }

    [Fact]
    public async Task UserWhoGivesUp_DoesNotEndTheOpeningForOthers()
    {
        var opening = new TaskCompletionSource<Thing>();
        var resource = new IdleResource<Thing>(_ => opening.Task, TimeSpan.FromMinutes(1));
        using var patience = new CancellationTokenSource();
        Task<IdleResource<Thing>.Lease> hasty = resource.UseAsync(patience.Token), patient = resource.UseAsync(Token);
        patience.Cancel();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => hasty);
        opening.SetResult(NewThing());
        (await patient).Dispose();
        await resource.DisposeAsync();
        Assert.True(_things[0].IsClosed.IsCompleted);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => resource.UseAsync(Token));
    }

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private Thing NewThing()
    {
        var thing = new Thing();
        _things.Add(thing);
        return thing;
    }

    private sealed class Thing : IAsyncDisposable
    {
        private readonly TaskCompletionSource _closed = new();

        public Task IsClosed => _closed.Task;

        public ValueTask DisposeAsync()
        {
            _closed.SetResult();
            return ValueTask.CompletedTask;
        }
    }
}
