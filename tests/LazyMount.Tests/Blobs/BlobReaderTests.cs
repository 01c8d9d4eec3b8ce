using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Layout;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry;
using LazyMount.Blobs.Sources;
using LazyMount.TestKit;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Blobs;

public sealed class BlobReaderTests : IDisposable
{
    private const int ChunkSize = 100;

    private readonly TempDirectory _directory = new();
    private readonly BlobCache _cache;
    private readonly byte[] _content = TestImage.RandomBytes(1030, 3);
    private readonly Descriptor _blob;
    private readonly ChunkDigests _chunks;

    public BlobReaderTests()
    {
        _cache = new BlobCache(Path.Combine(_directory.Path, "cache"));
        _blob = TestImage.DescriptorOf(_content);
        _chunks = TestImage.ChunksOf(_content, ChunkSize);
    }

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private string ChunkDirectory => Path.Combine(_cache.Root, "v1", "chunks", "sha256", _blob.Digest.Hex);

    // All 11 chunks are in one.
    private string Segment => Path.Combine(ChunkDirectory, "0");

    private void KeepAll()
    {
        using var store = new ChunkStore(_cache, _blob, ChunkSize, NullLogger.Instance);
        for (int chunk = 0; chunk < store.Grid.Count; chunk++)
            store.Keep(chunk, _content.AsSpan((int)store.Grid.Extent(chunk, chunk + 1).Offset, store.Grid.Extent(chunk, chunk + 1).Length));
    }

    public void Dispose() => _directory.Dispose();

    private static RegistrySource SourceOf(ScriptedServer server)
        => new(ImageReference.Parse($"{server.Host}/app"), TestRegistries.Options with { PlainHttp = true }, RegistrySourceTests.Impatient, NullLoggerFactory.Instance);

    private async Task AssertReadsAsync(BlobReader reader, int offset, int length)
    {
        byte[] buffer = new byte[length];
        await reader.ReadAsync(offset, buffer, Token);
        Assert.Equal(_content[offset..(offset + length)], buffer);
    }

    private async Task AssertReadsEverywhereAsync(BlobReader reader)
    {
        foreach ((int offset, int length) in ((int, int)[])[(0, 1030), (0, 0), (1030, 0), (0, 1), (1029, 1), (99, 2), (100, 100), (150, 700), (1000, 30), (999, 31), (305, 90)])
            await AssertReadsAsync(reader, offset, length);
    }

    [Fact]
    public async Task CachedBlob_IsReadWithoutTheSource()
    {
        KeepAll();
        await using var server = new ScriptedServer(_ => new ScriptedResponse(500));
        await using RegistrySource source = SourceOf(server);
        using var reader = new BlobReader(_blob, _chunks, source, _cache);
        await AssertReadsEverywhereAsync(reader);
        Assert.Empty(server.Requests);
    }

    [Fact]
    public async Task LocalBlob_IsReadFromTheLayout()
    {
        string layout = Path.Combine(_directory.Path, "layout");
        Directory.CreateDirectory(layout);
        using var directory = new TempDirectory();
        directory.WriteLayout(TestImage.Index(MediaTypes.OciIndex), _content);
        await using var source = new OciLayout(ImageReference.Parse("oci:" + directory.Path));
        using var reader = new BlobReader(_blob, _chunks, source, _cache);
        await AssertReadsEverywhereAsync(reader);
    }

    [Fact]
    public async Task AbsentBlob_IsReadByOneRequestForTheTouchedChunks()
    {
        await using var server = new ScriptedServer(request => ScriptedResponse.Of(_content, request));
        await using RegistrySource source = SourceOf(server);
        using var reader = new BlobReader(_blob, _chunks, source, _cache);
        await AssertReadsAsync(reader, 250, 300);
        Assert.Equal((200, 599), Assert.Single(server.Requests).Range);
        await AssertReadsEverywhereAsync(reader);
    }

