namespace LazyMount.Layers;

/// <summary>
/// A span on its way: one fetches and decodes it, all who want it wait. Who gives up leaves; the work goes on while
/// anybody waits. A failure is told to all of them and not kept. Fields are guarded by the <see cref="SpanCache"/>'s lock.
/// </summary>
internal sealed class PendingSpan
{
    public int Waiters;
    public bool IsCompleted;
    public DecodedSpan? Result;

    /// <summary>Told when no one waits any more, or the layer is gone.</summary>
    public CancellationTokenSource Cancellation { get; } = new();

    /// <summary>Continuations run elsewhere: the decoding thread has its own work to finish.</summary>
    public TaskCompletionSource<DecodedSpan> Completion { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
}
