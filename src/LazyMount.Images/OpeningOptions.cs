using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry;
using LazyMount.Indexes.Store;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Images;

/// <summary>How an image is opened.</summary>
public sealed record OpeningOptions
{
    /// <summary>Where chunks, documents and indexes are kept.</summary>
    public required BlobCache Cache { get; init; }

    /// <summary>Fetch nothing from a registry. Anything that is not in the cache is an error.</summary>
    public bool Offline { get; init; }

    /// <summary>The compressed bytes of layers that are streamed for their index are kept in the cache.</summary>
    public bool KeepsBlobs { get; init; } = true;

    /// <summary>
    /// What the reference led to when it was resolved before: it is not resolved again. Null: it is. Does not count as a digest in the
    /// reference, which would vouch for more.
    /// </summary>
    public Digest? Root { get; init; }

    /// <summary>An archive that is open already, which the reference names; owned by the image then. Null: it is opened.</summary>
    public SafeFileHandle? Archive { get; init; }

    /// <summary>What <see cref="OpenedImage.FromTables"/> was when the image was opened before: the tree is made in the same way. Null: in the best.</summary>
    public IReadOnlySet<Digest>? FromTables { get; init; }

    /// <summary>The platform to choose from an image index. Null: this machine's.</summary>
    public Platform? Platform { get; init; }

    /// <summary>How registries are reached.</summary>
    public RegistryOptions Registries { get; init; } = new();

    /// <summary>Which published indexes are used.</summary>
    public IndexTrust IndexTrust { get; init; }

    /// <summary>The one layer that is opened alone. Null: all layers, merged.</summary>
    public LayerChoice? Layer { get; init; }

    /// <summary>The topmost of the layers that are merged: those above it are left out. Null: the image's topmost. Not together with <see cref="Layer"/> or <see cref="ShowsLayers"/>.</summary>
    public LayerChoice? TopLayer { get; init; }

    /// <summary>Each layer by itself is shown too, beside all of them merged. Not together with <see cref="Layer"/>.</summary>
    public bool ShowsLayers { get; init; }

    /// <summary>Indexes that others made stay in memory until <see cref="OpenedImage.FindLieAsync"/> has compared them with their layers.</summary>
    public bool VerifiesFully { get; init; }
}
