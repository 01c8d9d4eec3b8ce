using System.Text.Json;
using System.Text.Json.Serialization;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Fuse;
using LazyMount.Images;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Keeping;

/// <summary>What a worker has to know to go on with the mount of the one before it, besides what the command line says.</summary>
/// <param name="Mount">The connection.</param>
/// <param name="Root">Digest of what the reference led to.</param>
/// <param name="Manifest">Digest of the manifest.</param>
/// <param name="Tree">Digest of the tree: node ids and names that the kernel knows are those of this tree.</param>
/// <param name="FromTables">As in <see cref="OpenedImage.FromTables"/>.</param>
internal sealed record HeldState(
    HeldMount Mount,
    [property: JsonConverter(typeof(DigestConverter))] Digest Root,
    [property: JsonConverter(typeof(DigestConverter))] Digest Manifest,
    [property: JsonConverter(typeof(DigestConverter))] Digest Tree,
    IReadOnlyList<string> FromTables)
{
    private const int MaxLength = 1 << 20; // of a thousand layers and more

    /// <summary>The state of a mount.</summary>
    public static async Task<HeldState> OfAsync(FuseMount mount, OpenedImage opened, CancellationToken cancellationToken)
        => new(mount.Held, await RootOfAsync(opened.Image, cancellationToken), opened.Image.ManifestDescriptor.Digest, opened.Tree.Digest, [.. opened.FromTables.Select(layer => layer.ToString())]);

    // A layout may name several manifests by one tag, and has no document then that says so.
    private static async Task<Digest> RootOfAsync(Image image, CancellationToken cancellationToken)
    {
        Digest manifest = image.ManifestDescriptor.Digest;
        if (image.RootDigest == manifest || !image.Source.IsLocal)
        {
            return image.RootDigest;
        }
        try
        {
            await image.Source.GetManifestAsync(new Descriptor("", image.RootDigest, Descriptor.UnknownSize), cancellationToken);
            return image.RootDigest;
        }
        catch (ImageException)
        {
            return manifest;
        }
    }

    /// <summary>The state in memory that another process can read.</summary>
    /// <exception cref="IOException">There is no memory for it.</exception>
    public SafeFileHandle ToMemory() => Interop.MemoryFile("lazymount-state", JsonSerializer.SerializeToUtf8Bytes(this, HeldJson.Default.HeldState));

    /// <summary>Reads what <see cref="ToMemory"/> wrote.</summary>
    public static HeldState Read(SafeFileHandle memory)
    {
        byte[] bytes = new byte[Math.Min(RandomAccess.GetLength(memory), MaxLength)];
        int length = RandomAccess.Read(memory, bytes, 0);
        return JsonSerializer.Deserialize(bytes.AsSpan(0, length), HeldJson.Default.HeldState) ?? throw new InvalidDataException("the keeper holds no state");
    }
}

[JsonSerializable(typeof(HeldState))]
internal sealed partial class HeldJson : JsonSerializerContext;
