using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Published.Soci;
using Microsoft.Extensions.Logging;

namespace LazyMount.Indexes.Published;

/// <summary>
/// Indexes that the repository lists as referrers of the image's manifest. Whoever may publish there decides what they say: nothing
/// in them proves names, attributes or decoder windows, and their digests of chunks are their publisher's own.
/// </summary>
internal sealed class ReferrerIndexes(Image image, OptionalQuestions questions, ILogger logger, ImageBudget? memory) : PublishedIndexes(image, Voucher.Repository, questions, logger, memory)
{
    private const int MaxManifests = 4; // looked at, of those that are listed

    // Ours before SOCI's: it is a tenth of the size and tells all.
    protected override async Task<IReadOnlyDictionary<Digest, PublishedIndex>?> ReadTableAsync(CancellationToken cancellationToken)
    {
        IReadOnlyList<Descriptor> referrers = await ListAsync([LayerIndexArtifact.ArtifactType, SociIndex.Version1], cancellationToken).ConfigureAwait(false);
        IReadOnlyDictionary<Digest, PublishedIndex>? table = await ReadFirstAsync(referrers, cancellationToken).ConfigureAwait(false);
        if (table is null && referrers.Any(each => each.ArtifactType == LayerIndexArtifact.ArtifactType))
        {
            referrers = await ListAsync([SociIndex.Version1], cancellationToken).ConfigureAwait(false);
            table = await ReadFirstAsync(referrers, cancellationToken).ConfigureAwait(false);
        }
        return table;
    }

    private async Task<IReadOnlyList<Descriptor>> ListAsync(string[] artifactTypes, CancellationToken cancellationToken)
    {
        try
        {
            return await Questions.AskAsync(token => Image.Source.GetReferrersAsync(Image.ManifestDescriptor.Digest, artifactTypes, token), cancellationToken).ConfigureAwait(false);
        }
        catch (ImageException e)
        {
            Logger.ReferrersUnavailable(Image.Reference.ToString(), e.Message);
            return [];
        }
    }

    private async Task<IReadOnlyDictionary<Digest, PublishedIndex>?> ReadFirstAsync(IReadOnlyList<Descriptor> referrers, CancellationToken cancellationToken)
    {
        // Lists grow at their end: the last is the newest.
        foreach (Descriptor referrer in referrers.Reverse().Where(each => LayerIndexArtifact.IsReadable(each.Annotations)).Take(MaxManifests))
        {
            if (await TryReadTableAsync(referrer, referrer.ArtifactType!, cancellationToken).ConfigureAwait(false) is { } table)
            {
                return table;
            }
        }
        return null;
    }
}
