using System.Diagnostics;
using LazyMount.Blobs.Counting;
using LazyMount.FileSystem;
using LazyMount.Fuse.Protocol;
using Microsoft.Extensions.Logging;

namespace LazyMount.Fuse;

/// <summary>
/// READs whose bytes are not in memory: each waits for disk, network and decoding in a task and is answered from
/// wherever it completes (step 8 of docs/path-of-a-read.md). An interrupted one answers EINTR. Their number is bounded by the kernel
/// (<see cref="Negotiation.MaxBackground"/>) and by nothing here: a READ that waits for the network must not hold up one whose
/// chunks are on disk. What costs, decoding and memory, is bounded where it is done.
/// </summary>
internal sealed class PendingReads(ImageFileSystem fileSystem, ILogger logger)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<ulong, Read> _byUnique = []; // guarded by _gate
    private readonly Stack<Read> _pool = []; // guarded by _gate
    private TaskCompletionSource? _drained; // guarded by _gate

    /// <summary>Takes a READ that was read from <paramref name="device"/>; its answer goes there.</summary>
    public void Begin(FuseDevice device, ulong unique, ulong node, long offset, int length)
    {
        Read? read;
        lock (_gate)
        {
            read = _pool.TryPop(out read) ? read : new Read(this);
            (read.Device, read.Unique, read.Node, read.Offset, read.Length, read.Began) = (device, unique, node, offset, length, Stopwatch.GetTimestamp());
            _byUnique.Add(unique, read);
        }
        ThreadPool.UnsafeQueueUserWorkItem(read, preferLocal: false);
    }

    /// <summary>Interrupts a READ; false when it is not here (not yet, or no longer).</summary>
    public bool TryInterrupt(ulong unique)
    {
        lock (_gate)
        {
            // Under the lock, so that the object is not in use for another READ already. Callbacks run elsewhere.
            if (!_byUnique.TryGetValue(unique, out Read? read))
            {
                return false;
            }
            _ = read.Cancellation.CancelAsync();
            return true;
        }
    }

    /// <summary>Ends all waiting: each READ is answered EINTR, or EIO when the file system refuses reads.</summary>
    public void CancelAll()
    {
        lock (_gate)
        {
            foreach (Read read in _byUnique.Values)
            {
                _ = read.Cancellation.CancelAsync();
            }
        }
    }

    /// <summary>Waits until nothing is left. No READ may begin any more.</summary>
    /// <param name="cancels">Whether they are cancelled, or answered as if nothing had happened.</param>
    public async Task EndAsync(bool cancels)
    {
        Task drained;
        lock (_gate)
        {
            _drained = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            if (_byUnique.Count == 0)
            {
                _drained.SetResult();
            }
            drained = _drained.Task;
        }
        if (cancels)
        {
            CancelAll();
        }
        await drained.ConfigureAwait(false);
    }

    private async Task RunAsync(Read read)
    {
        // :: Step 8: whoever completes the READ writes the answer.
        try
        {
            Errno errno = await fileSystem.ReadAsync(read.Node, read.Offset, read.Length, read.Data, read.Cancellation.Token).ConfigureAwait(false);
            Answer(read, errno);
        }
#pragma warning disable CA1031 // The kernel must be answered whatever happened.
        catch (Exception cause)
#pragma warning restore CA1031
        {
            logger.RequestFailed(FuseOpcode.Read, fileSystem.NoteFailure(read.Node, read.Offset, cause), cause.Message, cause);
            Answer(read, Errno.EIO);
        }
        finally
        {
            read.Data.Clear();
            End(read);
        }
    }

    private void Answer(Read read, Errno errno)
    {
        fileSystem.Counters.AddWait(Wait.Read, read.Began);
        int refused = errno == Errno.None ? read.Device.Answer(read.Unique, read.Data) : read.Device.Answer(read.Unique, errno);
        if (refused != 0)
        {
            logger.ReplyRefused(FuseOpcode.Read, fileSystem.Describe(read.Node), refused);
        }
    }

    private void End(Read read)
    {
        lock (_gate)
        {
            _byUnique.Remove(read.Unique);
            if (read.Cancellation.TryReset())
            {
                _pool.Push(read);
            }
            if (_byUnique.Count == 0)
            {
                _drained?.TrySetResult();
            }
        }
    }

#pragma warning disable CA1001 // A source without timer and wait handle holds nothing that needs disposing.
    /// <summary>One READ with all that it needs; used again for later ones unless it was interrupted.</summary>
    private sealed class Read(PendingReads owner) : IThreadPoolWorkItem
    {
        public FuseDevice Device = null!;
        public ulong Unique;
        public ulong Node;
        public long Offset;
        public int Length;
        public long Began; // as Stopwatch counts
        public readonly FileData Data = new();
        public readonly CancellationTokenSource Cancellation = new();

        public void Execute() => _ = owner.RunAsync(this);
    }
#pragma warning restore CA1001
}
