using System.Text;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Oci;

namespace LazyMount.Tests.Blobs;

/// <summary>A small image made by hand: config, layers, manifest.</summary>
internal sealed record TestImage(byte[] Config, byte[][] Layers, byte[] Manifest, string MediaType)
{
    public Digest Digest => Digest.OfSha256(Manifest);

    public static TestImage Create(string architecture = "amd64", bool docker = false, int layers = 2, int seed = 1)
    {
        byte[] config = Encoding.UTF8.GetBytes($$"""{"architecture":"{{architecture}}","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"x":{{seed}}}""");
        byte[][] blobs = [.. Enumerable.Range(0, layers).Select(i => RandomBytes(1000 + i, seed * 100 + i))];
        string mediaType = docker ? MediaTypes.DockerManifest : MediaTypes.OciManifest;
        string layerType = docker ? "application/vnd.docker.image.rootfs.diff.tar.gzip" : "application/vnd.oci.image.layer.v1.tar+gzip";
        string manifest = $$"""
            {"schemaVersion":2,"mediaType":"{{mediaType}}",
            "config":{{Json(config, docker ? MediaTypes.DockerConfig : MediaTypes.OciConfig)}},
            "layers":[{{string.Join(",", blobs.Select(blob => Json(blob, layerType)))}}]}
            """;
        return new TestImage(config, blobs, Encoding.UTF8.GetBytes(manifest), mediaType);
    }

    public static byte[] Index(string mediaType, params string[] entries)
        => Encoding.UTF8.GetBytes($$"""{"schemaVersion":2,"mediaType":"{{mediaType}}","manifests":[{{string.Join(",", entries)}}]}""");

    /// <summary>A descriptor in JSON; <paramref name="more"/> is further properties, each with a comma before it.</summary>
    public static string Json(byte[] content, string mediaType, string more = "")
        => $$"""{"mediaType":"{{mediaType}}","digest":"{{Digest.OfSha256(content)}}","size":{{content.Length}}{{more}}}""";

    public string Entry(string more = "") => Json(Manifest, MediaType, more);

    public static string PlatformOf(string os, string architecture, string? variant = null)
        => $$""","platform":{"os":"{{os}}","architecture":"{{architecture}}"{{(variant is null ? "" : $",\"variant\":\"{variant}\"")}}}""";

    public static byte[] RandomBytes(int length, int seed)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    public static Descriptor DescriptorOf(byte[] content, string mediaType = "") => new(mediaType, Digest.OfSha256(content), content.Length);

    public static ChunkDigests ChunksOf(byte[] content, int chunkSize)
        => new(chunkSize, [.. content.Chunk(chunkSize).SelectMany(System.Security.Cryptography.SHA256.HashData)]);
}

/// <summary>Digests that tests write down.</summary>
internal static class TestDigest
{
    public static Digest Parse(string text) => Digest.TryParse(text, out Digest digest) ? digest : throw new FormatException(text);
}

/// <summary>A directory that goes with the test.</summary>
internal sealed class TempDirectory : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("lazymount-test-").FullName;

    public void Dispose()
    {
        try
        {
            Directory.Delete(Path, recursive: true);
        }
        catch (DirectoryNotFoundException)
        {
        }
    }

    /// <summary>Writes an OCI layout with these blobs and this index.json.</summary>
    public string WriteLayout(byte[] index, params byte[][] blobs)
    {
        string blobDirectory = Directory.CreateDirectory(System.IO.Path.Combine(Path, "blobs", "sha256")).FullName;
        File.WriteAllText(System.IO.Path.Combine(Path, "oci-layout"), """{"imageLayoutVersion":"1.0.0"}""");
        File.WriteAllBytes(System.IO.Path.Combine(Path, "index.json"), index);
        foreach (byte[] blob in blobs)
            File.WriteAllBytes(System.IO.Path.Combine(blobDirectory, Digest.OfSha256(blob).Hex), blob);
        return Path;
    }
}