    [Fact]
    public async Task DeletedCache_CostsANewFetch_AndIsFilledAgain()
    {
        KeepAll();
        await using var server = new ScriptedServer(request => ScriptedResponse.Of(_content, request));
        await using RegistrySource source = SourceOf(server);
        using var reader = new BlobReader(_blob, _chunks, source, _cache);
        await AssertReadsAsync(reader, 0, 1);
        Directory.Delete(_cache.Root, recursive: true);
        await AssertReadsAsync(reader, 0, 1030);
        await AssertReadsEverywhereAsync(reader);
        Assert.Null(Assert.Single(server.Requests).Range); // all of it
    }

    [Fact]
    public async Task WhatWasFetched_IsKeptForWhoeverComesLater()
    {
        await using var server = new ScriptedServer(request => ScriptedResponse.Of(_content, request));
        await using RegistrySource source = SourceOf(server);
        using (var reader = new BlobReader(_blob, _chunks, source, _cache))
            await AssertReadsAsync(reader, 250, 300);
        using (var reader = new BlobReader(_blob, _chunks, source, new BlobCache(_cache.Root)))
            await AssertReadsEverywhereAsync(reader);
        Assert.Equal([(0, 199), (200, 599), (600, 1029)], server.Requests.Select(request => request.Range!.Value).Order());
    }

    [Fact]
    public async Task GapsBetweenCachedChunks_AreFetchedByOneRequestEach()
    {
        KeepAll();
        CacheSegment.Forget(Segment, 2, 3, 7);
        await using var server = new ScriptedServer(request => ScriptedResponse.Of(_content, request));
        await using RegistrySource source = SourceOf(server);
        using var reader = new BlobReader(_blob, _chunks, source, _cache);
        await AssertReadsAsync(reader, 0, 1030);
        Assert.Equal([(200, 399), (700, 799)], server.Requests.Select(request => request.Range!.Value).Order());
    }

    [Fact]
    public async Task ReadersOfTwoProcesses_ShareFetches()
    {
        var gate = new TaskCompletionSource();
        await using var server = new ScriptedServer(async request =>
        {
            await gate.Task;
            return ScriptedResponse.Of(_content, request);
        });
        // Record locks are a process's own: another must hold this one.
        using var store = new ChunkStore(_cache, _blob, ChunkSize, NullLogger.Instance);
        store.Keep(9, _content.AsSpan(900, 100));
        (await store.ClaimAsync(9, 10, Token))!.Dispose(); // makes the file
        string marker = Path.Combine(_directory.Path, "locked");
        using Tool other = Tool.Start("perl", ["-e", "open(F,'+<',$ARGV[0]); $b=pack('s s x4 q q i x4',1,0,2,3,0); fcntl(F,6,$b) or die $!; open(M,'>',$ARGV[1]); close(M); sleep(60)", Path.Combine(ChunkDirectory, "claims"), marker]);
        while (!File.Exists(marker) && !other.HasExited)
            await Task.Delay(10, Token);
        await using RegistrySource source = SourceOf(server);
        using var reader = new BlobReader(_blob, _chunks, source, _cache);
        Task free = AssertReadsAsync(reader, 0, 200), claimed = AssertReadsAsync(reader, 200, 300);
        gate.SetResult();
        await free;
        Assert.False(claimed.IsCompleted);
        store.Keep(2, _content.AsSpan(200, 100));
        store.Keep(3, _content.AsSpan(300, 100));
        other.Signal(9);
        await claimed;
        Assert.Equal([(0, 199), (400, 499)], server.Requests.Select(request => request.Range!.Value).Order());
    }

