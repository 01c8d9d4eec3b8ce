using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;

namespace LazyMount.Node.Snapshots;

/// <summary>What the labels of a pull say of the layer that a snapshot is wanted for.</summary>
/// <param name="Reference">The image's reference, of a registry.</param>
/// <param name="Manifest">Digest of its manifest; null when the client does not say it.</param>
/// <param name="Layer">Digest of the layer.</param>
/// <param name="ChainId">What the tree of the layers up to this one is known by.</param>
internal sealed record RemoteRequest(ImageReference Reference, Digest? Manifest, Digest Layer, Digest ChainId)
{
    /// <summary>The label by which containerd finds a snapshot again: the chain id.</summary>
    public const string TargetLabel = "containerd.io/snapshot.ref";

    // Of the CRI service, docker and containerd's transfer service, and of clients of stargz-snapshotter.
    private const string Cri = "containerd.io/snapshot/cri.", Stargz = "containerd.io/snapshot/remote/stargz.";

    /// <summary>Reads labels. Null when they ask for no layer of an image: then <paramref name="reason"/> says why in a clause, or is null when nothing was asked for.</summary>
    public static RemoteRequest? TryParse(IReadOnlyDictionary<string, string> labels, out string? reason)
    {
        reason = null;
        if (!labels.TryGetValue(TargetLabel, out string? target))
        {
            return null;
        }
        string? reference = labels.GetValueOrDefault(Cri + "image-ref") ?? labels.GetValueOrDefault(Stargz + "reference");
        string? layer = labels.GetValueOrDefault(Cri + "layer-digest") ?? labels.GetValueOrDefault(Stargz + "digest");
        if (reference is null || layer is null)
        {
            reason = "the client does not say which image the layer is of";
            return null;
        }
        Digest? manifest = null;
        if (labels.TryGetValue(Cri + "manifest-digest", out string? text))
        {
            if (!Digest.TryParse(text, out Digest parsed))
            {
                reason = "the label for the manifest holds no digest";
                return null;
            }
            manifest = parsed;
        }
        if (!Digest.TryParse(layer, out Digest digest) || !Digest.TryParse(target, out Digest chain))
        {
            reason = "the labels for the layer hold no digests";
            return null;
        }
        return TryParse(reference) is { } image ? new RemoteRequest(image, manifest, digest, chain) : Refuse("the label for the image holds no reference of a registry", out reason);
    }

    /// <summary>A reference that leads to a registry: one that names a file of this machine must not be followed. Null for others.</summary>
    public static ImageReference? TryParse(string text)
    {
        try
        {
            return text.Length <= 4096 && ImageReference.Parse(text) is { Transport: Transport.Registry } image ? image : null;
        }
        catch (FormatException)
        {
            return null;
        }
    }

    private static RemoteRequest? Refuse(string why, out string? reason)
    {
        reason = why;
        return null;
    }
}
