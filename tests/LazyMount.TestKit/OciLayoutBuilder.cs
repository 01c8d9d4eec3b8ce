using System.IO.Compression;
using System.Security.Cryptography;
using System.Text.Json.Nodes;

namespace LazyMount.TestKit;

/// <summary>
/// An OCI image layout written blob by blob (image-spec v1.1, image-layout.md): layers are added lowest first, then
/// <see cref="WriteImage"/> makes an image of them and begins the next.
/// </summary>
public sealed class OciLayoutBuilder
{
    public const string GzipLayer = "application/vnd.oci.image.layer.v1.tar+gzip";
    public const string TarLayer = "application/vnd.oci.image.layer.v1.tar";
    private const string ManifestType = "application/vnd.oci.image.manifest.v1+json";
    private const string IndexType = "application/vnd.oci.image.index.v1+json";

    private readonly string _blobs;
    private readonly JsonArray _roots = [];
    private JsonArray _layers = [];
    private JsonArray _diffIds = [];
    private JsonArray? _history;

    public OciLayoutBuilder(string directory)
    {
        Directory = directory;
        _blobs = System.IO.Directory.CreateDirectory(Path.Combine(directory, "blobs", "sha256")).FullName;
        File.WriteAllText(Path.Combine(directory, "oci-layout"), """{"imageLayoutVersion":"1.0.0"}""");
    }

    public string Directory { get; }

    /// <summary>What containers of the images run.</summary>
    public string[] Command { get; init; } = ["/bin/sh"];

    /// <summary>"oci:DIRECTORY:TAG".</summary>
    public string Reference(string tag) => $"oci:{Directory}:{tag}";

    /// <summary>The file of a blob: for tests that damage it.</summary>
    public string BlobFile(string digest) => Path.Combine(_blobs, digest["sha256:".Length..]);

    public OciLayoutBuilder AddLayer(TarBytes tar) => AddLayer(tar.ToArray());

    /// <summary>A gzip layer.</summary>
    public OciLayoutBuilder AddLayer(byte[] tar) => AddLayer(Gzip(tar), GzipLayer, DigestOf(tar));

    /// <summary>A layer whose blob is given as it is, whatever that is.</summary>
    public OciLayoutBuilder AddLayer(byte[] blob, string mediaType, string diffId)
    {
        _layers.Add(AddBlob(blob, mediaType));
        _diffIds.Add(diffId);
        return this;
    }

    /// <summary>An entry of the history in the next image's config; without one, the config has no history.</summary>
    public OciLayoutBuilder AddHistory(string createdBy, bool isEmpty = false, string? author = null, string? comment = null)
    {
        var entry = new JsonObject { ["created"] = "2024-02-29T12:30:00.25+01:00", ["created_by"] = createdBy };
        if (isEmpty)
        {
            entry["empty_layer"] = true;
        }
        foreach ((string name, string? text) in ((string, string?)[])[("author", author), ("comment", comment)])
        {
            if (text is not null)
            {
                entry[name] = text;
            }
        }
        (_history ??= []).Add(entry);
        return this;
    }

    /// <summary>Makes an image of the layers added since the last; returns its layers' digests, lowest first.</summary>
    public string[] WriteImage(string tag, string architecture = "amd64")
    {
        string[] digests = [.. _layers.Select(layer => (string)layer!["digest"]!)];
        AddRoot(WriteManifest(architecture), tag);
        return digests;
    }

    /// <summary>Makes an image index: the layers added since the last image, once for each platform ("linux/arm64").</summary>
    public void WriteImageIndex(string tag, params string[] platforms)
    {
        var manifests = new JsonArray();
        (JsonArray layers, JsonArray diffIds) = (_layers, _diffIds);
        foreach (string platform in platforms)
        {
            (_layers, _diffIds) = ((JsonArray)layers.DeepClone(), (JsonArray)diffIds.DeepClone());
            string[] parts = platform.Split('/');
            JsonObject manifest = WriteManifest(parts[1]);
            manifest["platform"] = new JsonObject { ["os"] = parts[0], ["architecture"] = parts[1] };
            manifests.Add(manifest);
        }
        AddRoot(AddBlob(Json(new JsonObject { ["schemaVersion"] = 2, ["mediaType"] = IndexType, ["manifests"] = manifests }), IndexType), tag);
    }

    public static byte[] Gzip(byte[] bytes)
    {
        var compressed = new MemoryStream();
        using (var gzip = new GZipStream(compressed, CompressionLevel.Optimal))
        {
            gzip.Write(bytes);
        }
        return compressed.ToArray();
    }

    public static string DigestOf(ReadOnlySpan<byte> bytes) => "sha256:" + Convert.ToHexStringLower(SHA256.HashData(bytes));

    private JsonObject WriteManifest(string architecture)
    {
        var config = new JsonObject
        {
            ["architecture"] = architecture,
            ["os"] = "linux",
            ["config"] = new JsonObject { ["Cmd"] = new JsonArray([.. Command.Select(word => JsonValue.Create(word))]) },
            ["rootfs"] = new JsonObject { ["type"] = "layers", ["diff_ids"] = _diffIds },
        };
        if (_history is not null)
        {
            config["history"] = _history.DeepClone();
        }
        var manifest = new JsonObject
        {
            ["schemaVersion"] = 2,
            ["mediaType"] = ManifestType,
            ["config"] = AddBlob(Json(config), "application/vnd.oci.image.config.v1+json"),
            ["layers"] = _layers,
        };
        (_layers, _diffIds, _history) = ([], [], null);
        return AddBlob(Json(manifest), ManifestType);
    }

    private void AddRoot(JsonObject descriptor, string tag)
    {
        descriptor["annotations"] = new JsonObject { ["org.opencontainers.image.ref.name"] = tag };
        _roots.Add(descriptor);
        var index = new JsonObject { ["schemaVersion"] = 2, ["manifests"] = _roots.DeepClone() };
        File.WriteAllBytes(Path.Combine(Directory, "index.json"), Json(index));
    }

    private JsonObject AddBlob(byte[] bytes, string mediaType)
    {
        string digest = DigestOf(bytes);
        File.WriteAllBytes(BlobFile(digest), bytes);
        return new JsonObject { ["mediaType"] = mediaType, ["digest"] = digest, ["size"] = bytes.Length };
    }

    private static byte[] Json(JsonNode node) => System.Text.Encoding.UTF8.GetBytes(node.ToJsonString());
}
