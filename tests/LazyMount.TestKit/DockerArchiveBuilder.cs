using System.Text;
using System.Text.Json.Nodes;

namespace LazyMount.TestKit;

/// <summary>
/// What `docker save` writes, member by member, so that a test can write it as any tool does: layers at any path, plain,
/// compressed or linked; the config by any name; several images. manifest.json comes last.
/// </summary>
public sealed class DockerArchiveBuilder
{
    private readonly JsonArray _images = [];

    /// <summary>The archive itself, for members that no image names.</summary>
    public TarBytes Tar { get; } = new();

    /// <summary>What manifest.json says, to be changed by a test.</summary>
    public JsonArray Manifest => _images;

    /// <summary>Adds a layer's file.</summary>
    public DockerArchiveBuilder Layer(string path, byte[] bytes)
    {
        Tar.File(path, bytes);
        return this;
    }

    /// <summary>Adds a config and an image of layers by path; <paramref name="tars"/> are their uncompressed bytes, which the diff_ids are of.</summary>
    public DockerArchiveBuilder Image(string[]? names, string[] layerPaths, byte[][] tars, string? configPath = null)
    {
        byte[] config = Encoding.UTF8.GetBytes(new JsonObject
        {
            ["architecture"] = "amd64",
            ["os"] = "linux",
            ["rootfs"] = new JsonObject { ["type"] = "layers", ["diff_ids"] = new JsonArray([.. tars.Select(tar => JsonValue.Create(OciLayoutBuilder.DigestOf(tar)))]) },
        }.ToJsonString());
        configPath ??= OciLayoutBuilder.DigestOf(config)["sha256:".Length..] + ".json";
        Tar.File(configPath, config);
        _images.Add(new JsonObject
        {
            ["Config"] = configPath,
            ["RepoTags"] = names is null ? null : new JsonArray([.. names.Select(name => JsonValue.Create(name))]),
            ["Layers"] = new JsonArray([.. layerPaths.Select(path => JsonValue.Create(path))]),
        });
        return this;
    }

    /// <summary>The whole archive, ended by manifest.json.</summary>
    public byte[] ToArray() => Tar.File("manifest.json", _images.ToJsonString()).ToArray();
}