    [Fact]
    public async Task ChunkThatAStoppedProcessFetches_IsFetchedAllTheSame()
    {
        await using var server = new ScriptedServer(request => ScriptedResponse.Of(_content, request));
        using var stopped = new ChunkStore(_cache, _blob, ChunkSize, NullLogger.Instance);
        using IDisposable? claim = await stopped.ClaimAsync(2, 4, Token);
        Assert.NotNull(claim);
        await using RegistrySource source = SourceOf(server);
        using var reader = new BlobReader(_blob, _chunks, source, _cache) { ClaimPatience = TimeSpan.FromMilliseconds(100) };
        await AssertReadsAsync(reader, 0, 1030);
    }

    [Fact]
    public async Task Claims_HoldAgain_AfterTheCacheWasDeleted()
    {
        using ChunkStore one = new(_cache, _blob, ChunkSize, NullLogger.Instance) { ClaimPatience = TimeSpan.FromMilliseconds(50) }, two = new(_cache, _blob, ChunkSize, NullLogger.Instance);
        (await one.ClaimAsync(0, 5, Token))!.Dispose();
        Directory.Delete(_cache.Root, recursive: true);
        using IDisposable? claim = await two.ClaimAsync(0, 5, Token);
        Assert.NotNull(claim);
        Assert.Null(await one.ClaimAsync(4, 6, Token));
    }

    [Fact]
    public async Task ManyProcessesOfWhichSomeStopOrDie_AllReadTheRightBytes()
    {
        await using var server = new ScriptedServer(async request =>
        {
            await Task.Delay(Random.Shared.Next(30), Token);
            return ScriptedResponse.Of(_content, request);
        });
        for (int round = 0; round < 6; round++)
        {
            int seed = round;
            Directory.Delete(_cache.Root, recursive: true);
            using var unstop = new CancellationTokenSource();
            // A reader with a cache and a source of its own is a process to the others.
            await Task.WhenAll(Enumerable.Range(0, 6).Select(process => Task.Run(async () =>
            {
                var random = new Random(seed * 100 + process);
                bool stops = process == 0, dies = process == 1;
                await using RegistrySource source = SourceOf(server);
                var slow = new StoppableSource(source, stops ? random.Next(3) : int.MaxValue, unstop.Token);
                using var reader = new BlobReader(_blob, _chunks, slow, new BlobCache(_cache.Root)) { ClaimPatience = TimeSpan.FromMilliseconds(150) };
                for (int i = 0; i < 12; i++)
                {
                    int offset = random.Next(1000);
                    Task read = AssertReadsAsync(reader, offset, random.Next(1, 1030 - offset));
                    if (dies && i == 3)
                        return; // with what it has under way
                    if (stops)
                        _ = read.ContinueWith(static ended => ended.Exception, TaskScheduler.Default);
                    else
                        await read;
                }
            }, Token)));
            await unstop.CancelAsync();
        }
    }

    /// <summary>A source that gives nothing more after some requests, as one of a process that is stopped.</summary>
    private sealed class StoppableSource(IBlobSource source, int requests, CancellationToken end) : IBlobSource
    {
        private int _left = requests;

        public bool IsLocal => false;

        public bool IsVerified => source.IsVerified;

        public bool Distrust(Descriptor blob) => source.Distrust(blob);

        public async Task<Stream> OpenBlobAsync(Descriptor blob, long offset, long length, CancellationToken cancellationToken)
        {
            if (Interlocked.Decrement(ref _left) < 0)
                await Task.Delay(Timeout.Infinite, end);
            return await source.OpenBlobAsync(blob, offset, length, cancellationToken);
        }
    }

