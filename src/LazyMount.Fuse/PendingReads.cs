using LazyMount.FileSystem;
using LazyMount.Fuse.Protocol;
using Microsoft.Extensions.Logging;

namespace LazyMount.Fuse;

/// <summary>
/// READs whose bytes are not in memory: each waits for disk, network and decoding in a task and is answered from
/// wherever it completes (step 8 of docs/path-of-a-read.md). An interrupted one answers EINTR.
/// </summary>
internal sealed class PendingReads(ImageFileSystem fileSystem, ILogger logger) : IAsyncDisposable
{
    /// <summary>
    /// Reads being worked on at a time; further ones wait their turn, and there are never more than the kernel has
    /// readers. Bounds the decoded spans that are held besides the cache: 64 of 2 MiB.
    /// </summary>
    public const int MaxActive = 32;

    private readonly SemaphoreSlim _active = new(MaxActive);
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
            (read.Device, read.Unique, read.Node, read.Offset, read.Length) = (device, unique, node, offset, length);
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

    /// <summary>Cancels everything and waits until nothing is left. No READ may begin any more.</summary>
    public async ValueTask DisposeAsync()
    {
        Task drained;
        lock (_gate)
        {
            _drained = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            if (_byUnique.Count == 0)
            {
                _drained.SetResult();
            }
            foreach (Read read in _byUnique.Values)
            {
                _ = read.Cancellation.CancelAsync();
            }
            drained = _drained.Task;
        }
        await drained.ConfigureAwait(false);
        _active.Dispose();
    }

    private async Task RunAsync(Read read)
    {
        bool active = false;
        try
        {
            await _active.WaitAsync(read.Cancellation.Token).ConfigureAwait(false);
            active = true;
            Errno errno = await fileSystem.ReadAsync(read.Node, read.Offset, read.Length, read.Data, read.Cancellation.Token).ConfigureAwait(false);
            Answer(read, errno);
        }
        catch (OperationCanceledException)
        {
            Answer(read, Errno.EINTR);
        }
#pragma warning disable CA1031 // The kernel must be answered whatever happened.
        catch (Exception cause)
#pragma warning restore CA1031
        {
            logger.RequestFailed(FuseOpcode.Read, read.Node, cause.Message, cause);
            Answer(read, Errno.EIO);
        }
        finally
        {
            read.Data.Clear();
            if (active)
            {
                _active.Release();
            }
            End(read);
        }
    }

    private void Answer(Read read, Errno errno)
    {
        int refused = errno == Errno.None ? read.Device.WriteData(read.Unique, read.Data) : read.Device.WriteError(read.Unique, errno);
        if (FuseSession.IsRefusal(refused))
        {
            logger.ReplyRefused(FuseOpcode.Read, read.Node, refused);
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
        public readonly FileData Data = new();
        public readonly CancellationTokenSource Cancellation = new();

        public void Execute() => _ = owner.RunAsync(this);
    }
#pragma warning restore CA1001
}
