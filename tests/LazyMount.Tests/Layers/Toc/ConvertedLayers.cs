using System.Text;
using LazyMount.Blobs.Oci;
using LazyMount.TestKit;

namespace LazyMount.Tests.Layers.Toc;

/// <summary>One layer as real tools write it in formats that hold a table of contents. Made once, when the first test needs it.</summary>
public sealed class ConvertedLayers : IDisposable
{
    public const string Plain = "plain", Estargz = "estargz", SmallChunks = "estargz-small-chunks", Prioritised = "estargz-prioritised",
        ZstdChunked = "zstd-chunked-skopeo", StargzZstdChunked = "zstd-chunked-stargz";

    private readonly TemporaryDirectory _directory = new();

    public ConvertedLayers()
    {
        var layout = new OciLayoutBuilder(_directory.CreateDirectory(Plain));
        layout.AddLayer(Tar());
        layout.WriteImage("v1");
        string plain = _directory[Plain];
        using var containerd = new Containerd();
        containerd.Convert(plain, _directory[Estargz], "--estargz");
        containerd.Convert(plain, _directory[StargzZstdChunked], "--zstdchunked");
        containerd.Convert(plain, _directory[SmallChunks], "--estargz", "--estargz-chunk-size", "50000");
        string manifest = Tool.Run("skopeo", "inspect", "--raw", $"oci:{plain}:v1").EnsureSuccess().Output;
        string record = _directory["record"];
        File.WriteAllText(record, $$"""
            {"path":"usr/big","manifestDigest":"{{Digest.OfSha256(Encoding.UTF8.GetBytes(manifest))}}","layerIndex":0}
            {"path":"many/file7","manifestDigest":"{{Digest.OfSha256(Encoding.UTF8.GetBytes(manifest))}}","layerIndex":0}

            """);
        containerd.Convert(plain, _directory[Prioritised], "--estargz", "--estargz-record-in", record);
        Skopeo.ConvertToZstdChunked(plain, _directory[ZstdChunked], "v1");
    }

    /// <summary>"oci:DIRECTORY:TAG" of one of them.</summary>
    public string Reference(string kind)
    {
        string directory = _directory[kind];
        using var index = System.Text.Json.JsonDocument.Parse(File.ReadAllBytes(Path.Combine(directory, "index.json")));
        System.Text.Json.JsonElement annotations = index.RootElement.GetProperty("manifests")[0].GetProperty("annotations");
        return $"oci:{directory}:{annotations.GetProperty("org.opencontainers.image.ref.name").GetString()}";
    }

    public void Dispose() => _directory.Dispose();

    /// <summary>Everything that a layer can hold, and 6 MB that do not compress.</summary>
    private static byte[] Tar()
    {
        var random = new Random(11);
        var tar = new TarBytes()
            .Directory("./", 0x1ED)
            .Directory("usr", 0x1C0)
            .File("usr/big", Bytes(4_500_000))
            .HardLink("usr/again", "usr/big")
            .Symlink("link", "usr/../usr/big")
            .Symlink("dangling", Utf8("/nowhere at all/<&>\"ü"))
            .Fifo("pipe")
            .CharacterDevice("tty", 5, 300)
            .File("empty")
            .File("usr/.wh.gone")
            .Opaque("opaque")
            .File("setuid", "#!/bin/sh\n", 0x9ED)
            .Pax(("mtime", "1234567890.987654321"), ("SCHILY.xattr.user.note", "a\0b\u00ff"), ("SCHILY.xattr.user.empty.not", " "), ("uid", "123456"), ("gid", "4000000"))
            .File("attributes", "with attributes")
            .Pax(("path", "long/" + string.Concat(Enumerable.Repeat("path/", 40)) + Utf8("Ünïcödé")))
            .File("short", "long")
            .Pax(("mtime", "-5.25"))
            .File("old", "before the epoch");
        byte[] holes = Bytes(700_000);
        holes.AsSpan(100_000, 400_000).Clear();
        holes.AsSpan(600_000, 100_000).Clear();
        tar.File("holes", holes).File("zeros", new byte[300_000]);
        tar.Directory("many");
        for (int i = 0; i < 200; i++)
        {
            tar.File($"many/file{i}", Bytes(random.Next(9000)));
        }
        return tar.ToArray();

        static string Utf8(string text) => Encoding.Latin1.GetString(Encoding.UTF8.GetBytes(text)); // which TarBytes takes for bytes

        byte[] Bytes(int length)
        {
            var bytes = new byte[length];
            random.NextBytes(bytes);
            return bytes;
        }
    }
}
