using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Model;

namespace LazyMount.Indexes.Store;

/// <summary>The index that serves a layer, or would serve it.</summary>
/// <param name="Origin">Where its index comes from; null when the layer has to be streamed.</param>
/// <param name="By">Who vouches for the index; null where that turns out only when the layer is asked whether it tells itself what it has.</param>
/// <param name="Size">Bytes of the index, on disk or to be fetched; null when that is not known.</param>
/// <param name="Stored">The index, when it is here. It is closed: its tables cannot be read.</param>
public readonly record struct IndexOffer(IndexOrigin? Origin, Voucher? By, long? Size, LayerIndex? Stored);

/// <summary>
/// One way to get the indexes of one image's layers without reading the layers whole. <see cref="IndexFinder"/> asks a list of
/// them in order; the <see cref="IndexPolicy"/> decides which are in the list. Each sets the <see cref="Proof"/> of what it
/// gives. Thread-safe.
/// </summary>
internal interface IIndexSource
{
    /// <summary>The index that the source has for a layer, without fetching it; null when it has none.</summary>
    ValueTask<IndexOffer?> FindAsync(Descriptor layer, CancellationToken cancellationToken);

    /// <summary>The index of a layer; null when there is none that can be used, which is logged.</summary>
    ValueTask<LayerIndex?> TryGetAsync(Descriptor layer, CancellationToken cancellationToken);
}
