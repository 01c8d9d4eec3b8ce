using System.Text.Json.Serialization;
using LazyMount.Blobs.Oci;

namespace LazyMount.Node.Snapshots;

/// <summary>What containerd knows a snapshot as.</summary>
internal enum SnapshotKind
{
    /// <summary>Read-only, over a committed one.</summary>
    View = 1,

    /// <summary>Written to by a container, or by containerd while it unpacks a layer.</summary>
    Active = 2,

    /// <summary>What others are made over.</summary>
    Committed = 3,
}

/// <summary>The layer of an image that a committed snapshot stands for: nothing of it is on disk. With the layers below it is shown by a mount.</summary>
/// <param name="Reference">The image's reference as it was pulled.</param>
/// <param name="Manifest">Digest of its manifest.</param>
/// <param name="Layer">Number of the layer, lowest 0.</param>
/// <param name="ChainId">The chain id (image-spec) of the layers up to this one: what containerd knows their tree by.</param>
internal sealed record RemoteLayer(
    string Reference, [property: JsonConverter(typeof(DigestConverter))] Digest Manifest, int Layer, [property: JsonConverter(typeof(DigestConverter))] Digest ChainId);

/// <summary>A snapshot, as it is on disk. Never changed: replaced.</summary>
internal sealed record SnapshotRecord
{
    /// <summary>containerd's name, or its key; unique.</summary>
    public required string Name { get; init; }

    /// <summary>Number of the directory, unique, and kept when the snapshot is committed.</summary>
    public required long Id { get; init; }

    public required SnapshotKind Kind { get; init; }

    /// <summary>Name of the parent, or "".</summary>
    public string Parent { get; init; } = "";

    public IReadOnlyDictionary<string, string> Labels { get; init; } = new Dictionary<string, string>();

    public required DateTime CreatedAt { get; init; }

    public required DateTime UpdatedAt { get; init; }

    /// <summary>Of a snapshot that was committed: bytes on disk.</summary>
    public long Size { get; init; }

    /// <summary>The same: files.</summary>
    public long Inodes { get; init; }

    /// <summary>Null for a snapshot whose files are on disk.</summary>
    public RemoteLayer? Remote { get; init; }
}

/// <summary>How a record is written.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, UseStringEnumConverter = true, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingDefault)]
[JsonSerializable(typeof(SnapshotRecord))]
internal sealed partial class RecordJson : JsonSerializerContext;
