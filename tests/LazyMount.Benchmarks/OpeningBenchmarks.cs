using BenchmarkDotNet.Attributes;
using LazyMount.FileSystem;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using Microsoft.Extensions.Logging.Abstractions;

namespace LazyMount.Benchmarks;

/// <summary>What an image that is known costs: reading the stored indexes and merging them.</summary>
public class OpeningBenchmarks
{
    private readonly List<LayerIndex> _indexes = [];
    private readonly List<byte[]> _files = [];

    [GlobalSetup]
    public async Task Setup()
    {
        foreach (BenchmarkLayer layer in BenchmarkImage.Layers)
        {
            _indexes.Add(await new LayerIndexer(NullLogger.Instance).IndexAsync(layer.Descriptor, new MemoryStream(layer.Bytes), progress: null, CancellationToken.None));
            _files.Add(LayerIndexFile.Encode(_indexes[^1]));
        }
        Console.WriteLine($"// {_indexes.Sum(i => i.Entries.Length):N0} entries; indexes {_files.Sum(f => f.Length):N0} bytes of layers of {_indexes.Sum(i => i.CompressedSize):N0}");
    }

    [Benchmark(Description = "decode the stored indexes of all layers")]
    public int Decode()
    {
        int entries = 0;
        for (int i = 0; i < _files.Count; i++)
        {
            entries += LayerIndexFile.TryDecode(_files[i], _indexes[i].Digest)!.Entries.Length;
        }
        return entries;
    }

    [Benchmark(Description = "merge all layers into one tree")]
    public int Merge() => TreeBuilder.Build(_indexes).Count;
}
