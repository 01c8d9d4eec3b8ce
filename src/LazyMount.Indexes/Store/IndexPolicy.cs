using LazyMount.Blobs.Images;
using LazyMount.Blobs.Sources;
using LazyMount.Indexes.Model;

namespace LazyMount.Indexes.Store;

/// <summary>Which indexes of one image's layers are believed. The only place that knows what <see cref="IndexTrust"/> means.</summary>
/// <param name="trust">What the user asked for.</param>
/// <param name="image">The image.</param>
internal sealed class IndexPolicy(IndexTrust trust, Image image)
{
    /// <summary>False when nothing may be fetched.</summary>
    public bool IsOnline => image.Source is not OfflineSource;

    /// <summary>Published indexes whose digest the manifest, or the image index that led to it, holds.</summary>
    public bool TakesBound => trust != IndexTrust.None;

    /// <summary>Accepts indexes that were published in the repository and that the reference's digest does not vouch for.</summary>
    public bool TakesReferrers => TakesAnswers;

    /// <summary>
    /// What the layer tells itself and the manifest does not announce. Of a local layer never: a pass over it, which needs nobody's
    /// word, costs no network.
    /// </summary>
    public bool TakesUnannounced => TakesAnswers && !image.Source.IsLocal;

    // The word of whoever answers. By tag, over verified connections, the same server says which image the tag is.
    private bool TakesAnswers => trust == IndexTrust.Registry || (trust == IndexTrust.Auto && image.Reference.Digest is null && image.Source.IsVerified);

    /// <summary>Accepts indexes over connections that are not verified.</summary>
    public bool TakesUnverified => trust == IndexTrust.Registry;

    /// <summary>
    /// An index that is believed, as it is read: who takes any connection for an index takes any for the bytes, also when the first
    /// was verified. Offline nothing comes over one, and bytes are found where they were kept.
    /// </summary>
    public LayerHead ToRead(LayerHead index) => TakesUnverified && IsOnline ? index with { Proof = index.Proof.OverAnyConnection() } : index;

    /// <summary>Whether this policy accepts an index, wherever and under whatever policy it was found.</summary>
    public bool Accepts(LayerHead index) => index.Proof.By switch
    {
        Voucher.Layer => true,
        Voucher.Manifest => TakesBound || index.Origin is not (IndexOrigin.Published or IndexOrigin.Soci),
        _ => TakesAnswers && (TakesUnverified || index.Proof.IsFromVerified),
    };
}
