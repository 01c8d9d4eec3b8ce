using LazyMount.Blobs.Files;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Blobs.Files;

public sealed class CrossProcessLockTests : IDisposable
{
    private static readonly TimeSpan s_long = TimeSpan.FromSeconds(60), s_short = TimeSpan.FromMilliseconds(50);

    private readonly TemporaryDirectory _directory = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _directory.Dispose();

    // A directory that is there, and a file that is made.
    private string PathOf(bool isDirectory) => isDirectory ? _directory.CreateDirectory("locked") : _directory["locked"];

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Threads_TakeTurns(bool isDirectory)
    {
        string path = PathOf(isDirectory);
        int inside = 0;
        await Parallel.ForAsync(0, 20, new ParallelOptions { MaxDegreeOfParallelism = 8, CancellationToken = Token }, async (_, token) =>
        {
            using CrossProcessLock? turn = await CrossProcessLock.TryTakeAsync(path, s_long, token);
            Assert.NotNull(turn);
            Assert.Equal(1, Interlocked.Increment(ref inside));
            await Task.Delay(1, token);
            Interlocked.Decrement(ref inside);
        });
        Assert.Equal(isDirectory, Directory.Exists(path));
        Assert.Empty(isDirectory ? Directory.GetFileSystemEntries(path) : []);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task HolderThatIsStopped_IsNotWaitedForForEver_AndItsDeathReleases(bool isDirectory)
    {
        string path = PathOf(isDirectory);
        using Tool holder = Tool.Start("flock", ["-o", path, "sleep", "1000"]);
        while (CrossProcessLock.FindHolder(path) != holder.ProcessId)
            await Task.Delay(10, Token);
        holder.Signal(19); // SIGSTOP
        Assert.Null(await CrossProcessLock.TryTakeAsync(path, s_short, Token));
        Assert.Equal(holder.ProcessId, CrossProcessLock.FindHolder(path));
        holder.Signal(9);
        using CrossProcessLock? turn = await CrossProcessLock.TryTakeAsync(path, s_long, Token);
        Assert.NotNull(turn);
        Assert.Equal(Environment.ProcessId, CrossProcessLock.FindHolder(path));
    }

    [Fact]
    public async Task WaitingIsCancelled_AndWhatCannotBeOpenedIsSaid()
    {
        using CrossProcessLock? turn = await CrossProcessLock.TryTakeAsync(_directory.Path, s_long, Token);
        using var cancellation = new CancellationTokenSource(s_short);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => CrossProcessLock.TryTakeAsync(_directory.Path, s_long, cancellation.Token));
        var e = await Assert.ThrowsAnyAsync<IOException>(() => CrossProcessLock.TryTakeAsync(_directory["no/such/file"], s_long, Token));
        Assert.Contains("No such file or directory", e.Message, StringComparison.Ordinal);
        Assert.Null(CrossProcessLock.FindHolder(_directory["no/such/file"]));
    }

    [Fact]
    public async Task TurnOfAProcessThatShowsNoLife_IsWaitedForWithinBounds()
    {
        string path = _directory["turn"];
        await File.WriteAllTextAsync(path, "", Token);
        using Tool other = FileLock.Hold(path);
        Assert.Null(await CrossProcessLock.TryTakeTurnAsync(path, s_short, Token));
        other.Signal(9);
        using CrossProcessLock? taken = await CrossProcessLock.TryTakeTurnAsync(path, s_long, Token);
        Assert.NotNull(taken);
    }

    [Fact]
    public async Task TurnOfAProcessThatLives_IsWaitedForAsLongAsItTakes()
    {
        string path = _directory["turn"];
        TimeSpan patience = TimeSpan.FromSeconds(3);
        CrossProcessLock? first = await CrossProcessLock.TryTakeTurnAsync(path, patience, Token);
        Task<CrossProcessLock?> second = CrossProcessLock.TryTakeTurnAsync(path, patience, Token);
        await Task.Delay(patience * 1.5, Token);
        Assert.False(second.IsCompleted);
        first!.Dispose();
        using CrossProcessLock? taken = await second;
        Assert.NotNull(taken);
    }

    [Fact]
    public async Task Turns_HaveOneHolderAtATime_ThoughTheirFileComesAndGoes()
    {
        string path = _directory["turn"];
        int holders = 0, turns = 0;
        await Parallel.ForEachAsync(Enumerable.Range(0, 8), new ParallelOptions { MaxDegreeOfParallelism = 8, CancellationToken = Token }, async (_, token) =>
        {
            for (int i = 0; i < 25; i++)
            {
                using CrossProcessLock? turn = await CrossProcessLock.TryTakeTurnAsync(path, s_long, token);
                Assert.NotNull(turn);
                Assert.Equal(1, Interlocked.Increment(ref holders));
                await Task.Yield();
                turns++;
                Interlocked.Decrement(ref holders);
            }
        });
        Assert.Equal(8 * 25, turns);
        Assert.False(File.Exists(path));
    }

    [Fact]
    public async Task DirectoryThatIsNotThere_IsAnError()
        => await Assert.ThrowsAsync<FileNotFoundException>(() => CrossProcessLock.TryTakeTurnAsync(_directory["none/turn"], s_short, Token));
}
