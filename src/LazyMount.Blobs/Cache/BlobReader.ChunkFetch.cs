using System.Buffers;
using System.Diagnostics;
using LazyMount.Blobs.Counting;
using LazyMount.Blobs.Images;

namespace LazyMount.Blobs.Cache;

public sealed partial class BlobReader
{
    /// <summary>
    /// One request for chunks [First, End), shared by everybody who wants some of them. It runs on its own: a waiter
    /// that is cancelled leaves, and only the last one's leaving cancels it. Its pooled buffer is counted by the waiters
    /// and the request itself.
    /// </summary>
    private sealed class ChunkFetch(BlobReader reader, int first, int end) : IDisposable
    {
        private readonly CancellationTokenSource _cancellation = new();
        private readonly TaskCompletionSource _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private byte[] _buffer = [];

        // Who begins a fetch waits for it.
        private int _waiters = 1; // guarded by the reader's lock
        private int _holders = 2; // interlocked: the waiters, and the request until it has ended

        /// <summary>All chunks come from the source, not from the cache, and no other reader may join the fetch.</summary>
        public bool IsAfresh { get; init; }

        public int First => first;
        public int End => end;
        public Task Completion => _completion.Task;

        public ReadOnlySpan<byte> Bytes(int chunk) => BufferOf(chunk, chunk + 1).Span;

        /// <summary>Called under the reader's lock.</summary>
        public void Join()
        {
            _waiters++;
            Interlocked.Increment(ref _holders);
        }

        /// <summary>A waiter leaves: once for each, the one who began it included.</summary>
        public void Dispose()
        {
            bool abandoned;
            lock (reader._lock)
            {
                abandoned = --_waiters == 0 && !_completion.Task.IsCompleted;
                if (abandoned)
                    Unlist(); // nobody may join a fetch that is being cancelled
            }
            if (abandoned)
                Cancel();
            Release();
        }

        public void Cancel()
        {
            try
            {
                _cancellation.Cancel();
            }
            catch (ObjectDisposedException)
            {
                // It has ended meanwhile.
            }
        }

        public void Begin() => _ = Task.Run(RunAsync);

        private async Task RunAsync()
        {
            Exception? failure = null;
            try
            {
                await FetchAsync(_cancellation.Token).ConfigureAwait(false);
            }
            catch (Exception e)
            {
                failure = e; // goes to the waiters
            }
            lock (reader._lock)
                Unlist();
            if (failure is null)
                _completion.SetResult();
            else if (failure is OperationCanceledException)
                _completion.SetCanceled(CancellationToken.None);
            else
            {
                reader._cache.Counters.Add(Counter.FailedFetches);
                _completion.SetException(failure);
            }
            _ = _completion.Task.Exception; // observed, even if every waiter has left
            Release();
        }

        private async Task FetchAsync(CancellationToken cancellationToken)
        {
            // :: Step 8: one request, verified chunk by chunk, for all who wait.
            _buffer = ArrayPool<byte>.Shared.Rent(reader._grid.Extent(first, end).Length);
            if (IsAfresh)
            {
                await FetchAsync(first, end, cancellationToken).ConfigureAwait(false);
                return;
            }

            if (reader.Store is not { } store)
            {
                await FetchAsync(first, end, cancellationToken).ConfigureAwait(false);
                return;
            }
            using IDisposable? claim = await store.ClaimAsync(first, end, cancellationToken).ConfigureAwait(false);
            for (int chunk = first; chunk < end;)
            {
                // Another process may have fetched them while we waited for it.
                (int cached, int gapEnd) = ReadCached(store, chunk);
                chunk += cached;
                if (chunk == end)
                    break;
                await FetchAsync(chunk, gapEnd, cancellationToken).ConfigureAwait(false);
                chunk = gapEnd;
            }
        }

