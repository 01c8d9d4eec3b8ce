using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Published.Soci;
using Microsoft.Extensions.Logging;

namespace LazyMount.Indexes.Published;

/// <summary>
/// Indexes whose digest the image's manifest holds, or the image index that led to the manifest: our own, and a SOCI index of
/// version 2. Of a layer that both have, ours is used.
/// </summary>
internal sealed class BoundIndexes(Image image, OptionalQuestions questions, ILogger logger, ImageBudget? memory) : PublishedIndexes(image, Voucher.Manifest, questions, logger, memory)
{
    private const int MaxManifests = 4; // looked at, of those that are named

    protected override async Task<IReadOnlyDictionary<Digest, PublishedIndex>?> ReadTableAsync(CancellationToken cancellationToken)
    {
        var table = new Dictionary<Digest, PublishedIndex>();
        foreach (Descriptor artifact in LayerIndexArtifact.NamedBy(Image).Take(MaxManifests))
        {
            await AddAsync(artifact, LayerIndexArtifact.ArtifactType).ConfigureAwait(false);
        }
        if (SociIndex.NamedBy(Image) is { } digest)
        {
            await AddAsync(new Descriptor(MediaTypes.OciManifest, digest, Descriptor.UnknownSize), SociIndex.Version2).ConfigureAwait(false);
        }
        return table;

        async Task AddAsync(Descriptor artifact, string type)
        {
            if (await TryReadTableAsync(artifact, type, cancellationToken).ConfigureAwait(false) is not { } found)
            {
                return;
            }
            foreach ((Digest layer, PublishedIndex index) in found)
            {
                table.TryAdd(layer, index);
            }
        }
    }
}