    [Fact]
    public async Task BlobThatIsCachedLater_IsFoundThere()
    {
        await using var server = new ScriptedServer(request => ScriptedResponse.Of(_content, request));
        await using RegistrySource source = SourceOf(server);
        using var reader = new BlobReader(_blob, _chunks, source, _cache);
        await AssertReadsAsync(reader, 0, 10);
        KeepAll();
        await AssertReadsEverywhereAsync(reader);
        Assert.Single(server.Requests);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task FlippedBitOnDisk_IsFetchedFromTheSource_ThatChunkOnly_AndHealed(bool hashIsRight)
    {
        KeepAll();
        byte[] good = await File.ReadAllBytesAsync(Segment, Token);
        CacheSegment.Flip(Segment, 5, 55, hashIsRight, ChunkSize); // with a right hash only the index's SHA-256 can tell
        await using var server = new ScriptedServer(request => ScriptedResponse.Of(_content, request));
        await using RegistrySource source = SourceOf(server);
        using var reader = new BlobReader(_blob, _chunks, source, _cache);
        await AssertReadsAsync(reader, 0, 1030);
        Assert.Equal((500, 599), Assert.Single(server.Requests).Range);
        Assert.Equal(good, await File.ReadAllBytesAsync(Segment, Token));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(170)]
    [InlineData(4000)]
    [InlineData(4096)]
    [InlineData(4400)]
    [InlineData(5125)]
    public async Task SegmentThatWasCut_GivesWhatIsLeftOfIt(int length)
    {
        KeepAll();
        byte[] good = await File.ReadAllBytesAsync(Segment, Token);
        Assert.Equal(4096 + 1030, good.Length);
        await File.WriteAllBytesAsync(Segment, good[..length], Token);
        await using var server = new ScriptedServer(request => ScriptedResponse.Of(_content, request));
        await using RegistrySource source = SourceOf(server);
        using var reader = new BlobReader(_blob, _chunks, source, _cache);
        await AssertReadsAsync(reader, 0, 1030);
        int whole = length < 4096 ? 0 : (length - 4096) / ChunkSize;
        Assert.Equal(1030 - whole * ChunkSize, server.Requests.Sum(request => request.Range is { } range ? range.Last - range.First + 1 : 1030));
        Assert.Equal(good, await File.ReadAllBytesAsync(Segment, Token));
    }

    [Fact]
    public async Task SegmentFullOfNonsense_CountsAsAbsent()
    {
        Directory.CreateDirectory(ChunkDirectory);
        await File.WriteAllBytesAsync(Segment, TestImage.RandomBytes(9000, 4), Token);
        await using var server = new ScriptedServer(request => ScriptedResponse.Of(_content, request));
        await using RegistrySource source = SourceOf(server);
        using var reader = new BlobReader(_blob, _chunks, source, _cache);
        await AssertReadsEverywhereAsync(reader);
        await AssertReadsEverywhereAsync(reader);
        Assert.Equal(1030, server.Requests.Sum(request => request.Range is { } range ? range.Last - range.First + 1 : 1030)); // and kept again
    }

    [Fact]
    public async Task CacheThatTakesNothing_ServesAllTheSame()
    {
        await File.WriteAllTextAsync(Path.Combine(_cache.GetDirectory("chunks"), "sha256"), "a file where a directory should be", Token);
        await using var server = new ScriptedServer(request => ScriptedResponse.Of(_content, request));
        await using RegistrySource source = SourceOf(server);
        using var reader = new BlobReader(_blob, _chunks, source, _cache);
        await AssertReadsEverywhereAsync(reader);
    }

    [Fact]
    public async Task BadChunkFromTheNetwork_IsFetchedOnceMore()
    {
        int answers = 0;
        await using var server = new ScriptedServer(request =>
        {
            byte[] bytes = [.. _content];
            bytes[222] ^= (byte)(answers++ == 0 ? 1 : 0);
            return ScriptedResponse.Of(bytes, request);
        });
        await using RegistrySource source = SourceOf(server);
        using var reader = new BlobReader(_blob, _chunks, source, _cache);
        await AssertReadsAsync(reader, 110, 400);
        Assert.Equal([(100, 599), (200, 299)], server.Requests.Select(request => request.Range!.Value));
    }

    [Fact]
    public async Task ChunkThatIsBadTwice_IsAVerificationErrorAndNoByteIsGiven()
    {
        byte[] bad = [.. _content];
        bad[222] ^= 1;
        await using var server = new ScriptedServer(request => ScriptedResponse.Of(bad, request));
        await using RegistrySource source = SourceOf(server);
        using var reader = new BlobReader(_blob, _chunks, source, _cache);
        byte[] buffer = new byte[100];
        var e = await Assert.ThrowsAsync<ImageException>(() => reader.ReadAsync(190, buffer, Token).AsTask());
        Assert.Equal(ImageError.Verification, e.Error);
        Assert.Contains("cannot use bytes 200-299", e.Message, StringComparison.Ordinal);
        Assert.Equal(2, server.Requests.Count);
        await AssertReadsAsync(reader, 300, 400);
    }

    [Fact]
    public async Task ConcurrentReads_ShareFetches()
    {
        var gate = new TaskCompletionSource();
        await using var server = new ScriptedServer(async request =>
        {
            await gate.Task;
            return ScriptedResponse.Of(_content, request);
        });
        await using RegistrySource source = SourceOf(server);
        using var reader = new BlobReader(_blob, _chunks, source, _cache);
        Task[] reads = [
            AssertReadsAsync(reader, 0, 500),
            .. Enumerable.Range(0, 20).Select(i => AssertReadsAsync(reader, 10 * i, 300)),
            AssertReadsAsync(reader, 450, 580), // chunk 4 is under way, the rest is new
        ];
        gate.SetResult();
        await Task.WhenAll(reads);
        Assert.Equal([(0, 499), (500, 1029)], server.Requests.Select(request => request.Range!.Value).Order());
    }

    [Fact]
    public async Task CancelledReader_DoesNotCancelTheOthers()
    {
        var gate = new TaskCompletionSource();
        await using var server = new ScriptedServer(async request =>
        {
            await gate.Task;
            return ScriptedResponse.Of(_content, request);
        });
        await using RegistrySource source = SourceOf(server);
        using var reader = new BlobReader(_blob, _chunks, source, _cache);
        using var cancellation = new CancellationTokenSource();
        ValueTask first = reader.ReadAsync(0, new byte[300], cancellation.Token);
        Task second = AssertReadsAsync(reader, 100, 100);
        await cancellation.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(first.AsTask);
        gate.SetResult();
        await second;
        Assert.Single(server.Requests);

        // And a fetch that everybody left does not stand in the way of the next.
        var endless = new CancellationTokenSource();
        ValueTask third = reader.ReadAsync(500, new byte[300], endless.Token);
        await endless.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(third.AsTask);
        await AssertReadsAsync(reader, 500, 300);
        endless.Dispose();
    }

    [Fact]
    public async Task FailedFetch_FailsItsReaders_AndTheNextReadTriesAgain()
    {
        bool broken = true;
        await using var server = new ScriptedServer(request => broken ? new ScriptedResponse(404) : ScriptedResponse.Of(_content, request));
        await using RegistrySource source = SourceOf(server);
        using var reader = new BlobReader(_blob, _chunks, source, _cache);
        var e = await Assert.ThrowsAsync<RegistryException>(() => reader.ReadAsync(0, new byte[10], Token).AsTask());
        Assert.Equal(ImageError.NotFound, e.Error);
        broken = false;
        await AssertReadsEverywhereAsync(reader);
    }

    [Fact]
    public async Task ReadsOutsideTheBlobAndAfterDispose_AreRefused()
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(500));
        await using RegistrySource source = SourceOf(server);
        var reader = new BlobReader(_blob, _chunks, source, _cache);
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => reader.ReadAsync(1030, new byte[1], Token).AsTask());
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => reader.ReadAsync(-1, new byte[1], Token).AsTask());
        reader.Dispose();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => reader.ReadAsync(0, new byte[1], Token).AsTask());
        Assert.Throws<ArgumentException>(() => new BlobReader(_blob, TestImage.ChunksOf(_content[..900], ChunkSize), source, _cache).Dispose());
    }
}