        // How many chunks from this one on the cache has, which are read, and the end of the gap behind them.
        private (int Cached, int GapEnd) ReadCached(ChunkStore store, int chunk)
        {
            var reading = new ChunkStore.Reading(store);
            try
            {
                int cached = reader.ReadCached(ref reading, chunk, BufferOf(chunk, end).Span);
                return (cached, chunk + cached == end ? end : reading.Find(present: true, chunk + cached + 1, end));
            }
            finally
            {
                reading.Dispose();
            }
        }

        private async Task FetchAsync(int from, int to, CancellationToken cancellationToken)
        {
            (long begin, int wanted) = reader._grid.Extent(from, to);
            List<int>? bad = null;
            long began = Stopwatch.GetTimestamp();
            Stream stream = await reader._source.OpenBlobAsync(reader._blob, begin, wanted, cancellationToken).ConfigureAwait(false);
            await using (stream.ConfigureAwait(false))
            {
                for (int chunk = from; chunk < to; chunk++)
                {
                    if (!await TryReadAsync(stream, chunk, cancellationToken).ConfigureAwait(false))
                        (bad ??= []).Add(chunk);
                }
            }
            if (!reader._source.IsLocal)
            {
                reader._cache.Counters.Add(Counter.ChunkMisses, to - from);
                reader._cache.Counters.AddWait(Wait.Fetch, began);
            }
            foreach (int chunk in bad ?? [])
            {
                reader._logger.ChunkMismatch(reader._blob.Digest, chunk);
                reader._source.Distrust(reader._blob);
                (long offset, int length) = reader._grid.Extent(chunk, chunk + 1);
                Stream again = await reader._source.OpenBlobAsync(reader._blob, offset, length, cancellationToken).ConfigureAwait(false);
                await using (again.ConfigureAwait(false))
                {
                    if (!await TryReadAsync(again, chunk, cancellationToken).ConfigureAwait(false))
                    {
                        throw new ImageException(ImageError.Verification, $"cannot use bytes {offset}-{offset + length - 1} of blob {reader._blob.Digest}: they were fetched twice and do not match their SHA-256; push or copy the image again");
                    }
                }
            }
        }

        private async Task<bool> TryReadAsync(Stream stream, int chunk, CancellationToken cancellationToken)
        {
            (long offset, int length) = reader._grid.Extent(chunk, chunk + 1);
            Memory<byte> bytes = BufferOf(chunk, chunk + 1);
            try
            {
                await stream.ReadExactlyAsync(bytes, cancellationToken).ConfigureAwait(false);
            }
            catch (ImageException e) when (e.Error == ImageError.Verification)
            {
                return false; // the source itself has found out
            }
            catch (EndOfStreamException e)
            {
                throw new ImageException(ImageError.Invalid, $"cannot get all of blob {reader._blob.Digest}: it ends before byte {offset + length}; push or copy the image again", e);
            }
            Ground ground = reader._ground; // what is not verified stays in its scope, even if the blob is proved meanwhile
            if (!IsGood(ground.Chunks, chunk, bytes.Span))
                return false;
            if (reader._isVerifiedOnly && ground.Chunks is null && !reader._source.IsVerified)
                throw new ImageException(ImageError.Verification, $"cannot use bytes {offset}-{offset + length - 1} of blob {reader._blob.Digest}: they came over a connection that is not verified, and no digest vouches for them; mount the image again with --index-trust bound, which reads the layer whole");
            ground.Store?.Keep(chunk, bytes.Span);
            return true;
        }

        private Memory<byte> BufferOf(int from, int to)
        {
            (long offset, int length) = reader._grid.Extent(from, to);
            return _buffer.AsMemory((int)(offset - reader._grid.Extent(first, end).Offset), length);
        }

        private void Unlist()
        {
            for (int chunk = first; chunk < end; chunk++)
            {
                if (reader._inFlight.TryGetValue(chunk, out ChunkFetch? listed) && listed == this)
                    reader._inFlight.Remove(chunk);
            }
        }

        private void Release()
        {
            if (Interlocked.Decrement(ref _holders) > 0)
                return;
            _cancellation.Dispose();
            if (_buffer.Length > 0)
                ArrayPool<byte>.Shared.Return(_buffer);
        }
    }
}
