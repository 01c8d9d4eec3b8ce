using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry;
using LazyMount.Blobs.Sources;
using Microsoft.Extensions.Logging.Abstractions;

namespace LazyMount.Benchmarks;

/// <summary>The image that scripts/make-bench-images.sh makes: its larger layers, whole in memory.</summary>
public static class BenchmarkImage
{
    /// <summary>Where the image is.</summary>
    internal static string Directory =>
        Environment.GetEnvironmentVariable("BENCH_DIR")
        ?? Path.Combine(Environment.GetEnvironmentVariable("XDG_CACHE_HOME") ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache"), "lazymount-bench");

    /// <summary>Layers of at least 1 MiB, lowest first; none when the image is not there.</summary>
    public static IReadOnlyList<BenchmarkLayer> Layers { get; } = Load();

    private static List<BenchmarkLayer> Load()
    {
        string layout = Path.Combine(Directory, "layout");
        if (!File.Exists(Path.Combine(layout, "index.json")))
        {
            return [];
        }
        ImageReference reference = ImageReference.Parse($"oci:{layout}:bench");
        IImageSource source = ImageSource.Open(reference, new RegistryOptions(), NullLoggerFactory.Instance);
        var cache = new BlobCache(Path.Combine(Path.GetTempPath(), "lazymount-benchmarks"));
        Image image = Image.ResolveAsync(reference, source, null, cache, CancellationToken.None).GetAwaiter().GetResult();
        return [.. image.Layers.Where(layer => layer.Size >= 1 << 20).Select((layer, i) => new BenchmarkLayer($"layer {i + 1}", layer,
            File.ReadAllBytes(Path.Combine(layout, "blobs", layer.Digest.Algorithm, layer.Digest.Hex))))];
    }
}

/// <summary>One layer of it, named in results by its size.</summary>
public sealed record BenchmarkLayer(string Name, Descriptor Descriptor, byte[] Bytes)
{
    public override string ToString() => $"{Name}, {Bytes.Length / 1e6:F0} MB";
}
