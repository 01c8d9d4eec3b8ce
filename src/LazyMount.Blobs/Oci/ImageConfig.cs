using System.Text.Json;

namespace LazyMount.Blobs.Oci;

/// <summary>The parts of an image's config that a mount uses (image-spec v1.1, config.md).</summary>
public sealed record ImageConfig
{
    /// <summary>Largest config that is read.</summary>
    public const int MaxSize = 8 << 20;

    /// <summary>What the image runs on, or null when the config does not name both, OS and architecture.</summary>
    public Platform? Platform { get; private init; }

    /// <summary>Digests of the uncompressed layers, lowest first. Null: the config has no <c>rootfs</c>.</summary>
    public IReadOnlyList<Digest>? DiffIds { get; private init; }

    /// <summary>True when the config says something that only an image's config says: other artifacts may have any JSON there.</summary>
    public bool IsOfImage => Platform is not null || DiffIds is not null;

    /// <summary>Parses, or null when it is not an image's config: other artifacts have layers too, and any JSON for a config.</summary>
    public static ImageConfig? TryParse(ReadOnlySpan<byte> bytes)
    {
        try
        {
            ImageConfigJson json = GoJsonReader.Read(bytes, ImageConfigJson.Form.Read);
            return new ImageConfig { Platform = json.Platform.ToPlatform(), DiffIds = json.RootFs is { } rootFs ? rootFs.DiffIds ?? [] : null };
        }
        catch (JsonException)
        {
            return null;
        }
    }
}

/// <summary>An image's config as it stands in its document.</summary>
internal sealed class ImageConfigJson
{
    public static GoStruct<ImageConfigJson> Form { get; } = new(
        ("os", (ref json, to) => to.Platform.Os = json.ReadString()),
        ("architecture", (ref json, to) => to.Platform.Architecture = json.ReadString()),
        ("variant", (ref json, to) => to.Platform.Variant = json.ReadString()),
        ("rootfs", (ref json, to) => to.RootFs = RootFsJson.Form.ReadPointer(ref json)));

    public PlatformJson Platform { get; } = new();

    public RootFsJson? RootFs { get; set; }
}

/// <summary>The layers of a config.</summary>
internal sealed class RootFsJson
{
    public static GoStruct<RootFsJson> Form { get; } = new(("diff_ids", (ref json, to) => to.DiffIds = json.ReadList(ReadDigest)));

    public IReadOnlyList<Digest>? DiffIds { get; set; }

    private static Digest ReadDigest(ref GoJsonReader json)
    {
        bool isDigest = Digest.TryParse(json.ReadString(), out Digest digest);
        json.Require(isDigest, "a digest");
        return digest;
    }
}
