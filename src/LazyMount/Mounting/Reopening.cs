using LazyMount.Blobs.Counting;
using LazyMount.Cli;
using LazyMount.Fuse;
using LazyMount.Images;
using LazyMount.Keeping;
using LazyMount.Output;
using Microsoft.Extensions.Logging;

namespace LazyMount.Mounting;

/// <summary>
/// Opens the image of a mount whose process has died, as often as it takes: its registry may be away, and the cache lost. Meanwhile who asks for
/// something waits as long as a read may wait, and gets EIO then; and for what is asked after that the image is opened anew, so that the first
/// access after the trouble succeeds.
/// </summary>
/// <param name="open">Opens the image; called again after it failed.</param>
/// <param name="patience">How long a request may wait.</param>
/// <param name="keeper">Has the connection, and the record that says what is wrong.</param>
/// <param name="held">The mount.</param>
/// <param name="counters">Where requests that get EIO are counted.</param>
/// <param name="logger">Told of failures.</param>
internal sealed class Reopening(Func<CancellationToken, Task<OpenedImage>> open, TimeSpan patience, KeeperLink keeper, HeldMount held, ServingCounters counters, ILogger logger)
{
    // An image that is in the cache is open long before: nobody needs to know that there was a choice.
    private static readonly TimeSpan s_quick = TimeSpan.FromSeconds(1);

    // Between two tries, and between two looks at what ends them.
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(500);

    /// <summary>The image; null when there is no need of it any more: the mount is gone, or this process is to end.</summary>
    /// <param name="cancellationToken">The process is to end.</param>
    public async Task<OpenedImage?> RunAsync(CancellationToken cancellationToken)
    {
        var giveUp = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken); // never disposed of: the keeper may use it until the mount is served
        Task<OpenedImage> attempt = Task.Run(() => open(giveUp.Token), CancellationToken.None);
        await Task.WhenAny(attempt, Task.Delay(s_quick, cancellationToken));
        if (attempt.IsCompletedSuccessfully)
        {
            return await attempt;
        }
        keeper.TakeTurn();
        keeper.OnYield = giveUp.Cancel;
        using var requests = new WaitingRequests(keeper.FileOf(HeldFiles.Device)!, counters);
        while (requests.TryTake() && !giveUp.IsCancellationRequested)
        {
            await Task.WhenAny(attempt, Task.Delay(patience, giveUp.Token));
            if (attempt.IsCompletedSuccessfully)
            {
                return await attempt; // what was taken is sent again
            }
            if (giveUp.IsCancellationRequested)
            {
                break;
            }
            if (attempt.Exception?.InnerException is { } e && !Failure.IsExpected(e))
            {
                await attempt; // a bug of ours: another process tries
            }
            string reason = attempt.Exception?.InnerException?.Message ?? "it takes longer than a read may wait";
            logger.CannotOpenAgain(held.Directory, reason);
            keeper.Notify($"STATUS=restarting: {reason.ReplaceLineEndings(" ")}");
            if (keeper.FileOf(HeldFiles.Record) is { } record)
            {
                StoredRecord.Change(record, old => old with { Worker = Environment.ProcessId, Trouble = reason });
            }
            requests.Refuse();
            if (attempt.IsCompleted)
            {
                await Task.Delay(s_pause, giveUp.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                await Task.Run(() =>
                {
                    while (!giveUp.IsCancellationRequested && !requests.Wait(s_pause))
                    {
                    }
                }, CancellationToken.None);
                attempt = Task.Run(() => open(giveUp.Token), CancellationToken.None);
            }
        }
        await giveUp.CancelAsync();
        return null;
    }
}
