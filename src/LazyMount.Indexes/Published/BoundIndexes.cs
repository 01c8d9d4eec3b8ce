using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Published.Soci;
using Microsoft.Extensions.Logging;

namespace LazyMount.Indexes.Published;

/// <summary>Indexes whose digest the image's manifest holds, or the image index that led to the manifest: a SOCI index of version 2.</summary>
internal sealed class BoundIndexes(Image image, ILogger logger, ImageBudget? memory) : PublishedIndexes(image, Voucher.Manifest, logger, memory)
{
    protected override async Task<IReadOnlyDictionary<Digest, PublishedIndex>?> ReadTableAsync(CancellationToken cancellationToken)
        => SociIndex.NamedBy(Image) is { } digest
            ? await TryReadTableAsync(new Descriptor(MediaTypes.OciManifest, digest, Descriptor.UnknownSize), SociIndex.Version2, cancellationToken).ConfigureAwait(false)
            : null;
}
