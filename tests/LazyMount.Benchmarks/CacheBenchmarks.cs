using BenchmarkDotNet.Attributes;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Oci;
using Microsoft.Extensions.Logging.Abstractions;

namespace LazyMount.Benchmarks;

/// <summary>What keeping a blob in the cache and reading it from there cost: 256 MiB, below BENCH_DIR.</summary>
public class CacheBenchmarks
{
    private const int Size = 256 << 20, ReadSize = 1 << 20;

    private readonly byte[] _content = new byte[Size];
    private readonly byte[] _buffer = new byte[ReadSize];
    private readonly string _directory = Path.Combine(BenchmarkImage.Directory, $"cache.{Environment.ProcessId}");
    private BlobCache _cache = null!;
    private Descriptor _blob = null!;

    [GlobalSetup]
    public void Setup()
    {
        new Random(1).NextBytes(_content);
        _cache = new BlobCache(_directory);
        _blob = new Descriptor("application/octet-stream", Digest.OfSha256(_content), Size);
    }

    [GlobalCleanup]
    public void Cleanup() => Directory.Delete(_directory, recursive: true);

    [IterationSetup(Target = nameof(Keep))]
    public void Empty() => _cache.Prune(0, DateTime.MaxValue);

    [IterationSetup(Target = nameof(Read))]
    public void Fill() => Keep();

    [Benchmark(Description = "keep 256 MiB in chunks")]
    public void Keep()
    {
        using ChunkStore store = Open();
        for (int chunk = 0; chunk < store.Grid.Count; chunk++)
        {
            (long offset, int length) = store.Grid.Extent(chunk, chunk + 1);
            store.Keep(chunk, _content.AsSpan((int)offset, length));
        }
    }

    [Benchmark(Description = "read 256 MiB of chunks, 1 MiB at a time")]
    public int Read()
    {
        using ChunkStore store = Open();
        int read = 0;
        while (read < store.Grid.Count)
        {
            read += store.Read(read, _buffer);
        }
        return read;
    }

    private ChunkStore Open() => new(_cache, _blob, ChunkDigests.DefaultChunkSize, NullLogger.Instance);
}
