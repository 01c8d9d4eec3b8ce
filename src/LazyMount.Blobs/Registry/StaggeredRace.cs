namespace LazyMount.Blobs.Registry;

/// <summary>Attempts that begin one after the other, the next one when those before have failed or were given a head start. The first good result wins.</summary>
internal static class StaggeredRace
{
    /// <summary>Runs the attempts and cancels those that are not needed any more.</summary>
    /// <param name="attempts">The preferred ones first.</param>
    /// <param name="headStart">How long each has before the next one begins.</param>
    /// <param name="isGood">The result ends the race.</param>
    /// <param name="discard">Takes a good result that came too late.</param>
    /// <param name="cancellationToken">The caller's.</param>
    /// <returns>The attempts that have ended, in the order of their ends; the last one won if its result is good.</returns>
    /// <exception cref="OperationCanceledException">The caller's token was cancelled.</exception>
    public static async Task<IReadOnlyList<Task<T>>> RunAsync<T>(
        IEnumerable<Func<CancellationToken, Task<T>>> attempts, TimeSpan headStart, Func<T, bool> isGood, Action<T> discard, CancellationToken cancellationToken)
    {
        var waiting = new Queue<Func<CancellationToken, Task<T>>>(attempts);
        var running = new List<Task<T>>();
        var ended = new List<Task<T>>();
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        try
        {
            while (waiting.TryDequeue(out Func<CancellationToken, Task<T>>? begin))
            {
                running.Add(begin(end.Token));
                Task pause = Task.Delay(waiting.Count > 0 ? headStart : Timeout.InfiniteTimeSpan, end.Token);
                bool failed = false;
                while (running.Count > 0 && !(failed && waiting.Count > 0) && await Task.WhenAny([.. running, pause]).ConfigureAwait(false) is Task<T> one)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    running.Remove(one);
                    ended.Add(one);
                    if (one.IsCompletedSuccessfully && isGood(one.Result))
                        return ended;
                    failed = true;
                }
                cancellationToken.ThrowIfCancellationRequested();
            }
            return ended;
        }
        finally
        {
            await end.CancelAsync().ConfigureAwait(false);
            foreach (Task<T> attempt in running)
            {
                _ = attempt.ContinueWith(late =>
                {
                    if (late.IsCompletedSuccessfully)
                        discard(late.Result);
                    _ = late.Exception;
                }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
            }
        }
    }
}
