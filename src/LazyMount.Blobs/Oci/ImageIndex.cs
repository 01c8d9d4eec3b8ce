using LazyMount.Blobs.Images;

namespace LazyMount.Blobs.Oci;

/// <summary>An image index, docker's manifest list: one manifest for each platform (image-spec v1.1, image-index.md).</summary>
public sealed record ImageIndex(string MediaType, IReadOnlyList<IndexEntry> Entries) : ManifestDocument(MediaType)
{
    /// <summary>The annotation of an entry that names the indexes of an image's layers: the digest of that image's manifest.</summary>
    public const string LayerIndexesOf = "vnd.lazymount.layer-index.manifest-digest";

    /// <summary>The annotation for an index of SOCI, version 2. Its entries have the image's platform, and some tools drop their artifactType.</summary>
    public const string SociIndexOf = "com.amazon.soci.image-manifest-digest";

    /// <summary>The descriptors of all sound entries.</summary>
    public IEnumerable<Descriptor> Manifests => Entries.Select(entry => entry.Descriptor).OfType<Descriptor>();

    /// <summary>
    /// The entries that can be images: not attestations, signatures or other artifacts. Those without a media type only where
    /// no other entry can be one.
    /// </summary>
    public IReadOnlyList<IndexEntry> Images
    {
        get
        {
            IndexEntry[] typed = [.. Entries.Where(entry => entry.CanBeImage && entry.MediaType.Length > 0)];
            return typed.Length > 0 ? typed : [.. Entries.Where(entry => entry.CanBeImage)];
        }
    }
}

/// <summary>The kind of thing that an entry of an image index names, as far as the entry tells.</summary>
public enum IndexEntryKind
{
    /// <summary>An image's manifest.</summary>
    Image,

    /// <summary>Another image index.</summary>
    ImageIndex,

    /// <summary>buildkit's statements about an image: how it was built, what it is made of.</summary>
    Attestation,

    /// <summary>Anything else: a signature, the indexes of layers, a chart.</summary>
    Artifact,
}

/// <summary>
/// One entry of an image index. An index is of use as long as the entry that is chosen is sound: others may name what this
/// program does not know, or nothing at all.
/// </summary>
public sealed class IndexEntry
{
    // buildkit's mark of an attestation's manifest.
    private const string AttestationOf = "vnd.docker.reference.type";

    private static readonly string[] s_subjects = ["vnd.docker.reference.digest", ImageIndex.LayerIndexesOf, ImageIndex.SociIndexOf];

    private static readonly string[] s_otherThings = [AttestationOf, ImageIndex.LayerIndexesOf, ImageIndex.SociIndexOf];

    private readonly string? _flaw;

    internal IndexEntry(DescriptorJson json)
    {
        Descriptor = json.TryToDescriptor(mayLackSize: true, out _flaw);
        MediaType = json.MediaType;
        DigestText = json.Digest;
        Platform = json.Platform?.ToPlatform();
        Annotations = json.Annotations ?? new Dictionary<string, string>();
        CanBeImage = Platform?.IsUnknown != true
            && !Array.Exists(s_otherThings, Annotations.ContainsKey)
            && (string.IsNullOrEmpty(json.ArtifactType) || MediaTypes.IsImageConfig(json.ArtifactType))
            && (MediaType.Length == 0 || MediaTypes.IsManifest(MediaType) || MediaTypes.IsIndex(MediaType) || MediaTypes.IsSchema1(MediaType));
    }

    /// <summary>The descriptor; null when the entry is not sound.</summary>
    public Descriptor? Descriptor { get; }

    /// <summary>Empty when the entry does not say.</summary>
    public string MediaType { get; }

    /// <summary>The text of the digest, sound or not. Empty when there is none.</summary>
    public string DigestText { get; }

    /// <summary>What the manifest runs on; null when the entry does not name both, OS and architecture.</summary>
    public Platform? Platform { get; }

    /// <summary>Free key-value pairs.</summary>
    public IReadOnlyDictionary<string, string> Annotations { get; }

    /// <summary>The kind of thing that the entry names.</summary>
    public IndexEntryKind Kind => Annotations.ContainsKey(AttestationOf) ? IndexEntryKind.Attestation
        : !CanBeImage ? IndexEntryKind.Artifact
        : MediaTypes.IsIndex(MediaType) ? IndexEntryKind.ImageIndex : IndexEntryKind.Image;

    /// <summary>The digest of the manifest that an attestation or the indexes of layers are for, as it stands there; null for others.</summary>
    public string? SubjectText
    {
        get
        {
            foreach (string key in s_subjects)
            {
                if (Annotations.TryGetValue(key, out string? digest) && !string.IsNullOrEmpty(digest))
                    return digest;
            }
            return null;
        }
    }

    internal bool CanBeImage { get; }

    /// <summary>The descriptor of the chosen entry.</summary>
    /// <param name="index">What errors call the index, such as "the image index debian:12".</param>
    /// <exception cref="ImageException">The entry is not sound.</exception>
    public Descriptor Require(string index) => Descriptor ?? throw ManifestDocument.Invalid(index, _flaw!);
}
