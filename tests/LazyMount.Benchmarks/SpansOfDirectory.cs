using System.Text;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using Microsoft.Extensions.Logging.Abstractions;

namespace LazyMount.Benchmarks;

/// <summary>What reading all files below a directory has to fetch at least: the compressed bytes of the spans they lie in.</summary>
internal static class SpansOfDirectory
{
    /// <summary>Prints a line for each layer that has files there.</summary>
    public static async Task PrintAsync(string directory)
    {
        foreach (BenchmarkLayer layer in BenchmarkImage.Layers)
        {
            LayerIndex index = await new LayerIndexer(NullLogger.Instance).IndexAsync(layer.Descriptor, new MemoryStream(layer.Bytes), progress: null, CancellationToken.None);
            var spans = new HashSet<int>();
            (int files, long bytes) = (0, 0);
            foreach (LayerEntry entry in index.Entries.Where(entry => entry.Type == EntryType.File && PathOf(index, entry.Path).StartsWith(directory + "/", StringComparison.Ordinal)))
            {
                files++;
                bytes += entry.Size;
                for (int span = index.Checkpoints.Find(entry.DataOffset); entry.Size > 0 && span <= index.Checkpoints.Find(entry.DataOffset + entry.Size - 1); span++)
                {
                    spans.Add(span);
                }
            }
            if (files == 0)
            {
                continue;
            }
            long compressed = spans.Sum(span => (span + 1 < index.Checkpoints.Count ? index.Checkpoints.CompressedOffset(span + 1) : index.CompressedSize) - index.Checkpoints.CompressedOffset(span));
            Console.WriteLine($"{layer}: {files} files of {bytes} bytes in {spans.Count} spans of {compressed} compressed bytes");
        }
    }

    private static string PathOf(LayerIndex index, int node)
    {
        var names = new Stack<string>();
        for (; node > 0; node = index.Paths.Parent(node))
        {
            names.Push(Encoding.UTF8.GetString(index.Paths.Name(node)));
        }
        return string.Join('/', names);
    }
}
