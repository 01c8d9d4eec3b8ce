using System.IO.Compression;
using BenchmarkDotNet.Attributes;
using LazyMount.Compression;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using Microsoft.Extensions.Logging.Abstractions;

namespace LazyMount.Benchmarks;

/// <summary>What a layer that was never seen costs: the whole indexing pass beside .NET's GZipStream alone.</summary>
public class IndexingBenchmarks
{
    private readonly byte[] _buffer = new byte[256 << 10];

    public static IEnumerable<BenchmarkLayer> Layers => BenchmarkImage.Layers;

    [ParamsSource(nameof(Layers))]
    public BenchmarkLayer Layer { get; set; } = null!;

    [Benchmark(Baseline = true, Description = "GZipStream alone")]
    public long GZip()
    {
        using var gzip = new GZipStream(new MemoryStream(Layer.Bytes), CompressionMode.Decompress);
        long length = 0;
        while (gzip.Read(_buffer) is > 0 and var read)
        {
            length += read;
        }
        return length;
    }

    [Benchmark(Description = "our decoder, CRC and checkpoints")]
    public long Decode()
    {
        using Decompressor decompressor = Decompressor.Start(CompressionFormat.Gzip, Decompressor.DefaultCheckpointSpacing);
        for (int at = 0; at < Layer.Bytes.Length; at += _buffer.Length)
        {
            decompressor.Push(Layer.Bytes.AsMemory(at, Math.Min(_buffer.Length, Layer.Bytes.Length - at)));
            while (decompressor.TryRead(out _))
            {
            }
        }
        decompressor.Complete();
        return decompressor.UncompressedOffset;
    }

    [Benchmark(Description = "indexing: decoder, tar scan, digests, checkpoints")]
    public async Task<int> Index()
    {
        LayerIndex index = await new LayerIndexer(NullLogger.Instance).IndexAsync(Layer.Descriptor, new MemoryStream(Layer.Bytes), progress: null, CancellationToken.None);
        return index.Entries.Length;
    }
}
