using System.Security.Cryptography;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using LazyMount.Compression;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using LazyMount.Layers;
using LazyMount.TestKit;
using LazyMount.Tests.Blobs;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Layers;

public sealed class LayerTests : IAsyncLifetime
{
    private const int Spacing = 64 << 10;

    private readonly TemporaryDirectory _directory = new();
    private readonly byte[] _tar = IndexFinderTests.Tar(1, files: 60);
    private RemoteSource _source = null!;
    private LayerIndex _index = null!;
    private Descriptor _blob = null!;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        var layout = new OciLayoutBuilder(_directory.CreateDirectory("layout"));
        string digest = layout.AddLayer(_tar).WriteImage("test")[0];
        _source = new RemoteSource(layout.Reference("test"));
        _blob = new Descriptor(OciLayoutBuilder.GzipLayer, TestDigest.Parse(digest), new FileInfo(layout.BlobFile(digest)).Length);
        await using Stream stream = await _source.OpenBlobAsync(_blob, 0, _blob.Size, Token);
        _index = await new LayerIndexer(NullLogger.Instance, Spacing).IndexAsync(_blob, stream, null, Token);
        Assert.True(_index.Checkpoints.Count > 10);
    }

    public async ValueTask DisposeAsync()
    {
        await _source.DisposeAsync();
        _directory.Dispose();
    }

    private Layer Open(SpanCache spans) => new(_index, new BlobReader(_blob, _index.Proof.Chunks, _source, new BlobCache(_directory["cache"])), spans);

    [Fact]
    public async Task RandomReadsOnManyThreads_GiveTheTarsBytesInBoundedMemory()
    {
        using var spans = new SpanCache(512 << 10); // some five of them
        using Layer layer = Open(spans);
        await Parallel.ForAsync(0, 16, Token, async (thread, token) =>
        {
            var random = new Random(thread);
            for (int i = 0; i < 150; i++)
            {
                int offset = random.Next(_tar.Length);
                if (!layer.TryGetSpan(offset, out SpanLease span))
                {
                    span = await layer.GetSpanAsync(offset, token);
                }
                Assert.InRange(offset, span.UncompressedOffset, span.UncompressedOffset + span.Length - 1);
                Assert.True(span.Bytes.SequenceEqual(_tar.AsSpan((int)span.UncompressedOffset, span.Length)));
                span.Dispose();
            }
        });
        Assert.InRange(spans.AllocatedBytes, 1, 512 << 10);
        layer.Dispose();
        Assert.InRange(spans.AllocatedBytes, 0, 512 << 10);
        spans.Dispose();
        Assert.Equal(0, spans.AllocatedBytes);
    }

    [Fact]
    public async Task ReadInOrder_FetchesEachByteOnce()
    {
        long fetched = 0;
        byte[] tar = IndexFinderTests.Tar(5, files: 300);
        var layout = new OciLayoutBuilder(_directory.CreateDirectory("other"));
        string digest = layout.AddLayer(tar).WriteImage("test")[0];
        await using var source = new RemoteSource(layout.Reference("test"));
        var blob = new Descriptor(OciLayoutBuilder.GzipLayer, TestDigest.Parse(digest), new FileInfo(layout.BlobFile(digest)).Length);
        LayerIndex index;
        await using (Stream stream = await source.OpenBlobAsync(blob, 0, blob.Size, Token))
        {
            index = await new LayerIndexer(NullLogger.Instance, Spacing).IndexAsync(blob, stream, null, Token);
        }
        source.Damage = bytes => Interlocked.Add(ref fetched, bytes.Length); // changes nothing, counts

        using var spans = new SpanCache(1 << 20);
        using var layer = new Layer(index, new BlobReader(blob, index.Proof.Chunks, source, new BlobCache(_directory["cache"])), spans);
        for (long at = 0; at < tar.Length;)
        {
            if (!layer.TryGetSpan(at, out SpanLease span))
            {
                span = await layer.GetSpanAsync(at, Token);
            }
            Assert.True(span.Bytes.SequenceEqual(tar.AsSpan((int)at, span.Length)));
            at += span.Length;
            span.Dispose();
        }
        Assert.Equal(blob.Size, Volatile.Read(ref fetched));
    }

    [Fact]
    public async Task HeldSpan_IsNeverOverwritten()
    {
        using var spans = new SpanCache(1);
        using Layer layer = Open(spans);
        SpanLease held = await layer.GetSpanAsync(0, Token);
        for (int offset = 0; offset < _tar.Length; offset += Spacing)
        {
            (await layer.GetSpanAsync(offset, Token)).Dispose();
        }
        Assert.True(held.Bytes.SequenceEqual(_tar.AsSpan(0, held.Length)));
        held.Dispose();
        Assert.Equal(0, spans.AllocatedBytes); // larger than the capacity: not kept when no one holds it
    }

    [Fact]
    public async Task SpanInMemory_IsFoundWithoutAllocating()
    {
        using var spans = new SpanCache(8 << 20);
        using Layer layer = Open(spans);
        Assert.False(layer.TryGetSpan(5, out _));
        (await layer.GetSpanAsync(5, Token)).Dispose();
        Assert.True(layer.TryGetSpan(7, out SpanLease first));
        first.Dispose();

        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++)
        {
            if (layer.TryGetSpan(i, out SpanLease span))
            {
                span.Dispose();
            }
        }
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Fact]
    public async Task LeastRecentlyUsed_GoesFirst()
    {
        using var spans = new SpanCache(400 << 10);
        using Layer layer = Open(spans);
        int used = 0;
        for (int span = 0; span < 6; span++)
        {
            (await layer.GetSpanAsync(layer.Spans.UncompressedOffset(span), Token)).Dispose();
            if (layer.TryGetSpan(0, out SpanLease first))
            {
                first.Dispose();
                used++;
            }
        }
        Assert.Equal(6, used);
        Assert.False(layer.TryGetSpan(layer.Spans.UncompressedOffset(1), out _));
    }

    /// <summary>What nobody reads any more is given back; what a reader holds is not; and it is decoded again when it is wanted again.</summary>
    [Fact]
    public async Task SpansThatNobodyReads_AreGivenBack()
    {
        using var idled = new SemaphoreSlim(0);
        using var spans = new SpanCache(8 << 20, SpanCache.InFlight, TimeSpan.FromMilliseconds(50)) { Idled = () => idled.Release() };
        using Layer layer = Open(spans);
        SpanLease held = await layer.GetSpanAsync(0, Token);
        (await layer.GetSpanAsync(layer.Spans.UncompressedOffset(5), Token)).Dispose();
        while (layer.TryGetSpan(layer.Spans.UncompressedOffset(5), out SpanLease other))
        {
            other.Dispose();
            await Task.Delay(200, Token);
        }
        Assert.Equal(_tar.AsSpan(0, held.Length), held.Bytes);
        Assert.Equal(0, idled.CurrentCount);
        held.Dispose();
        Assert.True(await idled.WaitAsync(TimeSpan.FromMinutes(1), Token));
        Assert.Equal(0, spans.AllocatedBytes);
        using SpanLease again = await layer.GetSpanAsync(0, Token);
        Assert.Equal(_tar.AsSpan(0, again.Length), again.Bytes);
    }

    [Fact]
    public async Task ConcurrentCalls_ShareOneDecodingAndOneMayLeave()
    {
        using var spans = new SpanCache(8 << 20);
        using Layer layer = Open(spans);
        var go = new TaskCompletionSource();
        var isOpening = new TaskCompletionSource();
        _source.BeforeOpen = (_, _, token) =>
        {
            isOpening.TrySetResult();
            return go.Task.WaitAsync(token);
        };
        int opened = _source.Opened;
        using var cancellation = new CancellationTokenSource();
        Task<SpanLease> leaving = layer.GetSpanAsync(0, cancellation.Token).AsTask();
        Task<SpanLease> staying = layer.GetSpanAsync(1, Token).AsTask(), other = layer.GetSpanAsync(2, Token).AsTask();
        await isOpening.Task;
        await cancellation.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => leaving);
        go.SetResult();

        SpanLease span = await staying;
        SpanLease same = await other;
        Assert.True(span.Bytes == same.Bytes);
        Assert.Equal(opened + 1, _source.Opened);
        Assert.True(span.Bytes.SequenceEqual(_tar.AsSpan(0, span.Length)));
        span.Dispose();
        same.Dispose();
    }

    /// <summary>However many spans are wanted at once, and however slow the source: what is under way is bounded, and all are read.</summary>
    [Fact]
    public async Task SpansUnderWay_AreBounded_AndNoneIsForgotten()
    {
        const long InFlight = 1_000_000;
        using var spans = new SpanCache(100_000, InFlight);
        using Layer layer = Open(spans);
        long most = 0;
        _source.BeforeOpen = async (_, _, _) =>
        {
            Note();
            await Task.Delay(1, CancellationToken.None);
        };
        using var cancellation = new CancellationTokenSource();
        await Parallel.ForAsync(0, 400, new ParallelOptions { MaxDegreeOfParallelism = 100, CancellationToken = Token }, async (i, token) =>
        {
            int offset = new Random(i).Next(_tar.Length);
            try
            {
                Task<SpanLease> waiting = layer.GetSpanAsync(offset, i % 10 == 9 ? cancellation.Token : token, wanted: 200_000).AsTask();
                Note();
                if (i == 200)
                {
                    await cancellation.CancelAsync();
                }
                using SpanLease span = await waiting;
                Assert.True(span.Bytes.SequenceEqual(_tar.AsSpan((int)span.UncompressedOffset, span.Length)));
            }
            catch (OperationCanceledException) when (i % 10 == 9)
            {
            }
        });
        Assert.InRange(Volatile.Read(ref most), 1, InFlight);
        while (spans.Remote.Taken + spans.Local.Taken > 0) // spans that nobody waits for
        {
            await Task.Delay(5, Token);
        }
        Assert.InRange(spans.AllocatedBytes, 0, 100_000);

        void Note()
        {
            long now = Math.Max(spans.Remote.Taken, spans.Local.Taken);
            for (long seen = Volatile.Read(ref most); now > seen; seen = Volatile.Read(ref most))
            {
                Interlocked.CompareExchange(ref most, now, seen);
            }
        }
    }

    [Fact]
    public async Task SpansThatAreHere_DoNotWaitForThoseThatAreNot()
    {
        using var spans = new SpanCache(1, inFlight: 300_000);
        using Layer layer = Open(spans);
        (await layer.GetSpanAsync(0, Token)).Dispose(); // its chunk is in the cache from now on
        var go = new TaskCompletionSource();
        _source.BeforeOpen = (_, _, token) => go.Task.WaitAsync(token);
        int chunk = _index.Proof.Chunks!.ChunkSize;
        Assert.True(_blob.Size > 2 * chunk);
        Task<SpanLease>[] waiting = [.. Enumerable.Range(0, _index.Checkpoints.Count).Where(i => _index.Checkpoints.CompressedOffset(i) > chunk)
            .Select(i => layer.GetSpanAsync(_index.Checkpoints.UncompressedOffset(i), Token).AsTask())];
        (await layer.GetSpanAsync(0, Token)).Dispose();
        Assert.DoesNotContain(waiting, each => each.IsCompleted);
        go.SetResult();
        foreach (Task<SpanLease> each in waiting)
        {
            (await each).Dispose();
        }
    }

    [Fact]
    public async Task OneRead_BeginsFewSpans()
    {
        int opened = 0;
        const int Size = 200 * 65536;
        LayerIndex index = Uncompressed(SpansOf64KiB(200), Size);
        var source = new CountingSource(new byte[Size], () => Interlocked.Increment(ref opened));
        using var spans = new SpanCache(64 << 20);
        using var layer = new Layer(index, new BlobReader(_blob with { Size = Size }, null, source, new BlobCache(_directory["cache"])), spans);
        (await layer.GetSpanAsync(0, Token, wanted: Size)).Dispose();
        while (spans.Local.Taken > 0 || Volatile.Read(ref opened) < 32)
        {
            await Task.Delay(5, Token);
        }
        Assert.Equal(32, opened);
    }

    /// <summary>A read that fails because it cannot know where its later spans are leaves nothing behind that other readers would wait for.</summary>
    [Fact]
    public async Task ReadIntoADamagedTable_HoldsUpNobody()
    {
        const int Count = 300, OfBlock = 256, SpanSize = 65536, Size = Count * SpanSize;
        string path = _directory["table"];
        using (FileStream stream = File.Create(path))
        {
            using var writer = new CheckedFile.Writer(stream);
            writer.Write(SpansOf64KiB(Count).Encode(0));
            writer.Finish();
        }
        var cache = new CheckedFile.BlockCache(1);
        using CheckedFile file = CheckedFile.TryOpen(path, cache)!;
        LayerIndex index = Uncompressed(new CheckpointTable(file, new CheckpointTable.Layout(0, Count, Count, 0), Size, Size), Size);
        using (FileStream bad = File.OpenWrite(path))
        {
            bad.Position = 4096;
            bad.WriteByte(1);
        }
        file.Read(0, new byte[1]); // the damaged block is in memory no longer
        byte[] bytes = [.. Enumerable.Range(0, Size).Select(i => (byte)(i / SpanSize))];
        using var spans = new SpanCache(64 << 20);
        using var layer = new Layer(index, new BlobReader(_blob with { Size = Size }, null, new CountingSource(bytes, () => { }), new BlobCache(_directory["cache"])), spans);

        const int Span = OfBlock - 10;
        await Assert.ThrowsAsync<ImageException>(async () => await layer.GetSpanAsync(Span * SpanSize, Token, wanted: 20 * SpanSize));
        Task<SpanLease> another = layer.GetSpanAsync(Span * SpanSize, Token).AsTask();
        using SpanLease span = await another.WaitAsync(TimeSpan.FromMinutes(1), Token);
        Assert.Equal(Span, span.Bytes[0]);
    }

    private static CheckpointTable SpansOf64KiB(int count)
    {
        using var builder = new CheckpointTableBuilder(new IndexBudget(IndexLimits.Default));
        for (int i = 0; i < count; i++)
        {
            builder.Add(new Checkpoint(i * 65536L, 0, i * 65536L, AtMemberStart: true, default));
        }
        return builder.Build(count * 65536, count * 65536);
    }

    private LayerIndex Uncompressed(CheckpointTable spans, int size) => _index with
    {
        Format = CompressionFormat.None,
        Proof = Proof.OfParser((RangeDigests?)null),
        CompressedSize = size,
        UncompressedSize = size,
        Checkpoints = spans,
    };

    private sealed class CountingSource(byte[] bytes, Action opening) : IBlobSource
    {
        private readonly BytesSource _source = new(bytes);

        public bool IsLocal => true;

        public bool IsVerified => true;

        public bool Distrust(Descriptor blob) => false;

        public Task<Stream> OpenBlobAsync(Descriptor blob, long offset, long length, CancellationToken cancellationToken)
        {
            opening();
            return _source.OpenBlobAsync(blob, offset, length, cancellationToken);
        }
    }

    [Fact]
    public async Task LastOneLeaving_EndsTheWorkAndTheNextBeginsAnew()
    {
        using var spans = new SpanCache(8 << 20);
        using Layer layer = Open(spans);
        var isOpening = new TaskCompletionSource();
        var ended = new TaskCompletionSource();
        _source.BeforeOpen = async (_, _, token) =>
        {
            isOpening.TrySetResult();
            try
            {
                await Task.Delay(Timeout.Infinite, token);
            }
            finally
            {
                ended.TrySetResult();
            }
        };
        using var cancellation = new CancellationTokenSource();
        Task<SpanLease> leaving = layer.GetSpanAsync(0, cancellation.Token).AsTask();
        await isOpening.Task;
        await cancellation.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => leaving);
        await ended.Task.WaitAsync(TimeSpan.FromSeconds(30), Token);

        _source.BeforeOpen = null;
        (await layer.GetSpanAsync(0, Token)).Dispose();
    }

    [Fact]
    public async Task Failure_IsToldToAllAndNotKept()
    {
        using var spans = new SpanCache(8 << 20);
        using Layer layer = Open(spans);
        _source.BeforeOpen = (_, _, _) => throw new ImageException(ImageError.Unreachable, "The line is dead.");
        Task<SpanLease>[] calls = [.. Enumerable.Range(0, 5).Select(i => layer.GetSpanAsync(i, Token).AsTask())];
        foreach (Task<SpanLease> call in calls)
        {
            Assert.Equal("The line is dead.", (await Assert.ThrowsAsync<ImageException>(() => call)).Message);
        }
        _source.BeforeOpen = null;
        (await layer.GetSpanAsync(0, Token)).Dispose();
    }

    [Fact]
    public async Task LayerClosedWhileReading_TellsWhoWaits()
    {
        using var spans = new SpanCache(8 << 20);
        using Layer layer = Open(spans);
        var isOpening = new TaskCompletionSource();
        _source.BeforeOpen = (_, _, token) =>
        {
            isOpening.TrySetResult();
            return Task.Delay(Timeout.Infinite, token);
        };
        Task<SpanLease> call = layer.GetSpanAsync(0, Token).AsTask();
        await isOpening.Task;
        layer.Dispose();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => call);
    }

    [Fact]
    public async Task IndexThatDoesNotBelongToTheBlob_IsAnErrorNotWrongBytes()
    {
        using var builder = new CheckpointTableBuilder(new IndexBudget(IndexLimits.Default));
        builder.Add(_index.Checkpoints[0]);
        LayerIndex wrong = _index with { UncompressedSize = _index.UncompressedSize + 1, Checkpoints = builder.Build(_index.UncompressedSize + 1, _index.CompressedSize) };
        using var spans = new SpanCache(8 << 20);
        using var layer = new Layer(wrong, new BlobReader(_blob, _index.Proof.Chunks, _source, new BlobCache(_directory["cache"])), spans);
        await Assert.ThrowsAsync<InvalidDataException>(() => layer.GetSpanAsync(0, Token).AsTask());
    }

    /// <summary>The index with digests of whole spans in place of those of chunks.</summary>
    private async Task<LayerIndex> WithRangesAsync(bool ofCompressed)
    {
        CheckpointTable spans = _index.Checkpoints;
        byte[] blob = new byte[_blob.Size];
        await using (Stream stream = await _source.OpenBlobAsync(_blob, 0, _blob.Size, Token))
        {
            await stream.ReadExactlyAsync(blob, Token);
        }
        var offsets = new long[spans.Count];
        var lengths = new int[spans.Count];
        var digests = new byte[spans.Count * ChunkDigests.DigestSize];
        for (int i = 0; i < spans.Count; i++)
        {
            offsets[i] = ofCompressed ? spans.CompressedOffset(i) : spans.UncompressedOffset(i);
            lengths[i] = ofCompressed ? (int)(spans.CompressedEnd(i) - offsets[i]) : spans.Length(i);
            SHA256.HashData((ofCompressed ? blob : _tar).AsSpan((int)offsets[i], lengths[i]), digests.AsSpan(i * ChunkDigests.DigestSize));
        }
        return _index with { Proof = Proof.OfParser(new RangeDigests(ofCompressed, offsets, lengths, digests)) };
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Ranges_VouchForEachSpan(bool ofCompressed)
    {
        LayerIndex index = await WithRangesAsync(ofCompressed);
        using var spans = new SpanCache(8 << 20);
        using var layer = new Layer(index, new BlobReader(_blob, null, _source, new BlobCache(_directory["cache"]), scope: ChunkScope.Of("test")), spans);
        for (int i = 0; i < index.Checkpoints.Count; i++)
        {
            SpanLease span = await layer.GetSpanAsync(index.Checkpoints.UncompressedOffset(i), Token);
            Assert.True(span.Bytes.SequenceEqual(_tar.AsSpan((int)span.UncompressedOffset, span.Length)));
            span.Dispose();
        }
    }

    [Theory]
    [InlineData(true, 1)]
    [InlineData(false, 1)]
    [InlineData(true, 2)]
    [InlineData(false, 2)]
    public async Task ASpanThatItsRangeDoesNotVouchFor_IsFetchedAgain_ThenAnError(bool ofCompressed, int damagedTimes)
    {
        LayerIndex index = await WithRangesAsync(ofCompressed);
        int opened = 0;
        _source.Damage = bytes =>
        {
            if (Interlocked.Increment(ref opened) <= damagedTimes)
            {
                bytes[1000] ^= 1; // of the first span
            }
        };
        using var spans = new SpanCache(8 << 20);
        using var layer = new Layer(index, new BlobReader(_blob, null, _source, new BlobCache(_directory["cache"]), scope: ChunkScope.Of("test")), spans);
        Task<SpanLease> call = layer.GetSpanAsync(0, Token).AsTask();
        if (damagedTimes == 2)
        {
            Assert.Equal(ImageError.Verification, (await Assert.ThrowsAsync<ImageException>(() => call)).Error);
            return;
        }
        SpanLease span = await call;
        Assert.True(span.Bytes.SequenceEqual(_tar.AsSpan(0, span.Length)));
        span.Dispose();
    }
}
