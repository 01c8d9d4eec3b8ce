using System.Globalization;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;

namespace LazyMount.Indexes.Published;

/// <summary>
/// Our layer indexes beside an image: an OCI artifact whose subject is the image's manifest, one blob a layer, each being what
/// <see cref="LayerIndexFile"/> encodes. The same indexes make the same artifact.
/// </summary>
internal static class LayerIndexArtifact
{
    /// <summary>The artifact's type.</summary>
    public const string ArtifactType = "application/vnd.lazymount.layer-index.v1";

    private const string BlobType = "application/vnd.lazymount.layer-index.blob.v1";

    // Annotations: of the artifact the version of its blobs, of a blob the layer that it is of.
    private const string FileVersion = "vnd.lazymount.layer-index.version";
    private const string LayerDigest = "vnd.lazymount.layer-index.layer-digest";

    private static string Version => LayerIndexFile.Version.ToString(CultureInfo.InvariantCulture);

    /// <summary>The blob of one layer.</summary>
    public static (Descriptor Blob, byte[] Bytes) Encode(LayerIndex index)
    {
        // Where it comes from and who vouches for it is the reader's to say.
        byte[] bytes = LayerIndexFile.Encode(index with { Origin = IndexOrigin.Published, Proof = Proof.OfParser(index.Proof.Chunks!), DiffId = null });
        return (new Descriptor(BlobType, Digest.OfSha256(bytes), bytes.Length)
        {
            Annotations = new Dictionary<string, string> { [LayerDigest] = index.Digest.ToString() },
        }, bytes);
    }

    /// <summary>The manifest of all blobs.</summary>
    public static RawManifest CreateManifest(IEnumerable<Descriptor> blobs, Descriptor subject)
        => ArtifactManifest.Create(ArtifactType, MediaTypes.Empty, blobs, subject, new Dictionary<string, string> { [FileVersion] = Version });

    /// <summary>
    /// The artifact's entry in an image index. The annotation tells what it is: older tools drop the artifactType of a descriptor, and a
    /// digest with it. No engine takes it for an image, since it runs on no platform.
    /// </summary>
    /// <param name="artifact">The artifact's manifest.</param>
    /// <param name="manifest">The digest of the image's manifest.</param>
    public static Descriptor DescribeIn(Descriptor artifact, string manifest) => artifact.ToBare() with
    {
        Annotations = new Dictionary<string, string> { [ImageIndex.LayerIndexesOf] = manifest },
        Platform = new Platform("unknown", "unknown"),
    };

    /// <summary>The artifacts that the image index of the reference names for an image, the last first.</summary>
    public static IEnumerable<Descriptor> NamedBy(Image image)
        => image.IndexEntries.Reverse().Where(entry => entry.Annotations?.GetValueOrDefault(ImageIndex.LayerIndexesOf) == image.ManifestDescriptor.Digest.ToString());

    /// <summary>Whether this version can read what an artifact holds; one that does not say has to be looked at.</summary>
    public static bool IsReadable(IReadOnlyDictionary<string, string>? annotations)
        => annotations is null || !annotations.TryGetValue(FileVersion, out string? version) || version == Version;

    /// <summary>Whose index a blob is; null when it does not say.</summary>
    public static Digest? LayerOf(Descriptor blob)
        => blob.Annotations?.TryGetValue(LayerDigest, out string? text) == true && Digest.TryParse(text, out Digest digest) ? digest : null;

    /// <summary>Decodes a published index without trusting its content.</summary>
    /// <param name="bytes">The blob.</param>
    /// <param name="layer">The layer that it must be of.</param>
    /// <param name="budget">Counts what the index takes.</param>
    /// <exception cref="InvalidDataException">It is not a sound index of this layer; says why.</exception>
    public static LayerIndex Decode(ReadOnlyMemory<byte> bytes, Descriptor layer, IndexBudget budget)
    {
        LayerIndex index = LayerIndexFile.Decode(bytes, layer.Digest, budget)
            ?? throw new InvalidDataException("it is damaged, of another layer, or of another version of lazymount");
        Require(index.CompressedSize == layer.Size, "it is of a layer of another size");
        Require(index.Transcoding is null, "it is of a transcoded copy of the layer");
        ChunkDigests? chunks = index.Proof.Chunks;
        Require(chunks?.ChunkSize == ChunkDigests.DefaultChunkSize, "it has no digests of the layer's chunks");
        return index with { Origin = IndexOrigin.Published, Proof = Proof.OfParser(chunks!), DiffId = null };
    }

    private static void Require(bool condition, string otherwise)
    {
        if (!condition)
        {
            throw new InvalidDataException(otherwise);
        }
    }
}
