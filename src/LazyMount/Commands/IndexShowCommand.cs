using System.CommandLine;
using LazyMount.Blobs.Oci;
using LazyMount.Cli;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Store;
using LazyMount.Output;

namespace LazyMount.Commands;

/// <summary>`lazymount index show`: what indexes there are of an image's layers, here and published.</summary>
internal static class IndexShowCommand
{
    public static Command Create(CommandHost host) => LayersVerb.Create(host, "show",
        "List the indexes of an image's layers. They are those in the local store (local) and those in the image's repository or layout (published), as far as --index-trust lets them be used. Published indexes are fetched and checked, but not kept; an index without entries cannot be used, and -v says why. PROOF says who vouches for an index: the layer's own digest (layer), the digest of the image's manifest or image index (manifest), whoever may publish in the repository (repository), or only the server that gave it (source).",
        """
        lazymount index show debian:12
        lazymount index show --json debian:12 | jq '.[] | select(.where == "published")'
        """,
        () => ListingJson.Default.IReadOnlyListIndexListing,
        async (image, finder, cancellationToken) =>
        {
            IReadOnlyList<(IndexOffer Published, LayerIndex? Index)?> published = await finder.ReadPublishedAsync(image, cancellationToken);
            var listings = new List<IndexListing>();
            for (int i = 0; i < published.Count; i++)
            {
                Descriptor layer = image.Layers[i];
                if (finder.TryFindStored(layer, image) is { Stored: { } local } stored)
                {
                    listings.Add(IndexCommand.Describe(i, layer, "local", local.Origin, local.Proof.By, stored.Size, local));
                }
                if (published[i] is { } found)
                {
                    listings.Add(IndexCommand.Describe(i, layer, "published", found.Published.Origin!.Value, found.Published.By!.Value, found.Published.Size, found.Index));
                }
            }
            return listings;
        },
        IndexCommand.Write);
}
